//! Owns the words for binding wallets to DIDs: as typed, and as checked. Does not own parties and wallets (`text`, `model`)
//! nor how a name is found again (`check`).

use super::model::{DidState, Millis, PartyName, WalletName};
use super::read::{Optional, Required, table, word};
use super::text::Duration;
use std::fmt;

word!(
    /// Which on-chain payments need a bound wallet outside.
    pub BindingAsked {
        /// None.
        "off" Off,
        /// Payouts.
        "payouts" Payouts,
        /// Payouts, and what pays a charge.
        "both" Both,
    }
);
word!(
    /// What a wallet is bound for.
    pub BindingPurpose {
        /// Payouts go there.
        "payouts" Payouts,
        /// Charges are paid from there.
        "charges" Charges,
        /// Both.
        "both" Both,
    }
);
word!(
    /// Where a binding stands.
    pub BindingState {
        /// The challenge waits for its answer, or Layer 0 is asked.
        "proposed" Proposed,
        /// It counts.
        "bound" Bound,
        /// It is being passed on to another DID, about which Layer 0 is asked.
        "checking" Checking,
        /// Layer 0 has named another DID, which has not signed.
        "rotated" Rotated,
        /// Its time is over.
        "expired" Expired,
        /// It was ended.
        "revoked" Revoked,
        /// It never came to count.
        "refused" Refused,
    }
);
table!(
    /// The engine is asked to bind an outside wallet to a party's DID.
    Register {
        /// New.
        "id" id: Required<String>,
        /// Whose wallet it is.
        "party" party: Required<String>,
        /// The outside wallet.
        "wallet" wallet: Required<String>,
        /// The party whose DID speaks for it. Default: `party`.
        "did" did: Optional<String>,
        /// What it is bound for. Default "both".
        "purpose" purpose: Optional<BindingPurpose>,
        /// How long it holds. Default "1 d".
        "valid_for" valid_for: Optional<Duration>,
    }
);
table!(
    /// The challenge of a binding is answered; what is named here is what is wrong with the answer.
    Prove {
        /// Which.
        "binding" binding: Required<String>,
        /// Another wallet signs.
        "wallet" wallet: Optional<String>,
        /// The wallet signs the challenge of another binding.
        "challenge" challenge: Optional<String>,
        /// Another party signs.
        "did" did: Optional<String>,
    }
);
table!(
    /// A binding is passed on to another DID.
    Rotate {
        /// Which.
        "binding" binding: Required<String>,
        /// The party whose DID it is from now on.
        "to" to: Required<String>,
        /// Whether the DID until now signs. Default true.
        "old_signs" old_signs: Optional<bool>,
        /// Whether the new DID signs. Default true.
        "new_signs" new_signs: Optional<bool>,
    }
);
table!(
    /// A binding is in a state, or comes to be within a span.
    ExpectBinding {
        /// Which.
        "binding" binding: Required<String>,
        /// Where it stands.
        "state" state: Required<BindingState>,
        /// It may take this long. Default: it must be so now.
        "within" within: Optional<Duration>,
    }
);

/// The name of a binding; a legal id of the engine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BindingName(pub(super) String);

impl BindingName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BindingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A step about a binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindingStep {
    /// Command to the engine.
    Register {
        /// New.
        id: BindingName,
        /// Whose wallet.
        party: PartyName,
        /// Which.
        wallet: WalletName,
        /// The party whose DID speaks for it; it has one.
        did: PartyName,
        /// What for.
        purpose: BindingPurpose,
        /// For how long, above zero.
        valid_for: Millis,
    },
    /// Command to the engine.
    Prove {
        /// Registered by an earlier step.
        binding: BindingName,
        /// Signs instead of the wallet.
        wallet: Option<WalletName>,
        /// Its challenge is signed by the wallet instead.
        challenge: Option<BindingName>,
        /// Signs instead of the DID.
        did: Option<PartyName>,
    },
    /// Command to the engine.
    Rotate {
        /// Registered by an earlier step.
        binding: BindingName,
        /// Has a DID.
        to: PartyName,
        /// Whether the old DID signs.
        old_signs: bool,
        /// Whether the new DID signs.
        new_signs: bool,
    },
    /// Command to the engine.
    Revoke {
        /// Registered by an earlier step.
        binding: BindingName,
    },
    /// Layer 0 says something else from now on.
    Decide {
        /// Has a DID.
        party: PartyName,
        /// What.
        state: DidState,
    },
    /// Layer 0 puts another DID in the place of this one.
    Replace {
        /// Has a DID.
        party: PartyName,
        /// Has a DID.
        by: PartyName,
    },
}

impl BindingStep {
    /// The party that it names first.
    pub fn party(&self) -> Option<&PartyName> {
        match self {
            Self::Register { party, .. }
            | Self::Decide { party, .. }
            | Self::Replace { party, .. } => Some(party),
            Self::Rotate { to, .. } => Some(to),
            Self::Prove { did, .. } => did.as_ref(),
            Self::Revoke { .. } => None,
        }
    }

    /// The binding that it is about.
    pub fn binding(&self) -> Option<&BindingName> {
        match self {
            Self::Register { id, .. } => Some(id),
            Self::Prove { binding, .. }
            | Self::Rotate { binding, .. }
            | Self::Revoke { binding } => Some(binding),
            Self::Decide { .. } | Self::Replace { .. } => None,
        }
    }
}

impl fmt::Display for BindingStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Register {
                id,
                party,
                wallet,
                did,
                purpose,
                valid_for,
            } => {
                write!(
                    f,
                    "register {id}: {wallet} of {party} for {purpose} by the DID of {did} valid for {valid_for}"
                )
            }
            Self::Prove {
                binding,
                wallet,
                challenge,
                did,
            } => {
                write!(f, "prove {binding}")?;
                let wrong = [
                    wallet.as_ref().map(|name| format!(" with wallet {name}")),
                    challenge
                        .as_ref()
                        .map(|name| format!(" over the challenge of {name}")),
                    did.as_ref().map(|name| format!(" signed by {name}")),
                ];
                f.write_str(&wrong.into_iter().flatten().collect::<String>())
            }
            Self::Rotate {
                binding,
                to,
                old_signs,
                new_signs,
            } => {
                write!(f, "rotate {binding} to the DID of {to}")?;
                f.write_str(if *old_signs {
                    ""
                } else {
                    ", the old one unsigned"
                })?;
                f.write_str(if *new_signs {
                    ""
                } else {
                    ", the new one unsigned"
                })
            }
            Self::Revoke { binding } => write!(f, "revoke {binding}"),
            Self::Decide { party, state } => write!(f, "layer0 {party} {state}"),
            Self::Replace { party, by } => write!(f, "layer0 {party} rotates to {by}"),
        }
    }
}
