//! Owns what Layer 0 does wrong about one party's DID or one payment, in the checked scenario. Does not own Layer 0
//! (`worlds::layer0`).

use crate::scenario::model::{Millis, PartyName, PaymentName};
use std::fmt::{self, Display, Formatter};

/// Trouble with Layer 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer0Fault {
    /// What it is about: faults may be armed before anybody asks.
    pub about: About,
    /// What happens.
    pub kind: Layer0FaultKind,
}

/// What Layer 0 is called about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// Questions for the DID of a party that has one.
    Party(PartyName),
    /// Statements about a payment of any step.
    Payment(PaymentName),
}

impl About {
    /// Its name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Party(party) => party.as_str(),
            Self::Payment(payment) => payment.as_str(),
        }
    }
}

/// What Layer 0 does wrong. Spans are above zero, counts at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer0FaultKind {
    /// The connection is lost before the request is looked at.
    LoseRequest {
        /// Requests in a row.
        times: u32,
    },
    /// What is asked is done, the response is lost.
    LoseResponse {
        /// Responses in a row.
        times: u32,
    },
    /// What is asked is done, and answered so much later; until then its key is in use.
    SlowResponse {
        /// How much later.
        by: Millis,
    },
    /// What is asked is done, and the answer's body takes so long.
    SlowBody {
        /// How long.
        by: Millis,
    },
    /// What is asked is done, and the connection is lost in the middle of the answer's body.
    CutBody {
        /// Responses in a row.
        times: u32,
    },
    /// Status 500 before the request is looked at.
    ServerError {
        /// Requests in a row.
        times: u32,
    },
    /// Status 429 before the request is looked at.
    TooManyRequests {
        /// Requests in a row.
        times: u32,
    },
    /// The statement's idempotency key is forgotten at once.
    ForgetKey,
}

impl Layer0FaultKind {
    /// Its word in files.
    pub fn name(&self) -> &'static str {
        match self {
            Self::LoseRequest { .. } => "lose-request",
            Self::LoseResponse { .. } => "lose-response",
            Self::SlowResponse { .. } => "slow-response",
            Self::SlowBody { .. } => "slow-body",
            Self::CutBody { .. } => "cut-body",
            Self::ServerError { .. } => "server-error",
            Self::TooManyRequests { .. } => "too-many-requests",
            Self::ForgetKey => "forget-key",
        }
    }

    /// How many in a row, if it counts.
    pub fn times(&self) -> Option<u32> {
        match self {
            Self::LoseRequest { times }
            | Self::LoseResponse { times }
            | Self::CutBody { times }
            | Self::ServerError { times }
            | Self::TooManyRequests { times } => Some(*times),
            Self::SlowResponse { .. } | Self::SlowBody { .. } | Self::ForgetKey => None,
        }
    }

    /// How late or how long, if it takes time.
    pub fn by(&self) -> Option<Millis> {
        match self {
            Self::SlowResponse { by } | Self::SlowBody { by } => Some(*by),
            Self::LoseRequest { .. }
            | Self::LoseResponse { .. }
            | Self::CutBody { .. }
            | Self::ServerError { .. }
            | Self::TooManyRequests { .. }
            | Self::ForgetKey => None,
        }
    }

    /// How many in a row, to be changed.
    pub fn times_mut(&mut self) -> Option<&mut u32> {
        match self {
            Self::LoseRequest { times }
            | Self::LoseResponse { times }
            | Self::CutBody { times }
            | Self::ServerError { times }
            | Self::TooManyRequests { times } => Some(times),
            Self::SlowResponse { .. } | Self::SlowBody { .. } | Self::ForgetKey => None,
        }
    }

    /// Whether Layer 0 lets time pass in the middle of an exchange, which the regtest world cannot: its time stands still
    /// while an exchange is under way.
    pub fn takes_time(&self) -> bool {
        self.by().is_some()
    }
}

impl Display for Layer0Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let word = match self.about {
            About::Party(_) => "party",
            About::Payment(_) => "on",
        };
        let (name, about) = (self.kind.name(), self.about.as_str());
        write!(f, "{name} {word} {about}")?;
        if let Some(times) = self.kind.times() {
            write!(f, " times {times}")?;
        }
        match self.kind.by() {
            Some(by) => write!(f, " by {by}"),
            None => Ok(()),
        }
    }
}
