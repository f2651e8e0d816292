//! Owns carrying out the decisions about escrows: signed by the agent, or wrongly as the step says, and told by webhook. Does
//! not own how webhooks travel (`worlds`) nor what is expected.

use super::{Runner, Stop};
use crate::scenario::{EscrowDecision, EscrowShare, EscrowVerdict, PartyName};
use crate::trace::Subsystem;
use crate::worlds::{World, keys};
use lockstep_engine::escrow::{Decision, EscrowTerms, Share, Verdict};
use lockstep_engine::id::{EscrowId, PaymentId};
use lockstep_engine::identity::{jws_compact, jws_input};
use lockstep_engine::money::Msat;
use serde_json::json;

impl<W: World> Runner<W> {
    /// The terms of a charge's escrow.
    pub(super) fn terms_of(&self, charge: &crate::scenario::Charge) -> Option<EscrowTerms> {
        let escrow = charge.escrow.as_ref()?;
        Some(EscrowTerms {
            id: id(&escrow.id),
            agent: self.did_of(&escrow.agent),
        })
    }

    /// Signs a decision and has it told.
    pub(super) async fn decide(&mut self, step: &EscrowDecision) -> Result<(), Stop> {
        let escrow = id(&step.escrow);
        let verdict = match &step.verdict {
            EscrowVerdict::Release => Verdict::Release,
            EscrowVerdict::Refuse => Verdict::Refuse,
            EscrowVerdict::Split(shares) => {
                let mut engines = Vec::new();
                for share in shares {
                    engines.push(self.share(share).await?);
                }
                Verdict::Split(engines)
            }
        };
        let decision = Decision {
            escrow: escrow.clone(),
            verdict,
        };
        let signer = step.signer.as_ref().unwrap_or(&step.agent);
        let mut jws = self.statement(signer, &decision.payload());
        if step.altered {
            let verdict = match decision.verdict {
                Verdict::Release => Verdict::Refuse,
                Verdict::Refuse | Verdict::Split(_) => Verdict::Release,
            };
            let other = self.statement(signer, &Decision { escrow, verdict }.payload());
            jws = with_signature_of(&other, &jws);
        }
        for _ in 0..step.times {
            let now = self.world.now().0;
            if let Some(layer0) = self.world.layer0() {
                layer0.lock().tell_decision(now, &jws);
            }
            self.world.layer0_has_news();
            // One after the other, so that both worlds answer in one order.
            if self.is_lock_step() {
                self.world.settle().await?;
            }
        }
        Ok(())
    }

    fn statement(&self, signer: &PartyName, payload: &str) -> String {
        let (seed, method) = (self.run.options.seed, self.run.scenario.dids[signer]);
        let input = jws_input(&self.did_of(signer), payload).expect("agents have keys");
        let signature = keys::signature_of_party(seed, signer.as_str(), method, &input);
        jws_compact(&input, &signature)
    }

    async fn share(&mut self, share: &EscrowShare) -> Result<Share, Stop> {
        let charge = share.charge.as_str();
        let pay_to = match &share.to {
            Some(node) => {
                let invoice = self
                    .world
                    .node_invoice(node.as_str(), Some(share.payer.get()))
                    .await?;
                let mut trace = self.run.trace.lock();
                let name = format!("invoice:{charge}.refund-1");
                trace.names.give(invoice.clone(), name);
                let event = json!({ "invoice": invoice, "payment": charge });
                trace.record(Subsystem::Stimulus, "scenario", event);
                Some(invoice)
            }
            None => None,
        };
        Ok(Share {
            charge: PaymentId::new(charge).expect("checked with the scenario"),
            pay_to,
            payee_msat: Msat(share.payee.get()),
            payer_msat: Msat(share.payer.get()),
        })
    }
}

fn id(name: &crate::scenario::EscrowName) -> EscrowId {
    EscrowId::new(name.as_str()).expect("checked with the scenario")
}

/// What was stated, with the signature over something else.
fn with_signature_of(stated: &str, signed: &str) -> String {
    let before = |jws: &str| jws.rsplit_once('.').map(|(text, _)| text.to_owned());
    let after = |jws: &str| jws.rsplit_once('.').map(|(_, part)| part.to_owned());
    let (text, signature) = (before(stated), after(signed));
    format!(
        "{}.{}",
        text.unwrap_or_default(),
        signature.unwrap_or_default()
    )
}
