//! Owns the tests of views: confirmations, reorganisations, evictions, replacements, and views that are refused.

use super::*;

/// A wallet with one address and a payment to it.
fn awaiting() -> (Onchain, ScriptBuf, Transaction) {
    let mut onchain = wallet();
    let (_, script) = onchain.reveal_address();
    let paid = payment(&script, PAID_SAT, "payer's coin");
    (onchain, script, paid)
}

fn apply(onchain: &mut Onchain, blocks: Vec<BlockId>, transactions: Vec<SeenTransaction>) {
    onchain
        .apply_view(&view(blocks, transactions))
        .expect("a good view");
    assert_canonical_set_is_the_view(onchain);
}

#[test]
fn a_payment_is_seen_and_gets_deeper() {
    let (mut onchain, script, paid) = awaiting();
    let txid = paid.compute_txid();
    assert_eq!(onchain.received_on(&script), Received::default());
    assert_eq!(onchain.confirmations(txid), None);
    apply(&mut onchain, branch("a", 0, 1), vec![in_mempool(&paid)]);
    assert_eq!(onchain.confirmations(txid), Some(0));
    assert_eq!(onchain.received_on(&script).at_depth(0), Sat(PAID_SAT));
    assert_eq!(onchain.received_on(&script).at_depth(1), Sat(0));
    assert_eq!(onchain.total(), Sat(PAID_SAT));
    apply(
        &mut onchain,
        branch("a", 1, 2),
        vec![confirmed(&paid, block("a", 2))],
    );
    assert_eq!(onchain.confirmations(txid), Some(1));
    apply(
        &mut onchain,
        branch("a", 2, 7),
        vec![confirmed(&paid, block("a", 2))],
    );
    let outputs = onchain.received_on(&script).outputs;
    let outpoint = OutPoint { txid, vout: 0 };
    assert_eq!(
        outputs,
        [ReceivedOutput {
            outpoint,
            value_sat: Sat(PAID_SAT),
            confirmations: 6
        }]
    );
    assert_eq!(onchain.tip(), block("a", 7));
    assert_eq!(onchain.blocks(), branch("a", 0, 7));
}

#[test]
fn an_evicted_transaction_leaves_and_may_come_back() {
    let (mut onchain, script, paid) = awaiting();
    for _ in 0..3 {
        apply(&mut onchain, branch("a", 0, 1), vec![in_mempool(&paid)]);
        assert_eq!(onchain.total(), Sat(PAID_SAT));
        apply(&mut onchain, branch("a", 0, 1), vec![]);
        assert_eq!(onchain.total(), Sat(0));
        assert_eq!(onchain.confirmations(paid.compute_txid()), None);
        assert_eq!(onchain.received_on(&script), Received::default());
    }
    apply(
        &mut onchain,
        branch("a", 1, 2),
        vec![confirmed(&paid, block("a", 2))],
    );
    assert_eq!(onchain.confirmations(paid.compute_txid()), Some(1));
}

#[test]
fn a_replacement_takes_the_place_of_what_it_replaces() {
    let (mut onchain, script, paid) = awaiting();
    let elsewhere = payment(&ScriptBuf::new(), PAID_SAT, "payer's coin");
    let bumped = payment(&script, PAID_SAT - 1, "payer's coin");
    apply(&mut onchain, branch("a", 0, 1), vec![in_mempool(&paid)]);
    apply(&mut onchain, branch("a", 0, 1), vec![in_mempool(&bumped)]);
    assert_eq!(onchain.total(), Sat(PAID_SAT - 1));
    assert_eq!(onchain.confirmations(paid.compute_txid()), None);
    // The first one wins after all, then a double spend to somebody else is mined.
    apply(&mut onchain, branch("a", 0, 1), vec![in_mempool(&paid)]);
    assert_eq!(onchain.total(), Sat(PAID_SAT));
    let lost = view(
        branch("a", 1, 2),
        vec![confirmed(&elsewhere, block("a", 2))],
    );
    onchain.apply_view(&lost).expect("a good view");
    assert_eq!(onchain.total(), Sat(0));
    assert_eq!(onchain.received_on(&script), Received::default());
}

