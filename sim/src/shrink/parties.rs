//! Owns making one party of two: what one of them does, the other does, too. Does not own dropping parties (`drops`, `setup`).

use super::Edit;
use crate::scenario::{NameSpace, Renaming, Scenario};

/// Each party made the same as one that is named before it.
pub(super) fn merges(plan: &Scenario) -> Vec<Edit> {
    let mut edits: Vec<Edit> = Vec::new();
    for (index, other) in plan.parties.iter().enumerate() {
        for party in &plan.parties[..index] {
            let (party, other) = (party.to_string(), other.to_string());
            edits.push(Box::new(move |plan| merged(plan, &party, &other)));
        }
    }
    edits
}

fn merged(plan: &Scenario, party: &str, other: &str) -> Option<Scenario> {
    let mut fewer = plan.clone();
    fewer.parties.retain(|name| name.as_str() != other);
    fewer.dids.retain(|name, _| name.as_str() != other);
    let is_there = fewer.parties.iter().any(|name| name.as_str() == party);
    if !is_there || fewer.parties.len() == plan.parties.len() {
        return None;
    }
    let mut names = Renaming::default();
    names.rename(NameSpace::Party, other, party.to_owned());
    let mut smaller = Scenario::parse("merged", &fewer.to_toml_renamed(&names)).ok()?;
    for (step, before) in smaller.steps.iter_mut().zip(&plan.steps) {
        step.line = before.line;
    }
    Some(smaller)
}
