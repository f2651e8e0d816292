//! Owns the chain source over an Electrum server (electrs). Does not own what a view means (`onchain`).
//!
//! Electrum answers one question at a time, so a view is pieced together: the tip, the headers back to a block that the
//! asker knows, the histories of the scripts, then the tip again. A tip that moved meanwhile discards it all. A server
//! that lags behind shows an older chain truthfully; the engine refuses to go back to it.
//!
//! A question over a connection that turns out to be lost is asked once more over a new one: views only read, and a
//! transaction that is broadcast twice is one that the server knows already.
//!
//! A connection carries one question at a time, and a question that finds it taken goes over one of its own: the client
//! hands the reading of answers from thread to thread, and one that is woken before the other has let go waits for ever.

mod fees;

use crate::adapters::blocking::blocking;
use crate::ports::{BroadcastError, ChainSource, ChainUnavailable};
use bdk_electrum::BdkElectrumClient;
use bdk_electrum::bdk_core::spk_client::SyncRequest;
use bdk_electrum::bdk_core::{ConfirmationBlockTime, TxUpdate};
use bdk_electrum::electrum_client::{Client, ConfigBuilder, ElectrumApi, Error as ElectrumError};
use bitcoin::{BlockHash, ScriptBuf, Transaction, Txid};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lockstep_engine::rail::{BlockId, ChainPosition, ChainView, FeesSeen, SeenTransaction};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How often a view is begun anew because the tip moved under it. Blocks come minutes apart.
const MAX_ATTEMPTS: u32 = 5;

/// Scripts asked for in one batch: electrs answers batches in order on one connection.
const BATCH: usize = 50;

/// Headers that a server gives at once (Electrum protocol, `blockchain.block.headers`).
const HEADERS_AT_ONCE: u32 = 2_016;

/// Longest stretch of blocks without a gap in a view: two weeks. Older blocks are left out between the block that the
/// asker knows and this stretch, but for those that confirm a transaction of the view.
const MAX_STRETCH: u32 = 2_016;

/// How long a server may take for one answer, in real time. A busy electrs answers within seconds, but a restart of it or of
/// its bitcoind takes longer; one that says nothing for this long is as good as gone, and the driver tries again later.
const ANSWER_LIMIT_SECS: u8 = 60;

/// A chain source over Electrum's TCP protocol.
#[derive(Clone)]
pub struct ElectrsChain {
    server: Arc<Server>,
}

struct Server {
    url: String,
    interval: Duration,
    announced: Notify,
    /// The connection that no question is using, if there is one; its caches keep transactions from being fetched twice.
    idle: Mutex<Option<BdkElectrumClient<Client>>>,
}

impl ElectrsChain {
    /// For the server at `url` (`tcp://host:port`), asked for changes every `interval` (and when announced).
    pub fn new(url: impl Into<String>, interval: Duration) -> Self {
        let server = Server {
            url: url.into(),
            interval,
            announced: Notify::new(),
            idle: Mutex::new(None),
        };
        Self {
            server: Arc::new(server),
        }
    }

    /// Says that something changed, so that whoever waits in `changed` looks now.
    pub fn announce(&self) {
        // Keeps one permit if nobody waits yet, so no announcement is lost.
        self.server.announced.notify_one();
    }
}

