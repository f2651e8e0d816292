//! Owns what every endpoint takes for the time: true (virtual) time, and how far each one's clock is off. Does not own
//! virtual time itself nor what is done with a reading.
//!
//! Fault model: each endpoint has a clock of its own: nodes, `engine`, `gateway`, and `chain` (the miners', for block
//! times). A clock can be wrong for a while (*skew*), jump until the run heals (*step*), or run too fast or too slow for a
//! while (*drift*); several faults add up, and at the end of each one the clock is put right by that much. A fault has
//! an effect when somebody reads a time that is not true, counted once per second of true time.
//! Not modelled: LDK takes the time of invoices from the machine, which is true time always.

use crate::faults::{FaultId, Faults};
use crate::scenario::ClockFaultKind;
use async_channel::{Receiver, Sender};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

struct Wrong {
    of: String,
    kind: ClockFaultKind,
    since: Duration,
    /// The last second of true time for which an effect was counted.
    counted: Option<u64>,
}

impl Wrong {
    /// How far the clock is off at a true time, in nanoseconds.
    fn offset(&self, now: Duration) -> i128 {
        let signed = |span: i128, behind: bool| if behind { -span } else { span };
        match self.kind {
            ClockFaultKind::Skew { by, behind, .. } | ClockFaultKind::Step { by, behind } => {
                signed(i128::from(by.get()) * 1_000_000, behind)
            }
            ClockFaultKind::Drift { ppm, behind, .. } => {
                let elapsed = nanos(now.saturating_sub(self.since));
                signed(elapsed * i128::from(ppm) / 1_000_000, behind)
            }
        }
    }
}

struct State {
    wrong: BTreeMap<FaultId, Wrong>,
    /// Closed and renewed when a clock is set, so that who sleeps looks again.
    set: (Sender<()>, Receiver<()>),
}

/// The clocks of one simulated world.
#[derive(Clone)]
pub struct Clocks {
    state: Arc<Mutex<State>>,
    faults: Arc<Mutex<Faults>>,
}

fn nanos(span: Duration) -> i128 {
    i128::try_from(span.as_nanos()).unwrap_or(i128::MAX)
}

fn shifted(now: Duration, offset: i128) -> Duration {
    let at = nanos(now).saturating_add(offset).max(0);
    Duration::from_nanos(u64::try_from(at).unwrap_or(u64::MAX))
}

