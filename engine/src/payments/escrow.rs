//! Owns escrows: which charges wait for whose decision, whether a decision counts, and that it moves each of them once. Does
//! not own the words of a decision (`escrow`), its signature (`identity`), nor what it does to a charge (`charge_lightning`,
//! `charge_onchain`).
//!
//! A decision is remembered for good, and carried out on each charge whenever its money waits: also on money that comes after
//! it, and on money that a reorganisation took and brought again.

mod parting;
mod refusal;

pub use refusal::EscrowRefused;

use super::Payments;
use super::charge_lightning::LightningChargeState;
use super::order::Charge;
use super::record::{Payment, Status};
use super::refusal::ChargeRefused;
use crate::escrow::{Decision, EscrowTerms, Share, Verdict, statement};
use crate::event::{Consequences, Event};
use crate::id::{EscrowId, PartyId, PaymentId};
use crate::identity::{jws_payload, open_jws, own_key};
use crate::money::{Msat, Rail};
use crate::planted::Bug;
use crate::policy::BindingAsked;
use crate::rail::Entropy;
use crate::rare::{Rare, sometimes};
use crate::time::Timestamp;
use serde::Serialize;
use std::collections::BTreeSet;

/// Money that waits for an agent's decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Escrow {
    /// Whose decision counts, and about what.
    pub terms: EscrowTerms,
    /// To whom its charges are.
    pub party: PartyId,
    /// Its charges.
    pub charges: BTreeSet<PaymentId>,
    /// The one that counts.
    pub decided: Option<Decided>,
}

/// A decision that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decided {
    /// What.
    pub decision: Decision,
    /// As the agent has signed it.
    pub jws: String,
    /// When it came.
    at: Timestamp,
}

/// What a decision means for one charge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Parting {
    /// All of it is the payee's.
    Payee,
    /// All of it goes back.
    Payer,
    /// Both get something.
    Both(Share),
}

/// What of a Lightning payment goes back by a payment of its own, as an HTLC cannot be claimed in part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Rest {
    pub(super) amount: Msat,
    pub(super) invoice: String,
    /// The payment is ordered.
    pub(super) ordered: bool,
}

impl Verdict {
    fn for_charge(&self, charge: &PaymentId) -> Option<Parting> {
        match self {
            Verdict::Release => Some(Parting::Payee),
            Verdict::Refuse => Some(Parting::Payer),
            Verdict::Split(shares) => {
                let share = shares.iter().find(|share| share.charge == *charge)?;
                Some(match (share.payee_msat, share.payer_msat) {
                    (_, Msat(0)) => Parting::Payee,
                    (Msat(0), _) => Parting::Payer,
                    (_, _) => Parting::Both(share.clone()),
                })
            }
        }
    }
}

impl Payments {
    /// All escrows, by id.
    pub fn escrows(&self) -> impl Iterator<Item = &Escrow> {
        self.escrows.values()
    }

    /// Whether the charge may be in the escrow that it names.
    pub(super) fn check_escrow(&self, order: &Charge) -> Result<(), ChargeRefused> {
        let Some(terms) = &order.escrow else {
            return Ok(());
        };
        if !matches!(own_key(&terms.agent), Ok(Some(_))) {
            return Err(ChargeRefused::AgentWithoutKey {
                agent: terms.agent.clone(),
            });
        }
        if order.terms.any_amount || order.terms.invoice_too {
            return Err(ChargeRefused::EscrowNotOffered);
        }
        if order.rail == Rail::Onchain {
            if order.refund_to.is_none() {
                return Err(ChargeRefused::EscrowWithoutRefund);
            }
            if self.policy.binding.asked != BindingAsked::Off {
                return Err(ChargeRefused::EscrowNeedsBinding);
            }
        }
        let escrow = terms.id.clone();
        match self.escrows.get(&escrow) {
            Some(known) if known.terms.agent != terms.agent || known.party != order.party => {
                Err(ChargeRefused::EscrowDiffers { escrow })
            }
            Some(known) if known.decided.is_some() => Err(ChargeRefused::EscrowDecided { escrow }),
            Some(_) | None => Ok(()),
        }
    }

