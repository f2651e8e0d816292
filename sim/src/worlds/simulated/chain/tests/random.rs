//! Random traffic, mining and reorganisations against a recomputation from the blocks alone.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::{Amount, OutPoint, Transaction, TxOut};
use proptest::prelude::*;

use super::super::coins::is_unspendable;
use super::super::{ReorgRequest, subsidy_sat};
use super::{Bench, output};

#[derive(Debug, Clone)]
enum Step {
    /// Spends one of the coins in sight; `forged` breaks the signature.
    Pay {
        pick: usize,
        fee_sat: u64,
        ways: u64,
        forged: bool,
    },
    Mine,
    MineEmpty,
    Reorg {
        depth: u32,
        extra: u32,
        salt: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let pay = (
        any::<usize>(),
        0..3_000_u64,
        1..4_u64,
        prop::bool::weighted(0.1),
    )
        .prop_map(|(pick, fee_sat, ways, forged)| Step::Pay {
            pick,
            fee_sat,
            ways,
            forged,
        });
    let reorg = (1..6_u32, 1..3_u32, 1..9_u64).prop_map(|(depth, extra, salt)| Step::Reorg {
        depth,
        extra,
        salt,
    });
    prop_oneof![8 => pay, 2 => Just(Step::Mine), 1 => Just(Step::MineEmpty), 1 => reorg]
}

/// Coins of the chain and of the mempool, spent or not, so that conflicts arise.
fn coins_in_sight(bench: &Bench) -> Vec<(OutPoint, TxOut)> {
    let confirmed = bench
        .chain
        .unspent(&bench.key.script())
        .into_iter()
        .map(|(o, c)| (o, c.out));
    let waiting = bench
        .chain
        .mempool()
        .flat_map(|e| (0..e.tx.output.len() as u32).map(|v| output(&e.tx, v)));
    confirmed.chain(waiting).collect()
}

fn apply(bench: &mut Bench, step: &Step) {
    bench.now += 60;
    match *step {
        Step::Pay {
            pick,
            fee_sat,
            ways,
            forged,
        } => {
            let coins = coins_in_sight(bench);
            let coin = coins[pick % coins.len()].clone();
            if coin.1.value.to_sat() < 10_000 {
                return;
            }
            let mut tx = bench.fan_out(coin, ways, fee_sat);
            if forged {
                tx.output[0].value -= Amount::from_sat(1);
            }
            let result = bench.submit(&tx);
            assert!(!(forged && result.is_ok()), "a forged spend was accepted");
        }
        Step::Mine => drop(bench.mine()),
        Step::MineEmpty => drop(bench.chain.mine_empty(&bench.request(1)).expect("valid")),
        Step::Reorg { depth, extra, salt } => {
            let mine = bench.request(salt);
            let request = ReorgRequest {
                depth,
                length: depth + extra,
                mine,
                spacing_seconds: 30,
            };
            bench.chain.reorg(&request, bench.now).expect("valid");
        }
    }
}

/// The set of unspent outputs, from nothing but the blocks.
fn recomputed(bench: &Bench) -> BTreeMap<OutPoint, TxOut> {
    let mut coins = BTreeMap::new();
    for block in (1..=bench.chain.height()).filter_map(|h| bench.chain.block_at(h)) {
        for tx in &block.txdata {
            for input in &tx.input {
                let spent = coins.remove(&input.previous_output);
                assert_eq!(spent.is_none(), tx.is_coinbase());
            }
            let outputs = (0..tx.output.len() as u32).map(|v| output(tx, v));
            coins.extend(outputs.filter(|(_, out)| !is_unspendable(out)));
        }
    }
    coins
}

fn check(bench: &Bench) {
    let coins = recomputed(bench);
    assert_eq!(coins.len(), bench.chain.utxo_count());
    for (outpoint, out) in &coins {
        assert_eq!(bench.chain.utxo(outpoint).map(|c| &c.out), Some(out));
    }
    let supply = bench.chain.supply();
    let subsidies: u64 = (1..=bench.chain.height()).map(subsidy_sat).sum();
    assert_eq!(supply.issued_sat, subsidies);
    assert_eq!(supply.issued_sat, supply.unspent_sat + supply.burned_sat);
    let mut spent = BTreeSet::new();
    for entry in bench.chain.mempool() {
        for input in &entry.tx.input {
            let outpoint = input.previous_output;
            assert!(
                spent.insert(outpoint),
                "two transactions of the mempool spend the same output"
            );
            let parent: Option<&Transaction> =
                bench.chain.mempool_entry(&outpoint.txid).map(|e| &*e.tx);
            assert!(
                coins.contains_key(&outpoint) || parent.is_some(),
                "an input is not available"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn coins_and_mempool_stay_sound(steps in prop::collection::vec(step(), 1..60)) {
        let mut bench = Bench::new(105, super::Policy::default());
        for step in &steps {
            apply(&mut bench, step);
            check(&bench);
        }
        // Everything that waits can be mined.
        while bench.chain.mempool().count() > 0 {
            let before = bench.chain.mempool().count();
            bench.mine();
            prop_assert!(bench.chain.mempool().count() < before);
            check(&bench);
        }
    }
}
