//! Four nodes in a line, A-B-C-D, over the bare pump: money to the millisatoshi, crashes, holds, closing, reorganisation.
//!
//! Owns what must hold for the assembled node; parts have their tests beside them. `HashMap` order differs between runs
//! here, outside of a simulation, so nothing is asserted that depends on it.

#[path = "line/forgetting.rs"]
mod forgetting;
#[path = "line/stores.rs"]
mod stores;

use bitcoin::hashes::{Hash as _, sha256};
use lockstep_lightning::pump::Pump;
use lockstep_lightning::*;
use std::time::Duration;

const CAPACITY_SAT: u64 = 1_000_000;
const PUSH_MSAT: u64 = 300_000_000;
const COINS_SAT: u64 = 2_000_000;

/// LDK reads the system clock outside of a simulation, so the pump's time must be the real one.
#[expect(
    clippy::disallowed_methods,
    reason = "test set-up against the real clock"
)]
fn real_time() -> Duration {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
}

fn opening(peer: bitcoin::secp256k1::PublicKey, user_channel_id: u128) -> OpenChannel {
    let forwarding = ForwardingPolicy {
        fee_base_msat: 1_000,
        fee_proportional_millionths: 100,
        cltv_expiry_delta: 72,
    };
    OpenChannel {
        peer,
        capacity_sat: CAPACITY_SAT,
        push_msat: PUSH_MSAT,
        announce: true,
        forwarding,
        user_channel_id,
    }
}

/// The line with one announced, confirmed and gossiped channel per hop; channel `n + 1` joins nodes `n` and `n + 1`.
fn line() -> Pump {
    let mut pump = Pump::new(4, real_time() - Duration::from_secs(3600));
    (0..4).for_each(|index| pump.give_coins(index, COINS_SAT));
    for near in 0..3 {
        pump.connect(near, near + 1);
        let peer = pump.id(near + 1);
        pump.node(near)
            .open_channel(opening(peer, near as u128 + 1))
            .unwrap();
        pump.run();
    }
    pump.mine(6);
    pump.advance(61);
    for index in 0..4 {
        assert_eq!(
            pump.node(index).graph().channels_both_directions,
            3,
            "graph of node {index}"
        );
        pump.take_events(index);
    }
    pump
}

fn invoice(amount_msat: u64) -> InvoiceRequest {
    InvoiceRequest {
        amount_msat: Some(amount_msat),
        description: InvoiceDescription::Text("test".to_owned()),
        expiry_secs: 7200,
        min_final_cltv: None,
    }
}

fn pay<'a>(invoice: &'a str, id: u8) -> PayInvoice<'a> {
    PayInvoice {
        invoice,
        amount_msat: None,
        payment_id: PaymentId([id; 32]),
        max_total_fee_msat: None,
        retry_timeout_secs: 10,
    }
}

fn own(pump: &Pump, index: usize, user_channel_id: u128) -> ChannelView {
    let channels = pump.node(index).channels();
    channels
        .into_iter()
        .find(|channel| channel.user_channel_id == user_channel_id)
        .expect("an open channel")
}

/// Local balances of the openers A, B and C.
fn openers_msat(pump: &Pump) -> [u64; 3] {
    [0, 1, 2].map(|index| own(pump, index, index as u128 + 1).local_balance_msat)
}

/// Both ends of every channel agree, and no millisatoshi is lost or made.
fn check_conservation(pump: &Pump) {
    for index in 0..3 {
        let near = own(pump, index, index as u128 + 1);
        let far = pump
            .node(index + 1)
            .channels()
            .into_iter()
            .find(|c| c.channel_id == near.channel_id)
            .unwrap();
        assert_eq!(near.local_balance_msat, far.remote_balance_msat);
        assert_eq!(near.remote_balance_msat, far.local_balance_msat);
        let held: u64 = near.htlcs.iter().map(|htlc| htlc.amount_msat).sum();
        assert_eq!(
            near.local_balance_msat + far.local_balance_msat + held,
            near.capacity_sat * 1000
        );
    }
}

