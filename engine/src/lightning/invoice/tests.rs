//! Owns the tests of reading invoices: the vectors of BOLT 11 ("Examples of Invalid Invoices" and two of the valid
//! ones), and invoices made here for what the vectors do not cover.

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

fn regtest(text: &str, secs: u64) -> Result<CheckedInvoice, InvoiceRefused> {
    check_invoice(text, at(secs), Network::Regtest)
}

#[test]
fn a_payable_invoice_is_read() {
    let checked = regtest(&invoice(Currency::Regtest, Some(12_345)), ISSUED_SECS).expect("payable");
    assert_eq!(checked.payment_hash, [3; 32]);
    assert_eq!(checked.amount_msat, Msat(12_345));
    assert_eq!(checked.expires_at, at(ISSUED_SECS + 60));
    assert_eq!(checked.description, "coffee");
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
    assert_eq!(
        regtest(&invoice(Currency::Regtest, None), ISSUED_SECS),
        Err(InvoiceRefused::NoAmount)
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
    let check = |asked, hash| check_issued(&text, Network::Regtest, Msat(asked), hash);
    assert!(check(1_000, None).is_ok());
    assert!(check(1_000, Some([3; 32])).is_ok());
    assert_eq!(check(1_000, Some([2; 32])), Err(InvoiceRefused::OtherHash));
    let refused = InvoiceRefused::OtherAmount {
        found: Msat(1_000),
        asked: Msat(999),
    };
    assert_eq!(check(999, None), Err(refused));
}

/// BOLT 11, "Examples": a donation of any amount, and 250,000 sat for a coffee with 60 s of expiry.
#[test]
fn vectors_of_bolt_11_valid() {
    let donation = "lnbc1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdpl2pkx2ctnv5sxxmmwwd5kgetjypeh2ursdae8g6twvus8g6rfwvs8qun0dfjkxaq9qrsgq357wnc5r2ueh7ck6q93dj32dlqnls087fxdwk8qakdyafkq3yap9us6v52vjjsrvywa6rt52cm9r9zqt8r2t7mlcwspyetp5h2tztugp9lfyql";
    let coffee = "lnbc2500u1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdq5xysxxatsyp3k7enxv4jsxqzpu9qrsgquk0rl77nj30yxdy8j9vdx85fkpmdla2087ne0xh8nhedh8w27kyke0lp53ut353s06fv3qfegext0eh0ymjpf39tuven09sam30g4vgpfna3rh";
    let mainnet = |text| check_invoice(text, at(1_496_314_658), Network::Bitcoin);
    assert_eq!(mainnet(donation), Err(InvoiceRefused::NoAmount));
    let checked = mainnet(coffee).expect("payable");
    assert_eq!(checked.amount_msat, Msat(250_000_000));
    assert_eq!(checked.description, "1 cup coffee");
    assert_eq!(checked.expires_at, at(1_496_314_658 + 60));
    let payee = "03e7156ae33b0a208d0744199163177e909e80176e55d97a2f221ede0f934dd9ad";
    assert_eq!(checked.payee.to_string(), payee);
}

/// BOLT 11, "Examples of Invalid Invoices".
#[test]
fn vectors_of_bolt_11_invalid() {
    let unknown_feature = "lnbc25m1pvjluezpp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdq5vdhkven9v5sxyetpdeessp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygs9q4psqqqqqqqqqqqqqqqqsgqtqyx5vggfcsll4wu246hz02kp85x4katwsk9639we5n5yngc3yhqkm35jnjw4len8vrnqnf5ejh0mzj9n3vz2px97evektfm2l6wqccp3y7372";
    let bad_checksum = "lnbc2500u1pvjluezpp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdpquwpc4curk03c9wlrswe78q4eyqc7d8d0xqzpuyk0sg5g70me25alkluzd2x62aysf2pyy8edtjeevuv4p2d5p76r4zkmneet7uvyakky2zr4cusd45tftc9c5fh0nnqpnl2jfll544esqchsrnt";
    let no_separator = "pvjluezpp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdpquwpc4curk03c9wlrswe78q4eyqc7d8d0xqzpuyk0sg5g70me25alkluzd2x62aysf2pyy8edtjeevuv4p2d5p76r4zkmneet7uvyakky2zr4cusd45tftc9c5fh0nnqpnl2jfll544esqchsrny";
    let mixed_case = "LNBC2500u1pvjluezpp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdpquwpc4curk03c9wlrswe78q4eyqc7d8d0xqzpuyk0sg5g70me25alkluzd2x62aysf2pyy8edtjeevuv4p2d5p76r4zkmneet7uvyakky2zr4cusd45tftc9c5fh0nnqpnl2jfll544esqchsrny";
    let unrecoverable = "lnbc2500u1pvjluezpp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdq5xysxxatsyp3k7enxv4jsxqzpusp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygs9qrsgqwgt7mcn5yqw3yx0w94pswkpq6j9uh6xfqqqtsk4tnarugeektd4hg5975x9am52rz4qskukxdmjemg92vvqz8nvmsye63r5ykel43pgz7zq0g2";
    let too_short = "lnbc1pvjluezpp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdpl2pkx2ctnv5sxxmmwwd5kgetjypeh2ursdae8g6na6hlh";
    let multiplier = "lnbc2500x1pvjluezpp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdq5xysxxatsyp3k7enxv4jsxqzpusp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygs9qrsgqrrzc4cvfue4zp3hggxp47ag7xnrlr8vgcmkjxk3j5jqethnumgkpqp23z9jclu3v0a7e0aruz366e9wqdykw6dxhdzcjjhldxq0w6wgqcnu43j";
    let submillisatoshi = "lnbc2500000001p1pvjluezpp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdq5xysxxatsyp3k7enxv4jsxqzpusp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygs9qrsgq0lzc236j96a95uv0m3umg28gclm5lqxtqqwk32uuk4k6673k6n5kfvx3d2h8s295fad45fdhmusm8sjudfhlf6dcsxmfvkeywmjdkxcp99202x";
    let refusal =
        |text| check_invoice(text, at(1_496_314_658), Network::Bitcoin).expect_err("invalid");
    for text in [
        bad_checksum,
        no_separator,
        mixed_case,
        too_short,
        multiplier,
    ] {
        assert!(
            matches!(refusal(text), InvoiceRefused::NotBolt11 { .. }),
            "{text}"
        );
    }
    for text in [unknown_feature, submillisatoshi] {
        assert!(
            matches!(refusal(text), InvoiceRefused::Unpayable { .. }),
            "{text}"
        );
    }
    assert_eq!(refusal(unrecoverable), InvoiceRefused::BadSignature);
}
