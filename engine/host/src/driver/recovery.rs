//! Owns the way back from the journal to a running engine. Does not own the re-issuing of what is outstanding: the
//! driver does that first when it runs, exactly as it performs new instructions.

use crate::ports::{Observer, Store, StoreError};
use lockstep_engine::api::{ConfigError, Engine, EngineConfig, Input, Refusal};
use lockstep_engine::journal::{Journal, JournalBroken};
use lockstep_engine::time::Timestamp;

/// Why the driver could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is not one that the engine can run with.
    #[error("failed to configure the engine")]
    Config(#[source] ConfigError),
    /// The store could not be read.
    #[error("failed to read the store")]
    Store(#[source] StoreError),
    /// The journal is not what was written.
    #[error("failed to verify the journal")]
    Journal(#[source] JournalBroken),
    /// The engine refuses an input that it once accepted: it is another engine, or has another configuration.
    #[error("failed to replay record {seq}")]
    Replay {
        /// Of the record.
        seq: u64,
        /// Why.
        #[source]
        refusal: Refusal,
    },
}

/// What was rebuilt.
pub(super) struct Recovered {
    pub(super) engine: Engine,
    pub(super) journal: Journal,
    /// Time of the last record: the engine's time never goes back behind it.
    pub(super) last_at: Timestamp,
}

/// Folds the journal: verifies the hash chain, then steps through every record.
pub(super) fn recover(
    config: EngineConfig,
    store: &dyn Store,
    observer: &dyn Observer,
) -> Result<Recovered, StartError> {
    let stored = store.read_all().map_err(StartError::Store)?;
    let (journal, records) =
        Journal::from_records::<Input>(&stored, None).map_err(StartError::Journal)?;
    let mut engine = Engine::new(config).map_err(StartError::Config)?;
    let mut last_at = Timestamp::default();
    for record in records {
        let output = engine
            .step_recorded(record.at, &record.input)
            .map_err(|refusal| StartError::Replay {
                seq: record.seq,
                refusal,
            })?;
        observer.on_replayed(record.seq, record.at, &record.input, &output, &engine);
        last_at = record.at;
    }
    Ok(Recovered {
        engine,
        journal,
        last_at,
    })
}
