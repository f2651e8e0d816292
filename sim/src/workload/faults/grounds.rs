//! Owns what a plan offers to faults: links, processes, payments and their times. Does not own drawing from it.

use crate::scenario::{Action, Payer, Rail, Scenario};
use crate::workload::draws::Draws;
use crate::workload::kinds::{FaultKind, Hits};
use crate::workload::text::Draft;

/// The gateway books a transfer so long after the order, and tells of it (`worlds::gateway`).
const BOOKED_AFTER_MS: u64 = 60_000;

/// Whom a fault hits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Two endpoints.
    Link(String, String),
    /// Somebody with a process.
    Process(String),
    /// A channel, and one of its nodes.
    Channel(String, String),
    /// The chain.
    Chain,
    /// An on-chain payment that was made before.
    Onchain(String),
    /// A SEPA payout.
    Sepa(String),
    /// What is stated of a payment to Layer 0.
    Statement(String),
    /// Somebody who must sign.
    Cosigner(String),
    /// The engine, at an input of this payment.
    Point(String),
}

/// A payment of the plan.
#[derive(Clone, Debug)]
pub(super) struct Payment {
    pub(super) id: String,
    pub(super) rail: Rail,
    pub(super) is_payout: bool,
    /// When it is made.
    pub(super) made_at: u64,
    /// When it is first paid (a payout: made), and by which step.
    pub(super) paid_at: u64,
    pub(super) last_step: usize,
    pub(super) is_paid: bool,
}

/// Everybody who may be asked to sign.
fn cosigners_of(scenario: &Scenario) -> Vec<String> {
    let wallets = scenario.operator.wallets.iter();
    let people = wallets.filter_map(|wallet| wallet.cosigners.as_ref());
    people
        .flat_map(|people| &people.of)
        .map(ToString::to_string)
        .collect()
}

/// What a plan offers.
#[derive(Clone, Debug)]
pub(super) struct Grounds {
    operator: Option<String>,
    nodes: Vec<String>,
    /// Name and ends.
    channels: Vec<(String, String, String)>,
    payments: Vec<Payment>,
    cosigners: Vec<String>,
    /// When blocks are mined.
    mined: Vec<u64>,
    /// Whether Layer 0 is told how payments end.
    states: bool,
    /// When the last step before the tail begins.
    pub(super) until: u64,
}

impl Grounds {
    pub(super) fn of(scenario: &Scenario, draft: &Draft) -> Grounds {
        let mut grounds = Grounds {
            operator: scenario.operator.node.as_ref().map(ToString::to_string),
            nodes: scenario
                .nodes
                .iter()
                .map(|node| node.name.to_string())
                .collect(),
            channels: scenario
                .channels
                .iter()
                .map(|c| (c.name.to_string(), c.from.to_string(), c.to.to_string()))
                .collect(),
            payments: Vec::new(),
            cosigners: cosigners_of(scenario),
            mined: Vec::new(),
            states: scenario.policy.reputation && !scenario.dids.is_empty(),
            until: draft.last().max(3_000),
        };
        for (index, (step, line)) in scenario.steps.iter().zip(&draft.steps).enumerate() {
            grounds.take(&step.action, line.from, index);
        }
        let worth = |payment: &Payment| !draft.pointless.contains(&payment.id);
        grounds.payments.retain(worth);
        grounds
    }

    fn take(&mut self, action: &Action, at: u64, step: usize) {
        let made = |id: &str, rail, is_payout| Payment {
            id: id.to_owned(),
            rail,
            is_payout,
            made_at: at,
            paid_at: at,
            last_step: step,
            is_paid: is_payout,
        };
        match action {
            Action::Charge(charge) => {
                self.payments
                    .push(made(charge.id.as_str(), charge.request.rail(), false));
            }
            Action::Pay(pay) => {
                if let Some(charge) = &pay.opens {
                    self.payments
                        .push(made(charge.id.as_str(), charge.request.rail(), false));
                }
                let paid = self
                    .payments
                    .iter_mut()
                    .find(|known| known.id == pay.charge.as_str());
                if let Some(paid) = paid.filter(|paid| !paid.is_paid) {
                    (paid.paid_at, paid.last_step, paid.is_paid) = (at, step, true);
                }
                debug_assert!(matches!(
                    pay.payer,
                    Payer::Node { .. } | Payer::Wallet { .. }
                ));
            }
            Action::Payout(payout) => {
                self.payments
                    .push(made(payout.id.as_str(), payout.payee.rail(), true));
            }
            Action::Mine { .. } => self.mined.push(at),
            _ => {}
        }
    }

    pub(super) fn payment(&self, id: &str) -> Option<&Payment> {
        self.payments.iter().find(|payment| payment.id == id)
    }

    /// Payments of a rail that somebody pays.
    fn on(&self, rail: Rail) -> impl Iterator<Item = &Payment> {
        self.payments
            .iter()
            .filter(move |payment| payment.rail == rail && payment.is_paid)
    }

