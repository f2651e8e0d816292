//! Owns the file of the engine's journal in the regtest world beside its use: a copy for audits, and its loss.
//! Does not own the journal's format (`lockstep-host`).

use crate::worlds::WorldError;
use crate::worlds::service::{OpenStore, error_chain};
use lockstep_host::ports::{Store, StoreError};
use lockstep_host::store::JournalStore;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Opens a copy: the engine at work holds the lock of the file itself.
pub(super) fn open_copy(journal: PathBuf, copy: PathBuf) -> OpenStore {
    Arc::new(move || {
        let failed = |cause| StoreError::Failed {
            during: "copying the journal",
            cause: Box::new(cause),
        };
        std::fs::copy(&journal, &copy).map_err(failed)?;
        JournalStore::open_file(&copy).map(|store| Box::new(store) as Box<dyn Store>)
    })
}

/// The file is gone; gives an empty one of that name. A dying process may still have the old one open: it keeps that one,
/// which nobody else finds any more.
pub(super) fn lose(journal: &Path) -> Result<Box<dyn Store>, WorldError> {
    let failed = |reason: String| WorldError::harness("make a new journal", reason);
    std::fs::remove_file(journal).map_err(|error| failed(error.to_string()))?;
    let fresh = JournalStore::open_file(journal).map_err(|error| failed(error_chain(&error)))?;
    Ok(Box::new(fresh))
}
