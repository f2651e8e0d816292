//! For each invariant a planted bug that it catches, and for each bug a scenario that passes without it. Owns that table.

use libtest_mimic::{Failed, Trial};
use lockstep::cli::Job;
use lockstep::cli::processes::{Setting, run_one};
use lockstep::invariants::{self, Settled, Stepped};
use lockstep::prng::RootSeed;
use lockstep::report::failure;
use lockstep::run::outcome::{Outcome, Verdict};
use lockstep::worlds::{ChannelState, Truth, WorldKind, keys};
use lockstep_engine::api::{Engine, EngineConfig, Event, Input, Output};
use lockstep_engine::journal::Journal;
use lockstep_engine::money::{Msat, Quantity};
use lockstep_engine::planted::Bug;
use lockstep_engine::policy::Policy;
use lockstep_host::ports::{Store, StoreError};
use std::collections::BTreeMap;

const ZERO_SUM: &str = "invariant `ledger-zero-sum`";
const GROUND_TRUTH: &str = "invariant `ledger-equals-ground-truth`";
const BY_DEADLINE: &str = "invariant `terminal-by-deadline`";
const AT_MOST_ONCE: &str = "invariant `at-most-once`";
const FOLD: &str = "invariant `fold-equals-live`";
const MODEL: &str = "invariant `model-agrees`";
const STATED: &str = "invariant `reputation-exactly-once`";
const NO_UNBOUND: &str = "invariant `no-unbound-payment`";
const APART: &str = "invariant `wallets-apart`";
const PROOF: &str = "invariant `proof-of-payment`";
const NO_STALE_HOLD: &str = "invariant `no-stale-hold`";

