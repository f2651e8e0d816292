//! Owns the gateway's transfers: the request for one, what each answer means for the money, and which of two statements
//! is newer. Does not own retries: it only says whether an answer settles the question.

use super::iban::Iban;
use crate::id::PaymentId;
use crate::money::{Eur, Minor};
use crate::rail::{HttpRequest, Method};
use serde::{Deserialize, Serialize};

/// Longest name of an account holder (SEPA rulebook: Max70Text).
pub const MAX_NAME_CHARS: usize = 70;

const CURRENCY: &str = "EUR";

/// Why a name cannot be an account holder's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an account holder's name has 1 to {MAX_NAME_CHARS} printable characters, not {chars}")]
pub struct NameRefused {
    /// How many it has.
    pub chars: usize,
}

/// Checks an account holder's name.
pub fn check_name(name: &str) -> Result<(), NameRefused> {
    let chars = name.chars().count();
    let printable = !name.trim().is_empty() && !name.chars().any(char::is_control);
    if printable && chars <= MAX_NAME_CHARS {
        Ok(())
    } else {
        Err(NameRefused { chars })
    }
}

/// What the gateway is asked to do.
#[derive(Clone, Copy, Debug)]
pub struct TransferOrder<'a> {
    /// Our name for it; the gateway's `reference`.
    pub reference: &'a PaymentId,
    /// How much the creditor gets, in cents.
    pub amount: Minor<Eur>,
    /// The creditor's account.
    pub iban: &'a Iban,
    /// The creditor's name.
    pub name: &'a str,
}

#[derive(Serialize)]
struct OrderBody<'a> {
    reference: &'a str,
    amount: u64,
    currency: &'a str,
    creditor: CreditorBody<'a>,
}

#[derive(Serialize)]
struct CreditorBody<'a> {
    iban: &'a str,
    name: &'a str,
}

/// The request; the same order always gives the same bytes, as the gateway compares bodies under one key.
pub fn transfer_request(order: &TransferOrder<'_>) -> HttpRequest {
    let body = OrderBody {
        reference: order.reference.as_str(),
        amount: order.amount.units(),
        currency: CURRENCY,
        creditor: CreditorBody {
            iban: order.iban.as_str(),
            name: order.name,
        },
    };
    let body = serde_json::to_string(&body).expect("a struct of texts and numbers is always JSON");
    HttpRequest {
        method: Method::Post,
        path: "/v1/transfers".to_owned(),
        body,
    }
}

/// Asks what became of our reference.
pub fn status_request(reference: &PaymentId) -> HttpRequest {
    // An identifier has no character that a query would have to escape.
    let path = format!("/v1/transfers?reference={reference}");
    HttpRequest {
        method: Method::Get,
        path,
        body: String::new(),
    }
}

/// Where a transfer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransferStatus {
    /// Ordered; our account is not debited yet.
    Accepted,
    /// Booked: our account is debited.
    Settled,
    /// Sent back: if it was booked, our account is credited again.
    Returned,
}

/// What the gateway says about a transfer at one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// The gateway's name for it.
    pub id: String,
    /// Our name for it (payment id).
    pub reference: String,
    /// In cents.
    pub amount: Minor<Eur>,
    /// ISO 4217.
    pub currency: String,
    /// Where it stands.
    pub status: TransferStatus,
    /// Grows by one at each change.
    pub version: u64,
    /// ISO 20022 ExternalReturnReason1Code, if returned.
    pub return_reason: Option<String>,
}

/// How a statement differs from what was ordered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// About something else.
    #[error("it is about `{found}`, not `{expected}`")]
    Reference {
        /// Of the statement.
        found: String,
        /// Of the order.
        expected: String,
    },
    /// Another amount.
    #[error("it is about {found} cents, not {expected}")]
    Amount {
        /// Of the statement, in cents.
        found: u64,
        /// Of the order, in cents.
        expected: u64,
    },
    /// Another currency.
    #[error("it is in {found}, not in {CURRENCY}")]
    Currency {
        /// Of the statement.
        found: String,
    },
}

impl Transfer {
    /// Whether this statement supersedes `other` (same transfer, higher version).
    pub fn is_newer_than(&self, other: &Transfer) -> bool {
        self.id == other.id && self.version > other.version
    }

