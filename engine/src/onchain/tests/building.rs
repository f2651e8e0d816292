//! Owns the tests of building, locking, finalising and abandoning.

use super::*;
use crate::rail::Entropy;

/// 2 sat/vB.
const FEERATE: u64 = 500;

/// A wallet whose coins of these values are confirmed.
pub(super) fn funded(coins: &[u64]) -> (Onchain, Vec<SeenTransaction>) {
    let mut onchain = wallet();
    let mut history = Vec::new();
    for (number, sat) in coins.iter().enumerate() {
        let (_, script) = onchain.reveal_address();
        history.push(confirmed(
            &payment(&script, *sat, &number.to_string()),
            block("a", 1),
        ));
    }
    onchain
        .apply_view(&view(branch("a", 0, 1), history.clone()))
        .expect("a good view");
    (onchain, history)
}

pub(super) fn payee() -> ScriptBuf {
    check_address(
        "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080",
        Network::Regtest,
    )
    .expect("an address")
}

pub(super) fn order(amount_sat: u64) -> BuildOrder {
    BuildOrder {
        fee_included: false,
        recipients: vec![Recipient {
            script: payee(),
            amount_sat: Sat(amount_sat),
        }],
        feerate_sat_per_kwu: FEERATE,
        max_fee_sat: Sat(10_000),
        confirmed_first: false,
        entropy: Entropy([9; 32]),
    }
}

pub(super) fn unsigned(built: &Built) -> Transaction {
    built
        .psbt_base64
        .parse::<Psbt>()
        .expect("a PSBT")
        .unsigned_tx
}

#[test]
fn a_payout_is_built_signed_and_finalised() {
    let (mut onchain, mut history) = funded(&[PAID_SAT, PAID_SAT]);
    let built = onchain.build(order(150_000)).expect("enough");
    let transaction = onchain
        .finalise(&sign(7, &built.psbt_base64))
        .expect("signed");
    assert_eq!(transaction.compute_txid(), built.txid);
    assert!(transaction.is_explicitly_rbf());
    assert!(
        transaction
            .output
            .iter()
            .any(|o| o.script_pubkey == payee() && o.value.to_sat() == 150_000)
    );
    let paid: u64 = transaction.output.iter().map(|o| o.value.to_sat()).sum();
    assert_eq!(2 * PAID_SAT - paid, built.fee_sat.0);
    let feerate = built.fee_sat.0 * 1_000 / transaction.weight().to_wu();
    assert!(
        (FEERATE..FEERATE + 20).contains(&feerate),
        "{feerate} sat/kwu"
    );
    assert_eq!(
        onchain.total(),
        Sat(2 * PAID_SAT),
        "nothing has moved before it is seen"
    );
    history.push(in_mempool(&transaction));
    onchain
        .apply_view(&view(branch("a", 1, 1), history))
        .expect("a good view");
    assert_canonical_set_is_the_view(&onchain);
    assert_eq!(
        onchain.total(),
        Sat(2 * PAID_SAT - 150_000 - built.fee_sat.0)
    );
    assert_eq!(onchain.confirmations(built.txid), Some(0));
}

#[test]
fn what_cannot_be_built_leaves_no_trace() {
    let (mut onchain, _) = funded(&[PAID_SAT]);
    let (before, watched) = (state(&onchain), onchain.watched_scripts());
    let short = onchain
        .build(order(PAID_SAT))
        .expect_err("no money for the fee");
    assert!(
        matches!(
            short,
            BuildRefused::InsufficientFunds {
                available_sat: Sat(PAID_SAT),
                ..
            }
        ),
        "{short}"
    );
    assert_eq!(
        onchain.build(order(100)),
        Err(BuildRefused::Dust {
            amount_sat: Sat(100)
        })
    );
    let dear = BuildOrder {
        max_fee_sat: Sat(10),
        ..order(50_000)
    };
    assert!(matches!(
        onchain.build(dear),
        Err(BuildRefused::FeeTooHigh {
            max_fee_sat: Sat(10),
            ..
        })
    ));
    assert_eq!(
        (state(&onchain), onchain.watched_scripts()),
        (before, watched)
    );
}

