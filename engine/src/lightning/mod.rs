//! Owns what the engine must know of Lightning: reading BOLT 11 invoices, preimages and proofs of payment, the limit of
//! routing fees. Does not own channels, routes and HTLCs (the node has them).

mod invoice;
mod proof;

pub use invoice::{
    Asked, CheckedInvoice, InvoiceRefused, MAX_DESCRIPTION_BYTES, MAX_INVOICE_BYTES, Payer,
    check_invoice, check_issued,
};
pub use proof::{is_proof, payment_hash, preimage};

use crate::money::Msat;

/// Parts per million in a whole.
const MILLION: u128 = 1_000_000;

/// The most to spend on routing fees: `proportional_ppm` parts per million of the amount, rounded up, but at least
/// `floor` (small payments meet base fees, which do not shrink with the amount; BOLT 7).
pub fn max_fee(amount: Msat, floor: Msat, proportional_ppm: u32) -> Msat {
    let proportional = u128::from(amount.0)
        .saturating_mul(u128::from(proportional_ppm))
        .div_ceil(MILLION);
    Msat(u64::try_from(proportional).unwrap_or(u64::MAX).max(floor.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fee_limit_rounds_up_and_has_a_floor() {
        assert_eq!(max_fee(Msat(1_000_000), Msat(0), 10_000), Msat(10_000));
        assert_eq!(max_fee(Msat(1_000_001), Msat(0), 10_000), Msat(10_001));
        assert_eq!(max_fee(Msat(1_000), Msat(5_000), 10_000), Msat(5_000));
        assert_eq!(max_fee(Msat(0), Msat(0), 10_000), Msat(0));
        assert_eq!(
            max_fee(Msat(u64::MAX), Msat(0), u32::MAX),
            Msat(u64::MAX),
            "saturates"
        );
    }
}
