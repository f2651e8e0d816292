//! Owns what is made to go wrong at the gateway, and how often each fault took effect. Does not own when faults are armed.

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
}

#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    all: Vec<ArmedFault>,
}

impl Faults {
    pub(super) fn arm(&mut self, fault: GatewayFault) {
        self.all.push(ArmedFault { fault, effects: 0 });
    }

    pub(super) fn all(&self) -> &[ArmedFault] {
        &self.all
    }

    /// Counts an effect of the first fault that `read` recognises and that is not spent, and gives what was read.
    fn fire<T>(&mut self, read: impl Fn(&GatewayFault) -> Option<(T, u32)>) -> Option<T> {
        self.all.iter_mut().find_map(|armed| {
            let (value, limit) = read(&armed.fault)?;
            (armed.effects < limit).then(|| {
                armed.effects += 1;
                value
            })
        })
    }

    pub(super) fn refuses_connection(&mut self) -> bool {
        let fired = self.fire(|fault| match fault {
            GatewayFault::RefuseConnection { times } => Some(((), *times)),
            _ => None,
        });
        fired.is_some()
    }

    pub(super) fn fails(&mut self, about: &str) -> bool {
        let fired = self.fire(|fault| match fault {
            GatewayFault::ServerError { reference, times } if reference == about => {
                Some(((), *times))
            }
            _ => None,
        });
        fired.is_some()
    }

    pub(super) fn loses_response(&mut self, about: &str) -> bool {
        let fired = self.fire(|fault| match fault {
            GatewayFault::LoseResponse { reference } if reference == about => Some(((), 1)),
            _ => None,
        });
        fired.is_some()
    }

    pub(super) fn slows_response_secs(&mut self, about: &str) -> Option<u64> {
        self.fire(|fault| match fault {
            GatewayFault::SlowResponse { reference, secs } if reference == about => {
                Some((*secs, 1))
            }
            _ => None,
        })
    }

    pub(super) fn rejects(&mut self, about: &str) -> Option<String> {
        self.fire(|fault| match fault {
            GatewayFault::RejectTransfer { reference, code } if reference == about => {
                Some((code.clone(), 1))
            }
            _ => None,
        })
    }

    /// Seconds from acceptance, and the reason.
    pub(super) fn returns(&mut self, about: &str) -> Option<(u64, String)> {
        self.fire(|fault| match fault {
            GatewayFault::ReturnTransfer {
                reference,
                reason,
                after_secs,
            } if reference == about => Some(((*after_secs, reason.clone()), 1)),
            _ => None,
        })
    }

    pub(super) fn drops_webhook(&mut self, about: &str) -> bool {
        let fired = self.fire(|fault| match fault {
            GatewayFault::DropWebhook { reference } if reference == about => Some(((), u32::MAX)),
            _ => None,
        });
        fired.is_some()
    }

    pub(super) fn duplicates_webhook(&mut self, about: &str) -> bool {
        let fired = self.fire(|fault| match fault {
            GatewayFault::DuplicateWebhook { reference } if reference == about => {
                Some(((), u32::MAX))
            }
            _ => None,
        });
        fired.is_some()
    }

    pub(super) fn delays_webhook_secs(&mut self, about: &str) -> Option<u64> {
        self.fire(|fault| match fault {
            GatewayFault::DelayWebhook { reference, secs } if reference == about => {
                Some((*secs, u32::MAX))
            }
            _ => None,
        })
    }

    pub(super) fn missigns_webhook(&mut self, about: &str) -> bool {
        let fired = self.fire(|fault| match fault {
            GatewayFault::WrongSignature { reference } if reference == about => {
                Some(((), u32::MAX))
            }
            _ => None,
        });
        fired.is_some()
    }
}