    /// Remembers that the charge is in its escrow.
    pub(super) fn enter_escrow(&mut self, order: &Charge) {
        let Some(terms) = &order.escrow else {
            return;
        };
        let new = || Escrow {
            terms: terms.clone(),
            party: order.party.clone(),
            charges: BTreeSet::new(),
            decided: None,
        };
        let escrow = self.escrows.entry(terms.id.clone()).or_insert_with(new);
        escrow.charges.insert(order.payment.clone());
    }

    /// Whether a webhook that claims to tell a decision tells one that counts, or the one that counted. It is signed itself,
    /// so this is checked again whenever the journal is read.
    pub(super) fn check_escrow_webhook(&self, body: &str) -> Result<(), EscrowRefused> {
        let jws = statement(body).ok_or(EscrowRefused::NoStatement)?;
        let claimed = jws_payload(&jws)?;
        let decision = Decision::read(&claimed)?;
        let escrow = self.escrows.get(&decision.escrow);
        let escrow = escrow.ok_or_else(|| EscrowRefused::Unknown {
            escrow: decision.escrow.clone(),
        })?;
        if self.planted != Some(Bug::AcceptAnySigner) {
            open_jws(&escrow.terms.agent, &jws)?;
        }
        match &escrow.decided {
            Some(decided) if decided.decision == decision => return Ok(()),
            Some(_) => {
                return Err(EscrowRefused::AlreadyDecided {
                    escrow: decision.escrow,
                });
            }
            None => {}
        }
        self.check_verdict(escrow, &decision)
    }

    fn check_verdict(&self, escrow: &Escrow, decision: &Decision) -> Result<(), EscrowRefused> {
        let live: BTreeSet<&PaymentId> = escrow
            .charges
            .iter()
            .filter(|charge| self.can_be_moved(charge))
            .collect();
        if live.is_empty() {
            return Err(EscrowRefused::TooLate {
                escrow: decision.escrow.clone(),
            });
        }
        let Verdict::Split(shares) = &decision.verdict else {
            return Ok(());
        };
        let named: BTreeSet<&PaymentId> = shares.iter().map(|share| &share.charge).collect();
        if named != live {
            return Err(EscrowRefused::OtherCharges);
        }
        let mut hashes = BTreeSet::new();
        for share in shares {
            if let Some(hash) = self.check_share(share)?
                && !hashes.insert(hash)
            {
                return Err(EscrowRefused::InvoiceUsed {
                    charge: share.charge.clone(),
                });
            }
        }
        Ok(())
    }

    /// Whether a decision can still change where the charge's money goes.
    fn can_be_moved(&self, charge: &PaymentId) -> bool {
        match self.records.get(charge) {
            Some(Payment::LightningCharge(charge)) => !matches!(
                charge.state,
                LightningChargeState::Refusing { .. }
                    | LightningChargeState::Failed { .. }
                    | LightningChargeState::Settled { .. }
            ),
            Some(payment @ Payment::OnchainCharge(_)) => !payment.status().is_final(),
            Some(
                Payment::LightningPayout(_) | Payment::OnchainPayout(_) | Payment::SepaPayout(_),
            )
            | None => false,
        }
    }

