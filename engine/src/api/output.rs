//! Owns what leaves through the engine's one door: events and instructions together.
//! Does not own their words (`event`, `rail`) nor how they are performed or recorded.

use crate::event::Event;
use crate::rail::Instruction;
use serde::{Deserialize, Serialize};

/// The consequences of one accepted input.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// What happened, in causal order.
    pub events: Vec<Event>,
    /// What the host must do now. All stay outstanding until a fact answers them.
    pub instructions: Vec<Instruction>,
}
