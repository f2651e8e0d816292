//! Owns round values: spans, amounts, numbers of blocks and counts of steps, each replaced by the simplest that will do.
//! Does not own the set-up (`setup`).

use super::Edit;
use crate::scenario::{
    Action, Blocks, Cents, ChainFaultKind, ClockFaultKind, CosignerFaultKind, DiskFaultKind,
    Expectation, GatewayFaultKind, Layer0FaultKind, LinkFaultKind, Millis, Msat, OnchainAmount,
    PaidInvoice, Payee, Payer, PeerFaultKind, ProcessFaultKind, Request, Routing, Sat, Scenario,
    Step, Trouble,
};
use std::collections::BTreeSet;

/// What people write for spans, in ms, shortest first.
const ROUND_MS: [u64; 9] = [
    1_000, 5_000, 10_000, 30_000, 60_000, 600_000, 1_800_000, 3_600_000, 86_400_000,
];

/// What people write for amounts, in sat, least first.
const ROUND_SAT: [u64; 6] = [1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// What people write for euro, in cents, least first.
const ROUND_CENTS: [u64; 4] = [100, 1_000, 10_000, 100_000];

/// What people mine, least first.
const ROUND_BLOCKS: [u64; 3] = [1, 3, 6];

fn span(ms: u64) -> Option<Millis> {
    Millis::parse(&format!("{ms} ms")).ok()
}

/// `sat`, if it is less.
pub(super) fn below_btc(now: Sat, sat: u64) -> Option<Sat> {
    (sat < now.get()).then(|| Sat::parse(&format!("{sat} sat")).ok())?
}

/// `sat` as an amount of Lightning, if it is less.
pub(super) fn msat_below(now: Msat, sat: u64) -> Option<Msat> {
    (sat * 1_000 < now.get()).then(|| Msat::parse(&format!("{sat} sat")).ok())?
}

/// `cents`, if it is less.
pub(super) fn below_cents(now: Cents, cents: u64) -> Option<Cents> {
    let text = format!("{}.{:02} EUR", cents / 100, cents % 100);
    (cents < now.get()).then(|| Cents::parse(&text).ok())?
}

/// The number with its first digits only, if that is less.
fn rounded(number: u64, digits: u32) -> Option<u64> {
    let length = number.checked_ilog10()? + 1;
    let unit = 10_u64.pow(length.checked_sub(digits)?);
    (number / unit * unit < number).then_some(number / unit * unit)
}

/// For each step that may change, last one first, its edits, simplest first.
pub(super) fn of_steps(plan: &Scenario, kept: &BTreeSet<usize>) -> Vec<Edit> {
    let free = plan
        .steps
        .iter()
        .rev()
        .filter(|step| !kept.contains(&step.line));
    let free: Vec<usize> = free.map(|step| step.line).collect();
    let mut edits = Vec::new();
    if kept.is_empty() {
        edits.push(without_times());
    }
    for id in free {
        edits.push(on_step(id, |step| step.at.take().map(|_| ())));
        edits.push(on_step(id, |step| step.only.take().map(|_| ())));
        edits.push(on_step(id, as_it_is_asked));
        edits.push(on_step(id, in_figures));
        edits.push(on_step(id, plainly));
        of_spans(id, &mut edits);
        of_amounts(id, &mut edits);
        of_blocks(id, &mut edits);
        for index in 0..2 {
            edits.push(on_step(id, move |step| {
                let count = counts(step)
                    .into_iter()
                    .nth(index)
                    .filter(|count| **count > 1)?;
                *count = 1;
                Some(())
            }));
        }
    }
    edits
}

fn on_step(id: usize, change: impl Fn(&mut Step) -> Option<()> + 'static) -> Edit {
    Box::new(move |plan| {
        let mut smaller = plan.clone();
        let step = smaller.steps.iter_mut().find(|step| step.line == id)?;
        change(step)?;
        Some(smaller)
    })
}

/// Nothing is said of invoices and ways that need not be said.
fn plainly(step: &mut Step) -> Option<()> {
    match &mut step.action {
        Action::Charge(charge) => match &mut charge.request {
            Request::Lightning { says, .. } | Request::Onchain { says, .. } => {
                says.take().map(|_| ())
            }
        },
        Action::Payout(payout) => match &mut payout.payee {
            Payee::Node {
                invoice, routing, ..
            } if (&*invoice, *routing) != (&PaidInvoice::USUAL, Routing::default()) => {
                (*invoice, *routing) = (PaidInvoice::USUAL, Routing::default());
                Some(())
            }
            Payee::Node { .. } | Payee::Wallet { .. } | Payee::Account { .. } => None,
        },
        _ => None,
    }
}

/// No step has a time of its own.
fn without_times() -> Edit {
    Box::new(|plan| {
        let mut smaller = plan.clone();
        for step in &mut smaller.steps {
            step.at = None;
        }
        Some(smaller)
    })
}

/// What the charge asks, by the route and the feerate that the payer finds, and by default deadlines.
fn as_it_is_asked(step: &mut Step) -> Option<()> {
    let hour = span(3_600_000)?;
    match &mut step.action {
        Action::Pay(pay) => match &mut pay.payer {
            Payer::Node { amount, route, .. } => (*amount, *route) = (None, None),
            Payer::Wallet {
                amount, feerate, ..
            } => (*amount, *feerate) = (None, None),
        },
        Action::Charge(charge) => charge.expires = hour,
        Action::Payout(payout) => payout.deadline = hour,
        _ => return None,
    }
    Some(())
}

/// A payout of all that a party has is one of an amount.
fn in_figures(step: &mut Step) -> Option<()> {
    let Action::Payout(payout) = &mut step.action else {
        return None;
    };
    let Payee::Wallet { amount, .. } = &mut payout.payee else {
        return None;
    };
    let was_all = *amount == OnchainAmount::All;
    *amount = OnchainAmount::Exactly(Sat::parse("10_000 sat").ok()?);
    was_all.then_some(())
}

fn of_spans(id: usize, edits: &mut Vec<Edit>) {
    // No step has more than two.
    for index in 0..2 {
        for ms in ROUND_MS {
            edits.push(on_step(id, move |step| {
                let found = spans(step).into_iter().nth(index)?;
                *found = span(ms).filter(|round| round < found)?;
                Some(())
            }));
        }
    }
    for ms in ROUND_MS {
        edits.push(on_step(id, move |step| {
            let at = step.at.as_mut()?;
            *at = span(ms).filter(|round| round < at)?;
            Some(())
        }));
    }
    edits.push(on_step(id, |step| {
        let at = step.at.as_mut()?;
        *at = span(at.get() / 60_000 * 60_000).filter(|round| round < at)?;
        Some(())
    }));
}

/// The spans of a step, its time and the defaults of deadlines apart.
fn spans(step: &mut Step) -> Vec<&mut Millis> {
    const ONE_HOUR_MS: u64 = 3_600_000;
    match &mut step.action {
        Action::Charge(charge) => vec![&mut charge.expires],
        Action::Payout(payout) => vec![&mut payout.deadline],
        Action::CrashNode { down_for, .. } => down_for.iter_mut().collect(),
        Action::Wait { span } => vec![span],
        Action::Gateway(fault) => match &mut fault.kind {
            GatewayFaultKind::DelayWebhook { by }
            | GatewayFaultKind::SlowResponse { by }
            | GatewayFaultKind::SlowBody { by } => vec![by],
            GatewayFaultKind::Return { after, .. } => vec![after],
            _ => Vec::new(),
        },
        Action::Layer0(fault) => match &mut fault.kind {
            Layer0FaultKind::SlowResponse { by } | Layer0FaultKind::SlowBody { by } => vec![by],
            _ => Vec::new(),
        },
        Action::Expect(
            Expectation::Payment { within, .. }
            | Expectation::Enrolment { within, .. }
            | Expectation::Stated { within, .. },
        ) => within.iter_mut().collect(),
        Action::Trouble(trouble) => spans_of_trouble(trouble),
        _ => Vec::new(),
    }
    .into_iter()
    .filter(|span| span.get() != ONE_HOUR_MS)
    .collect()
}

fn spans_of_trouble(trouble: &mut Trouble) -> Vec<&mut Millis> {
    match trouble {
        Trouble::Link { kind, .. } => match kind {
            LinkFaultKind::Disconnect => Vec::new(),
            LinkFaultKind::Delay { by, lasts }
            | LinkFaultKind::Spikes { by, lasts }
            | LinkFaultKind::Reorder { by, lasts } => vec![lasts, by],
            LinkFaultKind::Partition { lasts }
            | LinkFaultKind::OneWay { lasts }
            | LinkFaultKind::Clog { lasts }
            | LinkFaultKind::HalfOpen { lasts }
            | LinkFaultKind::Duplicate { lasts }
            | LinkFaultKind::Loss { lasts } => vec![lasts],
        },
        Trouble::Process { kind, .. } => match kind {
            ProcessFaultKind::StaleRestart { age, down_for } => vec![down_for, age],
            ProcessFaultKind::Kill { down_for }
            | ProcessFaultKind::KillAtWrite { down_for, .. } => vec![down_for],
            ProcessFaultKind::Pause { lasts } | ProcessFaultKind::SlowStart { lasts } => {
                vec![lasts]
            }
        },
        Trouble::Disk { kind, .. } => match kind {
            DiskFaultKind::Slow { by, lasts } => vec![lasts, by],
            DiskFaultKind::Torn { down_for } | DiskFaultKind::Lost { down_for } => vec![down_for],
            DiskFaultKind::FailedSync { lasts }
            | DiskFaultKind::Full { lasts }
            | DiskFaultKind::ReadError { lasts }
            | DiskFaultKind::BitFlip { lasts } => vec![lasts],
        },
        Trouble::Clock { kind, .. } => match kind {
            ClockFaultKind::Skew { by, lasts, .. } => vec![lasts, by],
            ClockFaultKind::Step { by, .. } => vec![by],
            ClockFaultKind::Drift { lasts, .. } => vec![lasts],
        },
        Trouble::Chain(kind) => match kind {
            ChainFaultKind::Evict { .. } | ChainFaultKind::Replace { .. } => Vec::new(),
            ChainFaultKind::LateBlocks { lasts }
            | ChainFaultKind::EmptyBlocks { lasts }
            | ChainFaultKind::FeeSpike { lasts, .. }
            | ChainFaultKind::Lag { lasts, .. }
            | ChainFaultKind::Stop { lasts }
            | ChainFaultKind::Lie { lasts } => vec![lasts],
        },
        Trouble::Peer { kind, .. } => match kind {
            PeerFaultKind::WithholdHtlc { lasts } | PeerFaultKind::Silent { lasts } => vec![lasts],
            PeerFaultKind::Revoked { .. } => Vec::new(),
        },
        Trouble::Cosigner { kind, .. } => match kind {
            CosignerFaultKind::Absent { lasts }
            | CosignerFaultKind::Undecided { lasts }
            | CosignerFaultKind::Refuse { lasts }
            | CosignerFaultKind::Alter { lasts }
            | CosignerFaultKind::WrongSighash { lasts }
            | CosignerFaultKind::SomethingElse { lasts }
            | CosignerFaultKind::Twice { lasts }
            | CosignerFaultKind::SomebodyElses { lasts }
            | CosignerFaultKind::LeaveOut { lasts }
            | CosignerFaultKind::Garbage { lasts } => vec![lasts],
        },
    }
}

/// An amount of a step.
enum Amount<'a> {
    Msat(&'a mut Msat),
    Sat(&'a mut Sat),
    Cents(&'a mut Cents),
}

impl Amount<'_> {
    /// Makes it the `index`th round amount, or one with fewer digits, if that is less.
    fn lower(self, index: usize) -> Option<()> {
        let last = ROUND_SAT.len();
        let of_sat = |now: u64| match index.checked_sub(last) {
            None => ROUND_SAT.get(index).copied(),
            Some(more) => rounded(now, more as u32 + 1),
        };
        match self {
            Amount::Msat(msat) => {
                *msat = msat_below(*msat, of_sat(msat.get() / 1_000)?)?;
            }
            Amount::Sat(sat) => *sat = below_btc(*sat, of_sat(sat.get())?)?,
            Amount::Cents(cents) => {
                let round = match index.checked_sub(last) {
                    None => ROUND_CENTS.get(index).copied(),
                    Some(more) => rounded(cents.get(), more as u32 + 1),
                };
                *cents = below_cents(*cents, round?)?;
            }
        }
        Some(())
    }
}

/// Digits that are tried after the round amounts.
const DIGITS: usize = 2;

fn of_amounts(id: usize, edits: &mut Vec<Edit>) {
    for index in 0..ROUND_SAT.len() + DIGITS {
        edits.push(on_step(id, move |step| amount(step)?.lower(index)));
    }
}

fn of_request(request: &mut Request) -> Option<Amount<'_>> {
    match request {
        Request::Lightning { amount, .. } => amount.as_mut().map(Amount::Msat),
        Request::Onchain { amount, .. } => Some(Amount::Sat(amount)),
    }
}

fn amount(step: &mut Step) -> Option<Amount<'_>> {
    match &mut step.action {
        Action::Charge(charge) => of_request(&mut charge.request),
        Action::Pay(pay) => match &mut pay.opens {
            Some(charge) => of_request(&mut charge.request),
            None => match &mut pay.payer {
                Payer::Node { amount, .. } => amount.as_mut().map(Amount::Msat),
                Payer::Wallet { amount, .. } => amount.as_mut().map(Amount::Sat),
            },
        },
        Action::Payout(payout) => match &mut payout.payee {
            Payee::Node { amount, .. } => Some(Amount::Msat(amount)),
            Payee::Wallet { amount, .. } => match amount {
                OnchainAmount::Exactly(amount) => Some(Amount::Sat(amount)),
                OnchainAmount::All => None,
            },
            Payee::Account { amount, .. } => Some(Amount::Cents(amount)),
        },
        _ => None,
    }
}

