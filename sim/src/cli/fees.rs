//! Owns `lockstep fees`: which trace, in which form, and the exit code when the fees do not add up. Does not own the report
//! (`report::fees`).

use super::args::FeesArguments;
use super::output::{Failure, Output};
use super::report::read_trace;
use crate::report::fees;

/// What the chain shows is not what is attributed: as an invariant that is broken.
const DOES_NOT_ADD_UP: u8 = 1;

/// Prints who bears the on-chain fees of a trace.
pub(super) fn run(arguments: &FeesArguments, output: &mut Output) -> Result<u8, Failure> {
    let (lines, _) = read_trace(&arguments.trace)?;
    let fees = fees::read(&lines);
    let text = match (arguments.json, arguments.csv) {
        (true, _) => serde_json::to_string_pretty(&fees.json()).expect("a value is JSON"),
        (false, true) => fees.csv(),
        (false, false) => fees.text(),
    };
    output.result(text.trim_end())?;
    Ok(if fees.adds_up() { 0 } else { DOES_NOT_ADD_UP })
}