#[test]
fn a_reorganisation_undoes_moves_and_restores() {
    let (mut onchain, script, paid) = awaiting();
    let txid = paid.compute_txid();
    apply(
        &mut onchain,
        branch("a", 0, 4),
        vec![confirmed(&paid, block("a", 2))],
    );
    assert_eq!(onchain.confirmations(txid), Some(3));
    // Branch b forks after genesis and does not have it.
    let b: Vec<_> = std::iter::once(block("a", 0))
        .chain(branch("b", 1, 5))
        .collect();
    apply(&mut onchain, b.clone(), vec![]);
    assert_eq!(
        (onchain.confirmations(txid), onchain.total()),
        (None, Sat(0))
    );
    assert_eq!(onchain.blocks(), b);
    // Its block comes back without it: that cannot be.
    let forgetful = view(branch("a", 0, 6), vec![]);
    assert_eq!(
        onchain.apply_view(&forgetful),
        Err(ViewRefused::HistoryMissing { txid, height: 2 })
    );
    // It comes back to the mempool, then into b.
    apply(&mut onchain, branch("b", 5, 5), vec![in_mempool(&paid)]);
    assert_eq!(
        (onchain.confirmations(txid), onchain.total()),
        (Some(0), Sat(PAID_SAT))
    );
    apply(
        &mut onchain,
        branch("b", 5, 6),
        vec![confirmed(&paid, block("b", 6))],
    );
    assert_eq!(onchain.confirmations(txid), Some(1));
    // Branch a overtakes: the first confirmation counts again.
    apply(
        &mut onchain,
        branch("a", 0, 7),
        vec![confirmed(&paid, block("a", 2))],
    );
    assert_eq!(onchain.confirmations(txid), Some(6));
    assert_eq!(onchain.received_on(&script).at_depth(6), Sat(PAID_SAT));
}

#[test]
fn a_reorganisation_to_a_lower_tip_is_accepted() {
    let (mut onchain, _, paid) = awaiting();
    apply(
        &mut onchain,
        branch("a", 0, 4),
        vec![confirmed(&paid, block("a", 4))],
    );
    let b = vec![block("a", 1), block("b", 2), block("b", 3)];
    apply(&mut onchain, b, vec![in_mempool(&paid)]);
    assert_eq!(onchain.tip(), block("b", 3));
    assert_eq!(onchain.confirmations(paid.compute_txid()), Some(0));
}

#[test]
fn a_transaction_below_the_view_brings_its_block() {
    let (mut onchain, _, paid) = awaiting();
    let sparse = vec![block("a", 0), block("a", 100)];
    apply(&mut onchain, sparse, vec![confirmed(&paid, block("a", 40))]);
    assert_eq!(onchain.confirmations(paid.compute_txid()), Some(61));
    assert_eq!(
        onchain.blocks(),
        [block("a", 0), block("a", 40), block("a", 100)]
    );
}

#[test]
fn a_payment_to_a_lookahead_script_is_ours_and_not_given_out_again() {
    let mut other = wallet();
    let scripts: Vec<_> = (0..3).map(|_| other.reveal_address().1).collect();
    let mut onchain = wallet();
    apply(
        &mut onchain,
        branch("a", 0, 1),
        vec![in_mempool(&payment(&scripts[2], PAID_SAT, "coin"))],
    );
    assert_eq!(onchain.total(), Sat(PAID_SAT));
    assert!(!scripts.contains(&onchain.reveal_address().1));
}

