//! What charges and payouts make of invoices: amounts that the payer chooses, what an invoice says, whose it is, and within
//! which limits it is paid. Owns those rules' tests; reading invoices is tested beside it.
#![allow(
    missing_docs,
    clippy::wildcard_enum_match_arm,
    reason = "tests look for one event among many"
)]

mod outside;

use lockstep_engine::api::{
    Charge, ChargeTerms, Command, Destination, Event, Output, Payout, PayoutTerms, Refusal, Status,
};
use lockstep_engine::ledger::Account;
use lockstep_engine::money::{Asset, Msat, Quantity, Rail, Sat};
use lockstep_engine::onchain::bip21::PaymentUri;
use lockstep_engine::payments::{ChargeRefused, PayoutRefused};
use lockstep_engine::rail::{Description, Effect, Fact};
use lockstep_engine::time::Span;
use outside::*;

const PREIMAGE: [u8; 32] = [1; 32];

fn open_charge(name: &str) -> Charge {
    Charge {
        amount_msat: Msat(0),
        terms: ChargeTerms {
            any_amount: true,
            description: None,
            invoice_too: false,
        },
        ..charge(name, Rail::Lightning, 0)
    }
}

fn paid(o: &Outside, hash: [u8; 32], msat: u64) -> Payout {
    let text = invoice(hash, msat, o.now);
    payout("o1", Destination::Invoice(text), Quantity::btc(Msat(msat)))
}

fn refused(o: &mut Outside, order: Payout) -> PayoutRefused {
    match o.command(Command::CreatePayout(order)) {
        Err(Refusal::Payout { cause }) => cause,
        other => panic!("{other:?}"),
    }
}

fn refused_charge(o: &mut Outside, order: Charge) -> ChargeRefused {
    match o.command(Command::CreateCharge(order)) {
        Err(Refusal::Charge { cause }) => cause,
        other => panic!("{other:?}"),
    }
}

fn pay_effect(out: &Output) -> (Option<Msat>, Msat, Option<u32>) {
    for one in &out.instructions {
        if let Effect::PayInvoice {
            amount_msat,
            max_fee_msat,
            retry_secs,
            ..
        } = &one.effect
        {
            return (*amount_msat, *max_fee_msat, *retry_secs);
        }
    }
    panic!("no invoice is paid by {out:?}")
}

#[test]
fn a_charge_of_any_amount_credits_what_comes() {
    let mut o = Outside::new();
    let out = o.ok(Command::CreateCharge(open_charge("p1")));
    assert!(matches!(
        out.instructions[0].effect,
        Effect::CreateInvoice {
            amount_msat: None,
            ..
        }
    ));
    o.tell(Fact::InvoiceCreated {
        key: key("p1/invoice"),
        result: Ok(issued("p1", hash_of(PREIMAGE), (None, o.now))),
    });
    o.tell(Fact::LightningReceived {
        payment_hash: hash_of(PREIMAGE),
        amount_msat: Msat(1_234_567),
    });
    assert_eq!(
        (o.status("p1"), o.owed(Asset::Btc)),
        (Status::Settled, 1_234_567)
    );
    o.check();
}

#[test]
fn less_than_the_least_is_nobodys() {
    let mut o = Outside::new();
    o.ok(Command::CreateCharge(open_charge("p1")));
    o.tell(Fact::InvoiceCreated {
        key: key("p1/invoice"),
        result: Ok(issued("p1", hash_of(PREIMAGE), (None, o.now))),
    });
    o.tell(Fact::LightningReceived {
        payment_hash: hash_of(PREIMAGE),
        amount_msat: Msat(999),
    });
    assert_eq!((o.status("p1"), o.owed(Asset::Btc)), (Status::Issued, 0));
    let suspense = Account::Suspense {
        rail: Rail::Lightning,
    };
    assert_eq!(o.engine.ledger().balance(&suspense), -999);
    o.check();
}

