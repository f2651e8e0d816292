//! Owns a minimal JSON-RPC client of Bitcoin Core, with typed errors: the calls that the host and the regtest world
//! need. Does not own process start (the harness) nor chain views (`electrs`).

use crate::adapters::http_client::{OutgoingRequest, connect, exchange_over};
use crate::ports::HttpResponse;
use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use bitcoin::{Block, BlockHash, Transaction, Txid};
use lockstep_engine::rail::{HttpFailure, Method};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Longest wait for an answer. Mining a hundred blocks on regtest takes under a second.
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// How the client proves who it is.
#[derive(Clone, Debug)]
pub enum Authentication {
    /// The `.cookie` file that bitcoind writes at each start; read anew for each call.
    Cookie(PathBuf),
    /// `rpcuser` and `rpcpassword`.
    UserPassword {
        /// User.
        user: String,
        /// Password.
        password: String,
    },
}

/// Why a call has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    /// bitcoind answered with an error.
    #[error("{method}: {message} ({code})")]
    Answered {
        /// What was called.
        method: &'static str,
        /// Bitcoin Core's code (`RPCErrorCode`), for instance -26 for a transaction refused.
        code: i64,
        /// Its words.
        message: String,
    },
    /// No HTTP answer.
    #[error("{method}: no answer from bitcoind: {failure:?}")]
    Transport {
        /// What was called.
        method: &'static str,
        /// How it failed.
        failure: HttpFailure,
    },
    /// The credentials are refused or the cookie cannot be read.
    #[error("{method}: not authorised")]
    NotAuthorised {
        /// What was called.
        method: &'static str,
    },
    /// An answer of another shape than expected.
    #[error("{method}: unreadable answer: {reason}")]
    Unreadable {
        /// What was called.
        method: &'static str,
        /// In words.
        reason: String,
    },
}

/// Memory pool in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct MempoolInfo {
    /// Transactions in it.
    pub size: u64,
    /// Their virtual bytes.
    pub bytes: u64,
}

/// A client of one bitcoind. Cheap to clone; one connection per call.
#[derive(Clone, Debug)]
pub struct BitcoindRpc {
    server: Arc<Server>,
}

#[derive(Debug)]
struct Server {
    address: String,
    authentication: Authentication,
}

#[derive(Deserialize)]
struct Reply {
    result: Option<Value>,
    error: Option<ReplyError>,
}

#[derive(Deserialize)]
struct ReplyError {
    code: i64,
    message: String,
}

impl BitcoindRpc {
    /// For the RPC server at `address` (host and port).
    pub fn new(address: impl Into<String>, authentication: Authentication) -> Self {
        Self {
            server: Arc::new(Server {
                address: address.into(),
                authentication,
            }),
        }
    }

    /// Height of the best chain.
    pub async fn block_count(&self) -> Result<u32, RpcError> {
        self.call("getblockcount", json!([])).await
    }

    /// Tip of the best chain.
    pub async fn best_block_hash(&self) -> Result<BlockHash, RpcError> {
        self.call("getbestblockhash", json!([])).await
    }

    /// Hash of the best chain's block at `height`.
    pub async fn block_hash(&self, height: u32) -> Result<BlockHash, RpcError> {
        self.call("getblockhash", json!([height])).await
    }

    /// A whole block.
    pub async fn block(&self, hash: BlockHash) -> Result<Block, RpcError> {
        const METHOD: &str = "getblock";
        let hex: String = self.call(METHOD, json!([hash, 0])).await?;
        deserialize_hex(&hex).map_err(|error| unreadable(METHOD, &error))
    }

    /// A transaction in the mempool, or anywhere with `-txindex`.
    pub async fn raw_transaction(&self, txid: Txid) -> Result<Transaction, RpcError> {
        const METHOD: &str = "getrawtransaction";
        let hex: String = self.call(METHOD, json!([txid])).await?;
        deserialize_hex(&hex).map_err(|error| unreadable(METHOD, &error))
    }

    /// Hands a transaction in; refused with code -25, -26 or -27 and a reject word.
    pub async fn send_raw_transaction(&self, transaction: &Transaction) -> Result<Txid, RpcError> {
        self.call("sendrawtransaction", json!([serialize_hex(transaction)]))
            .await
    }

    /// Txids in the mempool, sorted.
    pub async fn raw_mempool(&self) -> Result<Vec<Txid>, RpcError> {
        let mut txids: Vec<Txid> = self.call("getrawmempool", json!([])).await?;
        txids.sort_unstable();
        Ok(txids)
    }

