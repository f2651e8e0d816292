//! Owns the tests of bindings: known keys and signatures, every wrong proof, every way out of every state, and that no
//! sequence of happenings binds a wallet whose proofs and DID were not checked.

mod happenings;
mod keys;

use super::*;
use crate::id::{BindingId, Did, PartyId};
use crate::layer0::{DidRecord, DidState};
use crate::planted::Bug;
use crate::policy::{BindingPolicy, Policy};
use crate::rail::Entropy;
use crate::time::{Span, Timestamp};
use bitcoin::bip32::{Xpriv, Xpub};
use bitcoin::hashes::{Hash as _, sha256};
use bitcoin::hex::DisplayHex as _;
use bitcoin::secp256k1::{Message, Secp256k1, SecretKey};
use bitcoin::{Address, CompressedPublicKey, Network, PrivateKey, ScriptBuf};
use ed25519_dalek::{Signer as _, SigningKey};

const DAY: Span = Span(86_400_000);

fn policy() -> BindingPolicy {
    Policy::regtest_default().binding
}

fn wallet_key(seed: u8) -> PrivateKey {
    let secret = SecretKey::from_slice(&[seed; 32]).expect("a secret key");
    PrivateKey::new(secret, Network::Regtest)
}

fn address(seed: u8) -> Address {
    let public = wallet_key(seed).public_key(&Secp256k1::new());
    Address::p2wpkh(&CompressedPublicKey(public.inner), Network::Regtest)
}

fn proof(seed: u8, text: &str) -> String {
    let wif = wallet_key(seed).to_wif();
    bip322::sign_simple_encoded(&address(seed).to_string(), text, &[wif], None).expect("signs")
}

/// The holder of a DID, of either kind.
enum Holder {
    Ed(SigningKey),
    Secp(SecretKey),
}

impl Holder {
    fn ed(seed: u8) -> Holder {
        Holder::Ed(SigningKey::from_bytes(&[seed; 32]))
    }

    fn secp(seed: u8) -> Holder {
        Holder::Secp(SecretKey::from_slice(&[seed; 32]).expect("a secret key"))
    }

    fn key(&self) -> DidKey {
        match self {
            Holder::Ed(key) => DidKey::Ed25519(key.verifying_key()),
            Holder::Secp(key) => DidKey::Secp256k1(key.public_key(&Secp256k1::new())),
        }
    }

    fn did(&self) -> Did {
        self.key().to_did()
    }

    fn sign(&self, text: &str) -> String {
        match self {
            Holder::Ed(key) => key.sign(text.as_bytes()).to_bytes().to_lower_hex_string(),
            Holder::Secp(key) => {
                let digest = sha256::Hash::hash(text.as_bytes()).to_byte_array();
                let signature = Secp256k1::new().sign_ecdsa(&Message::from_digest(digest), key);
                signature.serialize_compact().to_lower_hex_string()
            }
        }
    }
}

fn id(text: &str) -> BindingId {
    BindingId::new(text).expect("an id")
}

fn order(name: &str, seed: u8, did: &Did) -> RegisterWallet {
    RegisterWallet {
        binding: id(name),
        party: PartyId::new("merchant").expect("an id"),
        did: did.clone(),
        wallet: OwnWallet::Address(address(seed).to_string()),
        purpose: Purpose::Both,
        valid_for: DAY,
    }
}

fn active(did: &Did) -> DidRecord {
    DidRecord {
        did: did.clone(),
        state: DidState::Active,
        keys: Vec::new(),
    }
}

/// A book with one binding, `w`, of the wallet of key 1 and this DID.
fn registered(holder: &Holder) -> (Bindings, Challenge) {
    let mut book = Bindings::new(Network::Regtest);
    let order = order("w", 1, &holder.did());
    book.check_register(&policy(), &order).expect("is taken");
    let challenge = book.register(Timestamp(1_000), Entropy([9; 32]), &policy(), &order);
    (book, challenge)
}

fn answer(holder: &Holder, wallet: u8, challenge: &Challenge) -> ProveWallet {
    ProveWallet {
        binding: id("w"),
        wallet_proof: proof(wallet, &challenge.text),
        did_signature: holder.sign(&challenge.text),
    }
}

fn bound(holder: &Holder) -> (Bindings, Challenge) {
    let (mut book, challenge) = registered(holder);
    let answer = answer(holder, 1, &challenge);
    book.check_prove(Timestamp(2_000), &answer).expect("counts");
    book.prove(&answer);
    let confirmed = book.on_status(Timestamp(3_000), &id("w"), Ok(&active(&holder.did())));
    let until = Timestamp(3_000).plus(DAY);
    assert_eq!(confirmed, Some(Confirmed::Bound { until }));
    (book, challenge)
}