#[test]
fn views_that_cannot_be_believed_change_nothing() {
    let (mut onchain, script, paid) = awaiting();
    apply(
        &mut onchain,
        branch("a", 0, 5),
        vec![confirmed(&paid, block("a", 3))],
    );
    let mined = || confirmed(&paid, block("a", 3));
    let txid = paid.compute_txid();
    let two = payment(&script, 1_000, "payer's coin");
    let child = {
        let mut child = payment(&script, 900, "x");
        child.input[0].previous_output.txid = txid;
        child
    };
    let late = payment(&script, 500, "y");
    let twisted = vec![block("a", 3), block("b", 4), block("a", 5), block("a", 6)];
    let cases = [
        ("no blocks", view(vec![], vec![]), ViewRefused::NoBlocks),
        (
            "descending",
            view(vec![block("a", 5), block("a", 4)], vec![mined()]),
            ViewRefused::NotAscending { height: 4 },
        ),
        (
            "unknown",
            view(branch("c", 4, 9), vec![mined()]),
            ViewRefused::NotConnected { known_tip: 5 },
        ),
        (
            "gap",
            view(vec![block("a", 2), block("c", 6)], vec![]),
            ViewRefused::NotConnected { known_tip: 5 },
        ),
        (
            "behind",
            view(branch("a", 2, 4), vec![mined()]),
            ViewRefused::Stale {
                height: 4,
                known_tip: 5,
            },
        ),
        (
            "twisted",
            view(twisted, vec![mined()]),
            ViewRefused::TwoBlocks { height: 4 },
        ),
        (
            "two blocks",
            view(
                branch("a", 5, 6),
                vec![mined(), confirmed(&late, block("b", 4))],
            ),
            ViewRefused::TwoBlocks { height: 4 },
        ),
        (
            "above",
            view(
                branch("a", 5, 6),
                vec![mined(), confirmed(&late, block("a", 7))],
            ),
            ViewRefused::AboveTip {
                txid: late.compute_txid(),
                height: 7,
            },
        ),
        (
            "twice",
            view(branch("a", 5, 6), vec![mined(), mined()]),
            ViewRefused::Duplicate { txid },
        ),
        (
            "double spend",
            view(branch("a", 5, 6), vec![mined(), in_mempool(&two)]),
            ViewRefused::DoubleSpend {
                outpoint: two.input[0].previous_output,
            },
        ),
        (
            "forgetful",
            view(branch("a", 5, 6), vec![]),
            ViewRefused::HistoryMissing { txid, height: 3 },
        ),
        (
            "demoted",
            view(branch("a", 5, 6), vec![in_mempool(&paid)]),
            ViewRefused::HistoryMissing { txid, height: 3 },
        ),
        (
            "moved",
            view(branch("a", 5, 6), vec![confirmed(&paid, block("a", 6))]),
            ViewRefused::HistoryMissing { txid, height: 3 },
        ),
    ];
    let before = state(&onchain);
    for (name, refused, expected) in cases {
        assert_eq!(
            onchain.check_view(&refused),
            Err(expected.clone()),
            "{name}"
        );
        assert_eq!(onchain.apply_view(&refused), Err(expected), "{name}");
        assert_eq!(state(&onchain), before, "{name}");
    }
    // An orphan: the parent's block is gone, and the child claims that the parent is still there.
    let orphan = view(vec![block("a", 2), block("b", 3)], vec![in_mempool(&child)]);
    assert_eq!(
        onchain.apply_view(&orphan),
        Err(ViewRefused::ParentMissing { txid })
    );
    assert_eq!(state(&onchain), before);
}

#[test]
fn the_same_views_give_the_same_state() {
    let run = || {
        let (mut onchain, script, paid) = awaiting();
        let more: Vec<_> = (0..20)
            .map(|n| in_mempool(&payment(&script, 1_000 + n, &n.to_string())))
            .collect();
        apply(
            &mut onchain,
            branch("a", 0, 3),
            vec![confirmed(&paid, block("a", 3))],
        );
        apply(
            &mut onchain,
            vec![block("a", 2), block("b", 3)],
            more.clone(),
        );
        apply(&mut onchain, branch("b", 3, 4), more[..10].to_vec());
        state(&onchain)
    };
    assert_eq!(run(), run());
}