#[test]
fn building_is_a_function_of_state_and_entropy() {
    let coins: Vec<u64> = (0..12).map(|n| 10_000 + 777 * n).collect();
    let build = |seed: u8| {
        let (mut onchain, _) = funded(&coins);
        let built = onchain
            .build(BuildOrder {
                entropy: Entropy([seed; 32]),
                ..order(40_000)
            })
            .expect("enough");
        (built, state(&onchain))
    };
    assert_eq!(build(1), build(1));
    let different = (1..20)
        .map(|seed| build(seed).0.txid)
        .collect::<std::collections::BTreeSet<_>>();
    assert!(different.len() > 1, "entropy has no effect");
}

#[test]
fn coins_stay_locked_until_abandoned() {
    let (mut onchain, _) = funded(&[PAID_SAT]);
    let first = onchain.build(order(50_000)).expect("enough");
    let second = onchain
        .build(order(10_000))
        .expect_err("the only coin is locked");
    assert!(matches!(
        second,
        BuildRefused::InsufficientFunds {
            available_sat: Sat(0),
            ..
        }
    ));
    onchain.abandon(first.txid).expect("never seen");
    assert_eq!(
        onchain.abandon(first.txid),
        Err(AbandonRefused::NotBuiltHere { txid: first.txid })
    );
    let third = onchain.build(order(50_000)).expect("unlocked");
    let change_of = |built| {
        unsigned(built)
            .output
            .into_iter()
            .find(|o| o.script_pubkey != payee())
            .map(|o| o.script_pubkey)
    };
    assert_ne!(
        change_of(&first),
        change_of(&third),
        "a change script is used once"
    );
}

#[test]
fn an_evicted_payout_keeps_its_coins_and_a_seen_one_cannot_be_abandoned() {
    let (mut onchain, history) = funded(&[PAID_SAT]);
    let built = onchain.build(order(50_000)).expect("enough");
    let transaction = onchain
        .finalise(&sign(7, &built.psbt_base64))
        .expect("signed");
    let with_it = [history.clone(), vec![in_mempool(&transaction)]].concat();
    onchain
        .apply_view(&view(branch("a", 1, 1), with_it))
        .expect("a good view");
    assert_eq!(
        onchain.abandon(built.txid),
        Err(AbandonRefused::Seen { txid: built.txid })
    );
    onchain
        .apply_view(&view(branch("a", 1, 1), history))
        .expect("a good view");
    assert_eq!(onchain.total(), Sat(PAID_SAT));
    assert!(
        onchain.build(order(10_000)).is_err(),
        "it may still confirm, so its coin is not free"
    );
    onchain.abandon(built.txid).expect("gone");
    assert!(onchain.build(order(10_000)).is_ok());
}

#[test]
fn own_change_is_spent_at_once_but_not_unconfirmed_money_of_others() {
    let (mut onchain, mut history) = funded(&[PAID_SAT]);
    let (_, script) = onchain.reveal_address();
    history.push(in_mempool(&payment(&script, 1_000_000, "stranger")));
    onchain
        .apply_view(&view(branch("a", 1, 1), history.clone()))
        .expect("a good view");
    assert!(matches!(
        onchain.build(order(500_000)),
        Err(BuildRefused::InsufficientFunds { .. })
    ));
    let first = onchain.build(order(30_000)).expect("the confirmed coin");
    history.push(in_mempool(
        &onchain
            .finalise(&sign(7, &first.psbt_base64))
            .expect("signed"),
    ));
    onchain
        .apply_view(&view(branch("a", 1, 1), history))
        .expect("a good view");
    let second = onchain.build(order(30_000)).expect("the change");
    assert_eq!(unsigned(&second).input[0].previous_output.txid, first.txid);
    assert!(onchain.finalise(&sign(7, &second.psbt_base64)).is_ok());
}

