//! Owns the words for escrows: as typed, and as checked. Does not own parties and charges (`text`, `model`) nor how a name is
//! found again (`check`).

use super::model::{Msat, NodeName, PartyName, PaymentName};
use super::read::{At, Optional, Required, table, word};
use super::text::Amount;
use std::fmt;

word!(
    /// What the agent of an escrow decides.
    pub VerdictWord {
        /// The payee gets all.
        "release" Release,
        /// The payers get all back.
        "refuse" Refuse,
        /// Both get what `shares` says.
        "split" Split,
    }
);
table!(
    /// In which escrow a charge is.
    InEscrow {
        /// The escrow; several charges may be in it.
        "id" id: Required<String>,
        /// The party that decides, by its DID (`key` or `key-ed25519`).
        "agent" agent: Required<String>,
    }
);
table!(
    /// The agent of an escrow decides; what is named beside verdict and shares is what is wrong with the decision.
    Decide {
        /// Which; a charge of an earlier step is in it.
        "escrow" escrow: Required<String>,
        /// What.
        "verdict" verdict: Required<VerdictWord>,
        /// With "split": one for each charge.
        "shares" shares: Optional<Vec<At<Share>>>,
        /// Another party signs.
        "signer" signer: Optional<String>,
        /// What is told is another verdict than what was signed. Default false.
        "altered" altered: Optional<bool>,
        /// It is told this often. Default 1.
        "times" times: Optional<u64>,
    }
);
table!(
    /// What of a charge each side gets.
    Share {
        /// Which.
        "charge" charge: Required<String>,
        /// What the payee gets; it may be zero.
        "payee" payee: Required<Amount>,
        /// What the payer gets back; it may be zero.
        "payer" payer: Required<Amount>,
        /// Over Lightning, when both get something: the node that the payer's part goes to.
        "to" to: Optional<String>,
    }
);

/// The name of an escrow; a legal id of the engine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EscrowName(pub(super) String);

impl EscrowName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EscrowName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// In which escrow a charge is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EscrowOfCharge {
    /// Which.
    pub id: EscrowName,
    /// Has a DID that holds its key.
    pub agent: PartyName,
}

impl fmt::Display for EscrowOfCharge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.id, self.agent)
    }
}

/// A decision about an escrow, told to the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EscrowDecision {
    /// Which.
    pub escrow: EscrowName,
    /// Its agent.
    pub agent: PartyName,
    /// What.
    pub verdict: EscrowVerdict,
    /// Signs instead of the agent.
    pub signer: Option<PartyName>,
    /// Whether another verdict is told than was signed.
    pub altered: bool,
    /// How often it is told; at least once.
    pub times: u64,
}

/// Who gets the money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EscrowVerdict {
    /// The payee.
    Release,
    /// The payers.
    Refuse,
    /// Both.
    Split(Vec<EscrowShare>),
}

/// What of a charge each side gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EscrowShare {
    /// In the escrow.
    pub charge: PaymentName,
    /// What the payee gets.
    pub payee: Msat,
    /// What the payer gets.
    pub payer: Msat,
    /// Over Lightning: where the payer's part goes to.
    pub to: Option<NodeName>,
}

impl fmt::Display for EscrowDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "decide {}: ", self.escrow)?;
        match &self.verdict {
            EscrowVerdict::Release => f.write_str("release")?,
            EscrowVerdict::Refuse => f.write_str("refuse")?,
            EscrowVerdict::Split(shares) => {
                f.write_str("split")?;
                for share in shares {
                    let EscrowShare {
                        charge,
                        payee,
                        payer,
                        to,
                    } = share;
                    write!(f, " {charge} {payee} and {payer}")?;
                    to.iter().try_for_each(|to| write!(f, " to {to}"))?;
                }
            }
        }
        let signer = self.signer.iter();
        signer
            .map(|signer| format!(" signed by {signer}"))
            .chain(self.altered.then(|| " altered".to_owned()))
            .chain((self.times > 1).then(|| format!(" told {} times", self.times)))
            .try_for_each(|wrong| f.write_str(&wrong))
    }
}
