//! A disk in memory that can be troubled: what a key-value store over a file system would show of a bad disk.
//!
//! Owns the values, the troubles, and, if asked for, the history of writes. Does not own what a node does about a refusal
//! (`disk::Store`) nor when trouble begins and ends.
//!
//! Fault model: a write is a temporary file, a sync and a rename, so a value is replaced as a whole or not at all. A torn
//! write leaves half of the new value under a temporary name beside the old one. A lost write leaves nothing. Where a trouble
//! says that the process dies, nothing is written any more until [`MemoryDisk::revive`]. A bit that turned is noticed when the
//! value is read, as by a file system with checksums, and the error names the key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bitcoin::hashes::{Hash as _, sha256};

use crate::disk::{Disk, DiskError, TEMPORARY};

/// What goes wrong with a [`MemoryDisk`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskTrouble {
    /// The process dies right after so many more writes, from 1.
    DieAfter(u32),
    /// The process dies at its next write; half of the value is left under a temporary name.
    Torn,
    /// The process dies before its next write is there.
    Lost,
    /// Writes and removals are refused for this reason.
    RefuseWrites(&'static str),
    /// Reads are refused for this reason.
    RefuseReads(&'static str),
}

/// A change of one key: what it holds from then on, `None` if it is gone.
struct Change {
    at: Duration,
    key: String,
    value: Option<Vec<u8>>,
}

/// Since when and by which clock changes are remembered.
struct History {
    clock: Arc<dyn Fn() -> Duration + Send + Sync>,
    changes: Vec<Change>,
}

/// A damaged value: its checksum as it was written, and the bit that turned.
struct Damage {
    checksum: sha256::Hash,
    bit: usize,
}

#[derive(Default)]
struct State {
    values: BTreeMap<String, Vec<u8>>,
    troubles: BTreeMap<u32, DiskTrouble>,
    damaged: BTreeMap<String, Damage>,
    writes_left: Option<u64>,
    /// The process that wrote here is dead: nothing reaches the disk.
    dead: bool,
    hits: Vec<u32>,
    history: Option<History>,
}

/// A disk in memory. It works until it is troubled. Clone its `Arc` to restart a node from it.
#[derive(Default)]
pub struct MemoryDisk {
    state: Mutex<State>,
}

impl MemoryDisk {
    /// An empty disk that remembers every change with the time that `clock` tells.
    pub fn with_history(clock: Arc<dyn Fn() -> Duration + Send + Sync>) -> MemoryDisk {
        let history = Some(History {
            clock,
            changes: Vec::new(),
        });
        MemoryDisk {
            state: Mutex::new(State {
                history,
                ..State::default()
            }),
        }
    }

    fn holding(values: BTreeMap<String, Vec<u8>>) -> MemoryDisk {
        MemoryDisk {
            state: Mutex::new(State {
                values,
                ..State::default()
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no user of this lock panics")
    }

    /// An independent copy of what is stored now, to restart a node as if it had crashed at this moment.
    pub fn snapshot(&self) -> MemoryDisk {
        MemoryDisk::holding(self.lock().values.clone())
    }

    /// The keys of all that is stored, sorted.
    pub fn keys(&self) -> Vec<String> {
        self.lock().values.keys().cloned().collect()
    }

    /// How many changes are remembered: a mark for [`MemoryDisk::snapshot_at`].
    pub fn changes(&self) -> usize {
        let state = self.lock();
        state
            .history
            .as_ref()
            .map_or(0, |history| history.changes.len())
    }

    /// An independent copy of what was stored after so many changes; `None` without that much history.
    pub fn snapshot_at(&self, changes: usize) -> Option<MemoryDisk> {
        let state = self.lock();
        let past = state.history.as_ref()?.changes.get(..changes)?;
        Some(MemoryDisk::holding(replayed(past)))
    }

    /// Puts the disk back to what it held at a time, for good; how many changes were undone. 0 without history.
    pub fn rewind_to(&self, at: Duration) -> usize {
        let mut state = self.lock();
        let Some(history) = state.history.as_mut() else {
            return 0;
        };
        let kept = history.changes.partition_point(|change| change.at <= at);
        let undone = history.changes.len() - kept;
        history.changes.truncate(kept);
        let values = replayed(&history.changes);
        state.values = values;
        undone
    }

    /// Takes `writes` more writes and then refuses for ever.
    pub fn refuse_after(&self, writes: u64) {
        self.lock().writes_left = Some(writes);
    }

    /// Begins a trouble under a number of the caller's.
    pub fn trouble(&self, number: u32, trouble: DiskTrouble) {
        self.lock().troubles.insert(number, trouble);
    }

    /// Ends the trouble of that number, if it has not spent itself.
    pub fn mend(&self, number: u32) {
        self.lock().troubles.remove(&number);
    }

    /// The numbers of the troubles that had an effect since this was last asked, one entry for each effect.
    pub fn take_hits(&self) -> Vec<u32> {
        std::mem::take(&mut self.lock().hits)
    }

    /// Whether a trouble killed the process that writes here.
    pub fn is_dead(&self) -> bool {
        self.lock().dead
    }

    /// Whether anything is wrong with this disk now.
    pub fn is_troubled(&self) -> bool {
        let state = self.lock();
        state.dead || !state.troubles.is_empty() || !state.damaged.is_empty()
    }

    /// A new process writes here.
    pub fn revive(&self) {
        self.lock().dead = false;
    }

    /// Turns one bit of a value (`bit` is taken modulo its length); whether there was a value that was not damaged yet.
    pub fn flip_bit(&self, key: &str, bit: usize) -> bool {
        let mut state = self.lock();
        let state = &mut *state;
        let Some(value) = state.values.get_mut(key).filter(|value| !value.is_empty()) else {
            return false;
        };
        if state.damaged.contains_key(key) {
            return false;
        }
        let damage = Damage {
            checksum: sha256::Hash::hash(value),
            bit: bit % (value.len() * 8),
        };
        turn(value, damage.bit);
        state.damaged.insert(key.to_owned(), damage);
        true
    }

    /// Turns the bit of a damaged value back.
    pub fn repair(&self, key: &str) {
        let mut state = self.lock();
        let state = &mut *state;
        if let (Some(damage), Some(value)) = (state.damaged.remove(key), state.values.get_mut(key))
        {
            turn(value, damage.bit);
        }
    }
}

fn turn(value: &mut [u8], bit: usize) {
    if let Some(byte) = value.get_mut(bit / 8) {
        *byte ^= 1 << (bit % 8);
    }
}

fn replayed(changes: &[Change]) -> BTreeMap<String, Vec<u8>> {
    let mut values = BTreeMap::new();
    for change in changes {
        match &change.value {
            Some(value) => values.insert(change.key.clone(), value.clone()),
            None => values.remove(&change.key),
        };
    }
    values
}

fn refused(operation: &'static str, key: &str, cause: &str) -> DiskError {
    DiskError {
        operation,
        key: key.to_owned(),
        cause: cause.to_owned(),
    }
}

impl State {
    /// Stores or forgets, unless a trouble has it otherwise.
    fn change(
        &mut self,
        operation: &'static str,
        key: &str,
        value: Option<&[u8]>,
    ) -> Result<(), DiskError> {
        if self.dead {
            return Err(refused(operation, key, "the process is dead"));
        }
        match self.writes_left.as_mut() {
            Some(0) => return Err(refused(operation, key, "told to refuse")),
            Some(left) => *left -= 1,
            None => {}
        }
        let armed: Vec<(u32, DiskTrouble)> = self
            .troubles
            .iter()
            .map(|(number, trouble)| (*number, *trouble))
            .collect();
        for (number, trouble) in armed {
            self.meet(number, trouble, (operation, key, value))?;
        }
        self.put(key, value);
        Ok(())
    }

    /// What one trouble does to a change.
    fn meet(
        &mut self,
        number: u32,
        trouble: DiskTrouble,
        (operation, key, value): (&'static str, &str, Option<&[u8]>),
    ) -> Result<(), DiskError> {
        match trouble {
            DiskTrouble::RefuseReads(_) => return Ok(()),
            DiskTrouble::RefuseWrites(cause) => {
                self.hits.push(number);
                return Err(refused(operation, key, cause));
            }
            DiskTrouble::DieAfter(writes) if writes > 1 => {
                self.troubles
                    .insert(number, DiskTrouble::DieAfter(writes - 1));
                return Ok(());
            }
            DiskTrouble::DieAfter(_) => self.put(key, value),
            DiskTrouble::Torn => {
                if let Some(value) = value {
                    let half = value.get(..value.len() / 2).unwrap_or_default();
                    self.put(&format!("{key}{TEMPORARY}"), Some(half));
                }
            }
            DiskTrouble::Lost => {}
        }
        self.troubles.remove(&number);
        self.hits.push(number);
        self.dead = true;
        Err(refused(operation, key, "the process is dead"))
    }

    fn put(&mut self, key: &str, value: Option<&[u8]>) {
        match value {
            Some(value) => {
                self.values.insert(key.to_owned(), value.to_vec());
            }
            None => {
                self.values.remove(key);
            }
        }
        self.damaged.remove(key);
        if let Some(history) = self.history.as_mut() {
            history.changes.push(Change {
                at: (history.clock)(),
                key: key.to_owned(),
                value: value.map(<[u8]>::to_vec),
            });
        }
    }

    fn refuse_read(&mut self, operation: &'static str, key: &str) -> Result<(), DiskError> {
        let refusing = self
            .troubles
            .iter()
            .find_map(|(number, trouble)| match trouble {
                DiskTrouble::RefuseReads(cause) => Some((*number, *cause)),
                _ => None,
            });
        let Some((number, cause)) = refusing else {
            return Ok(());
        };
        self.hits.push(number);
        Err(refused(operation, key, cause))
    }
}

impl Disk for MemoryDisk {
    fn read(&self, key: &str) -> Result<Option<Vec<u8>>, DiskError> {
        let mut state = self.lock();
        state.refuse_read("read", key)?;
        let value = state.values.get(key).cloned();
        let damage = state.damaged.get(key);
        match (damage, value) {
            (Some(damage), Some(value)) if sha256::Hash::hash(&value) != damage.checksum => {
                Err(refused("read", key, "its checksum does not fit"))
            }
            (_, value) => Ok(value),
        }
    }

    fn write(&self, key: &str, value: &[u8]) -> Result<(), DiskError> {
        self.lock().change("write", key, Some(value))
    }

    fn remove(&self, key: &str) -> Result<(), DiskError> {
        self.lock().change("remove", key, None)
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, DiskError> {
        let mut state = self.lock();
        state.refuse_read("list", prefix)?;
        let keys: BTreeSet<&String> = state
            .values
            .keys()
            .filter(|key| key.starts_with(prefix))
            .collect();
        Ok(keys.into_iter().cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk_with_clock() -> (MemoryDisk, Arc<Mutex<u64>>) {
        let now = Arc::new(Mutex::new(0));
        let clock = now.clone();
        let disk = MemoryDisk::with_history(Arc::new(move || {
            Duration::from_secs(*clock.lock().unwrap())
        }));
        (disk, now)
    }

    #[test]
    fn a_disk_with_history_goes_back_to_what_it_held() {
        let (disk, now) = disk_with_clock();
        disk.write("a", b"1").unwrap();
        *now.lock().unwrap() = 10;
        disk.write("a", b"2").unwrap();
        disk.write("b", b"3").unwrap();
        let mark = disk.changes();
        *now.lock().unwrap() = 20;
        disk.remove("a").unwrap();
        let then = disk.snapshot_at(mark).unwrap();
        assert_eq!(then.read("a").unwrap().unwrap(), b"2");
        assert_eq!(disk.rewind_to(Duration::from_secs(10)), 1);
        assert_eq!(disk.read("a").unwrap().unwrap(), b"2");
        assert_eq!(disk.rewind_to(Duration::from_secs(9)), 2);
        assert_eq!(disk.read("a").unwrap().unwrap(), b"1");
        assert_eq!(disk.read("b").unwrap(), None);
        assert_eq!(disk.rewind_to(Duration::from_secs(9)), 0);
        assert!(disk.snapshot_at(2).is_none());
    }

    #[test]
    fn a_disk_without_history_cannot_go_back() {
        let disk = MemoryDisk::default();
        disk.write("a", b"1").unwrap();
        assert_eq!(disk.rewind_to(Duration::ZERO), 0);
        assert!(disk.snapshot_at(1).is_none());
        assert_eq!(disk.read("a").unwrap().unwrap(), b"1");
    }

    #[test]
    fn the_process_dies_right_after_the_nth_write() {
        let disk = MemoryDisk::default();
        disk.trouble(7, DiskTrouble::DieAfter(2));
        disk.write("a", b"1").unwrap();
        assert!(!disk.is_dead());
        assert!(disk.write("b", b"2").is_err());
        assert!(disk.is_dead());
        assert!(disk.write("a", b"3").is_err());
        assert_eq!(disk.take_hits(), [7]);
        disk.revive();
        assert_eq!(disk.read("b").unwrap().unwrap(), b"2");
        assert!(!disk.is_troubled());
    }

    #[test]
    fn a_torn_write_leaves_the_old_value_and_half_of_the_new_one_aside() {
        let disk = MemoryDisk::default();
        disk.write("a", b"old").unwrap();
        disk.trouble(1, DiskTrouble::Torn);
        assert!(disk.write("a", b"newer!").is_err());
        disk.revive();
        assert_eq!(disk.read("a").unwrap().unwrap(), b"old");
        assert_eq!(disk.read("a.tmp").unwrap().unwrap(), b"new");
    }

    #[test]
    fn a_lost_write_leaves_nothing() {
        let disk = MemoryDisk::default();
        disk.write("a", b"old").unwrap();
        disk.trouble(1, DiskTrouble::Lost);
        assert!(disk.write("a", b"new").is_err());
        disk.revive();
        assert_eq!(disk.list("").unwrap(), ["a"]);
        assert_eq!(disk.read("a").unwrap().unwrap(), b"old");
    }

    #[test]
    fn refusals_end_when_they_are_mended_and_each_is_counted() {
        let disk = MemoryDisk::default();
        disk.trouble(3, DiskTrouble::RefuseWrites("no space is left"));
        disk.trouble(4, DiskTrouble::RefuseReads("bad sector"));
        assert_eq!(disk.write("a", b"1").unwrap_err().cause, "no space is left");
        assert_eq!(disk.read("a").unwrap_err().cause, "bad sector");
        assert!(disk.list("").is_err());
        assert_eq!(disk.take_hits(), [3, 4, 4]);
        disk.mend(3);
        disk.mend(4);
        disk.write("a", b"1").unwrap();
        assert_eq!(disk.read("a").unwrap().unwrap(), b"1");
        assert!(disk.take_hits().is_empty());
    }

    #[test]
    fn a_turned_bit_is_noticed_by_reading_and_put_right_by_repair_or_a_new_write() {
        let disk = MemoryDisk::default();
        disk.write("a", b"1").unwrap();
        assert!(disk.flip_bit("a", 8 + 3));
        assert!(!disk.flip_bit("a", 3));
        assert!(!disk.flip_bit("nothing", 0));
        let error = disk.read("a").unwrap_err();
        assert_eq!((error.key.as_str(), error.operation), ("a", "read"));
        assert_eq!(disk.snapshot().read("a").unwrap().unwrap(), [b'1' ^ 8]);
        disk.repair("a");
        assert_eq!(disk.read("a").unwrap().unwrap(), b"1");
        assert!(disk.flip_bit("a", 0));
        disk.write("a", b"2").unwrap();
        assert_eq!(disk.read("a").unwrap().unwrap(), b"2");
    }
}
