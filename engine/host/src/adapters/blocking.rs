//! Owns the way to call what blocks (Electrum's client, ldk-node) without stopping the task. Needs a tokio runtime.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

/// Runs a blocking call beside the task; `Err` (in words) if it panicked or the runtime ends.
pub(crate) fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> T + Send + 'static,
) -> BoxFuture<'static, Result<T, String>> {
    tokio::task::spawn_blocking(call)
        .map(|joined| joined.map_err(|error| error.to_string()))
        .boxed()
}
