//! Owns checking the operator's own wallets and the steps about them: `hot` stays what it is, funds are given once, owners
//! are parties, both ends of a move are there.
//! Does not own the rest of the set-up (`setup`).

use super::names::{Kind, Names, When};
use super::steps::StepChecker;
use super::{positive, quantity};
use crate::scenario::choice::Rail;
use crate::scenario::model::{CosignerName, OwnWalletName, PartyName, PaymentName};
use crate::scenario::own_wallets::{
    CosignedBy, Cosigning, HOT, LabelCharge, MoveFunds, OwnStep, OwnWallet, OwnedWallet, Restored,
    ScriptKind, USUAL_GAP_LIMIT, WalletPurpose,
};
use crate::scenario::problem::Problems;
use crate::scenario::read::At;
use crate::scenario::text;
use crate::scenario::units::{Blocks, Sat};
use crate::scenario::verb::Verb;
use std::collections::BTreeSet;

/// All wallets of the operator's, `hot` first; its funds may be `funds`, those of `operator.wallet`.
pub(super) fn own_wallets(
    typed: &text::Operator,
    funds: Sat,
    names: &Names,
    problems: &mut Problems,
) -> Option<Vec<OwnedWallet>> {
    let mut hot = OwnedWallet::hot(ScriptKind::Wpkh, funds);
    let mut others = Vec::new();
    let mut whole = true;
    let tables = typed.wallets.iter();
    for (name, wallet) in tables.flat_map(|wallets| wallets.value.entries()) {
        let checked = own_wallet(name, wallet, names, problems);
        match checked {
            None => whole = false,
            Some(checked) if name.value == HOT => {
                check_hot(wallet, typed, problems);
                hot.script = checked.script;
                if wallet.value.funds.is_some() {
                    hot.funds = checked.funds;
                }
            }
            Some(checked) => others.push(checked),
        }
    }
    others.insert(0, hot);
    whole.then_some(others)
}

fn own_wallet(
    name: &At<String>,
    typed: &At<OwnWallet>,
    names: &Names,
    problems: &mut Problems,
) -> Option<OwnedWallet> {
    let wallet = &typed.value;
    let funds = wallet.funds.as_ref().map_or(Some(Sat::default()), |funds| {
        let place = "opening funds of one of the operator's wallets";
        quantity(&funds.value.0, &funds.span, place, Sat::parse, problems)
    });
    let owner = match &wallet.owner {
        Some(owner) => Some(names.resolve(Kind::Party, PartyName, Some(owner), problems)?),
        None => None,
    };
    if let (Some(funds), Some(_)) = (&wallet.funds, &wallet.owner) {
        problems.at(
            &funds.span,
            "a wallet that serves one party has no opening funds",
            "these coins would be the operator's",
            "remove `funds`; the wallet is filled by charges",
        );
    }
    let cosigners = match &wallet.cosigners {
        Some(typed) => Some(cosigned_by(typed, problems)?),
        None => None,
    };
    if let (Some(script), Some(_)) = (&wallet.script, &wallet.cosigners) {
        problems.at(
            &script.span,
            "a wallet of several keys has a script of its own",
            "it is P2WSH in any case",
            "remove `script`",
        );
    }
    let purpose = wallet.purpose.as_ref();
    let gap_limit = gap_limit(wallet, problems);
    Some(OwnedWallet {
        name: OwnWalletName(name.value.clone()),
        purpose: purpose.map_or(WalletPurpose::Hot, |purpose| purpose.value),
        script: wallet
            .script
            .as_ref()
            .map_or(ScriptKind::Wpkh, |script| script.value),
        funds: funds?,
        owner,
        cosigners,
        gap_limit: gap_limit?,
    })
}

fn gap_limit(typed: &OwnWallet, problems: &mut Problems) -> Option<u32> {
    let Some(limit) = &typed.gap_limit else {
        return Some(USUAL_GAP_LIMIT);
    };
    let fits = u32::try_from(limit.value)
        .ok()
        .filter(|limit| (1..=1_000).contains(limit));
    if fits.is_none() {
        problems.at(
            &limit.span,
            format!("a gap limit of {} cannot be kept", limit.value),
            "not between 1 and 1,000",
            "write `gap_limit = 20`, the usual one",
        );
    }
    fits
}