/// Bug; scenario below `tests/planted`; what the verdict names (docs/TESTING.md).
const TABLE: &[(Bug, &str, &str)] = &[
    (Bug::UnbalancedPosting, "charge", ZERO_SUM),
    (Bug::ForgetHoldRelease, "rejected", NO_STALE_HOLD),
    (Bug::RefundUnusedReserve, "lightning-payout", MODEL),
    (Bug::LoseCent, "sepa-payout", GROUND_TRUTH),
    (Bug::ForgetCommandsOnRestart, "charge", FOLD),
    (Bug::AnswerBeforeSync, "restart-receipt", MODEL),
    (Bug::LoseTimersOnRestart, "restart-expiry", BY_DEADLINE),
    (Bug::ReissueUnderFreshKey, "restart", GROUND_TRUTH),
    (Bug::NeverSettle, "charge", MODEL),
    (Bug::RepeatDuplicates, "duplicate-webhook", GROUND_TRUTH),
    (Bug::DropExpiry, "expiry", BY_DEADLINE),
    (Bug::PayTwiceOnRetry, "lost-response", GROUND_TRUTH),
    (Bug::CompensateUnknown, "lost-response", GROUND_TRUTH),
    (Bug::SettleAtAcceptance, "sepa-payout", GROUND_TRUTH),
    (Bug::IgnoreReturn, "returned", GROUND_TRUTH),
    (Bug::ApplyOlderVersion, "late-webhook", GROUND_TRUTH),
    (Bug::NeverAsk, "lost-webhook", GROUND_TRUTH),
    (Bug::CreditAtHeld, "held", MODEL),
    (Bug::KeepHashAsProof, "lightning-payout", PROOF),
    (Bug::FailOverdueLightning, "overdue", GROUND_TRUTH),
    (Bug::IgnoreReorg, "reorg", GROUND_TRUTH),
    (Bug::ReuseAddress, "two-charges", MODEL),
    (Bug::CountReplacedTwice, "reorg", GROUND_TRUTH),
    (Bug::NeverRebroadcast, "evicted", BY_DEADLINE),
    (Bug::ForgetHoldOnReorg, "evicted", MODEL),
    (Bug::SpendUnconfirmed, "unconfirmed", MODEL),
    (Bug::AcceptWrongAmount, "wrong-amount", GROUND_TRUTH),
    (Bug::SkipSignatureCheck, "forged-webhook", GROUND_TRUTH),
    (Bug::CreditWrongParty, "equal-charges", MODEL),
    (Bug::CreditAtSeen, "depth", MODEL),
    (Bug::SettleOneBlockEarly, "depth", MODEL),
    (Bug::FeeToOperator, "onchain-payout", MODEL),
    (Bug::HoldWrongUnit, "sepa-payout", MODEL),
    (Bug::StateUnderFreshKey, "stated-charge", STATED),
    (Bug::StateNoCorrection, "stated-charge", MODEL),
    (Bug::StateBeforeFinal, "stated-payout", MODEL),
    (Bug::StateNoFailure, "stated-payout", MODEL),
    (Bug::CreditShortPayment, "short-charge", MODEL),
    (Bug::SettleTwiceOnDouble, "double-payment", AT_MOST_ONCE),
    (Bug::RefundAgain, "refund-undone", MODEL),
    (Bug::ForgetReturnedCoins, "spent", MODEL),
    (Bug::DecideOnStaleTip, "stale-tip", MODEL),
    (Bug::SkipDidSignature, "binding", MODEL),
    (Bug::AcceptOtherChallenge, "binding", MODEL),
    (Bug::ForgetRevocationOnRestart, "binding", FOLD),
    (Bug::PayAfterRevocation, "unbound", NO_UNBOUND),
    (Bug::PayAfterRevocation, "unbound-batch", NO_UNBOUND),
    (Bug::MixPurposes, "other-wallet", APART),
    (Bug::IgnoreWalletOfCharge, "into-savings", MODEL),
    (Bug::IgnoreGapLimit, "gap", MODEL),
    (Bug::ForgetWalletsOnRestart, "gap", FOLD),
    (Bug::CountWrongSignature, "cosigner-alters", MODEL),
    (Bug::CountCosignerTwice, "cosigner-copies", MODEL),
    (Bug::SendBelowThreshold, "cosigner-alters", MODEL),
    (Bug::ForgetSignaturesOnRestart, "cosigner-restart", MODEL),
    (Bug::ForgetShownTransaction, "cosigner-given-up", MODEL),
    (Bug::AcceptAnySigner, "escrow-signer", MODEL),
    (Bug::ReleaseRefused, "escrow-refused", MODEL),
    (Bug::SpendHeldEscrow, "escrow-held", MODEL),
    (Bug::SpendLockedCoins, "two-at-once", "broadcast-refused"),
    (Bug::BumpConfirmed, "bump-settled", MODEL),
    (Bug::BumpAboveBudget, "bump", MODEL),
    (Bug::FailMissingCoins, "chain-evicted", MODEL),
    (Bug::KeepRestOfAll, "send-all", MODEL),
    (Bug::LoseSharedSatoshi, "batch", GROUND_TRUTH),
    (Bug::ForgetFundingFee, "own-channel", GROUND_TRUTH),
    (Bug::ForgetClosingFee, "own-channel", GROUND_TRUTH),
];

pub(crate) fn trials() -> Vec<Trial> {
    let caught = TABLE.iter().map(|&(bug, scenario, named)| {
        Trial::test(format!("planted::{bug:?}::{scenario}"), move || {
            is_caught(bug, scenario, named)
        })
    });
    let mut trials: Vec<Trial> = caught.collect();
    let mut scenarios: Vec<_> = TABLE.iter().map(|(_, scenario, _)| *scenario).collect();
    scenarios.sort_unstable();
    scenarios.dedup();
    for scenario in scenarios {
        trials.push(Trial::test(
            format!("planted::without_bug::{scenario}"),
            move || passes(scenario),
        ));
    }
    trials.push(Trial::test(
        "planted::every_bug_is_proved",
        every_bug_is_proved,
    ));
    trials.push(Trial::test(
        "planted::a_channel_that_loses_money",
        channel_conservation,
    ));
    trials.push(Trial::test("planted::a_fee_that_nobody_bears", || {
        let fees = BTreeMap::from([(bitcoin::hashes::Hash::all_zeros(), 5)]);
        let found = at_rest_with("fees-attributed", &[], &BTreeMap::new(), &fees);
        match found {
            Err(what) if what.contains("fees of 5 sat") => Ok(()),
            other => Err(format!("invariant `fees-attributed` said {other:?}").into()),
        }
    }));
    trials.push(Trial::test(
        "planted::a_payment_that_has_its_effect_twice",
        at_most_once,
    ));
    trials.push(Trial::test(
        "planted::an_altered_journal",
        journal_hash_chain,
    ));
    trials
}

