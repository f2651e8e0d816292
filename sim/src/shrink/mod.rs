//! Owns making a plan smaller while it fails in the same way: which smaller plans are tried, in what order, and which is
//! taken. Does not own running them nor what "the same way" is (`Oracle`), nor files (`cli::shrink`).
//!
//! It is greedy: edits are tried in a fixed order, and each that still fails is kept. Candidates are judged several at a
//! time, but the first in order that fails is taken, whichever was judged first; so the result does not depend on how many
//! are judged at once. `Scenario::parse` says whether a candidate is legal.

mod drops;
mod names;
mod parties;
mod setup;
mod steps;
mod title;
mod values;

#[cfg(test)]
mod tests;

pub use title::title;

use crate::scenario::{Scenario, Step};
use std::collections::{BTreeMap, BTreeSet};

/// Says of candidates whether they still fail in the same way.
pub trait Oracle {
    /// One answer for each candidate, or `None` if nothing more can be judged (time is up, somebody pressed Ctrl-C).
    fn judge(&mut self, candidates: &[Candidate]) -> Option<Vec<bool>>;

    /// How many candidates are judged at once with profit; at least 1.
    fn width(&self) -> usize {
        1
    }

    /// A smaller plan was found.
    fn accepted(&mut self, smaller: &Scenario) {
        let _ = smaller;
    }
}

/// A plan to be judged.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The plan.
    pub scenario: Scenario,
    /// Its text.
    pub text: String,
}

/// What may be done to a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freedom {
    /// The failure shows at one step only (an expectation): what leads there stays, else it would fail for want of a cause.
    pub step_at_line: Option<usize>,
    /// The last step that had begun when the failure showed: what comes after it seldom matters.
    pub began_at_line: Option<usize>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The smallest plan found; the original one if none was smaller.
    pub scenario: Scenario,
    /// Candidates that were judged.
    pub tried: usize,
    /// Whether nothing more was left to try.
    pub finished: bool,
}

/// A way to make a plan smaller; `None` if it does not apply.
type Edit = Box<dyn Fn(&Scenario) -> Option<Scenario>>;

/// Passes over everything; each one costs all edits once more, and the second one seldom finds much.
const MAX_ROUNDS: usize = 5;

/// No more can be judged.
struct Spent;

/// Makes `plan`, which fails, as small as the oracle allows.
pub fn shrink(plan: &Scenario, freedom: Freedom, oracle: &mut dyn Oracle) -> Shrunk {
    let mut current = plan.clone();
    let mut kept = BTreeSet::new();
    let began = freedom
        .began_at_line
        .and_then(|line| plan.steps.iter().position(|step| step.line == line));
    let bound = drops::leading_to(plan, freedom.step_at_line);
    for (index, step) in current.steps.iter_mut().enumerate() {
        if bound.contains(&step.line) {
            kept.insert(index);
        }
        // From here on its identity; the lines of the result are those of its own text.
        step.line = index;
    }
    let mut shrinker = Shrinker {
        oracle,
        current,
        kept,
        began,
        is_bound: freedom.step_at_line.is_some(),
        judged: BTreeMap::new(),
        tried: 0,
    };
    let finished = shrinker.all().is_ok();
    let (tried, smallest) = (shrinker.tried, shrinker.current);
    let scenario = legal(&smallest).map_or_else(|| plan.clone(), |candidate| candidate.scenario);
    Shrunk {
        scenario,
        tried,
        finished,
    }
}

/// The plan as it is read back from its text, if it is legal.
fn legal(scenario: &Scenario) -> Option<Candidate> {
    let text = scenario.to_toml();
    let scenario = Scenario::parse("candidate", &text).ok()?;
    Some(Candidate { scenario, text })
}