const START_MSAT: u64 = CAPACITY_SAT * 1000 - PUSH_MSAT;

/// What A, B and C have left in the channels they opened after `amount_msat` reached D (fees: 1000 msat + 100 ppm a hop).
fn after_payment(amount_msat: u64) -> [u64; 3] {
    let fee_c = 1_000 + amount_msat / 10_000;
    let fee_b = 1_000 + (amount_msat + fee_c) / 10_000;
    [
        amount_msat + fee_c + fee_b,
        amount_msat + fee_c,
        amount_msat,
    ]
    .map(|spent| START_MSAT - spent)
}

#[test]
fn an_invoice_is_paid_over_three_hops_with_exact_balances() {
    let mut pump = line();
    assert_eq!(openers_msat(&pump), [START_MSAT; 3]);
    check_conservation(&pump);
    let text = pump.node(3).create_invoice(invoice(50_000_000)).unwrap();
    assert_eq!(
        pump.node(0).pay_invoice(pay(&text, 1)).unwrap(),
        PayOutcome::Started
    );
    assert_eq!(
        pump.node(0).pay_invoice(pay(&text, 1)).unwrap(),
        PayOutcome::AlreadyKnown
    );
    assert!(!pump.node(0).quiet());
    pump.run();
    assert!((0..4).all(|index| pump.node(index).quiet()));
    let view = pump.node(0).payment(PaymentId([1; 32])).unwrap().unwrap();
    let OutgoingStatus::Sent {
        preimage,
        fee_paid_msat,
    } = view.status
    else {
        panic!("{view:?}")
    };
    assert_eq!(
        sha256::Hash::hash(&preimage.0).to_byte_array(),
        view.payment_hash.0
    );
    assert_eq!(fee_paid_msat, 6_000 + 6_000); // 100 ppm of 50 000 000 and of 50 006 000, rounded down
    assert_eq!(openers_msat(&pump), after_payment(50_000_000));
    check_conservation(&pump);
    let received = NodeEvent::PaymentReceived {
        payment_hash: view.payment_hash,
        amount_msat: 50_000_000,
    };
    assert_eq!(pump.take_events(3), [received]);
    assert!(matches!(
        pump.take_events(1)[..],
        [NodeEvent::PaymentForwarded {
            fee_msat: Some(6_000),
            ..
        }]
    ));
    // LDK would take the same invoice twice; the payee's record refuses the second payment.
    assert_eq!(
        pump.node(0).pay_invoice(pay(&text, 2)).unwrap(),
        PayOutcome::Started
    );
    pump.run();
    pump.advance(15);
    let second = pump.node(0).payment(PaymentId([2; 32])).unwrap().unwrap();
    assert!(
        matches!(second.status, OutgoingStatus::Failed { .. }),
        "{second:?}"
    );
    assert_eq!(openers_msat(&pump), after_payment(50_000_000));
}

#[test]
fn the_funding_transaction_has_ldk_nodes_shape() {
    let pump = line();
    let funding = own(&pump, 0, 1).funding.unwrap();
    let (height, tx) = pump
        .blocks()
        .iter()
        .zip(1u32..)
        .find_map(|(block, height)| {
            Some((
                height,
                block
                    .txdata
                    .iter()
                    .find(|tx| tx.compute_txid() == funding.txid)?,
            ))
        })
        .unwrap();
    assert_eq!((tx.input.len(), tx.output.len()), (1, 2));
    // Height of the tip as locktime, and 253 sat/kWU over the weight of the signed transaction: bdk counts a signature of
    // 72 bytes, a real one has 71.
    assert_eq!(tx.lock_time.to_consensus_u32(), height - 1);
    let fee_sat = COINS_SAT
        - tx.output
            .iter()
            .map(|output| output.value.to_sat())
            .sum::<u64>();
    let exact = (tx.weight().to_wu() * 253).div_ceil(1000);
    assert!(
        (exact..=exact + 2).contains(&fee_sat),
        "fee {fee_sat}, 253 sat/kWU {exact}"
    );
    let balance = pump.node(0).wallet_balance();
    assert_eq!(balance.total_sat, COINS_SAT - CAPACITY_SAT - fee_sat);
    assert_eq!(balance.spendable_sat, balance.total_sat - 25_000);
}

