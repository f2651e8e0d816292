//! The mempool: each rule refused and kept, replacement, packages, eviction, expiry, the fee market.

use bitcoin::opcodes::all::OP_ADD;
use bitcoin::{Amount, ScriptBuf, Sequence, Transaction, Txid};

use super::super::locks::is_bip68_final;
use super::super::{Coin, FeeFrom, FeeSchedule, FeeStep, Policy};
use super::wallet::unsigned;
use super::{Bench, first_output, output};

/// Submits to a copy, so that cases do not touch each other.
fn verdict(bench: &Bench, tx: &Transaction) -> String {
    let tested = bench.chain.test_transaction(tx, bench.now);
    tested.map_or_else(|e| e.to_string(), |_| "accepted".into())
}

fn resigned(bench: &Bench, mut tx: Transaction, change: impl FnOnce(&mut Transaction)) -> String {
    let (_, spent) = bench.coin(1);
    change(&mut tx);
    bench.key.sign(&mut tx, &[spent]);
    verdict(bench, &tx)
}

#[test]
fn form_and_standardness() {
    let mut bench = Bench::funded();
    let good = bench.pay(bench.coin(1), 500);
    let check = |change: fn(&mut Transaction)| resigned(&bench, good.clone(), change);
    assert_eq!(check(|_| ()), "accepted");
    assert_eq!(check(|t| t.version.0 = 3), "accepted");
    assert_eq!(check(|t| t.version.0 = 4), "version");
    assert_eq!(check(|t| t.output.clear()), "bad-txns-vout-empty");
    assert_eq!(
        check(|t| t.output[0].value = Amount::from_sat(294)),
        "accepted"
    );
    assert_eq!(check(|t| t.output[0].value = Amount::from_sat(293)), "dust");
    assert_eq!(
        check(|t| t.output[0].value = Amount::MAX_MONEY + Amount::from_sat(1)),
        "bad-txns-vout-toolarge"
    );
    assert_eq!(check(|t| t.output[0].value *= 2), "bad-txns-in-belowout");
    assert_eq!(
        check(|t| t.output[0].script_pubkey = ScriptBuf::from_bytes(vec![OP_ADD.to_u8()])),
        "scriptpubkey"
    );
    assert_eq!(
        check(|t| t.output[0].script_pubkey = ScriptBuf::new_op_return([7; 40])),
        "accepted"
    );
    let doubled = unsigned(&[bench.coin(1).0, bench.coin(1).0], good.output.clone());
    assert_eq!(verdict(&bench, &doubled), "bad-txns-inputs-duplicate");
    assert_eq!(
        verdict(&bench, &bench.chain.block_at(5).expect("mined").txdata[0]),
        "coinbase"
    );
    let many = bench.fan_out(bench.coin(1), 3_300, 1_000_000);
    assert_eq!(verdict(&bench, &many), "tx-size");
    let fewer = bench.fan_out(bench.coin(1), 3_200, 1_000_000);
    assert_eq!(verdict(&bench, &fewer), "accepted");
    // Parent and child together stay below 101 kvB, or do not.
    bench.submit(&fewer).expect("valid");
    assert_eq!(
        verdict(&bench, &bench.fan_out(output(&fewer, 0), 10, 5_000)),
        "accepted"
    );
    assert_eq!(
        verdict(&bench, &bench.fan_out(output(&fewer, 0), 60, 5_000)),
        "too-long-mempool-chain"
    );
}

#[test]
fn inputs_and_scripts() {
    let mut bench = Bench::funded();
    let good = bench.pay(bench.coin(1), 500);
    let mut forged = good.clone();
    forged.output[0].value -= Amount::from_sat(1);
    assert_eq!(
        verdict(&bench, &forged),
        "mempool-script-verify-flag-failed (input 0)"
    );
    assert_eq!(
        verdict(&bench, &bench.pay(bench.coin(12), 500)),
        "bad-txns-premature-spend-of-coinbase"
    );
    let mut missing = bench.coin(1);
    missing.0.vout = 9;
    assert_eq!(
        verdict(&bench, &bench.pay(missing, 500)),
        "bad-txns-inputs-missingorspent"
    );
    bench.submit(&good).expect("valid");
    assert_eq!(verdict(&bench, &good), "txn-already-in-mempool");
    let mut stripped = good.clone();
    stripped.input[0].witness.clear();
    assert_eq!(
        verdict(&bench, &stripped),
        "txn-same-nonwitness-data-in-mempool"
    );
    bench.mine();
    assert_eq!(verdict(&bench, &good), "txn-already-known");
}

