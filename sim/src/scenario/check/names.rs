//! Owns what the file defines under which name, and finding it again: nodes, wallets, accounts, parties and channels of the
//! setup, payments and runs of the steps. Does not own what is done with them.

use crate::scenario::choice::Rail;
use crate::scenario::display::OPERATOR;
use crate::scenario::model::{PartyName, PaymentName, REFUND, RunName};
use crate::scenario::own_wallets::HOT;
use crate::scenario::problem::{Problem, Problems, nearest};
use crate::scenario::read::{At, Named, Optional};
use crate::scenario::text::{self, Step};
use crate::scenario::verb::Verb;
use std::collections::BTreeMap;
use std::ops::Range;

/// What a name of the setup stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Node,
    Wallet,
    Account,
    Party,
    Channel,
    OwnWallet,
    Cosigner,
}

impl Kind {
    const fn singular(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Wallet => "wallet",
            Self::Account => "bank account",
            Self::Party => "party",
            Self::Channel => "channel",
            Self::OwnWallet => "wallet of the operator's",
            Self::Cosigner => "cosigner",
        }
    }

    const fn table(self) -> &'static str {
        match self {
            Self::Node => "nodes",
            Self::Wallet => "wallets",
            Self::Account => "accounts",
            Self::Party => "parties",
            Self::Channel => "channels",
            Self::OwnWallet => "operator.wallets",
            Self::Cosigner => "operator.wallets.NAME.cosigners",
        }
    }
}

/// What is known of a payment before its step is checked.
#[derive(Clone, Debug)]
pub(super) struct Payment {
    pub(super) span: Range<usize>,
    /// Index of the step that makes it.
    pub(super) step: usize,
    /// `None` if its step is wrong.
    pub(super) rail: Option<Rail>,
    pub(super) payout: bool,
    pub(super) hold: bool,
    /// It goes on chain, and has an invoice as well.
    pub(super) by_invoice: bool,
}

/// When a payment must have been made to be named.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// By a step before this one.
    Before(usize),
    /// By any step.
    Any,
}

/// Everything that has a name.
#[derive(Debug, Default)]
pub(super) struct Names {
    setup: BTreeMap<Kind, Vec<At<String>>>,
    /// Channel to the names of its ends, as typed.
    ends: BTreeMap<String, (String, String)>,
    payments: BTreeMap<String, Payment>,
    runs: BTreeMap<String, (usize, Range<usize>)>,
    /// Where all steps stand.
    steps: Range<usize>,
}

/// Longest name or id: an end-to-end reference of a SEPA credit transfer (ISO 20022 Max35Text).
const MAX_CHARS: usize = 35;

/// Refunds of one charge that steps can name; scenarios need no more.
const NAMED_REFUNDS: u32 = 3;

/// Reports a name that is none. Ids go to the engine, which takes no capitals.
pub(super) fn check_text(name: &At<String>, capitals: bool, problems: &mut Problems) {
    let legal = |c: char| {
        c.is_ascii_lowercase()
            || c.is_ascii_digit()
            || matches!(c, '-' | '_' | '.')
            || capitals && c.is_ascii_uppercase()
    };
    let starts_well = name
        .value
        .chars()
        .next()
        .is_some_and(|c| c.is_ascii_alphanumeric());
    if !starts_well || name.value.len() > MAX_CHARS || !name.value.chars().all(legal) {
        let letters = if capitals { "letters" } else { "a-z" };
        let help = format!(
            "use 1 to {MAX_CHARS} of {letters}, 0-9, `-`, `_` and `.`, beginning with a letter or digit"
        );
        problems.at(
            &name.span,
            format!("`{}` is not a name", name.value),
            "this cannot be a name",
            help,
        );
    }
}

fn names_of<T>(table: &Optional<Named<T>>) -> Vec<At<String>> {
    table
        .iter()
        .flat_map(|table| table.value.0.iter().map(|(name, _)| name.clone()))
        .collect()
}

/// Everybody who holds a key of a wallet of the operator's.
fn cosigners_of(typed: &text::Scenario) -> Vec<At<String>> {
    let wallets = typed
        .operator
        .iter()
        .flat_map(|operator| &operator.value.wallets);
    let wallets = wallets.flat_map(|wallets| wallets.value.entries());
    let signed = wallets.filter_map(|(_, wallet)| wallet.value.cosigners.as_ref());
    let people = signed.flat_map(|people| {
        let of = people.value.of.0.iter().flat_map(|of| of.value.clone());
        of.chain(people.value.recovery.clone())
    });
    people.collect()
}