impl StepChecker<'_> {
    /// What is done with the operator's own wallets; `None` also for other verbs.
    pub(super) fn own_step(&mut self, verb: &At<Verb>) -> Option<OwnStep> {
        let named = |name: &String| At {
            value: name.clone(),
            span: verb.span.clone(),
        };
        match &verb.value {
            Verb::Move(typed) => self.move_funds(typed),
            Verb::Address(name) => Some(OwnStep::Address {
                wallet: self.own_wallet(Some(&named(name)))?,
            }),
            Verb::Recover(name) => Some(OwnStep::Recover {
                wallet: self.own_wallet(Some(&named(name)))?,
            }),
            Verb::Restore(Restored::Engine) => Some(OwnStep::Restore),
            Verb::Label(typed) => self.label(typed),
            _ => None,
        }
    }

    fn move_funds(&mut self, typed: &MoveFunds) -> Option<OwnStep> {
        let id = typed.id.0.as_ref().map(|id| PaymentName(id.value.clone()));
        let from = self.own_wallet(typed.from.0.as_ref());
        let to = self.own_wallet(typed.to.0.as_ref());
        let amount = typed.amount.0.as_ref().and_then(|amount| {
            let place = "the amount of a move of funds";
            positive(
                &amount.value.0,
                &amount.span,
                place,
                Sat::parse,
                self.problems,
            )
        });
        if let (Some(from), Some(to), Some(typed)) = (&from, &to, &typed.to.0)
            && from == to
        {
            self.problems.at(
                &typed.span,
                format!("`{from}` would pay itself"),
                "the same wallet",
                "name another one of `operator.wallets`",
            );
        }
        Some(OwnStep::Move {
            id: id?,
            from: from?,
            to: to?,
            amount: amount?,
        })
    }

    fn label(&mut self, typed: &LabelCharge) -> Option<OwnStep> {
        let charge = typed.charge.0.as_ref()?;
        let made = When::Before(self.index);
        let (name, facts) = self.names.payment(Some(charge), made, self.problems)?;
        if facts.payout || facts.rail != Some(Rail::Onchain) {
            self.problems.at(
                &charge.span,
                format!("`{name}` is no charge on chain"),
                "it has no address of ours",
                "name a charge over \"onchain\"",
            );
            return None;
        }
        Some(OwnStep::Label {
            charge: name,
            text: typed.text.as_ref().map(|text| text.value.clone()),
            spendable: typed.spendable.as_ref().map(|spendable| spendable.value),
        })
    }
}

/// The longest relative lock in blocks (BIP 68).
const LONGEST_LOCK: u64 = 65_535;

fn cosigned_by(typed: &At<Cosigning>, problems: &mut Problems) -> Option<CosignedBy> {
    let people = &typed.value;
    let of: Vec<CosignerName> = people.of.0.as_ref()?.value.iter().map(cosigner).collect();
    let threshold = people.threshold.0.as_ref()?;
    let most = of.len().min(lockstep_engine::onchain::MOST_COSIGNERS) as u64;
    if threshold.value == 0 || threshold.value > most || of.len() as u64 > most {
        problems.at(
            &threshold.span,
            format!("{} of {} cannot sign", threshold.value, of.len()),
            "more than there are, none, or too many people",
            "at most 20 people, of whom at least one and at most all must sign",
        );
        return None;
    }
    let recovery = match (&people.recovery, &people.after) {
        (None, None) => None,
        (Some(by), Some(after)) => {
            let place = "the age of a coin that can be recovered";
            let blocks = positive(&after.value.0, &after.span, place, Blocks::parse, problems)?;
            if blocks.get() > LONGEST_LOCK {
                let help = format!("{LONGEST_LOCK} blocks at most (BIP 68)");
                problems.at(&after.span, "this lock is too long", "too long", help);
                return None;
            }
            Some((cosigner(by), blocks))
        }
        (Some(_), None) | (None, Some(_)) => {
            problems.at(
                &typed.span,
                "a recovery has a name and an age",
                "one of them is missing",
                "give both `recovery` and `after`, or none",
            );
            return None;
        }
    };
    let names = of.iter().chain(recovery.iter().map(|(by, _)| by));
    let distinct: BTreeSet<&CosignerName> = names.clone().collect();
    if distinct.len() < names.count() {
        problems.at(
            &typed.span,
            "somebody has two keys",
            "he would count twice",
            "name each person once",
        );
        return None;
    }
    Some(CosignedBy {
        threshold: threshold.value as u32,
        of,
        recovery,
    })
}

fn cosigner(name: &At<String>) -> CosignerName {
    CosignerName(name.value.clone())
}

fn check_hot(typed: &At<OwnWallet>, operator: &text::Operator, problems: &mut Problems) {
    let wallet = &typed.value;
    if let Some(cosigners) = &wallet.cosigners {
        problems.at(
            &cosigners.span,
            "the wallet `hot` is signed for by the engine's own signer",
            "not by these",
            "give the wallet another name",
        );
    }
    let other_purpose = wallet
        .purpose
        .as_ref()
        .filter(|purpose| purpose.value != WalletPurpose::Hot);
    let place = other_purpose.map(|purpose| &purpose.span);
    let place = place.or(wallet.owner.as_ref().map(|owner| &owner.span));
    let place = place.or(wallet.gap_limit.as_ref().map(|limit| &limit.span));
    if let Some(place) = place {
        problems.at(
            place,
            "the wallet `hot` serves every party, day by day, with the usual gap limit",
            "not this one",
            "give the wallet another name",
        );
    }
    if let (Some(funds), Some(_)) = (&wallet.funds, &operator.wallet) {
        problems.at(
            &funds.span,
            "the wallet `hot` is funded twice",
            "`operator.wallet` gives its funds too",
            "remove one of them",
        );
    }
}