impl ChainSource for ElectrsChain {
    fn view(
        &self,
        scripts: Vec<ScriptBuf>,
        known: Vec<BlockId>,
    ) -> BoxFuture<'static, Result<ChainView, ChainUnavailable>> {
        let server = self.server.clone();
        blocking(move || server.view(&scripts, &known))
            .map(|answer| match answer {
                Ok(Ok(view)) => Ok(view),
                Ok(Err(error)) => Err(ChainUnavailable {
                    reason: in_words(&error),
                }),
                Err(reason) => Err(ChainUnavailable { reason }),
            })
            .boxed()
    }

    fn broadcast(
        &self,
        transaction: Transaction,
    ) -> BoxFuture<'static, Result<Txid, BroadcastError>> {
        let server = self.server.clone();
        let txid = transaction.compute_txid();
        blocking(move || server.ask(|client| client.transaction_broadcast(&transaction)))
            .map(move |answer| match answer {
                Ok(Ok(txid)) => Ok(txid),
                Ok(Err(error)) => on_broadcast_error(txid, &error),
                Err(reason) => Err(BroadcastError::Unavailable { reason }),
            })
            .boxed()
    }

    fn fees(&self) -> BoxFuture<'static, Result<FeesSeen, ChainUnavailable>> {
        let server = self.server.clone();
        // Over a connection of its own, once for each tip: a look at the chain may be under way on the other one, and of two
        // threads that wait on one connection of this client the second can wait for ever.
        blocking(move || fees::ask(&connect(&server.url)?))
            .map(|answer| match answer {
                Ok(Ok(seen)) => Ok(seen),
                Ok(Err(error)) => Err(ChainUnavailable {
                    reason: error.to_string(),
                }),
                Err(reason) => Err(ChainUnavailable { reason }),
            })
            .boxed()
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        let server = self.server.clone();
        async move {
            // Either of the two; a timeout is a change that nobody announced.
            drop(tokio::time::timeout(server.interval, server.announced.notified()).await);
        }
        .boxed()
    }
}

impl Server {
    fn view(&self, scripts: &[ScriptBuf], known: &[BlockId]) -> Result<ChainView, ElectrumError> {
        for _ in 0..MAX_ATTEMPTS {
            if let Some(view) = self.ask(|client| view(client, scripts, known))? {
                return Ok(view);
            }
            // The client's header cache survives a reorganisation if the new block has the same transactions: ask anew.
            *self.idle() = None;
        }
        Err(ElectrumError::Message(format!(
            "the chain moved {MAX_ATTEMPTS} times during a view"
        )))
    }

