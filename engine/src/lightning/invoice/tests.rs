//! Owns the tests of reading invoices that were made here, for what the vectors of BOLT 11 do not cover
//! (`tests/tests/vectors/bolt11.rs`).

use super::*;
use bitcoin::hashes::sha256;
use bitcoin::secp256k1::{Secp256k1, SecretKey};
use lightning_invoice::{InvoiceBuilder, PaymentSecret};
use std::time::Duration;

const ISSUED_SECS: u64 = 1_700_000_000;

fn at(secs: u64) -> Timestamp {
    Timestamp(secs.saturating_mul(1_000))
}

fn invoice(currency: Currency, amount_msat: Option<u64>) -> String {
    let key = SecretKey::from_slice(&[5; 32]).expect("a key");
    let builder = InvoiceBuilder::new(currency)
        .description("coffee".to_owned())
        .payment_hash(sha256::Hash::from_byte_array([3; 32]))
        .payment_secret(PaymentSecret([4; 32]))
        .duration_since_epoch(Duration::from_secs(ISSUED_SECS))
        .expiry_time(Duration::from_secs(60))
        .min_final_cltv_expiry_delta(18);
    let builder = match amount_msat {
        Some(msat) => builder.amount_milli_satoshis(msat),
        None => builder,
    };
    let sign =
        |hash: &bitcoin::secp256k1::Message| Secp256k1::new().sign_ecdsa_recoverable(hash, &key);
    builder.build_signed(sign).expect("complete").to_string()
}

fn coffee() -> Description {
    Description::Text("coffee".to_owned())
}

fn payer(secs: u64) -> Payer {
    Payer {
        now: at(secs),
        network: Network::Regtest,
        longest_final_delta_blocks: 1_008,
    }
}

fn regtest(text: &str, secs: u64) -> Result<CheckedInvoice, InvoiceRefused> {
    check_invoice(text, payer(secs))
}

#[test]
fn a_payable_invoice_is_read() {
    let checked = regtest(&invoice(Currency::Regtest, Some(12_345)), ISSUED_SECS).expect("payable");
    assert_eq!(checked.payment_hash, [3; 32]);
    assert_eq!(checked.asks, Some(Msat(12_345)));
    assert_eq!(checked.final_delta_blocks, 18);
    assert_eq!(checked.expires_at, at(ISSUED_SECS + 60));
    assert_eq!(checked.description, coffee());
    let key = SecretKey::from_slice(&[5; 32]).expect("a key");
    assert_eq!(checked.payee, key.public_key(&Secp256k1::new()));
}

#[test]
fn each_refusal_has_its_name() {
    let good = invoice(Currency::Regtest, Some(1_000));
    assert!(regtest(&good, ISSUED_SECS + 59).is_ok());
    let expired_at = at(ISSUED_SECS + 60);
    assert_eq!(
        regtest(&good, ISSUED_SECS + 60),
        Err(InvoiceRefused::Expired { expired_at })
    );
    let open = regtest(&invoice(Currency::Regtest, None), ISSUED_SECS).expect("payable");
    assert_eq!(open.asks, None, "the payer says how much");
    let zero = regtest(&invoice(Currency::Regtest, Some(0)), ISSUED_SECS);
    assert_eq!(zero, Err(InvoiceRefused::ZeroAmount));
    let strict = Payer {
        longest_final_delta_blocks: 17,
        ..payer(ISSUED_SECS)
    };
    let (blocks, most) = (18, 17);
    assert_eq!(
        check_invoice(&good, strict),
        Err(InvoiceRefused::FinalDeltaTooLong { blocks, most })
    );
    let prefixes = [
        (Currency::Bitcoin, "bc"),
        (Currency::BitcoinTestnet, "tb"),
        (Currency::Signet, "tbs"),
        (Currency::Simnet, "sb"),
    ];
    for (currency, prefix) in prefixes {
        let refused = regtest(&invoice(currency, Some(1_000)), ISSUED_SECS);
        let (found, expected) = (prefix.to_owned(), Network::Regtest);
        assert_eq!(
            refused,
            Err(InvoiceRefused::WrongNetwork { found, expected })
        );
    }
    let long = "l".repeat(MAX_INVOICE_BYTES + 1);
    assert_eq!(
        regtest(&long, 0),
        Err(InvoiceRefused::TooLong {
            bytes: MAX_INVOICE_BYTES + 1
        })
    );
}

