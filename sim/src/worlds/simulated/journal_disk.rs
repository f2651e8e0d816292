//! Owns a disk in memory for the journal, with the semantics of a file, and what goes wrong with it. Does not own the journal's
//! format (`lockstep-host`) nor when something goes wrong (`sites::disks`).
//!
//! Fault model. A process sees what it wrote; the medium has what was synced. A process that dies leaves the medium as it
//! is: what was not synced is lost, unless a fault below says otherwise. A dead process (one that was killed, or whose
//! successor has opened the disk) can neither read nor write: whatever it does on its way down has no effect.
//!
//! - torn: of the next write only the first bytes reach the medium, all earlier ones do; the process dies with it.
//! - dying write: the n-th write from now and all earlier ones reach the medium; the process dies right after it.
//! - lost: at the next sync nothing reaches the medium, and the process dies.
//! - failed sync: the sync returns an error. Each write since the last one has reached the medium or is lost, drawn for each, and
//!   the process no longer sees the lost ones: after a failed sync nothing may be assumed. Sizes are kept.
//! - full: writes and growth are refused with "no space". - read error: reads are refused.
//! - slow: a sync is done at once, and takes so much longer to return (`take_delay`).
//! - bit flip: one bit on the medium is turned, and turned back when the fault ends.
//!
//! Not modelled: writes that a healthy disk carries out in another order, and blocks that are lost after a good sync.

use crate::faults::FaultId;
use crate::prng::Stream;
use crate::worlds::service::Told;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// What is wrong with the disk.
pub enum Ailment {
    /// The next write is torn; draws how much of it is written.
    Torn(Stream),
    /// The process dies right after so many writes, from 1.
    DyingWrite(u32),
    /// The next sync keeps nothing, and the process dies.
    Lost,
    /// Syncs fail; draws what they keep.
    FailedSync(Stream),
    /// No space.
    Full,
    /// Reads fail.
    ReadError,
    /// Syncs take longer.
    Slow(Duration),
    /// This bit of this byte is turned.
    BitFlip {
        /// Of the byte.
        offset: u64,
        /// From 0.
        bit: u8,
    },
}

struct Trouble {
    ailment: Ailment,
    told: Told,
}

/// A change that the medium has not got yet.
enum Change {
    Write(usize, Vec<u8>),
    Resize(usize),
}

fn apply(change: &Change, bytes: &mut Vec<u8>) {
    match change {
        Change::Write(start, data) => {
            let end = start + data.len();
            bytes.resize(bytes.len().max(end), 0);
            bytes[*start..end].copy_from_slice(data);
        }
        Change::Resize(len) => bytes.resize(*len, 0),
    }
}

#[derive(Default)]
struct Contents {
    /// As the process sees it.
    written: Vec<u8>,
    /// On the medium.
    durable: Vec<u8>,
    /// Between the two, in order.
    unsynced: Vec<Change>,
    /// Grows with every opening.
    life: u64,
    /// The life that has the disk open is dead.
    dead: bool,
    troubles: BTreeMap<FaultId, Trouble>,
    /// What the last sync still costs.
    delay: Duration,
}

/// The disk; clones share it.
#[derive(Clone, Default)]
pub struct JournalDisk(Arc<Mutex<Contents>>);

/// The disk as one life of a process has it open.
pub struct OpenDisk {
    disk: JournalDisk,
    life: u64,
}

impl std::fmt::Debug for OpenDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the journal's disk, life {}", self.life)
    }
}

impl JournalDisk {
    /// Opens it for a new life; the one before is dead.
    pub fn open(&self) -> OpenDisk {
        let mut contents = self.contents();
        contents.life += 1;
        contents.dead = false;
        contents.delay = Duration::ZERO;
        contents.unsynced.clear();
        contents.written = contents.durable.clone();
        OpenDisk {
            disk: self.clone(),
            life: contents.life,
        }
    }

    /// The process is dead: nothing it does reaches the disk any more, and what was not synced is lost.
    pub fn cut(&self) {
        self.contents().dead = true;
    }

    /// Another disk, empty, is in its place.
    pub fn lose_all(&self) {
        let mut contents = self.contents();
        contents.durable.clear();
        contents.written.clear();
        contents.unsynced.clear();
    }

    /// A healthy disk of its own with what is on the medium, for looking at it while the journal is in use.
    pub fn copy(&self) -> JournalDisk {
        JournalDisk::holding(self.contents().durable.clone())
    }

    /// A healthy disk with these bytes on the medium.
    pub fn holding(durable: Vec<u8>) -> JournalDisk {
        JournalDisk(Arc::new(Mutex::new(Contents {
            durable,
            ..Contents::default()
        })))
    }

    /// What is on the medium.
    pub fn medium(&self) -> Vec<u8> {
        self.contents().durable.clone()
    }

    /// Something goes wrong from now on; `told` is called whenever it does.
    pub fn ail(&self, fault: FaultId, ailment: Ailment, told: Told) {
        let mut contents = self.contents();
        if let Ailment::BitFlip { offset, bit } = ailment {
            contents.turn(offset, bit);
        }
        let trouble = Trouble { ailment, told };
        contents.troubles.insert(fault, trouble);
    }

    /// Puts right what this fault did wrong, as far as it can be.
    pub fn heal(&self, fault: FaultId) {
        let mut contents = self.contents();
        if let Some(Trouble {
            ailment: Ailment::BitFlip { offset, bit },
            ..
        }) = contents.troubles.remove(&fault)
        {
            contents.turn(offset, bit);
        }
    }

