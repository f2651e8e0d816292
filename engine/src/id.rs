//! Owns the names of things: validated identifiers that come in with the input, never made up by the engine.
//! Does not own idempotency rules (`payments`) nor symbolic trace names (the harness).

use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a text is not an identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not an identifier: 1 to {MAX_CHARS} of a-z, 0-9, `-`, `_` and `.`, beginning with a letter or digit"
)]
pub struct InvalidId {
    /// What was given.
    pub text: String,
}

/// The longest identifier. 35 characters is the longest end-to-end reference of a SEPA credit transfer
/// (ISO 20022 Max35Text), and a payment id must fit there unchanged.
pub const MAX_CHARS: usize = 35;

fn check(text: &str) -> Result<(), InvalidId> {
    let legal =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    let starts_well = text
        .chars()
        .next()
        .is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    if starts_well && text.len() <= MAX_CHARS && text.chars().all(legal) {
        Ok(())
    } else {
        Err(InvalidId {
            text: text.to_owned(),
        })
    }
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks the text.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidId> {
                let text = text.into();
                check(&text)?;
                Ok(Self(text))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

identifier!(
    /// A party with accounts in the ledger (a merchant, a customer).
    PartyId
);
identifier!(
    /// A payment in either direction; given by the caller and unique for ever (a reused id is refused).
    PaymentId
);
identifier!(
    /// A command as its caller sent it; the same id with the same content is answered again, not done again.
    CommandId
);
identifier!(
    /// A reconciliation run.
    ReconciliationId
);
identifier!(
    /// One of our on-chain wallets.
    WalletId
);

identifier!(
    /// Somebody who holds one of the keys of a wallet of several keys.
    CosignerId
);

impl WalletId {
    /// The wallet that the engine begins with; it works for the operator.
    ///
    /// # Panics
    /// Never: the text is an identifier.
    pub fn hot() -> WalletId {
        WalletId::new("hot").expect("an identifier")
    }
}
identifier!(
    /// Money that waits for an agent's decision: one or more charges.
    EscrowId
);
identifier!(
    /// A party's own wallet, bound (or to be bound) to its DID; given by the caller and unique for ever.
    BindingId
);

/// Longest DID that is taken, in characters: those of known methods are shorter than 100.
pub const MAX_DID_CHARS: usize = 255;

/// Why a text is not a decentralised identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a DID: `did:`, a method of a-z and 0-9, `:`, and an id of letters, digits, `.`, `-`, `_`, `:` and `%`, \
     {MAX_DID_CHARS} characters at most"
)]
pub struct InvalidDid {
    /// What was given.
    pub text: String,
}

/// A decentralised identifier (W3C DID Core 1.0, section 3.1), without path, query or fragment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Did(String);

impl Did {
    /// Checks the syntax.
    pub fn new(text: impl Into<String>) -> Result<Did, InvalidDid> {
        let text = text.into();
        let parts = text
            .strip_prefix("did:")
            .and_then(|rest| rest.split_once(':'));
        let method = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let id = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
        let legal = parts.is_some_and(|(name, rest)| {
            !name.is_empty()
                && name.chars().all(method)
                && !rest.is_empty()
                && !rest.ends_with(':')
                && rest.chars().all(id)
        });
        if legal && text.len() <= MAX_DID_CHARS {
            Ok(Did(text))
        } else {
            Err(InvalidDid { text })
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Did {
    type Error = InvalidDid;
    fn try_from(text: String) -> Result<Did, InvalidDid> {
        Did::new(text)
    }
}

impl From<Did> for String {
    fn from(did: Did) -> String {
        did.0
    }
}

impl fmt::Display for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A payment transaction of one wallet, whatever becomes of it: `hot-1`, `hot-2` and so on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BatchId {
    /// Whose coins pay.
    pub wallet: WalletId,
    /// Counted from 1 in each wallet.
    pub number: u64,
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.wallet, self.number)
    }
}

impl From<BatchId> for String {
    fn from(id: BatchId) -> String {
        id.to_string()
    }
}

impl TryFrom<String> for BatchId {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        let parts = text.rsplit_once('-');
        let number = parts.and_then(|(_, number)| number.parse().ok());
        match parts.zip(number) {
            Some(((wallet, _), number)) => Ok(BatchId {
                wallet: WalletId::new(wallet)?,
                number,
            }),
            None => Err(InvalidId { text }),
        }
    }
}

/// Names one external effect for ever: re-issuing it after a crash uses the same key.
/// Shape: `<payment or run id>/<what>`, for instance `p1/pay` or `p1/transfer`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IdempotencyKey(pub String);

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