#[test]
fn lock_times() {
    let bench = Bench::funded();
    let sequence = Sequence::ENABLE_LOCKTIME_NO_RBF;
    let absolute =
        |lock, sequence| verdict(&bench, &bench.pay_with(bench.coin(1), 500, sequence, lock));
    // Next block: height 111.
    assert_eq!(absolute(110, sequence), "accepted");
    assert_eq!(absolute(111, sequence), "non-final");
    assert_eq!(absolute(111, Sequence::MAX), "accepted");
    let median = bench.chain.tip().median_time;
    assert_eq!(absolute(median - 1, sequence), "accepted");
    assert_eq!(absolute(median, sequence), "non-final");
    let relative = |height, sequence| {
        verdict(
            &bench,
            &bench.pay_with(bench.coin(height), 500, sequence, 0),
        )
    };
    assert_eq!(relative(1, Sequence::from_height(110)), "accepted");
    assert_eq!(relative(1, Sequence::from_height(111)), "non-BIP68-final");
    // From the median at height 9 (the time of block 5) to the tip's (block 105): 60,000 s, 117 units of 512 s and a bit.
    assert_eq!(
        relative(10, Sequence::from_512_second_intervals(117)),
        "accepted"
    );
    assert_eq!(
        relative(10, Sequence::from_512_second_intervals(118)),
        "non-BIP68-final"
    );
}

#[test]
fn relative_time_counts_to_the_second() {
    let bench = Bench::funded();
    let sequence = Sequence::from_512_second_intervals(1);
    let tx = bench.pay_with(bench.coin(1), 500, sequence, 0);
    let coin = Coin {
        out: bench.coin(1).1,
        height: 11,
        coinbase: false,
    };
    // The median before the coin's block is 1000; the parent's is given.
    let allowed = |parent| {
        is_bip68_final(&tx, std::slice::from_ref(&coin), 21, &|height| {
            if height == 10 { 1_000 } else { parent }
        })
    };
    assert!(allowed(1_512));
    assert!(!allowed(1_511));
}

#[test]
fn relay_fee() {
    let mut bench = Bench::funded();
    let vsize = bench.pay(bench.coin(1), 500).vsize() as u64;
    let needed = vsize.div_ceil(10);
    assert_eq!(
        verdict(&bench, &bench.pay(bench.coin(1), needed)),
        "accepted"
    );
    assert_eq!(
        verdict(&bench, &bench.pay(bench.coin(1), needed - 1)),
        "min relay fee not met"
    );
    bench.chain.set_policy(Policy {
        min_relay_sat_per_kvb: 5_000,
        ..Policy::default()
    });
    assert_eq!(
        verdict(&bench, &bench.pay(bench.coin(1), vsize * 5 - 1)),
        "min relay fee not met"
    );
    assert_eq!(
        verdict(&bench, &bench.pay(bench.coin(1), vsize * 5)),
        "accepted"
    );
}

#[test]
fn chains_of_25_and_no_longer() {
    let mut bench = Bench::funded();
    let mut tip = bench.pay(bench.coin(1), 500);
    bench.submit(&tip).expect("valid");
    for _ in 1..25 {
        tip = bench.pay(first_output(&tip), 500);
        bench.submit(&tip).expect("within the limit");
    }
    let next = bench.pay(first_output(&tip), 500);
    assert_eq!(verdict(&bench, &next), "too-long-mempool-chain");
    bench.mine();
    assert_eq!(verdict(&bench, &next), "accepted");
    let wide = bench.fan_out(bench.coin(2), 30, 5_000);
    bench.submit(&wide).expect("valid");
    for vout in 0..24 {
        bench
            .submit(&bench.pay(output(&wide, vout), 500))
            .expect("within the limit");
    }
    assert_eq!(
        verdict(&bench, &bench.pay(output(&wide, 24), 500)),
        "too-long-mempool-chain"
    );
}

#[test]
fn clusters() {
    let policy = Policy {
        ancestors_max: 100,
        descendants_max: 100,
        ..Policy::default()
    };
    let mut bench = Bench::new(110, policy);
    let mut tip = bench.pay(bench.coin(1), 500);
    bench.submit(&tip).expect("valid");
    for _ in 1..64 {
        tip = bench.pay(first_output(&tip), 500);
        bench.submit(&tip).expect("within the limit");
    }
    assert_eq!(
        verdict(&bench, &bench.pay(first_output(&tip), 500)),
        "too-large-cluster"
    );
}

