//! Owns the keys of a run: all follow from the root seed and a name, so that both worlds use the same ones.
//! They guard nothing but regtest coins. Does not own signing.

use crate::prng::RootSeed;
use bdk_wallet::miniscript::{Descriptor, DescriptorPublicKey};
use bitcoin::bip32::Xpriv;
use bitcoin::{Network, ScriptBuf};
use lockstep_engine::onchain::Descriptors;

/// The network of both worlds.
pub const NETWORK: Network = Network::Regtest;

/// The engine wallet's descriptors (BIP 84 shape): public ones for the engine, private ones for the signer.
pub struct EngineKeys {
    /// Without private keys.
    pub public: Descriptors,
    /// With private keys.
    pub private: Descriptors,
}

/// The engine wallet's keys of this run.
pub fn engine_keys(seed: RootSeed) -> EngineKeys {
    use bitcoin::bip32::{DerivationPath, Xpub};
    use bitcoin::secp256k1::Secp256k1;
    let secp = Secp256k1::new();
    let root = Xpriv::new_master(NETWORK, &seed.bytes("engine wallet"))
        .expect("32 bytes make a master key");
    let path: DerivationPath = "84'/1'/0'".parse().expect("a literal path");
    let account = root
        .derive_priv(&secp, &path)
        .expect("hardened derivation of a fresh key");
    let public = Xpub::from_priv(&secp, &account);
    let descriptors = |key: &str| Descriptors {
        external: format!("wpkh({key}/0/*)"),
        internal: format!("wpkh({key}/1/*)"),
    };
    EngineKeys {
        public: descriptors(&public.to_string()),
        private: descriptors(&account.to_string()),
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

fn parse(text: &str) -> Descriptor<DescriptorPublicKey> {
    text.parse().expect("made by engine_keys")
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The first script of the internal descriptor: opening funds come here, so that no charge is ever given their address.
pub fn opening_script(descriptors: &Descriptors) -> ScriptBuf {
    script_at(&parse(&descriptors.internal), 0)
}
