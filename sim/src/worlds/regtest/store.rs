//! Owns the store below each Lightning node of the regtest world: ldk-node's own SQLite store, which from the moment of a
//! kill keeps nothing that is written later. Does not own when a node is killed (`nodes`).
//!
//! The node is told that such a write succeeded: LDK takes a failed one for the end of the world and panics with its
//! locks held. That is sound only because nobody else hears of anything that it does from then on: whoever kills a node
//! has cut its connections before.

use ldk_node::io::sqlite_store::{KV_TABLE_NAME, SQLITE_DB_FILE_NAME, SqliteStore};
use ldk_node::lightning::io;
use ldk_node::lightning::util::persist::{KVStore, KVStoreSync};
use std::future::{Future, ready};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

type Answer<T> = Pin<Box<dyn Future<Output = Result<T, io::Error>> + Send>>;

/// Ends what a store keeps; clones end the same store.
#[derive(Clone, Debug, Default)]
pub(super) struct Freeze {
    frozen: Arc<AtomicBool>,
    lost: Arc<AtomicU64>,
}

impl Freeze {
    /// From now on nothing is kept.
    pub(super) fn freeze(&self) {
        self.frozen.store(true, Ordering::SeqCst);
    }

    /// How many writes came too late.
    #[cfg(test)]
    fn lost_writes(&self) -> u64 {
        self.lost.load(Ordering::SeqCst)
    }

    /// Whether a write comes too late.
    fn loses(&self) -> bool {
        let frozen = self.frozen.load(Ordering::SeqCst);
        if frozen {
            self.lost.fetch_add(1, Ordering::SeqCst);
        }
        frozen
    }
}

/// A node's store for one of its lives.
pub(super) struct MortalStore {
    inner: SqliteStore,
    freeze: Freeze,
}

impl MortalStore {
    /// Opens it where ldk-node would have its own.
    pub(super) fn open(dir: &Path, freeze: Freeze) -> Result<MortalStore, io::Error> {
        let (file, table) = (SQLITE_DB_FILE_NAME.to_owned(), KV_TABLE_NAME.to_owned());
        let inner = SqliteStore::new(dir.to_owned(), Some(file), Some(table))?;
        Ok(MortalStore { inner, freeze })
    }
}

impl KVStore for MortalStore {
    fn read(&self, primary: &str, secondary: &str, key: &str) -> Answer<Vec<u8>> {
        KVStore::read(&self.inner, primary, secondary, key)
    }

    fn write(&self, primary: &str, secondary: &str, key: &str, value: Vec<u8>) -> Answer<()> {
        if self.freeze.loses() {
            return Box::pin(ready(Ok(())));
        }
        KVStore::write(&self.inner, primary, secondary, key, value)
    }

    fn remove(&self, primary: &str, secondary: &str, key: &str, lazy: bool) -> Answer<()> {
        if self.freeze.loses() {
            return Box::pin(ready(Ok(())));
        }
        KVStore::remove(&self.inner, primary, secondary, key, lazy)
    }

    fn list(&self, primary: &str, secondary: &str) -> Answer<Vec<String>> {
        KVStore::list(&self.inner, primary, secondary)
    }
}

impl KVStoreSync for MortalStore {
    fn read(&self, primary: &str, secondary: &str, key: &str) -> Result<Vec<u8>, io::Error> {
        KVStoreSync::read(&self.inner, primary, secondary, key)
    }

    fn write(
        &self,
        primary: &str,
        secondary: &str,
        key: &str,
        value: Vec<u8>,
    ) -> Result<(), io::Error> {
        if self.freeze.loses() {
            return Ok(());
        }
        KVStoreSync::write(&self.inner, primary, secondary, key, value)
    }

    fn remove(
        &self,
        primary: &str,
        secondary: &str,
        key: &str,
        lazy: bool,
    ) -> Result<(), io::Error> {
        if self.freeze.loses() {
            return Ok(());
        }
        KVStoreSync::remove(&self.inner, primary, secondary, key, lazy)
    }

    fn list(&self, primary: &str, secondary: &str) -> Result<Vec<String>, io::Error> {
        KVStoreSync::list(&self.inner, primary, secondary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_written_after_the_kill_is_there_in_the_next_life() {
        let dir = tempfile::tempdir().expect("a directory");
        let freeze = Freeze::default();
        let first = MortalStore::open(dir.path(), freeze.clone()).expect("opened");
        KVStoreSync::write(&first, "p", "s", "kept", vec![1]).expect("written");
        freeze.freeze();
        KVStoreSync::write(&first, "p", "s", "kept", vec![2]).expect("answered");
        KVStoreSync::write(&first, "p", "s", "late", vec![3]).expect("answered");
        KVStoreSync::remove(&first, "p", "s", "kept", false).expect("answered");
        drop(first);
        assert_eq!(freeze.lost_writes(), 3);
        let second = MortalStore::open(dir.path(), Freeze::default()).expect("opened again");
        assert_eq!(
            KVStoreSync::read(&second, "p", "s", "kept").expect("kept"),
            vec![1]
        );
        assert!(KVStoreSync::read(&second, "p", "s", "late").is_err());
    }
}
