//! Owns who must sign for a wallet of several keys: its cosigners, how many of them, who may recover its coins when they
//! are lost, and the descriptors that follow from that. Does not own what a cosigner answers (`cosign`).
//!
//! With a recovery key the script is `wsh(or_d(multi(m,…),and_v(v:pk(R),older(n))))`, without one
//! `wsh(sortedmulti(m,…))` (BIP 67, BIP 383).

use super::Descriptors;
use crate::id::CosignerId;
use bdk_wallet::miniscript::descriptor::{DescriptorXKey, Wildcard};
use bdk_wallet::miniscript::{Descriptor, DescriptorPublicKey};
use bitcoin::bip32::{ChildNumber, DerivationPath, Xpub};
use bitcoin::secp256k1::{PublicKey, Secp256k1, Verification};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The most keys of one CHECKMULTISIG (consensus, `MAX_PUBKEYS_PER_MULTISIG`).
pub const MOST_COSIGNERS: usize = 20;

/// Somebody with one of the keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cosigner {
    /// By which he is asked.
    pub name: CosignerId,
    /// His extended public key with its origin (BIP 380 key expression without wildcard): `[fingerprint/path]tpub…`.
    pub key: String,
}

/// Who may spend alone when coins have not moved for long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryKey {
    /// Holder of the key.
    pub by: Cosigner,
    /// Confirmations that a coin needs first (BIP 68, BIP 112).
    pub after_blocks: u16,
}

/// Who must sign for a wallet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cosigners {
    /// How many of them.
    pub threshold: u32,
    /// In the order in which they are asked.
    pub of: Vec<Cosigner>,
    /// The way out, if there is one.
    pub recovery: Option<RecoveryKey>,
}

/// Why cosigners make no wallet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CosignersRefused {
    /// None, more than there are, or too many keys.
    #[error(
        "{threshold} of {keys} cosigners cannot be asked for: 1 to {MOST_COSIGNERS} keys, and no more signatures than keys"
    )]
    Threshold {
        /// Asked for.
        threshold: u32,
        /// Given.
        keys: usize,
    },
    /// Two people of one name, or one key twice: one person would count for two.
    #[error("cosigner `{name}` is named twice, or has a key that another one has")]
    Twice {
        /// Who.
        name: CosignerId,
    },
    /// Not an extended public key without wildcard.
    #[error("the key of cosigner `{name}` is not an extended public key without wildcard")]
    Key {
        /// Whose.
        name: CosignerId,
    },
    /// The recovery key could spend at once.
    #[error("a recovery after 0 blocks is no recovery")]
    RecoveryAtOnce,
    /// The wallet's descriptors ask for other signatures.
    #[error("the descriptors are not those of these cosigners")]
    OtherDescriptors,
}

impl Cosigners {
    /// The descriptors that these cosigners make.
    pub fn descriptors(&self) -> Descriptors {
        Descriptors {
            external: self.descriptor(0),
            internal: self.descriptor(1),
        }
    }

    fn descriptor(&self, chain: u32) -> String {
        let key = |cosigner: &Cosigner| format!("{}/{chain}/*", cosigner.key);
        let keys: Vec<String> = self.of.iter().map(key).collect();
        let (threshold, keys) = (self.threshold, keys.join(","));
        match &self.recovery {
            None => format!("wsh(sortedmulti({threshold},{keys}))"),
            Some(recovery) => {
                let (by, after) = (key(&recovery.by), recovery.after_blocks);
                format!("wsh(or_d(multi({threshold},{keys}),and_v(v:pk({by}),older({after}))))")
            }
        }
    }

    /// Everybody with a key, the recovery's holder last.
    pub fn all(&self) -> impl Iterator<Item = &Cosigner> {
        let recovery = self.recovery.iter().map(|recovery| &recovery.by);
        self.of.iter().chain(recovery)
    }

    /// Whether they make sense, and `descriptors` are theirs.
    pub fn check(&self, descriptors: &Descriptors) -> Result<(), CosignersRefused> {
        let (threshold, keys) = (self.threshold, self.of.len());
        let enough = usize::try_from(threshold).is_ok_and(|least| least <= keys);
        if threshold == 0 || !enough || keys > MOST_COSIGNERS {
            return Err(CosignersRefused::Threshold { threshold, keys });
        }
        let mut names = BTreeSet::new();
        let mut xpubs = BTreeSet::new();
        for cosigner in self.all() {
            let name = || cosigner.name.clone();
            let key = cosigner
                .xkey()
                .ok_or_else(|| CosignersRefused::Key { name: name() })?;
            if !names.insert(&cosigner.name) || !xpubs.insert(key.xkey.to_string()) {
                return Err(CosignersRefused::Twice { name: name() });
            }
        }
        let at_once = |recovery: &RecoveryKey| recovery.after_blocks == 0;
        if self.recovery.as_ref().is_some_and(at_once) {
            return Err(CosignersRefused::RecoveryAtOnce);
        }
        let theirs = self.descriptors();
        let same = same_descriptor(&theirs.external, &descriptors.external)
            && same_descriptor(&theirs.internal, &descriptors.internal);
        match same {
            true => Ok(()),
            false => Err(CosignersRefused::OtherDescriptors),
        }
    }
}

