//! Owns the keys of a run: all follow from the root seed and a name, so that both worlds use the same ones.
//! They guard nothing but regtest coins. Does not own signing.

use crate::prng::RootSeed;
use crate::scenario::{CosignedBy, DidMethod, HOT, OwnedWallet, ScriptKind};
use bdk_wallet::miniscript::{Descriptor, DescriptorPublicKey};
use bitcoin::bip32::{DerivationPath, Xpriv, Xpub};
use bitcoin::hashes::{Hash as _, sha256};
use bitcoin::secp256k1::{Message, Secp256k1, SecretKey};
use bitcoin::{Network, ScriptBuf};
use ed25519_dalek::{Signer as _, SigningKey};
use lockstep_engine::id::{CosignerId, Did};
use lockstep_engine::identity::DidKey;
use lockstep_engine::layer0::did_of_key;
use lockstep_engine::onchain::{Cosigner, Cosigners, Custody, Descriptors, RecoveryKey};

/// The network of both worlds.
pub const NETWORK: Network = Network::Regtest;

/// The descriptors of one of the operator's wallets: public ones for the engine, private ones for the signer.
pub struct WalletKeys {
    /// Without private keys.
    pub public: Descriptors,
    /// With private keys; nobody has them all if several people must sign.
    pub private: Option<Descriptors>,
    /// Who has the keys.
    pub custody: Custody,
}

/// The keys of the wallet `hot` with addresses of the usual kind.
pub fn engine_keys(seed: RootSeed) -> WalletKeys {
    wallet_keys(seed, HOT, ScriptKind::Wpkh)
}

/// The keys of a wallet of the operator's.
pub fn keys_of(seed: RootSeed, wallet: &OwnedWallet) -> WalletKeys {
    let Some(people) = &wallet.cosigners else {
        return wallet_keys(seed, wallet.name.as_str(), wallet.script);
    };
    let cosigners = cosigners(seed, people);
    WalletKeys {
        public: cosigners.descriptors(),
        private: None,
        custody: Custody::Cosigners(cosigners),
    }
}

fn cosigners(seed: RootSeed, people: &CosignedBy) -> Cosigners {
    let person = |name: &crate::scenario::CosignerName| Cosigner {
        name: CosignerId::new(name.as_str()).expect("checked with the scenario"),
        key: cosigner_key(seed, name.as_str()),
    };
    let recovery = people.recovery.as_ref();
    Cosigners {
        threshold: people.threshold,
        of: people.of.iter().map(person).collect(),
        recovery: recovery.map(|(by, after)| RecoveryKey {
            by: person(by),
            after_blocks: after.get() as u16,
        }),
    }
}

/// The account of a cosigner's own wallet (BIP 48, P2WSH).
const COSIGNER_PATH: &str = "48h/1h/0h/2h";

fn cosigner_root(seed: RootSeed, name: &str) -> Xpriv {
    let bytes = seed.bytes(&format!("cosigner {name}"));
    Xpriv::new_master(NETWORK, &bytes).expect("32 bytes make a master key")
}

/// The private key of a cosigner's account; each is from a seed of its own.
pub fn cosigner_account(seed: RootSeed, name: &str) -> Xpriv {
    let path: DerivationPath = COSIGNER_PATH.parse().expect("a literal path");
    cosigner_root(seed, name)
        .derive_priv(&Secp256k1::new(), &path)
        .expect("hardened derivation of a fresh key")
}

/// Its public key with its origin (BIP 380).
fn cosigner_key(seed: RootSeed, name: &str) -> String {
    let secp = Secp256k1::new();
    let origin = cosigner_root(seed, name).fingerprint(&secp);
    let public = Xpub::from_priv(&secp, &cosigner_account(seed, name));
    format!("[{origin}/{COSIGNER_PATH}]{public}")
}

/// The keys of one of the operator's wallets in this run, each from a seed of its own, in the shape of BIP 84 or BIP 86.
pub fn wallet_keys(seed: RootSeed, wallet: &str, script: ScriptKind) -> WalletKeys {
    let secp = Secp256k1::new();
    let name = match wallet {
        HOT => "engine wallet".to_owned(),
        other => format!("engine wallet {other}"),
    };
    let root = Xpriv::new_master(NETWORK, &seed.bytes(&name)).expect("32 bytes make a master key");
    let path = match script {
        ScriptKind::Wpkh => "84'/1'/0'",
        ScriptKind::Tr => "86'/1'/0'",
    };
    let path: DerivationPath = path.parse().expect("a literal path");
    let account = root
        .derive_priv(&secp, &path)
        .expect("hardened derivation of a fresh key");
    let public = Xpub::from_priv(&secp, &account);
    let descriptors = |key: &str| Descriptors {
        external: format!("{script}({key}/0/*)"),
        internal: format!("{script}({key}/1/*)"),
    };
    WalletKeys {
        public: descriptors(&public.to_string()),
        private: Some(descriptors(&account.to_string())),
        custody: Custody::Signer,
    }
}

