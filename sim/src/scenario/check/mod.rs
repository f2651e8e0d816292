//! Owns the way from the scenario as typed to the checked scenario: names are resolved, amounts parsed in the unit of their
//! place, combinations judged. Every part reports what it finds and goes on; a scenario comes out only if nothing was found.
//! Does not own keys and kinds of values (`read`).

mod bindings;
mod channels;
mod escrow;
mod expect;
mod faults;
mod invoicing;
mod layer0;
mod money;
mod names;
mod own_wallets;
mod paying;
mod policy;
mod setup;
mod steps;
mod trouble;

use super::problem::Problems;
use super::read::At;
use super::units::UnitError;
use super::{model, text};
use names::Names;
pub(super) use setup::{MARGIN_PER_CHANNEL_SAT, forwarding, reserve_sat};
use std::ops::Range;

/// Checks the whole file. `source` is its text, for line numbers.
pub(super) fn check(
    typed: &At<text::Scenario>,
    source: &str,
    problems: &mut Problems,
) -> Option<model::Scenario> {
    let mut names = Names::default();
    names.collect_setup(&typed.value, problems);
    names.collect_steps(&typed.value, problems);
    let head = setup::head(typed, problems);
    let operator = setup::operator(&typed.value, &names, problems);
    let policy = policy::policy(&typed.value, &names, problems);
    let nodes = setup::nodes(&typed.value, problems);
    let wallets = setup::wallets(&typed.value, problems);
    let accounts = setup::accounts(&typed.value, problems);
    let channels = setup::channels(&typed.value, &names, problems);
    setup::check_funds(&typed.value, &nodes, &channels, problems);
    let steps = steps::steps(&typed.value, &names, source, problems);
    Some(model::Scenario {
        title: head.title?,
        worlds: head.worlds,
        why_not: head.why_not,
        covers: head.covers,
        seed: head.seed,
        pace: head.pace,
        operator: operator?,
        policy: policy?,
        parties: names.parties(),
        dids: setup::dids(&typed.value),
        nodes,
        wallets,
        accounts,
        channels,
        steps,
    })
}

/// A quantity in the unit of its place; `place` says what it is there.
fn quantity<Q>(
    text: &str,
    span: &Range<usize>,
    place: &str,
    parse: fn(&str) -> Result<Q, UnitError>,
    problems: &mut Problems,
) -> Option<Q> {
    match parse(text) {
        Ok(quantity) => Some(quantity),
        Err(error) => {
            problems.at(span, error.to_string(), place, error.remedy());
            None
        }
    }
}

/// A quantity of something that stands for itself.
pub(super) fn amount<Q>(
    text: &str,
    span: &Range<usize>,
    problems: &mut Problems,
    parse: fn(&str) -> Result<Q, UnitError>,
) -> Option<Q> {
    quantity(text, span, "an amount", parse, problems)
}

/// The same, and above zero.
fn positive<Q: Default + PartialEq>(
    text: &str,
    span: &Range<usize>,
    place: &str,
    parse: fn(&str) -> Result<Q, UnitError>,
    problems: &mut Problems,
) -> Option<Q> {
    let found = quantity(text, span, place, parse, problems)?;
    if found == Q::default() {
        problems.at(
            span,
            "this must be above zero",
            place,
            "write more than zero",
        );
        return None;
    }
    Some(found)
}

/// From what was typed and checked (`Some(None)`: typed and wrong) to what the model holds (`None`: wrong).
fn right_or_absent<T>(typed: Option<Option<T>>) -> Option<Option<T>> {
    typed.map_or(Some(None), |checked| checked.map(Some))
}

/// A count that fits 32 bits.
fn count(number: &At<u64>, problems: &mut Problems) -> Option<u32> {
    let found = u32::try_from(number.value).ok();
    if found.is_none() {
        problems.at(
            &number.span,
            "this number is too large",
            "more than 32 bits hold",
            format!("write at most {}", u32::MAX),
        );
    }
    found
}
