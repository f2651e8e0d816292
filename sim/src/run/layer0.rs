//! Owns Layer 0 in a run: what it begins with, the steps and expectations about it, and at the end the wait for what is on its
//! way to it. Does not own Layer 0 (`worlds::layer0`).

use super::{Run, Runner, Stop, words};
use crate::invariants;
use crate::scenario::{About, DidMethod, Family, Layer0Fault, Layer0FaultKind, Outcome, PartyName};
use crate::worlds::http_system::SharedLayer0;
use crate::worlds::layer0::{Identity, Layer0Config};
use crate::worlds::{Layer0Plan, World, WorldError, keys};
use lockstep_engine::api::{Command, Engine};
use lockstep_engine::id::{Did, PartyId};
use lockstep_engine::policy::ScoreRule;
use lockstep_engine::time::Span;

/// How long Layer 0 may go on answering badly after the last step: an hour of attempts ten minutes apart.
const STATEMENT_LIMIT: Span = Span::secs(3_600);

/// How often it is looked whether all is told.
const STATEMENT_POLL: Span = Span::secs(60);

impl Run {
    /// Layer 0 with all that have a DID, if anybody has one.
    pub(super) fn layer0_plan(&self) -> Option<Layer0Plan> {
        let (seed, dids) = (self.options.seed, &self.scenario.dids);
        let identity = |(party, method): (&PartyName, &DidMethod)| Identity {
            did: keys::party_did(seed, party.as_str(), *method).to_string(),
            keys: vec![keys::party_key(seed, party.as_str(), *method)],
        };
        let did = keys::operator_did(seed);
        let operator = Identity {
            keys: vec![keys::multibase(&did).to_owned()],
            did: did.to_string(),
        };
        let token = keys::layer0_token(seed);
        (!dids.is_empty()).then(|| Layer0Plan {
            config: Layer0Config {
                token: token.clone(),
                webhook_secret: keys::layer0_secret(seed),
                identities: dids.iter().map(identity).chain([operator]).collect(),
                rule: ScoreRule::regtest_default(),
            },
            token,
        })
    }
}

impl<W: World> Runner<W> {
    /// Liveness: what is stated reaches Layer 0 once nothing keeps it away any more.
    pub(super) async fn await_statements(&mut self) -> Result<(), Stop> {
        if self.world.layer0().is_none() {
            return Ok(());
        }
        let limit = self.world.now().plus(STATEMENT_LIMIT);
        let under_way = |engine: &Engine| invariants::untold(engine);
        while let Some(violation) = self.world.service().with_engine(under_way)? {
            if self.world.now() >= limit {
                self.run.recorder.found(&violation);
                return Err(Stop::Violation(violation));
            }
            let next = self.world.now().plus(STATEMENT_POLL);
            self.pass_until(next).await?;
            self.world.settle().await?;
        }
        self.check_recorder()
    }

    pub(super) fn did_of(&self, party: &PartyName) -> Did {
        let method = self.run.scenario.dids[party];
        keys::party_did(self.run.options.seed, party.as_str(), method)
    }

    fn layer0(&self) -> Result<&SharedLayer0, WorldError> {
        let layer0 = self.world.layer0();
        layer0.ok_or_else(|| WorldError::harness("find Layer 0", "nobody has a DID"))
    }

    pub(super) async fn enrol(&mut self, party: &PartyName) -> Result<(), Stop> {
        let did = self.did_of(party);
        let party = PartyId::new(party.as_str()).expect("checked with the scenario");
        self.command(Command::EnrolParty { party, did }).await
    }

    pub(super) fn trouble_layer0(&mut self, fault: &Layer0Fault) -> Result<(), Stop> {
        let about = match &fault.about {
            About::Party(party) => self.did_of(party).to_string(),
            About::Payment(payment) => payment.to_string(),
        };
        let order = words::layer0_fault(fault.kind, about);
        let times = match fault.kind {
            // Layer 0 takes this fault once for each time that it is armed.
            Layer0FaultKind::LoseResponse { times } => times,
            _ => 1,
        };
        for _ in 0..times {
            let id = self.plan_fault(Family::Http, fault.kind.name(), fault.about.as_str());
            self.layer0()?.lock().arm_counted(order.clone(), id);
        }
        Ok(())
    }

    pub(super) fn enrolment_is(&self, party: &str, expected: &str) -> Result<(), String> {
        let found = self.run.recorder.enrolment(party);
        if found == Some(expected) {
            return Ok(());
        }
        let found = found.unwrap_or("not asked about");
        Err(format!("party {party} is {found}, not {expected}"))
    }

    /// What Layer 0's book has of a payment.
    pub(super) fn was_stated(
        &self,
        payment: &str,
        outcome: Outcome,
        times: u32,
    ) -> Result<(), String> {
        let Some(layer0) = self.world.layer0() else {
            return Err("there is no Layer 0".to_owned());
        };
        let told: Vec<_> = {
            let layer0 = layer0.lock();
            let about = layer0.book().about(payment);
            about.map(|entry| entry.outcome).collect()
        };
        let last = Some(words::outcome(outcome));
        if told.last().copied() == last.filter(|_| times > 0) && told.len() == times as usize {
            Ok(())
        } else {
            Err(format!(
                "Layer 0 was told {told:?} of {payment}, not {times} statements ending with {outcome}"
            ))
        }
    }

    /// The score that Layer 0 shows now, and the engine's.
    pub(super) fn score_is(
        &mut self,
        party: &PartyName,
        expected: u64,
    ) -> Result<Result<(), String>, Stop> {
        let (now, did) = (self.world.now(), self.did_of(party));
        let id = PartyId::new(party.as_str()).expect("checked with the scenario");
        let shown = self.layer0()?.lock().score(did.as_str(), now.0);
        let own = self.world.service().with_engine(|engine| {
            let policy = engine.payments().policy();
            engine.reputation().score(policy, &id, now)
        })?;
        let right = Some(shown) == own && u64::try_from(shown) == Ok(expected);
        Ok(if right {
            Ok(())
        } else {
            Err(format!(
                "Layer 0 gives {party} {shown} points and the engine {own:?}, not {expected}"
            ))
        })
    }
}