    /// Asks over the idle connection, or over a new one; drops it after a failure of the connection. One that was lost since
    /// it was used last (the server has restarted) is no reason to fail.
    fn ask<T>(
        &self,
        question: impl Fn(&BdkElectrumClient<Client>) -> Result<T, ElectrumError>,
    ) -> Result<T, ElectrumError> {
        let idle = self.idle().take();
        if let Some(client) = idle {
            let answer = question(&client);
            if is_usable(&answer) {
                *self.idle() = Some(client);
                return answer;
            }
        }
        let client = BdkElectrumClient::new(connect(&self.url)?);
        let answer = question(&client);
        if is_usable(&answer) {
            *self.idle() = Some(client);
        }
        answer
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Option<BdkElectrumClient<Client>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The adapter repeats a question itself: the client's own repetition begins with a pause of two seconds.
fn connect(url: &str) -> Result<Client, ElectrumError> {
    let config = ConfigBuilder::new()
        .timeout(Some(ANSWER_LIMIT_SECS))
        .retry(0)
        .build();
    Client::from_config(url, config)
}

/// The client that does not repeat a question does not say what became of it either.
fn in_words(error: &ElectrumError) -> String {
    match error {
        ElectrumError::AllAttemptsErrored(errors) if errors.is_empty() => {
            format!("the connection was lost, or silent for {ANSWER_LIMIT_SECS} s")
        }
        other => other.to_string(),
    }
}

/// Whether the connection has carried an answer, even a refusal.
fn is_usable<T>(answer: &Result<T, ElectrumError>) -> bool {
    matches!(
        answer,
        Ok(_) | Err(ElectrumError::Protocol(_) | ElectrumError::Message(_))
    )
}

/// One attempt; `None` if the chain moved meanwhile or the pieces do not fit.
fn view(
    client: &BdkElectrumClient<Client>,
    scripts: &[ScriptBuf],
    known: &[BlockId],
) -> Result<Option<ChainView>, ElectrumError> {
    let (tip, tip_time_secs) = tip(client)?;
    let mut blocks = recent_blocks(client, tip, known)?;
    let update = histories(client, scripts)?;
    if tip != self::tip(client)?.0 || blocks.get(&tip.height) != Some(&tip.hash) {
        return Ok(None);
    }
    Ok(place(&update, &mut blocks, tip).map(|transactions| {
        let blocks = blocks
            .into_iter()
            .map(|(height, hash)| BlockId { height, hash })
            .collect();
        ChainView {
            blocks,
            transactions,
            tip_time_secs: Some(tip_time_secs),
        }
    }))
}

/// The tip and the time in its header.
fn tip(client: &BdkElectrumClient<Client>) -> Result<(BlockId, u32), ElectrumError> {
    // Drop what was notified meanwhile: the queue would grow for ever.
    while client.inner.block_headers_pop()?.is_some() {}
    let tip = client.inner.block_headers_subscribe()?;
    let height = u32::try_from(tip.height)
        .map_err(|_| ElectrumError::Message("absurd height".to_owned()))?;
    let block = BlockId {
        height,
        hash: tip.header.block_hash(),
    };
    Ok((block, tip.header.time))
}

/// The chain from a known block to the tip.
fn recent_blocks(
    client: &BdkElectrumClient<Client>,
    tip: BlockId,
    known: &[BlockId],
) -> Result<BTreeMap<u32, BlockHash>, ElectrumError> {
    let mut blocks = BTreeMap::new();
    let mut from = 0;
    for block in known
        .iter()
        .rev()
        .filter(|block| block.height <= tip.height)
    {
        let header = client
            .inner
            .block_header(usize::try_from(block.height).expect("32 bits fit"))?;
        // A block that the asker knows otherwise is part of the answer too: it says what was replaced.
        blocks.insert(block.height, header.block_hash());
        if header.block_hash() == block.hash {
            from = block.height;
            break;
        }
    }
    let mut start = from.max(tip.height.saturating_sub(MAX_STRETCH));
    while start <= tip.height {
        let count = (tip.height - start + 1).min(HEADERS_AT_ONCE);
        let (first, many) = (
            usize::try_from(start).expect("32 bits fit"),
            usize::try_from(count).expect("32 bits fit"),
        );
        let headers = client.inner.block_headers(first, many)?.headers;
        if headers.is_empty() {
            // The chain got shorter meanwhile: the caller sees that the tip is missing.
            break;
        }
        for header in headers {
            blocks.insert(start, header.block_hash());
            start += 1;
        }
    }
    Ok(blocks)
}

fn histories(
    client: &BdkElectrumClient<Client>,
    scripts: &[ScriptBuf],
) -> Result<TxUpdate<ConfirmationBlockTime>, ElectrumError> {
    let request = SyncRequest::<()>::builder_at(0)
        .spks(scripts.iter().cloned())
        .build();
    Ok(client.sync(request, BATCH, false)?.tx_update)
}

/// Each transaction once, with its place in the chain of `blocks`; confirming blocks are added to it. `None` if a
/// confirmation is not in that chain: the view is not consistent.
fn place(
    update: &TxUpdate<ConfirmationBlockTime>,
    blocks: &mut BTreeMap<u32, BlockHash>,
    tip: BlockId,
) -> Option<Vec<SeenTransaction>> {
    let mut positions = BTreeMap::new();
    for (anchor, txid) in &update.anchors {
        let block = BlockId {
            height: anchor.block_id.height,
            hash: anchor.block_id.hash,
        };
        if block.height > tip.height
            || *blocks.entry(block.height).or_insert(block.hash) != block.hash
        {
            return None;
        }
        let time_secs = u32::try_from(anchor.confirmation_time).ok()?;
        positions.insert(*txid, ChainPosition::Confirmed { block, time_secs });
    }
    let transactions: BTreeMap<Txid, &Transaction> = update
        .txs
        .iter()
        .map(|transaction| (transaction.compute_txid(), transaction.as_ref()))
        .collect();
    let seen = transactions
        .into_iter()
        .map(|(txid, transaction)| SeenTransaction {
            transaction: transaction.clone(),
            position: positions
                .get(&txid)
                .copied()
                .unwrap_or(ChainPosition::Mempool),
        });
    Some(seen.collect())
}

/// Bitcoin Core's error codes (`src/rpc/protocol.h`) for a transaction that it looked at and does not take:
/// RPC_VERIFY_ERROR, RPC_VERIFY_REJECTED, RPC_VERIFY_ALREADY_IN_UTXO_SET.
const VERDICTS: [i64; 3] = [-25, -26, -27];

/// How Bitcoin Core's reasons for those codes begin (`src/validation.cpp`, `src/policy`, `src/node/transaction.cpp`).
const REASONS: [&str; 26] = [
    "Fee exceeds maximum configured",
    "TX rejected",
    "Unspendable output exceeds maximum configured",
    "absurdly-high-fee",
    "bad-",
    "bare-multisig",
    "block-script-verify-flag-failed",
    "coinbase",
    "datacarrier",
    "dust",
    "insufficient fee",
    "mandatory-script-verify-flag-failed",
    "max-fee-exceeded",
    "mempool full",
    "mempool min fee not met",
    "mempool-script-verify-flag-failed",
    "min relay fee not met",
    "multi-op-return",
    "non-",
    "replacement-",
    "scriptpubkey",
    "scriptsig-",
    "too-long-mempool-chain",
    "too many",
    "tx-size",
    "txn-mempool-conflict",
];

/// Servers pass Bitcoin Core's error on in two ways: electrs its bare message, under a code of its own; others the whole
/// error object after `sendrawtransaction RPC error: `. Only a verdict of Bitcoin Core's counts as a refusal, told by its
/// code or, without one, by its reason; after anything else (it is starting, the server has lost it) the transaction may
/// be out or not.
fn on_broadcast_error(txid: Txid, error: &ElectrumError) -> Result<Txid, BroadcastError> {
    let ElectrumError::Protocol(answer) = error else {
        return Err(BroadcastError::Unavailable {
            reason: in_words(error),
        });
    };
    let text = answer
        .get("message")
        .and_then(|message| message.as_str())
        .map_or_else(|| answer.to_string(), str::to_owned);
    let word = reject_word(&text);
    // Bitcoin Core's validation and RPC words for what it has already.
    const KNOWN: [&str; 5] = [
        "txn-already-in-mempool",
        "txn-already-known",
        "txn-same-nonwitness-data-in-mempool",
        "Transaction already in block chain",
        "Transaction outputs already in utxo set",
    ];
    if KNOWN.iter().any(|known| word.contains(known)) {
        return Ok(txid);
    }
    let inner = inner_error(&text);
    let code = inner.as_ref().unwrap_or(answer).get("code");
    let verdict = code
        .and_then(serde_json::Value::as_i64)
        .is_some_and(|code| VERDICTS.contains(&code))
        || inner.is_none() && REASONS.iter().any(|reason| word.starts_with(reason));
    if verdict {
        Err(BroadcastError::Refused { word })
    } else {
        Err(BroadcastError::Unavailable { reason: text })
    }
}

/// Bitcoin Core's error object inside the server's message.
fn inner_error(text: &str) -> Option<serde_json::Value> {
    let start = text.find('{')?;
    serde_json::from_str(text.get(start..)?).ok()
}

/// Bitcoin Core's own words out of the server's wrapping.
fn reject_word(text: &str) -> String {
    let inner = inner_error(text);
    let inner = inner
        .as_ref()
        .and_then(|value| value.get("message"))
        .and_then(|message| message.as_str());
    inner
        .unwrap_or_else(|| {
            text.rsplit_once("RPC error: ")
                .map_or(text, |(_, word)| word)
        })
        .to_owned()
}

#[cfg(test)]
mod tests;
