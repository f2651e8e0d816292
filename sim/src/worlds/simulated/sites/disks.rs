//! Owns bringing trouble about with the disk of the engine's host, and the store on that disk. Does not own what the disk does
//! when it is troubled (`journal_disk`) nor the disks of Lightning nodes.
//!
//! What counts as an effect: a write torn, a sync that was lost, refused or slow, a write or a read refused, a start refused
//! because of a turned bit.

use crate::faults::{FaultId, Faults};
use crate::prng::RootSeed;
use crate::scenario::{DiskFaultKind, Endpoint, Trouble};
use crate::worlds::service::{OpenStore, Service, Switch, Told};
use crate::worlds::simulated::journal_disk::{Ailment, JournalDisk};
use crate::worlds::{Blueprint, FaultSite, WorldError};
use futures_util::future::BoxFuture;
use lockstep_engine::api::Input;
use lockstep_engine::journal::Journal;
use lockstep_host::ports::{Flow, Interruption, Point, Store, StoreError};
use lockstep_host::store::JournalStore;
use madsim::runtime::NodeHandle;
use madsim::time::sleep;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Most bytes that are not zero belong to a page in use; more tries than that are never needed.
const MAX_DRAWS: u32 = 200;

/// The disk of the engine's host, and how to reach the one that has it open.
#[derive(Clone)]
pub(in crate::worlds::simulated) struct Disks {
    disk: JournalDisk,
    service: Arc<Mutex<Option<Service>>>,
    keeper: NodeHandle,
    seed: RootSeed,
    faults: Arc<Mutex<Faults>>,
    /// Faults of processes and of this disk that are not over.
    active: Arc<Mutex<BTreeSet<FaultId>>>,
}

impl Disks {
    /// A disk in order. Timers run on `keeper`.
    pub(in crate::worlds::simulated) fn new(
        disk: JournalDisk,
        service: Arc<Mutex<Option<Service>>>,
        keeper: NodeHandle,
        blueprint: &Blueprint,
    ) -> Disks {
        Disks {
            disk,
            service,
            keeper,
            seed: blueprint.seed,
            faults: blueprint.faults.clone(),
            active: Arc::default(),
        }
    }

    fn active(&self) -> MutexGuard<'_, BTreeSet<FaultId>> {
        self.active.lock().expect("no holder panics")
    }

    /// Whether trouble of a process or of this disk is not over yet.
    pub(in crate::worlds::simulated) fn are_in_trouble(&self) -> bool {
        !self.active().is_empty()
    }

    /// The engine at work.
    pub(super) fn service(&self) -> Result<Service, WorldError> {
        let service = self.service.lock().expect("no holder panics").clone();
        service.ok_or_else(|| WorldError::harness("trouble the engine", "it was never started"))
    }

    /// Counts an effect whenever it is called.
    pub(super) fn counting(&self, fault: FaultId) -> Told {
        let faults = self.faults.clone();
        Arc::new(move || faults.lock().expect("no holder panics").had_effect(fault))
    }

    /// Counts an effect, which is the death of the engine's process; it stays down until the fault ends.
    pub(super) fn deadly(&self, service: Service, fault: FaultId) -> Told {
        let count = self.counting(fault);
        Arc::new(move || {
            service.keep_down(fault);
            count();
        })
    }

    /// The disk ails from now on.
    pub(super) fn ail(&self, fault: FaultId, ailment: Ailment, told: Told) {
        self.disk.ail(fault, ailment, told);
    }

    /// Notes that `fault` goes on, and ends it by `end` when it is over: whoever waits for the engine does not set off alarms.
    pub(super) fn lasts(
        &self,
        fault: FaultId,
        span: Duration,
        end: impl FnOnce() + Send + 'static,
    ) {
        self.active().insert(fault);
        self.keeper.spawn(async move {
            sleep(span).await;
            end();
        });
    }

    /// Notes that `fault` is over; false if it was before.
    pub(super) fn is_over(&self, fault: FaultId) -> bool {
        self.active().remove(&fault)
    }

    /// Puts right what a fault has done to the engine's disk, and lets its process run and answer.
    pub(super) fn put_right(&self, fault: FaultId) -> Result<(), WorldError> {
        self.disk.heal(fault);
        self.service()?.release(fault);
        Ok(())
    }

    fn stream(&self, fault: FaultId) -> crate::prng::Stream {
        self.seed.stream(&format!("disk fault {}", fault.number()))
    }

    /// Draws a bit of what is kept. Pages that are free hold no record, so a bit of them would be no fault: the bit is
    /// drawn anew until a copy of the disk, with this bit turned, cannot be read as the journal that was written.
    fn draw_bit(&self, fault: FaultId) -> Result<Ailment, WorldError> {
        let (medium, mut draws) = (self.disk.medium(), self.stream(fault));
        let written = journal(JournalDisk::holding(medium.clone()));
        // The file's header is written anew in each commit; which of its two slots counts is guarded by nothing.
        let in_use: Vec<usize> = (HEADER_BYTES as usize..medium.len())
            .filter(|offset| medium[*offset] != 0)
            .collect();
        for _ in 0..MAX_DRAWS {
            let Some(last) = in_use.len().checked_sub(1) else {
                break;
            };
            let offset = in_use[draws.between(0, last as u64) as usize];
            let bit = draws.between(0, 7) as u8;
            let mut turned = medium.clone();
            turned[offset] ^= 1 << bit;
            // A shorter journal that reads well is the worst that a turned bit can do.
            if journal(JournalDisk::holding(turned)) != written {
                let offset = offset as u64;
                return Ok(Ailment::BitFlip { offset, bit });
            }
        }
        Err(WorldError::harness(
            "turn a bit of the journal",
            "no bit was found that holds anything",
        ))
    }

    fn begin_at_engine(&self, kind: DiskFaultKind, fault: FaultId) -> Result<(), WorldError> {
        let service = self.service()?;
        let count = self.counting(fault);
        match kind {
            DiskFaultKind::Torn { .. } => {
                let told = self.deadly(service, fault);
                self.ail(fault, Ailment::Torn(self.stream(fault)), told);
            }
            DiskFaultKind::Lost { .. } => {
                self.ail(fault, Ailment::Lost, self.deadly(service, fault));
            }
            DiskFaultKind::Slow { by, .. } => {
                let by = Duration::from_millis(by.get());
                self.ail(fault, Ailment::Slow(by), count);
            }
            DiskFaultKind::FailedSync { .. } => {
                self.ail(fault, Ailment::FailedSync(self.stream(fault)), count);
            }
            DiskFaultKind::Full { .. } => self.ail(fault, Ailment::Full, count),
            DiskFaultKind::ReadError { .. } => {
                self.ail(fault, Ailment::ReadError, count);
                service.kill();
            }
            DiskFaultKind::BitFlip { .. } => {
                service.kill();
                self.ail(fault, self.draw_bit(fault)?, Arc::new(|| {}));
                service.watch_refused_starts(fault, count);
            }
        }
        Ok(())
    }
}

