//! Blocks: each rule refused and kept, fork choice, reorganisations, queries.

use bitcoin::block::Version;
use bitcoin::{Amount, Block, BlockHash, CompactTarget};

use super::super::miner::reseal;
use super::super::{BlockDraft, BlockOutcome, HistoryItem, MineError, ReorgRequest, TxStatus};
use super::{Bench, first_output};

fn draft(bench: &Bench) -> BlockDraft {
    bench
        .chain
        .draft(bench.chain.tip().hash, &bench.request(7))
        .expect("the tip is known")
}

fn verdict(bench: &Bench, block: Block) -> String {
    match bench.chain.clone().submit_block(block, bench.now) {
        Ok(BlockOutcome::Connected(_)) => "connected".into(),
        Ok(other) => format!("{other:?}"),
        Err(reject) => reject.to_string(),
    }
}

/// Seals a valid draft, changes the block and finds a new nonce.
fn altered(bench: &Bench, change: impl FnOnce(&mut Block)) -> String {
    let mut block = draft(bench).seal();
    change(&mut block);
    reseal(&mut block);
    verdict(bench, block)
}

#[test]
fn header_rules() {
    let mut bench = Bench::new(20, Default::default());
    bench.now += 600;
    assert_eq!(altered(&bench, |_| ()), "connected");
    let median = bench.chain.tip().median_time;
    assert_eq!(altered(&bench, |b| b.header.time = median), "time-too-old");
    assert_eq!(altered(&bench, |b| b.header.time = median + 1), "connected");
    let limit = bench.now + 7_200;
    assert_eq!(altered(&bench, |b| b.header.time = limit), "connected");
    assert_eq!(
        altered(&bench, |b| b.header.time = limit + 1),
        "time-too-new"
    );
    assert_eq!(
        altered(&bench, |b| b.header.version = Version::from_consensus(3)),
        "bad-version(0x00000003)"
    );
    assert_eq!(
        altered(&bench, |b| b.header.version = Version::from_consensus(4)),
        "connected"
    );
    assert_eq!(
        altered(&bench, |b| b.header.bits =
            CompactTarget::from_consensus(0x207f_fffe)),
        "bad-diffbits"
    );
    let orphan: BlockHash = bitcoin::hashes::Hash::all_zeros();
    assert_eq!(
        altered(&bench, |b| b.header.prev_blockhash = orphan),
        "prev-blk-not-found"
    );
    let mut block = draft(&bench).seal();
    while block.header.validate_pow(block.header.target()).is_ok() {
        block.header.nonce += 1;
    }
    assert_eq!(verdict(&bench, block), "high-hash");
}

#[test]
fn body_rules() {
    let bench = Bench::funded();
    assert_eq!(
        altered(&bench, |b| b.txdata[0].output[0].value +=
            Amount::from_sat(1)),
        "bad-cb-amount"
    );
    assert_eq!(
        altered(&bench, |b| b.txdata[0].output[0].value -=
            Amount::from_sat(1)),
        "connected"
    );
    assert_eq!(
        altered(&bench, |b| drop(b.txdata[0].output.pop())),
        "unexpected-witness"
    );
    let plain = |b: &mut Block| {
        b.txdata[0].output.pop();
        b.txdata[0].input[0].witness.clear();
    };
    assert_eq!(
        altered(&bench, plain),
        "connected",
        "without witnesses no commitment is needed"
    );
    assert_eq!(
        altered(&bench, |b| b.txdata[0].input[0].witness.clear()),
        "bad-witness-nonce-size"
    );
    assert_eq!(
        altered(&bench, |b| b.txdata.push(b.txdata[0].clone())),
        "bad-txns-duplicate"
    );
    let mut wrong_height = draft(&bench);
    wrong_height.height += 1;
    assert_eq!(verdict(&bench, wrong_height.seal()), "bad-cb-height");
    let mut wrong_root = draft(&bench).seal();
    wrong_root.txdata[0].output[0].value -= Amount::from_sat(1);
    assert_eq!(verdict(&bench, wrong_root), "bad-txnmrklroot");
    let with_witness = |tx| {
        let mut draft = draft(&bench);
        draft.transactions = vec![tx];
        draft
    };
    let spend = bench.pay(bench.coin(1), 500);
    let mut uncommitted = with_witness(spend.clone()).seal();
    uncommitted.txdata[0].output.pop();
    reseal(&mut uncommitted);
    assert_eq!(verdict(&bench, uncommitted), "unexpected-witness");
    let mut other = with_witness(spend.clone()).seal();
    other.txdata[1] = bench.pay(bench.coin(1), 501);
    reseal(&mut other);
    assert_eq!(verdict(&bench, other), "bad-witness-merkle-match");
    assert_eq!(verdict(&bench, with_witness(spend).seal()), "connected");
}

