//! Owns the tests of the pure part: candidates are legal and smaller, the result is minimal for oracles that are known, and
//! it does not depend on how many candidates are judged at once.

use super::{Candidate, Freedom, Oracle, Shrunk, shrink, title};
use crate::scenario::{Action, GatewayFaultKind, Pace, Request, Scenario, Step, World};

const PLAN: &str = r#"
title = "A plan with much in it"
worlds = ["simulated"]
why_not = { regtest = "drawn" }
covers = ["F1"]
seed = 77
pace = "free"
operator = { node = "n0", wallet = "0.31 BTC", gateway = "1_234.56 EUR" }
policy = { rate = "61_234.00 EUR/BTC", feerate = "3 sat/vB", depth = [{ below = "777_777 sat", blocks = 2 }, { blocks = 4 }] }
parties.ann = {}
parties.ben = {}
parties.cid = {}
accounts.acc-1 = { iban = "DE89370400440532013000", name = "Ann" }
accounts.acc-2 = { iban = "DE89370400440532013000", name = "Ben" }
wallets.w1 = { funds = "0.77 BTC" }
wallets.w2 = { funds = "0.5 BTC" }
nodes.n0 = { funds = "0.2 BTC" }
nodes.n1 = { funds = "0.3 BTC" }
nodes.n2 = { funds = "0.3 BTC" }
channels.x = { from = "n1", to = "n2", capacity = "12_345_678 sat", push = "1_234_567 sat" }
channels.y = { from = "n2", to = "n0", capacity = "10_000_000 sat", fees.from = { base = "7 msat", ppm = 3 } }
steps = [
  { at = "7 s", charge = { id = "a1", party = "ann", amount = "777_777 sat", over = "onchain", expires = "3 h" } },
  { pay = { charge = "a1", from = "w1", feerate = "7 sat/vB" } },
  { at = "9 s", pay = { id = "b1", from = "n1", to = "ben", amount = "123_456 sat" } },
  { expect = { payment = "b1", state = "settled", within = "7 min" } },
  { charge = { id = "c1", party = "cid", amount = "55_555 sat", over = "lightning", hold = true } },
  { pay = { charge = "c1", from = "n1" } },
  { crash = { node = "n2" } },
  { at = "77 s", mine = "7 blocks" },
  { restart = { node = "n2" } },
  { release = "c1" },
  { link = { between = ["n1", "n2"], fault = "delay", by = "333 ms", for = "77 s" } },
  { disk = { of = "engine", fault = "slow", by = "77 ms", for = "77 s" } },
  { reorg = { depth = 3, then = 5, drop = ["a1"], keep = true } },
  { gateway = { fault = "reject", on = "o1", code = "invalid_iban" } },
  { gateway = { fault = "server-error", on = "o1", times = 3 } },
  { crash = { engine = "journaled", on = "o1" } },
  { at = "3 min", payout = { id = "o1", from = "ann", to = "acc-1", amount = "77.77 EUR", funded_by = "BTC", deadline = "77 min" } },
  { payout = { id = "o2", from = "ben", to = "n1", amount = "12_345 sat" } },
  { payout = { id = "o3", from = "ann", to = "w2", amount = "234_567 sat" } },
  { expect = { executed = "o1", times = 0 } },
  { wait = "77 min" },
  { reconcile = { id = "rec" } },
  { expect = { run = "rec", breaks = 0 } },
]
"#;

fn plan() -> Scenario {
    Scenario::parse("plan", PLAN).unwrap_or_else(|refused| panic!("{refused}"))
}

/// Fails where the predicate says so; checks what it is asked.
struct Fake<F> {
    fails: F,
    width: usize,
    /// Judge no more than so many.
    limit: usize,
    judged: usize,
    smallest: usize,
}

impl<F: Fn(&Scenario) -> bool> Oracle for Fake<F> {
    fn judge(&mut self, candidates: &[Candidate]) -> Option<Vec<bool>> {
        assert!(candidates.len() <= self.width);
        self.judged += candidates.len();
        for candidate in candidates {
            let parsed = Scenario::parse("candidate", &candidate.text).expect("legal");
            assert_eq!(parsed, candidate.scenario);
            assert!(
                parsed.steps.len() <= self.smallest,
                "a candidate is larger: {}",
                candidate.text
            );
        }
        let fails = candidates.iter().map(|one| (self.fails)(&one.scenario));
        (self.judged <= self.limit).then(|| fails.collect())
    }

