//! Owns the bundle of what comes of one input: events, instructions, and keys that need no answer any more.

use super::Event;
use crate::id::IdempotencyKey;
use crate::rail::Instruction;

/// What came of one input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consequences {
    /// In causal order.
    pub events: Vec<Event>,
    /// To be performed.
    pub instructions: Vec<Instruction>,
    /// Keys of instructions that need no answer any more.
    pub answered: Vec<IdempotencyKey>,
}

impl Consequences {
    /// What came of the same input later on.
    pub fn append(&mut self, later: Consequences) {
        self.events.extend(later.events);
        self.instructions.extend(later.instructions);
        self.answered.extend(later.answered);
    }
}
