//! Owns the words for the operator's own on-chain wallets: as typed in `operator.wallets`, and as checked.
//! Does not own outside wallets (`text`, `model`) nor how a name is found again (`check`).

use super::model::{Blocks, CosignerName, OwnWalletName, PartyName, Sat};
use super::read::{At, Optional, Required, table, word};
use super::text::{Amount, BlockCount};

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
        /// Who must sign for it. Default: the engine's own signer.
        "cosigners" cosigners: Optional<Cosigning>,
    }
);
table!(
    /// Several people with one key each, some of whom must sign.
    Cosigning {
        /// How many must sign.
        "threshold" threshold: Required<u64>,
        /// Their names, in the order in which they are asked.
        "of" of: Required<Vec<At<String>>>,
        /// Who can spend alone when coins have not moved for long. Default nobody.
        "recovery" recovery: Optional<String>,
        /// Confirmations that a coin needs before that; with `recovery`.
        "after" after: Optional<BlockCount>,
    }
);

/// Several people who must sign, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CosignedBy {
    /// How many must sign; at least one, at most as many as there are.
    pub threshold: u32,
    /// In the order in which they are asked; no name twice.
    pub of: Vec<CosignerName>,
    /// Who can spend alone, and after how many blocks (1 to 65,535).
    pub recovery: Option<(CosignerName, Blocks)>,
}

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
    /// Who must sign for it, if not the engine's own signer.
    pub cosigners: Option<CosignedBy>,
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
            cosigners: None,
        }
    }
}