fn owner(book: &Bindings, seed: u8, wanted: Purpose) -> Option<String> {
    let party = PartyId::new("merchant").expect("an id");
    let found = book.owner(&party, &address(seed).script_pubkey(), wanted);
    found.map(|binding| binding.id.to_string())
}

fn state(book: &Bindings) -> &'static str {
    book.get(&id("w")).expect("is there").word()
}

#[test]
fn both_proofs_and_an_active_did_bind() {
    for holder in [Holder::ed(5), Holder::secp(5)] {
        let (book, challenge) = bound(&holder);
        assert_eq!(owner(&book, 1, Purpose::Payouts).as_deref(), Some("w"));
        assert_eq!(owner(&book, 1, Purpose::Charges).as_deref(), Some("w"));
        assert_eq!(owner(&book, 2, Purpose::Payouts), None);
        for part in [
            "binding: w",
            "party: merchant",
            "network: regtest",
            "601000 ms",
        ] {
            assert!(challenge.text.contains(part), "{}", challenge.text);
        }
    }
}

#[test]
fn wrong_proofs_are_refused_and_the_challenge_waits_on() {
    let holder = Holder::ed(5);
    let (book, challenge) = registered(&holder);
    let at = Timestamp(2_000);
    let good = answer(&holder, 1, &challenge);
    let other_wallet = answer(&holder, 2, &challenge);
    let refused = book.check_prove(at, &other_wallet);
    assert!(
        matches!(refused, Err(ProveRefused::Proof { .. })),
        "{refused:?}"
    );
    let other_text = ProveWallet {
        wallet_proof: proof(1, "another challenge"),
        ..good.clone()
    };
    let refused = book.check_prove(at, &other_text);
    assert!(
        matches!(refused, Err(ProveRefused::Proof { .. })),
        "{refused:?}"
    );
    let other_did = ProveWallet {
        did_signature: Holder::ed(6).sign(&challenge.text),
        ..good.clone()
    };
    let refused = book.check_prove(at, &other_did);
    assert!(
        matches!(refused, Err(ProveRefused::Signature { .. })),
        "{refused:?}"
    );
    let late = book.check_prove(challenge.answer_before, &good);
    assert!(
        matches!(late, Err(ProveRefused::ChallengeExpired { .. })),
        "{late:?}"
    );
    assert_eq!(state(&book), "proposed");
    book.check_prove(at, &good).expect("the right one counts");
    let last = Timestamp(challenge.answer_before.0.saturating_sub(1));
    book.check_prove(last, &good).expect("in time");
}

/// The two planted bugs let through what the test above has refused.
#[test]
fn planted_bugs_take_wrong_proofs() {
    let holder = Holder::ed(5);
    let (mut book, challenge) = registered(&holder);
    let other_did = ProveWallet {
        did_signature: Holder::ed(6).sign(&challenge.text),
        ..answer(&holder, 1, &challenge)
    };
    book.plant(Bug::SkipDidSignature);
    assert_eq!(book.check_prove(Timestamp(2_000), &other_did), Ok(()));
    let second = order("v", 2, &holder.did());
    let other = book.register(Timestamp(1_500), Entropy([8; 32]), &policy(), &second);
    let reused = ProveWallet {
        wallet_proof: proof(1, &other.text),
        ..answer(&holder, 1, &challenge)
    };
    assert!(book.check_prove(Timestamp(2_000), &reused).is_err());
    book.plant(Bug::AcceptOtherChallenge);
    assert_eq!(book.check_prove(Timestamp(2_000), &reused), Ok(()));
}

#[test]
fn an_inactive_or_unknown_did_is_refused() {
    let holder = Holder::ed(5);
    let did = holder.did();
    let with = |state| DidRecord {
        state,
        ..active(&did)
    };
    let answers = [
        (
            Ok(with(DidState::Suspended)),
            NotBound::DidNotActive(DidState::Suspended),
        ),
        (
            Ok(with(DidState::Revoked)),
            NotBound::DidNotActive(DidState::Revoked),
        ),
        (Err(NotBound::DidUnknown), NotBound::DidUnknown),
    ];
    for (status, reason) in answers {
        let (mut book, challenge) = registered(&holder);
        book.prove(&answer(&holder, 1, &challenge));
        let status = status.as_ref().map_err(Clone::clone);
        let confirmed = book.on_status(Timestamp(3_000), &id("w"), status);
        assert_eq!(confirmed, Some(Confirmed::Refused { reason }));
        assert_eq!(owner(&book, 1, Purpose::Both), None);
    }
}

