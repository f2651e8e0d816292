//! Owns the tests of what views of the node mean for the books: opening, paying, closing and sweeping a channel, to the
//! millisatoshi. Does not own payments over channels (`charges`, `payouts`).
#![allow(
    missing_docs,
    clippy::arithmetic_side_effects,
    reason = "tests state plain sums"
)]

mod outside;

use bitcoin::hashes::Hash as _;
use bitcoin::{OutPoint, Txid};
use lockstep_engine::api::{Command, Engine, EngineConfig, Event, Refusal};
use lockstep_engine::ledger::Account;
use lockstep_engine::money::{Asset, Rail, Sat};
use lockstep_engine::payments::{ChannelOrder, ChannelRefused, ChannelStage, OrderState};
use lockstep_engine::policy::Policy;
use lockstep_engine::rail::{ChannelSeen, Fact, NodeView};
use outside::*;

const PEER: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

fn managing() -> Outside {
    let mut o = Outside::new();
    let policy = Policy {
        channels: true,
        ..Policy::regtest_default()
    };
    o.engine = Engine::new(EngineConfig { policy, ..config() }).expect("a usable configuration");
    o.accepted.clear();
    o
}

fn order() -> ChannelOrder {
    ChannelOrder {
        order: payment("open-1"),
        peer: format!("{PEER}@127.0.0.1:9735"),
        capacity: Sat(1_000_000),
        announced: true,
    }
}

fn funding() -> OutPoint {
    OutPoint::new(Txid::from_byte_array([7; 32]), 1)
}

fn seen(ours_msat: u64, ready: bool) -> ChannelSeen {
    ChannelSeen {
        funding: funding(),
        id: [9; 16],
        peer: PEER.to_owned(),
        funded_by_us: true,
        capacity: Sat(1_000_000),
        ours_msat,
        ready,
        closing: false,
    }
}

fn view(wallet: u64, channels: Vec<ChannelSeen>, unswept: Vec<[u8; 32]>) -> Fact {
    Fact::Node(NodeView {
        wallet: Sat(wallet),
        channels,
        unswept,
    })
}

fn lightning(o: &Outside) -> [i128; 4] {
    [
        Account::NodeWallet,
        Account::LightningChannels,
        Account::LightningClosing,
        Account::ChannelCosts,
    ]
    .map(|account| o.balance(&account))
}

#[test]
fn a_channel_is_booked_from_its_opening_to_its_last_satoshi() {
    let mut o = managing();
    o.tell(view(5_000_000, vec![], vec![]));
    let equity = Account::Equity { asset: Asset::Btc };
    assert_eq!(o.balance(&equity), -5_000_000_000);
    o.ok(Command::OpenChannel(order()));
    assert!(o.outstanding("open-1/open").is_some());
    // 156 sat for the funding transaction; ldk-node gives the channel an id of its own.
    let out = o.tell(view(3_999_844, vec![seen(1_000_000_000, false)], vec![]));
    let opened = |event: &Event| matches!(event, Event::ChannelOpened { order: Some(_), .. });
    assert!(out.events.iter().any(opened));
    assert!(o.outstanding("open-1/open").is_none());
    let opened = OrderState::Opened { funding: funding() };
    let channels = o.engine.payments().channels();
    assert_eq!(channels.order(&payment("open-1")), Some(&opened));
    assert_eq!(lightning(&o), [3_999_844_000, 1_000_000_000, 0, 156_000]);
    o.tell(view(3_999_844, vec![seen(1_000_000_000, true)], vec![]));
    // Closed by agreement, not yet in the wallet; then 998,830 sat come, and nothing more.
    let id = {
        let mut id = [7; 32];
        id[31] ^= 1;
        id
    };
    o.tell(view(3_999_844, vec![], vec![id]));
    assert_eq!(lightning(&o), [3_999_844_000, 0, 1_000_000_000, 156_000]);
    o.tell(view(4_998_674, vec![], vec![id]));
    assert_eq!(lightning(&o), [4_998_674_000, 0, 1_170_000, 156_000]);
    let out = o.tell(view(4_998_674, vec![], vec![]));
    let swept = Event::ChannelSwept {
        funding: funding(),
        costs_msat: 1_170_000,
    };
    assert!(out.events.contains(&swept));
    assert_eq!(lightning(&o), [4_998_674_000, 0, 0, 1_326_000]);
    let record = &o.engine.payments().channels().records()[&funding()];
    assert_eq!(
        (&record.stage, record.costs_msat),
        (&ChannelStage::Swept, 1_170_000)
    );
}

#[test]
fn what_a_peer_gives_us_in_a_channel_and_what_comes_from_nowhere_is_nobodys() {
    let mut o = managing();
    o.tell(view(0, vec![], vec![]));
    let gift = ChannelSeen {
        funded_by_us: false,
        ..seen(250_000_001, true)
    };
    o.tell(view(1_000, vec![gift], vec![]));
    assert_eq!(lightning(&o), [1_000_000, 250_000_001, 0, 0]);
    let rail = Rail::Lightning;
    assert_eq!(o.balance(&Account::Suspense { rail }), -251_000_001);
}

#[test]
fn orders_are_refused_by_name_and_a_refusal_of_the_node_ends_one() {
    let mut o = managing();
    o.tell(view(5_000_000, vec![], vec![]));
    let refused =
        |o: &mut Outside, order: ChannelOrder| match o.command(Command::OpenChannel(order)) {
            Err(Refusal::Channel { cause }) => cause,
            other => panic!("{other:?}"),
        };
    let small = ChannelOrder {
        capacity: Sat(19_999),
        ..order()
    };
    let cause = refused(&mut o, small);
    assert_eq!(cause, ChannelRefused::Capacity { capacity: 19_999 });
    let nobody = ChannelOrder {
        peer: "bob".to_owned(),
        ..order()
    };
    assert!(matches!(
        refused(&mut o, nobody),
        ChannelRefused::Peer { .. }
    ));
    let close = Command::CloseChannel {
        funding: funding(),
        force: false,
    };
    let unknown = o.command(close);
    assert!(matches!(
        unknown,
        Err(Refusal::Channel {
            cause: ChannelRefused::Unknown { .. }
        })
    ));
    let out = o.ok(Command::OpenChannel(order()));
    let lockstep_engine::rail::Effect::OpenChannel { id, .. } = out.instructions[0].effect else {
        panic!("{:?}", out.instructions);
    };
    assert!(matches!(
        refused(&mut o, order()),
        ChannelRefused::IdUsed { .. }
    ));
    let reason = "too few funds".to_owned();
    o.tell(Fact::ChannelRefused { id, reason });
    let channels = o.engine.payments().channels();
    let state = channels.order(&payment("open-1"));
    assert!(matches!(state, Some(OrderState::Refused { .. })));
    assert!(o.outstanding("open-1/open").is_none());
}

#[test]
fn an_engine_that_leaves_channels_alone_takes_no_views_and_no_orders() {
    let mut o = Outside::new();
    assert!(o.fact(view(1, vec![], vec![])).is_err());
    let order = Command::OpenChannel(order());
    assert!(matches!(
        o.command(order),
        Err(Refusal::Channel {
            cause: ChannelRefused::NotManaged
        })
    ));
}