fn of_blocks(id: usize, edits: &mut Vec<Edit>) {
    for blocks in ROUND_BLOCKS {
        edits.push(on_step(id, move |step| {
            let Action::Mine { blocks: now } = &mut step.action else {
                return None;
            };
            *now = Blocks::new(blocks).filter(|round| *round < *now)?;
            Some(())
        }));
        edits.push(on_step(id, move |step| {
            let Action::Reorg(reorg) = &mut step.action else {
                return None;
            };
            let less = blocks < reorg.depth.get() || blocks + 1 < reorg.then.get();
            let (depth, then) = (Blocks::new(blocks)?, Blocks::new(blocks + 1)?);
            (less && depth <= reorg.depth && then <= reorg.then).then_some(())?;
            (reorg.depth, reorg.then) = (depth, then);
            Some(())
        }));
    }
    edits.push(on_step(id, |step| match &mut step.action {
        Action::Reorg(reorg) if reorg.keep => {
            reorg.keep = false;
            Some(())
        }
        Action::Trouble(Trouble::Chain(ChainFaultKind::Lag { by, .. })) => {
            *by = Blocks::new(1).filter(|one| *one < *by)?;
            Some(())
        }
        _ => None,
    }));
}

/// How often, or the how manieth.
fn counts(step: &mut Step) -> Vec<&mut u32> {
    match &mut step.action {
        Action::Gateway(fault) => match &mut fault.kind {
            GatewayFaultKind::LoseRequest { times }
            | GatewayFaultKind::LoseResponse { times }
            | GatewayFaultKind::CutBody { times }
            | GatewayFaultKind::ServerError { times }
            | GatewayFaultKind::TooManyRequests { times } => vec![times],
            _ => Vec::new(),
        },
        Action::Layer0(fault) => fault.kind.times_mut().into_iter().collect(),
        Action::Trouble(Trouble::Process {
            kind: ProcessFaultKind::KillAtWrite { write, .. },
            ..
        }) => vec![write],
        _ => Vec::new(),
    }
}
