//! Owns the words for the operator's own on-chain wallets: as typed in `operator.wallets`, and as checked.
//! Does not own outside wallets (`text`, `model`) nor how a name is found again (`check`).

use super::model::{Blocks, CosignerName, OwnWalletName, PartyName, PaymentName, Sat};
use super::read::{At, Optional, Required, table, word};
use super::text::{Amount, BlockCount};
use std::fmt;

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
word!(
    /// What is restored.
    pub(super) Restored {
        /// The engine's database.
        "engine" Engine,
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
        /// Addresses that it may give out in a row without one being paid. Default 20.
        "gap_limit" gap_limit: Optional<u64>,
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

table!(
    /// Coins are moved from one of the operator's wallets to another.
    MoveFunds {
        /// New; moves and payments share their ids.
        "id" id: Required<String>,
        /// One of the operator's wallets.
        "from" from: Required<String>,
        /// Another one.
        "to" to: Required<String>,
        /// What arrives; bitcoin.
        "amount" amount: Required<Amount>,
    }
);
table!(
    /// A person labels what a charge brought in (BIP 329).
    LabelCharge {
        /// An on-chain charge that an earlier step makes.
        "charge" charge: Required<String>,
        /// The words.
        "text" text: Optional<String>,
        /// Whether the coins on its address may be spent.
        "spendable" spendable: Optional<bool>,
    }
);

/// What is done with the operator's own wallets and what the engine keeps of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnStep {
    /// Command to the engine: move coins.
    Move {
        /// New.
        id: PaymentName,
        /// Payer.
        from: OwnWalletName,
        /// Payee, another one.
        to: OwnWalletName,
        /// What arrives, above zero.
        amount: Sat,
    },
    /// Command to the engine: a fresh address.
    Address {
        /// Of which wallet.
        wallet: OwnWalletName,
    },
    /// Commands to the engine: a person's labels.
    Label {
        /// An on-chain charge.
        charge: PaymentName,
        /// The words.
        text: Option<String>,
        /// Of the coins on its address.
        spendable: Option<bool>,
    },
    /// A wallet is recovered from its descriptors alone, beside the engine; it must hold what the engine's does, and the
    /// journal must have a label for all of it.
    Recover {
        /// Which.
        wallet: OwnWalletName,
    },
    /// The engine's database is lost, and restored from an exported journal.
    Restore,
}

impl fmt::Display for OwnStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Move {
                id,
                from,
                to,
                amount,
            } => write!(f, "move {id}: {from} -> {to} {amount}"),
            Self::Address { wallet } => write!(f, "address {wallet}"),
            Self::Label {
                charge,
                text,
                spendable,
            } => {
                write!(f, "label {charge}")?;
                if let Some(text) = text {
                    write!(f, " {text:?}")?;
                }
                match spendable {
                    Some(true) => f.write_str(" spendable"),
                    Some(false) => f.write_str(" not spendable"),
                    None => Ok(()),
                }
            }
            Self::Recover { wallet } => write!(f, "recover {wallet}"),
            Self::Restore => f.write_str("restore engine"),
        }
    }
}

impl OwnStep {
    /// The payment that it is about.
    pub fn payment(&self) -> Option<&PaymentName> {
        match self {
            Self::Move { id, .. } => Some(id),
            Self::Label { charge, .. } => Some(charge),
            Self::Address { .. } | Self::Recover { .. } | Self::Restore => None,
        }
    }
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
    /// Addresses that it may give out in a row without one being paid; 1 to 1,000.
    pub gap_limit: u32,
    /// Who must sign for it, if not the engine's own signer.
    pub cosigners: Option<CosignedBy>,
}

/// The usual gap limit (BIP 44).
pub const USUAL_GAP_LIMIT: u32 = 20;

impl OwnedWallet {
    /// The wallet that is always there.
    pub fn hot(script: ScriptKind, funds: Sat) -> OwnedWallet {
        OwnedWallet {
            name: OwnWalletName::hot(),
            purpose: WalletPurpose::Hot,
            script,
            funds,
            owner: None,
            gap_limit: USUAL_GAP_LIMIT,
            cosigners: None,
        }
    }
}
