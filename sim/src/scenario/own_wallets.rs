//! Owns the words for the operator's own on-chain wallets: as typed in `operator.wallets`, and as checked.
//! Does not own outside wallets (`text`, `model`) nor how a name is found again (`check`).

use super::model::{OwnWalletName, PartyName, Sat};
use super::read::{Optional, table, word};
use super::text::Amount;

/// The wallet that is always there.
pub const HOT: &str = "hot";

word!(
    /// What a wallet of the operator's is for. Coins of different purposes are never spent in one transaction.
    pub WalletPurpose {
        /// Pays and is paid day by day.
        "hot" Hot,
        /// Keeps what the day does not need.
        "savings" Savings,
        /// High value, with keys of several people.
        "multisig" Multisig,
        /// Funds channels.
        "lightning" Lightning,
        /// Takes what charges bring in.
        "deposits" Deposits,
    }
);
word!(
    /// The kind of a wallet's addresses.
    pub ScriptKind {
        /// Pay to witness public key hash (BIP 84).
        "wpkh" Wpkh,
        /// Taproot, key path (BIP 86).
        "tr" Tr,
    }
);
table!(
    /// One of the operator's on-chain wallets. `hot` is there in any case; the others are opened in the file's order.
    OwnWallet {
        /// What it is for. Default "hot".
        "purpose" purpose: Optional<WalletPurpose>,
        /// The kind of its addresses. Default "wpkh".
        "script" script: Optional<ScriptKind>,
        /// Opening funds, in one confirmed output. Default none.
        "funds" funds: Optional<Amount>,
        /// The party that it serves alone. Default: it serves every party.
        "owner" owner: Optional<String>,
    }
);

/// One of the operator's wallets, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedWallet {
    /// Its name; a legal id of the engine.
    pub name: OwnWalletName,
    /// What it is for.
    pub purpose: WalletPurpose,
    /// Its addresses.
    pub script: ScriptKind,
    /// Opening funds.
    pub funds: Sat,
    /// The party that it serves alone.
    pub owner: Option<PartyName>,
}

impl OwnedWallet {
    /// The wallet that is always there.
    pub fn hot(script: ScriptKind, funds: Sat) -> OwnedWallet {
        OwnedWallet {
            name: OwnWalletName::hot(),
            purpose: WalletPurpose::Hot,
            script,
            funds,
            owner: None,
        }
    }
}
