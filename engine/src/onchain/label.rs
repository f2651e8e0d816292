//! Owns the form of a wallet's label: one line of a BIP 329 file. Does not own what labels say (`labels`).

use super::check_address;
use bitcoin::bip32::Xpub;
use bitcoin::{Network, OutPoint, PublicKey, Txid, XOnlyPublicKey};
use serde::{Deserialize, Serialize};

/// The longest label (BIP 329: importers may truncate beyond).
pub const MAX_CHARS: usize = 255;

/// What a label is of (BIP 329, `type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelKind {
    /// A transaction, by its id.
    Tx,
    /// An address.
    Addr,
    /// A public key.
    Pubkey,
    /// An input, by transaction id and index.
    Input,
    /// An output, by transaction id and index.
    Output,
    /// An extended public key.
    Xpub,
}

/// One label; its JSON is one line of a BIP 329 file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Label {
    /// What it is of.
    #[serde(rename = "type")]
    pub kind: LabelKind,
    /// Which one.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Of transactions: the wallet's descriptor with key origins alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Of outputs: whether they may be spent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spendable: Option<bool>,
}

/// Why a label is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelRefused {
    /// Not a line of BIP 329.
    #[error("not a label in the form of BIP 329: {cause}")]
    Unreadable {
        /// The parser's words.
        cause: String,
    },
    /// `ref` does not name what `type` says.
    #[error("`{reference}` does not name a {kind:?}")]
    WrongReference {
        /// What it should name.
        kind: LabelKind,
        /// As given.
        reference: String,
    },
    /// Longer than readers need to take.
    #[error("a label has at most {MAX_CHARS} characters, this one has {chars}")]
    TooLong {
        /// How many.
        chars: usize,
    },
    /// Only outputs can be spent.
    #[error("`spendable` is said of a {kind:?}, not of an output")]
    NotSpendable {
        /// What it is of.
        kind: LabelKind,
    },
}

impl Label {
    /// Reads one line; what it does not know is left out.
    pub fn parse_line(line: &str) -> Result<Label, LabelRefused> {
        serde_json::from_str(line).map_err(|cause| LabelRefused::Unreadable {
            cause: cause.to_string(),
        })
    }

    /// One line, without the line's end.
    ///
    /// # Panics
    /// Never: a label is plain data.
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("plain data")
    }

    /// Whether a person may say this.
    pub fn check(&self, network: Network) -> Result<(), LabelRefused> {
        let text = self.reference.as_str();
        let names_one = match self.kind {
            LabelKind::Tx => text.parse::<Txid>().is_ok(),
            LabelKind::Addr => check_address(text, network).is_ok(),
            LabelKind::Pubkey => {
                text.parse::<PublicKey>().is_ok() || text.parse::<XOnlyPublicKey>().is_ok()
            }
            LabelKind::Input | LabelKind::Output => text.parse::<OutPoint>().is_ok(),
            LabelKind::Xpub => text.parse::<Xpub>().is_ok(),
        };
        if !names_one {
            return Err(LabelRefused::WrongReference {
                kind: self.kind,
                reference: self.reference.clone(),
            });
        }
        let chars = self.label.as_ref().map_or(0, |label| label.chars().count());
        if chars > MAX_CHARS {
            return Err(LabelRefused::TooLong { chars });
        }
        match self.spendable {
            Some(_) if self.kind != LabelKind::Output => {
                Err(LabelRefused::NotSpendable { kind: self.kind })
            }
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TXID: &str = "aa0000000000000000000000000000000000000000000000000000000000000b";

    fn line(kind: &str, reference: &str, rest: &str) -> Result<Label, LabelRefused> {
        let line = format!("{{\"type\":\"{kind}\",\"ref\":\"{reference}\"{rest}}}");
        let label = Label::parse_line(&line)?;
        label.check(Network::Regtest).map(|()| label)
    }

    #[test]
    fn a_line_is_read_and_written_again() {
        for (kind, reference, rest) in [
            (
                "tx",
                TXID,
                ",\"label\":\"rent\",\"origin\":\"wpkh([d34db33f/84'/0'/0'])\"",
            ),
            (
                "addr",
                "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080",
                ",\"label\":\"alms\"",
            ),
            (
                "output",
                &format!("{TXID}:1"),
                ",\"label\":\"frozen\",\"spendable\":false",
            ),
            ("input", &format!("{TXID}:0"), ",\"label\":\"old\""),
            (
                "pubkey",
                "0283409659355b6d1cc3c32decd5d561abaac86c37a353b52895a5e6c196d6f448",
                ",\"label\":\"hers\"",
            ),
        ] {
            let label = line(kind, reference, rest).expect(kind);
            assert_eq!(
                label.to_line(),
                format!("{{\"type\":\"{kind}\",\"ref\":\"{reference}\"{rest}}}")
            );
        }
        let more =
            line("tx", TXID, ",\"label\":\"x\",\"fee\":1,\"height\":7").expect("unknown keys");
        assert_eq!(more.label.as_deref(), Some("x"));
    }

    #[test]
    fn what_names_nothing_is_refused() {
        let wrong = |kind, reference| {
            matches!(
                line(kind, reference, ""),
                Err(LabelRefused::WrongReference { .. })
            )
        };
        assert!(wrong("tx", "aa"));
        assert!(
            wrong("addr", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"),
            "of mainnet"
        );
        assert!(wrong("output", TXID));
        assert!(wrong("xpub", "xpub"));
        assert!(matches!(
            line("coin", TXID, ""),
            Err(LabelRefused::Unreadable { .. })
        ));
        assert_eq!(
            line("tx", TXID, ",\"spendable\":true"),
            Err(LabelRefused::NotSpendable {
                kind: LabelKind::Tx
            })
        );
        let long = format!(",\"label\":\"{}\"", "é".repeat(256));
        assert_eq!(
            line("tx", TXID, &long),
            Err(LabelRefused::TooLong { chars: 256 })
        );
    }
}