/// The keys of other methods come from Layer 0, and so does the check of the signature.
#[test]
fn keys_of_other_methods_come_from_layer_0() {
    let holder = Holder::secp(5);
    let did = Did::new("did:web:merchant.example").expect("a DID");
    let order = order("w", 1, &did);
    let run = |signer: &Holder, keys: Vec<String>| {
        let mut book = Bindings::new(Network::Regtest);
        let challenge = book.register(Timestamp(1_000), Entropy([9; 32]), &policy(), &order);
        let answer = answer(signer, 1, &challenge);
        book.check_prove(Timestamp(2_000), &answer).expect("waits");
        book.prove(&answer);
        let status = DidRecord {
            keys,
            ..active(&did)
        };
        book.on_status(Timestamp(3_000), &id("w"), Ok(&status));
        state(&book)
    };
    let keys = vec![
        Holder::ed(9).key().to_multibase(),
        holder.key().to_multibase(),
    ];
    assert_eq!(run(&holder, keys.clone()), "bound");
    assert_eq!(run(&Holder::ed(4), keys), "refused");
    assert_eq!(run(&holder, Vec::new()), "refused");
    assert_eq!(run(&holder, vec!["zzz".to_owned()]), "refused");
}

#[test]
fn expiry_revocation_and_silence_end_a_binding() {
    let holder = Holder::ed(5);
    let (mut book, _) = bound(&holder);
    let until = Timestamp(3_000).plus(DAY);
    assert!(!book.on_expiry(Timestamp(until.0.saturating_sub(1)), &id("w")));
    assert!(book.on_expiry(until, &id("w")));
    assert_eq!(
        (state(&book), owner(&book, 1, Purpose::Both)),
        ("expired", None)
    );
    let ended = book.check_revoke(&id("w"));
    assert!(matches!(ended, Err(RevokeRefused::Ended { .. })));

    let (mut book, _) = bound(&holder);
    book.check_revoke(&id("w")).expect("can be revoked");
    assert!(book.revoke(&id("w"), RevokedBy::Party));
    assert_eq!(
        (state(&book), owner(&book, 1, Purpose::Both)),
        ("revoked", None)
    );
    assert!(!book.revoke(&id("w"), RevokedBy::Layer0));

    let (mut book, _) = bound(&holder);
    assert_eq!(book.on_did_revoked(&Holder::ed(6).did()), Vec::new());
    assert_eq!(book.on_did_revoked(&holder.did()), vec![id("w")]);
    assert_eq!(owner(&book, 1, Purpose::Both), None);

    let (mut book, _) = registered(&holder);
    assert!(book.on_challenge_over(&id("w")));
    assert_eq!(state(&book), "refused");
}

#[test]
fn a_binding_is_passed_on_by_both_keys_or_after_layer_0_said_so() {
    let (old, new) = (Holder::ed(5), Holder::secp(6));
    let (book, challenge) = bound(&old);
    let text = rotation_text(&id("w"), &challenge, &new.did(), 0);
    let good = RotateDid {
        binding: id("w"),
        to: new.did(),
        old_signature: Some(old.sign(&text)),
        new_signature: new.sign(&text),
    };
    let wrong = [
        RotateDid {
            old_signature: None,
            ..good.clone()
        },
        RotateDid {
            old_signature: Some(new.sign(&text)),
            ..good.clone()
        },
        RotateDid {
            new_signature: old.sign(&text),
            ..good.clone()
        },
        RotateDid {
            to: old.did(),
            ..good.clone()
        },
    ];
    for order in &wrong {
        assert!(book.check_rotate(order).is_err(), "{order:?}");
    }
    let mut passed = book.clone();
    passed.check_rotate(&good).expect("both signed");
    passed.rotate(&good);
    assert_eq!(
        owner(&passed, 1, Purpose::Both),
        None,
        "not before the check"
    );
    passed.on_status(Timestamp(4_000), &id("w"), Ok(&active(&new.did())));
    assert_eq!(owner(&passed, 1, Purpose::Both).as_deref(), Some("w"));
    let until = passed.get(&id("w")).and_then(|binding| binding.until);
    assert_eq!(until, Some(Timestamp(3_000).plus(DAY)), "the end stays");
    assert!(passed.check_rotate(&good).is_err(), "it serves once");

    let mut named = book;
    assert_eq!(named.on_did_rotated(&old.did(), &new.did()), vec![id("w")]);
    assert_eq!(owner(&named, 1, Purpose::Both), None);
    let alone = RotateDid {
        old_signature: None,
        ..good
    };
    named.check_rotate(&alone).expect("the new DID signs alone");
    let third = Holder::ed(7);
    let text = rotation_text(&id("w"), &challenge, &third.did(), 0);
    let other = RotateDid {
        to: third.did(),
        new_signature: third.sign(&text),
        ..alone
    };
    let refused = named.check_rotate(&other);
    assert!(matches!(refused, Err(RotateRefused::OtherDid { .. })));
}

