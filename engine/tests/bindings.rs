//! Owns the tests of bound wallets through the engine's door: what Layer 0's answers, silence and webhooks do to a binding, and
//! what a binding's end does to a payout that waits for its signature.
#![allow(
    missing_docs,
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    reason = "tests look for one event among many"
)]

mod outside;

use bitcoin::hex::DisplayHex as _;
use bitcoin::secp256k1::{Message, Secp256k1, SecretKey};
use bitcoin::{Address, CompressedPublicKey, Network, PrivateKey};
use lockstep_engine::api::{
    Command, Destination, Engine, EngineConfig, Event, FailureReason, Output, Refusal, Status,
};
use lockstep_engine::fiat::sign_webhook;
use lockstep_engine::id::{BindingId, Did};
use lockstep_engine::identity::{
    BindingState, DidKey, OwnWallet, ProveWallet, Purpose, RegisterWallet,
};
use lockstep_engine::money::{Msat, Quantity, Rail};
use lockstep_engine::payments::{FactRefused, PayoutRefused};
use lockstep_engine::policy::{BindingAsked, Policy};
use lockstep_engine::rail::{Effect, Fact, HttpFailure};
use lockstep_engine::time::Span;
use outside::*;

const LAYER0_SECRET: &str = "whsec_layer0";

fn asking() -> EngineConfig {
    let mut policy = Policy::regtest_default();
    policy.binding.asked = BindingAsked::Payouts;
    EngineConfig {
        policy,
        layer0_secrets: vec![LAYER0_SECRET.to_owned()],
        ..config()
    }
}

/// The same, and payouts wait a minute for each other.
fn gathering() -> EngineConfig {
    let mut config = asking();
    config.policy.paying.batching.window = Span::secs(60);
    config
}

/// An engine whose policy asks for bindings, with the party `ann`.
fn outside_asking() -> Outside {
    outside_with(asking())
}

fn outside_with(config: EngineConfig) -> Outside {
    let mut o = Outside::new();
    o.engine = Engine::new(config).expect("a usable configuration");
    o.accepted.clear();
    o.ok(Command::OpenParty {
        party: party("ann"),
    });
    o
}

fn folds(o: &Outside) {
    folds_with(o, asking());
}

fn folds_with(o: &Outside, config: EngineConfig) {
    let mut folded = Engine::new(config).expect("a usable configuration");
    for (at, input) in &o.accepted {
        folded.step_recorded(*at, input).expect("accepted before");
    }
    assert_eq!(folded.digest(), o.engine.digest());
}

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_slice(&[seed; 32]).expect("a key")
}

fn did() -> Did {
    DidKey::Secp256k1(secret(70).public_key(&Secp256k1::new())).to_did()
}

fn address() -> Address {
    address_of(71)
}

fn address_of(seed: u8) -> Address {
    let key = CompressedPublicKey(secret(seed).public_key(&Secp256k1::new()));
    Address::p2wpkh(&key, Network::Regtest)
}

fn home() -> BindingId {
    BindingId::new("home").expect("an id")
}

fn register(o: &mut Outside) -> String {
    register_as(o, home(), 71)
}

/// The wallet of this key.
fn register_as(o: &mut Outside, binding: BindingId, seed: u8) -> String {
    let output = o.ok(Command::RegisterWallet(RegisterWallet {
        binding,
        party: party("ann"),
        did: did(),
        wallet: OwnWallet::Address(address_of(seed).to_string()),
        purpose: Purpose::Both,
        valid_for: Span::secs(86_400),
    }));
    match &output.events[..] {
        [Event::WalletRegistered { challenge, .. }] => challenge.clone(),
        other => panic!("{other:?}"),
    }
}

fn answer(challenge: &str) -> Command {
    answer_as(home(), 71, challenge)
}

fn answer_as(binding: BindingId, seed: u8, challenge: &str) -> Command {
    use bitcoin::hashes::{Hash as _, sha256};
    let wif = PrivateKey::new(secret(seed), Network::Regtest).to_wif();
    let address = address_of(seed).to_string();
    let wallet_proof =
        bip322::sign_simple_encoded(&address, challenge, &[wif], None).expect("signs");
    let digest = sha256::Hash::hash(challenge.as_bytes()).to_byte_array();
    let signature = Secp256k1::new().sign_ecdsa(&Message::from_digest(digest), &secret(70));
    Command::ProveWallet(ProveWallet {
        binding,
        wallet_proof,
        did_signature: signature.serialize_compact().to_lower_hex_string(),
    })
}

fn says(o: &mut Outside, state: &str) -> Output {
    let did = did();
    let body = format!(r#"{{"did":"{did}","state":"{state}","keys":[]}}"#);
    o.responds("binding:home/status-0", 200, &body)
}

fn bound() -> Outside {
    let mut o = outside_asking();
    let challenge = register(&mut o);
    o.ok(answer(&challenge));
    assert_eq!(names(&says(&mut o, "active")), ["wallet_bound"]);
    o
}

fn stands(o: &Outside) -> &'static str {
    let binding = o.engine.payments().bindings().get(&home());
    binding.expect("registered").word()
}

