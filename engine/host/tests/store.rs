//! Owns the proof that the journal's store keeps exactly what it acknowledged, on a disk that fails, is full or tears
//! a write. Does not own the driver's reaction to a failing store (`driver`).

use lockstep_host::ports::{Store, StoreError};
use lockstep_host::store::JournalStore;
use redb::StorageBackend;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

/// Which operation goes wrong, counted from the moment at which the disk is made faulty, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The nth write fails, and everything after it.
    Write(usize),
    /// Of the nth write only the first half reaches the disk; then the power is gone.
    TornWrite(usize),
    /// The same, but all writes before it had reached the disk by themselves.
    TornLast(usize),
    /// The nth sync fails, and everything after it.
    Sync(usize),
    /// Nothing may grow, and no write is taken.
    Full,
}

#[derive(Debug, Default)]
struct DiskState {
    /// What a reader of the running system sees.
    written: Vec<u8>,
    /// What is left after the power is cut: as of the last sync.
    synced: Vec<u8>,
    /// Torn bytes that reached the platter without a sync, by offset.
    torn: Option<(usize, Vec<u8>)>,
    fault: Option<Fault>,
    writes: usize,
    syncs: usize,
    dead: bool,
}

/// Fault model: writes are buffered until a sync; a power cut loses them, but for the half of a torn write. Failures
/// are permanent until the power is cut. Reads never fail.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<DiskState>>);

impl Disk {
    fn state(&self) -> MutexGuard<'_, DiskState> {
        self.0.lock().expect("disk")
    }

    fn break_with(&self, fault: Fault) {
        let mut state = self.state();
        (state.fault, state.writes, state.syncs) = (Some(fault), 0, 0);
    }

    /// The same disk after a power cut, in order again.
    fn after_power_cut(&self) -> Disk {
        let state = self.state();
        let reached = matches!(state.fault, Some(Fault::TornLast(_)));
        let mut left = if reached {
            state.written.clone()
        } else {
            state.synced.clone()
        };
        if let Some((offset, bytes)) = &state.torn {
            left.resize(left.len().max(offset + bytes.len()), 0);
            left[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        Disk(Arc::new(Mutex::new(DiskState {
            written: left.clone(),
            synced: left,
            ..DiskState::default()
        })))
    }
}

fn dead() -> io::Error {
    io::Error::other("the disk is gone")
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().written.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state();
        let start = usize::try_from(offset).expect("small");
        let bytes = state.written.get(start..start + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state();
        let len = usize::try_from(len).expect("small");
        if state.dead {
            return Err(dead());
        }
        if state.fault == Some(Fault::Full) && len > state.written.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.written.resize(len, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state();
        state.syncs += 1;
        if state.dead || state.fault == Some(Fault::Sync(state.syncs)) {
            state.dead = true;
            return Err(dead());
        }
        state.synced = state.written.clone();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        state.writes += 1;
        if state.dead {
            return Err(dead());
        }
        let start = usize::try_from(offset).expect("small");
        match state.fault {
            Some(Fault::Full) => return Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::Write(nth)) if nth == state.writes => {
                state.dead = true;
                return Err(dead());
            }
            Some(Fault::TornWrite(nth) | Fault::TornLast(nth)) if nth == state.writes => {
                state.dead = true;
                state.torn = Some((start, data[..data.len() / 2].to_vec()));
                return Err(dead());
            }
            _ => {}
        }
        let end = start + data.len();
        if state.written.len() < end {
            state.written.resize(end, 0);
        }
        state.written[start..end].copy_from_slice(data);
        Ok(())
    }
}

fn record(seq: u64) -> Vec<u8> {
    // Long enough to need several pages, so that a record's own pages can tear.
    format!("record {seq} ").repeat(600).into_bytes()
}

fn add(store: &mut JournalStore, seq: u64) -> Result<(), StoreError> {
    store.append(seq, &record(seq))?;
    store.sync()
}

fn records(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(record).collect()
}

/// A disk with `count` synced records, its store still open.
fn filled(count: u64) -> (Disk, JournalStore) {
    let disk = Disk::default();
    let mut store = JournalStore::open(disk.clone()).expect("opens");
    for seq in 0..count {
        add(&mut store, seq).expect("healthy");
    }
    (disk, store)
}

fn read_after_power_cut(disk: &Disk) -> Vec<Vec<u8>> {
    JournalStore::open(disk.after_power_cut())
        .expect("reopens")
        .read_all()
        .expect("reads")
}

#[test]
fn a_new_store_is_empty_and_a_file_keeps_its_records() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("journal");
    let mut store = JournalStore::open_file(&path).expect("creates");
    assert_eq!(store.read_all().expect("reads"), Vec::<Vec<u8>>::new());
    add(&mut store, 0).expect("writes");
    add(&mut store, 1).expect("writes");
    drop(store);
    let store = JournalStore::open_file(&path).expect("opens");
    assert_eq!(store.read_all().expect("reads"), records(2));
}