impl Names {
    /// Takes in the setup's tables.
    pub(super) fn collect_setup(&mut self, typed: &text::Scenario, problems: &mut Problems) {
        self.setup.insert(Kind::Node, names_of(&typed.nodes));
        self.setup.insert(Kind::Wallet, names_of(&typed.wallets));
        self.setup.insert(Kind::Account, names_of(&typed.accounts));
        self.setup.insert(Kind::Party, names_of(&typed.parties));
        self.setup.insert(Kind::Channel, names_of(&typed.channels));
        let mut own = vec![At {
            value: HOT.to_owned(),
            span: 0..0,
        }];
        let operator = typed.operator.iter();
        own.extend(operator.flat_map(|operator| names_of(&operator.value.wallets)));
        self.setup.insert(Kind::OwnWallet, own);
        self.setup.insert(Kind::Cosigner, cosigners_of(typed));
        for (name, channel) in typed
            .channels
            .iter()
            .flat_map(|channels| channels.value.entries())
        {
            if let (Some(from), Some(to)) = (&channel.value.from.0, &channel.value.to.0) {
                self.ends
                    .insert(name.value.clone(), (from.value.clone(), to.value.clone()));
            }
        }
        for (kind, names) in &self.setup {
            for name in names {
                let capitals = !matches!(kind, Kind::Party | Kind::OwnWallet | Kind::Cosigner);
                check_text(name, capitals, problems);
                if matches!(kind, Kind::Wallet | Kind::Account) && name.value == OPERATOR {
                    problems.at(
                        &name.span,
                        format!("`{OPERATOR}` is taken"),
                        "it names the operator's own",
                        "choose another name",
                    );
                }
            }
        }
        self.check_apart(problems);
    }

    /// A payout's `to` may be a node, a wallet or an account: one name must not be two of these.
    fn check_apart(&self, problems: &mut Problems) {
        let mut seen: BTreeMap<&str, (Kind, &Range<usize>)> = BTreeMap::new();
        for kind in [Kind::Node, Kind::Wallet, Kind::Account] {
            for name in &self.setup[&kind] {
                if let Some((first, span)) = seen.insert(&name.value, (kind, &name.span)) {
                    problems.add(Problem {
                        title: format!("`{}` names both {} and {}", name.value, first.singular(), kind.singular()),
                        span: name.span.clone(),
                        label: "the same name again".to_owned(),
                        also: Some((span.clone(), "first used here".to_owned())),
                        help: "give one of them another name: a step names them without saying which it means".to_owned(),
                    });
                }
            }
        }
    }

    /// Takes in the payments and runs that the steps make.
    pub(super) fn collect_steps(&mut self, typed: &text::Scenario, problems: &mut Problems) {
        self.steps = typed
            .steps
            .0
            .as_ref()
            .map_or(0..0, |steps| steps.span.clone());
        for (index, step) in typed
            .steps
            .0
            .iter()
            .flat_map(|steps| &steps.value)
            .enumerate()
        {
            if let Some((id, payment)) = self.payment_of(index, &step.value) {
                check_text(&id, false, problems);
                match self.payments.get(&id.value) {
                    Some(first) => report_duplicate("payment", &id, &first.span, problems),
                    None => {
                        self.collect_refunds(&id.value, &step.value, &payment);
                        self.payments.insert(id.value, payment);
                    }
                }
            }
            if let Verb::Reconcile(reconcile) = &step.value.verb.value
                && let Some(id) = &reconcile.id.0
            {
                check_text(id, false, problems);
                match self.runs.get(&id.value) {
                    Some((_, first)) => report_duplicate("run", id, first, problems),
                    None => drop(self.runs.insert(id.value.clone(), (index, id.span.clone()))),
                }
            }
        }
    }

