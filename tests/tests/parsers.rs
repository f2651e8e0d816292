//! Every parser that eats bytes from outside, with a corpus of real samples: it gives a value or an error and never panics,
//! what it renders it reads again, and what it refuses leaves the engine as it was. Owns the list of targets.
//!
//! A target is a function from bytes to [`Verdict`], and a folder `fixtures/corpus/TARGET`. Files whose names begin with `ok-`
//! must be accepted, with `bad-` refused; `found-` are inputs that once broke something. `attack` runs the corpus and then
//! mutations of it. To add a target, write the function, the folder and one test below.
//!
//! This is proptest, and not bolero: bolero without default features brings 45 packages (the derive macro and an old TOML
//! editor among them), draws its seed from the operating system, and looks for its corpus only beside the test's source. What
//! is lost is coverage guidance; the samples and the mutations that know digits, quotes and separators stand in for it.

#[path = "parsers/attack.rs"]
mod attack;
#[path = "parsers/fiat.rs"]
mod fiat;
#[path = "parsers/harness.rs"]
mod harness;
#[path = "parsers/http.rs"]
mod http;
#[path = "parsers/identity.rs"]
mod identity;
#[path = "parsers/inputs.rs"]
mod inputs;
#[path = "parsers/layer0.rs"]
mod layer0;
#[path = "parsers/nodes.rs"]
mod nodes;
#[path = "parsers/outside.rs"]
mod outside;
#[path = "parsers/rails.rs"]
mod rails;

use attack::{attack, attack_with};

#[test]
fn webhook_header() {
    attack("webhook-header", 2_000, fiat::webhook_header);
}

#[test]
fn webhook_body() {
    attack("webhook-body", 300, fiat::webhook_body);
}

#[test]
fn transfer_answer() {
    attack("transfer-answer", 300, fiat::transfer_answer);
}

#[test]
fn status_answer() {
    attack("status-answer", 2_000, fiat::status_answer);
}

#[test]
fn settlement_report() {
    attack("settlement-report", 300, fiat::settlement_report);
}

#[test]
fn day() {
    attack("day", 2_000, fiat::day);
}

#[test]
fn iban() {
    attack("iban", 2_000, fiat::iban);
}

#[test]
fn did() {
    attack("did", 2_000, layer0::did);
}

#[test]
fn did_answer() {
    attack("did-answer", 2_000, layer0::did_answer);
}

#[test]
fn statement() {
    attack("statement", 1_000, layer0::statement);
}

#[test]
fn invoice() {
    attack("invoice", 1_000, rails::invoice);
}

#[test]
fn address() {
    attack("address", 2_000, rails::address);
}

#[test]
fn signed_psbt() {
    attack_with("signed-psbt", 300, rails::psbts(), rails::signed_psbt);
}

#[test]
fn did_key() {
    attack("did-key", 1_000, identity::did_key);
}

#[test]
fn wallet_proof() {
    attack("wallet-proof", 500, identity::wallet_proof);
}

#[test]
fn did_news() {
    attack("did-news", 500, identity::did_news);
}

#[test]
fn http_response() {
    attack("http-response", 1_000, http::response);
}

#[test]
fn journal_record() {
    attack("journal-record", 1_000, inputs::journal_record);
}

#[test]
fn input() {
    attack("input", 400, inputs::input);
}

#[test]
fn scenario() {
    attack("scenario", 300, harness::scenario);
}

#[test]
fn profile() {
    attack("profile", 500, harness::profile);
}

#[test]
fn replay_bundle() {
    attack("replay-bundle", 200, harness::replay_bundle);
}

#[test]
fn lnd_graph() {
    attack("lnd-graph", 500, harness::lnd_graph);
}

#[test]
fn sim_ln_network() {
    attack("sim-ln-network", 500, harness::sim_ln_network);
}