#[test]
fn immature_coinbase_counts_but_is_not_spent() {
    let mut onchain = wallet();
    let (_, script) = onchain.reveal_address();
    let mut reward = payment(&script, PAID_SAT, "reward");
    reward.input[0].previous_output = OutPoint::null();
    let mined = vec![confirmed(&reward, block("a", 1))];
    onchain
        .apply_view(&view(branch("a", 0, 99), mined.clone()))
        .expect("a good view");
    assert_eq!(onchain.total(), Sat(PAID_SAT));
    assert!(onchain.build(order(10_000)).is_err());
    onchain
        .apply_view(&view(branch("a", 99, 100), mined))
        .expect("a good view");
    assert!(onchain.build(order(10_000)).is_ok());
}

#[test]
fn finalise_accepts_only_what_was_built_with_good_signatures() {
    let (mut onchain, _) = funded(&[PAID_SAT]);
    let built = onchain.build(order(50_000)).expect("enough");
    let signed = sign(7, &built.psbt_base64);
    assert!(matches!(
        onchain.finalise("garbage"),
        Err(FinaliseRefused::Unreadable { .. })
    ));
    assert!(
        matches!(
            onchain.finalise(&built.psbt_base64),
            Err(FinaliseRefused::Unsatisfied { .. })
        ),
        "unsigned"
    );
    assert_eq!(
        sign(8, &built.psbt_base64),
        built.psbt_base64,
        "another key cannot sign"
    );
    let mut forged: Psbt = signed.parse().expect("a PSBT");
    let other = onchain_signature_of_another_transaction();
    for signature in forged.inputs[0].partial_sigs.values_mut() {
        *signature = other;
    }
    assert!(
        matches!(
            onchain.finalise(&forged.to_string()),
            Err(FinaliseRefused::Unsatisfied { .. })
        ),
        "forged"
    );
    let mut diverted: Psbt = signed.parse().expect("a PSBT");
    diverted.unsigned_tx.output[0].value = Amount::from_sat(1);
    let txid = diverted.unsigned_tx.compute_txid();
    assert_eq!(
        onchain.finalise(&diverted.to_string()),
        Err(FinaliseRefused::NotBuiltHere { txid })
    );
    assert!(onchain.finalise(&signed).is_ok());
    onchain.abandon(built.txid).expect("never seen");
    assert_eq!(
        onchain.finalise(&signed),
        Err(FinaliseRefused::NotBuiltHere { txid: built.txid })
    );
}

/// By the right key, over something else.
fn onchain_signature_of_another_transaction() -> bitcoin::ecdsa::Signature {
    let (mut onchain, _) = funded(&[PAID_SAT]);
    let built = onchain.build(order(60_000)).expect("enough");
    let signed: Psbt = sign(7, &built.psbt_base64).parse().expect("a PSBT");
    *signed.inputs[0]
        .partial_sigs
        .values()
        .next()
        .expect("signed")
}

#[test]
fn a_buried_payout_is_forgotten() {
    let (mut onchain, mut history) = funded(&[PAID_SAT]);
    let built = onchain.build(order(50_000)).expect("enough");
    let transaction = onchain
        .finalise(&sign(7, &built.psbt_base64))
        .expect("signed");
    history.push(confirmed(&transaction, block("a", 2)));
    onchain
        .apply_view(&view(branch("a", 1, 100), history.clone()))
        .expect("a good view");
    assert_eq!(
        (onchain.confirmations(built.txid), onchain.built.len()),
        (Some(99), 1)
    );
    onchain
        .apply_view(&view(branch("a", 100, 101), history))
        .expect("a good view");
    assert_eq!(onchain.built.len(), 0);
}

fn bump(txid: bitcoin::Txid, feerate: u64, most: u64) -> BumpOrder {
    BumpOrder {
        txid,
        feerate_sat_per_kwu: feerate,
        max_fee_sat: Sat(most),
        entropy: Entropy([8; 32]),
    }
}

