//! Owns the record of faults: each is named, has a scope, and counts its effects, so that a fault that did nothing is
//! seen. Does not own how a fault is brought about (links, worlds and the gateway model do that and report here).

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One fault that was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fault {
    /// What: `crash`, `partition`, `lose-response`, ...
    pub name: String,
    /// Whom it concerns.
    pub scope: String,
    /// How often it had an effect.
    pub effects: u64,
}

/// All faults of a run, by the order in which they were asked for.
#[derive(Clone, Debug, Default)]
pub struct Faults(BTreeMap<u32, Fault>);

/// Names a fault of this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FaultId(u32);

impl Faults {
    /// Registers a fault without effect so far.
    pub fn plan(&mut self, name: &str, scope: &str) -> FaultId {
        let id = self.0.len() as u32;
        self.0.insert(
            id,
            Fault {
                name: name.to_owned(),
                scope: scope.to_owned(),
                effects: 0,
            },
        );
        FaultId(id)
    }

    /// It had an effect.
    pub fn had_effect(&mut self, id: FaultId) {
        if let Some(fault) = self.0.get_mut(&id.0) {
            fault.effects += 1;
        }
    }

    /// Sets the count where the part that brings it about counts by itself.
    pub fn set_effects(&mut self, id: FaultId, effects: u64) {
        if let Some(fault) = self.0.get_mut(&id.0) {
            fault.effects = effects;
        }
    }

    /// All of them.
    pub fn all(&self) -> Vec<Fault> {
        self.0.values().cloned().collect()
    }
}
