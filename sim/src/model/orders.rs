//! Owns which command is refused, as far as the order alone tells (docs/SPEC.md, "Limits", "Payments", "What is checked of
//! outside facts"). Does not own what depends on what happened before (`books`).

use super::terms::{LEAST_CHARGE_MSAT, LONGEST_MS, MOST_CENTS, MOST_MSAT};
use bitcoin::Network;
use bitcoin::address::{Address, NetworkUnchecked};
use bitcoin::hashes::Hash as _;
use bitcoin::secp256k1::PublicKey;
use lightning_invoice::{Bolt11Invoice, Currency};
use lockstep_engine::api::{Charge, ChargeTerms, Destination, Payout, PayoutTerms};
use lockstep_engine::money::{Asset, Rail};
use lockstep_engine::rail::Description;
use lockstep_engine::time::{Span, Timestamp};
use std::fmt;

/// What must be the answer to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prediction {
    /// It must be accepted.
    Accepted,
    /// It must be refused.
    Refused(Why),
    /// Both are right; the words say what it depends on.
    Either(&'static str),
}

/// Why a command must be refused. The engine may name another reason if several apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its id was used for another command.
    CommandIdUsed,
    /// The party has accounts already.
    PartyExists,
    /// The party has no accounts.
    PartyUnknown,
    /// The payment's id was used before.
    PaymentIdUsed,
    /// There is a wallet of that name.
    WalletExists,
    /// There is no wallet of that name.
    WalletUnknown,
    /// The wallet, or one of two, is another owner's, or both are one.
    WalletNotTheirs,
    /// Too many addresses in a row that nobody has paid to.
    GapLimit,
    /// What is labelled is not there.
    Label,
    /// Nobody may recover that wallet's coins alone.
    NoRecovery,
    /// So much must leave another wallet.
    WalletUnfit,
    /// The payment is not known.
    PaymentUnknown,
    /// The reconciliation's id was used before.
    RunIdUsed,
    /// Too much is open.
    TooManyOpen,
    /// The rail does not do this: SEPA charges, held on-chain charges.
    NotOffered,
    /// The rail or the funding does not go with the asset.
    WrongAsset,
    /// Zero, too little, too much, or parts of a satoshi on chain.
    Amount,
    /// Expiry or deadline: none or too long.
    Time,
    /// No invoice, address, IBAN, name or day of that form.
    Malformed,
    /// The invoice asks for another amount, is over, or was tried before.
    InvoiceUnusable,
    /// The party cannot pay amount and reserve.
    Funds,
    /// Nothing of the payment waits for a decision.
    NotHeld,
    /// There is no such binding, or it does not stand where it must, or the wallet is bound already.
    BindingState,
    /// A proof or signature is wrong.
    Proof,
    /// The wallet that is paid is not bound.
    Unbound,
    /// The party is enrolled, or Layer 0 is being asked about it.
    Enrolled,
    /// The charge does not fit its escrow, or the agent of its escrow decides.
    Escrow,
    /// The party owes what was taken back after it was spent.
    Frozen,
}

impl fmt::Display for Prediction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Prediction::Accepted => write!(f, "must be accepted"),
            Prediction::Refused(why) => write!(f, "must be refused ({why:?})"),
            Prediction::Either(doubt) => write!(f, "may be either ({doubt})"),
        }
    }
}

/// Where a payout goes, as the model reads it; `Doubtful`: of a form that it does not know.
pub(super) enum Read {
    Invoice(Invoice),
    Script,
    Account,
    Doubtful,
}

/// What an invoice says.
pub(super) struct Invoice {
    pub(super) hash: [u8; 32],
    /// `None`: whoever pays it says how much.
    pub(super) msat: Option<u64>,
    pub(super) expires: Timestamp,
    pub(super) payee: PublicKey,
    pub(super) final_delta: u64,
}