fn order(name: &str, to: &Address) -> Command {
    Command::CreatePayout(payout(
        name,
        Destination::Address(to.to_string()),
        Quantity::btc(Msat(50_000_000)),
    ))
}

/// Ann owns 400,000 sat on chain, and the coins are there.
fn with_coins(o: &mut Outside) {
    let output = o.ok(Command::CreateCharge(charge(
        "fund",
        Rail::Onchain,
        400_000_000,
    )));
    let transaction = pays(&watched(&output), 400_000, "fund");
    let blocks = branch("a", 0..=1);
    let seen = confirmed(&transaction, blocks[1]);
    o.tell(look(blocks, vec![seen]));
    assert_eq!(o.status("fund"), Status::Settled);
}

fn news(o: &Outside, secret: &str, kind: &str) -> Fact {
    let (did, created) = (did(), o.now.as_secs());
    let body =
        format!(r#"{{"id":"e1","type":"{kind}","created":{created},"data":{{"did":"{did}"}}}}"#);
    Fact::Webhook {
        signature: sign_webhook(secret, o.now, &body),
        body,
    }
}

#[test]
fn layer_0_is_asked_again_until_it_answers() {
    let mut o = outside_asking();
    let challenge = register(&mut o);
    o.ok(answer(&challenge));
    let asked = o.outstanding("binding:home/status-0").expect("asked");
    assert!(matches!(asked.effect, Effect::CallLayer0 { .. }));
    assert!(o.outstanding("binding:home/answer-by").is_none());
    for attempt in 1..=3 {
        let silent = o.tell(Fact::HttpFailed {
            key: key("binding:home/status-0"),
            failure: HttpFailure::TimedOut,
        });
        assert_eq!(silent.events, []);
        let retry = format!("binding:home/retry-0-{attempt}");
        let wait = o.outstanding(&retry).expect("waits");
        assert!(matches!(wait.effect, Effect::WakeAt { at } if at > o.now));
        o.later(700);
        o.fire(&retry);
    }
    assert_eq!(stands(&o), "checking");
    assert_eq!(names(&says(&mut o, "active")), ["wallet_bound"]);
    folds(&o);
}

#[test]
fn what_layer_0_does_not_call_active_is_not_bound() {
    for state in ["suspended", "revoked"] {
        let mut o = outside_asking();
        let challenge = register(&mut o);
        o.ok(answer(&challenge));
        assert_eq!(names(&says(&mut o, state)), ["wallet_not_bound"]);
        assert_eq!(stands(&o), "refused");
        folds(&o);
    }
    let mut o = outside_asking();
    let challenge = register(&mut o);
    o.ok(answer(&challenge));
    let unknown = o.responds("binding:home/status-0", 404, "{}");
    assert_eq!(names(&unknown), ["wallet_not_bound"]);
}

#[test]
fn a_challenge_and_a_binding_have_their_time() {
    let mut o = outside_asking();
    let challenge = register(&mut o);
    o.later(600);
    let late = o.command(answer(&challenge));
    assert!(matches!(late, Err(Refusal::Prove { .. })), "{late:?}");
    assert_eq!(
        names(&o.fire("binding:home/answer-by")),
        ["wallet_not_bound"]
    );
    folds(&o);

    let mut o = bound();
    o.later(86_400);
    assert_eq!(names(&o.fire("binding:home/expiry")), ["binding_ended"]);
    assert_eq!(stands(&o), "expired");
    folds(&o);
}

#[test]
fn a_payout_to_a_stranger_is_refused() {
    let mut o = bound();
    with_coins(&mut o);
    let key = CompressedPublicKey(secret(72).public_key(&Secp256k1::new()));
    let stranger = Address::p2wpkh(&key, Network::Regtest);
    let refused = o.command(order("p1", &stranger));
    assert!(
        matches!(
            refused,
            Err(Refusal::Payout {
                cause: PayoutRefused::NotBound { .. }
            })
        ),
        "{refused:?}"
    );
    o.ok(order("p2", &address()));
    assert!(o.outstanding("p2/sign").is_some());
}

/// The signer has the transaction and has not answered: it is not asked any more, its answer comes too late, and coins and
/// money are free again.
#[test]
fn a_revocation_stops_a_payout_that_is_being_signed() {
    let mut o = bound();
    with_coins(&mut o);
    let available = o.available();
    let output = o.ok(order("p1", &address()));
    let psbt = output
        .instructions
        .iter()
        .find_map(|one| match &one.effect {
            Effect::SignPsbt { psbt } => Some(psbt.clone()),
            _ => None,
        });
    let psbt = psbt.expect("to be signed");
    let ended = o.ok(Command::RevokeWallet { binding: home() });
    assert_eq!(names(&ended), ["binding_ended", "payment_failed"]);
    assert!(ended.events.contains(&Event::PaymentFailed {
        payment: payment("p1"),
        reason: FailureReason::BindingEnded,
    }));
    assert_eq!(o.available(), available);
    let late = o.fact(Fact::Signed {
        key: key("p1/sign"),
        result: Ok(signed(&psbt)),
    });
    assert!(matches!(late, Err(Refusal::NotOutstanding { .. })));
    assert_eq!(o.status("p1"), Status::Failed);
    folds(&o);
}

/// Two payouts wait for one signature. The one whose binding ends fails; the other is paid by a transaction of its own under
/// a fresh key, and what the signer still says of theirs counts for nothing.
#[test]
fn a_revocation_takes_one_payout_out_of_a_batch() {
    let mut o = outside_with(gathering());
    let challenge = register(&mut o);
    o.ok(answer(&challenge));
    says(&mut o, "active");
    let shop = BindingId::new("shop").expect("an id");
    let challenge = register_as(&mut o, shop.clone(), 73);
    o.ok(answer_as(shop, 73, &challenge));
    let body = format!(r#"{{"did":"{}","state":"active","keys":[]}}"#, did());
    o.responds("binding:shop/status-0", 200, &body);
    with_coins(&mut o);
    o.ok(order("p1", &address()));
    o.ok(order("p2", &address_of(73)));
    assert!(o.outstanding("p1/sign").is_none(), "they wait for others");
    o.later(60);
    let batched = o.fire("p1/ripe");
    assert_eq!(names(&batched)[0], "payouts_batched");
    let ended = o.ok(Command::RevokeWallet { binding: home() });
    assert_eq!(
        names(&ended),
        [
            "binding_ended",
            "batch_dissolved",
            "batch_dissolved",
            "payment_failed",
            "transaction_built"
        ]
    );
    assert!(o.outstanding("p1/sign").is_none());
    let again = o.outstanding("p2/sign").expect("begun anew");
    let Effect::SignPsbt { psbt } = again.effect else {
        panic!("{again:?}");
    };
    let paid = psbt.parse::<bitcoin::Psbt>().expect("a PSBT").unsigned_tx;
    let pays = |seed: u8| {
        let script = address_of(seed).script_pubkey();
        paid.output.iter().any(|to| to.script_pubkey == script)
    };
    assert_eq!((pays(71), pays(73)), (false, true));
    o.tell(Fact::Signed {
        key: key("p2/sign"),
        result: Ok(signed(&psbt)),
    });
    assert_eq!(o.status("p1"), Status::Failed);
    assert_eq!(o.status("p2"), Status::Dispatched);
    folds_with(&o, gathering());
}

/// Nothing was built for it yet.
#[test]
fn a_revocation_ends_a_payout_that_waits_for_others() {
    let mut o = outside_with(gathering());
    let challenge = register(&mut o);
    o.ok(answer(&challenge));
    says(&mut o, "active");
    with_coins(&mut o);
    let available = o.available();
    o.ok(order("p1", &address()));
    let ended = o.ok(Command::RevokeWallet { binding: home() });
    assert_eq!(names(&ended), ["binding_ended", "payment_failed"]);
    assert_eq!(o.available(), available);
    o.later(60);
    o.fire("p1/ripe");
    assert!(o.outstanding("p1/sign").is_none());
    folds_with(&o, gathering());
}

#[test]
fn a_revocation_after_the_broadcast_is_only_told() {
    let mut o = bound();
    with_coins(&mut o);
    let output = o.ok(order("p1", &address()));
    let psbt = output
        .instructions
        .iter()
        .find_map(|one| match &one.effect {
            Effect::SignPsbt { psbt } => Some(psbt.clone()),
            _ => None,
        });
    o.tell(Fact::Signed {
        key: key("p1/sign"),
        result: Ok(signed(&psbt.expect("to be signed"))),
    });
    let fact = news(&o, LAYER0_SECRET, "did.revoked");
    let ended = o.tell(fact);
    assert_eq!(names(&ended), ["binding_ended", "binding_ended_too_late"]);
    assert_eq!(o.status("p1"), Status::Dispatched);
    folds(&o);
}

/// Whoever can sign the gateway's webhooks can revoke nobody, and the other way round.
#[test]
fn layer_0_has_a_secret_of_its_own() {
    let mut o = bound();
    let forged = news(&o, SECRET, "did.revoked");
    let refused = o.fact(forged);
    assert!(
        matches!(
            refused,
            Err(Refusal::Fact {
                cause: FactRefused::Webhook { .. }
            })
        ),
        "{refused:?}"
    );
    assert_eq!(stands(&o), "bound");
    let unknown = news(&o, LAYER0_SECRET, "did.renamed");
    assert_eq!(names(&o.tell(unknown)), ["webhook_ignored"]);
    let genuine = news(&o, LAYER0_SECRET, "did.revoked");
    assert_eq!(names(&o.tell(genuine.clone())), ["binding_ended"]);
    assert_eq!(names(&o.tell(genuine)), ["webhook_ignored"]);
    let state = &o
        .engine
        .payments()
        .bindings()
        .get(&home())
        .expect("registered")
        .state;
    assert!(matches!(state, BindingState::Revoked { .. }));
    folds(&o);
}
