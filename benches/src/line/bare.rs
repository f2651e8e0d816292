//! Owns the line pumped by hand: the speed limit that the simulation is compared with. Does not own the pump
//! (`lockstep-lightning`).

use super::{
    AMOUNT_MSAT, CLTV_EXPIRY_DELTA, FEE_BASE_MSAT, FEE_PROPORTIONAL_MILLIONTHS, FUNDS_SAT,
    INVOICE_EXPIRY_SECS, Load, NODES, PUSH_MSAT, Pair, WARM_UP_PAYMENTS, channels, payment_id,
    rounds,
};
use crate::child::Marks;
use lockstep_lightning::pump::Pump;
use lockstep_lightning::{
    ForwardingPolicy, InvoiceDescription, InvoiceRequest, OpenChannel, OutgoingStatus, PayInvoice,
    PaymentId,
};
use std::time::Duration;

/// For the confirmations of the channels, whose blocks must not lie in the future.
const HEAD_START: Duration = Duration::from_secs(3_600);

pub(super) fn run(load: &Load, marks: &Marks) {
    let mut pump = network(load.nodes);
    load.batches(WARM_UP_PAYMENTS)
        .for_each(|size| pay(&mut pump, size));
    marks.begin();
    load.batches(load.payments)
        .for_each(|size| pay(&mut pump, size));
    marks.end();
}

/// LDK reads the system clock outside of a simulation, so the pump's time must be the real one.
#[expect(clippy::disallowed_methods, reason = "there is no simulation here")]
fn real_time() -> Duration {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("this is after 1970")
}

fn network(nodes: usize) -> Pump {
    let count = u8::try_from(nodes).expect("so many nodes can be pumped");
    let mut pump = Pump::new(count, real_time() - HEAD_START);
    (0..nodes).for_each(|index| pump.give_coins(index, FUNDS_SAT));
    let mut opened = 0;
    for round in rounds(nodes) {
        for pair in &round {
            opened += 1;
            open(&mut pump, *pair, opened);
        }
        pump.mine(6);
    }
    pump.advance(61);
    for index in 0..nodes {
        assert_eq!(
            pump.node(index).graph().channels_both_directions,
            channels(nodes),
            "gossip has not spread"
        );
    }
    forget_events(&mut pump);
    pump
}

fn open(pump: &mut Pump, pair: Pair, user_channel_id: u128) {
    pump.connect(pair.from, pair.to);
    let open = OpenChannel {
        peer: pump.id(pair.to),
        capacity_sat: pair.capacity_sat,
        push_msat: PUSH_MSAT,
        announce: true,
        forwarding: ForwardingPolicy {
            fee_base_msat: FEE_BASE_MSAT,
            fee_proportional_millionths: FEE_PROPORTIONAL_MILLIONTHS,
            cltv_expiry_delta: CLTV_EXPIRY_DELTA,
        },
        user_channel_id,
    };
    pump.node(pair.from)
        .open_channel(open)
        .expect("the opener has coins");
    pump.run();
}

/// Begins `count` payments together and pumps until all are done.
fn pay(pump: &mut Pump, count: usize) {
    let begun: Vec<PaymentId> = (0..count).map(|_| begin(pump)).collect();
    pump.run();
    for id in begun {
        let payment = pump
            .node(0)
            .payment(id)
            .expect("the disk works")
            .expect("begun");
        assert!(
            matches!(payment.status, OutgoingStatus::Sent { .. }),
            "a payment ended as {:?}",
            payment.status
        );
    }
    forget_events(pump);
}

fn begin(pump: &Pump) -> PaymentId {
    let request = InvoiceRequest {
        amount_msat: Some(AMOUNT_MSAT),
        description: InvoiceDescription::Text(String::new()),
        expiry_secs: INVOICE_EXPIRY_SECS,
        min_final_cltv: None,
    };
    let invoice = pump
        .node(NODES.len() - 1)
        .create_invoice(request)
        .expect("a plain invoice");
    let id = payment_id(&invoice);
    let pay = PayInvoice {
        invoice: &invoice,
        amount_msat: None,
        payment_id: id,
        max_total_fee_msat: None,
        retry_timeout_secs: 10,
    };
    pump.node(0).pay_invoice(pay).expect("there is a route");
    id
}

/// So that they do not pile up.
fn forget_events(pump: &mut Pump) {
    (0..NODES.len()).for_each(|index| drop(pump.take_events(index)));
}
