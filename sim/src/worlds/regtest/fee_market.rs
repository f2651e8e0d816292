//! Owns the fee market that the engine is told of in the regtest world: the production adapter over electrs, and on top of
//! its answers what the rest of the world bids. Nobody else's transactions exist on regtest, and blocks are as empty as
//! the scenario leaves them, so bitcoind can estimate nothing; the market is moved by `fee` steps and fee faults, which
//! also decide what is mined. Does not own mining (`chain`) nor the adapter (`lockstep-host`).

use super::{CHAIN_INTERVAL, RegtestWorld};
use bitcoin::{ScriptBuf, Transaction, Txid};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lockstep_engine::rail::{BlockId, ChainView, FeeEstimate, FeesSeen};
use lockstep_host::adapters::electrs::ElectrsChain;
use lockstep_host::ports::{BroadcastError, ChainSource, ChainUnavailable};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the rest of the world bids, satoshi per 1,000 weight units; zero: nothing.
#[derive(Clone, Default)]
pub(super) struct FeeMarket(Arc<AtomicU64>);

impl FeeMarket {
    /// From now on this.
    pub(super) fn set(&self, sat_per_kwu: u64) {
        self.0.store(sat_per_kwu, Ordering::Relaxed);
    }
}

/// The engine's chain source.
pub(super) struct MarketChain {
    /// Over electrs.
    pub(super) chain: ElectrsChain,
    /// What others bid.
    pub(super) market: FeeMarket,
}

impl RegtestWorld {
    /// The engine's chain source.
    pub(super) fn bidden_chain(&self) -> MarketChain {
        MarketChain {
            chain: ElectrsChain::new(self.electrum_url(), CHAIN_INTERVAL),
            market: self.market.clone(),
        }
    }
}

impl ChainSource for MarketChain {
    fn view(
        &self,
        scripts: Vec<ScriptBuf>,
        known: Vec<BlockId>,
    ) -> BoxFuture<'static, Result<ChainView, ChainUnavailable>> {
        self.chain.view(scripts, known)
    }

    fn broadcast(
        &self,
        transaction: Transaction,
    ) -> BoxFuture<'static, Result<Txid, BroadcastError>> {
        self.chain.broadcast(transaction)
    }

    fn fees(&self) -> BoxFuture<'static, Result<FeesSeen, ChainUnavailable>> {
        let bid = self.market.0.load(Ordering::Relaxed);
        let asked = self.chain.fees();
        asked
            .map(move |seen| {
                let mut seen = seen?;
                if bid > 0 {
                    seen.estimates = vec![FeeEstimate {
                        blocks: 1,
                        sat_per_kwu: bid,
                    }];
                }
                Ok(seen)
            })
            .boxed()
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        self.chain.changed()
    }
}
