//! Owns messages that are not part of a byte stream: what is told to and by the chain's backend (notices, looks,
//! broadcasts). Does not own what they mean. They overtake each other, can be lost or doubled, and nothing repeats them
//! but who sent them.

use super::faults::{Cargo, Obstacle};
use super::{Network, RESET_AFTER_HELD};
use crate::faults::FaultId;
use crate::vtime::simulated_instant;
use madsim::time::{Instant, sleep, sleep_until};
use std::time::Duration;

/// Who sends a lost message again waits this long: TCP's first retransmission time-out (RFC 6298).
const RESEND_AFTER: Duration = Duration::from_secs(1);

/// How often a message looks whether the endpoint that is down has come back.
const DOWN_POLL: Duration = Duration::from_millis(50);

/// How a message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a message may be lost, or come twice"]
pub enum Arrival {
    /// It is there, so often (at least once).
    Arrived {
        /// 1, or more if the link doubled it.
        copies: u32,
    },
    /// It is not, and its sender knows that he does not know.
    Lost,
}

/// A message on its way.
pub(super) struct Message {
    path: (String, String),
    /// The fault that holds it so that later ones may overtake it.
    held: Option<FaultId>,
}

/// Takes the message off the road when it has arrived or whoever waits for it has gone.
struct OnTheRoad<'a> {
    network: &'a Network,
    number: u64,
}

impl Drop for OnTheRoad<'_> {
    fn drop(&mut self) {
        self.network.state().messages.remove(&self.number);
    }
}

impl Network {
    /// Carries one message from `from` to `to`.
    pub async fn travel(&self, from: &str, to: &str) -> Arrival {
        let (road, at) = self.set_out(from, to);
        let Some(at) = at else {
            return Arrival::Lost;
        };
        sleep_until(at).await;
        if !self.pass((from, to), Cargo::Message).await {
            return Arrival::Lost;
        }
        while self.is_down(from) || self.is_down(to) {
            sleep(DOWN_POLL).await;
        }
        self.count_overtaken(road.number);
        let doubled = self.state().active.doubling(from, to);
        if let Some(fault) = doubled {
            self.had_effect(fault);
        }
        let copies = if doubled.is_some() { 2 } else { 1 };
        Arrival::Arrived { copies }
    }

    /// Carries one message and sends it again as often as it is lost; returns how often it arrived in the end.
    pub async fn travel_surely(&self, from: &str, to: &str) -> u32 {
        loop {
            match self.travel(from, to).await {
                Arrival::Arrived { copies } => return copies,
                Arrival::Lost => sleep(RESEND_AFTER).await,
            }
        }
    }

    fn set_out(&self, from: &str, to: &str) -> (OnTheRoad<'_>, Option<Instant>) {
        let (at, held) = self.departure((from, to), Cargo::Message);
        let mut state = self.state();
        let number = state.next_message;
        state.next_message += 1;
        let path = (from.to_owned(), to.to_owned());
        state.messages.insert(number, Message { path, held });
        let road = OnTheRoad {
            network: self,
            number,
        };
        (road, at)
    }

    /// Counts for each message that set out earlier, is held and was just overtaken.
    fn count_overtaken(&self, number: u64) {
        let state = self.state();
        let Some(arrived) = state.messages.get(&number) else {
            return;
        };
        let earlier = state.messages.range(..number);
        let overtaken: Vec<FaultId> = earlier
            .filter(|(_, message)| message.path == arrived.path)
            .filter_map(|(_, message)| message.held)
            .collect();
        drop(state);
        overtaken
            .into_iter()
            .for_each(|fault| self.had_effect(fault));
    }

    /// Waits while something holds cargo back on this path; false if it was given up. Each fault counts once.
    pub(super) async fn pass(&self, (from, to): (&str, &str), cargo: Cargo) -> bool {
        let since = simulated_instant();
        let mut counted = Vec::new();
        loop {
            let (obstacle, gate) = {
                let state = self.state();
                (state.active.obstacle(from, to, cargo), state.gate.1.clone())
            };
            let Some(obstacle) = obstacle else {
                return true;
            };
            if !counted.contains(&obstacle.fault()) {
                self.had_effect(obstacle.fault());
                counted.push(obstacle.fault());
            }
            // The gate is closed, never used: an error is the news that some fault has ended.
            let changed = async {
                let _ = gate.recv().await;
            };
            match obstacle {
                Obstacle::Clog(_) => changed.await,
                Obstacle::Silence(fault) => {
                    changed.await;
                    if self.state().active.first_end(fault).is_none() {
                        return false;
                    }
                }
                Obstacle::Cut(_) => {
                    let left = RESET_AFTER_HELD.saturating_sub(simulated_instant() - since);
                    if left.is_zero() {
                        return false;
                    }
                    futures_util::pin_mut!(changed);
                    let limit = sleep(left);
                    futures_util::pin_mut!(limit);
                    futures_util::future::select(changed, limit).await;
                }
            }
        }
    }
}