    /// The first refunds of a charge that has a refund address can be named, too.
    fn collect_refunds(&mut self, charge: &str, step: &Step, payment: &Payment) {
        let Verb::Charge(typed) = &step.verb.value else {
            return;
        };
        for number in 1..=NAMED_REFUNDS {
            let name = format!("{charge}{REFUND}{number}");
            let goes_back = typed.refund_to.is_some() || typed.escrow.is_some();
            if goes_back && name.len() <= MAX_CHARS {
                let refund = Payment {
                    payout: true,
                    ..payment.clone()
                };
                self.payments.insert(name, refund);
            }
        }
    }

    fn payment_of(&self, step: usize, typed: &Step) -> Option<(At<String>, Payment)> {
        let (id, rail, payout, hold) = match &typed.verb.value {
            Verb::Charge(charge) => {
                let hold =
                    charge.hold.as_ref().is_some_and(|hold| hold.value) || charge.escrow.is_some();
                (
                    charge.id.0.clone()?,
                    charge.over.0.as_ref().map(|over| over.value),
                    false,
                    hold,
                )
            }
            Verb::Pay(pay) => (
                pay.id.clone()?,
                self.rail_of(&pay.over, pay.from.0.as_ref()),
                false,
                false,
            ),
            Verb::Move(moved) => (moved.id.0.clone()?, Some(Rail::Onchain), true, false),
            Verb::Payout(payout) => (
                payout.id.0.clone()?,
                self.rail_of(&payout.over, payout.to.0.as_ref()),
                true,
                false,
            ),
            _ => return None,
        };
        let span = id.span.clone();
        let by_invoice = match &typed.verb.value {
            Verb::Charge(charge) => charge.invoice.as_ref().is_some_and(|too| too.value),
            _ => false,
        };
        Some((
            id,
            Payment {
                span,
                step,
                rail,
                payout,
                by_invoice,
                hold,
            },
        ))
    }

    /// The rail as typed, else the one of whoever stands outside.
    pub(super) fn rail_of(
        &self,
        over: &Optional<Rail>,
        outsider: Option<&At<String>>,
    ) -> Option<Rail> {
        if let Some(over) = over {
            return Some(over.value);
        }
        let name = &outsider?.value;
        [
            (Kind::Node, Rail::Lightning),
            (Kind::Wallet, Rail::Onchain),
            (Kind::Account, Rail::Sepa),
        ]
        .into_iter()
        .find(|(kind, _)| self.has(*kind, name))
        .map(|(_, rail)| rail)
    }

    /// The names of a channel's ends, as typed.
    pub(super) fn ends(&self, channel: &str) -> Option<(&str, &str)> {
        self.ends
            .get(channel)
            .map(|(from, to)| (from.as_str(), to.as_str()))
    }

    fn has(&self, kind: Kind, name: &str) -> bool {
        self.setup[&kind].iter().any(|known| known.value == name)
    }

    /// All parties, in order of the file.
    pub(super) fn parties(&self) -> Vec<PartyName> {
        self.setup[&Kind::Party]
            .iter()
            .map(|name| PartyName(name.value.clone()))
            .collect()
    }

    /// The name, if it stands for something of that kind.
    pub(super) fn resolve<N>(
        &self,
        kind: Kind,
        make: fn(String) -> N,
        name: Option<&At<String>>,
        problems: &mut Problems,
    ) -> Option<N> {
        let name = name?;
        if self.has(kind, &name.value) {
            return Some(make(name.value.clone()));
        }
        problems.add(self.unknown(&[kind], name));
        None
    }

    /// Which of the kinds a name stands for.
    pub(super) fn kind_of(
        &self,
        kinds: &[Kind],
        name: &At<String>,
        problems: &mut Problems,
    ) -> Option<Kind> {
        let found = kinds
            .iter()
            .copied()
            .find(|kind| self.has(*kind, &name.value));
        if found.is_none() {
            problems.add(self.unknown(kinds, name));
        }
        found
    }