#[test]
fn a_payment_survives_the_crash_of_a_middle_node_at_any_moment() {
    let mut pump = line();
    let mut paid_msat = 0;
    // 40 chunks is more than one such payment takes, so the last rounds crash after the end.
    for (round, chunks) in (0..40).step_by(4).enumerate() {
        let id = u8::try_from(round).unwrap() + 10;
        let text = pump.node(3).create_invoice(invoice(1_000_000)).unwrap();
        pump.node(0).pay_invoice(pay(&text, id)).unwrap();
        pump.run_chunks(chunks);
        pump.restart(1);
        pump.run();
        pump.connect(1, 0);
        pump.connect(1, 2);
        pump.advance(12);
        let view = pump.node(0).payment(PaymentId([id; 32])).unwrap().unwrap();
        if matches!(view.status, OutgoingStatus::Sent { .. }) {
            paid_msat += 1_000_000;
        }
        assert_ne!(
            view.status,
            OutgoingStatus::Pending,
            "after {chunks} chunks"
        );
        assert_eq!(pump.node(1).channels().len(), 2, "after {chunks} chunks");
        assert!(
            pump.node(1)
                .channels()
                .iter()
                .all(|channel| channel.usable && channel.htlcs.is_empty())
        );
        check_conservation(&pump);
        assert_eq!(
            openers_msat(&pump)[2],
            START_MSAT - paid_msat,
            "paid once or not at all"
        );
    }
    assert!(
        paid_msat >= 5_000_000,
        "most payments get through: {paid_msat}"
    );
}

#[test]
fn a_payment_that_never_left_is_told_as_failed_after_the_crash() {
    let mut pump = line();
    let text = pump.node(3).create_invoice(invoice(1_000_000)).unwrap();
    // The payment's record is written and nothing after it: neither a monitor nor the channel manager.
    pump.disk(0).refuse_after(1);
    pump.node(0).pay_invoice(pay(&text, 1)).unwrap();
    pump.restart(0);
    let reason = FailureReason::NeverSent;
    let payment_id = PaymentId([1; 32]);
    let view = pump.node(0).payment(payment_id).unwrap().unwrap();
    assert_eq!(view.status, OutgoingStatus::Failed { reason });
    let payment_hash = Some(view.payment_hash);
    let told = NodeEvent::PaymentFailed {
        payment_id,
        payment_hash,
        reason,
    };
    assert_eq!(pump.take_events(0), [told]);
    pump.connect(0, 1);
    assert_eq!(openers_msat(&pump), [START_MSAT; 3]);
    assert_eq!(
        pump.node(0).pay_invoice(pay(&text, 1)).unwrap(),
        PayOutcome::AlreadyKnown
    );
    pump.node(0).pay_invoice(pay(&text, 2)).unwrap();
    pump.run();
    assert_eq!(openers_msat(&pump), after_payment(1_000_000));
}