/// What is wrong with a charge by itself.
pub(super) fn charge(order: &Charge) -> Result<(), Why> {
    match (order.rail, order.hold) {
        (Rail::Sepa, _) | (Rail::Onchain, true) => return Err(Why::NotOffered),
        (Rail::Onchain, false) | (Rail::Lightning, _) => {}
    }
    if order.rail != Rail::Onchain && order.refund_to.is_some() {
        return Err(Why::NotOffered);
    }
    let terms = &order.terms;
    let wrong = match order.rail {
        Rail::Lightning => terms.invoice_too,
        Rail::Onchain if terms.invoice_too => terms.any_amount,
        Rail::Onchain | Rail::Sepa => *terms != ChargeTerms::default(),
    };
    if wrong {
        return Err(Why::NotOffered);
    }
    let words = match &terms.description {
        Some(Description::Text(words)) => words.len(),
        Some(Description::Hash(_)) | None => 0,
    };
    if words > 639 {
        return Err(Why::Malformed);
    }
    let msat = order.amount_msat.0;
    if terms.any_amount {
        return match msat {
            0 => time(order.expires_in),
            _ => Err(Why::Amount),
        };
    }
    let whole = order.rail != Rail::Onchain || msat.is_multiple_of(1_000);
    if !(LEAST_CHARGE_MSAT..=MOST_MSAT).contains(&msat) || !whole {
        return Err(Why::Amount);
    }
    time(order.expires_in)
}

/// What is wrong with a payout by itself, wherever it goes.
pub(super) fn payout(order: &Payout) -> Result<(), Why> {
    let moves = match order.destination {
        Destination::Invoice(_) | Destination::Address(_) => Asset::Btc,
        Destination::Iban { .. } => Asset::Eur,
    };
    if order.quantity.asset != moves || (moves, order.funded_by) == (Asset::Btc, Asset::Eur) {
        return Err(Why::WrongAsset);
    }
    let most = if moves == Asset::Btc {
        MOST_MSAT
    } else {
        MOST_CENTS
    };
    let of_all = moves == Asset::Btc && order.quantity.units == 0;
    match order.all {
        true if matches!(order.destination, Destination::Invoice(_)) => {
            return Err(Why::NotOffered);
        }
        true if of_all => {}
        false if (1..=most).contains(&order.quantity.units) => {}
        true | false => return Err(Why::Amount),
    }
    let routed = matches!(order.destination, Destination::Invoice(_));
    if !routed && order.terms != PayoutTerms::default() {
        return Err(Why::NotOffered);
    }
    let retries = order.terms.retry_for;
    if retries.is_some_and(|span| span.0 == 0 || span > order.deadline) {
        return Err(Why::Time);
    }
    time(order.deadline)
}

fn time(span: Span) -> Result<(), Why> {
    if (1..=LONGEST_MS).contains(&span.0) {
        Ok(())
    } else {
        Err(Why::Time)
    }
}

/// What is wrong with a payout's destination.
pub(super) fn destination(order: &Payout, network: Network) -> Result<Read, Why> {
    match &order.destination {
        Destination::Invoice(text) => invoice(text, network),
        Destination::Address(text) => address(text, network, named(order)),
        Destination::Iban { iban, name } => account(iban, name),
    }
}

/// BOLT 11, at most 7,089 bytes (the most that fits a QR code), of our network, over some amount or none.
pub(super) fn invoice(text: &str, network: Network) -> Result<Read, Why> {
    let read: Option<Bolt11Invoice> = text.trim().parse().ok().filter(|_| text.len() <= 7_089);
    let invoice = read.ok_or(Why::Malformed)?;
    let ours = match invoice.currency() {
        Currency::Bitcoin => network == Network::Bitcoin,
        Currency::Regtest => network == Network::Regtest,
        _ => return Ok(Read::Doubtful),
    };
    let msat = invoice.amount_milli_satoshis();
    if msat == Some(0) || !ours {
        return Err(Why::Malformed);
    }
    let over = invoice
        .duration_since_epoch()
        .saturating_add(invoice.expiry_time());
    Ok(Read::Invoice(Invoice {
        hash: invoice.payment_hash().to_byte_array(),
        msat,
        expires: Timestamp(over.as_secs().saturating_mul(1_000)),
        payee: invoice.get_payee_pub_key(),
        final_delta: invoice.min_final_cltv_expiry_delta(),
    }))
}

