//! Numbers of the regtest network and of one node's relay policy.
//!
//! Owns the consensus constants and [`Policy`]. Does not own any check: those cite the numbers from here.

/// Most weight units in a block (BIP 141).
pub const MAX_BLOCK_WEIGHT: u64 = 4_000_000;
/// Most signature operation cost in a block (BIP 141).
pub(super) const MAX_BLOCK_SIGOP_COST: usize = 80_000;
/// Depth at which a coinbase output becomes spendable.
pub const COINBASE_MATURITY: u32 = 100;
/// Blocks between two halvings on regtest.
pub const HALVING_INTERVAL: u32 = 150;
/// Seconds a block may be ahead of the node's clock.
pub(super) const MAX_FUTURE_SECONDS: u32 = 7_200;
/// Weight kept free for the header and the coinbase, Bitcoin Core's `-blockreservedweight`.
pub(super) const RESERVED_WEIGHT: u64 = 8_000;
/// Supply cap in satoshi, an upper bound for any amount.
pub(super) const MAX_MONEY_SAT: u64 = 21_000_000 * 100_000_000;
/// Most weight of a transaction that is relayed.
pub(super) const MAX_STANDARD_WEIGHT: u64 = 400_000;
/// Most signature operation cost of a transaction that is relayed: a fifth of a block.
pub(super) const MAX_STANDARD_SIGOP_COST: usize = MAX_BLOCK_SIGOP_COST / 5;
/// Most transactions one replacement may evict (BIP 125 rule 5).
pub(super) const MAX_REPLACED: usize = 100;
/// Half-life of the rolling minimum feerate, in seconds.
pub(super) const ROLLING_HALF_LIFE_SECONDS: u32 = 12 * 60 * 60;

/// Newly created satoshi at `height`.
#[must_use]
pub fn subsidy_sat(height: u32) -> u64 {
    // The 64th halving shifts everything out; Rust would overflow, Core answers zero.
    (50 * 100_000_000_u64)
        .checked_shr(height / HALVING_INTERVAL)
        .unwrap_or(0)
}

/// Fee for `vsize` virtual bytes at a feerate, rounded up as Bitcoin Core does.
#[must_use]
pub fn fee_at(sat_per_kvb: u64, vsize: u64) -> u64 {
    sat_per_kvb.saturating_mul(vsize).div_ceil(1_000)
}

/// Relay policy of the simulated node. Feerates are satoshi per 1000 virtual bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Least feerate that is relayed (`-minrelaytxfee`).
    pub min_relay_sat_per_kvb: u64,
    /// What a replacement pays for its own relay, and the step of the rolling minimum (`-incrementalrelayfee`).
    pub incremental_sat_per_kvb: u64,
    /// Feerate that prices the later spending of an output: below it the output is dust (`-dustrelayfee`).
    pub dust_relay_sat_per_kvb: u64,
    /// Least package feerate that is mined (`-blockmintxfee`).
    pub block_min_sat_per_kvb: u64,
    /// Most unconfirmed ancestors, the transaction included.
    pub ancestors_max: usize,
    /// Most virtual bytes of unconfirmed ancestors, the transaction included.
    pub ancestor_vsize_max: u64,
    /// Most unconfirmed descendants, the transaction included.
    pub descendants_max: usize,
    /// Most virtual bytes of unconfirmed descendants, the transaction included.
    pub descendant_vsize_max: u64,
    /// Most transactions connected through spending in any direction (Bitcoin Core 31).
    pub cluster_max: usize,
    /// Most virtual bytes of such a cluster.
    pub cluster_vsize_max: u64,
    /// Most virtual bytes in the mempool; Bitcoin Core limits memory use instead (`-maxmempool`).
    pub pool_vsize_max: u64,
    /// Seconds after which an unconfirmed transaction is dropped (`-mempoolexpiry`).
    pub expiry_seconds: u32,
    /// Whether a replacement needs no BIP 125 signal in what it replaces.
    pub full_rbf: bool,
}

impl Default for Policy {
    /// Bitcoin Core's defaults: feerates of version 30 and 31, chain limits of version 30, cluster limits of 31.
    fn default() -> Self {
        Self {
            min_relay_sat_per_kvb: 100,
            incremental_sat_per_kvb: 100,
            dust_relay_sat_per_kvb: 3_000,
            block_min_sat_per_kvb: 1,
            // 25 keeps the work of re-sorting one package small; 101 kvB lets one 100 kvB transaction have a child.
            ancestors_max: 25,
            ancestor_vsize_max: 101_000,
            descendants_max: 25,
            descendant_vsize_max: 101_000,
            cluster_max: 64,
            cluster_vsize_max: 101_000,
            pool_vsize_max: 50_000_000,
            expiry_seconds: 336 * 60 * 60,
            full_rbf: true,
        }
    }
}