    /// Numbers of the mempool.
    pub async fn mempool_info(&self) -> Result<MempoolInfo, RpcError> {
        self.call("getmempoolinfo", json!([])).await
    }

    /// Hands a block in. `Some(word)` if it was not taken (BIP 22, for instance `duplicate`, `inconclusive`).
    pub async fn submit_block(&self, block: &Block) -> Result<Option<String>, RpcError> {
        self.call("submitblock", json!([serialize_hex(block)]))
            .await
    }

    /// Sets bitcoind's clock (regtest), seconds since 1970.
    pub async fn set_mock_time(&self, seconds: u64) -> Result<(), RpcError> {
        self.call("setmocktime", json!([seconds])).await
    }

    /// Mines blocks to an address (regtest).
    pub async fn generate_to_address(
        &self,
        blocks: u32,
        address: &str,
    ) -> Result<Vec<BlockHash>, RpcError> {
        self.call("generatetoaddress", json!([blocks, address]))
            .await
    }

    /// Mines one block with exactly these transactions (regtest), txids or raw hex.
    pub async fn generate_block(
        &self,
        address: &str,
        transactions: &[String],
    ) -> Result<BlockHash, RpcError> {
        #[derive(Deserialize)]
        struct Generated {
            hash: BlockHash,
        }
        let generated: Generated = self
            .call("generateblock", json!([address, transactions]))
            .await?;
        Ok(generated.hash)
    }

    /// Makes bitcoind leave the chain of this block.
    pub async fn invalidate_block(&self, hash: BlockHash) -> Result<(), RpcError> {
        self.call("invalidateblock", json!([hash])).await
    }

    /// Takes that back.
    pub async fn reconsider_block(&self, hash: BlockHash) -> Result<(), RpcError> {
        self.call("reconsiderblock", json!([hash])).await
    }

    /// Any call; `null` is read as `T`'s null.
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<T, RpcError> {
        let response = self.exchange(method, params).await?;
        if response.status == 401 || response.status == 403 {
            return Err(RpcError::NotAuthorised { method });
        }
        // Errors of the call come with status 500 (404 for an unknown method) and the same JSON shape.
        let reply: Reply =
            serde_json::from_str(&response.body).map_err(|error| unreadable(method, &error))?;
        if let Some(error) = reply.error {
            return Err(RpcError::Answered {
                method,
                code: error.code,
                message: error.message,
            });
        }
        serde_json::from_value(reply.result.unwrap_or(Value::Null))
            .map_err(|error| unreadable(method, &error))
    }

    async fn exchange(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<HttpResponse, RpcError> {
        let credentials = self
            .credentials()
            .ok_or(RpcError::NotAuthorised { method })?;
        let body =
            json!({ "jsonrpc": "1.0", "id": "lockstep", "method": method, "params": params });
        let request = OutgoingRequest {
            method: Method::Post,
            path: "/".to_owned(),
            headers: vec![
                ("host", self.server.address.clone()),
                (
                    "authorization",
                    format!("Basic {}", base64(credentials.as_bytes())),
                ),
                ("content-type", "application/json".to_owned()),
            ],
            body: body.to_string(),
        };
        let transport = |failure| RpcError::Transport { method, failure };
        let stream = connect(&self.server.address).await.map_err(transport)?;
        exchange_over(stream, request, tokio::time::sleep(CALL_LIMIT))
            .await
            .map_err(transport)
    }

    fn credentials(&self) -> Option<String> {
        match &self.server.authentication {
            Authentication::Cookie(path) => std::fs::read_to_string(path)
                .ok()
                .map(|text| text.trim().to_owned()),
            Authentication::UserPassword { user, password } => Some(format!("{user}:{password}")),
        }
    }
}

fn unreadable(method: &'static str, error: &dyn std::fmt::Display) -> RpcError {
    RpcError::Unreadable {
        method,
        reason: error.to_string(),
    }
}

/// Base64 (RFC 4648, section 4), for the Basic scheme (RFC 7617).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let block = chunk
            .iter()
            .chain(&[0, 0])
            .take(3)
            .fold(0_u32, |block, byte| block << 8 | u32::from(*byte));
        for place in 0..4 {
            let digit = usize::try_from(block >> (18 - 6 * place) & 63).expect("six bits");
            text.push(if place <= chunk.len() {
                char::from(ALPHABET[digit])
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_gives_the_vectors_of_rfc_4648() {
        let vectors = [
            "", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy",
        ];
        for (length, expected) in vectors.iter().enumerate() {
            assert_eq!(base64(&b"foobar"[..length]), *expected);
        }
    }
}