/// redb's first page: magic number, geometry, both commit slots.
const HEADER_BYTES: u64 = 4_096;

/// The records, if a whole journal can be read from it.
fn journal(disk: JournalDisk) -> Option<Vec<Vec<u8>>> {
    let read = JournalStore::open(disk.open()).and_then(|store| store.read_all());
    let whole = |records: &Vec<Vec<u8>>| Journal::from_records::<Input>(records, None).is_ok();
    read.ok().filter(whole)
}

impl FaultSite for Disks {
    fn begin(&self, trouble: &Trouble, fault: FaultId) -> Result<bool, WorldError> {
        let Trouble::Disk {
            of: Endpoint::Engine,
            kind,
        } = trouble
        else {
            return Ok(false);
        };
        self.begin_at_engine(*kind, fault)?;
        let disks = self.clone();
        let span = trouble.lasts().map_or(0, |span| span.get());
        self.lasts(fault, Duration::from_millis(span), move || {
            // It was begun, so there is an engine.
            let _ = disks.end(fault);
        });
        Ok(true)
    }

    fn end(&self, fault: FaultId) -> Result<(), WorldError> {
        match self.is_over(fault) {
            true => self.put_right(fault),
            false => Ok(()),
        }
    }
}

/// The journal on a disk that may be slow.
struct DiskStore {
    journal: JournalStore,
    disk: JournalDisk,
}

impl Store for DiskStore {
    fn append(&mut self, seq: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.journal.append(seq, bytes)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.journal.sync()
    }

    fn flushing(&mut self) -> Option<BoxFuture<'static, ()>> {
        let delay = self.disk.take_delay();
        (!delay.is_zero()).then(|| -> BoxFuture<'static, ()> { Box::pin(sleep(delay)) })
    }

    fn read_all(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        self.journal.read_all()
    }
}

/// Opens the journal on a disk in memory that outlives the engine's process.
pub(in crate::worlds::simulated) fn open_store(disk: JournalDisk) -> OpenStore {
    Arc::new(move || {
        let journal = JournalStore::open(disk.open())?;
        let disk = disk.clone();
        // What the syncs of the opening took nobody has waited for.
        disk.take_delay();
        Ok(Box::new(DiskStore { journal, disk }) as Box<dyn Store>)
    })
}

/// Kills at armed points as power is cut: the process closes nothing.
pub(in crate::worlds::simulated) struct DyingSwitch {
    /// Knows the points.
    pub switch: Arc<Switch>,
    /// Takes nothing more from a process that is dead.
    pub disk: JournalDisk,
}

impl Interruption for DyingSwitch {
    fn at(&self, point: Point, input: &Input) -> Flow {
        let flow = self.switch.at(point, input);
        if flow == Flow::Stop {
            self.disk.cut();
        }
        flow
    }
}
