//! Owns the proof of the driver's promises, with the real engine over a small world in memory: journal before answer
//! and effect, nothing journaled of what is refused, the same state after a kill at any point, each effect once.
//! Does not own what the engine decides.

mod restarts;
mod webhooks;
mod world;

use bitcoin::{Address, ScriptBuf};
use futures_util::future::{Either, select};
use lockstep_engine::api::{Charge, Command, Destination, Event, Payout, Refusal};
use lockstep_engine::fiat::sign_webhook;
use lockstep_engine::id::{CommandId, PartyId, PaymentId, ReconciliationId};
use lockstep_engine::money::{Asset, Minor, Msat, Quantity};
use lockstep_engine::rail::Rail;
use lockstep_engine::time::{Span, Timestamp};
use lockstep_host::ports::{LightningEvent, Point};
use lockstep_host::{Driver, Ended, Failure, Handle, StartError, SubmitError};
use world::{SECRET, World, config, folded, transfer};

fn command_id(text: &str) -> CommandId {
    CommandId::new(text).expect("id")
}

fn party() -> PartyId {
    PartyId::new("alice").expect("id")
}

fn payment_id(text: &str) -> PaymentId {
    PaymentId::new(text).expect("id")
}

fn open_party() -> Command {
    Command::OpenParty { party: party() }
}

/// 900,000 sat: below the first step of the depth table, so one confirmation settles it.
fn charge() -> Command {
    Command::CreateCharge(Charge {
        payment: payment_id("c1"),
        party: party(),
        amount_msat: Msat(900_000_000),
        rail: Rail::Onchain,
        hold: false,
        expires_in: Span::secs(3_600),
        wallet: None,
        refund_to: None,
        terms: Default::default(),
        escrow: None,
    })
}

/// 12.50 EUR out of bitcoin.
fn payout() -> Command {
    let (iban, name) = ("DE89 3704 0044 0532 0130 00".to_owned(), "Bob".to_owned());
    Command::CreatePayout(Payout {
        payment: payment_id("p1"),
        party: party(),
        destination: Destination::Iban { iban, name },
        quantity: Quantity::eur(Minor::new(1_250)),
        funded_by: Asset::Btc,
        payee: None,
        all: false,
        deadline: Span::secs(86_400),
        terms: Default::default(),
        wallet: None,
    })
}

fn reconcile() -> Command {
    Command::Reconcile {
        run: ReconciliationId::new("r1").expect("id"),
        report_day: "2023-11-13".to_owned(),
    }
}

/// Runs one life of the driver beside `story`, until the story is told or the driver ends.
fn live<T>(world: &World, story: impl AsyncFnOnce(Handle) -> T) -> Result<T, Ended> {
    let (driver, handle) = Driver::start(config(), world.ports(), world.store()).expect("starts");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("runtime");
    runtime.block_on(async {
        match select(Box::pin(driver.run()), Box::pin(story(handle))).await {
            Either::Left((ended, _)) => Err(ended),
            Either::Right((told, _)) => Ok(told),
        }
    })
}

/// Waits until the driver has nothing to do.
async fn quiet(handle: &Handle) {
    let mut rounds = 0;
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
        rounds = if handle.status().is_quiet() {
            rounds + 1
        } else {
            0
        };
        if rounds == 3 {
            return;
        }
    }
    panic!("never quiet: {:#?}", handle.status());
}

fn script_of(events: &[Event]) -> ScriptBuf {
    let address = events.iter().find_map(|event| match event {
        Event::ChargeIssued { request, .. } => {
            Some(request.parse::<Address<_>>().expect("address"))
        }
        _ => None,
    });
    address.expect("issued").assume_checked().script_pubkey()
}

fn settled(handle: &Handle, payment: &str) -> bool {
    let status = handle.with_engine(|engine| {
        engine
            .payments()
            .get(&payment_id(payment))
            .map(|found| found.status())
    });
    status == Some(lockstep_engine::api::Status::Settled)
}

