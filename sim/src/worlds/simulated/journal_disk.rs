//! Owns a disk in memory for the journal, with the semantics of a file: what was written and synced stays, what was
//! written and not synced is lost when the store is opened anew after a kill.

use std::io;
use std::sync::{Arc, Mutex};

/// Contents as written, and as of the last sync.
#[derive(Debug, Default)]
struct Contents {
    written: Vec<u8>,
    synced: Vec<u8>,
}

/// The disk; clones share it.
#[derive(Clone, Debug, Default)]
pub struct JournalDisk(Arc<Mutex<Contents>>);

impl JournalDisk {
    /// What a kill does: unsynced writes are gone.
    pub fn lose_unsynced(&self) {
        let mut contents = self.contents();
        contents.written = contents.synced.clone();
    }

    /// A disk of its own with what was synced here, for looking at it while the journal is in use.
    pub fn copy(&self) -> JournalDisk {
        let synced = self.contents().synced.clone();
        JournalDisk(Arc::new(Mutex::new(Contents {
            written: synced.clone(),
            synced,
        })))
    }

    fn contents(&self) -> std::sync::MutexGuard<'_, Contents> {
        self.0.lock().expect("no holder of the disk panics")
    }
}

impl redb::StorageBackend for JournalDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.contents().written.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let contents = self.contents();
        let start = offset as usize;
        let bytes = contents
            .written
            .get(start..start + out.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.contents().written.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut contents = self.contents();
        contents.synced = contents.written.clone();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut contents = self.contents();
        let start = offset as usize;
        let target = contents
            .written
            .get_mut(start..start + data.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        target.copy_from_slice(data);
        Ok(())
    }
}