#[test]
fn replacement() {
    let mut bench = Bench::funded();
    let first = bench.pay_with(bench.coin(1), 500, Sequence::MAX, 0);
    let child = bench.pay(first_output(&first), 400);
    bench.submit(&first).expect("valid");
    bench.submit(&child).expect("valid");
    let vsize = first.vsize() as u64;
    // Rules 3 and 4: the fees of both, and its own relay.
    let needed = 900 + vsize.div_ceil(10);
    assert_eq!(
        verdict(&bench, &bench.pay(bench.coin(1), needed - 1)),
        "insufficient fee"
    );
    let better = bench.pay(bench.coin(1), needed);
    // Rule 1 counts only without full RBF.
    bench.chain.set_policy(Policy {
        full_rbf: false,
        ..Policy::default()
    });
    assert_eq!(verdict(&bench, &better), "txn-mempool-conflict");
    bench.chain.set_policy(Policy::default());
    assert_eq!(verdict(&bench, &better), "accepted");
    let two_inputs = |bench: &Bench, other: (bitcoin::OutPoint, bitcoin::TxOut)| {
        let (point, out) = bench.coin(1);
        let mut tx = unsigned(&[point, other.0], vec![out.clone()]);
        tx.output[0].value += other.1.value - Amount::from_sat(50_000);
        bench.key.sign(&mut tx, &[out, other.1]);
        tx
    };
    assert_eq!(
        verdict(&bench, &two_inputs(&bench, first_output(&child))),
        "bad-txns-spends-conflicting-tx"
    );
    // Rule 2: no new unconfirmed input; a confirmed one is fine.
    let parent = bench.pay(bench.coin(2), 500);
    bench.submit(&parent).expect("valid");
    assert_eq!(
        verdict(&bench, &two_inputs(&bench, first_output(&parent))),
        "replacement-adds-unconfirmed"
    );
    assert_eq!(
        verdict(&bench, &two_inputs(&bench, bench.coin(3))),
        "accepted"
    );
    let mut expected: Vec<Txid> = vec![first.compute_txid(), child.compute_txid()];
    expected.sort_unstable();
    assert_eq!(bench.submit(&better), Ok(expected));
}

#[test]
fn replacement_of_at_most_one_hundred() {
    let mut bench = Bench::funded();
    let base = bench.fan_out(bench.coin(1), 5, 5_000);
    bench.submit(&base).expect("valid");
    bench.mine();
    let mut points = Vec::new();
    // Four families of 25 and one transaction more.
    for vout in 0..4 {
        let parent = bench.fan_out(output(&base, vout), 24, 2_000);
        bench.submit(&parent).expect("valid");
        for child in 0..24 {
            bench
                .submit(&bench.pay(output(&parent, child), 200))
                .expect("valid");
        }
        points.push(output(&base, vout));
    }
    let rival = |bench: &Bench, coins: &[(bitcoin::OutPoint, bitcoin::TxOut)]| {
        let outpoints: Vec<_> = coins.iter().map(|c| c.0).collect();
        let spent: Vec<_> = coins.iter().map(|c| c.1.clone()).collect();
        let mut tx = unsigned(&outpoints, vec![spent[0].clone()]);
        bench.key.sign(&mut tx, &spent);
        tx
    };
    assert_eq!(verdict(&bench, &rival(&bench, &points)), "accepted");
    bench
        .submit(&bench.pay(output(&base, 4), 500))
        .expect("valid");
    points.push(output(&base, 4));
    assert_eq!(
        verdict(&bench, &rival(&bench, &points)),
        "too many potential replacements"
    );
}

#[test]
fn a_child_pays_for_a_parent_below_the_minimum() {
    let mut bench = Bench::funded();
    let parent = bench.pay(bench.coin(1), 0);
    let poor = bench.pay(first_output(&parent), 15);
    let rich = bench.pay(first_output(&parent), 1_000);
    assert_eq!(verdict(&bench, &parent), "min relay fee not met");
    let refused = bench
        .chain
        .submit_package(&parent, &poor, bench.now)
        .expect_err("15 sat for two");
    assert_eq!(refused.to_string(), "min relay fee not met");
    assert_eq!(bench.chain.mempool().count(), 0, "nothing is left behind");
    let stranger = bench.pay(bench.coin(2), 500);
    let refused = bench
        .chain
        .submit_package(&parent, &stranger, bench.now)
        .expect_err("not its child");
    assert_eq!(refused.to_string(), "package-not-child-with-parents");
    let accepted = bench
        .chain
        .submit_package(&parent, &rich, bench.now)
        .expect("1000 sat for two");
    assert_eq!(accepted.len(), 2);
    assert_eq!(bench.mine().txdata.len(), 3);
}

