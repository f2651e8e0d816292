//! Owns the list of the real adapters. They run on tokio, over real sockets and the wall clock; nothing in here is
//! used by a simulation but the two functions that are generic over the stream: [`http_client::exchange_over`] and
//! [`webhook_server::serve_connection`].

pub mod bitcoind_rpc;
mod blocking;
pub mod electrs;
pub mod http_client;
pub mod ldk_node;
pub mod os_entropy;
pub mod software_signer;
pub mod system_clock;
pub mod tcp_stream;
pub mod webhook_server;