    fn width(&self) -> usize {
        self.width
    }

    fn accepted(&mut self, smaller: &Scenario) {
        assert!(smaller.steps.len() <= self.smallest);
        self.smallest = smaller.steps.len();
    }
}

fn shrunk(fails: impl Fn(&Scenario) -> bool, width: usize) -> Shrunk {
    shrunk_from(&plan(), fails, width)
}

fn shrunk_from(plan: &Scenario, fails: impl Fn(&Scenario) -> bool, width: usize) -> Shrunk {
    assert!(fails(plan), "the plan itself must fail");
    let mut oracle = Fake {
        fails,
        width,
        limit: usize::MAX,
        judged: 0,
        smallest: plan.steps.len(),
    };
    shrink(plan, Freedom::default(), &mut oracle)
}

fn has(plan: &Scenario, is: impl Fn(&Action) -> bool) -> bool {
    plan.steps.iter().any(|step| is(&step.action))
}

/// A rejected payout of bitcoin after money was charged and mined.
fn rejected_payout(plan: &Scenario) -> bool {
    let rejects = |action: &Action| matches!(action, Action::Gateway(fault) if matches!(fault.kind, GatewayFaultKind::Reject { .. }));
    has(plan, rejects)
        && has(plan, |action| matches!(action, Action::Mine { .. }))
        && has(
            plan,
            |action| matches!(action, Action::Pay(pay) if pay.charge.as_str().starts_with(['a', 'p'])),
        )
}

const REJECTED: &str = r#"title = "A plan with much in it"
worlds = ["simulated"]
why_not = { regtest = "drawn" }

parties.merchant = {}
accounts.bank = { iban = "DE89370400440532013000", name = "Ann" }

wallets.alice = {}

steps = [
  { pay = { id = "p1", from = "alice", to = "merchant", amount = "1_000 sat" } },
  { mine = "1 block" },
  { gateway = { fault = "reject", on = "o1", code = "invalid_iban" } },
  { payout = { id = "o1", from = "merchant", to = "bank", amount = "1.00 EUR", funded_by = "BTC" } },
]
"#;

#[test]
fn what_does_not_matter_goes_and_what_is_left_reads_well() {
    let found = shrunk(rejected_payout, 1);
    assert!(found.finished);
    assert_eq!(found.scenario.to_toml(), REJECTED);
}

#[test]
fn the_result_does_not_depend_on_how_many_are_judged_at_once() {
    let one = shrunk(rejected_payout, 1);
    for width in [2, 3, 8] {
        assert_eq!(
            shrunk(rejected_payout, width).scenario,
            one.scenario,
            "{width} at once"
        );
    }
}

#[test]
fn one_step_of_many_is_found() {
    let reorg = |plan: &Scenario| has(plan, |action| matches!(action, Action::Reorg(_)));
    let found = shrunk(reorg, 2);
    assert_eq!(
        found.scenario.steps.len(),
        1,
        "{}",
        found.scenario.to_toml()
    );
    assert_eq!(
        found.scenario.steps[0].to_string(),
        "reorg 1 block then 2 blocks"
    );
    assert!(found.scenario.nodes.is_empty() && found.scenario.parties.is_empty());
    assert_eq!(
        (found.scenario.seed, found.scenario.pace),
        (1, Pace::LockStep)
    );
}

#[test]
fn a_crash_keeps_its_restart_and_a_held_payment_its_release() {
    let wanted = |plan: &Scenario| {
        has(plan, |action| matches!(action, Action::RestartNode { .. }))
            && has(plan, |action| matches!(action, Action::Release { .. }))
    };
    let found = shrunk(wanted, 1);
    let verbs: Vec<String> = found
        .scenario
        .steps
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(verbs.len(), 4, "{verbs:?}");
}

#[test]
fn a_spent_budget_leaves_the_smallest_so_far() {
    let plan = plan();
    let mut oracle = Fake {
        fails: rejected_payout,
        width: 1,
        limit: 9,
        judged: 0,
        smallest: plan.steps.len(),
    };
    let found = shrink(&plan, Freedom::default(), &mut oracle);
    assert!(!found.finished);
    assert!(rejected_payout(&found.scenario));
    assert!(found.scenario.steps.len() < plan.steps.len());
}

