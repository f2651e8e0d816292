//! Owns the engine's connection to the chain's backend (`ChainSource`). Does not own the backend nor the links.
//!
//! Fault model: notices, looks, questions about fees and broadcasts travel over the link between `engine` and `chain`. A look, question or broadcast
//! whose question or answer is lost, or was held for too long, fails for the engine, which does not know then whether it
//! was heard. A notice that is lost is sent again. A doubled broadcast is submitted twice, a doubled notice tells twice.

use super::backend::{Backend, ENDPOINT};
use crate::links::{Arrival, Network};
use async_channel::Receiver;
use bitcoin::{ScriptBuf, Transaction, Txid};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lockstep_engine::rail::{BlockId, ChainView, FeesSeen};
use lockstep_host::ports::{BroadcastError, ChainSource, ChainUnavailable};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The engine's connection to the backend.
pub(crate) struct EngineChain {
    backend: Backend,
    network: Network,
    changes: Receiver<()>,
    /// A notice was doubled on its way: the second one is there already.
    again: Arc<AtomicBool>,
}

impl EngineChain {
    /// Connects the endpoint `engine`.
    pub(crate) fn new(backend: Backend, network: Network) -> EngineChain {
        let changes = backend.subscribe();
        EngineChain {
            backend,
            network,
            changes,
            again: Arc::new(AtomicBool::new(false)),
        }
    }
}

/// Carries a question there or an answer back; `Err`: it was lost.
async fn carry(network: &Network, from: &str, to: &str) -> Result<u32, String> {
    match network.travel(from, to).await {
        Arrival::Arrived { copies } => Ok(copies),
        Arrival::Lost => Err("the connection to the backend was reset".to_owned()),
    }
}

impl ChainSource for EngineChain {
    fn view(
        &self,
        scripts: Vec<ScriptBuf>,
        known: Vec<BlockId>,
    ) -> BoxFuture<'static, Result<ChainView, ChainUnavailable>> {
        let (backend, network) = (self.backend.clone(), self.network.clone());
        let look = async move {
            carry(&network, super::ENGINE, ENDPOINT).await?;
            backend.answers().await?;
            let view = backend.view(&scripts, &known);
            carry(&network, ENDPOINT, super::ENGINE).await?;
            Ok(view)
        };
        Box::pin(
            look.map(|result: Result<_, String>| {
                result.map_err(|reason| ChainUnavailable { reason })
            }),
        )
    }

    fn broadcast(
        &self,
        transaction: Transaction,
    ) -> BoxFuture<'static, Result<Txid, BroadcastError>> {
        let (backend, network) = (self.backend.clone(), self.network.clone());
        let unavailable = |reason| BroadcastError::Unavailable { reason };
        Box::pin(async move {
            let copies = carry(&network, super::ENGINE, ENDPOINT)
                .await
                .map_err(unavailable)?;
            backend.answers().await.map_err(unavailable)?;
            let mut answer = backend.submit(&transaction);
            for _ in 1..copies {
                answer = backend.submit(&transaction);
            }
            carry(&network, ENDPOINT, super::ENGINE)
                .await
                .map_err(unavailable)?;
            answer.map_err(|word| BroadcastError::Refused { word })
        })
    }

    fn fees(&self) -> BoxFuture<'static, Result<FeesSeen, ChainUnavailable>> {
        let (backend, network) = (self.backend.clone(), self.network.clone());
        let asked = async move {
            carry(&network, super::ENGINE, ENDPOINT).await?;
            backend.answers().await?;
            let seen = backend.fees();
            carry(&network, ENDPOINT, super::ENGINE).await?;
            Ok(seen)
        };
        Box::pin(
            asked.map(|result: Result<_, String>| {
                result.map_err(|reason| ChainUnavailable { reason })
            }),
        )
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        let (backend, network) = (self.backend.clone(), self.network.clone());
        let (changes, again) = (self.changes.clone(), self.again.clone());
        Box::pin(async move {
            if again.swap(false, Ordering::Relaxed) {
                return;
            }
            if changes.recv().await.is_err() {
                std::future::pending::<()>().await;
            }
            backend.wait_while_stopped().await;
            let copies = network.travel_surely(ENDPOINT, super::ENGINE).await;
            again.store(copies > 1, Ordering::Relaxed);
        })
    }
}
