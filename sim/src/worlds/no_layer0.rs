//! Owns the Layer 0 port of an engine whose scenario has no Layer 0: nobody can be reached. The same in both worlds.
//! Does not own any Layer 0.

use futures_util::future::BoxFuture;
use lockstep_engine::rail::HttpFailure;
use lockstep_host::ports::{GatewayCall, HttpResponse, HttpTransport};

/// For a scenario in which nobody has a DID.
pub struct NoLayer0;

impl HttpTransport for NoLayer0 {
    fn exchange(&self, _: GatewayCall) -> BoxFuture<'static, Result<HttpResponse, HttpFailure>> {
        Box::pin(std::future::ready(Err(HttpFailure::NotConnected)))
    }
}