    /// How long the latest sync still takes; asked once.
    pub fn take_delay(&self) -> Duration {
        std::mem::take(&mut self.contents().delay)
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().expect("no holder of the disk panics")
    }
}

impl Contents {
    fn turn(&mut self, offset: u64, bit: u8) {
        if let Some(byte) = self.durable.get_mut(offset as usize) {
            *byte ^= 1 << bit;
        }
    }

    /// Everything written so far reaches the medium.
    fn flush(&mut self) {
        for change in self.unsynced.drain(..) {
            apply(&change, &mut self.durable);
        }
    }

    fn die(&mut self) {
        self.dead = true;
        self.unsynced.clear();
    }

    /// The first trouble for which `pick` has something, with whom to tell.
    fn find<T>(&mut self, pick: impl Fn(&mut Ailment) -> Option<T>) -> Option<(FaultId, T, Told)> {
        self.troubles.iter_mut().find_map(|(fault, trouble)| {
            let found = pick(&mut trouble.ailment)?;
            Some((*fault, found, trouble.told.clone()))
        })
    }

    fn change(&mut self, change: Change) {
        apply(&change, &mut self.written);
        self.unsynced.push(change);
    }

    /// The process dies in this write, if one of the faults says so; whom to tell.
    fn dies_writing(&mut self, offset: usize, data: &[u8]) -> Option<(io::Result<()>, Told)> {
        let torn = |ailment: &mut Ailment| match ailment {
            Ailment::Torn(draws) if data.len() > 1 => {
                Some(draws.between(1, data.len() as u64 - 1) as usize)
            }
            _ => None,
        };
        if let Some((fault, kept, told)) = self.find(torn) {
            self.flush();
            apply(
                &Change::Write(offset, data[..kept].to_vec()),
                &mut self.durable,
            );
            self.die();
            self.troubles.remove(&fault);
            return Some((Err(dead()), told));
        }
        let counted = |ailment: &mut Ailment| match ailment {
            Ailment::DyingWrite(left) => {
                *left -= 1;
                (*left == 0).then_some(())
            }
            _ => None,
        };
        let (fault, (), told) = self.find(counted)?;
        self.change(Change::Write(offset, data.to_vec()));
        self.flush();
        self.die();
        self.troubles.remove(&fault);
        Some((Ok(()), told))
    }

    /// Keeps a drawn part of what was written since the last sync.
    fn keep_some(&mut self, mut kept: Vec<bool>) {
        for change in std::mem::take(&mut self.unsynced) {
            let is_kept = kept.pop().unwrap_or(false);
            if is_kept || matches!(change, Change::Resize(_)) {
                apply(&change, &mut self.durable);
            }
        }
        self.written = self.durable.clone();
    }

    fn is_full(&mut self) -> Option<Told> {
        let full = |ailment: &mut Ailment| matches!(ailment, Ailment::Full).then_some(());
        self.find(full).map(|(_, (), told)| told)
    }

    fn sync(&mut self) -> (io::Result<()>, Option<Told>) {
        let lost = |ailment: &mut Ailment| matches!(ailment, Ailment::Lost).then_some(());
        if let Some((fault, (), told)) = self.find(lost) {
            self.die();
            self.troubles.remove(&fault);
            return (Err(dead()), Some(told));
        }
        let changes = self.unsynced.len();
        let failed = |ailment: &mut Ailment| match ailment {
            Ailment::FailedSync(draws) => {
                Some((0..changes).map(|_| draws.chance(500_000)).collect())
            }
            _ => None,
        };
        if let Some((_, kept, told)) = self.find(failed) {
            self.keep_some(kept);
            return (Err(io::Error::other("the sync failed")), Some(told));
        }
        self.flush();
        let slow = |ailment: &mut Ailment| match ailment {
            Ailment::Slow(by) => Some(*by),
            _ => None,
        };
        let told = self.find(slow).map(|(_, by, told)| {
            self.delay += by;
            told
        });
        (Ok(()), told)
    }
}

fn dead() -> io::Error {
    io::Error::other("the process is dead")
}

impl OpenDisk {
    /// The contents, if this life is the disk's and alive.
    fn alive(&self) -> io::Result<MutexGuard<'_, Contents>> {
        let contents = self.disk.contents();
        if contents.dead || contents.life != self.life {
            return Err(dead());
        }
        Ok(contents)
    }

    fn no_space(&self, mut contents: MutexGuard<'_, Contents>) -> io::Result<()> {
        let full = contents.is_full();
        drop(contents);
        match full {
            None => Ok(()),
            Some(told) => {
                told();
                Err(io::ErrorKind::StorageFull.into())
            }
        }
    }
}

impl redb::StorageBackend for OpenDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.alive()?.written.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut contents = self.alive()?;
        let unreadable =
            |ailment: &mut Ailment| matches!(ailment, Ailment::ReadError).then_some(());
        if let Some((_, (), told)) = contents.find(unreadable) {
            drop(contents);
            told();
            return Err(io::Error::other("the disk cannot be read"));
        }
        let start = offset as usize;
        let bytes = contents
            .written
            .get(start..start + out.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let grows = len as usize > self.alive()?.written.len();
        if grows {
            self.no_space(self.alive()?)?;
        }
        self.alive()?.change(Change::Resize(len as usize));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let (done, told) = self.alive()?.sync();
        if let Some(told) = told {
            told();
        }
        done
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.no_space(self.alive()?)?;
        let mut contents = self.alive()?;
        let start = offset as usize;
        if start + data.len() > contents.written.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some((done, told)) = contents.dies_writing(start, data) {
            drop(contents);
            told();
            return done;
        }
        contents.change(Change::Write(start, data.to_vec()));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
