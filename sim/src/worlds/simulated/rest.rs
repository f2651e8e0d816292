//! Owns waiting in the simulated world: for rest, and for conditions. Does not own the parts that come to rest.

use super::SimulatedWorld;
use super::node_process::NodeProcess;
use crate::vtime::simulated_instant;
use crate::worlds::WorldError;
use crate::worlds::service::Service;
use bitcoin::BlockHash;
use lockstep_engine::time::Span;
use madsim::time::sleep;
use std::time::Duration;

/// How often waiting looks again.
const POLL: Duration = Duration::from_millis(20);

/// All must have been at rest for this long: longer than any message is on its way by default.
const REST: Duration = Duration::from_millis(200);

/// Longer than any exchange that needs no new block: LDK gives a payment ten seconds, HTTP thirty.
pub(super) const SETTLE_LIMIT: Duration = Duration::from_secs(180);

impl SimulatedWorld {
    /// Whether nothing is under way. What most often is, and costs least to see, is asked about first.
    fn is_at_rest(&self) -> Result<bool, WorldError> {
        for process in &self.nodes {
            check_running(process)?;
        }
        if let Some(service) = &self.running
            && !service.status()?.is_some_and(|status| status.is_quiet())
        {
            return Ok(false);
        }
        Ok(self.network.is_quiet() && self.restless(1)?.is_empty())
    }

    /// What is still under way, in words; not more than so many parts of it.
    fn restless(&self, most: usize) -> Result<Vec<String>, WorldError> {
        let mut waiting = Vec::new();
        // Nobody can see more than the backend shows; who has seen more already stays there.
        let shown = self.backend.shown_height();
        let is_silent = self.backend.is_stopped();
        let has_seen = |height: u32, hash: BlockHash| {
            is_silent || height >= shown && self.backend.read(|chain| chain.is_in_best_chain(&hash))
        };
        if !self.network.is_quiet() {
            waiting.push("bytes on links".to_owned());
        }
        for process in &self.nodes {
            if waiting.len() >= most {
                return Ok(waiting);
            }
            check_running(process)?;
            let Some(node) = process.running().filter(|_| !process.is_hindered()) else {
                continue;
            };
            let best = node.best_blocks();
            if !best.iter().all(|(hash, height)| has_seen(*height, *hash)) {
                waiting.push(format!("node {} to see block {shown}", process.name));
            }
            let quiet = node.quiet() || process.waits_for_the_lost(&node);
            if !quiet || !process.has_read_all() {
                waiting.push(format!("node {} to come to rest", process.name));
            }
        }
        let layer0 = self.layer0.iter().map(|(process, _)| process);
        for process in [&self.gateway].into_iter().chain(layer0) {
            if process.has_work() {
                let name = process.endpoint();
                waiting.push(format!("the {name} to deliver a webhook"));
            }
        }
        if let Some(service) = &self.running {
            match service.status()? {
                Some(status) if status.is_quiet() => {}
                Some(status) => waiting.push(format!("the engine: {:?}", status.in_flight_effects)),
                None => {
                    let why = service.failure();
                    let why = why.map_or_else(String::new, |why| format!(" ({why})"));
                    waiting.push(format!("the engine to restart{why}"));
                }
            }
            if self.engine_waits_to_look(service)? {
                waiting.push("the engine to look at its node".to_owned());
            }
            if service.is_kept() {
                waiting.push("the engine to answer again".to_owned());
            }
            let last = service
                .handle()
                .map(|handle| handle.with_engine(|engine| engine.chain_blocks().last().copied()));
            if last.is_ok_and(|last| !last.is_some_and(|at| has_seen(at.height, at.hash))) {
                waiting.push(format!("the engine to see block {shown}"));
            }
        }
        Ok(waiting)
    }

    /// Whether the engine has yet to see what its node shows, and can.
    fn engine_waits_to_look(&self, service: &Service) -> Result<bool, WorldError> {
        let operator = self.blueprint.operator.as_ref();
        let Some(process) = operator.and_then(|name| self.process(name).ok()) else {
            return Ok(false);
        };
        let node = process.running().filter(|_| !process.is_hindered());
        let can = node.is_some_and(|node| !process.waits_for_the_lost(&node));
        let status = service.status()?;
        let waits = status.is_some_and(|status| {
            let mut retries = status.waiting_retries.iter();
            retries.any(|retry| retry == "look at the node")
        });
        Ok(can && waits)
    }

    /// Waits for a condition; `what` is still missing as long as it gives words.
    pub(super) async fn wait_for(
        &self,
        limit: Duration,
        missing: impl Fn(&Self) -> Result<Vec<String>, WorldError>,
    ) -> Result<(), WorldError> {
        let start = simulated_instant();
        loop {
            let waiting_for = missing(self)?;
            if waiting_for.is_empty() {
                return Ok(());
            }
            let waited = simulated_instant() - start;
            if waited >= limit {
                return Err(WorldError::Unsettled {
                    waited: Span(waited.as_millis() as u64),
                    waiting_for,
                });
            }
            sleep(POLL).await;
        }
    }

    /// Waits, within a limit, until everything has been at rest for a while.
    pub(super) async fn come_to_rest(&self) -> Result<(), WorldError> {
        let mut start = simulated_instant();
        let mut at_rest_since = None;
        loop {
            let is_at_rest = self.is_at_rest()?;
            let now = simulated_instant();
            if is_at_rest {
                if now - *at_rest_since.get_or_insert(now) >= REST {
                    return Ok(());
                }
            } else {
                at_rest_since = None;
                if self.disks.are_in_trouble() {
                    // It ends by itself, at a time that the scenario says.
                    start = now;
                }
                if now - start >= SETTLE_LIMIT {
                    return Err(WorldError::Unsettled {
                        waited: Span((now - start).as_millis() as u64),
                        waiting_for: self.restless(usize::MAX)?,
                    });
                }
            }
            sleep(POLL).await;
        }
    }
}

/// A process that has ended by itself, against the plan, ends the run.
fn check_running(process: &NodeProcess) -> Result<(), WorldError> {
    match process.failure() {
        Some(reason) => Err(WorldError::harness(
            format!("run node {}", process.name),
            reason,
        )),
        None => Ok(()),
    }
}
