//! Owns the pauses, the death and the further lives of electrs in the regtest world. Does not own its process as such
//! (`server_process`), its first start (`servers`), nor who waits for it meanwhile (`rest`).

use super::electrs_questions::connect;
use super::server_process::Back;
use super::servers::Servers;
use super::waits::POLL;
use crate::worlds::WorldError;
use nix::sys::signal::Signal;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Longest wait for an answer of an electrs that goes on or was started again, in real time: the machine may be busy.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);

impl Servers {
    /// Whether electrs is paused or dead.
    pub(super) fn electrs_is_away(&self) -> bool {
        self.electrs_process.is_away()
    }

    /// Has electrs look for what is new.
    pub(super) fn wake_electrs(&self) -> Result<(), WorldError> {
        self.electrs_process.signal(Signal::SIGUSR1)
    }

    /// Stops it where it stands; its connections stay.
    pub(super) fn pause_electrs(&mut self) -> Result<(), WorldError> {
        self.electrs_process.pause()
    }

    /// Kills it.
    pub(super) async fn kill_electrs(&mut self) -> Result<(), WorldError> {
        self.electrs_process.kill().await
    }

    /// Kills it, starts it again with its index, and stops it before it is asked anything: whoever connects waits.
    pub(super) async fn start_electrs_slowly(&mut self) -> Result<(), WorldError> {
        self.kill_electrs().await?;
        self.bring_electrs_back().await?;
        self.pause_electrs()
    }

    /// Lets it go on, or starts it again, and waits until it answers.
    pub(super) async fn bring_electrs_back(&mut self) -> Result<(), WorldError> {
        if self.electrs_process.bring_back(&[])? == Back::Never {
            return Ok(());
        }
        // What was asked before is not answered, or by nobody who waits for it.
        let (url, start) = (self.electrs.electrum_url.clone(), Instant::now());
        loop {
            match connect(&url) {
                Ok(client) => {
                    self.electrs.client = client;
                    return Ok(());
                }
                Err(error) if start.elapsed() >= ANSWER_LIMIT => {
                    return Err(self.electrs_failed(error));
                }
                Err(_) => sleep(POLL).await,
            }
        }
    }
}
