//! The disk port, and the fail-stop store through which the whole node writes.
//!
//! Owns key names, the rule that nothing is written after a failed write, and holding changes back for a slow disk. Does not
//! own what the bytes mean, and does not inject faults: a faulty disk is another [`Disk`].

use std::sync::{Arc, Mutex, MutexGuard};

use lightning::io;
use lightning::util::persist::KVStoreSync;

/// How the name of a temporary file ends. One that is left over from a process that died is no value.
pub(crate) const TEMPORARY: &str = ".tmp";

/// Why a disk refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("disk refused {operation} of {key}: {cause}")]
pub struct DiskError {
    /// What was tried: `read`, `write`, `remove` or `list`.
    pub operation: &'static str,
    /// The key, or the prefix for `list`.
    pub key: String,
    /// The reason in the words of the disk.
    pub cause: String,
}

/// Where a node keeps its state: named byte strings. A write that returned is durable and replaces the whole value.
pub trait Disk: Send + Sync {
    /// The value of `key`, `None` if there is none.
    fn read(&self, key: &str) -> Result<Option<Vec<u8>>, DiskError>;
    /// Stores `value` under `key`, all of it or nothing.
    fn write(&self, key: &str, value: &[u8]) -> Result<(), DiskError>;
    /// Forgets `key`; forgetting what is not there is no error.
    fn remove(&self, key: &str) -> Result<(), DiskError>;
    /// All keys that begin with `prefix`, in any order.
    fn list(&self, prefix: &str) -> Result<Vec<String>, DiskError>;
}

/// A change that was asked for: a key and what it is to hold, `None` to forget it.
pub(crate) type HeldChange = (String, Option<Vec<u8>>);

/// A disk that stops for good at its first failed write.
///
/// LDK panics when a monitor cannot be stored. Here it is told that all is well, but nothing is written any more and the
/// node releases no further effect (see `background`): seen from outside it crashed at the write that failed.
pub(crate) struct Store {
    disk: Arc<dyn Disk>,
    failure: Mutex<Option<DiskError>>,
    /// While this is something, changes are kept here instead of being made.
    held: Mutex<Option<Vec<HeldChange>>>,
}

impl Store {
    pub(crate) fn new(disk: Arc<dyn Disk>) -> Self {
        Store {
            disk,
            failure: Mutex::new(None),
            held: Mutex::new(None),
        }
    }

    /// The changes that `work` asks for, none of them made.
    pub(crate) fn hold_back<T>(&self, work: impl FnOnce() -> T) -> (T, Vec<HeldChange>) {
        *self.held() = Some(Vec::new());
        let result = work();
        (result, self.held().take().unwrap_or_default())
    }

    /// Makes changes that were held back, in order.
    pub(crate) fn make(&self, changes: &[HeldChange]) -> Result<(), DiskError> {
        for (key, value) in changes {
            match value {
                Some(value) => self.put(key, value)?,
                None => self.forget(key)?,
            }
        }
        Ok(())
    }

    fn held(&self) -> MutexGuard<'_, Option<Vec<HeldChange>>> {
        self.held.lock().expect("no user of this lock panics")
    }

    /// Keeps a change if changes are held back now; whether it did.
    fn keep(&self, key: &str, value: Option<&[u8]>) -> bool {
        let mut held = self.held();
        let keeping = held.as_mut().map(|held| {
            held.push((key.to_owned(), value.map(<[u8]>::to_vec)));
        });
        keeping.is_some()
    }

    /// The failure that stopped this store.
    pub(crate) fn failure(&self) -> Option<DiskError> {
        self.failure
            .lock()
            .expect("no user of this lock panics")
            .clone()
    }

    pub(crate) fn get(&self, key: &str) -> Result<Option<Vec<u8>>, DiskError> {
        self.disk.read(key)
    }

    pub(crate) fn put(&self, key: &str, value: &[u8]) -> Result<(), DiskError> {
        if self.keep(key, Some(value)) {
            return Ok(());
        }
        self.guarded(|disk| disk.write(key, value))
    }

    pub(crate) fn forget(&self, key: &str) -> Result<(), DiskError> {
        if self.keep(key, None) {
            return Ok(());
        }
        self.guarded(|disk| disk.remove(key))
    }

    /// The keys below `prefix`, sorted, without what writes that never ended have left.
    pub(crate) fn keys(&self, prefix: &str) -> Result<Vec<String>, DiskError> {
        let mut keys = self.disk.list(prefix)?;
        keys.retain(|key| !key.ends_with(TEMPORARY));
        keys.sort();
        Ok(keys)
    }

    fn guarded(
        &self,
        operation: impl FnOnce(&dyn Disk) -> Result<(), DiskError>,
    ) -> Result<(), DiskError> {
        let mut failure = self.failure.lock().expect("no user of this lock panics");
        if let Some(earlier) = failure.as_ref() {
            return Err(earlier.clone());
        }
        let outcome = operation(self.disk.as_ref());
        if let Err(error) = &outcome {
            *failure = Some(error.clone());
        }
        outcome
    }
}

