//! Owns I6 and I7: the journal's hash chain verifies, and folding the journal gives the live state. Checked on the store
//! itself when the run is over. Does not share the driver's recovery.

use super::{Kind, Violation};
use lockstep_engine::api::{Engine, EngineConfig, Input};
use lockstep_engine::journal::Journal;
use lockstep_host::ports::Store;

/// The audit could not be made.
#[derive(Debug, thiserror::Error)]
#[error("failed to read the journal for the audit: {reason}")]
pub struct AuditError {
    /// Why.
    pub reason: String,
}

/// Verifies the journal and folds it; `live` is the digest of the running engine.
pub fn audit_journal(
    store: &dyn Store,
    config: EngineConfig,
    live: [u8; 32],
) -> Result<Vec<Violation>, AuditError> {
    let unreadable = |reason: String| AuditError { reason };
    let records = store
        .read_all()
        .map_err(|error| unreadable(error.to_string()))?;
    let verified = match Journal::from_records::<Input>(&records, None) {
        Ok((_, verified)) => verified,
        Err(broken) => return Ok(vec![violation("journal-hash-chain", broken.to_string())]),
    };
    let mut engine = Engine::new(config).map_err(|error| unreadable(error.to_string()))?;
    for record in &verified {
        if let Err(refusal) = engine.step_recorded(record.at, &record.input) {
            let what = format!(
                "record {} was journaled but is refused when folded: {refusal}",
                record.seq
            );
            return Ok(vec![violation("fold-equals-live", what)]);
        }
    }
    if engine.digest() == live {
        return Ok(Vec::new());
    }
    let what = format!(
        "folding {} records gives another state than the live one",
        records.len()
    );
    Ok(vec![violation("fold-equals-live", what)])
}

fn violation(invariant: &str, what: String) -> Violation {
    Violation {
        invariant: invariant.to_owned(),
        kind: Kind::Safety,
        what,
    }
}
