//! Owns what the model says of cosigners (docs/SPEC.md, "Cosigners"): whose answer counts, told again from the PSBT that
//! was sent and the keys that the wallet was opened with; when enough have signed; who is asked next; and that what was
//! given up after cosigners had seen it is replaced by something that spends a coin of it.

use super::books::{Checked, Model, unless};
use bitcoin::bip32::{ChildNumber, Xpub};
use bitcoin::secp256k1::{Message, Secp256k1};
use bitcoin::sighash::SighashCache;
use bitcoin::{EcdsaSighashType, OutPoint, Psbt};
use lockstep_engine::api::{CosignerFailure, Event, Input, Output};
use lockstep_engine::id::{CosignerId, IdempotencyKey, PaymentId, WalletId};
use lockstep_engine::onchain::Cosigners;
use lockstep_engine::rail::{ChainView, Effect, Fact};
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

/// What the key of a recovery's question ends with; such questions go to one person, and the chain judges the answer.
const RECOVER: &str = "/recover";

/// A transaction that cosigners were shown.
#[derive(Clone, Debug)]
struct Shown {
    wallet: WalletId,
    psbt: Psbt,
    people: Cosigners,
    asked: BTreeSet<CosignerId>,
    signed: BTreeSet<CosignerId>,
    /// Who never counts any more.
    out: BTreeSet<CosignerId>,
    /// In whose place another one was asked.
    late: BTreeSet<CosignerId>,
    /// It was given up.
    given_up: bool,
}

/// All that cosigners were asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Questions {
    shown: BTreeMap<PaymentId, Shown>,
    /// What the latest view shows to be spent.
    spent: BTreeSet<OutPoint>,
}

impl Shown {
    fn coins(&self) -> impl Iterator<Item = OutPoint> {
        let inputs = self.psbt.unsigned_tx.input.iter();
        inputs.map(|input| input.previous_output)
    }

    /// Whether an answer has exactly one right signature of this person for each input, and nothing else.
    fn is_right(&self, who: &CosignerId, answer: &str) -> bool {
        let person = self.people.of.iter().find(|person| person.name == *who);
        let key = person.and_then(|person| person.key.split_once(']'));
        let account = key.and_then(|(_, key)| Xpub::from_str(key).ok());
        let (Some(account), Ok(answer)) = (account, answer.parse::<Psbt>()) else {
            return false;
        };
        let inputs = 0..self.psbt.inputs.len();
        answer.unsigned_tx == self.psbt.unsigned_tx
            && inputs
                .into_iter()
                .all(|index| self.input_is_right(&account, &answer, index) == Some(true))
    }

    fn input_is_right(&self, account: &Xpub, answer: &Psbt, index: usize) -> Option<bool> {
        let secp = Secp256k1::new();
        let (sent, back) = (&self.psbt.inputs[index], &answer.inputs[index]);
        let [(key, signature)] = back.partial_sigs.iter().collect::<Vec<_>>()[..] else {
            return Some(false);
        };
        let (_, path) = sent.bip32_derivation.get(&key.inner)?;
        let [.., chain, place] = path.as_ref() as &[ChildNumber] else {
            return Some(false);
        };
        let child = account.derive_pub(&secp, &[*chain, *place]).ok()?;
        let (script, value) = (
            sent.witness_script.as_ref()?,
            sent.witness_utxo.as_ref()?.value,
        );
        let all = EcdsaSighashType::All;
        let hash = SighashCache::new(&self.psbt.unsigned_tx)
            .p2wsh_signature_hash(index, script, value, all)
            .ok()?;
        let is_signed = secp.verify_ecdsa(&Message::from(hash), &signature.signature, &key.inner);
        Some(child.public_key == key.inner && signature.sighash_type == all && is_signed.is_ok())
    }

    fn threshold(&self) -> usize {
        self.people.threshold as usize
    }

    /// Whether all of them together are too few.
    fn is_hopeless(&self) -> bool {
        self.people.of.len() - self.out.len() < self.threshold()
    }
}

impl Model {
    /// After an accepted input: what it means for those who must sign.
    pub(super) fn on_cosigners(&mut self, input: &Input, output: &Output) -> Checked {
        if let Input::Fact { fact, .. } = input {
            match fact {
                Fact::Cosigned { key, result } if !key.0.ends_with(RECOVER) => {
                    self.on_answer(key, result, output)?;
                }
                Fact::Chain(view) => self.learn_spent(view),
                _ => {}
            }
        }
        for event in &output.events {
            match event {
                Event::CosignerFailed {
                    payment, cosigner, ..
                } => self.someone_else_is_asked(payment, cosigner, output)?,
                Event::PaymentFailed { payment, .. } => self.on_given_up(payment),
                _ => {}
            }
        }
        for instruction in &output.instructions {
            if let Effect::Cosign { cosigner, psbt } = &instruction.effect
                && !instruction.key.0.ends_with(RECOVER)
            {
                self.on_asked(&instruction.key, cosigner, psbt)?;
            }
        }
        Ok(())
    }

    fn learn_spent(&mut self, view: &ChainView) {
        let seen = view.transactions.iter();
        let inputs = seen.flat_map(|seen| &seen.transaction.input);
        self.questions.spent = inputs.map(|input| input.previous_output).collect();
    }

    fn on_given_up(&mut self, payment: &PaymentId) {
        if let Some(shown) = self.questions.shown.get_mut(payment) {
            shown.given_up = true;
        }
    }

