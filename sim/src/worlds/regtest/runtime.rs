//! Owns the runtime that the regtest world lives in. Does not own what runs there.

use super::super::WorldError;
use tokio::runtime::Runtime;

/// The runtime that the world lives in. The thread that calls `block_on` must stay: the servers end with it.
pub fn runtime() -> Result<Runtime, WorldError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.map_err(|error| WorldError::harness("start the regtest world's runtime", error))
}
