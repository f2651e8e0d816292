//! Owns the proof that each ailment of the disk does what it says, and that the journal on it keeps what it acknowledged.

use super::{Ailment, JournalDisk};
use crate::faults::{FaultId, Faults};
use crate::prng::RootSeed;
use crate::worlds::service::Told;
use lockstep_host::ports::{Store, StoreError};
use lockstep_host::store::JournalStore;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Long enough that a record has a page of its own.
const RECORD_BYTES: usize = 3_000;

fn fault() -> FaultId {
    Faults::default().plan("disk", "test", "engine")
}

fn counting() -> (Arc<AtomicU32>, Told) {
    let count = Arc::new(AtomicU32::new(0));
    let counted = count.clone();
    let told: Told = Arc::new(move || {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    (count, told)
}

fn add(store: &mut JournalStore, seq: u64) -> Result<(), StoreError> {
    store.append(seq, &[seq as u8 + 1; RECORD_BYTES])?;
    store.sync()
}

/// A journal of so many records, and its store.
fn journal(records: u64) -> (JournalDisk, JournalStore) {
    let disk = JournalDisk::default();
    let mut store = JournalStore::open(disk.open()).expect("opens");
    for seq in 0..records {
        add(&mut store, seq).expect("acknowledged");
    }
    (disk, store)
}

/// What the next life reads; the records must be those that were written, from the first on.
fn kept(disk: &JournalDisk) -> usize {
    let store = JournalStore::open(disk.open()).expect("opens again");
    let records = store.read_all().expect("reads");
    for (seq, record) in records.iter().enumerate() {
        assert_eq!(*record, vec![seq as u8 + 1; RECORD_BYTES], "record {seq}");
    }
    records.len()
}

#[test]
fn a_dead_process_changes_nothing_on_its_way_down() {
    let (disk, store) = journal(3);
    disk.cut();
    let before = disk.medium();
    drop(store);
    assert_eq!(disk.medium(), before);
    assert_eq!(kept(&disk), 3);
}

#[test]
fn a_torn_write_takes_nothing_that_was_acknowledged() {
    for draw in 0..40 {
        let (disk, mut store) = journal(3);
        let (count, told) = counting();
        let draws = RootSeed(draw).stream("torn");
        disk.ail(fault(), Ailment::Torn(draws), told);
        assert!(add(&mut store, 3).is_err(), "draw {draw}");
        assert_eq!(count.load(Ordering::SeqCst), 1);
        drop(store);
        assert_eq!(kept(&disk), 3, "draw {draw}");
    }
}

#[test]
fn a_process_that_dies_in_a_commit_leaves_all_of_it_or_nothing() {
    let mut found = [0; 2];
    for write in 1..=12 {
        let (disk, mut store) = journal(3);
        let (count, told) = counting();
        disk.ail(fault(), Ailment::DyingWrite(write), told);
        let acknowledged = (3..6).take_while(|seq| add(&mut store, *seq).is_ok());
        let acknowledged = 3 + acknowledged.count();
        assert_eq!(count.load(Ordering::SeqCst), 1, "write {write}");
        drop(store);
        let beyond = kept(&disk) - acknowledged;
        found[beyond] += 1;
    }
    assert!(found[0] > 0 && found[1] > 0, "{found:?}");
}

#[test]
fn a_lost_sync_leaves_what_was_synced_before() {
    let (disk, mut store) = journal(3);
    let (count, told) = counting();
    disk.ail(fault(), Ailment::Lost, told);
    assert!(add(&mut store, 3).is_err());
    assert_eq!(count.load(Ordering::SeqCst), 1);
    drop(store);
    assert_eq!(kept(&disk), 3);
}

#[test]
fn after_a_failed_sync_the_record_is_there_or_not_and_no_other_is_touched() {
    for draw in 0..40 {
        let (disk, mut store) = journal(3);
        let (count, told) = counting();
        let (fault, draws) = (fault(), RootSeed(draw).stream("sync"));
        disk.ail(fault, Ailment::FailedSync(draws), told);
        assert!(add(&mut store, 3).is_err());
        assert!(add(&mut store, 3).is_err(), "it must be opened anew");
        assert!(count.load(Ordering::SeqCst) > 0);
        drop(store);
        disk.heal(fault);
        assert!((3..=4).contains(&kept(&disk)), "draw {draw}");
    }
}

#[test]
fn a_full_disk_says_so_and_takes_the_record_when_there_is_space() {
    let (disk, mut store) = journal(3);
    let (count, told) = counting();
    let fault = fault();
    disk.ail(fault, Ailment::Full, told);
    let refused = add(&mut store, 3);
    assert!(
        matches!(refused, Err(StoreError::NoSpace { .. })),
        "{refused:?}"
    );
    assert!(count.load(Ordering::SeqCst) > 0);
    drop(store);
    disk.heal(fault);
    assert_eq!(kept(&disk), 3);
}

#[test]
fn a_disk_that_cannot_be_read_is_refused_until_it_can() {
    let (disk, store) = journal(3);
    disk.cut();
    drop(store);
    let (count, told) = counting();
    let fault = fault();
    disk.ail(fault, Ailment::ReadError, told);
    assert!(JournalStore::open(disk.open()).is_err());
    assert!(count.load(Ordering::SeqCst) > 0);
    disk.heal(fault);
    assert_eq!(kept(&disk), 3);
}

#[test]
fn a_slow_sync_says_what_it_costs_once() {
    let (disk, mut store) = journal(3);
    let (count, told) = counting();
    disk.ail(fault(), Ailment::Slow(Duration::from_secs(2)), told);
    add(&mut store, 3).expect("acknowledged");
    let syncs = count.load(Ordering::SeqCst);
    assert!(syncs > 0);
    assert_eq!(disk.take_delay(), Duration::from_secs(2) * syncs);
    assert_eq!(disk.take_delay(), Duration::ZERO);
}

/// The last record is the one that a store could silently take back, as if its commit had been torn.
#[test]
fn a_turned_bit_in_the_last_record_is_never_taken_for_a_torn_commit() {
    let (disk, store) = journal(3);
    disk.cut();
    drop(store);
    let medium = disk.medium();
    let needle = [3_u8; RECORD_BYTES];
    let places: Vec<usize> = (0..medium.len() - RECORD_BYTES)
        .filter(|at| medium[*at..*at + RECORD_BYTES] == needle)
        .collect();
    assert!(!places.is_empty());
    for place in places {
        let fault = fault();
        let offset = (place + RECORD_BYTES / 2) as u64;
        disk.ail(fault, Ailment::BitFlip { offset, bit: 5 }, Arc::new(|| {}));
        let opened = JournalStore::open(disk.open());
        let read = opened.and_then(|store| store.read_all());
        assert!(
            read.is_err(),
            "the store gave {:?} records",
            read.map(|r| r.len())
        );
        disk.heal(fault);
        assert_eq!(kept(&disk), 3);
    }
}