    /// Whether this is about exactly what was ordered: reference, currency and amount.
    pub fn check_matches(&self, reference: &PaymentId, amount: Minor<Eur>) -> Result<(), Mismatch> {
        if self.reference != reference.as_str() {
            let (found, expected) = (self.reference.clone(), reference.to_string());
            return Err(Mismatch::Reference { found, expected });
        }
        if self.currency != CURRENCY {
            return Err(Mismatch::Currency {
                found: self.currency.clone(),
            });
        }
        if self.amount != amount {
            return Err(Mismatch::Amount {
                found: self.amount.units(),
                expected: amount.units(),
            });
        }
        Ok(())
    }
}

/// What an answer to a transfer order means for the money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransferAnswer {
    /// The gateway has the order and will carry it out (now or at an earlier try).
    Accepted(Transfer),
    /// The gateway refused the order for good: nothing was or will be moved.
    Rejected {
        /// Its code, for instance `invalid_iban`.
        code: String,
    },
    /// The order may or may not stand: try again under the same key, or ask by reference.
    Unclear {
        /// In words, for the log.
        reason: String,
    },
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Deserialize)]
struct ErrorDetail {
    code: String,
}

#[derive(Deserialize)]
struct ListBody {
    data: Vec<Transfer>,
}

/// The code that says: a transfer of that reference exists, under another key or under ours after it was forgotten.
/// The money may well have moved, so it is no refusal.
const DUPLICATE_REFERENCE: &str = "duplicate_reference";

/// Reads the answer to [`transfer_request`]. Only 422 with a code refuses for good; everything else that is no transfer
/// leaves the question open.
pub fn parse_transfer_response(status: u16, body: &str) -> TransferAnswer {
    let unclear = |reason: String| TransferAnswer::Unclear { reason };
    let code = serde_json::from_str::<ErrorBody>(body).map(|body| body.error.code);
    match (status, code) {
        (200 | 201, _) => match serde_json::from_str(body) {
            Ok(transfer) => TransferAnswer::Accepted(transfer),
            Err(cause) => unclear(format!("status {status} without a transfer: {cause}")),
        },
        (422, Ok(code)) if code == DUPLICATE_REFERENCE => {
            unclear("the gateway knows that reference already".to_owned())
        }
        (422, Ok(code)) => TransferAnswer::Rejected { code },
        (_, Ok(code)) => unclear(format!("status {status}, code {code}")),
        (_, Err(_)) => unclear(format!("status {status} without a readable error")),
    }
}

/// What an answer to a question by reference says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatusAnswer {
    /// The gateway has exactly one transfer of that reference.
    Known(Transfer),
    /// The gateway has none. An order still on its way may arrive later.
    Unknown,
    /// The gateway has several: at least one too many.
    Several {
        /// Their gateway ids.
        ids: Vec<String>,
    },
    /// No usable answer: ask again.
    Unclear {
        /// In words, for the log.
        reason: String,
    },
}

/// Reads the answer to [`status_request`].
pub fn parse_status_response(reference: &PaymentId, status: u16, body: &str) -> StatusAnswer {
    if status != 200 {
        return StatusAnswer::Unclear {
            reason: format!("status {status}"),
        };
    }
    let mut transfers = match serde_json::from_str::<ListBody>(body) {
        Ok(list) => list.data,
        Err(cause) => {
            return StatusAnswer::Unclear {
                reason: format!("not a list of transfers: {cause}"),
            };
        }
    };
    if let Some(stranger) = transfers
        .iter()
        .find(|transfer| transfer.reference != reference.as_str())
    {
        return StatusAnswer::Unclear {
            reason: format!("asked for {reference}, told about {}", stranger.reference),
        };
    }
    match (transfers.pop(), transfers.is_empty()) {
        (None, _) => StatusAnswer::Unknown,
        (Some(transfer), true) => StatusAnswer::Known(transfer),
        (Some(last), false) => {
            transfers.push(last);
            StatusAnswer::Several {
                ids: transfers.into_iter().map(|transfer| transfer.id).collect(),
            }
        }
    }
}