/// A wallet with one coin, whose first payout waits in the mempool.
fn one_waits() -> (Onchain, Vec<SeenTransaction>, Built) {
    let (mut onchain, mut history) = funded(&[PAID_SAT]);
    let built = onchain.build(order(30_000)).expect("enough");
    let signed = onchain
        .finalise(&sign(7, &built.psbt_base64))
        .expect("signed");
    history.push(in_mempool(&signed));
    onchain
        .apply_view(&view(branch("a", 1, 1), history.clone()))
        .expect("a good view");
    (onchain, history, built)
}

#[test]
fn a_replacement_keeps_to_bip_125_and_to_its_budget() {
    let (mut onchain, mut history, first) = one_waits();
    let weight = onchain.package(first.txid).expect("built here").weight_wu;
    // Rules 3 and 4 ask for more than the feerate does: the old fee, and 1 sat/vB of the new weight.
    let least = first.fee_sat.0 + (250 * weight).div_ceil(1_000);
    let poor = onchain.replace(&bump(first.txid, FEERATE + 1, least - 1));
    assert!(
        matches!(poor, Err(BumpRefused::OverBudget { .. })),
        "{poor:?}"
    );
    let second = onchain
        .replace(&bump(first.txid, FEERATE + 1, least))
        .expect("within the budget");
    assert_eq!(second.fee_sat, Sat(least));
    let (old, new) = (unsigned(&first), unsigned(&second));
    assert_eq!(old.input, new.input, "every version spends the same coins");
    assert!(new.is_explicitly_rbf(), "rule 1");
    assert!(
        new.output
            .iter()
            .any(|o| o.script_pubkey == payee() && o.value.to_sat() == 30_000)
    );
    // Beyond the budget the feerate is approached.
    let third = onchain.replace(&bump(second.txid, 1_000_000, 5_000));
    assert_eq!(third.expect("within the budget").fee_sat, Sat(5_000));
    // Whichever confirms, nothing is bumped any more.
    let last = history.pop().expect("the payout");
    history.push(confirmed(&last.transaction, block("a", 2)));
    onchain
        .apply_view(&view(branch("a", 1, 2), history))
        .expect("a good view");
    let late = onchain.replace(&bump(first.txid, 5_000, 50_000));
    assert!(
        matches!(late, Err(BumpRefused::Confirmed { .. })),
        "{late:?}"
    );
}

#[test]
fn nothing_is_bumped_under_another_payment_of_ours() {
    let (mut onchain, _, first) = one_waits();
    let second = onchain.build(order(20_000)).expect("change of ours");
    for refused in [
        onchain.replace(&bump(first.txid, 5_000, 50_000)),
        onchain.child(&bump(first.txid, 5_000, 50_000)),
    ] {
        assert_eq!(
            refused,
            Err(BumpRefused::Spent {
                txid: first.txid,
                by: second.txid
            })
        );
    }
    let both = onchain.package(second.txid).expect("built here");
    assert_eq!(both.fee_sat, first.fee_sat.0 + second.fee_sat.0);
}

/// Change that people have set aside pays for no child; a replacement makes it smaller, as it would any output of ours.
#[test]
fn change_that_is_set_aside_is_no_childs() {
    let (mut onchain, _, first) = one_waits();
    let paid = unsigned(&first);
    let vouts = 0..u32::try_from(paid.output.len()).expect("few outputs");
    for vout in vouts {
        let outpoint = OutPoint {
            txid: first.txid,
            vout,
        };
        onchain.set_spendable(outpoint, false);
    }
    assert_eq!(
        onchain.child(&bump(first.txid, 5_000, 50_000)),
        Err(BumpRefused::NoChange { txid: first.txid })
    );
    assert!(onchain.replace(&bump(first.txid, 5_000, 50_000)).is_ok());
}