#[test]
fn a_full_mempool_evicts_the_worst_and_remembers_the_price() {
    let policy = Policy {
        pool_vsize_max: 900,
        ..Policy::default()
    };
    let mut bench = Bench::new(115, policy);
    let cheap = bench.pay(bench.coin(1), 200);
    bench.submit(&cheap).expect("valid");
    for height in 2..=9 {
        bench
            .submit(&bench.pay(bench.coin(height), 1_000 * u64::from(height)))
            .expect("valid");
    }
    assert!(
        bench.chain.mempool_entry(&cheap.compute_txid()).is_none(),
        "the cheapest fell out"
    );
    assert!(bench.chain.mempool_vsize() <= 900);
    let minimum = bench.chain.min_feerate(bench.now);
    assert!(minimum > 100);
    assert_eq!(verdict(&bench, &cheap), "mempool min fee not met");
    // The minimum only falls after a block, by half each half-life (a quarter of 12 h while nearly empty).
    bench.now += 3 * 60 * 60;
    assert_eq!(bench.chain.min_feerate(bench.now), minimum);
    bench.mine();
    assert_eq!(bench.chain.min_feerate(bench.now), minimum);
    bench.now += 3 * 60 * 60;
    assert_eq!(bench.chain.min_feerate(bench.now), minimum / 2);
    bench.now += 30 * 60 * 60;
    assert_eq!(bench.chain.min_feerate(bench.now), 100);
    assert_eq!(verdict(&bench, &cheap), "accepted");
}

#[test]
fn what_waits_for_336_hours_expires() {
    let mut bench = Bench::funded();
    let parent = bench.pay(bench.coin(1), 500);
    bench.submit(&parent).expect("valid");
    bench.now += 336 * 60 * 60;
    assert_eq!(bench.chain.expire(bench.now), vec![]);
    bench
        .submit(&bench.pay(first_output(&parent), 500))
        .expect("valid");
    assert_eq!(
        bench.chain.expire(bench.now + 1).len(),
        2,
        "the young child goes with its parent"
    );
}

#[test]
fn the_miner_takes_packages_by_feerate_and_respects_the_floor() {
    let mut bench = Bench::funded();
    let parent = bench.pay(bench.coin(1), 20);
    let child = bench.pay(first_output(&parent), 20_000);
    let single = bench.pay(bench.coin(2), 5_000);
    let cheap = bench.pay(bench.coin(3), 100);
    for tx in [&parent, &child, &single, &cheap] {
        bench.submit(tx).expect("valid");
    }
    let step = FeeStep {
        from: FeeFrom::Height(111),
        floor_sat_per_kvb: 2_000,
        next_block_sat_per_kvb: 10_000,
    };
    bench
        .chain
        .set_fee_schedule(FeeSchedule { steps: vec![step] });
    assert_eq!(bench.chain.estimate_feerate(1, bench.now), 10_000);
    assert_eq!(bench.chain.estimate_feerate(4, bench.now), 4_000);
    let block = bench.mine();
    let order: Vec<Txid> = block.txdata[1..]
        .iter()
        .map(Transaction::compute_txid)
        .collect();
    assert_eq!(
        order,
        [&parent, &child, &single].map(Transaction::compute_txid)
    );
    let later = FeeStep {
        from: FeeFrom::Time(bench.now + 1),
        floor_sat_per_kvb: 0,
        next_block_sat_per_kvb: 500,
    };
    bench.chain.set_fee_schedule(FeeSchedule {
        steps: vec![step, later],
    });
    assert_eq!(bench.mine().txdata.len(), 2, "the floor is gone");
}

#[test]
fn mining_named_transactions_and_little_room() {
    let mut bench = Bench::funded();
    let parent = bench.pay(bench.coin(1), 500);
    let child = bench.pay(first_output(&parent), 500);
    bench.submit(&parent).expect("valid");
    bench.submit(&child).expect("valid");
    let request = bench.request(0);
    let alone = bench
        .chain
        .mine_only(&request, &[child.compute_txid()])
        .expect_err("its parent is missing");
    assert!(
        alone
            .to_string()
            .ends_with("bad-txns-inputs-missingorspent")
    );
    let mut small = request.clone();
    small.max_weight = 8_000 + parent.weight().to_wu();
    assert_eq!(
        bench.chain.mine(&small).expect("valid").txdata.len(),
        2,
        "room for the parent only"
    );
    let named = bench
        .chain
        .mine_only(&request, &[child.compute_txid()])
        .expect("its parent is confirmed");
    assert_eq!(named.txdata.len(), 2);
    assert!(
        bench
            .chain
            .mine_only(&request, &[child.compute_txid()])
            .is_err()
    );
    assert_eq!(
        bench
            .chain
            .mine_empty(&request)
            .expect("valid")
            .txdata
            .len(),
        1
    );
}

#[test]
fn a_confirmed_rival_drops_the_conflict_and_its_children() {
    let mut bench = Bench::funded();
    let first = bench.pay(bench.coin(1), 500);
    let child = bench.pay(first_output(&first), 500);
    bench.submit(&first).expect("valid");
    bench.submit(&child).expect("valid");
    let mut draft = bench
        .chain
        .draft(bench.chain.tip().hash, &bench.request(1))
        .expect("known");
    draft.transactions = vec![bench.pay(bench.coin(1), 700)];
    bench
        .chain
        .submit_block(draft.seal(), bench.now)
        .expect("valid");
    assert_eq!(bench.chain.mempool().count(), 0);
}
