//! Owns the record of faults: each is named, of a family, has a scope, and counts its effects, so that a fault that did
//! nothing is seen. Does not own how a fault is brought about (links, worlds and the gateway model do that and report here).

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One fault that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Which family: `link`, `process`, `disk`, `clock`, `chain`, `http`, `peer`, `cosigner`.
    pub family: String,
    /// What: `crash`, `partition`, `lose-response`, ...
    pub name: String,
    /// Whom it concerns.
    pub scope: String,
    /// How often it had an effect.
    pub effects: u64,
}

/// All faults of a run, by the order in which they were asked for.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    all: BTreeMap<u32, Fault>,
    /// Effects that nobody has taken note of yet, in order.
    fresh: Vec<FaultId>,
}

/// Names a fault of this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FaultId(u32);

impl FaultId {
    /// Its position in the order of asking, from 0.
    pub fn number(self) -> u32 {
        self.0
    }
}

impl Faults {
    /// Registers a fault without effect so far.
    pub fn plan(&mut self, family: &str, name: &str, scope: &str) -> FaultId {
        let id = self.all.len() as u32;
        self.all.insert(
            id,
            Fault {
                family: family.to_owned(),
                name: name.to_owned(),
                scope: scope.to_owned(),
                effects: 0,
            },
        );
        FaultId(id)
    }

    /// It had an effect.
    pub fn had_effect(&mut self, id: FaultId) {
        if let Some(fault) = self.all.get_mut(&id.0) {
            fault.effects += 1;
            self.fresh.push(id);
        }
    }

    /// Sets the count where the part that brings it about counts by itself.
    pub fn set_effects(&mut self, id: FaultId, effects: u64) {
        if let Some(fault) = self.all.get_mut(&id.0)
            && fault.effects != effects
        {
            fault.effects = effects;
            self.fresh.push(id);
        }
    }

    /// One of them.
    pub fn get(&self, id: FaultId) -> Option<&Fault> {
        self.all.get(&id.0)
    }

    /// The faults that had an effect since this was last asked, each once, in order.
    pub fn take_fresh(&mut self) -> Vec<FaultId> {
        let mut fresh = std::mem::take(&mut self.fresh);
        fresh.dedup();
        fresh
    }

    /// All of them.
    pub fn all(&self) -> Vec<Fault> {
        self.all.values().cloned().collect()
    }
}