fn same_descriptor(one: &str, other: &str) -> bool {
    let parsed = |text: &str| text.parse::<Descriptor<DescriptorPublicKey>>().ok();
    match (parsed(one), parsed(other)) {
        (Some(one), Some(other)) => one == other,
        (None, _) | (_, None) => false,
    }
}

impl Cosigner {
    fn xkey(&self) -> Option<DescriptorXKey<Xpub>> {
        match self.key.parse() {
            Ok(DescriptorPublicKey::XPub(key)) if key.wildcard == Wildcard::None => Some(key),
            Ok(
                DescriptorPublicKey::XPub(_)
                | DescriptorPublicKey::Single(_)
                | DescriptorPublicKey::MultiXPub(_),
            )
            | Err(_) => None,
        }
    }

    /// His key at a place of a wallet: the last two steps of the path are chain and index.
    pub(super) fn key_at<C: Verification>(
        &self,
        path: &DerivationPath,
        secp: &Secp256k1<C>,
    ) -> Option<PublicKey> {
        let steps: &[ChildNumber] = path.as_ref();
        let last = steps.get(steps.len().checked_sub(2)?..)?;
        let key = self.xkey()?;
        let below = key.derivation_path.extend(last);
        let child = key.xkey.derive_pub(secp, &below).ok()?;
        Some(child.public_key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::Network;
    use bitcoin::bip32::Xpriv;

    fn person(name: &str, seed: u8) -> Cosigner {
        let root = Xpriv::new_master(Network::Regtest, &[seed; 32]).expect("a seed");
        Cosigner {
            name: CosignerId::new(name).expect("an id"),
            key: Xpub::from_priv(&Secp256k1::new(), &root).to_string(),
        }
    }

    fn two_of_three() -> Cosigners {
        Cosigners {
            threshold: 2,
            of: vec![person("anna", 1), person("ben", 2), person("carla", 3)],
            recovery: Some(RecoveryKey {
                by: person("notary", 4),
                after_blocks: 20,
            }),
        }
    }

    #[test]
    fn cosigners_and_their_own_descriptors_go_together() {
        let with = two_of_three();
        assert_eq!(with.check(&with.descriptors()), Ok(()));
        let without = Cosigners {
            recovery: None,
            ..with.clone()
        };
        assert_eq!(without.check(&without.descriptors()), Ok(()));
        assert!(
            without
                .descriptors()
                .external
                .starts_with("wsh(sortedmulti(2,")
        );
        let refused = Err(CosignersRefused::OtherDescriptors);
        assert_eq!(with.check(&without.descriptors()), refused);
        let mut fewer = with.descriptors();
        fewer.internal = fewer.internal.replace("multi(2,", "multi(1,");
        assert_eq!(with.check(&fewer), refused, "change by one signature");
        let mut others = with.clone();
        others.of[1] = person("ben", 9);
        assert_eq!(with.check(&others.descriptors()), refused, "another key");
    }

    #[test]
    fn senseless_cosigners_are_named() {
        let check = |change: &dyn Fn(&mut Cosigners)| {
            let mut people = two_of_three();
            change(&mut people);
            people.check(&people.descriptors())
        };
        for threshold in [0, 4] {
            let refused = check(&|people| people.threshold = threshold);
            let keys = 3;
            assert_eq!(
                refused,
                Err(CosignersRefused::Threshold { threshold, keys })
            );
        }
        let name = CosignerId::new("carla").expect("an id");
        let same_key = check(&|people| people.of[2] = person("carla", 1));
        assert_eq!(
            same_key,
            Err(CosignersRefused::Twice { name: name.clone() })
        );
        let same_name = check(&|people| people.of[0] = person("carla", 7));
        assert_eq!(
            same_name,
            Err(CosignersRefused::Twice { name: name.clone() })
        );
        let wildcard = check(&|people| people.of[2].key.push_str("/*"));
        assert_eq!(wildcard, Err(CosignersRefused::Key { name }));
        let at_once = check(&|people| {
            if let Some(recovery) = &mut people.recovery {
                recovery.after_blocks = 0;
            }
        });
        assert_eq!(at_once, Err(CosignersRefused::RecoveryAtOnce));
    }
}
