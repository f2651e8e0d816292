//! Owns the scenario format: a TOML file is read into a text model (`text`: as typed), then checked into a scenario that
//! cannot be wrong (`model`). All that is wrong with a file is reported at once, each with its place and its remedy.
//! Does not own reading files, running scenarios, or what their steps do.
//!
//! Write the setup as dotted keys, one line each, and the steps after it; below a `[table]` line TOML would take `steps` for
//! a key of that table:
//!
//! ```toml
//! title = "A buyer pays the merchant over one channel"
//! worlds = ["simulated", "regtest"]
//! operator = { node = "shop", wallet = "0.1 BTC" }
//! parties.merchant = {}
//! nodes.shop = {}
//! nodes.buyer = { funds = "0.2 BTC" }
//! channels.buyer-shop = { from = "buyer", to = "shop", capacity = "2_000_000 sat" }
//! steps = [
//!   { at = "10 s", pay = { id = "p1", from = "buyer", to = "merchant", amount = "400_000 sat" } },
//!   { expect = { payment = "p1", state = "settled", within = "1 min" } },
//! ]
//! ```

mod bindings;
mod channels;
mod check;
mod choice;
mod display;
mod escrow;
mod expectation;
mod invoicing;
mod model;
mod outside;
mod own_wallets;
mod paying;
mod problem;
mod read;
mod schema;
mod subject;
mod text;
mod topology;
mod trouble;
mod units;
mod verb;
mod write;

#[cfg(test)]
mod tests;

pub use bindings::{BindingAsked, BindingName, BindingPurpose, BindingState, BindingStep};
pub use channels::{ChannelStage, ChannelStep};
pub use escrow::{
    EscrowDecision, EscrowName, EscrowOfCharge, EscrowShare, EscrowVerdict, VerdictWord,
};
pub use invoicing::{InvoiceKind, PaidInvoice, Routing, Saying};
pub use model::*;
pub use own_wallets::{
    CosignedBy, HOT, OwnStep, OwnedWallet, ScriptKind, USUAL_GAP_LIMIT, WalletPurpose,
};
pub use problem::{Colour, InvalidScenario, Problem};
pub use schema::schema;
pub use topology::{Files, NoFiles};
pub use units::UnitError;
pub use write::{NameSpace, Renaming};

use problem::Problems;
use read::{At, Table};

impl Scenario {
    /// Reads and checks a text that names no other file. `file` is its name as the user knows it, for messages.
    pub fn parse(file: &str, text: &str) -> Result<Scenario, InvalidScenario> {
        Scenario::parse_with(file, text, &NoFiles)
    }

    /// Reads and checks the text of a scenario file, which may name others beside it.
    pub fn parse_with(
        file: &str,
        text: &str,
        files: &dyn Files,
    ) -> Result<Scenario, InvalidScenario> {
        let mut problems = Problems::default();
        let scenario = parse(text, files, &mut problems);
        match scenario {
            Some(scenario) if problems.is_empty() => Ok(scenario),
            _ => {
                assert!(
                    !problems.is_empty(),
                    "a scenario was refused without a reason: {file}"
                );
                Err(problems.into_invalid(file, text))
            }
        }
    }
}

fn parse(source: &str, files: &dyn Files, problems: &mut Problems) -> Option<Scenario> {
    let (root, errors) = toml::de::DeTable::parse_recoverable(source);
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        let help = "correct the TOML first (https://toml.io/en/v1.0.0); the rest of the file is checked after that";
        problems.at(&span, "this is not TOML", error.message(), help);
    }
    if !errors.is_empty() {
        return None;
    }
    let table = Table::new("", root.get_ref(), 0..0);
    let mut typed = At {
        value: text::Scenario::from_table(&table, problems),
        span: 0..source.len(),
    };
    problems.end_of_reading();
    if !topology::expand(&mut typed.value, files, problems) {
        return None;
    }
    check::check(&typed, source, problems)
}