fn run(scenario: &str, planted: Option<Bug>) -> Outcome {
    let file = format!("tests/planted/{scenario}.toml");
    let planted = planted.map(|bug| bug.name().to_owned());
    run_one(
        &Job {
            planted,
            ..Job::new(file, WorldKind::Simulated, 1)
        },
        &Setting::default(),
    )
}

fn passes(scenario: &str) -> Result<(), Failed> {
    let outcome = run(scenario, None);
    if outcome.verdict == Verdict::Pass {
        Ok(())
    } else {
        Err(failure::render(&outcome).into())
    }
}

fn is_caught(bug: Bug, scenario: &str, named: &str) -> Result<(), Failed> {
    let outcome = run(scenario, Some(bug));
    let (step, what) = match &outcome.verdict {
        Verdict::Violated { step, what, .. } | Verdict::Liveness { step, what, .. } => (step, what),
        _ => return Err(format!("the bug was not caught: {}", outcome.verdict.word()).into()),
    };
    let liveness = matches!(outcome.verdict, Verdict::Liveness { .. });
    if liveness != named.contains("terminal-by-deadline") && named.starts_with("invariant") {
        return Err(format!(
            "caught as another kind of failure:\n{}",
            failure::render(&outcome)
        )
        .into());
    }
    match what.contains(named) || step.contains(named) {
        true => Ok(()),
        false => Err(format!(
            "`{named}` was not what caught it:\n{}",
            failure::render(&outcome)
        )
        .into()),
    }
}

/// Each bug is in the table above or shown by the engine's own tests, and docs/TESTING.md knows it.
fn every_bug_is_proved() -> Result<(), Failed> {
    let read = |path: &str| std::fs::read_to_string(lockstep_tests::root().join(path));
    let (engine, document) = (read("engine/tests/planted.rs")?, read("docs/TESTING.md")?);
    for bug in Bug::ALL {
        let in_table = TABLE.iter().any(|(other, ..)| other == bug);
        if !in_table && !engine.contains(&format!("Bug::{}", bug.name())) {
            return Err(format!("nothing shows that {bug:?} does what it says").into());
        }
        if !document.contains(&format!("| `{}` |", bug.name())) {
            return Err(format!("docs/TESTING.md does not have {bug:?}").into());
        }
    }
    Ok(())
}

fn engine_config() -> EngineConfig {
    EngineConfig {
        network: keys::NETWORK,
        descriptors: keys::engine_keys(RootSeed(1)).public,
        policy: Policy::regtest_default(),
        webhook_secrets: vec!["secret".to_owned()],
        layer0_secrets: Vec::new(),
        planted: None,
    }
}

/// What the checker of this name says of a world at rest.
fn at_rest(
    checker: &str,
    channels: &[ChannelState],
    executed: &BTreeMap<String, u64>,
) -> Result<(), String> {
    at_rest_with(checker, channels, executed, &BTreeMap::new())
}

/// The same, of a world whose chain shows these fees.
fn at_rest_with(
    checker: &str,
    channels: &[ChannelState],
    executed: &BTreeMap<String, u64>,
    fees_sat: &BTreeMap<bitcoin::Txid, u64>,
) -> Result<(), String> {
    let engine = Engine::new(engine_config()).map_err(|error| error.to_string())?;
    let truth = Truth {
        wallets_sat: BTreeMap::new(),
        channels_msat: 0,
        outgoing_msat: 0,
        incoming_msat: 0,
        gateway_cents: 0,
        came_in_cents: 0,
        untold_cents: 0,
        node: None,
    };
    let settled = Settled {
        engine: &engine,
        truth,
        channels,
        executed,
        spent_from: &BTreeMap::new(),
        fees_sat,
        chain_is_hidden: false,
        layer0: None,
        at_end: false,
    };
    let mut all = invariants::all();
    let found = all
        .iter_mut()
        .find(|invariant| invariant.name() == checker)
        .expect("a checker of this name");
    found.at_rest(&settled)
}