    /// The amounts of one share; the payment hash of its invoice, if it has one.
    fn check_share(&self, share: &Share) -> Result<Option<[u8; 32]>, EscrowRefused> {
        let charge = share.charge.clone();
        let named = share.payee_msat.0.saturating_add(share.payer_msat.0);
        let (asked, is_onchain) = match self.records.get(&charge) {
            Some(Payment::LightningCharge(charge)) => (charge.amount, false),
            Some(Payment::OnchainCharge(charge)) => (super::desk::in_msat(charge.amount), true),
            Some(
                Payment::LightningPayout(_) | Payment::OnchainPayout(_) | Payment::SepaPayout(_),
            )
            | None => return Err(EscrowRefused::OtherCharges),
        };
        if named != asked.0 {
            return Err(EscrowRefused::AmountsDiffer {
                charge,
                named: Msat(named),
                asked,
            });
        }
        if is_onchain && share.payer_msat.to_sat_exact().is_none() {
            return Err(EscrowRefused::NotWholeSatoshi {
                charge,
                amount: share.payer_msat,
            });
        }
        let goes_by_invoice =
            !is_onchain && share.payee_msat > Msat(0) && share.payer_msat > Msat(0);
        match (&share.pay_to, goes_by_invoice) {
            (None, false) => Ok(None),
            (Some(invoice), true) => self.check_way_back(share, invoice).map(Some),
            (None, true) | (Some(_), false) => Err(EscrowRefused::WayBack { charge }),
        }
    }

    /// The invoice must be one that a payout of the payer's part could pay. It may expire before it is paid.
    fn check_way_back(&self, share: &Share, text: &str) -> Result<[u8; 32], EscrowRefused> {
        let invoice = self.check_invoice(Timestamp(0), text, share.payer_msat);
        let invoice = invoice.map_err(|cause| EscrowRefused::Invoice {
            cause: Box::new(cause),
        })?;
        Ok(invoice.payment_hash)
    }

    /// Takes a decision that was checked.
    pub(super) fn on_decision(&mut self, now: Timestamp, body: &str) -> Consequences {
        let checked = statement(body).and_then(|jws| {
            let decision = Decision::read(&jws_payload(&jws).ok()?).ok()?;
            Some((jws, decision))
        });
        let (jws, decision) = checked.expect("the decision was checked on admission");
        let escrow = self.escrows.get_mut(&decision.escrow);
        let escrow = escrow.expect("the decision was checked on admission");
        if escrow.decided.is_some() {
            sometimes(Rare::DecisionRepeated);
            let reason = "a decision that was told before".to_owned();
            return Consequences {
                events: vec![Event::WebhookIgnored { reason }],
                ..Consequences::default()
            };
        }
        let told = Event::EscrowDecided {
            escrow: decision.escrow.clone(),
            verdict: decision.verdict.clone(),
        };
        escrow.decided = Some(Decided {
            decision,
            jws,
            at: now,
        });
        Consequences {
            events: vec![told],
            ..Consequences::default()
        }
    }

    /// Moves whatever waits for a decision that is there.
    pub(super) fn carry_out_decisions(&mut self, now: Timestamp, entropy: Entropy) -> Consequences {
        let mut due = Vec::new();
        for escrow in self.escrows.values() {
            let Some(decided) = &escrow.decided else {
                continue;
            };
            for charge in &escrow.charges {
                let verdict = match (&decided.decision.verdict, self.planted) {
                    (Verdict::Refuse, Some(Bug::ReleaseRefused)) => &Verdict::Release,
                    (verdict, _) => verdict,
                };
                let waits = self.records.get(charge).map(Payment::status) == Some(Status::Held);
                let parting = verdict.for_charge(charge).filter(|_| waits);
                due.extend(parting.map(|parting| (charge.clone(), parting)));
            }
        }
        let mut out = Consequences::default();
        for (charge, parting) in due {
            out.append(self.with(now, entropy, &charge, |record, desk| {
                if let Payment::LightningCharge(charge) = record {
                    charge.part(desk, &parting);
                } else if let Payment::OnchainCharge(charge) = record {
                    charge.part(desk, &parting);
                }
            }));
        }
        out.append(self.pay_rests_back(now, entropy));
        out
    }

    /// The escrow of a charge.
    pub(super) fn escrow_of(&self, charge: &PaymentId) -> Option<&EscrowId> {
        let mut escrows = self.escrows.iter();
        let found = escrows.find(|(_, escrow)| escrow.charges.contains(charge));
        found.map(|(id, _)| id)
    }
}