/// One that names an amount where none was to be named, or says something else, is shown to nobody.
#[test]
fn an_invoice_that_says_something_else_fails_the_charge() {
    for (name, msat, says) in [("p1", Some(5_000), "p1"), ("p2", None, "a cup of tea")] {
        let mut o = Outside::new();
        o.ok(Command::CreateCharge(open_charge(name)));
        let out = o.tell(Fact::InvoiceCreated {
            key: key(&format!("{name}/invoice")),
            result: Ok(issued(says, hash_of(PREIMAGE), (msat, o.now))),
        });
        assert_eq!(names(&out), ["payment_failed"], "{name}");
    }
}

#[test]
fn only_an_invoice_can_say_more() {
    let mut o = Outside::new();
    let onchain = Charge {
        rail: Rail::Onchain,
        ..open_charge("p1")
    };
    let refused_onchain = refused_charge(&mut o, onchain);
    assert!(matches!(
        refused_onchain,
        ChargeRefused::TermsNotOffered { .. }
    ));
    let named = Charge {
        amount_msat: Msat(5_000),
        ..open_charge("p1")
    };
    let amount = Msat(5_000);
    assert_eq!(
        refused_charge(&mut o, named),
        ChargeRefused::AnyAmountNamed { amount }
    );
    let says = |text: String| Charge {
        terms: ChargeTerms {
            any_amount: false,
            description: Some(Description::Text(text)),
            invoice_too: false,
        },
        ..charge("p1", Rail::Lightning, 5_000)
    };
    assert_eq!(
        refused_charge(&mut o, says("x".repeat(640))),
        ChargeRefused::DescriptionTooLong { bytes: 640 }
    );
    let out = o.ok(Command::CreateCharge(says("x".repeat(639))));
    assert!(matches!(
        &out.instructions[0].effect,
        Effect::CreateInvoice { description: Description::Text(text), .. } if text.len() == 639
    ));
}

#[test]
fn an_invoice_over_any_amount_is_paid_over_the_orders() {
    let mut o = Outside::funded();
    let text = open_invoice(hash_of(PREIMAGE), o.now);
    let order = payout(
        "o1",
        Destination::Invoice(text),
        Quantity::btc(Msat(70_000)),
    );
    let out = o.ok(Command::CreatePayout(order));
    assert_eq!(pay_effect(&out), (Some(Msat(70_000)), Msat(10_000), None));
    o.tell(Fact::LightningSent {
        payment_hash: hash_of(PREIMAGE),
        preimage: PREIMAGE,
        fee_msat: Msat(3),
    });
    assert_eq!(o.available(), 1_000_000_000 - 70_003);
    o.check();
}

#[test]
fn an_invoice_of_another_amount_is_not_paid() {
    let mut o = Outside::funded();
    let order = Payout {
        quantity: Quantity::btc(Msat(70_001)),
        ..paid(&o, hash_of(PREIMAGE), 70_000)
    };
    let (invoice, payout) = (Msat(70_000), Msat(70_001));
    assert_eq!(
        refused(&mut o, order),
        PayoutRefused::InvoiceAmountDiffers { invoice, payout }
    );
}

/// The one that a charge has, and any other of the node that made that one.
#[test]
fn our_own_invoices_are_not_paid() {
    let mut o = Outside::funded();
    let other = issued("other", hash_of([9; 32]), (Some(5_000), o.now));
    let order = |text: &str| {
        let destination = Destination::Invoice(text.to_owned());
        payout("o1", destination, Quantity::btc(Msat(5_000)))
    };
    o.ok(Command::CreateCharge(charge("p1", Rail::Lightning, 5_000)));
    o.issue("p1", PREIMAGE, 5_000);
    let own = issued("p1", hash_of(PREIMAGE), (Some(5_000), o.now));
    for text in [own, other] {
        assert_eq!(refused(&mut o, order(&text)), PayoutRefused::InvoiceOurs);
    }
}

