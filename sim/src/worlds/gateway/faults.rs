//! Owns what is made to go wrong at the gateway, and how often each fault took effect. Does not own when faults are armed.

use crate::faults::FaultId;
use std::sync::{Arc, Mutex};

/// A fault. Those that name a `reference` concern the transfer of that reference only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatewayFault {
    /// The next order is carried out, and the connection is cut before the answer. Once.
    LoseResponse {
        /// Which transfer.
        reference: String,
    },
    /// The next order is carried out at once, but answered so much later; meanwhile its key is in use. Once.
    SlowResponse {
        /// Which transfer.
        reference: String,
        /// How much later, in seconds.
        secs: u64,
    },
    /// The connection is lost before an order is looked at.
    LoseRequest {
        /// Which transfer.
        reference: String,
        /// How often.
        times: u32,
    },
    /// The next order is carried out at once, and the body of its answer takes so long. Once.
    SlowBody {
        /// Which transfer.
        reference: String,
        /// How long, in seconds.
        secs: u64,
    },
    /// Orders are carried out, and the connection is lost in the middle of the answer's body.
    CutBody {
        /// Which transfer.
        reference: String,
        /// How often.
        times: u32,
    },
    /// Orders are answered with 429 and have no effect.
    TooManyRequests {
        /// Which transfer.
        reference: String,
        /// How often.
        times: u32,
    },
    /// Orders' idempotency keys are forgotten when they have been answered. It takes effect when a key comes again.
    ForgetKey {
        /// Which transfer.
        reference: String,
    },
    /// The first event waits for the second one, and comes after it. Takes effect when there is a second one.
    ReorderWebhooks {
        /// Which transfer.
        reference: String,
    },
    /// The first attempt of every event tells another amount, rightly signed.
    WrongAmount {
        /// Which transfer.
        reference: String,
    },
    /// Orders fail with 500 and have no effect.
    ServerError {
        /// Which transfer.
        reference: String,
        /// How often.
        times: u32,
    },
    /// Connections are refused, whatever they carry.
    RefuseConnection {
        /// How often.
        times: u32,
    },
    /// The next order is refused for good. Once.
    RejectTransfer {
        /// Which transfer.
        reference: String,
        /// The error's code.
        code: String,
    },
    /// The transfer comes back; if that is not later than its booking, it is never booked. Once.
    ReturnTransfer {
        /// Which transfer.
        reference: String,
        /// ISO 20022 ExternalReturnReason1Code, for instance AC04.
        reason: String,
        /// From acceptance, in seconds.
        after_secs: u64,
    },
    /// Every event is sent twice.
    DuplicateWebhook {
        /// Which transfer.
        reference: String,
    },
    /// Every event is sent late.
    DelayWebhook {
        /// Which transfer.
        reference: String,
        /// How late, in seconds.
        secs: u64,
    },
    /// No event is sent at all.
    DropWebhook {
        /// Which transfer.
        reference: String,
    },
    /// The first attempt of every event is signed with another secret.
    WrongSignature {
        /// Which transfer.
        reference: String,
    },
    /// Somebody who does not know the secret tells us, soon after the order was taken, that the transfer is booked. Once.
    ForgedWebhook {
        /// Which transfer.
        reference: String,
    },
}

/// A bug planted to prove that checkers find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatewayBug {
    /// A repeated order is carried out again.
    IgnoreIdempotencyKey,
}

/// A fault with its history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArmedFault {
    /// Which.
    pub fault: GatewayFault,
    /// How often it took effect. Zero at the end of a run: the run proved nothing about it.
    pub effects: u32,
    /// Where effects are counted for the run.
    id: Option<FaultId>,
}

#[derive(Clone, Debug, Default)]
pub(in crate::worlds) struct Faults {
    all: Vec<ArmedFault>,
    run: Option<Arc<Mutex<crate::faults::Faults>>>,
}

impl Faults {
    /// From now on effects are counted there, too.
    pub(in crate::worlds) fn count_in(&mut self, run: Arc<Mutex<crate::faults::Faults>>) {
        self.run = Some(run);
    }

    pub(in crate::worlds) fn arm(&mut self, fault: GatewayFault, id: Option<FaultId>) {
        self.all.push(ArmedFault {
            fault,
            effects: 0,
            id,
        });
    }

    pub(in crate::worlds) fn all(&self) -> &[ArmedFault] {
        &self.all
    }

    /// Counts an effect of the first fault that `read` recognises and that is not spent, and gives what was read.
    fn fire<T>(&mut self, read: impl Fn(&GatewayFault) -> Option<(T, u32)>) -> Option<T> {
        let run = &self.run;
        self.all.iter_mut().find_map(|armed| {
            let (value, limit) = read(&armed.fault)?;
            (armed.effects < limit).then(|| {
                armed.effects += 1;
                if let (Some(run), Some(id)) = (run, armed.id) {
                    run.lock().expect("no holder panics").had_effect(id);
                }
                value
            })
        })
    }

    /// Whether such a fault is armed, without an effect.
    fn is_armed(&self, is: impl Fn(&GatewayFault) -> bool) -> bool {
        self.all.iter().any(|armed| is(&armed.fault))
    }

    pub(in crate::worlds) fn loses_request(&mut self, about: &str) -> bool {
        let fired = self.fire(|fault| match fault {
            GatewayFault::LoseRequest { reference, times } if reference == about => {
                Some(((), *times))
            }
            _ => None,
        });
        fired.is_some()
    }

