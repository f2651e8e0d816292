//! Owns the pauses, the death and the further lives of bitcoind in the regtest world, and what the world knows of the chain
//! meanwhile. Does not own its process as such (`server_process`), nor the questions to it (`chain`).
//!
//! Fault model: bitcoind is stopped and continued (SIGSTOP, SIGCONT), or killed (SIGKILL) and started again with its
//! directory, its ports and the virtual time. A killed bitcoind loses what it has not written: the blocks of about the last hour, as it
//! writes its index so rarely, and its mempool, which it writes only at an orderly end. The network has not forgotten:
//! the world hands it the blocks and the unconfirmed transactions that it lacks, as its peers would. It has no wallet.
//! Nobody can mine or broadcast while it is away, so the chain that the world shows meanwhile is the true one.

use super::chain::Sight;
use super::server_process::Back;
use super::servers::Servers;
use super::waits::POLL;
use crate::worlds::WorldError;
use bitcoin::consensus::encode::serialize_hex;
use bitcoin::{Block, Transaction};
use bitcoind::client::Auth;
use bitcoind::client::v30::Client;
use lockstep_engine::rail::BlockId;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Longest wait for an answer of a bitcoind that was started again, in real time: the machine may be busy.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);

/// A further life must not take an old tip for a reason to wait for peers: it has none.
const ANY_TIP_AGE: &str = "-maxtipage=2000000000";

/// The chain as it was when bitcoind went away.
pub(super) struct Frozen {
    /// From height 0.
    pub(super) blocks: Vec<Block>,
    /// Parents first.
    pub(super) mempool: Vec<Transaction>,
    /// The same in short.
    pub(super) sight: Sight,
}

impl Servers {
    /// Whether bitcoind is paused or dead.
    pub(super) fn bitcoind_is_away(&self) -> bool {
        self.bitcoind_process.is_away()
    }

    fn freeze(&mut self) -> Result<(), WorldError> {
        let sight = self.sight()?;
        let blocks: Result<Vec<Block>, WorldError> = (0..=sight.tip.height)
            .map(|height| self.block(height))
            .collect();
        self.frozen = Some(Frozen {
            blocks: blocks?,
            mempool: self.mempool()?,
            sight,
        });
        Ok(())
    }

    /// Stops bitcoind where it stands.
    pub(super) fn pause_bitcoind(&mut self) -> Result<(), WorldError> {
        self.freeze()?;
        self.bitcoind_process.pause()
    }

    /// Kills bitcoind.
    pub(super) async fn kill_bitcoind(&mut self) -> Result<(), WorldError> {
        self.freeze()?;
        self.bitcoind_process.kill().await
    }

    /// Lets it go on, or starts it again, and waits until it knows what it knew, and the time.
    pub(super) async fn bring_bitcoind_back(&mut self) -> Result<(), WorldError> {
        let arguments = [
            format!("-mocktime={}", self.time_secs()),
            ANY_TIP_AGE.to_owned(),
        ];
        let back = self.bitcoind_process.bring_back(&arguments)?;
        let frozen = self.frozen.take();
        match (back, frozen) {
            (Back::Started, Some(frozen)) => {
                self.meet_bitcoind().await?;
                self.tell_bitcoind(&frozen)?;
            }
            (Back::Continued, _) => {}
            (Back::Never | Back::Started, _) => return Ok(()),
        }
        self.set_time(self.time_secs())
    }

    /// Waits until a further life answers; it has made a cookie of its own.
    async fn meet_bitcoind(&mut self) -> Result<(), WorldError> {
        let (url, start) = (self.bitcoind.rpc_url(), Instant::now());
        loop {
            let cookie = Auth::CookieFile(self.bitcoind.params.cookie_file.clone());
            let met = Client::new_with_auth(&url, cookie).and_then(|client| {
                client
                    .call::<Value>("getblockchaininfo", &[])
                    .map(|_| client)
            });
            match met {
                Ok(client) => {
                    self.bitcoind.client = client;
                    return Ok(());
                }
                Err(error) if start.elapsed() >= ANSWER_LIMIT => {
                    return Err(self.bitcoind_failed("its new life", error));
                }
                Err(_) => sleep(POLL).await,
            }
        }
    }

    /// Hands it what it lacks of the chain and of the mempool.
    fn tell_bitcoind(&self, frozen: &Frozen) -> Result<(), WorldError> {
        let tip = frozen.sight.tip;
        let mut knows = self.tip()?.height.min(tip.height);
        while knows > 0 && self.block_id(knows)? != frozen.block_id(knows) {
            knows -= 1;
        }
        for block in frozen.blocks.iter().skip(knows as usize + 1) {
            self.ask("submitblock", &[json!(serialize_hex(block))])?;
        }
        for transaction in &frozen.mempool {
            // No limit to its fee: whoever broadcast it has had his way already.
            self.ask(
                "sendrawtransaction",
                &[json!(serialize_hex(transaction)), json!(0)],
            )?;
        }
        let now = self.sight()?;
        if now == frozen.sight {
            Ok(())
        } else {
            Err(self.bitcoind_failed(
                "what it knew before",
                format!("it shows {now:?} instead of {:?}", frozen.sight),
            ))
        }
    }

    fn block_id(&self, height: u32) -> Result<BlockId, WorldError> {
        let hash = self.hash_at(height)?;
        Ok(BlockId { height, hash })
    }
}

impl Frozen {
    fn block_id(&self, height: u32) -> BlockId {
        let hash = self.blocks[height as usize].block_hash();
        BlockId { height, hash }
    }
}
