//! Owns the workload of the Lightning benches: four nodes in a line, a-b-c-d, and payments from a to d, so many in flight
//! at a time; behind d there may be more nodes, over which nothing is paid, but which hear of everything. The same channels, fees, amounts and invoices in every form. Does not own how bytes get from node to
//! node: `bare` pumps by hand, `simulated` is the simulated world.

mod bare;
mod engine;
mod simulated;

use crate::child::{self, Marks, Measured};
use lightning_invoice::Bolt11Invoice;
use lockstep_lightning::PaymentId;
use std::fmt;
use std::str::FromStr;

/// The line: the payer first, the payee last.
const NODES: [&str; 4] = ["a", "b", "c", "d"];

/// On-chain funds of every node.
const FUNDS_SAT: u64 = 20_000_000;

/// Size of each channel of the line, of each behind it, and what its far end begins with.
const CAPACITY_SAT: u64 = 10_000_000;
const CAPACITY_BEHIND_SAT: u64 = 3_000_000;
const PUSH_MSAT: u64 = 1_000_000_000;

/// What every node asks for forwarding.
const FEE_BASE_MSAT: u32 = 1_000;
const FEE_PROPORTIONAL_MILLIONTHS: u32 = 100;
const CLTV_EXPIRY_DELTA: u16 = 72;

/// Above the dust limit, so that every payment has HTLC outputs and their signatures.
const AMOUNT_MSAT: u64 = 10_000_000;

/// Long enough for a whole run.
const INVOICE_EXPIRY_SECS: u32 = 7_200;

/// Payments before the measured part: routes are scored, and caches of every form are warm.
const WARM_UP_PAYMENTS: usize = 20;

/// How the nodes are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// By hand: no scheduler, links, trace or invariants.
    Bare,
    /// The simulated world without an engine: scheduler, links, trace.
    Simulated,
    /// The simulated world in full: d is the engine's node, every payment is a charge with its postings and journal
    /// records, and every invariant is checked after every input of the engine.
    Engine,
}

impl Form {
    /// All, the reference first.
    pub const ALL: [Form; 3] = [Form::Bare, Form::Simulated, Form::Engine];
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Form::Bare => "bare",
            Form::Simulated => "simulated",
            Form::Engine => "engine",
        })
    }
}

impl FromStr for Form {
    type Err = String;

    fn from_str(text: &str) -> Result<Form, String> {
        Form::ALL
            .into_iter()
            .find(|form| form.to_string() == text)
            .ok_or_else(|| format!("there is no form {text}"))
    }
}

/// One measured run.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// How the nodes are joined.
    pub form: Form,
    /// Payments that are begun together; the next ones begin when all of these are done.
    pub in_flight: usize,
    /// Payments in the measured part.
    pub payments: usize,
    /// Nodes in all, four at least.
    pub nodes: usize,
}

/// A channel to be opened by one node, by its index, to another.
#[derive(Clone, Copy, Debug)]
struct Pair {
    from: usize,
    to: usize,
    capacity_sat: u64,
}

/// How far back the second channel of a node behind the line goes.
const SHORTCUT: usize = 7;

/// The name of the node with that index.
fn node_name(index: usize) -> String {
    NODES
        .get(index)
        .map_or_else(|| format!("x{index}"), |name| (*name).to_owned())
}

/// Channels that are announced together: LDK drops gossip that comes in larger bursts.
const ANNOUNCED_TOGETHER: usize = 16;

/// The channels in rounds; in a round nobody opens more than one. Each node behind the line opens one to the node before
/// it and one further back, but never past d, so that payments keep to the line.
fn rounds(nodes: usize) -> Vec<Vec<Pair>> {
    let payee = NODES.len() - 1;
    let line = (0..payee).map(|from| Pair {
        from,
        to: from + 1,
        capacity_sat: CAPACITY_SAT,
    });
    let behind = |back: usize| {
        let nodes = (NODES.len()..nodes).filter(move |from| from - payee >= back);
        nodes.map(move |from| Pair {
            from,
            to: from - back,
            capacity_sat: CAPACITY_BEHIND_SAT,
        })
    };
    let near: Vec<Pair> = line.chain(behind(1)).collect();
    let far: Vec<Pair> = behind(SHORTCUT).collect();
    let rounds = near.chunks(ANNOUNCED_TOGETHER);
    let rounds = rounds.chain(far.chunks(ANNOUNCED_TOGETHER));
    rounds.map(<[Pair]>::to_vec).collect()
}

/// How many channels there are.
pub fn channels(nodes: usize) -> usize {
    rounds(nodes).iter().map(Vec::len).sum()
}

impl Load {
    /// Runs it in a child process of this executable.
    ///
    /// # Panics
    /// If a payment fails or an invariant is broken.
    pub fn measure(&self) -> Measured {
        child::measure(&[
            self.form.to_string(),
            self.in_flight.to_string(),
            self.payments.to_string(),
            self.nodes.to_string(),
        ])
    }

    fn parse(arguments: &[String]) -> Option<Load> {
        let [form, in_flight, payments, nodes] = arguments else {
            return None;
        };
        Some(Load {
            form: form.parse().ok()?,
            in_flight: in_flight.parse().ok()?,
            payments: payments.parse().ok()?,
            nodes: nodes.parse().ok()?,
        })
    }

    /// Sizes of the batches of `payments` payments.
    fn batches(&self, payments: usize) -> impl Iterator<Item = usize> {
        let in_flight = self.in_flight.max(1);
        (0..payments)
            .step_by(in_flight)
            .map(move |done| in_flight.min(payments - done))
    }
}

/// The child's side of [`Load::measure`]; for [`child::entry`].
///
/// # Panics
/// As [`Load::measure`].
pub fn work(arguments: &[String], marks: &Marks) {
    let load = Load::parse(arguments).expect("started by `Load::measure`");
    match load.form {
        Form::Bare => bare::run(&load, marks),
        Form::Simulated | Form::Engine => simulated::run(&load, marks),
    }
}

/// Payments are known by their hash in every form.
fn payment_id(invoice: &str) -> PaymentId {
    let parsed: Bolt11Invoice = invoice.parse().expect("a node made it");
    PaymentId(*parsed.payment_hash().as_ref())
}