#[test]
fn what_was_appended_but_not_synced_is_lost_in_a_power_cut() {
    let (disk, mut store) = filled(2);
    store.append(2, &record(2)).expect("buffers");
    assert_eq!(read_after_power_cut(&disk), records(2));
}

#[test]
fn what_was_synced_survives_a_power_cut_without_a_clean_close() {
    let (disk, store) = filled(3);
    std::mem::forget(store);
    assert_eq!(read_after_power_cut(&disk), records(3));
}

/// Adds record 3 on a disk with `fault`; then cuts the power. Whether the record was acknowledged.
fn add_on(fault: Fault) -> (bool, Vec<Vec<u8>>) {
    let (disk, mut store) = filled(3);
    disk.break_with(fault);
    let acknowledged = add(&mut store, 3).is_ok();
    // Nothing may be repaired by the closing store: a killed process does not close.
    std::mem::forget(store);
    (acknowledged, read_after_power_cut(&disk))
}

#[test]
fn every_write_of_an_append_can_fail_or_tear() {
    for (number, fault) in
        (1..).flat_map(|nth| [(nth, Fault::Write(nth)), (nth, Fault::TornWrite(nth))])
    {
        let (acknowledged, left) = add_on(fault);
        if acknowledged {
            assert_eq!(left, records(4), "{fault:?} came too late to matter");
            assert!(number > 1, "the fault never struck");
            return;
        }
        // The last write of a commit makes it count, by one byte: torn behind that, the record is there, and nobody was told.
        let counts = matches!(fault, Fault::TornWrite(_)) && left == records(4);
        assert!(
            left == records(3) || counts,
            "{fault:?} left {}",
            left.len()
        );
    }
}

#[test]
fn a_write_torn_after_others_reached_the_disk_leaves_all_or_nothing() {
    for nth in 1.. {
        let (acknowledged, left) = add_on(Fault::TornLast(nth));
        assert!(
            left == records(4) || (!acknowledged && left == records(3)),
            "write {nth} left {}",
            left.len()
        );
        if acknowledged {
            assert!(nth > 1, "the fault never struck");
            return;
        }
    }
}

#[test]
fn every_sync_of_an_append_can_fail() {
    for nth in 1.. {
        let (acknowledged, left) = add_on(Fault::Sync(nth));
        if acknowledged {
            assert_eq!(left, records(4));
            assert!(nth > 1, "the fault never struck");
            return;
        }
        // A sync that failed may have reached the disk or not: here it has not.
        assert_eq!(left, records(3), "sync {nth}");
    }
}

/// redb's first page; the bit in it that says which commit slot is the newer is guarded by nothing (`host::store`).
const HEADER_BYTES: usize = 4_096;

#[test]
fn a_turned_bit_takes_no_record_back_without_a_word() {
    let disk = Disk::default();
    let mut store = JournalStore::open(disk.clone()).expect("opens");
    for (seq, word) in [(0, b"first"), (1, b"later")] {
        store.append(seq, word).expect("buffers");
        store.sync().expect("healthy");
    }
    std::mem::forget(store);
    let kept = disk.after_power_cut().state().synced.clone();
    let in_use: Vec<usize> = (HEADER_BYTES..kept.len())
        .filter(|offset| kept[*offset] != 0)
        .collect();
    let mut refused = 0;
    // The first byte of each page says what it is; of the others a few will do.
    let tried =
        |number: usize, offset: usize| number.is_multiple_of(25) || offset.is_multiple_of(4_096);
    for (number, offset) in in_use.iter().enumerate() {
        if !tried(number, *offset) {
            continue;
        }
        let turned = Disk::default();
        let mut bytes = kept.clone();
        bytes[*offset] ^= 1 << (number % 8);
        turned.state().written = bytes.clone();
        turned.state().synced = bytes;
        match JournalStore::open(turned).and_then(|store| store.read_all()) {
            // The engine's hash chain sees a record that has changed; nobody would see one that is gone.
            Ok(read) => assert_eq!(read.len(), 2, "byte {offset}"),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 0, "no bit that mattered was turned");
}

#[test]
fn a_full_disk_is_named_and_loses_nothing() {
    let (disk, mut store) = filled(3);
    disk.break_with(Fault::Full);
    let error = add(&mut store, 3).expect_err("no room");
    assert!(matches!(error, StoreError::NoSpace { .. }), "{error:?}");
    std::mem::forget(store);
    assert_eq!(read_after_power_cut(&disk), records(3));
}

#[test]
fn after_a_failure_nothing_is_acknowledged_until_the_store_is_opened_anew() {
    let (disk, mut store) = filled(3);
    disk.break_with(Fault::Sync(1));
    assert!(add(&mut store, 3).is_err());
    disk.break_with(Fault::Sync(usize::MAX));
    disk.state().dead = false;
    assert!(
        add(&mut store, 4).is_err(),
        "a record after a hole would be acknowledged"
    );
}