/// A failing expectation would fail for want of a cause, too: what leads to it stays.
#[test]
fn what_leads_to_a_failing_expectation_stays() {
    let plan = plan();
    let failing = |step: &&Step| step.to_string().starts_with("expect executed o1");
    let line = plan.steps.iter().find(failing).expect("there").line;
    let expects = |plan: &Scenario| plan.steps.iter().any(|step| failing(&step));
    let mut oracle = Fake {
        fails: |plan: &Scenario| {
            expects(plan) || has(plan, |action| matches!(action, Action::Expect(_)))
        },
        width: 1,
        limit: usize::MAX,
        judged: 0,
        smallest: plan.steps.len(),
    };
    let freedom = Freedom {
        step_at_line: Some(line),
        ..Freedom::default()
    };
    let found = shrink(&plan, freedom, &mut oracle).scenario;
    assert!(has(&found, |action| matches!(action, Action::Payout(_))));
    assert!(has(&found, |action| matches!(action, Action::Mine { .. })));
    assert!(!has(&found, |action| matches!(action, Action::Trouble(_))));
    let charged = |action: &Action| matches!(action, Action::Charge(charge) if charge.expires.get() == 3 * 3_600_000);
    assert!(has(&found, charged), "{}", found.to_toml());
}

#[test]
fn what_came_after_the_failure_goes_first() {
    let plan = plan();
    let middle = plan.steps.len() / 2;
    let mut oracle = Fake {
        fails: |_: &Scenario| true,
        width: 1,
        limit: 1,
        judged: 0,
        smallest: plan.steps.len(),
    };
    let freedom = Freedom {
        began_at_line: Some(plan.steps[middle].line),
        ..Freedom::default()
    };
    let found = shrink(&plan, freedom, &mut oracle).scenario;
    let texts = |steps: &[crate::scenario::Step]| -> Vec<String> {
        steps.iter().map(ToString::to_string).collect()
    };
    assert_eq!(texts(&found.steps), texts(&plan.steps[..=middle]));
}

#[test]
fn titles_name_what_happens() {
    let found = shrunk(rejected_payout, 1).scenario;
    assert_eq!(
        title(&found, "Invariant no-stale-hold holds"),
        "Invariant no-stale-hold holds with a payment on chain, a rejection and a payout over SEPA from bitcoin"
    );
    assert!(title(&plan(), "All holds").ends_with(" and more"));
    assert!(found.worlds.contains(&World::Simulated));
}

#[test]
fn two_parties_become_one_where_that_makes_no_difference() {
    let all_payouts = |plan: &Scenario| {
        let is_payout = |step: &&Step| matches!(step.action, Action::Payout(_));
        plan.steps.iter().filter(is_payout).count() >= 3
    };
    let found = shrunk(all_payouts, 1);
    assert_eq!(found.scenario.parties.len(), 1);
    let ann_and_ben = |plan: &Scenario| {
        let parties = plan.parties.len();
        all_payouts(plan) && parties >= 2
    };
    assert_eq!(shrunk(ann_and_ben, 1).scenario.parties.len(), 2);
}

#[test]
fn a_payment_brings_what_a_move_would() {
    let text = r#"
title = "Two coins in savings"
worlds = ["simulated"]
why_not = { regtest = "drawn" }
operator = { wallets = { savings = { purpose = "savings" } } }
parties.ann = {}
wallets.w1 = { funds = "1 BTC" }
steps = [
  { pay = { id = "p1", from = "w1", to = "ann", amount = "500_000 sat" } },
  { mine = "3 blocks" },
  { move = { id = "m1", from = "hot", to = "savings", amount = "400_000 sat" } },
  { mine = "1 block" },
]
"#;
    let plan = Scenario::parse("plan", text).unwrap_or_else(|refused| panic!("{refused}"));
    let into_savings = |action: &Action| match action {
        Action::Charge(charge) => {
            matches!(
                charge.request,
                Request::Onchain {
                    wallet: Some(_),
                    ..
                }
            )
        }
        Action::Own(_) => true,
        _ => false,
    };
    let pays = |action: &Action| matches!(action, Action::Pay(_));
    let mines = |action: &Action| matches!(action, Action::Mine { .. });
    let wanted = |plan: &Scenario| has(plan, into_savings) && has(plan, pays) && has(plan, mines);
    let found = shrunk_from(&plan, wanted, 1).scenario;
    let moves = |action: &Action| matches!(action, Action::Own(_));
    assert!(!has(&found, moves), "{}", found.to_toml());
    assert_eq!(found.steps.len(), 3, "{}", found.to_toml());
}
