//! Owns what a scenario's words for invoices and ways are in the engine's. Does not own the rules about them (`orders`).

use crate::scenario::{Request, Routing, Saying};
use bitcoin::hashes::{Hash as _, sha256};
use lockstep_engine::api::{ChargeTerms, PayoutTerms};
use lockstep_engine::money::Msat;
use lockstep_engine::rail::Description;
use lockstep_engine::time::Span;

/// What a charge asks beside its amount.
pub fn charge_terms(request: &Request) -> ChargeTerms {
    let (any_amount, invoice_too, says) = match request {
        Request::Lightning { amount, says, .. } => (amount.is_none(), false, says),
        Request::Onchain { invoice, says, .. } => (false, *invoice, says),
    };
    let hash = |words: &str| sha256::Hash::hash(words.as_bytes()).to_byte_array();
    ChargeTerms {
        any_amount,
        invoice_too,
        description: says.as_ref().map(|says| match says {
            Saying::Words(words) => Description::Text(words.clone()),
            Saying::HashOf(words) => Description::Hash(hash(words)),
        }),
    }
}

/// What a payout asks of its node's way.
pub fn payout_terms(routing: &Routing) -> PayoutTerms {
    PayoutTerms {
        max_fee_msat: routing.max_fee.map(|msat| Msat(msat.get())),
        retry_for: routing.retry.map(|span| Span(span.get())),
    }
}
