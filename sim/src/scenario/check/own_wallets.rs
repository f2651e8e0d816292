//! Owns checking the operator's own wallets: `hot` stays what it is, funds are given once, owners are parties.
//! Does not own the rest of the set-up (`setup`).

use super::names::{Kind, Names};
use super::quantity;
use crate::scenario::model::{OwnWalletName, PartyName};
use crate::scenario::own_wallets::{HOT, OwnWallet, OwnedWallet, ScriptKind, WalletPurpose};
use crate::scenario::problem::Problems;
use crate::scenario::read::At;
use crate::scenario::text;
use crate::scenario::units::Sat;

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
    let purpose = wallet.purpose.as_ref();
    Some(OwnedWallet {
        name: OwnWalletName(name.value.clone()),
        purpose: purpose.map_or(WalletPurpose::Hot, |purpose| purpose.value),
        script: wallet
            .script
            .as_ref()
            .map_or(ScriptKind::Wpkh, |script| script.value),
        funds: funds?,
        owner,
    })
}

fn check_hot(typed: &At<OwnWallet>, operator: &text::Operator, problems: &mut Problems) {
    let wallet = &typed.value;
    let other_purpose = wallet
        .purpose
        .as_ref()
        .filter(|purpose| purpose.value != WalletPurpose::Hot);
    let place = other_purpose.map(|purpose| &purpose.span);
    let place = place.or(wallet.owner.as_ref().map(|owner| &owner.span));
    if let Some(place) = place {
        problems.at(
            place,
            "the wallet `hot` serves every party, day by day",
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
