//! The payment engine: pure, behind one door, [`api::Engine::step`].
//!
//! It has no clock, no randomness, no thread, no socket and no async: ids, entropy and time come in with the input,
//! instructions and events go out. Layers import downwards only (docs/ARCHITECTURE.md has the table, `tests/tidy.rs`
//! enforces it).

pub mod api;
pub mod escrow;
pub mod event;
pub mod fiat;
pub mod fx;
pub mod id;
pub mod identity;
pub mod journal;
pub mod labels;
pub mod layer0;
pub mod ledger;
pub mod lightning;
pub mod money;
pub mod onchain;
pub mod payments;
#[doc(hidden)]
pub mod planted;
pub mod policy;
pub mod rail;
pub mod rare;
pub mod reconcile;
pub mod reputation;
pub mod time;