/// LDK's two name spaces and key as one key: the parts that are not empty, joined by `/`.
fn joined(primary: &str, secondary: &str, key: &str) -> String {
    [primary, secondary, key]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("/")
}

fn ldk_error(error: &DiskError) -> io::Error {
    io::Error::new(io::ErrorKind::Other, error.to_string())
}

impl KVStoreSync for Store {
    fn read(&self, primary: &str, secondary: &str, key: &str) -> Result<Vec<u8>, io::Error> {
        match self.get(&joined(primary, secondary, key)) {
            Ok(Some(value)) => Ok(value),
            Ok(None) => Err(io::Error::new(io::ErrorKind::NotFound, "no such key")),
            Err(error) => Err(ldk_error(&error)),
        }
    }

    fn write(
        &self,
        primary: &str,
        secondary: &str,
        key: &str,
        value: Vec<u8>,
    ) -> Result<(), io::Error> {
        // A failure is remembered by the store and stops the node; see the type's documentation.
        let _ = self.put(&joined(primary, secondary, key), &value);
        Ok(())
    }

    fn remove(
        &self,
        primary: &str,
        secondary: &str,
        key: &str,
        _lazy: bool,
    ) -> Result<(), io::Error> {
        let _ = self.forget(&joined(primary, secondary, key));
        Ok(())
    }

    fn list(&self, primary: &str, secondary: &str) -> Result<Vec<String>, io::Error> {
        let prefix = format!("{}/", joined(primary, secondary, ""));
        let keys = self.keys(&prefix).map_err(|error| ldk_error(&error))?;
        Ok(keys
            .iter()
            .filter_map(|key| key.strip_prefix(&prefix))
            .filter(|key| !key.contains('/'))
            .map(str::to_owned)
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory_disk::MemoryDisk;

    struct FullAfter(Mutex<u32>, MemoryDisk);

    impl Disk for FullAfter {
        fn read(&self, key: &str) -> Result<Option<Vec<u8>>, DiskError> {
            self.1.read(key)
        }
        fn write(&self, key: &str, value: &[u8]) -> Result<(), DiskError> {
            let mut left = self.0.lock().unwrap();
            if *left == 0 {
                *left = 1; // the disk would work again: the store must not use it
                return Err(DiskError {
                    operation: "write",
                    key: key.to_owned(),
                    cause: "full".to_owned(),
                });
            }
            *left -= 1;
            self.1.write(key, value)
        }
        fn remove(&self, key: &str) -> Result<(), DiskError> {
            self.1.remove(key)
        }
        fn list(&self, prefix: &str) -> Result<Vec<String>, DiskError> {
            self.1.list(prefix)
        }
    }

    #[test]
    fn nothing_is_written_after_the_first_failure() {
        let store = Store::new(Arc::new(FullAfter(Mutex::new(1), MemoryDisk::default())));
        store.put("a", b"1").unwrap();
        assert!(KVStoreSync::write(&store, "", "", "b", vec![2]).is_ok());
        assert_eq!(store.failure().unwrap().key, "b");
        assert!(store.put("c", b"3").is_err());
        assert!(store.forget("a").is_err());
        assert_eq!(store.keys("").unwrap(), ["a"]);
    }

    #[test]
    fn changes_that_are_held_back_are_made_later_and_in_order() {
        let store = Store::new(Arc::new(MemoryDisk::default()));
        store.put("a", b"1").unwrap();
        let ((), changes) = store.hold_back(|| {
            store.put("a", b"2").unwrap();
            store.put("b", b"3").unwrap();
            store.forget("a").unwrap();
        });
        assert_eq!(store.get("a").unwrap().unwrap(), b"1");
        assert_eq!(store.get("b").unwrap(), None);
        store.make(&changes).unwrap();
        assert_eq!(store.keys("").unwrap(), ["b"]);
    }

    #[test]
    fn what_a_torn_write_left_is_no_value() {
        let disk = Arc::new(MemoryDisk::default());
        disk.write("updates/m1/7.tmp", b"half").unwrap();
        let store = Store::new(disk);
        assert!(
            KVStoreSync::list(&store, "updates", "m1")
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn name_spaces_do_not_show_what_lies_deeper() {
        let store = Store::new(Arc::new(MemoryDisk::default()));
        KVStoreSync::write(&store, "updates", "m1", "7", vec![]).unwrap();
        KVStoreSync::write(&store, "updates", "m2", "8", vec![]).unwrap();
        assert_eq!(KVStoreSync::list(&store, "updates", "m1").unwrap(), ["7"]);
        assert!(KVStoreSync::list(&store, "updates", "").unwrap().is_empty());
        assert_eq!(
            KVStoreSync::read(&store, "updates", "m3", "7")
                .unwrap_err()
                .kind(),
            io::ErrorKind::NotFound
        );
    }
}
