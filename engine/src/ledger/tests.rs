//! Owns the tests of postings and holds.

use super::*;
use crate::id::WalletId;

fn party(name: &str) -> PartyId {
    PartyId::new(name).expect("valid")
}

fn payment(name: &str) -> PaymentId {
    PaymentId::new(name).expect("valid")
}

fn btc_of(name: &str) -> Account {
    Account::Party {
        party: party(name),
        asset: Asset::Btc,
    }
}

fn posting(lines: Vec<(Account, i128)>) -> Posting {
    Posting {
        at: Timestamp(7),
        payment: None,
        memo: "test",
        lines,
    }
}

fn order(name: &str, units: u64, expires_at: Option<Timestamp>) -> HoldOrder {
    HoldOrder {
        payment: payment(name),
        hold: Hold {
            party: party("ann"),
            asset: Asset::Btc,
            units,
            expires_at,
        },
    }
}

/// Ann has 100 msat in the channels.
fn books() -> Ledger {
    let mut ledger = Ledger::new();
    ledger.open_party(&party("ann")).expect("new");
    ledger.post(posting(vec![
        (Account::LightningChannels, 100),
        (btc_of("ann"), -100),
    ]));
    ledger
}

#[test]
fn balances_are_the_sums_of_their_lines() {
    let mut ledger = books();
    let booked = ledger.post(posting(vec![
        (btc_of("ann"), 30),
        (Account::LightningChannels, -20),
        (
            Account::ChainWallet {
                wallet: WalletId::hot(),
            },
            -10,
        ),
        (Account::Gateway, 0),
    ]));
    assert_eq!((booked.number, booked.lines.len()), (1, 3));
    assert_eq!(ledger.balance(&btc_of("ann")), -70);
    assert_eq!(ledger.available(&party("ann"), Asset::Btc), 70);
    assert!(ledger.totals().values().all(|total| *total == 0));
}

#[test]
#[should_panic(expected = "do not sum to zero")]
fn one_asset_does_not_pay_for_another() {
    books().post(posting(vec![(btc_of("ann"), 5), (Account::Gateway, -5)]));
}

#[test]
fn the_planted_imbalance_shows_in_the_totals() {
    let mut ledger = Ledger::new();
    ledger.plant(Bug::UnbalancedPosting);
    ledger.post(posting(vec![
        (
            Account::ChainWallet {
                wallet: WalletId::hot(),
            },
            5,
        ),
        (Account::Equity { asset: Asset::Btc }, -5),
    ]));
    assert_eq!(ledger.totals()[&Asset::Btc], 5);
}

#[test]
fn holds_cannot_exceed_what_is_available() {
    let mut ledger = books();
    ledger.place_hold(order("p1", 60, None)).expect("covered");
    let before = ledger.clone();
    let refused = ledger.place_hold(order("p2", 41, None));
    assert!(
        matches!(
            refused,
            Err(HoldRefused::Insufficient {
                available: 40,
                needed: 41,
                ..
            })
        ),
        "{refused:?}"
    );
    assert!(matches!(
        ledger.place_hold(order("p1", 1, None)),
        Err(HoldRefused::Exists { .. })
    ));
    assert_eq!(ledger, before, "refused is unchanged");
    ledger
        .place_hold(order("p2", 40, None))
        .expect("exactly covered");
}

#[test]
fn a_partial_post_releases_the_remainder_once() {
    let mut ledger = books();
    ledger.place_hold(order("p1", 60, None)).expect("covered");
    let lines = || posting(vec![(btc_of("ann"), 45), (Account::LightningChannels, -45)]);
    let over = ledger.post_hold(&payment("p1"), 61, lines());
    assert_eq!(
        over.map(|_| ()),
        Err(HoldRefused::ExceedsHold {
            units: 61,
            held: 60,
            asset: Asset::Btc
        })
    );
    let (event, _) = ledger.post_hold(&payment("p1"), 45, lines()).expect("held");
    assert_eq!(
        event.change,
        HoldChange::Posted {
            units: 45,
            released: 15
        }
    );
    assert_eq!(ledger.available(&party("ann"), Asset::Btc), 55);
    let again = ledger.post_hold(&payment("p1"), 45, lines());
    assert_eq!(
        again.map(|_| ()),
        Err(HoldRefused::NoSuchHold {
            payment: payment("p1")
        })
    );
}

#[test]
fn expiry_and_capture_exclude_each_other() {
    let mut ledger = books();
    ledger
        .place_hold(order("p1", 60, Some(Timestamp(10))))
        .expect("covered");
    assert_eq!(ledger.expire_hold(&payment("p1"), Timestamp(9)), None);
    let expired = ledger
        .expire_hold(&payment("p1"), Timestamp(10))
        .expect("due");
    assert_eq!(expired.change, HoldChange::Expired { units: 60 });
    assert_eq!(
        ledger.void_hold(&payment("p1")),
        Err(HoldRefused::NoSuchHold {
            payment: payment("p1")
        })
    );

    ledger
        .place_hold(order("p2", 60, Some(Timestamp(10))))
        .expect("covered");
    ledger.keep_hold(&payment("p2"));
    assert_eq!(
        ledger.expire_hold(&payment("p2"), Timestamp(99)),
        None,
        "dispatched money does not expire"
    );
    ledger.void_hold(&payment("p2")).expect("held");
    assert_eq!(ledger.available(&party("ann"), Asset::Btc), 100);
}

#[test]
fn the_planted_forgotten_release_keeps_money_locked() {
    let mut ledger = books();
    ledger.plant(Bug::ForgetHoldRelease);
    ledger.place_hold(order("p1", 60, None)).expect("covered");
    ledger.void_hold(&payment("p1")).expect("held");
    assert_eq!(ledger.available(&party("ann"), Asset::Btc), 40);
}
