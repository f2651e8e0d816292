//! Owns the lines that say, before anything runs, what will run and with which options. Does not own choosing them.

use super::words::count;
use crate::scenario::{Action, Pace, Scenario};
use crate::worlds::WorldKind;

/// Where a seed comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeedSource {
    /// `seed` of the file, or its default.
    File,
    /// `--seed`.
    Option,
    /// `--seeds`, with how many there are.
    Range(u64),
}

/// One scenario in one world.
pub fn line(
    file: &str,
    scenario: &Scenario,
    world: WorldKind,
    (seed, source): (u64, SeedSource),
) -> String {
    let seed = match source {
        SeedSource::File => format!("seed {seed} (of the scenario)"),
        SeedSource::Option => format!("seed {seed} (from --seed)"),
        SeedSource::Range(many) => {
            format!("seeds {seed}..{} (from --seeds)", seed.saturating_add(many))
        }
    };
    let pace = match scenario.pace {
        Pace::LockStep => "lock-step",
        Pace::Free => "free",
    };
    let steps = scenario.steps.len();
    let faults = scenario
        .steps
        .iter()
        .filter(|step| is_fault(&step.action))
        .count();
    let faults = if faults == 0 {
        "no faults".to_owned()
    } else {
        format!("{} planned", count(faults, "fault"))
    };
    let (nodes, channels) = (
        count(scenario.nodes.len(), "node"),
        count(scenario.channels.len(), "channel"),
    );
    format!(
        "{file}: {world} world, {seed}, {pace} pace, {nodes}, {channels}, {}, {faults}",
        count(steps, "step")
    )
}

fn is_fault(action: &Action) -> bool {
    matches!(
        action,
        Action::Reorg(_)
            | Action::CrashNode { .. }
            | Action::CrashEngine { .. }
            | Action::Trouble(_)
            | Action::Gateway(_)
            | Action::Layer0(_)
    )
}