#[test]
fn what_the_node_issued_must_be_what_was_asked() {
    let text = invoice(Currency::Regtest, Some(1_000));
    let check = |msat, hold_hash| {
        let amount = Some(Msat(msat));
        let description = coffee();
        let asked = Asked {
            amount,
            description,
            hold_hash,
        };
        check_issued(&text, Network::Regtest, asked)
    };
    assert!(check(1_000, None).is_ok());
    assert!(check(1_000, Some([3; 32])).is_ok());
    assert_eq!(check(1_000, Some([2; 32])), Err(InvoiceRefused::OtherHash));
    let refused = InvoiceRefused::OtherAmount {
        found: Msat(1_000),
        asked: Msat(999),
    };
    assert_eq!(check(999, None), Err(refused));
}

#[test]
fn an_invoice_over_any_amount_names_none() {
    let any = Asked {
        amount: None,
        description: coffee(),
        hold_hash: None,
    };
    let open = invoice(Currency::Regtest, None);
    assert!(check_issued(&open, Network::Regtest, any.clone()).is_ok());
    let tea = Asked {
        description: Description::Text("tea".to_owned()),
        ..any.clone()
    };
    assert_eq!(
        check_issued(&open, Network::Regtest, tea),
        Err(InvoiceRefused::OtherDescription)
    );
    let fixed = invoice(Currency::Regtest, Some(1_000));
    let refused = InvoiceRefused::OtherAmount {
        found: Msat(1_000),
        asked: Msat(0),
    };
    assert_eq!(check_issued(&fixed, Network::Regtest, any), Err(refused));
}

/// A parser has one word for features that nobody knows and for those that must be there.
#[test]
fn a_secret_that_is_not_offered_is_none() {
    let key = SecretKey::from_slice(&[5; 32]).expect("a key");
    let made = |spoil: fn(&mut lightning_invoice::RawTaggedField)| {
        let builder = InvoiceBuilder::new(Currency::Regtest)
            .description(String::new())
            .payment_hash(sha256::Hash::from_byte_array([3; 32]))
            .payment_secret(PaymentSecret([4; 32]))
            .duration_since_epoch(Duration::from_secs(ISSUED_SECS))
            .min_final_cltv_expiry_delta(18);
        let mut raw = builder.build_raw().expect("complete");
        raw.data.tagged_fields.iter_mut().for_each(spoil);
        let sign = |hash: &bitcoin::secp256k1::Message| {
            Ok::<_, ()>(Secp256k1::new().sign_ecdsa_recoverable(hash, &key))
        };
        raw.sign(sign).expect("signed").to_string()
    };
    assert!(regtest(&made(|_| {}), ISSUED_SECS).is_ok());
    let bare = made(|field| {
        if let lightning_invoice::RawTaggedField::KnownSemantics(
            lightning_invoice::TaggedField::Features(features),
        ) = field
        {
            features.clear_payment_secret();
        }
    });
    assert_eq!(
        regtest(&bare, ISSUED_SECS),
        Err(InvoiceRefused::NoPaymentSecret)
    );
    let asks_more = made(|field| {
        if let lightning_invoice::RawTaggedField::KnownSemantics(
            lightning_invoice::TaggedField::Features(features),
        ) = field
        {
            features.set_required_custom_bit(1_000).expect("even");
        }
    });
    assert_eq!(
        regtest(&asks_more, ISSUED_SECS),
        Err(InvoiceRefused::UnknownFeature)
    );
}
