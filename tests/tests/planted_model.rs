//! For each way in which the engine can leave the model (I9) or the truth (I10) one proof that it is seen. A real engine is
//! run through a charge and a payout; the checker is told the same with one thing doctored, as if the engine had done it.
//! And `model::foretell` against what runs really answer. Owns these cases, not the checkers.

#[path = "../../engine/tests/outside/mod.rs"]
mod outside;

use libtest_mimic::{Failed, Trial};
use lockstep::cli::Job;
use lockstep::cli::processes::{Setting, run_one};
use lockstep::cli::sources;
use lockstep::invariants::{Fate, Fates, ModelAgrees, outcomes};
use lockstep::model::{Prediction, Terms, Why, foretell};
use lockstep::report::failure;
use lockstep::run::outcome::Verdict;
use lockstep::scenario::{Pace, World};
use lockstep::worlds::WorldKind;
use lockstep_engine::api::{Command, Event, FailureReason, Input, Output};
use lockstep_engine::id::CommandId;
use lockstep_engine::money::{Msat, Rail};
use lockstep_engine::rail::{Entropy, Fact};
use lockstep_engine::time::Timestamp;
use outside::{BEGIN, Outside, charge, engine, hash_of, party, payment, sepa};

/// What is changed of an input and its output before the checker is told.
type Doctor = fn(&mut Input, &mut Output);

type Test = fn() -> Result<(), Failed>;

/// Name; what is doctored; what the checker must say.
const TABLE: [(&str, Doctor, &str); 7] = [
    (
        "another_party_is_credited",
        for_another_party,
        "party ann has 100000 of BTC, 0 of it held; the model says 0",
    ),
    (
        "another_amount_is_credited",
        one_msat_more,
        "settled with 100001",
    ),
    (
        "a_state_is_skipped",
        without_issue,
        "is Some(Issued); the model says Created",
    ),
    (
        "a_state_is_not_reached",
        without_settlement,
        "is Issued after LightningReceived",
    ),
    (
        "an_unknown_party_is_served",
        for_nobody,
        "must be refused (PartyUnknown)",
    ),
    ("a_hold_is_too_small", smaller_hold, "was not told"),
    (
        "a_settled_payment_fails",
        fails_at_last,
        "went from Settled to Failed",
    ),
];

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials: Vec<Trial> = TABLE
        .iter()
        .map(|&(name, doctor, says)| {
            Trial::test(format!("planted_model::{name}"), move || {
                is_seen(doctor, says)
            })
        })
        .collect();
    let others: [(&str, Test); 4] = [
        ("a_command_is_refused_for_nothing", refused_for_nothing),
        ("an_outcome_is_not_the_truth", outcome_is_not_the_truth),
        ("scenarios_are_foretold", scenarios_are_foretold),
        ("refusals_are_foretold", refusals_are_foretold),
    ];
    for (name, test) in others {
        trials.push(Trial::test(format!("planted_model::{name}"), test));
    }
    trials
}

/// Ann's charge of 100,000 msat is made, issued and paid; she pays out one cent.
fn story() -> Result<(Outside, Vec<(Timestamp, Input)>), Failed> {
    let mut o = Outside::new();
    o.ok(Command::OpenParty {
        party: party("bob"),
    });
    o.ok(Command::CreateCharge(charge(
        "c1",
        Rail::Lightning,
        100_000,
    )));
    o.issue("c1", [1; 32], 100_000);
    o.tell(Fact::LightningReceived {
        payment_hash: hash_of([1; 32]),
        amount_msat: Msat(100_000),
    });
    o.ok(Command::CreatePayout(sepa("o1", 1)));
    let told = o.accepted.clone();
    Ok((o, told))
}

/// Takes the story in, doctored; what the checker says.
fn told(doctor: Doctor) -> Result<(), String> {
    let (_, story) = story().map_err(|error| format!("{error:?}"))?;
    let (mut live, mut checker) = (engine(), ModelAgrees::new(Terms::default()));
    for (at, mut input) in story {
        let mut output = live
            .step(at, &input)
            .map_err(|refusal| refusal.to_string())?;
        doctor(&mut input, &mut output);
        checker.on_accepted(at, &input, &output, &live)?;
    }
    checker.all_agree(&live)
}