    fn unknown(&self, kinds: &[Kind], name: &At<String>) -> Problem {
        let wanted = kinds
            .iter()
            .map(|kind| kind.singular())
            .collect::<Vec<_>>()
            .join(" or ");
        let elsewhere = self.setup.iter().find_map(|(kind, names)| {
            names
                .iter()
                .find(|known| known.value == name.value)
                .map(|known| (*kind, known))
        });
        let known: Vec<&str> = kinds
            .iter()
            .flat_map(|kind| &self.setup[kind])
            .map(|known| known.value.as_str())
            .collect();
        let (ranked, best) = nearest(&name.value, &known);
        let define = format!(
            "define it as `{}.{} = {{ … }}`",
            kinds[0].table(),
            name.value
        );
        let help = match best {
            Some(best) => format!("did you mean `{best}`? known: {}", shown(&ranked)),
            None if ranked.is_empty() => define,
            None => format!("known: {}; or {define}", shown(&ranked)),
        };
        let (title, also) = match elsewhere {
            Some((kind, place)) => (
                format!("`{}` is a {}, not a {wanted}", name.value, kind.singular()),
                Some((place.span.clone(), "defined here".to_owned())),
            ),
            None => (format!("there is no {wanted} `{}`", name.value), None),
        };
        Problem {
            title,
            span: name.span.clone(),
            label: format!("a {wanted} is needed here"),
            also,
            help,
        }
    }

    /// A payment that the steps make, at the right time.
    pub(super) fn payment(
        &self,
        name: Option<&At<String>>,
        when: When,
        problems: &mut Problems,
    ) -> Option<(PaymentName, &Payment)> {
        let name = name?;
        let Some(payment) = self.payments.get(&name.value) else {
            let known: Vec<&str> = self.payments.keys().map(String::as_str).collect();
            self.unmade("payment", name, "no step makes it", &known, problems);
            return None;
        };
        if let When::Before(step) = when
            && payment.step >= step
        {
            problems.add(Problem {
                title: format!("`{}` is named before it is made", name.value),
                span: name.span.clone(),
                label: "not made yet".to_owned(),
                also: Some((payment.span.clone(), "the payment is made here".to_owned())),
                help: "move this step below the one that makes the payment".to_owned(),
            });
            return None;
        }
        Some((PaymentName(name.value.clone()), payment))
    }

    /// Reports what no step makes, unless a step that could not be read may be the one.
    fn unmade(
        &self,
        what: &str,
        name: &At<String>,
        label: &str,
        known: &[&str],
        problems: &mut Problems,
    ) {
        if problems.is_readable(&self.steps) {
            problems.at(
                &name.span,
                format!("there is no {what} `{}`", name.value),
                label,
                unknown_help(&name.value, known),
            );
        }
    }

    /// A reconciliation run that an earlier step starts.
    pub(super) fn run(
        &self,
        name: Option<&At<String>>,
        step: usize,
        problems: &mut Problems,
    ) -> Option<RunName> {
        let name = name?;
        match self.runs.get(&name.value) {
            Some((made, _)) if *made < step => Some(RunName(name.value.clone())),
            Some((_, span)) => {
                problems.add(Problem {
                    title: format!("run `{}` is named before it starts", name.value),
                    span: name.span.clone(),
                    label: "not started yet".to_owned(),
                    also: Some((span.clone(), "it starts here".to_owned())),
                    help: "move this step below the `reconcile`".to_owned(),
                });
                None
            }
            None => {
                let known: Vec<&str> = self.runs.keys().map(String::as_str).collect();
                self.unmade("run", name, "no `reconcile` starts it", &known, problems);
                None
            }
        }
    }
}

/// So many names are offered; a topology may have hundreds.
const OFFERED_NAMES: usize = 12;

/// The names most like the one that is wrong.
fn shown(ranked: &[&str]) -> String {
    match ranked.len().checked_sub(OFFERED_NAMES) {
        None | Some(0) => ranked.join(", "),
        Some(more) => format!("{} and {more} more", ranked[..OFFERED_NAMES].join(", ")),
    }
}

fn unknown_help(name: &str, known: &[&str]) -> String {
    match nearest(name, known) {
        (ranked, Some(best)) => format!("did you mean `{best}`? known: {}", shown(&ranked)),
        (ranked, None) if ranked.is_empty() => "add a step that makes it".to_owned(),
        (ranked, None) => format!("known: {}", shown(&ranked)),
    }
}

fn report_duplicate(what: &str, id: &At<String>, first: &Range<usize>, problems: &mut Problems) {
    problems.add(Problem {
        title: format!("{what} id `{}` is used twice", id.value),
        span: id.span.clone(),
        label: "used again".to_owned(),
        also: Some((first.clone(), "first used here".to_owned())),
        help: "an id names one thing for ever: choose another".to_owned(),
    });
}
