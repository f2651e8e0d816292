//! Owns the tests of transactions that take an exact amount out of a wallet, fee included.

use super::building::{funded, order, payee, unsigned};
use super::*;

fn whole(amount_sat: u64) -> BuildOrder {
    BuildOrder {
        fee_included: true,
        ..order(amount_sat)
    }
}

/// What the payee gets, and what all other outputs hold.
fn outputs(built: &Built) -> (u64, u64) {
    let transaction = unsigned(built);
    let of = |payees: bool| {
        let outputs = transaction.output.iter();
        let fit = outputs.filter(move |output| (output.script_pubkey == payee()) == payees);
        fit.map(|output| output.value.to_sat()).sum()
    };
    (of(true), of(false))
}

#[test]
fn what_the_coins_hold_beyond_the_amount_comes_back() {
    for amount in [30_000, 99_706, 150_000, 240_000] {
        let (mut onchain, _) = funded(&[100_000, 100_000, 50_000]);
        let built = onchain.build(whole(amount)).expect("enough");
        let (paid, change) = outputs(&built);
        assert_eq!(paid + built.fee_sat.0, amount);
        assert_eq!(built.pays_sat, Sat(paid));
        let taken = unsigned(&built).input.len();
        let held = [100_000, 200_000, 250_000][taken - 1];
        assert_eq!(change, held - amount);
        let signed = onchain.finalise(&sign(7, &built.psbt_base64));
        let weight = signed.expect("signed").weight().to_wu();
        let feerate = built.fee_sat.0 * 1_000 / weight;
        assert!((500..520).contains(&feerate), "{feerate} sat/kwu");
    }
}

#[test]
fn coins_that_hold_exactly_that_need_no_change() {
    let (mut onchain, _) = funded(&[100_000, 50_000]);
    let built = onchain.build(whole(150_000)).expect("enough");
    assert_eq!(outputs(&built), (150_000 - built.fee_sat.0, 0));
    assert_eq!(unsigned(&built).output.len(), 1);
}

#[test]
fn change_that_would_be_dust_takes_another_coin_or_waits() {
    let (mut onchain, _) = funded(&[100_000, 50_000]);
    let built = onchain.build(whole(99_900)).expect("enough");
    assert_eq!(unsigned(&built).input.len(), 2);
    assert_eq!(outputs(&built), (99_900 - built.fee_sat.0, 50_100));
    let (mut onchain, _) = funded(&[100_000]);
    let before = state(&onchain);
    let short = onchain
        .build(whole(99_900))
        .expect_err("100 sat are left over");
    let waits = matches!(short, BuildRefused::InsufficientFunds { .. });
    assert!(waits, "{short}");
    assert_eq!(state(&onchain), before);
}

#[test]
fn nothing_is_built_if_the_fee_leaves_dust() {
    let (mut onchain, _) = funded(&[100_000]);
    let refused = onchain.build(whole(500)).expect_err("the fee is 282 sat");
    assert!(matches!(refused, BuildRefused::Dust { .. }), "{refused}");
    let dear = BuildOrder {
        max_fee_sat: Sat(100),
        ..whole(50_000)
    };
    let refused = onchain.build(dear).expect_err("the fee is 282 sat");
    let dear = matches!(refused, BuildRefused::FeeTooHigh { .. });
    assert!(dear, "{refused}");
}