#[test]
fn orders_that_cannot_be_taken_are_refused() {
    let holder = Holder::ed(5);
    let (book, _) = bound(&holder);
    let good = order("v", 2, &holder.did());
    let refused = |change: &dyn Fn(&mut RegisterWallet)| {
        let mut order = good.clone();
        change(&mut order);
        book.check_register(&policy(), &order)
            .expect_err("is refused")
    };
    use RegisterRefused as R;
    assert!(matches!(
        refused(&|o| o.binding = id("w")),
        R::IdUsed { .. }
    ));
    assert!(matches!(
        refused(&|o| o.did = Did::new("did:key:x").expect("a DID")),
        R::Did { .. }
    ));
    assert!(matches!(
        refused(&|o| o.valid_for = Span(0)),
        R::SpanOutOfRange { .. }
    ));
    let same = OwnWallet::Address(address(1).to_string());
    assert!(matches!(
        refused(&|o| o.wallet = same.clone()),
        R::AlreadyBound { .. }
    ));
    let mainnet = OwnWallet::Address("bc1q9vza2e8x573nczrlzms0wvx3gsqjx7vavgkx0l".into());
    assert!(matches!(
        refused(&|o| o.wallet = mainnet.clone()),
        R::Wallet { .. }
    ));
    let few = BindingPolicy {
        most_per_party: 1,
        ..policy()
    };
    let many = book.check_register(&few, &good);
    assert_eq!(many, Err(R::TooMany { most: 1 }));
    book.check_register(&policy(), &good).expect("is taken");
}

#[test]
fn a_descriptor_is_proven_by_its_first_address() {
    let secp = Secp256k1::new();
    let master = Xpriv::new_master(Network::Regtest, &[3; 32]).expect("a seed");
    let public = Xpub::from_priv(&secp, &master);
    let refused = |text: String| scripts_refused(&OwnWallet::Descriptor(text)).expect("is refused");
    assert_eq!(
        refused(format!("wpkh({public}/0)")),
        WalletRefused::NotRanged
    );
    assert_eq!(
        refused(format!("wpkh({public}/<0;1>/*)")),
        WalletRefused::NotRanged
    );
    let multi = format!("wsh(multi(1,{public}/0/*,{public}/1/*))");
    assert_eq!(refused(multi), WalletRefused::NotSingleKey);
    let secret = refused(format!("wpkh({master}/0/*)"));
    assert!(matches!(secret, WalletRefused::Unreadable { .. }));

    let holder = Holder::ed(5);
    let order = RegisterWallet {
        wallet: OwnWallet::Descriptor(format!("wpkh({public}/0/*)")),
        ..order("w", 1, &holder.did())
    };
    let mut book = Bindings::new(Network::Regtest);
    let challenge = book.register(Timestamp(0), Entropy([1; 32]), &policy(), &order);
    let key = |index: u32| {
        let path = [0.into(), index.into()];
        let child = master.derive_priv(&secp, &path).expect("a child");
        PrivateKey::new(child.private_key, Network::Regtest)
    };
    let address = |index: u32| {
        let public = key(index).public_key(&secp);
        Address::p2wpkh(&CompressedPublicKey(public.inner), Network::Regtest)
    };
    let prove = |index: u32| ProveWallet {
        binding: id("w"),
        wallet_proof: bip322::sign_simple_encoded(
            &address(index).to_string(),
            &challenge.text,
            &[key(index).to_wif()],
            None,
        )
        .expect("signs"),
        did_signature: holder.sign(&challenge.text),
    };
    assert!(book.check_prove(Timestamp(1), &prove(1)).is_err());
    book.check_prove(Timestamp(1), &prove(0))
        .expect("the first address");
    book.prove(&prove(0));
    book.on_status(Timestamp(2), &id("w"), Ok(&active(&holder.did())));
    let party = PartyId::new("merchant").expect("an id");
    let owns = |script: ScriptBuf| book.owner(&party, &script, Purpose::Payouts).is_some();
    assert!(owns(address(0).script_pubkey()));
    let last = DESCRIPTOR_SCRIPTS.saturating_sub(1);
    assert!(owns(address(last).script_pubkey()));
    assert!(!owns(address(DESCRIPTOR_SCRIPTS).script_pubkey()));
}

fn scripts_refused(wallet: &OwnWallet) -> Option<WalletRefused> {
    super::wallet::scripts_of(wallet, Network::Regtest).err()
}
