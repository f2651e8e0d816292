//! Owns what is done with a plan that was made smaller: title and worlds, the attempt in the regtest world, the file, and
//! the expected trace if the build at hand passes it. Does not own making it smaller.

use super::{Task, typed};
use crate::bundle::Symptom;
use crate::cli::binaries::{self, Executables};
use crate::cli::child::Job;
use crate::cli::expected;
use crate::cli::files::{self, WriteFailed};
use crate::cli::processes::{self, Setting};
use crate::run::outcome::{Outcome, Verdict};
use crate::scenario::{Pace, Scenario, World};
use crate::shrink::title;
use crate::worlds::WorldKind;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The file in a bundle that a shrunk plan goes to.
const SHRUNK: &str = "shrunk.toml";

/// The servers of the regtest world, if they are at hand.
#[derive(Clone, Debug)]
pub struct Regtest(Result<Executables, String>);

impl Regtest {
    /// Looks for them.
    pub fn look() -> Regtest {
        Regtest(binaries::locate().map_err(|missing| missing.to_string()))
    }

    /// As if there were none.
    pub fn none() -> Regtest {
        Regtest(Err("not looked for".to_owned()))
    }
}

/// A shrunk plan on its way to a file.
#[derive(Clone, Debug)]
pub struct Case {
    scenario: Scenario,
    symptom: Symptom,
    /// Of the run that failed first.
    seed: u64,
}

impl Case {
    /// Gives it a title, and the simulated world alone for now.
    pub fn new(shrunk: &Scenario, task: &Task, seed: u64) -> Case {
        let symptom = task.symptom.clone();
        let title = title(shrunk, &what_holds(&symptom));
        let worlds = BTreeSet::from([World::Simulated]);
        let why_not = BTreeMap::from([(World::Regtest, bound(shrunk).unwrap_or_default())]);
        let mut scenario = Scenario {
            title,
            worlds,
            why_not,
            covers: Vec::new(),
            ..shrunk.clone()
        };
        if task.job.world == WorldKind::Regtest {
            scenario.worlds = shrunk.worlds.clone();
            scenario.why_not = shrunk.why_not.clone();
        }
        Case {
            scenario,
            symptom,
            seed,
        }
    }

    /// The scenario.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// Runs it in the regtest world, if it can run there, and says what happened. A world in which it ran to an end is one
    /// that the file names.
    pub fn tried_in_regtest(mut self, task: &Task, regtest: &Regtest) -> (Case, String) {
        if task.job.world == WorldKind::Regtest {
            return (self, "regtest world: that is where it fails".to_owned());
        }
        if let Some(reason) = bound(&self.scenario) {
            return (self, format!("regtest world: not tried: {reason}"));
        }
        let mut both = self.scenario.clone();
        both.worlds.insert(World::Regtest);
        both.why_not.clear();
        let executables = match &regtest.0 {
            Ok(executables) => executables.clone(),
            Err(missing) => {
                let reason = "bitcoind or electrs was not at hand when this was shrunk";
                self.scenario
                    .why_not
                    .insert(World::Regtest, reason.to_owned());
                return (self, format!("regtest world: not tried: {missing}"));
            }
        };
        let job = Job {
            plan: Some(both.to_toml()),
            world: WorldKind::Regtest,
            seed: both.seed,
            trace: None,
            ..task.job.clone()
        };
        let setting = Setting {
            slots: 1,
            executables: Some(executables),
        };
        let outcome = processes::run_one(&job, &setting);
        let (says, ran) = told(&outcome, &self.symptom);
        if ran {
            self.scenario = both;
        } else {
            let reason = "its run there did not come to an end when this was shrunk";
            self.scenario
                .why_not
                .insert(World::Regtest, reason.to_owned());
        }
        (self, format!("regtest world: {says}"))
    }

    /// The whole file.
    pub fn text(&self) -> String {
        format!(
            "# Shrunk from a plan that failed with seed {}: {}.\n{}",
            self.seed,
            self.symptom,
            self.scenario.to_toml()
        )
    }

    /// Writes it: into a folder of scenarios under a name of its own, else into the bundle. In a folder of scenarios it gets
    /// its expected trace, if the engine at hand, without any planted bug, passes it. Says what was done.
    pub fn write(
        &self,
        into: Option<&Path>,
        bundle: &Path,
        task: &Task,
    ) -> Result<String, WriteFailed> {
        let Some(folder) = into else {
            let path = bundle.join(SHRUNK);
            files::write_whole(&path, &self.text())?;
            let path = typed(&path);
            return Ok(format!("{path}: written; run it with: lockstep run {path}"));
        };
        std::fs::create_dir_all(folder).map_err(|cause| WriteFailed::new(folder, cause))?;
        let path = folder.join(self.file_name());
        files::write_whole(&path, &self.text())?;
        let path = typed(&path);
        let sound = Job {
            planted: None,
            ..Job::new(&path, task.job.world, self.scenario.seed)
        };
        let outcome = processes::run_one(&sound, &task.setting);
        if outcome.verdict != Verdict::Pass {
            return Ok(format!(
                "{path}: written; it fails with this build: fix what it shows, then: lockstep bless {path}"
            ));
        }
        expected::bless(&outcome)?;
        let trace = expected::path(&path);
        Ok(format!(
            "{path}: written; this build passes it, so its expected trace is in {}",
            trace.display()
        ))
    }

    /// What broke, and the seed at which it was found.
    fn file_name(&self) -> PathBuf {
        PathBuf::from(format!("{}-seed-{}.toml", self.symptom.slug(), self.seed))
    }
}

/// What the title says must be true.
fn what_holds(symptom: &Symptom) -> String {
    match symptom {
        Symptom::Invariant(name) => format!("Invariant {name} holds"),
        Symptom::Step(_) => "What is expected comes about".to_owned(),
        Symptom::Unsettled => "The world comes to rest".to_owned(),
        Symptom::Panic(_) => "Nothing panics".to_owned(),
        Symptom::NonDeterministic => "Two runs are the same".to_owned(),
        Symptom::Harness(_) => "The run comes to its end".to_owned(),
    }
}

/// Why it can run in the simulated world only.
fn bound(scenario: &Scenario) -> Option<String> {
    if scenario.pace == Pace::Free {
        return Some(
            "its steps overlap in time (free pace), and the regtest world runs in lock step"
                .to_owned(),
        );
    }
    let step = scenario
        .steps
        .iter()
        .find(|step| step.action.bound_to() == Some(World::Simulated))?;
    Some(format!("the regtest world cannot do `{}`", step.action))
}

/// What happened, and whether the run came to an end that says something.
fn told(outcome: &Outcome, symptom: &Symptom) -> (String, bool) {
    match (&outcome.verdict, Symptom::of(&outcome.verdict)) {
        (Verdict::Pass, _) => ("it passes there".to_owned(), true),
        (Verdict::Harness { what }, _) => {
            let line = what.lines().next().unwrap_or_default();
            (format!("its run did not come to an end: {line}"), false)
        }
        (_, Some(found)) if found == *symptom => {
            ("it fails there in the same way".to_owned(), true)
        }
        (_, Some(found)) => (format!("it fails there in another way: {found}"), true),
        (_, None) => ("interrupted".to_owned(), false),
    }
}
