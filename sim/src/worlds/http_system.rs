//! Owns the seam between an outside HTTP system (a pure model) and the transports of both worlds, and the shared handle of
//! Layer 0. Does not own what a system answers (`gateway`, `layer0`) nor sockets.

use super::SharedGateway;
use super::gateway::{Request, Response, WebhookDelivery};
use super::layer0::Layer0;
use crate::faults::Faults;
use std::sync::{Arc, Mutex, MutexGuard};

/// A system that is called over HTTP and may call back. Times are milliseconds since 1970.
pub trait HttpSystem: Send + Sync {
    /// Its name on links and in messages.
    fn endpoint(&self) -> &'static str;

    /// Answers a request.
    fn handle(&self, now_ms: u64, request: &Request) -> Response;

    /// Does what is due and gives the webhooks to send now.
    fn take_due(&self, now_ms: u64) -> Vec<WebhookDelivery>;

    /// When it next does something by itself.
    fn next_due_ms(&self) -> Option<u64>;

    /// What became of a webhook: the status, or `None` if there was no answer.
    fn webhook_answered(&self, id: &str, status: Option<u16>, now_ms: u64);

    /// Its clock was set by so many milliseconds.
    fn clock_was_set(&self, by_ms: i64);
}

/// The name of the gateway's endpoint.
pub const GATEWAY: &str = "gateway";

/// The name of Layer 0's endpoint.
pub const LAYER0: &str = "layer0";

impl HttpSystem for SharedGateway {
    fn endpoint(&self) -> &'static str {
        GATEWAY
    }

    fn handle(&self, now_ms: u64, request: &Request) -> Response {
        self.lock().handle(now_ms, request)
    }

    fn take_due(&self, now_ms: u64) -> Vec<WebhookDelivery> {
        self.lock().take_due(now_ms)
    }

    fn next_due_ms(&self) -> Option<u64> {
        self.lock().next_due_ms()
    }

    fn webhook_answered(&self, id: &str, status: Option<u16>, now_ms: u64) {
        self.lock().webhook_answered(id, status, now_ms);
    }

    fn clock_was_set(&self, by_ms: i64) {
        self.lock().clock_was_set(by_ms);
    }
}

/// The Layer 0 model, shared between its transport and the scenario.
#[derive(Clone)]
pub struct SharedLayer0(Arc<Mutex<Layer0>>);

impl SharedLayer0 {
    /// Shares it; the effects of its faults are counted in the run's record.
    pub fn counting(mut layer0: Layer0, faults: Arc<Mutex<Faults>>) -> SharedLayer0 {
        layer0.count_in(faults);
        SharedLayer0(Arc::new(Mutex::new(layer0)))
    }

    /// Exclusive access; never held across an await.
    pub fn lock(&self) -> MutexGuard<'_, Layer0> {
        self.0.lock().expect("no holder of Layer 0 panics")
    }
}

impl HttpSystem for SharedLayer0 {
    fn endpoint(&self) -> &'static str {
        LAYER0
    }

    fn handle(&self, now_ms: u64, request: &Request) -> Response {
        self.lock().handle(now_ms, request)
    }

    fn take_due(&self, now_ms: u64) -> Vec<WebhookDelivery> {
        self.lock().take_due(now_ms)
    }

    fn next_due_ms(&self) -> Option<u64> {
        self.lock().next_due_ms()
    }

    fn webhook_answered(&self, id: &str, status: Option<u16>, now_ms: u64) {
        self.lock().webhook_answered(id, status, now_ms);
    }

    fn clock_was_set(&self, by_ms: i64) {
        self.lock().clock_was_set(by_ms);
    }
}
