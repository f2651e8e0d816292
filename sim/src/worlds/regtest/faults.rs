//! Owns bringing trouble about in the regtest world, and ending it: what is to be done to which real part. Does not own the
//! parts (`proxy`, `electrs_process`, `door`), nor faults of processes (`process_faults`); `Trouble::is_possible_in` names the
//! same kinds.

use super::RegtestWorld;
use super::chain::Sight;
use super::door::Door;
use crate::faults::FaultId;
use crate::scenario::{ChainFaultKind, Endpoint, LinkFaultKind, Trouble};
use crate::worlds::WorldError;
use bitcoin::ScriptBuf;
use lockstep_engine::time::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// What goes on at the moment.
#[derive(Default)]
pub(super) struct Troubles {
    begun: BTreeMap<FaultId, Begun>,
    /// Blocks that are late, and whom they pay.
    late: Vec<(u32, ScriptBuf)>,
}

/// What was begun.
pub(super) enum Begun {
    Link(String, String),
    /// The door of the gateway (false) or of Layer 0 (true).
    Shut {
        layer0: bool,
    },
    /// With what there was to be seen when it began; `None` once there was something else.
    ElectrsSilent(Option<Sight>),
    BackendAway,
    /// Until this time.
    ProcessAway(Away, Timestamp),
    NodeDead(String),
    LateBlocks,
    EmptyBlocks,
    FeeSpike(u64),
}

/// A process for which time has to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Away {
    Engine,
    Gateway,
    Layer0,
}

/// Why not, in the words of an error.
pub(super) fn refused(trouble: &Trouble, reason: &str) -> WorldError {
    WorldError::refused(
        trouble.scope(),
        format!("bring `{}` about", trouble.name()),
        reason,
    )
}

/// The regtest world has no part for it.
pub(super) fn impossible(trouble: &Trouble) -> WorldError {
    refused(trouble, "the regtest world cannot do this")
}

impl RegtestWorld {
    /// Brings trouble about; its effects are counted under `fault`.
    pub(super) async fn begin_fault(
        &mut self,
        trouble: &Trouble,
        fault: FaultId,
    ) -> Result<(), WorldError> {
        let begun = match trouble {
            Trouble::Link { between, kind } => {
                let ends = (&between.0, &between.1);
                match ends {
                    (Endpoint::Node(a), Endpoint::Node(b)) => {
                        let ends = (a.as_str(), b.as_str());
                        self.begin_link(trouble, ends, *kind, fault).await?
                    }
                    (Endpoint::Engine, system @ (Endpoint::Gateway | Endpoint::Layer0))
                    | (system @ (Endpoint::Gateway | Endpoint::Layer0), Endpoint::Engine)
                        if matches!(kind, LinkFaultKind::Partition { .. }) =>
                    {
                        let layer0 = *system == Endpoint::Layer0;
                        self.door_of(layer0)?.shut(fault).await?;
                        Some(Begun::Shut { layer0 })
                    }
                    _ => return Err(impossible(trouble)),
                }
            }
            Trouble::Process { of, kind } => {
                Some(self.begin_process(trouble, of, *kind, fault).await?)
            }
            Trouble::Chain(kind) => Some(self.begin_chain(trouble, kind)?),
            Trouble::Cosigner { .. } => {
                self.blueprint.cosigners.begin_trouble(trouble, fault);
                None
            }
            Trouble::Disk { .. } | Trouble::Clock { .. } | Trouble::Peer { .. } => {
                return Err(impossible(trouble));
            }
        };
        if let Some(begun) = begun {
            self.troubles.begun.insert(fault, begun);
            self.tell_market();
        }
        Ok(())
    }

    /// The door between the engine and the gateway, or Layer 0.
    pub(super) fn door_of(&self, layer0: bool) -> Result<&Door, WorldError> {
        let server = match (&self.layer0, layer0) {
            (_, false) => Some(&self.gateway_server),
            (Some((server, _)), true) => Some(server),
            (None, true) => None,
        };
        let server = server
            .ok_or_else(|| WorldError::harness("find the door of Layer 0", "nobody has a DID"))?;
        Ok(&server.door)
    }

    async fn begin_link(
        &mut self,
        trouble: &Trouble,
        (a, b): (&str, &str),
        kind: LinkFaultKind,
        fault: FaultId,
    ) -> Result<Option<Begun>, WorldError> {
        match kind {
            LinkFaultKind::Partition { .. } => self.links.hold(a, b, fault)?,
            LinkFaultKind::Delay { by, .. } => {
                self.links
                    .delay(a, b, fault, Duration::from_millis(by.get()))?;
            }
            LinkFaultKind::Disconnect => {
                if self.links.cut(a, b)? {
                    self.had_effect(fault);
                }
                self.meet_again(a, b).await?;
                return Ok(None);
            }
            _ => return Err(impossible(trouble)),
        }
        Ok(Some(Begun::Link(a.to_owned(), b.to_owned())))
    }

    fn begin_chain(
        &mut self,
        trouble: &Trouble,
        kind: &ChainFaultKind,
    ) -> Result<Begun, WorldError> {
        match kind {
            ChainFaultKind::LateBlocks { .. } => Ok(Begun::LateBlocks),
            ChainFaultKind::EmptyBlocks { .. } => Ok(Begun::EmptyBlocks),
            ChainFaultKind::FeeSpike { feerate, .. } => Ok(Begun::FeeSpike(feerate.get())),
            ChainFaultKind::Stop { .. } => {
                let sight = self.servers.sight()?;
                self.check_backend(trouble)?;
                self.servers.pause_electrs()?;
                Ok(Begun::ElectrsSilent(Some(sight)))
            }
            _ => Err(impossible(trouble)),
        }
    }