#[test]
fn a_held_payment_is_claimed_or_given_back() {
    let mut pump = line();
    let preimage = PaymentPreimage([7; 32]);
    let hash = PaymentHash(sha256::Hash::hash(&preimage.0).to_byte_array());
    let text = pump
        .node(3)
        .create_hold_invoice(invoice(2_000_000), hash)
        .unwrap();
    assert!(matches!(
        pump.node(3).claim_held(preimage),
        Err(InvoiceError::NotHeld { .. })
    ));
    pump.node(0).pay_invoice(pay(&text, 1)).unwrap();
    pump.run();
    assert!(matches!(
        pump.take_events(3)[..],
        [NodeEvent::PaymentReceivable {
            amount_msat: 2_000_000,
            claim_deadline: Some(_),
            ..
        }]
    ));
    assert!(
        (0..4).all(|index| pump.node(index).quiet()),
        "a held HTLC does not move"
    );
    check_conservation(&pump);
    assert_eq!(own(&pump, 2, 3).htlcs.len(), 1);
    // The payee crashes while it holds, and still knows.
    pump.restart(3);
    pump.connect(3, 2);
    pump.node(3).claim_held(preimage).unwrap();
    pump.run();
    assert!(pump.take_events(3).contains(&NodeEvent::PaymentReceived {
        payment_hash: hash,
        amount_msat: 2_000_000
    }));
    assert_eq!(openers_msat(&pump), after_payment(2_000_000));
    let hash = PaymentHash([9; 32]);
    let text = pump
        .node(3)
        .create_hold_invoice(invoice(3_000_000), hash)
        .unwrap();
    pump.node(0).pay_invoice(pay(&text, 2)).unwrap();
    pump.run();
    pump.node(3).fail_held(hash).unwrap();
    pump.run();
    pump.advance(12);
    assert!(
        pump.take_events(3)
            .contains(&NodeEvent::HoldReleased { payment_hash: hash })
    );
    let view = pump.node(0).payment(PaymentId([2; 32])).unwrap().unwrap();
    assert_eq!(
        view.status,
        OutgoingStatus::Failed {
            reason: FailureReason::RecipientRejected
        }
    );
    assert_eq!(openers_msat(&pump), after_payment(2_000_000));
    check_conservation(&pump);
}

#[test]
fn a_force_close_ends_with_the_money_in_both_wallets() {
    let mut pump = line();
    let before = [0, 1].map(|index| pump.node(index).wallet_balance().total_sat);
    pump.node(0).force_close_channel(1).unwrap();
    pump.run();
    for _ in 0..200 {
        pump.mine(1);
        pump.advance(31);
        let settled = |index: usize| pump.node(index).claimable_balances().len() == index; // B keeps its channel with C
        if settled(0) && settled(1) && (0..2).all(|index| pump.node(index).sweeps().is_empty()) {
            break;
        }
    }
    assert!(
        pump.take_events(1)
            .iter()
            .any(|event| matches!(event, NodeEvent::ChannelClosed { .. }))
    );
    assert!(
        pump.node(0).claimable_balances().is_empty(),
        "{:?}",
        pump.node(0).claimable_balances()
    );
    assert!(pump.mempool().is_empty());
    let after = [0, 1].map(|index| pump.node(index).wallet_balance().total_sat);
    let gained = [
        after[0] as i64 - before[0] as i64,
        after[1] as i64 - before[1] as i64,
    ];
    // Fees and anchors are A's; B pays for its own sweep only.
    let shares = [
        (CAPACITY_SAT * 1000 - PUSH_MSAT) as i64 / 1000,
        PUSH_MSAT as i64 / 1000,
    ];
    assert!(
        (shares[0] - 3_000..shares[0]).contains(&gained[0]),
        "A gained {} of {}",
        gained[0],
        shares[0]
    );
    assert!(
        (shares[1] - 1_000..=shares[1]).contains(&gained[1]),
        "B gained {} of {}",
        gained[1],
        shares[1]
    );
    pump.restart(0);
    assert_eq!(pump.node(0).wallet_balance().total_sat, after[0]);
}

#[test]
fn a_held_payment_is_claimed_on_chain_when_the_channel_is_forced_closed() {
    let mut pump = line();
    let preimage = PaymentPreimage([8; 32]);
    let hash = PaymentHash(sha256::Hash::hash(&preimage.0).to_byte_array());
    let text = pump
        .node(3)
        .create_hold_invoice(invoice(20_000_000), hash)
        .unwrap();
    pump.node(0).pay_invoice(pay(&text, 1)).unwrap();
    pump.run();
    let before = pump.node(3).wallet_balance().total_sat;
    pump.node(2).force_close_channel(3).unwrap();
    pump.run();
    pump.mine(1);
    // The payee restarts between the commitment transaction and its claim.
    pump.restart(3);
    pump.node(3).claim_held(preimage).unwrap();
    for _ in 0..200 {
        pump.mine(1);
        pump.advance(31);
        if pump.node(3).claimable_balances().is_empty() && pump.node(3).sweeps().is_empty() {
            break;
        }
    }
    let view = pump.node(0).payment(PaymentId([1; 32])).unwrap().unwrap();
    assert!(
        matches!(view.status, OutgoingStatus::Sent { .. }),
        "{view:?}"
    );
    assert_eq!(
        openers_msat_of_first_two(&pump),
        after_payment(20_000_000)[..2]
    );
    let gained_sat = pump.node(3).wallet_balance().total_sat - before;
    let share_sat = (PUSH_MSAT + 20_000_000) / 1000;
    assert!(
        (share_sat - 3_000..share_sat).contains(&gained_sat),
        "{gained_sat} of {share_sat}"
    );
}