    /// On-chain charges that were paid before.
    pub(super) fn paid_before(&self, at: u64) -> Vec<&Payment> {
        let charges = self.on(Rail::Onchain).filter(|payment| !payment.is_payout);
        charges.filter(|payment| payment.paid_at < at).collect()
    }

    /// When there is traffic that the kind and its target concern: payments are made or paid, blocks are found, a transfer is
    /// booked and told of.
    pub(super) fn moments(&self, kind: &FaultKind, target: &Target) -> Vec<u64> {
        let made = |rail| {
            let payments = self.payments.iter().filter(move |p| p.rail == rail);
            payments.flat_map(|payment| [payment.made_at, payment.paid_at])
        };
        let gateway = || {
            let told = |payment: &Payment| payment.made_at + BOOKED_AFTER_MS;
            made(Rail::Sepa).chain(self.on(Rail::Sepa).map(told))
        };
        let chain = || {
            let paid = self.on(Rail::Onchain).map(|payment| payment.paid_at);
            paid.chain(self.mined.iter().copied())
        };
        // What ends a payment is stated at once.
        let ends = || {
            let lightning = self.on(Rail::Lightning).map(|payment| payment.paid_at);
            gateway().chain(lightning).chain(self.confirming())
        };
        match target {
            Target::Link(a, b) if [a, b].iter().any(|end| *end == "gateway") => gateway().collect(),
            Target::Link(a, b) if [a, b].iter().any(|end| *end == "chain") => chain().collect(),
            Target::Link(a, b) if [a, b].iter().any(|end| *end == "layer0") => ends().collect(),
            Target::Process(of) if of == "layer0" => ends().collect(),
            Target::Process(of) if of == "gateway" => gateway().collect(),
            Target::Process(of) if of == "chain" => chain().collect(),
            Target::Process(of) if of == "engine" => gateway()
                .chain(made(Rail::Lightning))
                .chain(made(Rail::Onchain))
                .collect(),
            Target::Chain => match kind.name {
                "empty-blocks" | "fee-spike" | "lie" => self.confirming().collect(),
                _ => chain().collect(),
            },
            Target::Link(..) | Target::Process(_) | Target::Channel(..) => {
                let moments: Vec<u64> = made(Rail::Lightning).collect();
                match moments.is_empty() {
                    true => self.mined.clone(),
                    false => moments,
                }
            }
            Target::Cosigner(_) => {
                let payouts = self.on(Rail::Onchain).filter(|payment| payment.is_payout);
                payouts.map(|payout| payout.made_at).collect()
            }
            Target::Onchain(_) | Target::Sepa(_) | Target::Statement(_) | Target::Point(_) => {
                Vec::new()
            }
        }
    }

    /// The block that may confirm each on-chain payment.
    fn confirming(&self) -> impl Iterator<Item = u64> {
        self.on(Rail::Onchain)
            .filter_map(|payment| self.next_block(payment.paid_at))
    }

    fn next_block(&self, after: u64) -> Option<u64> {
        self.mined.iter().copied().find(|at| *at > after)
    }

    /// Between an on-chain payment and the next block; if it can be, once a payout may have been built upon the money.
    pub(super) fn while_unconfirmed(&self, payment: &Payment, draws: &mut Draws) -> u64 {
        let until = self.next_block(payment.paid_at);
        let until = until.unwrap_or(payment.paid_at + 60_000);
        let spent = self.payouts_during(payment.paid_at, until).next();
        let from = spent.map_or(payment.paid_at, |payout| payout.paid_at);
        draws.between(
            (from + 1_000).min(until - 1),
            (until - 1).min(from + 60_000),
        )
    }

    fn payouts_during(&self, from: u64, until: u64) -> impl Iterator<Item = &Payment> {
        self.on(Rail::Onchain)
            .filter(move |p| p.is_payout && p.made_at > from && p.made_at < until)
    }

    /// Whether there is anybody whom the kind can hit.
    pub(super) fn has(&self, kind: &FaultKind) -> bool {
        match kind.hits {
            Hits::Link | Hits::ChainLink | Hits::Process | Hits::Chain | Hits::Disk => true,
            Hits::NodeOrPoint => !self.payments.is_empty() || !self.nodes.is_empty(),
            Hits::Outsider => !self.outsiders(kind.closes).is_empty(),
            Hits::Channel => !self.far_channels().is_empty(),
            Hits::OnchainPayment => self.on(Rail::Onchain).next().is_some(),
            Hits::OnchainCharge => self.on(Rail::Onchain).any(|payment| !payment.is_payout),
            Hits::SepaPayout => {
                self.on(Rail::Sepa).next().is_some() || self.can_hit_statement(kind)
            }
            Hits::Cosigner => !self.cosigners.is_empty(),
        }
    }

    /// Whether an HTTP exchange about a statement can go wrong in this way: those with webhooks and money cannot.
    fn can_hit_statement(&self, kind: &FaultKind) -> bool {
        let exchange = matches!(
            kind.name,
            "lose-response"
                | "lose-request"
                | "slow-response"
                | "slow-body"
                | "cut-body"
                | "too-many-requests"
                | "forget-key"
                | "server-error"
        );
        self.states && exchange && !self.payments.is_empty()
    }

