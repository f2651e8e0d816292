//! Owns the targets of the harness's own files: scenarios, profiles of the fuzzer, failure bundles.

use crate::attack::Verdict;
use lockstep::bundle;
use lockstep::scenario::{Colour, Files, InvalidScenario, Scenario};
use lockstep::workload::Profile;
use std::fs;
use std::path::Path;

/// A whole bundle but for its `bundle.json`.
const PARTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/bundle");

fn explained(invalid: &InvalidScenario) -> Verdict {
    let shown = invalid.render(Colour::Never);
    assert!(
        shown.contains("typed.toml:") && !invalid.problems.is_empty(),
        "{shown}"
    );
    Verdict::Refused
}

/// What is accepted can be written, and read again as the same; what is refused is explained with its place.
pub(crate) fn scenario(bytes: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Verdict::Refused;
    };
    let read = match Scenario::parse("typed.toml", text) {
        Ok(read) => read,
        Err(invalid) => return explained(&invalid),
    };
    let written = read.to_toml();
    let again = Scenario::parse("written.toml", &written)
        .unwrap_or_else(|invalid| panic!("{}\n{written}", invalid.render(Colour::Never)));
    assert_eq!(again.to_toml(), written);
    let lines = |scenario: &Scenario| -> Vec<String> {
        scenario.steps.iter().map(ToString::to_string).collect()
    };
    assert_eq!(lines(&again), lines(&read), "{written}");
    Verdict::Accepted
}

/// The text of the one file that there is.
struct Only<'a>(&'a str);

impl Files for Only<'_> {
    fn read(&self, _: &str) -> Result<String, String> {
        Ok(self.0.to_owned())
    }
}

/// A scenario that imports the bytes is, if it is accepted, written and read again as the same; what is refused is explained
/// with its place in the scenario.
fn topology(format: &str, bytes: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Verdict::Refused;
    };
    let scenario = format!(
        "title = \"t\"\nworlds = [\"simulated\", \"regtest\"]\ntopology = {{ {format} = \"graph.json\" }}\nsteps = [{{ mine = 1 }}]\n"
    );
    let read = match Scenario::parse_with("typed.toml", &scenario, &Only(text)) {
        Ok(read) => read,
        Err(invalid) => {
            let shown = invalid.render(Colour::Never);
            let problems = invalid.problems.len() + invalid.imported.len();
            assert!(shown.contains("typed.toml:3:") && problems > 0, "{shown}");
            return Verdict::Refused;
        }
    };
    let written = read.to_toml();
    let again = Scenario::parse("written.toml", &written)
        .unwrap_or_else(|invalid| panic!("{}\n{written}", invalid.render(Colour::Never)));
    assert_eq!(
        (&again.nodes, &again.channels),
        (&read.nodes, &read.channels)
    );
    Verdict::Accepted
}

pub(crate) fn lnd_graph(bytes: &[u8]) -> Verdict {
    topology("lnd", bytes)
}

pub(crate) fn sim_ln_network(bytes: &[u8]) -> Verdict {
    topology("sim_ln", bytes)
}

/// What is refused is explained with its place.
pub(crate) fn profile(bytes: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Verdict::Refused;
    };
    match Profile::parse("typed.toml", text) {
        Ok(_) => Verdict::Accepted,
        Err(invalid) => explained(&invalid),
    }
}

/// What is refused is explained with its file; a manifest that is believed agrees with the other files.
pub(crate) fn replay_bundle(bytes: &[u8]) -> Verdict {
    let folder = tempfile::tempdir().expect("a folder");
    for part in ["plan.toml", "outcome.json", "trace.jsonl"] {
        fs::copy(Path::new(PARTS).join(part), folder.path().join(part)).expect(PARTS);
    }
    fs::write(folder.path().join("bundle.json"), bytes).expect("written");
    match bundle::read(folder.path()) {
        Ok(read) => {
            assert_eq!(read.manifest.seed, read.outcome.seed);
            assert_eq!(read.manifest.world, read.outcome.world);
            Verdict::Accepted
        }
        Err(error) => {
            let shown = error.to_string();
            assert!(shown.contains("bundle"), "{shown}");
            Verdict::Refused
        }
    }
}
