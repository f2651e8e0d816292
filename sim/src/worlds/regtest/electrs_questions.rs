//! Owns the harness's own questions to electrs: whether it has seen what bitcoind has. They go over a connection of their own,
//! apart from the engine's and the nodes'. Does not own bitcoind's side (`chain`), nor waiting (`rest`).
//!
//! All of them only read. One that is not answered in time, or whose connection is lost, is asked again over a new
//! connection the next time that somebody looks: an answer that comes late must not be taken for that of another question.

use super::chain::Sight;
use super::servers::Servers;
use crate::worlds::WorldError;
use bitcoin::Txid;
use electrsd::electrum_client::raw_client::{ElectrumPlaintextStream, RawClient};
use electrsd::electrum_client::{ElectrumApi, Error};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long one question may take, in real time. An idle machine needs milliseconds; one that is busy with other runs
/// has been seen to take more than three seconds.
const QUESTION_LIMIT: Duration = Duration::from_secs(20);

/// A new connection to electrs.
pub(super) fn connect(url: &str) -> Result<RawClient<ElectrumPlaintextStream>, Error> {
    RawClient::new(url, Some(QUESTION_LIMIT), None)
}

/// Why electrs told nothing.
#[derive(Debug)]
enum NoAnswer {
    /// The question or its answer was lost on the way, or not answered within the limit.
    Lost,
    /// It cannot be asked.
    Failed(WorldError),
}

impl From<WorldError> for NoAnswer {
    fn from(error: WorldError) -> NoAnswer {
        NoAnswer::Failed(error)
    }
}

/// What electrs says right after its start.
const INDEX_NOT_READ: &str = "unavailable index";

/// Whether an error is one of the connection, and not what electrs has answered.
fn is_of_connection(error: &Error) -> bool {
    match error {
        Error::IOError(_) | Error::SharedIOError(_) | Error::CouldntLockReader | Error::Mpsc => {
            true
        }
        Error::AllAttemptsErrored(errors) => errors.iter().all(is_of_connection),
        // It answers before it has its index again.
        Error::Protocol(answer) => answer["message"] == INDEX_NOT_READ,
        _ => false,
    }
}

impl Servers {
    /// What electrs does not show yet of what bitcoind has; asks it to look.
    pub(super) fn electrs_lacks(
        &mut self,
        sight: &Sight,
        known: &mut BTreeSet<Txid>,
    ) -> Result<Vec<String>, WorldError> {
        match self.electrs_shows(sight, known) {
            Ok(lacks) => Ok(lacks),
            Err(NoAnswer::Failed(error)) => Err(error),
            Err(NoAnswer::Lost) => {
                if !self.electrs_process.is_alive()? {
                    return Err(self.electrs_failed("it has ended by itself"));
                }
                // One that does not take the connection either is asked again with the old one, which fails at once.
                if let Ok(client) = connect(&self.electrs.electrum_url) {
                    self.electrs.client = client;
                }
                Ok(vec!["electrs to answer".to_owned()])
            }
        }
    }

    fn no_answer(&self, error: Error) -> NoAnswer {
        if is_of_connection(&error) {
            NoAnswer::Lost
        } else {
            NoAnswer::Failed(self.electrs_failed(error))
        }
    }

    fn electrs_shows(
        &self,
        sight: &Sight,
        known: &mut BTreeSet<Txid>,
    ) -> Result<Vec<String>, NoAnswer> {
        let failed = |error| self.no_answer(error);
        let client = &self.electrs.client;
        while client.block_headers_pop().map_err(failed)?.is_some() {}
        let tip = client.block_headers_subscribe().map_err(failed)?;
        let mut lacks = Vec::new();
        if tip.height as u64 != u64::from(sight.tip.height)
            || tip.header.block_hash() != sight.tip.hash
        {
            lacks.push(format!("electrs to see block {}", sight.tip.height));
        } else if !self.same_mempool(sight, known)? {
            lacks.push("electrs to see the mempool".to_owned());
        }
        if !lacks.is_empty() {
            self.wake_electrs()?;
        }
        Ok(lacks)
    }

    /// The same total size, and every transaction in the history of one of its outputs.
    fn same_mempool(&self, sight: &Sight, known: &mut BTreeSet<Txid>) -> Result<bool, NoAnswer> {
        let failed = |error| self.no_answer(error);
        let histogram = self
            .electrs
            .client
            .raw_call("mempool.get_fee_histogram", [])
            .map_err(failed)?;
        let sizes = histogram
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|bin| bin[1].as_u64());
        if self.mempool_bytes()? != Some(sizes.sum()) {
            return Ok(false);
        }
        known.retain(|txid| sight.mempool.contains(txid));
        for txid in &sight.mempool {
            if known.contains(txid) {
                continue;
            }
            let transaction = self.transaction(txid)?;
            let spendable = transaction
                .output
                .iter()
                .find(|output| !output.script_pubkey.is_op_return());
            if let Some(output) = spendable {
                let history = self
                    .electrs
                    .client
                    .script_get_history(&output.script_pubkey)
                    .map_err(failed)?;
                if !history.iter().any(|item| item.tx_hash == *txid) {
                    return Ok(false);
                }
            }
            known.insert(*txid);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::Arc;

    #[test]
    fn what_is_lost_on_the_way_is_told_from_what_electrs_refuses() {
        let slow = || io::Error::from(io::ErrorKind::WouldBlock);
        for error in [
            Error::IOError(slow()),
            Error::SharedIOError(Arc::new(slow())),
            Error::AllAttemptsErrored(vec![Error::IOError(
                io::ErrorKind::ConnectionRefused.into(),
            )]),
        ] {
            assert!(is_of_connection(&error), "{error:?}");
        }
        let refusal = Error::Protocol(serde_json::json!({ "code": 1 }));
        assert!(!is_of_connection(&refusal));
        assert!(!is_of_connection(&Error::AllAttemptsErrored(vec![refusal])));
    }
}