fn is_seen(doctor: Doctor, says: &str) -> Result<(), Failed> {
    told(|_, _| ())?;
    match told(doctor) {
        Err(what) if what.contains(says) => Ok(()),
        Err(what) => Err(format!("it was seen, but otherwise than by `{says}`: {what}").into()),
        Ok(()) => Err("it was not seen".into()),
    }
}

fn for_another_party(input: &mut Input, output: &mut Output) {
    if let Input::Command {
        command: Command::CreateCharge(order),
        ..
    } = input
    {
        order.party = party("bob");
        for event in &mut output.events {
            if let Event::ChargeCreated { party: named, .. } = event {
                *named = party("bob");
            }
        }
    }
}

fn one_msat_more(_: &mut Input, output: &mut Output) {
    for event in &mut output.events {
        if let Event::PaymentSettled { quantity, .. } = event {
            quantity.units += 1;
        }
    }
}

fn without_issue(_: &mut Input, output: &mut Output) {
    output
        .events
        .retain(|event| !matches!(event, Event::ChargeIssued { .. }));
}

fn without_settlement(_: &mut Input, output: &mut Output) {
    output
        .events
        .retain(|event| !matches!(event, Event::PaymentSettled { .. }));
}

fn for_nobody(input: &mut Input, _: &mut Output) {
    if let Input::Command {
        command: Command::CreateCharge(order),
        ..
    } = input
    {
        order.party = party("nobody");
    }
}

fn smaller_hold(_: &mut Input, output: &mut Output) {
    for event in &mut output.events {
        if let Event::PayoutReserved { reserved, .. } = event {
            reserved.units -= 1;
        }
    }
}

fn fails_at_last(input: &mut Input, output: &mut Output) {
    if let Input::Command {
        command: Command::CreatePayout(_),
        ..
    } = input
    {
        let reason = FailureReason::Expired;
        output.events.push(Event::PaymentFailed {
            payment: payment("c1"),
            reason,
        });
    }
}

/// The model is shown a refusal of what it would accept, and then one of what it would refuse.
fn refused_for_nothing() -> Result<(), Failed> {
    let checker = ModelAgrees::new(Terms::default());
    let refused = |command| {
        let id = CommandId::new("c").expect("an id");
        checker.on_refused(
            BEGIN,
            &Input::Command {
                id,
                entropy: Entropy([0; 32]),
                command,
            },
        )
    };
    refused(Command::ReleaseHeld {
        payment: payment("c1"),
    })?;
    match refused(Command::OpenParty {
        party: party("ann"),
    }) {
        Err(what) if what.contains("must be accepted") => Ok(()),
        other => Err(format!("not seen: {other:?}").into()),
    }
}

/// A settled and a failed payment with every fate that they must not have, and with the one that they must.
fn outcome_is_not_the_truth() -> Result<(), Failed> {
    let (mut o, _) = story()?;
    o.responds(
        "o1/transfer",
        422,
        r#"{"error":{"code":"invalid_iban","message":""}}"#,
    );
    let says = |settled: Fate, failed: Fate, unordered: &[&str]| {
        let payments = [(payment("c1"), settled), (payment("o1"), failed)].into();
        let unordered = unordered.iter().map(ToString::to_string).collect();
        let violation = outcomes(
            &o.engine,
            &Fates {
                payments,
                unordered,
            },
        );
        violation.map_or_else(String::new, |violation| violation.to_string())
    };
    let once = Fate::Done { times: 1 };
    let cases = [
        (says(once, Fate::NotDone, &[]), ""),
        (says(Fate::Unknown, Fate::Unknown, &[]), ""),
        (
            says(Fate::NotDone, Fate::NotDone, &[]),
            "c1 is settled, and the outside did not carry it out",
        ),
        (
            says(Fate::Pending, Fate::NotDone, &[]),
            "c1 is settled, and the outside has not finished it",
        ),
        (
            says(Fate::Done { times: 2 }, Fate::NotDone, &[]),
            "c1 was carried out more than once",
        ),
        (
            says(once, once, &[]),
            "o1 has failed, and the outside carried it out",
        ),
        (
            says(once, Fate::Pending, &[]),
            "o1 has failed, and the outside is still at it",
        ),
        (
            says(once, Fate::NotDone, &["o1.2"]),
            "the gateway moves money for `o1.2`",
        ),
    ];
    for (said, expected) in cases {
        let right = if expected.is_empty() {
            said.is_empty()
        } else {
            said.contains(expected)
        };
        if !right || (!said.is_empty() && !said.contains("outcome-equals-truth")) {
            return Err(format!("`{said}` instead of `{expected}`").into());
        }
    }
    Ok(())
}

