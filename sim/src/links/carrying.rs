//! Owns one direction of a connection: chunks are carried in order, each not before its time, through whatever faults
//! hold them. Does not own connections (`Network`).

use super::faults::Cargo;
use super::{Chunk, MAX_CHUNKS_ON_THE_WAY, Network};
use crate::trace::Subsystem;
use crate::vtime::simulated_instant;
use async_channel::{Receiver, Sender};
use bitcoin::hashes::{Hash, sha256};
use madsim::time::sleep_until;

pub(super) struct Carrying {
    pub(super) network: Network,
    pub(super) connection: u64,
    pub(super) path: (String, String),
}

impl Carrying {
    /// Carries until either side closes.
    pub(super) async fn run(self, on_the_way: Receiver<Chunk>, sink: Sender<Vec<u8>>) {
        while let Ok(chunk) = on_the_way.recv().await {
            sleep_until(chunk.due).await;
            let path = (self.path.0.as_str(), self.path.1.as_str());
            let passed = self.network.pass(path, Cargo::Chunk).await;
            self.network.state().on_the_way -= 1;
            if !passed {
                break;
            }
            if let Some(fault) = self.network.lost_by(self.connection) {
                self.network.had_effect(fault);
                continue;
            }
            self.record(&chunk);
            let is_full = sink.len() >= MAX_CHUNKS_ON_THE_WAY;
            if is_full || sink.try_send(chunk.bytes).is_err() {
                break;
            }
            self.network.after_delivery(self.connection, &self.path);
        }
        if self
            .network
            .is_kept_open_without(self.connection, &self.path.0)
        {
            return;
        }
        sink.close();
        on_the_way.close();
        while on_the_way.try_recv().is_ok() {
            self.network.state().on_the_way -= 1;
        }
        self.network.close(self.connection);
    }

    fn record(&self, chunk: &Chunk) {
        let hash = sha256::Hash::hash(&chunk.bytes).to_string();
        let took_us = (simulated_instant() - chunk.sent).as_micros() as u64;
        let event = serde_json::json!({ "to": self.path.1, "bytes": chunk.bytes.len(), "sha256": hash,
            "took_us": took_us });
        self.network
            .trace
            .lock()
            .record(Subsystem::Links, &self.path.0, event);
    }
}
