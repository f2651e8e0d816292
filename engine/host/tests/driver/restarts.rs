//! Owns the proof of what a restart must not forget: an order that may have left, and webhooks whose secret was replaced
//! since. Does not own kills in general (`main`).

use super::{
    World, charge, command_id, config, live, open_party, payment_id, payout, quiet, script_of,
    settled, settlement,
};
use lockstep_engine::api::Status;
use lockstep_engine::rail::Effect;
use lockstep_host::ports::Point;
use lockstep_host::{Driver, Ended, Handle};

/// Alice has 900,000 sat from `c1`.
async fn fund(world: &World, handle: &Handle) {
    handle
        .submit(command_id("open"), open_party())
        .await
        .expect("opened");
    let issued = handle
        .submit(command_id("charge"), charge())
        .await
        .expect("charged");
    world.mine(Some((script_of(&issued.events), 900_000)));
    quiet(handle).await;
    assert!(settled(handle, "c1"), "{:?}", handle.status());
}

fn status(handle: &Handle) -> Option<Status> {
    handle.with_engine(|engine| {
        let payment = engine.payments().get(&payment_id("p1"));
        payment.map(|found| found.status())
    })
}

#[test]
fn an_order_that_left_before_a_kill_is_not_given_up_because_later_ones_do_not_get_through() {
    let world = World::new();
    let ended = live(&world, async |handle| {
        fund(&world, &handle).await;
        world.outside().kill = Some((Point::Performed, 1));
        // The driver dies with the order at the gateway; whether the caller was answered does not matter here.
        drop(handle.submit(command_id("payout"), payout()).await);
        std::future::pending::<()>().await;
    });
    assert_eq!(ended, Err(Ended::Interrupted(Point::Performed)));
    assert_eq!(world.outside().gateway.executed.len(), 1);
    world.outside().gateway.unreachable = true;
    live(&world, async |handle| {
        quiet(&handle).await;
        // Past the deadline of a day.
        for _ in 0..30 {
            world.advance(3_600_000);
            quiet(&handle).await;
        }
        assert_eq!(status(&handle), Some(Status::Unknown));
        let (signature, body) = settlement(&world);
        handle.webhook(signature, body).await.expect("acknowledged");
        quiet(&handle).await;
        assert_eq!(status(&handle), Some(Status::Settled));
    })
    .expect("lives");
}

#[test]
fn a_secret_that_was_replaced_does_not_stop_recovery() {
    let world = World::new();
    live(&world, async |handle| {
        fund(&world, &handle).await;
        handle
            .submit(command_id("payout"), payout())
            .await
            .expect("ordered");
        quiet(&handle).await;
        let (signature, body) = settlement(&world);
        handle.webhook(signature, body).await.expect("acknowledged");
        quiet(&handle).await;
    })
    .expect("lives");
    let mut rotated = config();
    rotated.webhook_secrets = vec!["the next secret".to_owned()];
    let (_, handle) = Driver::start(rotated, world.ports(), world.store()).expect("starts");
    assert_eq!(status(&handle), Some(Status::Settled));
    let alarms = handle.with_engine(|engine| {
        let alarm = |effect: &Effect| matches!(effect, Effect::WakeAt { .. });
        engine.outstanding().filter(|i| alarm(&i.effect)).count()
    });
    assert!(alarms > 0, "timers are outstanding as before");
}

#[test]
fn nothing_is_stepped_answered_or_sent_before_a_slow_disk_is_done() {
    let world = World::new();
    let (done, slow) = async_channel::bounded(1);
    live(&world, async |handle| {
        fund(&world, &handle).await;
        let records = world.outside().disk.synced.len();
        world.outside().disk.slow = Some(slow);
        let mut answer = Box::pin(handle.submit(command_id("payout"), payout()));
        for _ in 0..50 {
            assert!(futures_util::poll!(&mut answer).is_pending());
            tokio::task::yield_now().await;
        }
        assert_eq!(world.outside().disk.synced.len(), records + 1);
        assert!(!handle.status().is_quiet());
        assert_eq!(status(&handle), None);
        assert!(world.outside().gateway.executed.is_empty());
        world.outside().disk.slow = None;
        done.send(()).await.expect("somebody waits");
        answer.await.expect("answered");
        quiet(&handle).await;
        assert_eq!(world.outside().gateway.executed.len(), 1);
    })
    .expect("lives");
}

#[test]
fn a_kill_while_the_disk_is_slow_leaves_the_record_and_the_repetition_does_nothing_new() {
    let world = World::new();
    let (_never, slow) = async_channel::bounded(1);
    live(&world, async |handle| {
        fund(&world, &handle).await;
        world.outside().disk.slow = Some(slow);
        let mut answer = Box::pin(handle.submit(command_id("payout"), payout()));
        for _ in 0..50 {
            assert!(futures_util::poll!(&mut answer).is_pending());
            tokio::task::yield_now().await;
        }
        // The story ends here, and the driver is dropped where it stands.
    })
    .expect("lives");
    world.outside().disk.slow = None;
    assert!(world.outside().gateway.executed.is_empty());
    live(&world, async |handle| {
        let again = handle.submit(command_id("payout"), payout()).await;
        assert!(again.expect("answered").instructions.is_empty());
        quiet(&handle).await;
        assert_eq!(world.outside().gateway.executed.len(), 1);
    })
    .expect("lives");
}