/// Of each step, in order, whether a command of it was refused, as its canonical trace tells.
fn refusals(trace: &[String]) -> Vec<bool> {
    let mut refused = Vec::new();
    for line in trace {
        if line.starts_with(r#"{"point""#) {
            refused.push(false);
        } else if let (true, Some(last)) = (line.contains(r#""of":"command""#), refused.last_mut())
        {
            *last = true;
        }
    }
    refused.remove(0);
    refused
}

fn agrees(predictions: &[Option<Prediction>], refused: &[bool]) -> Result<(), String> {
    for (step, (prediction, refused)) in predictions.iter().zip(refused).enumerate() {
        let right = match prediction {
            Some(Prediction::Accepted) | None => !refused,
            Some(Prediction::Refused(_)) => *refused,
            Some(Prediction::Either(_)) => true,
        };
        if !right {
            let step = step + 1;
            return Err(format!(
                "step {step}: foretold {prediction:?}, refused: {refused}"
            ));
        }
    }
    Ok(())
}

/// What is foretold of every scenario that runs in lock step is what its expected trace says.
fn scenarios_are_foretold() -> Result<(), Failed> {
    let (mut sure, mut open) = (0, 0);
    for found in lockstep_tests::scenarios() {
        let scenario = &found.source.scenario;
        let expected = std::fs::read_to_string(found.source.file.replace(".toml", ".trace"))?;
        let expected: Vec<String> = expected.lines().map(str::to_owned).collect();
        let foretold = foretell(scenario, World::Simulated);
        let commands = foretold.iter().flatten();
        let doubts = commands
            .filter(|one| matches!(one, Prediction::Either(_)))
            .count();
        (sure, open) = (
            sure + foretold.iter().flatten().count() - doubts,
            open + doubts,
        );
        if scenario.pace == Pace::LockStep {
            agrees(&foretold, &refusals(&expected))
                .map_err(|what| format!("{}: {what}", found.name))?;
        }
    }
    if sure > 100 && open < sure / 2 {
        Ok(())
    } else {
        Err(format!("{sure} commands were foretold, {open} left open").into())
    }
}

/// Nine commands that must be refused, and a last one that depends on how the one before it went, foretold and then run.
fn refusals_are_foretold() -> Result<(), Failed> {
    let file = "tests/planted/refusals.toml";
    let foretold = foretell(&sources::load(file)?.scenario, World::Simulated);
    let whys = foretold.iter().flatten().filter_map(|one| match one {
        Prediction::Refused(why) => Some(*why),
        Prediction::Accepted | Prediction::Either(_) => None,
    });
    let expected = [
        Why::Amount,
        Why::Time,
        Why::Funds,
        Why::Funds,
        Why::Funds,
        Why::Malformed,
        Why::Amount,
        Why::Funds,
        Why::Funds,
    ];
    let found: Vec<Why> = whys.collect();
    if found != expected {
        return Err(format!("{found:?}").into());
    }
    let outcome = run_one(
        &Job::new(file.to_owned(), WorldKind::Simulated, 1),
        &Setting::default(),
    );
    if outcome.verdict != Verdict::Pass {
        return Err(failure::render(&outcome).into());
    }
    Ok(agrees(&foretold, &refusals(&outcome.canonical))?)
}