#[test]
fn coinbases_mature_after_one_hundred_blocks() {
    let bench = Bench::funded();
    let confirm = |height| {
        let mut draft = draft(&bench);
        draft.transactions = vec![bench.pay(bench.coin(height), 500)];
        verdict(&bench, draft.seal())
    };
    // The next block is at height 111.
    assert_eq!(confirm(11), "connected");
    assert_eq!(confirm(12), "bad-txns-premature-spend-of-coinbase");
}

#[test]
fn double_spends_and_forgeries_are_refused_in_blocks() {
    let mut bench = Bench::funded();
    let spend = bench.pay(bench.coin(1), 500);
    let rival = bench.pay(bench.coin(1), 600);
    let mut twice = draft(&bench);
    twice.transactions = vec![spend.clone(), rival];
    assert_eq!(
        verdict(&bench, twice.seal()),
        "bad-txns-inputs-missingorspent"
    );
    let mut forged = bench.pay(bench.coin(2), 500);
    forged.output[0].value -= Amount::from_sat(1);
    let mut draft_forged = draft(&bench);
    draft_forged.transactions = vec![forged.clone()];
    let block = draft_forged.seal();
    assert_eq!(
        verdict(&bench, block.clone()),
        "block-script-verify-flag-failed (input 0)"
    );
    // A refused block leaves no trace and is remembered.
    let before = (bench.chain.tip(), bench.chain.supply());
    assert!(bench.chain.submit_block(block.clone(), bench.now).is_err());
    assert_eq!(before, (bench.chain.tip(), bench.chain.supply()));
    let again = bench
        .chain
        .submit_block(block, bench.now)
        .expect_err("still invalid");
    assert_eq!(again.to_string(), "duplicate-invalid");
    // Planted bug: without script verification the theft goes through, so it is that check which stops it.
    bench.chain.scripts.accept_everything = true;
    assert!(bench.submit(&forged).is_ok());
    bench.chain.scripts.accept_everything = false;
    assert!(bench.submit(&bench.pay(bench.coin(3), 500)).is_ok());
}

#[test]
fn subsidy_halves_every_150_blocks() {
    let bench = Bench::new(301, Default::default());
    let paid = |height| bench.coin(height).1.value.to_sat();
    assert_eq!((paid(149), paid(150)), (5_000_000_000, 2_500_000_000));
    assert_eq!((paid(299), paid(300)), (2_500_000_000, 1_250_000_000));
    let supply = bench.chain.supply();
    let issued = 149 * 5_000_000_000 + 150 * 2_500_000_000 + 2 * 1_250_000_000;
    assert_eq!(
        (supply.issued_sat, supply.unspent_sat, supply.burned_sat),
        (issued, issued, 0)
    );
}