fn openers_msat_of_first_two(pump: &Pump) -> [u64; 2] {
    [0, 1].map(|index| own(pump, index, index as u128 + 1).local_balance_msat)
}

#[test]
fn a_fixed_route_is_taken_as_given() {
    let mut pump = line();
    let text = pump.node(3).create_invoice(invoice(4_000_000)).unwrap();
    let ids: Vec<u64> = [1, 2, 3]
        .map(|n: u128| own(&pump, n as usize - 1, n).short_channel_id.unwrap())
        .to_vec();
    let generous = 9_999;
    let hop = |index: usize, fee_msat, cltv_expiry_delta| Hop {
        node_id: pump.id(index + 1),
        short_channel_id: ids[index],
        fee_msat,
        cltv_expiry_delta,
    };
    let hops = [hop(0, generous, 80), hop(1, generous, 80), hop(2, 0, 40)];
    let along = PayAlong {
        invoice: &text,
        payment_id: PaymentId([5; 32]),
        hops: &hops,
    };
    assert_eq!(pump.node(0).pay_along(along).unwrap(), PayOutcome::Started);
    pump.run();
    let spent = [4_000_000 + 2 * generous, 4_000_000 + generous, 4_000_000];
    assert_eq!(openers_msat(&pump), spent.map(|msat| START_MSAT - msat));
}

#[test]
fn a_reorganisation_and_a_mutual_close_leave_the_rest_intact() {
    let mut pump = line();
    pump.reorganise(3);
    let text = pump.node(3).create_invoice(invoice(6_000_000)).unwrap();
    pump.node(0).pay_invoice(pay(&text, 1)).unwrap();
    pump.run();
    assert_eq!(openers_msat(&pump), after_payment(6_000_000));
    let before = pump.node(3).wallet_balance().total_sat;
    pump.node(2).close_channel(3).unwrap();
    pump.run();
    pump.mine(1);
    assert_eq!(
        pump.node(3).wallet_balance().total_sat,
        before + PUSH_MSAT / 1000 + 6_000
    );
    assert_eq!(pump.node(3).channels(), []);
}

#[test]
fn equal_seeds_give_equal_keys_and_a_restart_gives_new_entropy() {
    let now = real_time();
    let opened = || {
        let mut pump = Pump::new(2, now);
        (0..2).for_each(|index| pump.give_coins(index, COINS_SAT));
        pump.connect(0, 1);
        let peer = pump.id(1);
        pump.node(0).open_channel(opening(peer, 1)).unwrap();
        pump.run();
        pump
    };
    let (first, mut second) = (opened(), opened());
    assert_eq!(own(&first, 0, 1).funding, own(&second, 0, 1).funding);
    assert!(own(&first, 0, 1).funding.is_some());
    let stranger = first.id(1);
    let hello = |pump: &Pump, link| {
        pump.node(0)
            .connect_outbound(LinkId(link), stranger)
            .unwrap()
    };
    assert_eq!(hello(&first, 98), hello(&second, 98));
    // One outbound connection less than `first` has had: the counter behind the ephemeral keys starts anew.
    second.restart(0);
    assert_eq!(first.id(0), second.id(0));
    let fresh = opened();
    second.connect(0, 1);
    assert_ne!(
        hello(&fresh, 99),
        hello(&second, 99),
        "ephemeral keys must not repeat after a restart"
    );
}