impl Clocks {
    /// All of them right.
    pub fn new(faults: Arc<Mutex<Faults>>) -> Clocks {
        let state = State {
            wrong: BTreeMap::new(),
            set: async_channel::bounded(1),
        };
        Clocks {
            state: Arc::new(Mutex::new(state)),
            faults,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the clocks panics")
    }

    /// What this endpoint takes for the time since the Unix epoch.
    pub fn now(&self, of: &str) -> Duration {
        self.read(of, super::virtual_unix_time())
    }

    /// The same without counting an effect, for the harness itself.
    pub fn peek(&self, of: &str) -> Duration {
        let now = super::virtual_unix_time();
        let state = self.state();
        let offsets = state.wrong.values().filter(|wrong| wrong.of == of);
        shifted(now, offsets.map(|wrong| wrong.offset(now)).sum())
    }

    fn read(&self, of: &str, now: Duration) -> Duration {
        let mut state = self.state();
        let mut total = 0;
        for (fault, wrong) in state.wrong.iter_mut().filter(|(_, wrong)| wrong.of == of) {
            let offset = wrong.offset(now);
            total += offset;
            if offset != 0 && wrong.counted != Some(now.as_secs()) {
                wrong.counted = Some(now.as_secs());
                let mut faults = self.faults.lock().expect("no holder panics");
                faults.had_effect(*fault);
            }
        }
        shifted(now, total)
    }

    /// From now on this endpoint's clock is wrong.
    pub fn begin_fault(&self, of: &str, kind: ClockFaultKind, fault: FaultId) {
        let wrong = Wrong {
            of: of.to_owned(),
            kind,
            since: super::virtual_unix_time(),
            counted: None,
        };
        self.state().wrong.insert(fault, wrong);
        self.wake_sleepers();
    }

    /// Puts the clock right by what this fault did.
    pub fn end_fault(&self, fault: FaultId) {
        let was_wrong = self.state().wrong.remove(&fault).is_some();
        if was_wrong {
            self.wake_sleepers();
        }
    }

    fn wake_sleepers(&self) {
        let fresh = async_channel::bounded(1);
        let old = std::mem::replace(&mut self.state().set, fresh);
        old.0.close();
    }

    /// Completes when any clock is set.
    pub fn next_setting(&self) -> impl Future<Output = ()> + Send + 'static {
        let set = self.state().set.1.clone();
        // The channel is closed, never used: the error is the news.
        async move {
            let _ = set.recv().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;
    use crate::scenario::{Action, Trouble};

    /// The kind as a scenario would write it.
    fn kind(typed: &str) -> ClockFaultKind {
        let text = format!(
            "title = \"t\"\nworlds = [\"simulated\"]\nwhy_not.regtest = \"a test\"\nsteps = [{{ clock = {{ of = \"engine\", {typed} }} }}]\n"
        );
        let scenario = Scenario::parse("test", &text).unwrap_or_else(|error| panic!("{error:?}"));
        match &scenario.steps[0].action {
            Action::Trouble(Trouble::Clock { kind, .. }) => *kind,
            other => panic!("{other:?}"),
        }
    }

    fn clocks_with(typed: &str, since: Duration) -> (Clocks, Arc<Mutex<Faults>>) {
        let faults = Arc::new(Mutex::new(Faults::default()));
        let id = faults
            .lock()
            .expect("alone")
            .plan("clock", "test", "engine");
        let clocks = Clocks::new(faults.clone());
        let wrong = Wrong {
            of: "engine".to_owned(),
            kind: kind(typed),
            since,
            counted: None,
        };
        clocks.state().wrong.insert(id, wrong);
        (clocks, faults)
    }

    fn effects(faults: &Mutex<Faults>) -> u64 {
        faults.lock().expect("alone").all()[0].effects
    }

    const NOON: Duration = Duration::from_secs(1_000_000);

    #[test]
    fn a_skewed_clock_is_off_by_that_much_and_others_are_right() {
        let (clocks, faults) = clocks_with("fault = \"skew\", by = \"90 s\", for = \"1 h\"", NOON);
        assert_eq!(clocks.read("engine", NOON), NOON + Duration::from_secs(90));
        assert_eq!(effects(&faults), 1);
        assert_eq!(clocks.read("gateway", NOON), NOON);
        assert_eq!(effects(&faults), 1);
    }

    #[test]
    fn a_step_back_is_a_time_before() {
        let (clocks, _) = clocks_with("fault = \"step\", by = \"10 s\", behind = true", NOON);
        assert_eq!(clocks.read("engine", NOON), NOON - Duration::from_secs(10));
        let beginning = clocks.read("engine", Duration::from_secs(3));
        assert_eq!(beginning, Duration::ZERO, "never before the Unix epoch");
    }

    #[test]
    fn a_drifting_clock_is_right_at_first_and_then_off_in_proportion() {
        let (clocks, faults) = clocks_with("fault = \"drift\", ppm = 50_000, for = \"1 h\"", NOON);
        assert_eq!(clocks.read("engine", NOON), NOON);
        assert_eq!(
            effects(&faults),
            0,
            "a true reading is no effect of the fault"
        );
        let later = NOON + Duration::from_secs(100);
        assert_eq!(
            clocks.read("engine", later),
            later + Duration::from_secs(5),
            "50,000 ppm of 100 s"
        );
        assert_eq!(effects(&faults), 1);
    }

    #[test]
    fn effects_are_counted_once_per_second() {
        let (clocks, faults) = clocks_with("fault = \"skew\", by = \"1 s\", for = \"1 h\"", NOON);
        for millis in [0, 1, 500, 999] {
            clocks.read("engine", NOON + Duration::from_millis(millis));
        }
        assert_eq!(effects(&faults), 1);
        clocks.read("engine", NOON + Duration::from_secs(1));
        assert_eq!(effects(&faults), 2);
    }
}
