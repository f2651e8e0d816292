//! Owns checking the list of steps: their order in time, the worlds they can run in, and which check each verb gets.
//! Does not own payments (`money`), trouble (`faults`) or expectations (`expect`).

use super::names::{Kind, Names, When};
use super::{positive, quantity};
use crate::scenario::bindings::BindingName;
use crate::scenario::choice::{DidMethod, World};
use crate::scenario::escrow::EscrowName;
use crate::scenario::model::{
    Action, ChannelName, NodeName, OwnWalletName, PartyName, PaymentName, Step,
};
use crate::scenario::problem::{Problem, Problems};
use crate::scenario::read::At;
use crate::scenario::text;
use crate::scenario::units::{Blocks, Feerate, Millis};
use crate::scenario::verb::Verb;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// What the check of one step needs to know of the rest.
pub(super) struct StepChecker<'a> {
    pub(super) names: &'a Names,
    pub(super) problems: &'a mut Problems,
    /// The operator's own node.
    pub(super) operator: Option<&'a str>,
    /// Parties that have a DID.
    pub(super) dids: BTreeMap<PartyName, DidMethod>,
    /// Index of the step at hand.
    pub(super) index: usize,
    /// Nodes that wait for a `restart`, and where they were crashed.
    pub(super) down: BTreeMap<NodeName, Range<usize>>,
    /// Bindings that earlier steps register, and where.
    pub(super) bindings: BTreeMap<BindingName, Range<usize>>,
    /// Channels that are not opened before the scenario begins.
    pub(super) later: BTreeSet<String>,
    /// Whether the engine manages its node's channels.
    pub(super) manages_channels: bool,
    /// Channels that earlier steps open, and where.
    pub(super) opened: BTreeMap<ChannelName, Range<usize>>,
    /// Channels that earlier steps close, whether by force, and where.
    pub(super) closed: BTreeMap<ChannelName, (bool, Range<usize>)>,
    /// Escrows of charges until now, with their agents.
    pub(super) escrows: BTreeMap<EscrowName, PartyName>,
    /// Held charges that were released or refused, and where.
    decided: BTreeMap<PaymentName, Range<usize>>,
    /// Earliest time that the step can begin, and where that was said.
    earliest: (u64, Range<usize>),
}

pub(super) fn steps(
    file: &text::Scenario,
    names: &Names,
    source: &str,
    problems: &mut Problems,
) -> Vec<Step> {
    let Some(typed) = &file.steps.0 else {
        return Vec::new();
    };
    if typed.value.is_empty() {
        problems.at(
            &typed.span,
            "a scenario without steps",
            "nothing happens",
            "add a step, such as `{ mine = \"1 block\" }`",
        );
    }
    let operator = file
        .operator
        .as_ref()
        .and_then(|operator| operator.value.node.as_ref())
        .map(|node| node.value.as_str());
    let worlds: Vec<World> = file
        .worlds
        .0
        .iter()
        .flat_map(|worlds| &worlds.value)
        .map(|world| world.value)
        .collect();
    let (down, decided) = (BTreeMap::new(), BTreeMap::new());
    let mut checker = StepChecker {
        names,
        problems,
        operator,
        dids: super::setup::dids(file),
        index: 0,
        down,
        bindings: BTreeMap::new(),
        later: super::channels::later(file),
        manages_channels: super::channels::are_managed(file),
        opened: BTreeMap::new(),
        closed: BTreeMap::new(),
        escrows: BTreeMap::new(),
        decided,
        earliest: (0, 0..0),
    };
    let mut found = Vec::new();
    for (index, step) in typed.value.iter().enumerate() {
        checker.index = index;
        let at = checker.time(&step.value);
        let action = checker.action(&step.value.verb);
        let only = step.value.only.as_ref().map(|only| only.value);
        let Some(action) = action else { continue };
        checker.check_worlds(step, &action, &worlds);
        if let Action::Wait { span } = action {
            checker.earliest.0 = checker.earliest.0.saturating_add(span.get());
        }
        let line = 1 + source[..step.value.verb.span.start.min(source.len())]
            .matches('\n')
            .count();
        found.push(Step {
            at,
            only,
            action,
            line,
        });
    }
    found
}