    pub(in crate::worlds) fn slows_body_secs(&mut self, about: &str) -> Option<u64> {
        self.fire(|fault| match fault {
            GatewayFault::SlowBody { reference, secs } if reference == about => Some((*secs, 1)),
            _ => None,
        })
    }

    pub(in crate::worlds) fn cuts_body(&mut self, about: &str) -> bool {
        let fired = self.fire(|fault| match fault {
            GatewayFault::CutBody { reference, times } if reference == about => Some(((), *times)),
            _ => None,
        });
        fired.is_some()
    }

    pub(in crate::worlds) fn limits(&mut self, about: &str) -> bool {
        let fired = self.fire(|fault| match fault {
            GatewayFault::TooManyRequests { reference, times } if reference == about => {
                Some(((), *times))
            }
            _ => None,
        });
        fired.is_some()
    }

    pub(in crate::worlds) fn forgets_key(&mut self, about: &str) -> bool {
        let fired = self.fire(|fault| match fault {
            GatewayFault::ForgetKey { reference } if reference == about => Some(((), u32::MAX)),
            _ => None,
        });
        fired.is_some()
    }

    /// Whether the first event about the transfer waits for the second.
    pub(in crate::worlds) fn holds_webhook(&self, about: &str) -> bool {
        self.is_armed(
            |fault| matches!(fault, GatewayFault::ReorderWebhooks { reference } if reference == about),
        )
    }

    /// The second event has come and overtakes the first.
    pub(in crate::worlds) fn reorders_webhooks(&mut self, about: &str) -> bool {
        let fired = self.fire(|fault| match fault {
            GatewayFault::ReorderWebhooks { reference } if reference == about => {
                Some(((), u32::MAX))
            }
            _ => None,
        });
        fired.is_some()
    }

    pub(in crate::worlds) fn misstates_webhook(&mut self, about: &str) -> bool {
        let fired = self.fire(|fault| match fault {
            GatewayFault::WrongAmount { reference } if reference == about => Some(((), u32::MAX)),
            _ => None,
        });
        fired.is_some()
    }

    pub(in crate::worlds) fn refuses_connection(&mut self) -> bool {
        let fired = self.fire(|fault| match fault {
            GatewayFault::RefuseConnection { times } => Some(((), *times)),
            _ => None,
        });
        fired.is_some()
    }

    pub(in crate::worlds) fn fails(&mut self, about: &str) -> bool {
        let fired = self.fire(|fault| match fault {
            GatewayFault::ServerError { reference, times } if reference == about => {
                Some(((), *times))
            }
            _ => None,
        });
        fired.is_some()
    }

    pub(in crate::worlds) fn loses_response(&mut self, about: &str) -> bool {
        let fired = self.fire(|fault| match fault {
            GatewayFault::LoseResponse { reference } if reference == about => Some(((), 1)),
            _ => None,
        });
        fired.is_some()
    }

    pub(in crate::worlds) fn slows_response_secs(&mut self, about: &str) -> Option<u64> {
        self.fire(|fault| match fault {
            GatewayFault::SlowResponse { reference, secs } if reference == about => {
                Some((*secs, 1))
            }
            _ => None,
        })
    }

    pub(in crate::worlds) fn rejects(&mut self, about: &str) -> Option<String> {
        self.fire(|fault| match fault {
            GatewayFault::RejectTransfer { reference, code } if reference == about => {
                Some((code.clone(), 1))
            }
            _ => None,
        })
    }

    /// Seconds from acceptance, and the reason.
    pub(in crate::worlds) fn returns(&mut self, about: &str) -> Option<(u64, String)> {
        self.fire(|fault| match fault {
            GatewayFault::ReturnTransfer {
                reference,
                reason,
                after_secs,
            } if reference == about => Some(((*after_secs, reason.clone()), 1)),
            _ => None,
        })
    }

    pub(in crate::worlds) fn drops_webhook(&mut self, about: &str) -> bool {
        let fired = self.fire(|fault| match fault {
            GatewayFault::DropWebhook { reference } if reference == about => Some(((), u32::MAX)),
            _ => None,
        });
        fired.is_some()
    }

    pub(in crate::worlds) fn duplicates_webhook(&mut self, about: &str) -> bool {
        let fired = self.fire(|fault| match fault {
            GatewayFault::DuplicateWebhook { reference } if reference == about => {
                Some(((), u32::MAX))
            }
            _ => None,
        });
        fired.is_some()
    }

    pub(in crate::worlds) fn delays_webhook_secs(&mut self, about: &str) -> Option<u64> {
        self.fire(|fault| match fault {
            GatewayFault::DelayWebhook { reference, secs } if reference == about => {
                Some((*secs, u32::MAX))
            }
            _ => None,
        })
    }

    pub(in crate::worlds) fn forges_webhook(&mut self, about: &str) -> bool {
        let fired = self.fire(|fault| match fault {
            GatewayFault::ForgedWebhook { reference } if reference == about => Some(((), 1)),
            _ => None,
        });
        fired.is_some()
    }

    pub(in crate::worlds) fn missigns_webhook(&mut self, about: &str) -> bool {
        let fired = self.fire(|fault| match fault {
            GatewayFault::WrongSignature { reference } if reference == about => {
                Some(((), u32::MAX))
            }
            _ => None,
        });
        fired.is_some()
    }
}
