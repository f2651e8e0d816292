//! Owns the end of a run: all is healed, everything becomes final, the outcomes and the journal are checked, the world is shut
//! down. Does not own the steps before it.

use super::outcome::{Outcome, Phase, Stop, Verdict};
use super::{Runner, outcome};
use crate::invariants;
use crate::worlds::service::OpenStore;
use crate::worlds::{World, WorldError};
use lockstep_engine::api::{Engine, EngineConfig};
use lockstep_engine::onchain::Label;
use lockstep_engine::time::Span;

/// As deep as the default policy ever asks for.
const BLOCKS_TO_FINALITY: u32 = 6;

impl<W: World> Runner<W> {
    /// Heals, lets everything become final, and audits the journal.
    pub(super) async fn end(
        &mut self,
        open_store: &OpenStore,
        config: EngineConfig,
    ) -> Result<(), Stop> {
        self.phase = Phase::Heal;
        while let Some((due, _)) = self.alarms.keys().next().copied() {
            self.world.pass_until(due).await?;
            self.set_off().await?;
        }
        for fault in std::mem::take(&mut self.until_healed) {
            self.end_fault(fault).await?;
        }
        self.world.settle().await?;
        self.check_recorder()?;
        self.phase = Phase::Settle;
        self.await_terminal().await?;
        self.await_statements().await?;
        self.observe(Some("end")).await?;
        self.check_recorder()?;
        self.check_outcomes()?;
        self.phase = Phase::Audit;
        let live = self.world.service().with_engine(|engine| engine.digest())?;
        let store = open_audit(open_store)?;
        let violations = invariants::audit_journal(store.as_ref(), config, live)
            .map_err(|error| WorldError::harness("audit the journal", error))?;
        for violation in &violations {
            self.run.recorder.found(violation);
        }
        self.run
            .recorder
            .count_checks(&["journal-hash-chain", "fold-equals-live"]);
        violations
            .into_iter()
            .next()
            .map_or(Ok(()), |violation| Err(Stop::Violation(violation)))
    }

    /// Each final payment is what the outside made of it.
    fn check_outcomes(&self) -> Result<(), Stop> {
        let fates = self.fates()?;
        let judge = |engine: &Engine| invariants::outcomes(engine, &fates);
        let violation = self.world.service().with_engine(judge)?;
        violation.map_or(Ok(()), |violation| Err(Stop::Violation(violation)))
    }

    /// Liveness: what is not final yet becomes so by its deadline, after blocks. Payments that the engine makes meanwhile
    /// (refunds) get blocks and time of their own; they make no others, so that ends.
    async fn await_terminal(&mut self) -> Result<(), Stop> {
        self.run.recorder.count_checks(&["terminal-by-deadline"]);
        let mut waited_for = None;
        loop {
            let look = |engine: &Engine| {
                let made = engine.payments().iter().count();
                (invariants::unfinished(engine), made)
            };
            let (unfinished, made) = self.world.service().with_engine(look)?;
            let Some((due, violation)) = unfinished else {
                return Ok(());
            };
            if waited_for == Some(made) {
                self.run.recorder.found(&violation);
                return Err(Stop::Violation(violation));
            }
            waited_for = Some(made);
            self.mine(BLOCKS_TO_FINALITY).await?;
            self.pass_until(due.plus(Span::secs(1))).await?;
            self.world.settle().await?;
            if self.run.scenario.policy.max_tip_age.is_some() {
                // What is over is decided by the next tip that is not stale.
                self.mine(1).await?;
            }
            self.check_recorder()?;
        }
    }

    /// Ends the world and tells the outcome.
    pub(super) async fn finish(self, verdict: Verdict) -> Outcome {
        let virtual_ms = self.world.epoch().offset(self.world.now()).0;
        let kind = self.world.kind();
        let labels = match verdict {
            Verdict::Pass => self.world.service().with_engine(|engine| engine.labels()),
            _ => Ok(Vec::new()),
        };
        let labels = labels.unwrap_or_default();
        let ended = self.world.shut_down().await;
        let verdict = match (verdict, ended) {
            (Verdict::Pass, Err(error)) => Stop::World(error).verdict(None, "shutting down"),
            (verdict, _) => verdict,
        };
        Outcome {
            labels: labels.iter().map(Label::to_line).collect(),
            ..outcome(&self.run, kind, verdict, Some(self.phase), virtual_ms)
        }
    }
}

fn open_audit(open_store: &OpenStore) -> Result<Box<dyn lockstep_host::ports::Store>, Stop> {
    open_store()
        .map_err(|error| Stop::World(WorldError::harness("open the journal for the audit", error)))
}