impl StepChecker<'_> {
    /// The step's time, which must not lie before an earlier one's.
    fn time(&mut self, step: &text::Step) -> Option<Millis> {
        let typed = step.at.as_ref()?;
        let at = quantity(
            &typed.value.0,
            &typed.span,
            "when the step happens",
            Millis::parse,
            self.problems,
        )?;
        let (earliest, place) = &self.earliest;
        if at.get() < *earliest {
            let label = format!("the steps before reach {} ms", earliest);
            let also = (!place.is_empty())
                .then(|| (place.clone(), "the last step with a time".to_owned()));
            let help = "`at` counts from the scenario's start, waits included: order the steps by time, or leave `at` out".to_owned();
            self.problems.add(Problem {
                title: "time goes backwards".to_owned(),
                span: typed.span.clone(),
                label,
                also,
                help,
            });
        } else {
            self.earliest = (at.get(), typed.span.clone());
        }
        Some(at)
    }

    fn check_worlds(&mut self, step: &At<text::Step>, action: &Action, worlds: &[World]) {
        let only = step.value.only.as_ref();
        if let Some(only) = only.filter(|only| !worlds.contains(&only.value)) {
            let help = format!("remove the step, or add \"{}\" to `worlds`", only.value);
            self.problems.at(
                &only.span,
                format!("the scenario does not run in the {} world", only.value),
                "this step never happens",
                help,
            );
            return;
        }
        let Some(bound) = action.bound_to() else {
            return;
        };
        let runs_in: Vec<World> = worlds
            .iter()
            .copied()
            .filter(|world| only.is_none_or(|only| only.value == *world))
            .collect();
        if let Some(cannot) = runs_in.iter().find(|world| **world != bound) {
            let help = format!(
                "add `only = \"{bound}\"` to the step, or leave \"{cannot}\" out of `worlds` and say why in `why_not`"
            );
            self.problems.at(
                &step.value.verb.span,
                format!("the {cannot} world cannot do this"),
                format!("possible in the {bound} world only"),
                help,
            );
        }
    }

    fn action(&mut self, verb: &At<Verb>) -> Option<Action> {
        let span = &verb.span;
        match &verb.value {
            Verb::Charge(typed) => self.charge(typed).map(Action::Charge),
            Verb::Pay(typed) => self.pay(typed, span).map(Action::Pay),
            Verb::Payout(typed) => self.payout(typed).map(Action::Payout),
            Verb::Enrol(typed) => self.enrol(typed, span),
            Verb::Register(typed) => self.register(typed),
            Verb::Prove(typed) => self.prove(typed),
            Verb::Rotate(typed) => self.rotate(typed),
            Verb::Revoke(typed) => self.revoke(typed, span),
            Verb::Move(_)
            | Verb::Address(_)
            | Verb::Label(_)
            | Verb::Recover(_)
            | Verb::Restore(_) => self.own_step(verb).map(Action::Own),
            Verb::Sweep(typed) => self.sweep(typed, span),
            Verb::Open(name) => self.open_channel(name, span).map(Action::Channel),
            Verb::Close(typed) => self.close_channel(typed, span).map(Action::Channel),
            Verb::Release(typed) => self
                .held(typed, span)
                .map(|charge| Action::Release { charge }),
            Verb::Refuse(typed) => self
                .held(typed, span)
                .map(|charge| Action::Refuse { charge }),
            Verb::Decide(typed) => self.decide(typed, span),
            Verb::Mine(typed) => positive(
                &typed.0,
                span,
                "blocks to mine",
                Blocks::parse,
                self.problems,
            )
            .map(|blocks| Action::Mine { blocks }),
            Verb::Reorg(typed) => self.reorg(typed, span).map(Action::Reorg),
            Verb::Crash(typed) => self.crash(typed, span),
            Verb::Restart(typed) => self.restart(typed),
            Verb::Link(typed) => self.link(typed, span).map(Action::Trouble),
            Verb::Process(typed) => self.process(typed, span).map(Action::Trouble),
            Verb::Disk(typed) => self.disk(typed, span).map(Action::Trouble),
            Verb::Clock(typed) => self.clock(typed, span).map(Action::Trouble),
            Verb::Chain(typed) => self.chain(typed, span).map(Action::Trouble),
            Verb::Peer(typed) => self.peer(typed, span).map(Action::Trouble),
            Verb::Cosigner(typed) => self.cosigner(typed).map(Action::Trouble),
            Verb::Gateway(typed) => self.gateway(typed, span).map(Action::Gateway),
            Verb::Layer0(typed) => self.layer0(typed, span),
            Verb::Fee(typed) => positive(
                &typed.0,
                span,
                "the fee market's feerate",
                Feerate::parse,
                self.problems,
            )
            .map(|feerate| Action::Fee { feerate }),
            Verb::Wait(typed) => positive(
                &typed.0,
                span,
                "how long to wait",
                Millis::parse,
                self.problems,
            )
            .map(|span| Action::Wait { span }),
            Verb::Reconcile(typed) => self.reconcile(typed),
            Verb::Expect(typed) => self.expect(typed, span).map(Action::Expect),
        }
    }

    /// A run starts under a name that nothing else has; `collect_steps` has reported it otherwise.
    fn reconcile(&mut self, typed: &text::Reconcile) -> Option<Action> {
        let run = self
            .names
            .run(typed.id.0.as_ref(), self.index + 1, self.problems)?;
        Some(Action::Reconcile { run })
    }

    /// A wallet of the operator's, with or without a recovery key.
    fn sweep(&mut self, name: &str, span: &Range<usize>) -> Option<Action> {
        let name = At {
            value: name.to_owned(),
            span: span.clone(),
        };
        let wallet =
            self.names
                .resolve(Kind::OwnWallet, OwnWalletName, Some(&name), self.problems)?;
        Some(Action::Sweep { wallet })
    }

    /// A held charge that is decided now.
    fn held(&mut self, name: &str, span: &Range<usize>) -> Option<PaymentName> {
        let name = At {
            value: name.to_owned(),
            span: span.clone(),
        };
        let (charge, payment) =
            self.names
                .payment(Some(&name), When::Before(self.index), self.problems)?;
        if !payment.hold {
            self.problems.add(Problem {
                title: format!("`{charge}` is not held"),
                span: span.clone(),
                label: "nothing to decide".to_owned(),
                also: Some((payment.span.clone(), "made here without `hold`".to_owned())),
                help: "only a Lightning charge with `hold = true` waits for a decision".to_owned(),
            });
        }
        if let Some(before) = self.decided.insert(charge.clone(), span.clone()) {
            self.problems.add(Problem {
                title: format!("`{charge}` is decided twice"),
                span: span.clone(),
                label: "again".to_owned(),
                also: Some((before, "first decided here".to_owned())),
                help: "remove one of the two steps".to_owned(),
            });
        }
        Some(charge)
    }

    /// Reports a node that must be an outsider's and is the operator's.
    pub(super) fn refuse_operator(&mut self, name: &At<String>, outsider_does: &str) {
        if self.operator == Some(name.value.as_str()) {
            let title = format!("`{}` is the operator's own node", name.value);
            self.problems.at(
                &name.span,
                title,
                format!("only outsiders {outsider_does}"),
                "name a node of somebody else",
            );
        }
    }
}
