//! Owns the targets of Bitcoin and Lightning: addresses and invoices as typed, and what a signer gives back.

use crate::attack::Verdict;
use crate::outside::{self, NOW};
use bitcoin::base64::prelude::{BASE64_STANDARD, Engine as _};
use bitcoin::{Address, Network, Psbt};
use lockstep::prng::RootSeed;
use lockstep::worlds::keys;
use lockstep_engine::api::{Command, Destination, Engine, Input, Payout};
use lockstep_engine::id::{CommandId, IdempotencyKey, PartyId};
use lockstep_engine::lightning::{Asked, MAX_INVOICE_BYTES, Payer, check_invoice, check_issued};
use lockstep_engine::money::{Asset, Msat, Quantity};
use lockstep_engine::onchain::check_address;
use lockstep_engine::rail::{Effect, Entropy, Fact};
use lockstep_engine::time::Span;
use lockstep_host::adapters::software_signer::SoftwareSigner;
use lockstep_host::ports::Signer;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Whether an engine takes a payout there, of `msat`.
fn paid(destination: Destination, msat: u64) -> bool {
    let order = Payout {
        payment: outside::id("fuzzed"),
        party: PartyId::new("ann").expect("an id"),
        destination,
        quantity: Quantity::btc(Msat(msat)),
        all: false,
        funded_by: Asset::Btc,
        payee: None,
        deadline: Span::secs(60),
        terms: Default::default(),
        wallet: None,
    };
    let input = Input::Command {
        id: CommandId::new("fuzzed").expect("an id"),
        entropy: Entropy([1; 32]),
        command: Command::CreatePayout(order),
    };
    outside::take(&mut outside::engine(), &input).is_ok()
}

/// What can be paid is bounded and over some amount or any; an invoice is the same with blanks around it; what our node issued is read
/// alike.
pub(crate) fn invoice(bytes: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Verdict::Refused;
    };
    let payer = Payer {
        now: NOW,
        network: Network::Regtest,
        longest_final_delta_blocks: 1_008,
    };
    let read = check_invoice(text, payer);
    if let Ok(invoice) = &read {
        assert!(
            text.len() <= MAX_INVOICE_BYTES
                && invoice.asks != Some(Msat(0))
                && invoice.expires_at > NOW
        );
        let again = check_invoice(text.trim(), payer);
        assert_eq!(again.as_ref(), Ok(invoice));
        let asked = Asked {
            amount: invoice.asks,
            description: invoice.description.clone(),
            hold_hash: Some(invoice.payment_hash),
        };
        let issued = check_issued(text, Network::Regtest, asked);
        assert_eq!(issued.as_ref(), Ok(invoice));
        let amount = invoice.asks.map_or(1_000, |asked| asked.0);
        assert!(amount > 100_000_000 || paid(Destination::Invoice(text.to_owned()), amount));
    }
    Verdict::from(&read)
}

/// An address and its script belong together.
pub(crate) fn address(bytes: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Verdict::Refused;
    };
    let script = check_address(text, Network::Regtest);
    if let Ok(script) = &script
        && let Ok(address) = Address::from_script(script, Network::Regtest)
    {
        assert_eq!(
            check_address(&address.to_string(), Network::Regtest).as_ref(),
            Ok(script)
        );
        assert!(paid(Destination::Address(text.to_owned()), 20_000_000));
    }
    Verdict::from(&script)
}

/// What the engine has asked the signer to sign for the payout `store-1`.
fn unsigned(engine: &Engine) -> String {
    let asked = engine
        .outstanding()
        .find_map(|instruction| match &instruction.effect {
            Effect::SignPsbt { psbt } => Some(psbt.clone()),
            _ => None,
        });
    asked.expect("something is to be signed")
}

/// That PSBT (BIP 174, binary) as it was asked for, and as the software signer gives it back.
pub(crate) fn psbts() -> [(&'static str, Vec<u8>); 2] {
    let psbt = unsigned(&outside::engine());
    let keys = keys::engine_keys(RootSeed(1))
        .private
        .expect("one key signs");
    let signer =
        SoftwareSigner::new(&keys.external, &keys.internal, keys::NETWORK).expect("its keys");
    let mut signing = pin!(signer.sign(psbt.clone()));
    let Poll::Ready(signed) = signing
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    else {
        panic!("the software signer waits for nothing")
    };
    let signed = signed.expect("there is a signer").expect("it signs");
    let binary = |text: &str| text.parse::<Psbt>().expect("a PSBT").serialize();
    [
        ("bad-unsigned", binary(&psbt)),
        ("ok-signed", binary(&signed)),
    ]
}

/// A signer's PSBT (binary here) is the payout's transaction with its signatures, or the payout fails. `Accepted`: it is
/// broadcast.
pub(crate) fn signed_psbt(bytes: &[u8]) -> Verdict {
    let mut engine = outside::engine();
    let key = IdempotencyKey("store-1/sign".to_owned());
    let result = Ok(BASE64_STANDARD.encode(bytes));
    let fact = Fact::Signed { key, result };
    let out = outside::step(&mut engine, &fact).expect("an answer that was waited for");
    let broadcast = out
        .instructions
        .iter()
        .any(|i| matches!(i.effect, Effect::Broadcast { .. }));
    if broadcast {
        Verdict::Accepted
    } else {
        Verdict::Refused
    }
}
