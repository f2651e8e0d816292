//! Owns which decision about an escrow must count, and what it must lead to (docs/SPEC.md, "Escrow"). It reads and checks each
//! statement again. Does not own what deep money and held payments are (`chain`, `lightning`).

use super::books::{Checked, Model, Tracked, tracked, unless};
use super::orders::{self, Read, Why};
use super::states::{Kind, State};
use super::strays::PAYERS;
use bitcoin::base58;
use bitcoin::base64::Engine as _;
use bitcoin::base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bitcoin::hashes::{Hash as _, sha256};
use bitcoin::secp256k1::{Message, PublicKey, Secp256k1, ecdsa};
use ed25519_dalek::{Signature, VerifyingKey};
use lockstep_engine::api::{Charge, Event, Input};
use lockstep_engine::id::{PartyId, PaymentId};
use lockstep_engine::money::Rail;
use lockstep_engine::rail::{Effect, Fact, Instruction};
use lockstep_engine::time::Timestamp;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The longest statement that may count, in characters.
const LONGEST: usize = 16 << 10;

/// An escrow.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    agent: String,
    party: PartyId,
    charges: BTreeSet<PaymentId>,
    /// What counts.
    decided: Option<Decided>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Decided {
    /// The text that was signed.
    text: String,
    /// What goes back of each charge, in msat; of those that are not there nothing, or everything.
    shares: Option<BTreeMap<PaymentId, Back>>,
    refused: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Back {
    payee: u64,
    payer: u64,
    invoice: Option<String>,
}

/// What must become of one charge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Payee,
    Payer,
    /// So much goes back, in msat.
    Both(u64),
}

pub(super) type Escrows = BTreeMap<String, Kept>;

/// The statement of a webhook that claims to tell a decision; empty if it has none.
fn told(input: &Input) -> Option<String> {
    let Input::Fact {
        fact: Fact::Webhook { body, .. },
        ..
    } = input
    else {
        return None;
    };
    let body: Value = serde_json::from_str(body).ok()?;
    let jws = || body["data"]["jws"].as_str().unwrap_or_default().to_owned();
    (body["type"] == "escrow.decided").then(jws)
}

/// What a statement says, and whether that DID has signed it.
fn opened(jws: &str, signer: Option<&str>) -> Option<(String, bool)> {
    let parts: Vec<&str> = jws.split('.').collect();
    let [header, payload, signature] = parts[..] else {
        return None;
    };
    let text = |part: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(part).ok()?).ok();
    let (header, payload) = (text(header)?, text(payload)?);
    let signature = <[u8; 64]>::try_from(URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
    let (signed, _) = jws.rsplit_once('.')?;
    let right = signer.is_some_and(|did| signed_by(did, &header, (signed, &signature)));
    Some((payload, right && jws.len() <= LONGEST))
}

