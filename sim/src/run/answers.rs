//! Owns holding the engine's answers to a scenario's commands against what was foretold of them before the run
//! (`model::foretell`). Does not own the foretelling, nor the check of each answer by all that has happened (I9).

use super::{Runner, Stop};
use crate::invariants::{Kind, Violation};
use crate::model::{self, Prediction};
use crate::scenario::{self, Action, Pay, Step};
use crate::worlds::{World, WorldKind};

/// The name of what is broken (docs/FUZZING.md).
const NAME: &str = "answer-as-foretold";

impl<W: World> Runner<W> {
    /// The steps that happen in this world, each with what its command must be answered.
    pub(super) fn foretold_steps(&self) -> Vec<(Step, Option<Prediction>)> {
        let scenario = &self.run.scenario;
        let world = match self.world.kind() {
            WorldKind::Simulated => scenario::World::Simulated,
            WorldKind::Regtest => scenario::World::Regtest,
        };
        let told = model::foretell(scenario, world);
        let steps = scenario.steps.iter().cloned().zip(told);
        steps
            .filter(|(step, _)| self.happens_here(step.only))
            .collect()
    }

    /// Checks the answer to a step's command; `before`: how many commands had been given before the step. A command that was
    /// never given or got lost has no answer.
    pub(super) fn check_answer(
        &self,
        step: &Step,
        foretold: Option<Prediction>,
        before: u32,
    ) -> Result<(), Stop> {
        let recorder = &self.run.recorder;
        let refusal = (before + 1..=self.commands)
            .find_map(|number| recorder.refusal(&format!("command-{number}")));
        let made = match &step.action {
            Action::Charge(charge)
            | Action::Pay(Pay {
                opens: Some(charge),
                ..
            }) => Some(&charge.id),
            Action::Payout(payout) => Some(&payout.id),
            _ => None,
        };
        let exists = made.is_some_and(|id| recorder.told(id.as_str()).is_some());
        let wrong = match (foretold, refusal) {
            (Some(Prediction::Accepted), Some(reason)) => format!("it was refused: {reason}"),
            (Some(Prediction::Refused(_)), None) if exists => "it was accepted".to_owned(),
            _ => return Ok(()),
        };
        let foretold = foretold.map_or_else(String::new, |foretold| foretold.to_string());
        Err(Stop::Violation(Violation {
            invariant: NAME.to_owned(),
            kind: Kind::Safety,
            what: format!("the command {foretold}, and {wrong}"),
        }))
    }
}
