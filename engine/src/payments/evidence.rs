//! Owns whether a fact can be true: signed by whom it says, about something of ours, in amounts that can be. Does not own the
//! way to the payment that it concerns (`facts`).

use super::refusal::FactRefused;
use super::{Payments, hex};
use crate::escrow;
use crate::fiat::{self, WebhookEvent, WebhookRefused};
use crate::identity::DidNews;
use crate::lightning;
use crate::money::Sat;
use crate::onchain::ViewRefused;
use crate::planted::Bug;
use crate::rail::{ChainView, Fact};
use crate::rare::{Rare, sometimes};
use crate::time::Timestamp;
use bitcoin::Amount;

impl Payments {
    /// Whether a fact would be accepted. That facts with a key answer an outstanding instruction is checked by the caller.
    pub fn check_fact(&self, now: Timestamp, fact: &Fact) -> Result<(), FactRefused> {
        if let Fact::Webhook { signature, body } = fact
            && self.planted != Some(Bug::SkipSignatureCheck)
            && !escrow::claims(body)
        {
            let secrets = if DidNews::claims(body) {
                &self.layer0_secrets
            } else {
                &self.webhook_secrets
            };
            let tolerance = self.policy.webhook_tolerance;
            fiat::verify_webhook_sender(secrets, tolerance, now, signature, body).map_err(
                |cause| {
                    sometimes(Rare::WebhookRefused);
                    FactRefused::Webhook { cause }
                },
            )?;
        }
        if let Fact::Chain(view) = fact {
            self.check_work(view)?;
        }
        self.check_recorded_fact(fact)
    }

    /// Where stale tips decide nothing, a view that replaces blocks by fewer ones is not believed either.
    fn check_work(&self, view: &ChainView) -> Result<(), FactRefused> {
        let known_tip = self.onchain.tip().height;
        let height = view.blocks.last().map_or(known_tip, |tip| tip.height);
        if self.policy.max_tip_age.is_none() || height >= known_tip {
            return Ok(());
        }
        sometimes(Rare::ViewShorter);
        let cause = ViewRefused::Shorter { height, known_tip };
        Err(FactRefused::View { cause })
    }

    /// As `check_fact`, for a fact that was admitted and journaled. Who sent a webhook, and when, was checked then, with
    /// the secrets of that time; they may have been replaced since.
    pub fn check_recorded_fact(&self, fact: &Fact) -> Result<(), FactRefused> {
        match fact {
            Fact::Chain(view) => {
                self.onchain.check_view(view)?;
                self.check_amounts(view)
            }
            Fact::Webhook { body, .. } if escrow::claims(body) => {
                sometimes(Rare::DecisionTold);
                Ok(self.check_escrow_webhook(body)?)
            }
            Fact::Webhook { body, .. } => read_webhook(body).map(|_| ()),
            Fact::LightningSent {
                payment_hash,
                preimage,
                ..
            } => {
                self.check_paid_hash(payment_hash)?;
                if lightning::is_proof(preimage, payment_hash) {
                    Ok(())
                } else {
                    Err(FactRefused::WrongProof {
                        payment_hash: hex(payment_hash),
                    })
                }
            }
            Fact::LightningFailed { payment_hash, .. } => self.check_paid_hash(payment_hash),
            Fact::HeldFailed { payment_hash } => {
                let text = hex(payment_hash);
                let known =
                    self.charged_hashes.contains_key(&text) || self.stray_holds.contains(&text);
                if known {
                    Ok(())
                } else {
                    Err(FactRefused::UnknownHash { payment_hash: text })
                }
            }
            Fact::Node(view) => self.check_node(view),
            Fact::ChannelRefused { .. } if !self.policy.channels => Err(FactRefused::NodeView),
            Fact::ChannelRefused { .. } | Fact::ChannelCloseTaken { .. } => Ok(()),
            Fact::LightningHeld { .. }
            | Fact::LightningReceived { .. }
            | Fact::Signed { .. }
            | Fact::StatementSigned { .. }
            | Fact::Cosigned { .. }
            | Fact::Broadcast { .. }
            | Fact::Fees { .. }
            | Fact::InvoiceCreated { .. }
            | Fact::LightningBalance { .. }
            | Fact::HttpResponded { .. }
            | Fact::HttpFailed { .. }
            | Fact::TimerFired { .. }
            | Fact::Unavailable { .. } => Ok(()),
        }
    }

    fn check_paid_hash(&self, hash: &[u8; 32]) -> Result<(), FactRefused> {
        let payment_hash = hex(hash);
        if self.paid_hashes.contains_key(&payment_hash) {
            Ok(())
        } else {
            Err(FactRefused::UnknownHash { payment_hash })
        }
    }

    /// No output may hold more than there is, nor may all outputs of ours together exceed what is booked in msat (an
    /// address may be paid and emptied again and again, so their sum is not bounded by the supply).
    fn check_amounts(&self, view: &ChainView) -> Result<(), FactRefused> {
        let mut ours_sat: u64 = 0;
        for transaction in view.transactions.iter().map(|seen| &seen.transaction) {
            let impossible = || FactRefused::ImpossibleAmount {
                txid: transaction.compute_txid(),
            };
            for output in &transaction.output {
                if output.value > Amount::MAX_MONEY {
                    return Err(impossible());
                }
                if self.onchain.owner_of(&output.script_pubkey).is_some() {
                    ours_sat = ours_sat.saturating_add(output.value.to_sat());
                }
            }
            if Sat(ours_sat).to_msat().is_none() {
                return Err(impossible());
            }
        }
        Ok(())
    }
}

/// `None`: of a kind that is not known here.
pub(super) fn read_webhook(body: &str) -> Result<Option<WebhookEvent>, FactRefused> {
    match fiat::parse_webhook_body(body) {
        Ok(event) => Ok(Some(event)),
        Err(WebhookRefused::UnknownKind { .. }) => Ok(None),
        Err(
            cause @ (WebhookRefused::MalformedHeader { .. }
            | WebhookRefused::NoSignature
            | WebhookRefused::WrongSignature
            | WebhookRefused::TooOld { .. }
            | WebhookRefused::TooNew { .. }
            | WebhookRefused::MalformedBody { .. }),
        ) => Err(FactRefused::Webhook { cause }),
    }
}