fn settlement(world: &World) -> (String, String) {
    let data = transfer("tr_1", "p1", "settled", 2);
    let body =
        format!(r#"{{"id":"evt_1","type":"transfer.settled","created":1700000000,"data":{data}}}"#);
    let now = Timestamp(world.outside().now);
    (sign_webhook(SECRET, now, &body), body)
}

/// For exchanges with servers of the test itself, which answer.
fn without_time_limit() -> std::future::Pending<()> {
    std::future::pending()
}

/// Money comes in on chain and goes out by SEPA. Each step can be told again after a restart.
async fn charge_and_payout(world: &World, handle: Handle) {
    handle
        .submit(command_id("open"), open_party())
        .await
        .expect("opened");
    let issued = handle
        .submit(command_id("charge"), charge())
        .await
        .expect("charged");
    world.mine(Some((script_of(&issued.events), 900_000)));
    quiet(&handle).await;
    assert!(settled(&handle, "c1"), "{:?}", handle.status());
    handle
        .submit(command_id("payout"), payout())
        .await
        .expect("ordered");
    quiet(&handle).await;
    let (signature, body) = settlement(world);
    handle.webhook(signature, body).await.expect("acknowledged");
    quiet(&handle).await;
    assert!(settled(&handle, "p1"), "{:?}", handle.status());
}

#[test]
fn a_command_is_durable_before_it_is_answered_and_before_its_effects() {
    let world = World::new();
    live(&world, async |handle| {
        quiet(&handle).await;
        let before = world.outside().disk.synced.len();
        handle
            .submit(command_id("reconcile"), reconcile())
            .await
            .expect("accepted");
        world.note("answered");
        quiet(&handle).await;
        let synced = world.place_of(&format!("synced {}", before + 1));
        let accepted = world.place_of("accepted reconcile");
        let called = world
            .outside()
            .log
            .iter()
            .position(|line| line.starts_with("call r1/"))
            .expect("called");
        assert!(synced < accepted && accepted < world.place_of("answered") && accepted < called);
    })
    .expect("lives");
}

#[test]
fn what_is_refused_is_not_journaled() {
    let world = World::new();
    live(&world, async |handle| {
        quiet(&handle).await;
        let before = (
            world.outside().disk.synced.clone(),
            handle.with_engine(|engine| engine.digest()),
        );
        let answer = handle.submit(command_id("charge"), charge()).await;
        assert!(
            matches!(answer, Err(SubmitError::Refused(Refusal::Charge { .. }))),
            "{answer:?}"
        );
        assert_eq!(
            (
                world.outside().disk.synced.clone(),
                handle.with_engine(|engine| engine.digest())
            ),
            before
        );
        assert_eq!(world.outside().refusals, 1);
    })
    .expect("lives");
}

#[test]
fn a_story_without_trouble_ends_well_and_its_journal_folds_to_the_same_state() {
    let world = World::new();
    let digest = live(&world, async |handle| {
        charge_and_payout(&world, handle.clone()).await;
        handle.with_engine(|engine| engine.digest())
    });
    assert_eq!(digest, Ok(folded(&world).0.digest()));
    assert_eq!(world.outside().gateway.executed.len(), 1);
}

/// Kills the driver at the nth passing of `point`, starts it again, and tells the story anew. `None` if the story ends
/// before.
fn story_with_kill(point: Point, nth: usize) -> Option<World> {
    let world = World::new();
    world.outside().kill = Some((point, nth));
    let ended = live(&world, async |handle| {
        charge_and_payout(&world, handle).await
    })
    .err()?;
    assert_eq!(ended, Ended::Interrupted(point));
    let observed = world.outside().digests.last().copied();
    let (_, recovered) = Driver::start(config(), world.ports(), world.store()).expect("starts");
    let recovered = recovered.with_engine(|engine| engine.digest());
    assert_eq!(recovered, folded(&world).0.digest(), "recovered state");
    if let (true, Some(observed)) = (point != Point::Journaled, observed) {
        assert_eq!(
            recovered, observed,
            "the journal holds what was stepped, no more and no less"
        );
    }
    live(&world, async |handle| {
        charge_and_payout(&world, handle).await
    })
    .expect("lives");
    Some(world)
}

fn check_kills(point: Point) {
    let mut kills = 0;
    while let Some(world) = story_with_kill(point, kills + 1) {
        kills += 1;
        let executed = world.outside().gateway.executed.len();
        assert_eq!(
            executed, 1,
            "transfers after a kill at {point:?}, number {kills}"
        );
    }
    // Open, charge, views, payout, its answer, the webhook.
    assert!(kills >= 6, "only {kills} kills at {point:?}");
}

#[test]
fn killed_before_the_journal_nothing_has_happened() {
    check_kills(Point::BeforeJournal);
}

#[test]
fn killed_after_the_journal_the_input_counts() {
    check_kills(Point::Journaled);
}

#[test]
fn killed_after_the_step_effects_are_issued_again() {
    check_kills(Point::Stepped);
}

#[test]
fn killed_after_the_effects_none_happens_twice() {
    check_kills(Point::Performed);
}

#[test]
fn a_lost_answer_is_asked_for_again_under_the_same_key() {
    let world = World::new();
    world.outside().gateway.lose = 2;
    live(&world, async |handle| {
        handle
            .submit(command_id("open"), open_party())
            .await
            .expect("opened");
        let issued = handle
            .submit(command_id("charge"), charge())
            .await
            .expect("charged");
        world.mine(Some((script_of(&issued.events), 900_000)));
        quiet(&handle).await;
        handle
            .submit(command_id("payout"), payout())
            .await
            .expect("ordered");
        for _ in 0..4 {
            quiet(&handle).await;
            world.advance(30_000);
        }
        quiet(&handle).await;
        assert_eq!(world.outside().gateway.executed.len(), 1);
        assert_eq!(world.outside().gateway.calls, 3);
    })
    .expect("lives");
}

fn outages_told(world: &World) -> usize {
    let outside = world.outside();
    outside
        .disk
        .synced
        .iter()
        .filter(|record| String::from_utf8_lossy(record).contains("\"unavailable\""))
        .count()
}

#[test]
fn an_unavailable_backend_is_tried_again_with_growing_pauses_and_told_once() {
    let world = World::new();
    world.outside().lightning.down = true;
    live(&world, async |handle| {
        quiet(&handle).await;
        handle
            .submit(command_id("reconcile"), reconcile())
            .await
            .expect("accepted");
        quiet(&handle).await;
        assert_eq!(world.outside().lightning.balance_reads, 1);
        assert_eq!(handle.status().waiting_retries.len(), 1);
        assert_eq!(outages_told(&world), 1);
        for (pause, reads) in [(999, 1), (1, 2), (1_999, 2), (1, 3)] {
            world.advance(pause);
            quiet(&handle).await;
            assert_eq!(world.outside().lightning.balance_reads, reads);
        }
        assert_eq!(outages_told(&world), 1, "failed tries are not journaled");
        world.outside().lightning.down = false;
        world.advance(4_000);
        quiet(&handle).await;
        assert_eq!(world.outside().lightning.balance_reads, 4);
        assert_eq!(handle.status().waiting_retries, Vec::<String>::new());
    })
    .expect("lives");
}

fn looks_and_records(world: &World) -> (usize, usize) {
    let outside = world.outside();
    (outside.chain.looks, outside.disk.synced.len())
}

#[test]
fn a_chain_that_is_down_is_looked_at_again_and_an_unchanged_one_is_not_journaled() {
    let world = World::new();
    world.outside().chain.down = true;
    live(&world, async |handle| {
        quiet(&handle).await;
        assert_eq!(looks_and_records(&world), (1, 0));
        world.outside().chain.down = false;
        world.advance(1_000);
        quiet(&handle).await;
        assert_eq!(looks_and_records(&world), (2, 1));
        handle.read_chain_now().expect("runs");
        quiet(&handle).await;
        assert_eq!(looks_and_records(&world), (3, 1));
        world.mine(None);
        quiet(&handle).await;
        assert_eq!(looks_and_records(&world), (4, 2));
    })
    .expect("lives");
}

#[test]
fn a_full_disk_ends_the_driver_and_loses_nothing_that_was_acknowledged() {
    let world = World::new();
    let ended = live(&world, async |handle| {
        handle
            .submit(command_id("open"), open_party())
            .await
            .expect("opened");
        quiet(&handle).await;
        world.outside().disk.full = true;
        let answer = handle.submit(command_id("charge"), charge()).await;
        assert_eq!(answer, Err(SubmitError::Stopped));
        // The driver's own end decides the race.
        std::future::pending::<()>().await;
    });
    assert!(
        matches!(&ended, Err(Ended::Failed(Failure::Store { reason })) if reason.contains("no space")),
        "{ended:?}"
    );
    world.outside().disk.full = false;
    live(&world, async |handle| {
        assert_eq!(
            handle.with_engine(|engine| engine.payments().iter().count()),
            0
        );
        let again = handle.submit(command_id("open-again"), open_party()).await;
        assert!(
            matches!(again, Err(SubmitError::Refused(Refusal::Party { .. }))),
            "{again:?}"
        );
        handle
            .submit(command_id("charge"), charge())
            .await
            .expect("charged");
    })
    .expect("lives");
}

#[test]
fn a_webhook_is_acknowledged_after_it_is_durable_and_a_forged_one_is_not() {
    let world = World::new();
    live(&world, async |handle| {
        quiet(&handle).await;
        let before = world.outside().disk.synced.len();
        let (signature, body) = settlement(&world);
        let forged = handle
            .webhook(signature.clone(), body.replace("1250", "9950"))
            .await;
        assert!(
            matches!(forged, Err(SubmitError::Refused(Refusal::Fact { .. }))),
            "{forged:?}"
        );
        assert_eq!(world.outside().disk.synced.len(), before);
        handle.webhook(signature, body).await.expect("acknowledged");
        assert_eq!(world.outside().disk.synced.len(), before + 1);
    })
    .expect("lives");
}

#[test]
fn a_lightning_event_is_acknowledged_after_it_is_durable() {
    for point in [Point::BeforeJournal, Point::Journaled, Point::Stepped] {
        let world = World::new();
        let event = LightningEvent::Received {
            payment_hash: [5; 32],
            amount_msat: Msat(1_000),
        };
        world.outside().lightning.events.push_back(event);
        // The first input is the look at the chain.
        world.outside().kill = Some((point, 2));
        let ended = live(&world, async |handle| quiet(&handle).await);
        if ended.is_ok() {
            panic!("the event did not come");
        }
        assert_eq!(
            world.outside().lightning.events.len(),
            1,
            "acknowledged before it was safe, at {point:?}"
        );
        live(&world, async |handle| quiet(&handle).await).expect("lives");
        assert_eq!(world.outside().lightning.events.len(), 0);
        let posted = folded(&world)
            .1
            .into_iter()
            .filter(|event| matches!(event, Event::Posted(_)))
            .count();
        assert_eq!(
            posted, 1,
            "booked once, however often it was told, at {point:?}"
        );
    }
}

#[test]
fn an_altered_journal_is_not_run() {
    let world = World::new();
    live(&world, async |handle| {
        handle
            .submit(command_id("open"), open_party())
            .await
            .expect("opened");
    })
    .expect("lives");
    let altered = |record: &Vec<u8>| {
        String::from_utf8_lossy(record)
            .replace("alice", "mallory")
            .into_bytes()
    };
    let records: Vec<Vec<u8>> = world.outside().disk.synced.iter().map(altered).collect();
    assert_ne!(records, world.outside().disk.synced);
    world.outside().disk.synced = records;
    let started = Driver::start(config(), world.ports(), world.store());
    assert!(matches!(started, Err(StartError::Journal(_))));
}

#[test]
fn stop_ends_the_driver_and_callers_are_told() {
    let world = World::new();
    let (driver, handle) = Driver::start(config(), world.ports(), world.store()).expect("starts");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("runtime");
    handle.stop();
    assert_eq!(runtime.block_on(driver.run()), Ended::Stopped);
    assert_eq!(handle.status().ended, Some(Ended::Stopped));
    assert_eq!(
        runtime.block_on(handle.submit(command_id("open"), open_party())),
        Err(SubmitError::Stopped)
    );
    assert_eq!(world.outside().disk.synced.len(), 0);
}

#[test]
fn a_dropped_driver_tells_those_who_wait_in_its_queue() {
    let world = World::new();
    let (driver, handle) = Driver::start(config(), world.ports(), world.store()).expect("starts");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("runtime");
    runtime.block_on(async {
        let waiting = Box::pin(handle.submit(command_id("open"), open_party()));
        let Either::Right((_, waiting)) = select(waiting, Box::pin(tokio::task::yield_now())).await
        else {
            panic!("answered by nobody");
        };
        drop(driver);
        assert_eq!(waiting.await, Err(SubmitError::Stopped));
    });
}
