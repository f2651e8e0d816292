//! Everything that runs in the simulated world, and the command line's errors, as named tests, each run in a process of
//! its own. Owns putting the lists together; each list is in its own file.

mod determinism;
mod errors;
mod failures;
mod planted;
mod planted_model;
mod reports;
mod scenarios;
mod shrinking;

use libtest_mimic::Arguments;
use std::process::ExitCode;

fn main() -> ExitCode {
    lockstep_tests::entry();
    let arguments = Arguments::from_args();
    let lists = [
        failures::trials(),
        scenarios::trials(),
        determinism::trials(),
        planted::trials(),
        planted_model::trials(),
        errors::trials(),
        reports::trials(),
        shrinking::trials(),
    ];
    libtest_mimic::run(&arguments, lists.into_iter().flatten().collect()).exit_code()
}
