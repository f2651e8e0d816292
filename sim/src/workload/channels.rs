//! Owns what plans do with channels: whether the engine manages those of its node, which one it opens while the plan runs, and
//! which are closed, by whom and how. Does not own the topology (`setup`).

use super::draws::Draws;
use super::profile::Profile;
use super::setup::{OPERATOR, Setup};
use super::text::{Draft, sat};
use crate::prng::RootSeed;

const SECOND: u64 = 1_000;

/// The channel that the engine opens itself.
const OWN: &str = "own";

/// Whether the engine manages its node's channels in this plan.
pub(super) fn are_managed(profile: &Profile, seed: RootSeed) -> bool {
    Draws::of(seed, "channels").ppm(profile.channels_ppm)
}

/// What the operator's node needs beside its other channels: for the one that it opens.
pub(super) fn needs_sat(setup: &Setup, seed: RootSeed) -> u64 {
    own(setup, seed).map_or(0, |(_, capacity)| capacity + 50_000)
}

/// The line of the channel that the engine opens.
pub(super) fn line(setup: &Setup, seed: RootSeed) -> Option<String> {
    let (peer, capacity) = own(setup, seed)?;
    let capacity = sat(capacity);
    Some(format!(
        "channels.{OWN} = {{ from = \"{OPERATOR}\", to = \"{peer}\", capacity = \"{capacity}\", later = true }}"
    ))
}

fn own(setup: &Setup, seed: RootSeed) -> Option<(&'static str, u64)> {
    if !setup.managed {
        return None;
    }
    let mut draws = Draws::of(seed, "channels/own");
    let peer = draws.pick(&setup.outsiders).copied()?;
    Some((peer, draws.between(2, 40) * 100_000))
}

/// Opens and closes, each at a time of its own.
pub(super) fn steps(draft: &mut Draft, setup: &Setup, lasts: u64, seed: RootSeed) {
    if !setup.managed {
        return;
    }
    let mut draws = Draws::of(seed, "channels/steps");
    let mut closable = setup.channels.clone();
    if let Some((peer, _)) = own(setup, seed) {
        let at = draws.between(1, lasts / 2 / SECOND) * SECOND;
        draft.at(at, &format!("open = \"{OWN}\""));
        draft.at(at + draws.between(5, 90) * SECOND, "mine = \"6 blocks\"");
        closable.push((OWN.to_owned(), [OPERATOR, peer]));
    }
    let count = draws.between(0, 2).min(closable.len() as u64);
    for _ in 0..count {
        let index = draws.between(0, closable.len() as u64 - 1) as usize;
        let (name, ends) = closable.remove(index);
        let by = ends[usize::from(draws.percent(50))];
        let force = if draws.percent(50) {
            ", force = true"
        } else {
            ""
        };
        // What the engine opens is there in the second half.
        let at = draws.between(lasts / 2 / SECOND, lasts / SECOND) * SECOND + 91 * SECOND;
        let close = format!("close = {{ channel = \"{name}\", by = \"{by}\"{force} }}");
        draft.at(at, &close);
        draft.at(at + draws.between(1, 60) * SECOND, "mine = \"1 block\"");
    }
}