#[test]
fn a_payout_has_its_own_budget_and_time() {
    let mut o = Outside::funded();
    let terms = |max_fee_msat: Option<u64>, retry_ms: Option<u64>| PayoutTerms {
        max_fee_msat: max_fee_msat.map(Msat),
        retry_for: retry_ms.map(Span),
    };
    let order = |o: &Outside, terms: PayoutTerms| Payout {
        terms,
        ..paid(o, hash_of(PREIMAGE), 70_000)
    };
    for span in [0, 3_600_001] {
        let order = order(&o, terms(None, Some(span)));
        let refused = refused(&mut o, order);
        assert!(
            matches!(refused, PayoutRefused::RetriesOutOfRange { .. }),
            "{refused:?}"
        );
    }
    let too_much = order(&o, terms(Some(999_930_001), None));
    assert!(matches!(
        refused(&mut o, too_much),
        PayoutRefused::Hold { .. }
    ));
    let good = order(&o, terms(Some(0), Some(90_500)));
    let out = o.ok(Command::CreatePayout(good));
    assert_eq!(pay_effect(&out), (None, Msat(0), Some(91)));
    assert_eq!(o.available(), 1_000_000_000 - 70_000);
    o.check();
}

#[test]
fn only_what_is_routed_has_a_budget() {
    let mut o = Outside::funded();
    let order = Payout {
        terms: PayoutTerms {
            max_fee_msat: Some(Msat(1)),
            retry_for: None,
        },
        ..sepa("o1", 100)
    };
    let rail = Rail::Sepa;
    assert_eq!(
        refused(&mut o, order),
        PayoutRefused::TermsNotOffered { rail }
    );
}

fn unified(o: &mut Outside) {
    o.ok(Command::CreateCharge(Charge {
        terms: ChargeTerms {
            invoice_too: true,
            ..ChargeTerms::default()
        },
        ..charge("p1", Rail::Onchain, 5_000_000)
    }));
}

fn received(msat: u64) -> Fact {
    Fact::LightningReceived {
        payment_hash: hash_of(PREIMAGE),
        amount_msat: Msat(msat),
    }
}

fn suspense_of(o: &Outside, rail: Rail) -> i128 {
    o.engine.ledger().balance(&Account::Suspense { rail })
}

#[test]
fn a_charge_on_chain_is_settled_by_its_invoice_once() {
    let mut o = Outside::new();
    unified(&mut o);
    let out = o.issue("p1", PREIMAGE, 5_000_000);
    let Event::InvoiceAdded { request, .. } = &out.events[0] else {
        panic!("{out:?}")
    };
    let uri = PaymentUri::parse(request).expect("a URI");
    assert_eq!(uri.amount, Some(Sat(5_000)));
    let invoice = uri.lightning.expect("an invoice");
    assert_eq!(
        invoice,
        issued("p1", hash_of(PREIMAGE), (Some(5_000_000), o.now))
    );
    assert_eq!(names(&o.tell(received(5_000_000))), ["payment_settled"]);
    assert_eq!(
        o.tell(received(5_000_000)),
        Default::default(),
        "told again"
    );
    assert_eq!(o.owed(Asset::Btc), 5_000_000);
    o.check();
}

#[test]
fn too_little_or_too_late_by_invoice_is_nobodys() {
    for late in [false, true] {
        let mut o = Outside::new();
        unified(&mut o);
        o.issue("p1", PREIMAGE, 5_000_000);
        if late {
            o.later(3_600);
            assert_eq!(names(&o.fire("p1/expiry")), ["payment_failed"]);
        }
        o.tell(received(if late { 5_000_000 } else { 4_999_999 }));
        assert_eq!(o.owed(Asset::Btc), 0);
        assert_eq!(
            suspense_of(&o, Rail::Lightning),
            if late { -5_000_000 } else { -4_999_999 }
        );
        let status = if late { Status::Failed } else { Status::Issued };
        assert_eq!(o.status("p1"), status);
        o.check();
    }
}

/// The address is there from the beginning; a node that makes no invoice, or another one, costs that way only.
#[test]
fn without_an_invoice_it_is_paid_on_chain() {
    let mut o = Outside::new();
    unified(&mut o);
    let result = Err("down".to_owned());
    let key = key("p1/invoice");
    assert_eq!(
        names(&o.tell(Fact::InvoiceCreated { key, result })),
        Vec::<String>::new()
    );
    assert_eq!(o.status("p1"), Status::Issued);
    let mut o = Outside::new();
    unified(&mut o);
    assert_eq!(
        names(&o.issue("p1", PREIMAGE, 5_000_001)),
        Vec::<String>::new(),
        "another amount"
    );
    o.later(3_600);
    assert_eq!(names(&o.fire("p1/expiry")), ["payment_failed"]);
    o.check();
}
