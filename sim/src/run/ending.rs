//! Owns the end of a run: all is healed, everything becomes final, the outcomes and the journal are checked, the world is shut
//! down. Does not own the steps before it.

use super::outcome::{Outcome, Phase, Stop, Verdict};
use super::{Runner, outcome};
use crate::invariants::{self, Fate};
use crate::worlds::service::OpenStore;
use crate::worlds::{World, WorldError};
use lockstep_engine::api::{Engine, EngineConfig, Status};
use lockstep_engine::id::PaymentId;
use lockstep_engine::onchain::Label;
use lockstep_engine::payments::Payment;
use lockstep_engine::time::Span;

/// As deep as the default policy ever asks for.
const BLOCKS_TO_FINALITY: u32 = 6;

/// Blocks that are mined between two looks at HTLCs of closed channels.
const BLOCKS_PER_ROUND: u32 = 24;

/// Rounds within which an HTLC is over: LDK sends none that expires more than 1,008 blocks later, and what it is claimed
/// with has to confirm.
const ROUNDS_TO_HTLC_EXPIRY: u32 = 44;

/// The reconciliation that the run itself asks for.
const LAST_RUN: &str = "lockstep.end-of-day";

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
        self.reconcile_what_came_back().await?;
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
                if self.mine_until_htlcs_end().await? {
                    continue;
                }
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

    /// An HTLC of a channel that was closed meanwhile ends on chain (BOLT 5), at the latest some blocks after its expiry: until
    /// then a payout that waits for it cannot be final. Whether blocks have ended one.
    async fn mine_until_htlcs_end(&mut self) -> Result<bool, Stop> {
        if self.world.channels().await?.len() >= self.run.scenario.channels.len() {
            // What is pending in an open channel is its two nodes' affair and takes no blocks.
            return Ok(false);
        }
        let pending = self.payouts_in_htlcs()?;
        for _ in 0..ROUNDS_TO_HTLC_EXPIRY {
            if self.payouts_in_htlcs()? < pending {
                return Ok(true);
            }
            self.mine(BLOCKS_PER_ROUND).await?;
            self.check_recorder()?;
        }
        Ok(self.payouts_in_htlcs()? < pending)
    }

    /// How many payouts over Lightning are not final and have an HTLC pending somewhere.
    fn payouts_in_htlcs(&self) -> Result<usize, Stop> {
        let open = |engine: &Engine| -> Vec<[u8; 32]> {
            let payments = engine.payments().iter();
            let open = payments.filter(|(_, payment)| !payment.status().is_final());
            open.filter_map(|(_, payment)| match payment {
                Payment::LightningPayout(payout) => Some(payout.payment_hash),
                _ => None,
            })
            .collect()
        };
        let mut pending = 0;
        for hash in self.world.service().with_engine(open)? {
            pending += usize::from(self.world.hash_truth(hash)?.pending);
        }
        Ok(pending)
    }

    /// Transfers that came back without a word, because their webhooks are lost, show in the gateway's report: operators
    /// reconcile every day.
    async fn reconcile_what_came_back(&mut self) -> Result<(), Stop> {
        let fates = self.fates()?;
        let came_back = |id: &PaymentId, payment: &Payment| {
            matches!(payment, Payment::SepaPayout(_))
                && payment.status() == Status::Settled
                && fates.payments.get(id) == Some(&Fate::NotDone)
        };
        let unnoticed = self.world.service().with_engine(|engine| {
            let mut payments = engine.payments().iter();
            payments.any(|(id, payment)| came_back(id, payment))
        })?;
        if unnoticed {
            self.reconcile(LAST_RUN).await?;
            self.world.settle().await?;
            self.check_recorder()?;
        }
        Ok(())
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
