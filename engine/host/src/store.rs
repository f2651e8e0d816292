//! Owns the durable form of the journal: a redb table from sequence number to record, on a storage backend that is
//! given (a file in production, memory or a faulty disk in the harness). Does not own what a record says (`journal`).
//!
//! Format: one redb database, one table `journal` (u64 -> bytes). One `sync` is one redb transaction with immediate
//! durability: after a crash either all its records are there or none. redb writes two commit slots in turn and
//! checksums them. It syncs twice in a commit: first what the new slot points to, then the slot. So the newest slot is good
//! whatever was torn, and a checksum in it that is wrong means that the medium has changed what was kept. With one sync the
//! two could not be told apart, and a turned bit would silently take back the last record. One bit is not guarded: the one
//! in the file's header that says which of the two slots is the newer.

use crate::ports::{Store, StoreError};
use redb::backends::FileBackend;
use redb::{
    Database, DatabaseError, Durability, ReadableDatabase, StorageBackend, StorageError,
    TableDefinition, TableError,
};
use std::fs::OpenOptions;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

const JOURNAL: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("journal");

/// Bytes that redb may cache. The journal is written once and read once, so a small cache does.
const CACHE_BYTES: usize = 4 << 20;

/// A journal in redb.
#[derive(Debug)]
pub struct JournalStore {
    database: Database,
    appended: Vec<(u64, Vec<u8>)>,
}

impl JournalStore {
    /// Opens or creates the file at `path`, for this process alone.
    pub fn open_file(path: &Path) -> Result<Self, StoreError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|cause| on_io("opening the file", cause))?;
        Self::open(FileBackend::new(file).map_err(|cause| on_database("locking the file", cause))?)
    }

    /// Opens or creates the database on `backend`; repairs it if the last process was killed.
    pub fn open(backend: impl StorageBackend) -> Result<Self, StoreError> {
        let during = "opening the database";
        let open = || {
            let mut builder = Database::builder();
            builder
                .set_cache_size(CACHE_BYTES)
                .create_with_backend(backend)
        };
        let database = guarded(during, open)?.map_err(|cause| on_database(during, cause))?;
        Ok(Self {
            database,
            appended: Vec::new(),
        })
    }

    fn write(&self) -> Result<(), redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        transaction.set_two_phase_commit(true);
        {
            let mut table = transaction.open_table(JOURNAL)?;
            for (seq, bytes) in &self.appended {
                table.insert(seq, bytes.as_slice())?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    fn read(&self) -> Result<Vec<Vec<u8>>, redb::Error> {
        let transaction = self.database.begin_read()?;
        let table = match transaction.open_table(JOURNAL) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            other => other?,
        };
        let mut records = Vec::new();
        for entry in table.range::<u64>(..)? {
            records.push(entry?.1.value().to_vec());
        }
        Ok(records)
    }
}

impl Store for JournalStore {
    fn append(&mut self, seq: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.appended.push((seq, bytes.to_vec()));
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        if self.appended.is_empty() {
            return Ok(());
        }
        self.write()
            .map_err(|cause| on_redb("writing the journal", cause))?;
        self.appended.clear();
        Ok(())
    }

    fn read_all(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        let during = "reading the journal";
        guarded(during, || self.read())?.map_err(|cause| on_redb(during, cause))
    }
}

/// Some damage redb does not report but panics at (a page of an impossible kind). For a host that starts, that is a file that
/// cannot be read, like any other.
fn guarded<T>(during: &'static str, work: impl FnOnce() -> T) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let text = text.unwrap_or_else(|| "no reason given".to_owned());
        StoreError::Failed {
            during,
            cause: format!("the database is damaged: {text}").into(),
        }
    })
}

fn on_io(during: &'static str, cause: io::Error) -> StoreError {
    match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::NoSpace { during },
        _ => StoreError::Failed {
            during,
            cause: Box::new(cause),
        },
    }
}

fn on_database(during: &'static str, cause: DatabaseError) -> StoreError {
    match cause {
        DatabaseError::Storage(StorageError::Io(cause)) => on_io(during, cause),
        other => StoreError::Failed {
            during,
            cause: Box::new(other),
        },
    }
}

fn on_redb(during: &'static str, cause: redb::Error) -> StoreError {
    match cause {
        redb::Error::Io(cause) => on_io(during, cause),
        other => StoreError::Failed {
            during,
            cause: Box::new(other),
        },
    }
}