    /// Ends what was begun under `fault`.
    pub(super) async fn end_fault(&mut self, fault: FaultId) -> Result<(), WorldError> {
        self.blueprint.cosigners.end_trouble(fault);
        let begun = self.troubles.begun.remove(&fault);
        self.tell_market();
        match begun {
            None | Some(Begun::EmptyBlocks | Begun::FeeSpike(_)) => Ok(()),
            Some(Begun::Link(a, b)) => {
                let held = self.links.is_held(&a, &b);
                self.links.heal(&a, &b, fault)?;
                if held {
                    self.meet_again(&a, &b).await
                } else {
                    Ok(())
                }
            }
            Some(Begun::Shut { layer0 }) => self.door_of(layer0)?.end(fault).await,
            Some(Begun::ProcessAway(Away::Gateway, _)) => self.door_of(false)?.end(fault).await,
            Some(Begun::ProcessAway(Away::Layer0, _)) => self.door_of(true)?.end(fault).await,
            Some(Begun::ProcessAway(Away::Engine, _)) => self.end_engine(fault).await,
            Some(Begun::ElectrsSilent(_) | Begun::BackendAway) => {
                let start = Instant::now();
                self.servers.bring_bitcoind_back().await?;
                self.servers.bring_electrs_back().await?;
                self.waits.add("bitcoind and electrs to come back", start);
                Ok(())
            }
            Some(Begun::NodeDead(name)) => self.restart_node(&name).await,
            Some(Begun::LateBlocks) => {
                for (blocks, payout) in std::mem::take(&mut self.troubles.late) {
                    self.mine_blocks(blocks, payout)?;
                }
                Ok(())
            }
        }
    }

    /// Has two nodes with a channel connect anew, if they can.
    async fn meet_again(&self, a: &str, b: &str) -> Result<(), WorldError> {
        let runs = |name: &str| {
            self.process(name)
                .map(|process| process.running().is_some())
        };
        let neighbours = self.channels.iter().any(|channel| {
            let ends = channel.ends();
            ends == [a, b] || ends == [b, a]
        });
        if neighbours && runs(a)? && runs(b)? && !self.links.is_held(a, b) {
            self.reconnect(a, b).await
        } else {
            Ok(())
        }
    }

    /// Tells the engine's chain source what the rest of the world bids now.
    pub(super) fn tell_market(&self) {
        let spikes = self.all_begun(|begun| match begun {
            Begun::FeeSpike(floor) => Some(*floor),
            _ => None,
        });
        let highest = spikes.iter().map(|(_, floor)| *floor).max().unwrap_or(0);
        self.market.set(self.fee_floor.max(highest));
    }

    /// Mines blocks, or what the chain's troubles make of that.
    pub(super) fn mine_blocks(&mut self, blocks: u32, payout: ScriptBuf) -> Result<(), WorldError> {
        let late = self.all_begun(|begun| matches!(begun, Begun::LateBlocks).then_some(()));
        if !late.is_empty() {
            self.troubles.late.push((blocks, payout));
            late.into_iter()
                .for_each(|(fault, ())| self.had_effect(fault));
            return Ok(());
        }
        let start = Instant::now();
        let empty = self.all_begun(|begun| matches!(begun, Begun::EmptyBlocks).then_some(()));
        let spikes = self.all_begun(|begun| match begun {
            Begun::FeeSpike(floor) => Some(*floor),
            _ => None,
        });
        let payable = self.servers.payable(self.fee_floor)?;
        if empty.is_empty() {
            let highest = spikes.iter().map(|(_, floor)| *floor).max().unwrap_or(0);
            for (fault, floor) in spikes {
                if self.servers.payable(floor.max(self.fee_floor))? < payable {
                    self.had_effect(fault);
                }
            }
            self.servers
                .mine(blocks, &payout, self.fee_floor.max(highest))?;
        } else {
            if payable > 0 {
                empty
                    .into_iter()
                    .for_each(|(fault, ())| self.had_effect(fault));
            }
            self.servers.mine_empty(blocks, &payout)?;
        }
        self.waits.add("bitcoind to mine", start);
        Ok(())
    }

    fn all_begun<T>(&self, of: impl Fn(&Begun) -> Option<T>) -> Vec<(FaultId, T)> {
        let begun = self.troubles.begun.iter();
        begun
            .filter_map(|(fault, begun)| Some((*fault, of(begun)?)))
            .collect()
    }

    /// Counts a silence of electrs as one with an effect once there is something that it does not show.
    pub(super) fn electrs_misses(&mut self, sight: &Sight) {
        let mut missed = Vec::new();
        for (fault, begun) in &mut self.troubles.begun {
            if let Begun::ElectrsSilent(before) = begun
                && before.as_ref().is_some_and(|before| before != sight)
            {
                *before = None;
                missed.push(*fault);
            }
        }
        missed.into_iter().for_each(|fault| self.had_effect(fault));
    }

    /// Which processes are away until when, and by which fault.
    pub(super) fn processes_back(&self) -> Vec<(Away, Timestamp, FaultId)> {
        let away = self.all_begun(|begun| match begun {
            Begun::ProcessAway(of, until) => Some((*of, *until)),
            _ => None,
        });
        away.into_iter()
            .map(|(fault, (of, until))| (of, until, fault))
            .collect()
    }

    /// Counts an effect.
    pub(super) fn had_effect(&self, fault: FaultId) {
        let mut faults = self.blueprint.faults.lock().expect("no holder panics");
        faults.had_effect(fault);
    }
}
