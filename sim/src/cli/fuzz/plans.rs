//! Owns where the plans of `lockstep fuzz` come from: a profile, and perhaps scenarios. Does not own drawing (`workload`).

use super::arguments::FuzzArguments;
use crate::cli::BAD_USAGE;
use crate::cli::output::Failure;
use crate::cli::sources;
use crate::scenario::{Colour, InvalidScenario, Scenario, World};
use crate::workload::{self, Profile};
use std::path::{Path, PathBuf};

/// A scenario whose traffic is taken.
struct Taken {
    file: String,
    text: String,
}

/// What plans are drawn from.
pub(super) struct Plans {
    pub(super) name: String,
    pub(super) profile: Profile,
    scenarios: Vec<Taken>,
}

impl Plans {
    /// Reads the profile and the scenarios.
    pub(super) fn read(arguments: &FuzzArguments) -> Result<Plans, Failure> {
        let name = arguments.profile.clone();
        let read;
        let text = match Profile::built_in(&name) {
            Some(text) => text,
            None => {
                read = std::fs::read_to_string(&name).map_err(|cause| {
                    let known: Vec<&str> = workload::BUILT_IN.iter().map(|(name, _)| *name).collect();
                    let known = known.join(", ");
                    let text = format!("there is no profile {name}: {cause}\nRemedy: name a file, or one of {known}.");
                    Failure::new(BAD_USAGE, text)
                })?;
                &read
            }
        };
        let profile = Profile::parse(&name, text).map_err(refused)?;
        let mut scenarios = Vec::new();
        for glob in &arguments.scenario {
            scenarios.extend(matching(glob)?);
        }
        Ok(Plans {
            name,
            profile,
            scenarios,
        })
    }

    /// In one line.
    pub(super) fn describe(&self) -> String {
        let of = match self.scenarios.len() {
            0 => String::new(),
            1 => format!(", on {}", self.scenarios[0].file),
            many => format!(", on {many} scenarios"),
        };
        format!("profile {}: {}{of}", self.name, self.profile.title)
    }

    /// The name under which a seed's plan is known, and its text.
    pub(super) fn draw(&self, seed: u64) -> Result<(String, String), Failure> {
        let file = workload::file_name(&self.name, seed);
        let count = self.scenarios.len() as u64;
        let drawn = match seed.checked_rem(count) {
            None => workload::plan(&self.name, &self.profile, seed),
            Some(index) => {
                let Taken { file, text } = &self.scenarios[index as usize];
                workload::trouble(file, text, (&self.name, &self.profile), seed)
            }
        };
        drawn.map(|text| (file, text)).map_err(refused)
    }
}

fn refused(invalid: InvalidScenario) -> Failure {
    Failure {
        exit_code: BAD_USAGE,
        text: invalid.render(Colour::Never),
    }
}

/// The scenarios of the simulated world that a pattern means.
fn matching(glob: &str) -> Result<Vec<Taken>, Failure> {
    let fixed = glob.split('*').next().unwrap_or_default();
    let folder = match glob.contains('*') {
        false => PathBuf::from(glob),
        true => match fixed.rsplit_once('/') {
            Some(("", _)) => PathBuf::from("/"),
            Some((folder, _)) => PathBuf::from(folder),
            None => PathBuf::from("."),
        },
    };
    let files = sources::find(std::slice::from_ref(&folder)).map_err(Failure::sources)?;
    let mut found = Vec::new();
    for file in files {
        let shown = file
            .strip_prefix("./")
            .filter(|_| !glob.starts_with("./"))
            .unwrap_or(&file);
        if glob.contains('*') && !is_like(glob, shown) {
            continue;
        }
        let source = sources::load(&file).map_err(|error| Failure::sources(vec![error]))?;
        if source.scenario.worlds.contains(&World::Simulated) {
            let text = std::fs::read_to_string(Path::new(&file)).map_err(|cause| {
                Failure::new(BAD_USAGE, format!("failed to read {file}: {cause}"))
            })?;
            let text = standing_alone(text, &source.scenario);
            found.push(Taken { file, text });
        }
    }
    if found.is_empty() {
        let text = format!(
            "no scenario of the simulated world is like {glob}\nRemedy: name a file, a folder, or a pattern such as 'scenarios/lightning/*'."
        );
        return Err(Failure::new(BAD_USAGE, text));
    }
    Ok(found)
}

/// The text of the scenario, with its topology as nodes and channels: a plan has no folder, and a seed of its own.
fn standing_alone(text: String, scenario: &Scenario) -> String {
    let root = toml::de::DeTable::parse(&text);
    let has_topology = root.is_ok_and(|root| root.get_ref().contains_key("topology"));
    match has_topology {
        true => scenario.to_toml(),
        false => text,
    }
}

/// Whether `*` in the pattern can stand for something so that it is the text.
fn is_like(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text) in [
            ("a/*", "a/b/c.toml"),
            ("a/*.toml", "a/b.toml"),
            ("*crash*", "x/crash-1.toml"),
            ("a", "a"),
        ] {
            assert!(is_like(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("a/*", "b/a/c"),
            ("a*b*c", "acb"),
            ("a", "ab"),
            ("*.trace", "a.toml"),
        ] {
            assert!(!is_like(pattern, text), "{pattern} {text}");
        }
    }
}
