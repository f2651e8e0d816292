//! Owns what a party can bind: one address, or the addresses of a ranged public descriptor; which of them proves control,
//! and which scripts belong to it. Does not own proofs (`proof`) nor the operator's wallets (`onchain`).

use bdk_wallet::miniscript::{Descriptor, DescriptorPublicKey};
use bitcoin::address::NetworkUnchecked;
use bitcoin::{Address, Network, ScriptBuf};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// Addresses of a descriptor that belong to the binding: index 0 to 99. Five times the customary gap limit of 20, and few
/// enough to be derived anew whenever a journal is folded.
pub const DESCRIPTOR_SCRIPTS: u32 = 100;

/// A party's own wallet as given. Its keys are elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnWallet {
    /// One address.
    Address(String),
    /// A ranged public output descriptor (BIP 380) of single keys. Its first address (index 0) proves control: whoever has
    /// that address's key and the extended public key has the extended private key, for derivation is not hardened (BIP 32).
    Descriptor(String),
}

impl fmt::Display for OwnWallet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OwnWallet::Address(text) | OwnWallet::Descriptor(text) => f.write_str(text),
        }
    }
}

/// What a bound wallet may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Payouts may go there.
    Payouts,
    /// Charges may be paid from there.
    Charges,
    /// Both.
    Both,
}

impl Purpose {
    /// Whether a wallet bound for `self` serves `wanted`.
    pub fn serves(self, wanted: Purpose) -> bool {
        self == Purpose::Both || self == wanted
    }

    /// As it stands in challenges.
    pub const fn word(self) -> &'static str {
        match self {
            Purpose::Payouts => "payouts",
            Purpose::Charges => "charges",
            Purpose::Both => "both",
        }
    }
}

/// Why a wallet cannot be bound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalletRefused {
    /// Neither address nor public descriptor (private keys are refused here too).
    #[error("the wallet cannot be read: {cause}")]
    Unreadable {
        /// The parser's words.
        cause: String,
    },
    /// An address of another network.
    #[error("`{text}` is not an address of {network}")]
    WrongNetwork {
        /// As given.
        text: String,
        /// Ours.
        network: Network,
    },
    /// A descriptor that does not give addresses one after the other.
    #[error("the descriptor must be ranged: one unhardened `/*`, and no `<0;1>`")]
    NotRanged,
    /// A proof of its first address would not prove the others.
    #[error("the descriptor must be of a single key: pkh, wpkh, sh(wpkh) or tr without scripts")]
    NotSingleKey,
}

/// The scripts of a wallet, and the address that proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scripts {
    pub(super) proving: Address,
    pub(super) all: BTreeSet<ScriptBuf>,
}

pub(super) fn scripts_of(wallet: &OwnWallet, network: Network) -> Result<Scripts, WalletRefused> {
    match wallet {
        OwnWallet::Address(text) => {
            let address: Address<NetworkUnchecked> = text.trim().parse().map_err(unreadable)?;
            let proving =
                address
                    .require_network(network)
                    .map_err(|_| WalletRefused::WrongNetwork {
                        text: text.clone(),
                        network,
                    })?;
            let all = BTreeSet::from([proving.script_pubkey()]);
            Ok(Scripts { proving, all })
        }
        OwnWallet::Descriptor(text) => scripts_of_descriptor(text, network),
    }
}

fn unreadable(cause: impl fmt::Display) -> WalletRefused {
    WalletRefused::Unreadable {
        cause: cause.to_string(),
    }
}

fn scripts_of_descriptor(text: &str, network: Network) -> Result<Scripts, WalletRefused> {
    let descriptor: Descriptor<DescriptorPublicKey> = text.trim().parse().map_err(unreadable)?;
    if !descriptor.has_wildcard() || descriptor.is_multipath() {
        return Err(WalletRefused::NotRanged);
    }
    if !is_single_key(&descriptor) {
        return Err(WalletRefused::NotSingleKey);
    }
    let address = |index: u32| {
        let definite = descriptor
            .at_derivation_index(index)
            .map_err(|_| WalletRefused::NotRanged)?;
        definite.address(network).map_err(unreadable)
    };
    let proving = address(0)?;
    let mut all = BTreeSet::new();
    for index in 0..DESCRIPTOR_SCRIPTS {
        all.insert(address(index)?.script_pubkey());
    }
    Ok(Scripts { proving, all })
}

fn is_single_key(descriptor: &Descriptor<DescriptorPublicKey>) -> bool {
    match descriptor {
        Descriptor::Pkh(_) | Descriptor::Wpkh(_) => true,
        Descriptor::Sh(inner) => {
            use bdk_wallet::miniscript::descriptor::ShInner;
            matches!(inner.as_inner(), ShInner::Wpkh(_))
        }
        Descriptor::Tr(tr) => tr.tap_tree().is_none(),
        Descriptor::Bare(_) | Descriptor::Wsh(_) => false,
    }
}