struct Shrinker<'a> {
    oracle: &'a mut dyn Oracle,
    current: Scenario,
    /// Steps that stay as they are.
    kept: BTreeSet<usize>,
    /// The last step that had begun.
    began: Option<usize>,
    /// Whether the set-up stays, but for what nobody names.
    is_bound: bool,
    /// What was judged before, by text.
    judged: BTreeMap<String, bool>,
    tried: usize,
}

impl Shrinker<'_> {
    fn all(&mut self) -> Result<(), Spent> {
        self.greedy(self.began.map(drops::after).into_iter().collect())?;
        self.greedy(drops::whole_kinds(&self.current))?;
        self.greedy(drops::by_name(&self.current))?;
        for _ in 0..MAX_ROUNDS {
            let before = self.current.clone();
            self.ddmin()?;
            self.greedy(setup::unused())?;
            if !self.is_bound {
                self.greedy(setup::drops(&self.current))?;
                self.greedy(parties::merges(&self.current))?;
                self.greedy(steps::merges(&self.current))?;
                self.greedy(steps::instead_of_moves(&self.current))?;
            }
            self.greedy(values::of_steps(&self.current, &self.kept))?;
            if !self.is_bound {
                self.greedy(setup::values(&self.current))?;
            }
            if self.current == before {
                break;
            }
        }
        // Other names change no step that must stay.
        self.kept.clear();
        self.greedy(names::simple())
    }

    /// Delta debugging over the steps (Zeller and Hildebrandt 2002), last ones first: nothing depends on those.
    fn ddmin(&mut self) -> Result<(), Spent> {
        let mut size = self.current.steps.len().div_ceil(2);
        loop {
            let ids: Vec<usize> = self.current.steps.iter().map(|step| step.line).collect();
            self.greedy(ids.rchunks(size.max(1)).map(drops::steps).collect())?;
            if size <= 1 {
                return Ok(());
            }
            size = size.div_ceil(2);
        }
    }

    /// Tries each edit in turn on what the ones before it have left.
    fn greedy(&mut self, edits: Vec<Edit>) -> Result<(), Spent> {
        let mut next = 0;
        while next < edits.len() {
            let mut batch: Vec<(usize, Scenario, Candidate)> = Vec::new();
            let mut index = next;
            while index < edits.len() && batch.len() < self.oracle.width().max(1) {
                if let Some((smaller, candidate)) = self.candidate(&edits[index]) {
                    batch.push((index, smaller, candidate));
                }
                index += 1;
            }
            let candidates: Vec<Candidate> = batch.iter().map(|(.., one)| one.clone()).collect();
            let fails = self.judge(&candidates)?;
            let first = batch.into_iter().zip(fails).find(|(_, fails)| *fails);
            next = match first {
                Some(((taken, smaller, _), _)) => {
                    self.oracle.accepted(&smaller);
                    self.current = smaller;
                    taken + 1
                }
                None => index,
            };
        }
        Ok(())
    }

    /// What an edit makes of the current plan, if that is another, legal one which keeps what must stay.
    fn candidate(&self, edit: &Edit) -> Option<(Scenario, Candidate)> {
        let smaller = edit(&self.current)?;
        let stays = |id: &usize| {
            let of = |steps: &[Step]| steps.iter().find(|step| step.line == *id).cloned();
            of(&smaller.steps) == of(&self.current.steps)
        };
        if smaller == self.current || !self.kept.iter().all(stays) {
            return None;
        }
        let candidate = legal(&smaller)?;
        (self.judged.get(&candidate.text) != Some(&false)).then_some((smaller, candidate))
    }

    fn judge(&mut self, candidates: &[Candidate]) -> Result<Vec<bool>, Spent> {
        if candidates.is_empty() {
            return Ok(Vec::new());
        }
        let fails = self.oracle.judge(candidates).ok_or(Spent)?;
        assert_eq!(fails.len(), candidates.len(), "one answer for each");
        self.tried += candidates.len();
        for (candidate, fails) in candidates.iter().zip(&fails) {
            self.judged.insert(candidate.text.clone(), *fails);
        }
        Ok(fails)
    }
}