/// No engine bug can take money out of a channel: the checker is shown one that lost a millisatoshi.
fn channel_conservation() -> Result<(), Failed> {
    let verdict = |balance_msat: [u64; 2]| {
        let channel = ChannelState {
            name: "a-b".to_owned(),
            ends: ["a".to_owned(), "b".to_owned()],
            capacity_sat: 1,
            balance_msat,
            in_flight_msat: [100, 0],
            funding: Default::default(),
        };
        at_rest("channel-conservation", &[channel], &BTreeMap::new())
    };
    verdict([400, 500])?;
    if verdict([400, 499]).is_err() {
        Ok(())
    } else {
        Err("a lost millisatoshi was not seen".into())
    }
}

/// Money that leaves twice also breaks `ledger-equals-ground-truth`, which is asked first; so this checker is shown the
/// two ways in which a payment has its effect twice: a transfer carried out twice, and a payment that settles twice.
fn at_most_once() -> Result<(), Failed> {
    let carried_out = |times: u64| {
        at_rest(
            "at-most-once",
            &[],
            &BTreeMap::from([("o1".to_owned(), times)]),
        )
    };
    carried_out(1)?;
    if carried_out(2).is_ok() {
        return Err("a transfer that was carried out twice was not seen".into());
    }
    settled_twice()
}

fn settled_twice() -> Result<(), Failed> {
    let (engine, input) = (Engine::new(engine_config())?, open_party("ann")?);
    let payment = lockstep_engine::id::PaymentId::new("p1")?;
    let quantity = Quantity::btc(Msat(1_000));
    let settled = Event::PaymentSettled {
        payment: payment.clone(),
        quantity,
        fee_msat: Msat(0),
    };
    let undone = Event::PaymentUndone { payment };
    let outcome = |events: &[&Event]| {
        let mut all = invariants::all();
        let checker = all
            .iter_mut()
            .find(|invariant| invariant.name() == "at-most-once")
            .expect("there is one");
        events.iter().try_for_each(|event| {
            let output = Output {
                events: vec![(*event).clone()],
                ..Output::default()
            };
            let at = lockstep_engine::time::Timestamp(1);
            checker.after_step(&Stepped {
                at,
                input: &input,
                output: &output,
                engine: &engine,
                truth: None,
            })
        })
    };
    outcome(&[&settled, &undone, &settled])?;
    if outcome(&[&settled, &settled]).is_err() {
        Ok(())
    } else {
        Err("a second settlement was not seen".into())
    }
}

/// A journal in memory, as a dishonest operator would leave it.
struct Records(Vec<Vec<u8>>);

impl Store for Records {
    fn append(&mut self, _: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.0.push(bytes.to_vec());
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn read_all(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        Ok(self.0.clone())
    }
}

/// A removed record breaks `journal-hash-chain`; a state that the journal does not give breaks `fold-equals-live`.
fn journal_hash_chain() -> Result<(), Failed> {
    let mut engine = Engine::new(engine_config())?;
    let mut journal = Journal::new();
    let mut records = Vec::new();
    for (at, party) in [(1, "ann"), (2, "bob"), (3, "cid")] {
        let input: Input = open_party(party)?;
        let at = lockstep_engine::time::Timestamp(at);
        engine.step(at, &input)?;
        records.push(journal.seal(at, &input).bytes);
    }
    let named = |records: Vec<Vec<u8>>, live: [u8; 32]| -> Result<Vec<String>, Failed> {
        let violations = invariants::audit_journal(&Records(records), engine_config(), live)?;
        Ok(violations
            .into_iter()
            .map(|violation| violation.invariant)
            .collect())
    };
    let mut removed = records.clone();
    removed.remove(1);
    let found = (
        named(records.clone(), engine.digest())?,
        named(removed, engine.digest())?,
        named(records, [0; 32])?,
    );
    let expected = (
        vec![],
        vec!["journal-hash-chain".to_owned()],
        vec!["fold-equals-live".to_owned()],
    );
    if found == expected {
        Ok(())
    } else {
        Err(format!("{found:?} instead of {expected:?}").into())
    }
}

fn open_party(name: &str) -> Result<Input, Failed> {
    use lockstep_engine::api::Command;
    use lockstep_engine::id::{CommandId, PartyId};
    use lockstep_engine::rail::Entropy;
    let (id, party) = (CommandId::new(format!("open-{name}"))?, PartyId::new(name)?);
    Ok(Input::Command {
        id,
        command: Command::OpenParty { party },
        entropy: Entropy([0; 32]),
    })
}
