//! Runs the engine: the ports it sees the outside through, the driver that journals before it acts, the store, and
//! the adapters to real nodes. Does not decide anything about money (`lockstep-engine`) and knows no simulator.
//!
//! Reading order: [`ports`] (what the outside looks like), [`driver`] (the one loop), [`store`] (where the journal
//! lives), [`export`] and [`wallet_recovery`] (what is done when something is lost), [`adapters`] (real sockets; the only place with tokio and the wall clock).

pub mod adapters;
pub mod driver;
pub mod export;
pub mod ports;
pub mod store;
pub mod wallet_recovery;

pub use driver::{Driver, Ended, Failure, Handle, StartError, Status, SubmitError};
pub use ports::Ports;
