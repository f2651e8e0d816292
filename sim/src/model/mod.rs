//! Owns the model: what the engine must do, told a second time and as plainly as possible (docs/SPEC.md). It knows the
//! words that go into the engine and come out of it, and shares no rule, no posting and no state machine with it.
//! Does not own the comparison with an engine (`invariants`) nor what the outside did.
//!
//! Where to read: `terms` has the numbers, `states` which state may follow which, `orders` which command is refused,
//! by itself and `admission` in its place, `books` who owns how much after what happened (`chain` and `lightning`: as the
//! rails tell it), `plan` what a scenario's commands must be answered before it is run.

mod admission;
mod bindings;
mod books;
mod chain;
mod coins;
mod cosigners;
mod escrow;
mod events;
mod layer0;
mod lightning;
mod orders;
mod plan;
mod states;
mod strays;
mod terms;
mod wallets;

pub use bindings::BindingBook;
pub use books::{Model, Owned};
pub use orders::{Prediction, Why, paid_script};
pub use plan::{charge_terms, foretell, payout_terms};
pub use states::{Kind, State};
pub use terms::{Terms, purpose};
