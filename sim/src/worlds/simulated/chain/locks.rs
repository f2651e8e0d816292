//! Lock times: absolute (BIP 113) and relative (BIP 68).
//!
//! Owns the two questions "may this transaction be in a block at this height". The script operations of BIP 65
//! and 112 compare with the transaction's own fields and are checked by the script verifier.

use bitcoin::Transaction;

use super::coins::Coin;

const LOCKTIME_THRESHOLD: u32 = 500_000_000;
const SEQUENCE_FINAL: u32 = 0xffff_ffff;
const SEQUENCE_DISABLE: u32 = 1 << 31;
const SEQUENCE_IS_TIME: u32 = 1 << 22;
const SEQUENCE_VALUE: u32 = 0xffff;
/// Relative times count in units of 512 seconds.
const SEQUENCE_TIME_SHIFT: u32 = 9;

/// Whether the lock time allows a block at `height` whose parent has median time past `median` (BIP 113).
pub(super) fn is_final(tx: &Transaction, height: u32, median: u32) -> bool {
    let lock = tx.lock_time.to_consensus_u32();
    let now = if lock < LOCKTIME_THRESHOLD {
        height
    } else {
        median
    };
    lock == 0 || lock < now || tx.input.iter().all(|i| i.sequence.0 == SEQUENCE_FINAL)
}

/// Whether the relative lock times allow a block at `height` (BIP 68).
///
/// `median_at(h)` is the median time past of the block at height `h` of the chain that the block extends.
pub(super) fn is_bip68_final(
    tx: &Transaction,
    spent: &[Coin],
    height: u32,
    median_at: &dyn Fn(u32) -> u32,
) -> bool {
    // Core reads the version as unsigned, so negative versions count as large.
    if matches!(tx.version.0, 0 | 1) {
        return true;
    }
    let parent_median = u64::from(median_at(height - 1));
    tx.input.iter().zip(spent).all(|(input, coin)| {
        let sequence = input.sequence.0;
        let value = sequence & SEQUENCE_VALUE;
        if sequence & SEQUENCE_DISABLE != 0 {
            true
        } else if sequence & SEQUENCE_IS_TIME != 0 {
            let from = u64::from(median_at(coin.height.saturating_sub(1)));
            from + (u64::from(value) << SEQUENCE_TIME_SHIFT) <= parent_median
        } else {
            u64::from(coin.height) + u64::from(value) <= u64::from(height)
        }
    })
}