    /// Nodes that are not the operator's; `far`: that have no channel with it either.
    fn outsiders(&self, far: bool) -> Vec<String> {
        let is_operator = |name: &String| Some(name) == self.operator.as_ref();
        let near = |name: &String| {
            self.channels
                .iter()
                .any(|(_, a, b)| (a == name && is_operator(b)) || (b == name && is_operator(a)))
        };
        let others = self.nodes.iter().filter(|name| !is_operator(name));
        others.filter(|name| !far || !near(name)).cloned().collect()
    }

    /// Channels between nodes that have none with the operator, each with one of its nodes.
    fn far_channels(&self) -> Vec<(String, String)> {
        let far = self.outsiders(true);
        let between = self
            .channels
            .iter()
            .filter(|(_, a, b)| far.contains(a) && far.contains(b));
        between
            .map(|(name, a, _)| (name.clone(), a.clone()))
            .collect()
    }

    fn links(&self, kind: &FaultKind) -> Vec<((String, String), u32)> {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let mut links = vec![(pair("engine", "chain"), 2)];
        links.extend(self.nodes.iter().map(|node| (pair(node, "chain"), 1)));
        if kind.hits == Hits::Link {
            links.extend(self.channels.iter().map(|(_, a, b)| (pair(a, b), 4)));
            if self.on(Rail::Sepa).next().is_some() {
                links.push((pair("engine", "gateway"), 4));
            }
            if self.states {
                links.push((pair("engine", "layer0"), 6));
            }
        }
        links
    }

    /// Somebody whom the kind can hit.
    pub(super) fn target(&self, kind: &FaultKind, draws: &mut Draws) -> Option<Target> {
        let ids = |payments: Vec<&Payment>| {
            payments
                .iter()
                .map(|payment| payment.id.clone())
                .collect::<Vec<_>>()
        };
        match kind.hits {
            Hits::Link | Hits::ChainLink => {
                let links = self.links(kind);
                let indices: Vec<(usize, u32)> = links
                    .iter()
                    .map(|(_, weight)| *weight)
                    .enumerate()
                    .collect();
                let (a, b) = links[draws.weighted(&indices)?].0.clone();
                Some(if draws.percent(50) {
                    Target::Link(a, b)
                } else {
                    Target::Link(b, a)
                })
            }
            Hits::Process | Hits::Disk => {
                let disks = if kind.closes {
                    self.outsiders(true)
                } else {
                    self.nodes.clone()
                };
                let mut all = disks;
                all.extend(["engine".to_owned(), "engine".to_owned()]);
                if kind.hits == Hits::Process {
                    all.extend(["gateway".to_owned(), "chain".to_owned()]);
                    if self.states {
                        all.extend(["layer0".to_owned(), "layer0".to_owned()]);
                    }
                }
                draws.pick(&all).cloned().map(Target::Process)
            }
            Hits::NodeOrPoint => {
                let point = self.nodes.is_empty() || draws.percent(45);
                match draws.pick(&self.payments) {
                    Some(payment) if point => Some(Target::Point(payment.id.clone())),
                    _ => draws.pick(&self.nodes).cloned().map(Target::Process),
                }
            }
            Hits::Outsider => draws
                .pick(&self.outsiders(kind.closes))
                .cloned()
                .map(Target::Process),
            Hits::Channel => {
                let far = self.far_channels();
                let (channel, node) = draws.pick(&far)?.clone();
                Some(Target::Channel(channel, node))
            }
            Hits::Cosigner => draws.pick(&self.cosigners).cloned().map(Target::Cosigner),
            Hits::Chain => Some(Target::Chain),
            Hits::OnchainPayment => {
                let ids = ids(self.on(Rail::Onchain).collect());
                draws.pick(&ids).cloned().map(Target::Onchain)
            }
            Hits::OnchainCharge => {
                let charges = || self.on(Rail::Onchain).filter(|payment| !payment.is_payout);
                // Rather one whose money is there to be spent too early.
                let tempting = charges().filter(|charge| {
                    let until = self.next_block(charge.paid_at);
                    until.is_some_and(|at| self.payouts_during(charge.paid_at, at).next().is_some())
                });
                let tempting = ids(tempting.collect());
                let ids = match !tempting.is_empty() && draws.percent(60) {
                    true => tempting,
                    false => ids(charges().collect()),
                };
                draws.pick(&ids).cloned().map(Target::Onchain)
            }
            Hits::SepaPayout => {
                let sepa = self.on(Rail::Sepa).next().is_some();
                if self.can_hit_statement(kind) && (!sepa || draws.percent(50)) {
                    let payment = draws.pick(&self.payments)?;
                    return Some(Target::Statement(payment.id.clone()));
                }
                let ids = ids(self.on(Rail::Sepa).collect());
                draws.pick(&ids).cloned().map(Target::Sepa)
            }
        }
    }
}