#[test]
fn the_first_of_equal_branches_stays_and_a_longer_one_wins() {
    let mut bench = Bench::funded();
    let spend = bench.pay(bench.coin(1), 500);
    bench.submit(&spend).expect("valid");
    let fork = bench.chain.tip().hash;
    bench.mine();
    let old = bench.chain.tip();
    let rival = bench
        .chain
        .draft(fork, &bench.request(9))
        .expect("known")
        .seal();
    let rival_hash = rival.block_hash();
    let outcome = bench
        .chain
        .submit_block(rival.clone(), bench.now)
        .expect("valid");
    assert_eq!(outcome, BlockOutcome::SideBranch);
    assert_eq!(
        bench.chain.submit_block(rival, bench.now),
        Ok(BlockOutcome::Duplicate)
    );
    assert_eq!(bench.chain.tip(), old);
    let next = bench
        .chain
        .draft(rival_hash, &bench.request(9))
        .expect("known")
        .seal();
    let Ok(BlockOutcome::Connected(update)) = bench.chain.submit_block(next, bench.now) else {
        panic!("more work")
    };
    assert_eq!((update.disconnected.len(), update.connected.len()), (1, 2));
    assert_eq!(bench.chain.changes_since(old.hash), Some(update));
    // The transaction of the lost block waits again.
    assert!(bench.chain.mempool_entry(&spend.compute_txid()).is_some());
    assert!(!bench.chain.is_in_best_chain(&old.hash));
}

#[test]
fn a_reorg_of_a_coinbase_drops_what_spent_it() {
    let mut bench = Bench::funded();
    let spend = bench.pay(bench.coin(10), 500);
    bench.submit(&spend).expect("mature at height 110");
    bench.now += 600;
    let request = ReorgRequest {
        depth: 105,
        length: 106,
        mine: bench.request(3),
        spacing_seconds: 1,
    };
    let update = bench.chain.reorg(&request, bench.now).expect("valid");
    assert_eq!(
        (update.disconnected.len(), update.connected.len()),
        (105, 106)
    );
    assert_eq!(bench.chain.mempool().count(), 0, "its coinbase is gone");
    let supply = bench.chain.supply();
    assert_eq!(supply.issued_sat, supply.unspent_sat + supply.burned_sat);
    let too_deep = ReorgRequest {
        depth: 200,
        ..request
    };
    assert_eq!(
        bench.chain.reorg(&too_deep, bench.now),
        Err(MineError::TooDeep {
            depth: 200,
            height: 111
        })
    );
}

#[test]
fn an_invalid_branch_gives_the_old_one_back() {
    let mut bench = Bench::funded();
    let fork = bench.chain.hash_at(108).expect("mined");
    let before = (bench.chain.tip(), bench.chain.supply());
    let mut parent = fork;
    for step in 0..3 {
        let mut draft = bench.chain.draft(parent, &bench.request(4)).expect("known");
        // The middle block pays itself too much, which shows only when the branch is connected.
        draft.coinbase_sat += u64::from(step == 1);
        let block = draft.seal();
        parent = block.block_hash();
        let result = bench.chain.submit_block(block, bench.now);
        assert_eq!(result.is_err(), step == 2);
    }
    assert_eq!(before, (bench.chain.tip(), bench.chain.supply()));
    bench.mine();
}

#[test]
fn queries_agree_before_and_after_confirmation() {
    let mut bench = Bench::funded();
    let (spent, out) = bench.coin(1);
    let spend = bench.pay((spent, out.clone()), 500);
    let txid = spend.compute_txid();
    bench.submit(&spend).expect("valid");
    let view = bench.chain.transaction(&txid).expect("waiting");
    assert_eq!((view.fee_sat, view.spent.clone()), (500, vec![out.clone()]));
    assert_eq!(view.status, TxStatus::Unconfirmed { since: bench.now });
    assert!(
        bench
            .chain
            .history(&bench.key.script())
            .contains(&HistoryItem { txid, height: None })
    );
    bench.mine();
    bench.mine();
    let view = bench.chain.transaction(&txid).expect("confirmed");
    assert_eq!((view.fee_sat, view.spent), (500, vec![out]));
    assert!(matches!(
        view.status,
        TxStatus::Confirmed {
            height: 111,
            index: 1,
            confirmations: 2,
            ..
        }
    ));
    assert!(
        bench
            .chain
            .history(&bench.key.script())
            .contains(&HistoryItem {
                txid,
                height: Some(111)
            })
    );
    assert_eq!(bench.chain.spender(&spent), Some(txid));
    assert!(bench.chain.utxo(&spent).is_none());
    let (outpoint, _) = first_output(&spend);
    assert!(
        bench
            .chain
            .unspent(&bench.key.script())
            .iter()
            .any(|(o, _)| *o == outpoint)
    );
}