/// The first scripts of both descriptors, by which the worlds recognise the engine's coins without asking it.
pub fn wallet_scripts(descriptors: &Descriptors) -> Vec<ScriptBuf> {
    [&descriptors.external, &descriptors.internal]
        .into_iter()
        .map(|text| parse(text))
        .flat_map(|descriptor| {
            (0..WATCHED_PER_DESCRIPTOR).map(move |index| script_at(&descriptor, index))
        })
        .collect()
}

/// The script of an address that the engine has given out.
pub fn script_of(address: &str) -> ScriptBuf {
    let address: bitcoin::Address<_> = address.parse().expect("the engine's own words");
    address.assume_checked().script_pubkey()
}

fn parse(text: &str) -> Descriptor<DescriptorPublicKey> {
    text.parse().expect("made by wallet_keys")
}

fn script_at(descriptor: &Descriptor<DescriptorPublicKey>, index: u32) -> ScriptBuf {
    descriptor
        .at_derivation_index(index)
        .expect("a plain wildcard")
        .script_pubkey()
}

/// More addresses than any scenario asks for; the engine itself looks 25 ahead.
const WATCHED_PER_DESCRIPTOR: u32 = 120;

/// The secret that signs the gateway's webhooks.
pub fn webhook_secret(seed: RootSeed) -> String {
    hex(&seed.bytes("webhook secret"))
}

/// The token that the gateway asks for.
pub fn gateway_token(seed: RootSeed) -> String {
    hex(&seed.bytes("gateway token"))
}

/// The token that Layer 0 asks for.
pub fn layer0_token(seed: RootSeed) -> String {
    hex(&seed.bytes("layer 0 token"))
}

/// The secret that signs Layer 0's webhooks.
pub fn layer0_secret(seed: RootSeed) -> String {
    hex(&seed.bytes("layer 0 webhook secret"))
}

/// A party's signature over a text: ECDSA over its SHA-256, 64 bytes in hexadecimal.
///
/// With an Ed25519 key, over the text itself.
pub fn sign_as_party(seed: RootSeed, party: &str, method: DidMethod, text: &str) -> String {
    if method == DidMethod::KeyEd25519 {
        return hex(&ed25519_key(seed, party).sign(text.as_bytes()).to_bytes());
    }
    let digest = sha256::Hash::hash(text.as_bytes()).to_byte_array();
    let key = secret_key(seed, &format!("did of {party}"));
    let signature = Secp256k1::new().sign_ecdsa(&Message::from_digest(digest), &key);
    hex(&signature.serialize_compact())
}

/// As [`sign_as_party`], the 64 bytes themselves.
pub fn signature_of_party(seed: RootSeed, party: &str, method: DidMethod, text: &str) -> [u8; 64] {
    let mut bytes = [0; 64];
    bitcoin::hex::FromHex::from_hex(&sign_as_party(seed, party, method, text))
        .map(|signature| bytes = signature)
        .expect("64 bytes in hexadecimal");
    bytes
}

/// A party's DID.
pub fn party_did(seed: RootSeed, party: &str, method: DidMethod) -> Did {
    let text = match method {
        DidMethod::Key | DidMethod::KeyEd25519 => {
            format!("did:key:{}", party_key(seed, party, method))
        }
        DidMethod::Web => format!("did:web:{party}.example"),
    };
    Did::new(text).expect("a multibase key and a party's name are legal in a DID")
}

fn ed25519_key(seed: RootSeed, party: &str) -> SigningKey {
    SigningKey::from_bytes(&seed.bytes(&format!("did of {party}")))
}

/// A party's public key in multibase.
pub fn party_key(seed: RootSeed, party: &str, method: DidMethod) -> String {
    if method == DidMethod::KeyEd25519 {
        return DidKey::Ed25519(ed25519_key(seed, party).verifying_key()).to_multibase();
    }
    let key = secret_key(seed, &format!("did of {party}"));
    multibase(&did_of_key(&key.public_key(&Secp256k1::new()))).to_owned()
}

/// The operator's key, in whose name outcomes are stated.
pub fn operator_key(seed: RootSeed) -> SecretKey {
    secret_key(seed, "did of the operator")
}

/// The operator's DID.
pub fn operator_did(seed: RootSeed) -> Did {
    did_of_key(&operator_key(seed).public_key(&Secp256k1::new()))
}

fn secret_key(seed: RootSeed, of: &str) -> SecretKey {
    SecretKey::from_slice(&seed.bytes(of)).expect("32 drawn bytes are below the curve's order")
}

/// The public key in a `did:key`, in multibase.
pub fn multibase(did: &Did) -> &str {
    did.as_str().trim_start_matches("did:key:")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The first script of the internal descriptor: opening funds come here, so that no charge is ever given their address.
pub fn opening_script(descriptors: &Descriptors) -> ScriptBuf {
    script_at(&parse(&descriptors.internal), 0)
}
