//! Owns drawing plans: from a profile and a seed comes a scenario at a free pace, as text that a person could have written.
//! Swarm style: whole kinds of payments and families of faults are off per seed, weights are drawn per seed. Every subject draws
//! from a stream of its own, so that a new draw does not reshuffle the others. Does not own running plans (`run`) nor starting
//! many (`cli`).

mod bindings;
pub mod cells;
mod channels;
mod draws;
mod escrow;
mod faults;
pub mod kinds;
mod profile;
mod scenarios;
mod setup;
mod text;
mod traffic;

#[cfg(test)]
mod tests;

pub use profile::{BUILT_IN, Bounds, Budget, FamilyName, Profile, Traffic, schema};

use crate::prng::RootSeed;
use crate::scenario::{InvalidScenario, Scenario};
use text::Draft;

/// Says where a plan's text came from, in messages about it.
pub fn file_name(profile: &str, seed: u64) -> String {
    format!("plan {profile}/{seed}")
}

/// Draws the plan of a seed: the text of a scenario. `name` is the profile's, for the plan's first line.
///
/// An error is a defect of the generator: its own text was refused.
pub fn plan(name: &str, profile: &Profile, seed: u64) -> Result<String, InvalidScenario> {
    let root = RootSeed(seed);
    let sorts = traffic::sorts(profile, root);
    let lightning = sorts.iter().any(|sort| sort.needs_nodes());
    let setup = setup::draw(profile, root, lightning);
    let mut draft = Draft {
        comments: vec![format!(
            "Drawn by `lockstep fuzz --profile {name} --seeds {seed}..={seed}`."
        )],
        ..Draft::default()
    };
    let shape = if lightning {
        setup.shape.clone()
    } else {
        "no Lightning".to_owned()
    };
    let payments = sorts.len();
    draft.head = head(
        &format!("Seed {seed} of profile {name}: {shape}, {payments} payments"),
        seed,
    );
    draft.head.extend(setup.lines.clone());
    traffic::draw(&mut draft, &setup, &sorts, profile, root);
    finish(draft, profile, (name, seed))
}

/// The set-up and the traffic of a scenario, at a free pace, with faults of the profile.
///
/// # Errors
///
/// The scenario itself is wrong, or, a defect of the generator, the plan made of it.
pub fn trouble(
    file: &str,
    source: &str,
    (name, profile): (&str, &Profile),
    seed: u64,
) -> Result<String, InvalidScenario> {
    let scenario = Scenario::parse(file, source)?;
    let mut draft = scenarios::draft(&scenario, source, profile);
    draft.comments = vec![format!(
        "Drawn by `lockstep fuzz --scenario {file} --profile {name} --seeds {seed}..={seed}`."
    )];
    let lines = head(&format!("Seed {seed} of profile {name} on {file}"), seed);
    draft.head.splice(0..0, lines);
    finish(draft, profile, (name, seed))
}

/// `title` to `seed`.
fn head(title: &str, seed: u64) -> Vec<String> {
    vec![
        format!("title = {}", toml::Value::String(title.to_owned())),
        "worlds = [\"simulated\"]".to_owned(),
        "why_not = { regtest = \"a plan runs at a free pace\" }".to_owned(),
        format!("seed = {seed}"),
        "pace = \"free\"".to_owned(),
        String::new(),
    ]
}

/// Adds faults to a plan that has everything else, and checks it.
fn finish(
    mut draft: Draft,
    profile: &Profile,
    (name, seed): (&str, u64),
) -> Result<String, InvalidScenario> {
    let file = file_name(name, seed);
    let calm = Scenario::parse(&file, &draft.render())?;
    faults::draw(&mut draft, &calm, profile, RootSeed(seed));
    let text = draft.render();
    Scenario::parse(&file, &text).map(|_| text)
}