fn signed_by(did: &str, header: &str, (signed, signature): (&str, &[u8; 64])) -> bool {
    let key = did.trim_start_matches("did:key:");
    let meant = |algorithm: &str| format!(r#"{{"alg":"{algorithm}","kid":"{did}#{key}"}}"#);
    let Ok(bytes) = base58::decode(key.trim_start_matches('z')) else {
        return false;
    };
    match bytes.split_at_checked(2) {
        Some(([0xed, 0x01], key)) if header == meant("EdDSA") => {
            let key = <&[u8; 32]>::try_from(key).ok();
            let key = key.and_then(|key| VerifyingKey::from_bytes(key).ok());
            let signature = Signature::from_bytes(signature);
            key.is_some_and(|key| key.verify_strict(signed.as_bytes(), &signature).is_ok())
        }
        Some(([0xe7, 0x01], key)) if header == meant("ES256K") => {
            let digest = sha256::Hash::hash(signed.as_bytes()).to_byte_array();
            let key = PublicKey::from_slice(key);
            let signature = ecdsa::Signature::from_compact(signature);
            let (Ok(key), Ok(signature)) = (key, signature) else {
                return false;
            };
            let message = Message::from_digest(digest);
            let verified = Secp256k1::verification_only().verify_ecdsa(&message, &signature, &key);
            verified.is_ok()
        }
        _ => false,
    }
}

/// Reads a decision: its escrow and what it says. A `Value` keeps its keys in their order and writes no blanks, so the text
/// must be what it writes.
fn read(text: &str) -> Option<(String, Decided)> {
    let value: Value = serde_json::from_str(text).ok()?;
    let fields: Vec<&str> = value.as_object()?.keys().map(String::as_str).collect();
    let shares = match (value["verdict"].as_str()?, &fields[..]) {
        ("release" | "refuse", ["escrow", "verdict"]) => None,
        ("split", ["escrow", "shares", "verdict"]) => Some(value["shares"].as_array()?),
        _ => return None,
    };
    let back = |share: &Value| {
        let back = Back {
            payee: share["payee_msat"].as_u64()?,
            payer: share["payer_msat"].as_u64()?,
            invoice: share["pay_to"].as_str().map(str::to_owned),
        };
        Some((PaymentId::new(share["charge"].as_str()?).ok()?, back))
    };
    let shares = match shares {
        Some(shares) => Some(
            shares
                .iter()
                .map(back)
                .collect::<Option<BTreeMap<_, _>>>()?,
        ),
        None => None,
    };
    let decided = Decided {
        text: text.to_owned(),
        shares,
        refused: value["verdict"] == "refuse",
    };
    let escrow = value["escrow"].as_str()?.to_owned();
    let written = value.to_string();
    (written == text).then_some((escrow, decided))
}

impl Decided {
    fn fate(&self, charge: &PaymentId) -> Option<Fate> {
        match &self.shares {
            None if self.refused => Some(Fate::Payer),
            None => Some(Fate::Payee),
            Some(shares) => shares
                .get(charge)
                .map(|back| match (back.payee, back.payer) {
                    (_, 0) => Fate::Payee,
                    (0, _) => Fate::Payer,
                    (_, payer) => Fate::Both(payer),
                }),
        }
    }
}

impl Model {
    /// Why the charge cannot be in the escrow that it names.
    pub(super) fn forbids_escrow(&self, order: &Charge) -> Result<(), Why> {
        let Some(terms) = &order.escrow else {
            return Ok(());
        };
        let onchain = order.rail == Rail::Onchain;
        let cannot_go_back = order.refund_to.is_none() || self.terms.asks_bound_payouts();
        let known = self.escrows.get(terms.id.as_str());
        let fits = known.is_none_or(|known| {
            known.agent == terms.agent.as_str()
                && known.party == order.party
                && known.decided.is_none()
        });
        let has_key = terms.agent.as_str().starts_with("did:key:");
        let plain = !order.terms.any_amount && !order.terms.invoice_too;
        match fits && has_key && plain && !(onchain && cannot_go_back) {
            true => Ok(()),
            false => Err(Why::Escrow),
        }
    }

    pub(super) fn is_in_escrow(&self, charge: &PaymentId) -> bool {
        self.payments
            .get(charge)
            .is_some_and(|charge| charge.escrow.is_some())
    }

    /// A charge that was accepted.
    pub(super) fn enter_escrow(&mut self, order: &Charge) {
        let Some(terms) = &order.escrow else {
            return;
        };
        let new = || Kept {
            agent: terms.agent.to_string(),
            party: order.party.clone(),
            charges: BTreeSet::new(),
            decided: None,
        };
        let kept = self.escrows.entry(terms.id.to_string()).or_insert_with(new);
        kept.charges.insert(order.payment.clone());
    }

    /// Whether the decision that an input tells must count; `None` if it tells none.
    fn must_count(&self, input: &Input) -> Option<bool> {
        let jws = told(input)?;
        let decided = || {
            let (text, _) = opened(&jws, None)?;
            let (escrow, decided) = read(&text)?;
            let kept = self.escrows.get(&escrow)?;
            let (_, signed) = opened(&jws, Some(&kept.agent))?;
            let counts = match &kept.decided {
                Some(first) => *first == decided,
                None => self.may_be_decided(kept, &decided),
            };
            Some(signed && counts)
        };
        Some(decided().unwrap_or(false))
    }

    fn may_be_decided(&self, kept: &Kept, decided: &Decided) -> bool {
        let live = |id: &&PaymentId| {
            let state = self.payments[*id].state;
            !state.is_final() && state != State::Refusing
        };
        let live: BTreeSet<&PaymentId> = kept.charges.iter().filter(live).collect();
        let Some(shares) = &decided.shares else {
            return !live.is_empty();
        };
        let named: BTreeSet<&PaymentId> = shares.keys().collect();
        let mut hashes = BTreeSet::new();
        let mut fits = |(id, back): (&PaymentId, &Back)| {
            let charge = &self.payments[id];
            let adds_up = back.payee.checked_add(back.payer) == Some(charge.amount);
            let lightning = charge.kind == Kind::LightningCharge;
            let by_invoice = lightning && back.payee > 0 && back.payer > 0;
            let way = match &back.invoice {
                None => !by_invoice,
                Some(invoice) => match orders::invoice(invoice, self.network) {
                    Ok(Read::Invoice(invoice)) => {
                        let payable = self.may_pay(&invoice, Timestamp(0), back.payer);
                        by_invoice && payable && hashes.insert(invoice.hash)
                    }
                    _ => false,
                },
            };
            adds_up && way && (lightning || back.payer.is_multiple_of(1_000))
        };
        !live.is_empty() && named == live && shares.iter().all(&mut fits)
    }

    /// A decision that was refused must not have been one that counts.
    pub(super) fn decision_is_rightly_refused(&self, input: &Input) -> Checked {
        unless(self.must_count(input) != Some(true), || {
            format!("a decision that must count was refused: {input:?}")
        })
    }

    /// Takes an accepted decision in.
    pub(super) fn take_decision(&mut self, input: &Input) -> Checked {
        let Some(jws) = told(input) else {
            return Ok(());
        };
        let counts = self.must_count(input) == Some(true);
        unless(counts, || {
            format!("a decision was accepted that must be refused: {input:?}")
        })?;
        let text = opened(&jws, None).map(|(text, _)| text).unwrap_or_default();
        if let Some((escrow, decided)) = read(&text)
            && let Some(kept) = self.escrows.get_mut(&escrow)
        {
            kept.decided = Some(decided);
        }
        Ok(())
    }

    /// What must become of a charge; `None` as long as it is not decided, or if it is in no escrow.
    pub(super) fn fate(&self, charge: &PaymentId) -> Option<Fate> {
        let escrow = self.payments.get(charge)?.escrow.as_ref()?;
        self.escrows.get(escrow)?.decided.as_ref()?.fate(charge)
    }

    /// What goes back of a charge whose money is all there, in msat.
    pub(super) fn goes_back(&self, charge: &PaymentId) -> u64 {
        match self.fate(charge) {
            Some(Fate::Both(payer)) => payer,
            Some(Fate::Payer | Fate::Payee) | None => 0,
        }
    }

    /// A charge on chain has its money and waits.
    pub(super) fn on_held(&mut self, id: &PaymentId, msat: u64) -> Checked {
        self.go(id, State::Held)?;
        let stale = self.tip_is_stale;
        let enough = self.terms.enough(self.payments[id].amount);
        let charge = self.payment(id)?;
        if charge.kind != Kind::OnchainCharge {
            return Ok(());
        }
        (charge.fresh, charge.was_settled) = (true, true);
        charge.money.whole = msat;
        unless(charge.escrow.is_some() && msat >= enough && !stale, || {
            format!("{id} is held with {msat} msat")
        })
    }

    /// A held payment is claimed only if its agent says so.
    pub(super) fn on_claim(&mut self, instruction: &Instruction) -> Checked {
        let id = instruction.key.0.split('/').next().unwrap_or_default();
        let (Effect::ClaimHeld { .. }, Ok(id)) = (&instruction.effect, PaymentId::new(id)) else {
            return Ok(());
        };
        if !self.is_in_escrow(&id) {
            return Ok(());
        }
        let granted = matches!(self.fate(&id), Some(Fate::Payee | Fate::Both(_)));
        unless(granted, || {
            format!("{id} is claimed, and its agent has not released it")
        })?;
        self.go(&id, State::Releasing)
    }

    /// Settled on chain by a decision: with all that waited, less what goes back.
    pub(super) fn settles_by_decision(&mut self, id: &PaymentId, units: u64) -> Checked {
        let (fate, back) = (self.fate(id), self.goes_back(id));
        let money = &mut self.payment(id)?.money;
        money.paid = units;
        let whole = money.whole;
        let right = matches!(fate, Some(Fate::Payee | Fate::Both(_)));
        unless(right && units == whole.saturating_sub(back), || {
            format!("{id} settled with {units} of {whole} msat, and its agent says {fate:?}")
        })
    }

    /// A charge in escrow that fails as refused must be one that is.
    pub(super) fn is_refused_rightly(&self, id: &PaymentId) -> Checked {
        let fate = self.fate(id);
        unless(!self.is_in_escrow(id) || fate == Some(Fate::Payer), || {
            format!("{id} was refused, and its agent says {fate:?}")
        })
    }

    /// The payer's part of a split goes back: once, and as it was decided.
    pub(super) fn on_rest(&mut self, event: &Event) -> Checked {
        let Event::RestOrdered {
            payment,
            rest,
            amount_msat,
        } = event
        else {
            return Ok(());
        };
        let invoice = self.invoice_back(payment);
        let due = self.goes_back(payment);
        let new = !self.payments.contains_key(rest);
        let charge = self.payment(payment)?;
        let first = !std::mem::replace(&mut charge.rest_ordered, true);
        let claimed = charge.state == State::Settled && charge.kind == Kind::LightningCharge;
        unless(claimed && first && new && due == amount_msat.0, || {
            format!("{amount_msat} of {payment} go back by {rest}, {due} are due")
        })?;
        let payers = PartyId::new(PAYERS).expect("a legal name");
        let mut payout: Tracked = tracked(Kind::LightningPayout, State::Reserved, &payers, due);
        (payout.reserve, payout.held) = (due, due);
        self.insert(rest, payout);
        if let Some(Ok(Read::Invoice(invoice))) =
            invoice.map(|text| orders::invoice(&text, self.network))
        {
            let hash = (Kind::LightningPayout, invoice.hash);
            self.hashes.insert(hash, rest.clone());
        }
        Ok(())
    }

    fn invoice_back(&self, charge: &PaymentId) -> Option<String> {
        let escrow = self.payments.get(charge)?.escrow.as_ref()?;
        let decided = self.escrows.get(escrow)?.decided.as_ref()?;
        decided.shares.as_ref()?.get(charge)?.invoice.clone()
    }

    /// After each input: nothing waits for a decision that is there, and each rest that was claimed is on its way.
    pub(super) fn decisions_are_carried_out(&self) -> Checked {
        for kept in self.escrows.values().filter(|kept| kept.decided.is_some()) {
            for id in &kept.charges {
                let charge = &self.payments[id];
                let fate = self.fate(id);
                unless(charge.state != State::Held, || {
                    format!("{id} waits, and its agent says {fate:?}")
                })?;
                let owes = charge.kind == Kind::LightningCharge
                    && charge.state == State::Settled
                    && matches!(fate, Some(Fate::Both(_)));
                unless(!owes || charge.rest_ordered, || {
                    format!("{id} is split, and its rest does not go back")
                })?;
            }
        }
        Ok(())
    }
}
