//! Owns the journal as a text that can be kept elsewhere: one record a line, as in the store. From it a lost store is made
//! anew. Does not own what a record says (`journal`) nor its durable form (`store`).

use crate::ports::{Store, StoreError};
use lockstep_engine::api::Input;
use lockstep_engine::journal::{Journal, JournalBroken};

/// Why a store is not filled.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It has records: two journals do not make one.
    #[error("the store has {records} records already")]
    NotEmpty {
        /// How many.
        records: usize,
    },
    /// The text is not a whole journal. Nothing was written.
    #[error("failed to verify the journal")]
    Journal(#[source] JournalBroken),
    /// The store failed. What is in it is not the journal.
    #[error("failed to write the store")]
    Store(#[source] StoreError),
}

/// The journal, verified, as lines.
pub fn export(store: &dyn Store) -> Result<String, ImportError> {
    let records = store.read_all().map_err(ImportError::Store)?;
    Journal::from_records::<Input>(&records, None).map_err(ImportError::Journal)?;
    let mut text = String::new();
    for record in records {
        // Verified: a record is JSON, which has no line ends of its own.
        text.push_str(&String::from_utf8_lossy(&record));
        text.push('\n');
    }
    Ok(text)
}

/// Fills an empty store with an exported journal, in one sync; how many records.
pub fn import(text: &str, store: &mut dyn Store) -> Result<u64, ImportError> {
    let there = store.read_all().map_err(ImportError::Store)?.len();
    if there > 0 {
        return Err(ImportError::NotEmpty { records: there });
    }
    let records: Vec<Vec<u8>> = text.lines().map(|line| line.as_bytes().to_vec()).collect();
    Journal::from_records::<Input>(&records, None).map_err(ImportError::Journal)?;
    let mut seq = 0;
    for record in &records {
        store.append(seq, record).map_err(ImportError::Store)?;
        seq += 1;
    }
    store.sync().map_err(ImportError::Store)?;
    Ok(seq)
}
