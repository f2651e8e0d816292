//! Owns the engine's one door: what goes in ([`Input`]), what comes out ([`Output`]), why not ([`Refusal`]), and the
//! [`Engine`] that composes validate, decide, apply and emit. Does not own any rule of payments, ledger or rails.

mod engine;
mod input;
mod outcomes;
mod output;
mod outstanding;
mod refusal;

pub use crate::event::{Bearer, Break, BreakKind, CosignerFailure, Event, FailureReason, Finding};
pub use crate::payments::{
    Charge, ChargeTerms, Destination, MoveOrder, Payout, PayoutTerms, Status,
};
pub use engine::{ConfigError, Engine, EngineConfig};
pub use input::{Command, Input};
pub use output::Output;
pub use refusal::Refusal;