    fn on_asked(&mut self, key: &IdempotencyKey, who: &CosignerId, psbt: &str) -> Checked {
        let id = payment_of(key)?;
        if !self.questions.shown.contains_key(&id) {
            let shown = self.first_shown(&id, psbt)?;
            self.replaces_what_was_given_up(&id, &shown)?;
            self.questions.shown.insert(id.clone(), shown);
        }
        let shown = self.questions.shown.get_mut(&id).ok_or("just put there")?;
        let same = psbt.parse::<Psbt>().is_ok_and(|psbt| psbt == shown.psbt);
        let first = shown.asked.insert(who.clone());
        let known = shown.people.of.iter().any(|person| person.name == *who);
        unless(same && first && known, || {
            format!("{who} was asked about {id} again, about something else, or without a key")
        })
    }

    fn first_shown(&self, id: &PaymentId, psbt: &str) -> Result<Shown, String> {
        let wallet = self
            .wallet_of(id)
            .ok_or("no wallet can pay that payout")?
            .clone();
        let people = self.cosigners_of(&wallet);
        Ok(Shown {
            people: people
                .ok_or_else(|| format!("{wallet} has no cosigners"))?
                .clone(),
            wallet,
            psbt: psbt.parse().map_err(|error| format!("{error}"))?,
            asked: BTreeSet::new(),
            signed: BTreeSet::new(),
            out: BTreeSet::new(),
            late: BTreeSet::new(),
            given_up: false,
        })
    }

    /// Who must sign for a wallet, if anyone must.
    pub(super) fn cosigners_of(&self, wallet: &WalletId) -> Option<&Cosigners> {
        let spec = self.wallets.opened.get(wallet);
        spec.and_then(|spec| spec.cosigners())
    }

    /// What was given up, and could still confirm, must not be able to confirm beside what comes after it.
    fn replaces_what_was_given_up(&self, id: &PaymentId, next: &Shown) -> Checked {
        let coins: BTreeSet<OutPoint> = next.coins().collect();
        let earlier = self.questions.shown.iter();
        let mut alive = earlier.filter(|(_, shown)| {
            let spent = |coin| self.questions.spent.contains(&coin);
            shown.given_up && shown.wallet == next.wallet && !shown.coins().any(spent)
        });
        let beside = alive.find(|(_, shown)| !shown.coins().any(|coin| coins.contains(&coin)));
        match beside {
            None => Ok(()),
            Some((earlier, _)) => Err(format!(
                "the transaction of {id} spends no coin of {earlier}'s, which was given up and could still confirm"
            )),
        }
    }

    fn on_answer(
        &mut self,
        key: &IdempotencyKey,
        result: &Result<String, String>,
        output: &Output,
    ) -> Checked {
        let id = payment_of(key)?;
        let who = key.0.rsplit_once("cosign-").map(|(_, name)| name);
        let who = who.and_then(|name| CosignerId::new(name).ok());
        let (Some(who), Some(shown)) = (who, self.questions.shown.get_mut(&id)) else {
            return Err(format!("{key} was never asked"));
        };
        let right = result
            .as_ref()
            .is_ok_and(|answer| shown.is_right(&who, answer));
        match right {
            true => shown.signed.insert(who.clone()),
            false => shown.out.insert(who.clone()),
        };
        let enough = shown.signed.len() >= shown.threshold();
        let hopeless = shown.is_hopeless();
        let signed = Event::CosignerSigned {
            payment: id.clone(),
            cosigner: who.clone(),
        };
        unless(output.events.contains(&signed) == right, || {
            let word = if right { "signed" } else { "not signed" };
            format!("{who} has {word} for {id}, and the engine takes it otherwise")
        })?;
        let told = |wanted: fn(&Event) -> bool| output.events.iter().any(wanted);
        let sent = told(|event| matches!(event, Event::PayoutDispatched { .. }));
        let failed = told(|event| matches!(event, Event::PaymentFailed { .. }));
        unless((sent, failed) == (enough, hopeless), || {
            format!(
                "after {who}'s answer {id} is sent: {sent}, failed: {failed}; the model says {enough}, {hopeless}"
            )
        })
    }

    /// Whoever does not sign brings in the next one, once.
    fn someone_else_is_asked(
        &mut self,
        id: &PaymentId,
        who: &CosignerId,
        output: &Output,
    ) -> Checked {
        let Some(shown) = self.questions.shown.get_mut(id) else {
            return Err(format!("{who} failed {id} and was never asked"));
        };
        let first = shown.late.insert(who.clone());
        let events = output.events.iter();
        let asked = events
            .filter(|event| matches!(event, Event::CosignerAsked { payment, .. } if payment == id));
        let replaced = output.events.iter().filter(|event| {
            matches!(event, Event::CosignerFailed { payment, how, .. }
                if payment == id && (first || matches!(how, CosignerFailure::Absent | CosignerFailure::Slow)))
        });
        let left = shown.people.of.len() - shown.asked.len();
        let due = replaced.count().min(left);
        let asked = asked.count();
        unless(asked == due, || {
            format!("{asked} more were asked about {id} in {who}'s place, not {due}")
        })
    }
}

/// Keys are `<payment>/<what>`.
fn payment_of(key: &IdempotencyKey) -> Result<PaymentId, String> {
    let payment = key.0.split_once('/').map(|(payment, _)| payment);
    let payment = payment.and_then(|payment| PaymentId::new(payment).ok());
    payment.ok_or_else(|| format!("{key} names no payment"))
}