/// What an order on chain names as its amount: nothing if all is to go.
fn named(order: &Payout) -> Option<u64> {
    (!order.all).then_some(order.quantity.units)
}

/// The address of a payment URI (BIP 21) that asks for this amount or for none, without requirements and encodings.
fn of_uri(uri: &str, msat: Option<u64>) -> Result<&str, Why> {
    let (address, query) = uri.split_once('?').unwrap_or((uri, ""));
    for parameter in query.split('&') {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
        let digits = format!("{whole}{fraction:0<8}");
        let asks = digits
            .parse::<u64>()
            .ok()
            .map(|sat| sat.saturating_mul(1_000));
        if key.starts_with("req-") || (key == "amount" && (asks != msat || asks.is_none())) {
            return Err(Why::Malformed);
        }
    }
    Ok(address)
}

/// The address of a destination, by itself or in a payment URI, whatever its network.
fn plain_address(text: &str, msat: Option<u64>) -> Result<Address<NetworkUnchecked>, Why> {
    let text = match text.trim().split_once(':') {
        Some((scheme, uri)) if scheme.eq_ignore_ascii_case("bitcoin") => of_uri(uri, msat)?,
        _ => text.trim(),
    };
    text.parse().map_err(|_| Why::Malformed)
}

/// The script that a payout on chain pays; `None` if it goes another way or nowhere.
pub fn paid_script(order: &Payout) -> Option<bitcoin::ScriptBuf> {
    let Destination::Address(text) = &order.destination else {
        return None;
    };
    let address = plain_address(text, named(order)).ok()?;
    Some(address.assume_checked().script_pubkey())
}

/// An address of our network, by itself or in a payment URI; whole satoshi, at least the dust limit (Bitcoin Core's, by script).
fn address(text: &str, network: Network, msat: Option<u64>) -> Result<Read, Why> {
    let checked = plain_address(text, msat)?.require_network(network).ok();
    let script = checked.ok_or(Why::Malformed)?.script_pubkey();
    let dust = script.minimal_non_dust().to_sat();
    if msat.is_none_or(|msat| msat.is_multiple_of(1_000) && msat / 1_000 >= dust) {
        Ok(Read::Script)
    } else {
        Err(Why::Amount)
    }
}

/// ISO 13616 and a name of 1 to 70 printable characters. Only Germany's length is known here; the others are left open.
fn account(iban: &str, name: &str) -> Result<Read, Why> {
    let iban: String = iban.chars().filter(|c| *c != ' ').collect();
    let iban = iban.to_ascii_uppercase();
    let named = !name.trim().is_empty() && !name.chars().any(char::is_control);
    if !named || name.chars().count() > 70 || !iban.is_ascii() || iban.len() < 5 {
        return Err(Why::Malformed);
    }
    let (country, check, rest) = (&iban[..2], &iban[2..4], &iban[4..]);
    let checked = matches!(check.parse(), Ok(2..=98)) && !check.contains('+');
    let digits = format!("{rest}{country}{check}");
    let remainder = digits.chars().try_fold(0, |sum: u32, c| {
        let value = c.to_digit(36)?;
        Some((sum * if value > 9 { 100 } else { 10 } + value) % 97)
    });
    if !checked || remainder != Some(1) || (country == "DE" && iban.len() != 22) {
        Err(Why::Malformed)
    } else if country == "DE" {
        Ok(Read::Account)
    } else {
        Ok(Read::Doubtful)
    }
}

/// A day of the form YYYY-MM-DD; beyond the 28th the month decides.
pub(super) fn day(text: &str) -> Prediction {
    let numbers: Vec<Option<u32>> = text.split('-').map(|part| part.parse().ok()).collect();
    match (numbers.as_slice(), text.len()) {
        ([Some(_), Some(1..=12), Some(1..=28)], 10) => Prediction::Accepted,
        ([Some(_), Some(1..=12), Some(29..=31)], 10) => Prediction::Either("the month's length"),
        _ => Prediction::Refused(Why::Malformed),
    }
}
