//! The disk port, a disk in memory, and the fail-stop store through which the whole node writes.
//!
//! Owns key names and the rule that nothing is written after a failed write. Does not own what the bytes mean, and does
//! not inject faults: a faulty disk is another [`Disk`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use lightning::io;
use lightning::util::persist::KVStoreSync;

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

/// A disk in memory. It works until it is told to refuse. Clone its `Arc` to restart a node from it.
#[derive(Debug, Default)]
pub struct MemoryDisk {
    values: Mutex<BTreeMap<String, Vec<u8>>>,
    writes_left: Mutex<Option<u64>>,
}

impl MemoryDisk {
    /// An independent copy of what is stored now, to restart a node as if it had crashed at this moment.
    pub fn snapshot(&self) -> MemoryDisk {
        MemoryDisk {
            values: Mutex::new(self.lock().clone()),
            writes_left: Mutex::new(None),
        }
    }

    /// Takes `writes` more writes and then refuses for ever.
    pub fn refuse_after(&self, writes: u64) {
        *self
            .writes_left
            .lock()
            .expect("no user of this lock panics") = Some(writes);
    }

    fn count_write(&self, operation: &'static str, key: &str) -> Result<(), DiskError> {
        match self
            .writes_left
            .lock()
            .expect("no user of this lock panics")
            .as_mut()
        {
            Some(0) => Err(DiskError {
                operation,
                key: key.to_owned(),
                cause: "told to refuse".to_owned(),
            }),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.values.lock().expect("no user of this lock panics")
    }
}

impl Disk for MemoryDisk {
    fn read(&self, key: &str) -> Result<Option<Vec<u8>>, DiskError> {
        Ok(self.lock().get(key).cloned())
    }

    fn write(&self, key: &str, value: &[u8]) -> Result<(), DiskError> {
        self.count_write("write", key)?;
        self.lock().insert(key.to_owned(), value.to_vec());
        Ok(())
    }

    fn remove(&self, key: &str) -> Result<(), DiskError> {
        self.count_write("remove", key)?;
        self.lock().remove(key);
        Ok(())
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, DiskError> {
        Ok(self
            .lock()
            .keys()
            .filter(|key| key.starts_with(prefix))
            .cloned()
            .collect())
    }
}

/// A disk that stops for good at its first failed write.
///
/// LDK panics when a monitor cannot be stored. Here it is told that all is well, but nothing is written any more and the
/// node releases no further effect (see `background`): seen from outside it crashed at the write that failed.
pub(crate) struct Store {
    disk: Arc<dyn Disk>,
    failure: Mutex<Option<DiskError>>,
}

impl Store {
    pub(crate) fn new(disk: Arc<dyn Disk>) -> Self {
        Store {
            disk,
            failure: Mutex::new(None),
        }
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
        self.guarded(|disk| disk.write(key, value))
    }

    pub(crate) fn forget(&self, key: &str) -> Result<(), DiskError> {
        self.guarded(|disk| disk.remove(key))
    }

    /// The keys below `prefix`, sorted.
    pub(crate) fn keys(&self, prefix: &str) -> Result<Vec<String>, DiskError> {
        let mut keys = self.disk.list(prefix)?;
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
