//! Owns the tests of the scenario format: broken files with the exact text of their errors, valid files with the checked
//! steps they give, and the agreement of reader and schema.

use super::model::{Action, Blocks, Expectation, Payee, Payer, Request, Scenario, World};
use super::problem::Colour;
use super::{schema, text};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Broken files `NAME.toml`, each with the errors that it must give in `NAME.txt`.
const ERRORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/errors");

fn render(name: &str, source: &str) -> String {
    let refused = Scenario::parse(name, source).expect_err(name);
    refused.render(Colour::Never)
}

/// `BLESS=1 cargo test` writes the expected texts anew; review the difference before you commit it.
#[test]
fn broken_files_are_explained() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for entry in std::fs::read_dir(ERRORS).expect(ERRORS) {
        let path = entry.expect(ERRORS).path();
        let part = |part: Option<&std::ffi::OsStr>| {
            part.and_then(|part| part.to_str())
                .unwrap_or_default()
                .to_owned()
        };
        names
            .entry(part(path.file_stem()))
            .or_default()
            .insert(part(path.extension()));
    }
    let mut wrong = Vec::new();
    for (name, extensions) in &names {
        assert!(extensions.contains("toml"), "{name}.txt has no {name}.toml");
        let path = Path::new(ERRORS).join(name);
        let source = std::fs::read_to_string(path.with_extension("toml")).expect(name);
        let found = render(&format!("{name}.toml"), &source);
        if bless {
            std::fs::write(path.with_extension("txt"), &found).expect(name);
        }
        let expected = std::fs::read_to_string(path.with_extension("txt")).unwrap_or_default();
        if found != expected {
            wrong.push(format!("{name}: expected\n{expected}\nfound\n{found}"));
        }
    }
    assert!(
        names.len() >= 40,
        "only {} broken files in {ERRORS}",
        names.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Everything that the format can say, once.
pub(super) const EVERYTHING: &str = r#"
title = "Everything that the format can say"
worlds = ["simulated"]
why_not = { regtest = "faults of links are simulated only" }
covers = ["L1", "F54"]
seed = 7
pace = "free"
operator = { node = "shop", wallet = "0.1 BTC", gateway = "1_000.00 EUR" }
policy.rate = "60_000.00 EUR/BTC"
policy.payout_depth = "2 blocks"
policy.feerate = "3 sat/vB"
policy.hold_margin = 0
policy.poll_interval = "1 min"
policy.depth = [{ below = "1_000_000 sat", blocks = 1 }, { blocks = "6 blocks" }]
parties.merchant = {}
nodes.shop = {}
nodes.B = { funds = "0.2 BTC" }
nodes.buyer = { funds = "0.2 BTC" }
wallets.alice = { funds = "0.5 BTC" }
accounts.merchant-bank = { iban = "DE89 3704 0044 0532 0130 00", name = "Merchant GmbH" }
channels.buyer-B = { from = "buyer", to = "B", capacity = "2_000_000 sat", push = "500_000 sat" }
channels.B-shop = { from = "B", to = "shop", capacity = "2_000_000 sat", announced = false, fees = { from = { base = "200 msat", ppm = 1_000, cltv = "40 blocks" } } }
steps = [
  { at = "10 s", charge = { id = "c1", party = "merchant", amount = "400_000 sat", over = "lightning", hold = true, expires = "2 h" } },
  { pay = { charge = "c1", from = "buyer", amount = "400_001 msat" } },
  { expect = { payment = "c1", state = "held", within = "5 min" } },
  { release = "c1" },
  { charge = { id = "c2", party = "merchant", amount = "1 sat", over = "lightning", hold = true } },
  { refuse = "c2" },
  { expect = { payment = "c2", state = "failed", reason = "refused" } },
  { at = "10.2 s", pay = { id = "p1", from = "buyer", to = "merchant", amount = "5_000_000 sat", over = "lightning" } },
  { pay = { id = "p2", from = "alice", to = "merchant", amount = "0.01 BTC", feerate = "2.5 sat/vB" } },
  { fee = "10 sat/vB" },
  { mine = "6 blocks" },
  { expect = { confirmations = { payment = "p2", at_least = 1 } } },
  { reorg = { depth = 2, then = 3, drop = ["p2"], keep = true } },
  { crash = { node = "B" } },
  { restart = { node = "B" } },
  { crash = { node = "B", for = "30 s" } },
  { crash = { engine = "journaled", on = "o1" } },
  { gateway = { fault = "lose-response", on = "o1" } },
  { gateway = { fault = "duplicate-webhook", on = "o1" } },
  { gateway = { fault = "delay-webhook", on = "o1", by = "1 min" } },
  { gateway = { fault = "drop-webhook", on = "o1" } },
  { gateway = { fault = "wrong-signature", on = "o1" } },
  { gateway = { fault = "forged-webhook", on = "o1" } },
  { gateway = { fault = "reject", on = "o1", code = "invalid_iban" } },
  { gateway = { fault = "return", on = "o1", reason = "AC06", after = "2 d" } },
  { gateway = { fault = "server-error", on = "o1", times = 3 } },
  { gateway = { fault = "lose-request", on = "o1" } },
  { gateway = { fault = "slow-response", on = "o1", by = "40 s" } },
  { gateway = { fault = "slow-body", on = "o1", by = "5 s" } },
  { gateway = { fault = "cut-body", on = "o1" } },
  { gateway = { fault = "too-many-requests", on = "o1", times = 2 } },
  { gateway = { fault = "forget-key", on = "o1" } },
  { gateway = { fault = "reorder-webhooks", on = "o1" } },
  { gateway = { fault = "wrong-amount", on = "o1" } },
  { payout = { id = "o1", from = "merchant", to = "merchant-bank", amount = "12.50 EUR", funded_by = "BTC", over = "sepa", deadline = "1 h" } },
  { payout = { id = "o2", from = "merchant", to = "buyer", amount = "4_999_999 msat" } },
  { payout = { id = "o3", from = "merchant", to = "alice", amount = "0.001 BTC" } },
  { link = { between = ["buyer", "B"], fault = "partition", for = "20 s" }, only = "simulated" },
  { link = { between = ["buyer", "B"], fault = "disconnect" } },
  { link = { between = ["buyer", "B"], fault = "delay", by = "500 ms", for = "20 s" } },
  { link = { between = ["engine", "gateway"], fault = "one-way", for = "20 s" } },
  { link = { between = ["B", "chain"], fault = "clog", for = "20 s" } },
  { link = { between = ["buyer", "B"], fault = "half-open", for = "20 s" } },
  { link = { between = ["buyer", "B"], fault = "spikes", by = "2 s", for = "20 s" } },
  { link = { between = ["chain", "B"], fault = "reorder", by = "2 s", for = "20 s" } },
  { link = { between = ["chain", "engine"], fault = "duplicate", for = "20 s" } },
  { link = { between = ["buyer", "B"], fault = "loss", for = "20 s" } },
  { process = { of = "engine", fault = "kill", for = "5 s" } },
  { process = { of = "B", fault = "kill-at-write", write = 3, for = "5 s" } },
  { process = { of = "gateway", fault = "pause", for = "5 s" } },
  { process = { of = "B", fault = "stale-restart", by = "1 min", for = "5 s" } },
  { process = { of = "B", fault = "slow-start", for = "5 s" } },
  { disk = { of = "engine", fault = "torn", for = "5 s" } },
  { disk = { of = "engine", fault = "lost", for = "5 s" } },
  { disk = { of = "B", fault = "slow", by = "300 ms", for = "5 s" } },
  { disk = { of = "engine", fault = "failed-sync", for = "5 s" } },
  { disk = { of = "B", fault = "full", for = "5 s" } },
  { disk = { of = "engine", fault = "read-error", for = "5 s" } },
  { disk = { of = "engine", fault = "bit-flip", for = "5 s" } },
  { clock = { of = "engine", fault = "skew", by = "90 s", for = "1 h" } },
  { clock = { of = "chain", fault = "step", by = "10 min", behind = true } },
  { clock = { of = "B", fault = "drift", ppm = 50_000, for = "1 h" } },
  { chain = { fault = "late-blocks", for = "1 h" } },
  { chain = { fault = "empty-blocks", for = "1 h" } },
  { chain = { fault = "fee-spike", feerate = "40 sat/vB", for = "1 h" } },
  { chain = { fault = "evict", on = "o3" } },
  { chain = { fault = "replace", on = "p2" } },
  { chain = { fault = "lag", blocks = 2, for = "1 h" } },
  { chain = { fault = "stop", for = "1 h" } },
  { chain = { fault = "lie", for = "1 h" } },
  { peer = { of = "B", fault = "withhold-htlc", for = "1 min" } },
  { peer = { of = "B", fault = "silent", for = "1 min" } },
  { peer = { of = "B", fault = "revoked", channel = "buyer-B" } },
  { wait = "2 min" },
  { reconcile = { id = "r1" } },
  { expect = { party = "merchant", btc = "-5_000_000 sat", eur = "0.00 EUR" } },
  { expect = { channel = "buyer-B", end = "B", balance = "500_000 sat" } },
  { expect = { forwarded = { node = "B", fee = "200 msat" } } },
  { expect = { htlc = { channel = "buyer-B", amount = "5_010_198 msat", cltv_delta = 80 } } },
  { expect = { wallet = "operator", balance = "0.1 BTC" } },
  { expect = { wallet = "alice", balance = "0 sat" } },
  { expect = { account = "merchant-bank", balance = "12.50 EUR" } },
  { expect = { account = "operator", balance = "987.50 EUR" } },
  { expect = { run = "r1", breaks = 0 } },
  { expect = { executed = "o1", times = 1 } },
]
"#;

/// The canonical line of each step of `EVERYTHING`.
const LINES: &str = "\
at 10 s: charge c1: merchant 400000 sat over lightning hold expires 7200 s
pay c1: buyer instead 400001 msat
expect payment c1 held within 300 s
release c1
charge c2: merchant 1 sat over lightning hold expires 3600 s
refuse c2
expect payment c2 failed because refused
at 10.2 s: pay p1: buyer -> merchant 5000000 sat over lightning
pay p2: alice -> merchant 1000000 sat over onchain at 2.5 sat/vB
fee 10 sat/vB
mine 6 blocks
expect confirmations p2 at least 1
reorg 2 blocks then 3 blocks drop p2 keep
crash node B
restart node B
crash node B for 30 s
crash engine journaled on o1
gateway lose-response on o1 times 1
gateway duplicate-webhook on o1
gateway delay-webhook on o1 by 60 s
gateway drop-webhook on o1
gateway wrong-signature on o1
gateway forged-webhook on o1
gateway reject on o1 code invalid_iban
gateway return on o1 reason AC06 after 172800 s
gateway server-error on o1 times 3
gateway lose-request on o1 times 1
gateway slow-response on o1 by 40 s
gateway slow-body on o1 by 5 s
gateway cut-body on o1 times 1
gateway too-many-requests on o1 times 2
gateway forget-key on o1
gateway reorder-webhooks on o1
gateway wrong-amount on o1
payout o1: merchant -> merchant-bank 12.50 EUR over sepa funded by BTC within 3600 s
payout o2: merchant -> buyer 4999999 msat over lightning within 3600 s
payout o3: merchant -> alice 100000 sat over onchain within 3600 s
link partition buyer <-> B for 20 s only in simulated
link disconnect buyer <-> B
link delay buyer <-> B by 0.5 s for 20 s
link one-way engine <-> gateway for 20 s
link clog B <-> chain for 20 s
link half-open buyer <-> B for 20 s
link spikes buyer <-> B by 2 s for 20 s
link reorder chain <-> B by 2 s for 20 s
link duplicate chain <-> engine for 20 s
link loss buyer <-> B for 20 s
process kill engine for 5 s
process kill-at-write B 3 for 5 s
process pause gateway for 5 s
process stale-restart B by 60 s for 5 s
process slow-start B for 5 s
disk torn engine for 5 s
disk lost engine for 5 s
disk slow B by 0.3 s for 5 s
disk failed-sync engine for 5 s
disk full B for 5 s
disk read-error engine for 5 s
disk bit-flip engine for 5 s
clock skew engine by 90 s for 3600 s
clock step chain by 600 s behind
clock drift B by 50000 ppm for 3600 s
chain late-blocks for 3600 s
chain empty-blocks for 3600 s
chain fee-spike 40 sat/vB for 3600 s
chain evict o3
chain replace p2
chain lag by 2 blocks for 3600 s
chain stop for 3600 s
chain lie for 3600 s
peer withhold-htlc B for 60 s
peer silent B for 60 s
peer revoked B buyer-B
wait 120 s
reconcile r1
expect party merchant btc -5000000 sat eur 0.00 EUR
expect channel buyer-B end B balance 500000 sat
expect forwarded B fee 200 msat
expect htlc buyer-B 5010198 msat cltv delta 80 blocks
expect wallet operator balance 10000000 sat
expect wallet alice balance 0 sat
expect account merchant-bank balance 12.50 EUR
expect account operator balance 987.50 EUR
expect run r1 breaks 0
expect executed o1 times 1";

fn parsed(source: &str) -> Scenario {
    Scenario::parse("test.toml", source).unwrap_or_else(|refused| panic!("{refused}"))
}

#[test]
fn every_step_has_its_canonical_line() {
    let lines: Vec<String> = parsed(EVERYTHING)
        .steps
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(lines.join("\n"), LINES);
    for verb in super::verb::Verb::WORDS {
        assert!(
            LINES
                .lines()
                .any(|line| line.split(' ').any(|word| word == *verb)),
            "no step shows `{verb}`"
        );
    }
    for subject in super::verb::Expect::SUBJECTS {
        assert!(
            LINES
                .lines()
                .any(|line| line.starts_with(&format!("expect {subject} "))),
            "no step expects `{subject}`"
        );
    }
}

#[test]
fn the_setup_is_exact() {
    let scenario = parsed(EVERYTHING);
    assert_eq!(scenario.seed, 7);
    assert_eq!(
        scenario.why_not[&World::Regtest],
        "faults of links are simulated only"
    );
    assert_eq!(scenario.operator.hot().funds.get(), 10_000_000);
    assert_eq!(scenario.operator.gateway.get(), 100_000);
    assert_eq!(scenario.policy.rate.map(|rate| rate.get()), Some(6_000_000));
    let policy = &scenario.policy;
    assert_eq!(
        (policy.payout_depth, policy.hold_margin),
        (Blocks::new(2), Blocks::new(0))
    );
    assert_eq!(
        (
            policy.feerate.map(|rate| rate.get()),
            policy.poll_interval.map(|span| span.get())
        ),
        (Some(750), Some(60_000))
    );
    let depth = policy.depth.as_ref().expect("set");
    assert_eq!(
        depth
            .below
            .iter()
            .map(|(sat, blocks)| (sat.get(), blocks.get()))
            .collect::<Vec<_>>(),
        [(1_000_000, 1)]
    );
    assert_eq!(Some(depth.otherwise), Blocks::new(6));
    assert_eq!(
        scenario
            .nodes
            .iter()
            .map(|node| node.name.as_str())
            .collect::<Vec<_>>(),
        ["shop", "B", "buyer"],
        "order of the file"
    );
}

#[test]
fn channels_are_exact() {
    let scenario = parsed(EVERYTHING);
    assert_eq!(
        scenario
            .channels
            .iter()
            .map(|channel| channel.name.as_str())
            .collect::<Vec<_>>(),
        ["buyer-B", "B-shop"],
        "order of the file"
    );
    let (first, second) = (&scenario.channels[0], &scenario.channels[1]);
    assert_eq!(
        (first.capacity.get(), first.push.get(), first.announced),
        (2_000_000, 500_000_000, true)
    );
    assert_eq!(
        (
            second.announced,
            second.from_forwarding.base.get(),
            second.from_forwarding.proportional_millionths
        ),
        (false, 200, 1_000)
    );
    assert_eq!(
        (
            second.from_forwarding.cltv_delta.get(),
            second.to_forwarding.cltv_delta.get()
        ),
        (40, 80)
    );
    assert_eq!(
        (
            second.to_forwarding.base.get(),
            second.to_forwarding.proportional_millionths
        ),
        (1_000, 100)
    );
}

#[test]
fn steps_know_their_line_and_their_content() {
    let scenario = parsed(EVERYTHING);
    let line_of = |needle: &str| {
        1 + EVERYTHING
            .lines()
            .position(|line| line.contains(needle))
            .expect(needle)
    };
    assert_eq!(scenario.steps[0].line, line_of("charge = { id = \"c1\""));
    assert_eq!(scenario.steps[83].line, line_of("executed = \"o1\""));
    let Action::Pay(pay) = &scenario.steps[7].action else {
        panic!("{:?}", scenario.steps[7])
    };
    let opens = pay.opens.as_ref().expect("a new charge");
    assert!(
        matches!(opens.request, Request::Lightning { amount, hold: false } if amount.get() == 5_000_000_000)
    );
    assert!(
        matches!(&pay.payer, Payer::Node { node, amount: None, .. } if node.as_str() == "buyer")
    );
    let Action::Payout(payout) = &scenario.steps[33].action else {
        panic!("{:?}", scenario.steps[33])
    };
    assert!(matches!(&payout.payee, Payee::Account { amount, .. } if amount.get() == 1_250));
    assert!(
        matches!(&scenario.steps[74].action, Action::Expect(Expectation::Party { btc: Some(btc), .. }) if btc.negative)
    );
}

#[test]
fn tables_and_dotted_keys_say_the_same() {
    let dotted = "title = \"t\"\nworlds = [\"simulated\", \"regtest\"]\nnodes.a = { funds = \"1 BTC\" }\nsteps = [{ mine = \"1 block\" }, { only = \"regtest\", wait = \"1 s\" }]\n";
    let tables = "title = \"t\"\nworlds = [\"simulated\", \"regtest\"]\n[nodes.a]\nfunds = \"1 BTC\"\n[[steps]]\nmine = 1\n[[steps]]\nonly = \"regtest\"\nwait = \"1_000 ms\"\n";
    let (mut dotted, mut tables) = (parsed(dotted), parsed(tables));
    for step in dotted.steps.iter_mut().chain(&mut tables.steps) {
        step.line = 0;
    }
    assert_eq!(dotted, tables);
}

#[test]
fn colour_is_the_callers_choice() {
    let refused = Scenario::parse("x.toml", "title = 1").expect_err("broken");
    assert!(!refused.render(Colour::Never).contains('\u{1b}'));
    assert!(refused.render(Colour::Always).contains('\u{1b}'));
    assert_eq!(refused.to_string(), refused.render(Colour::Never));
}

/// Cutting a valid file anywhere, or leaving out any line, never panics, and every refusal gives a reason and a remedy.
#[test]
fn damaged_files_never_panic() {
    let cuts = (0..EVERYTHING.len())
        .step_by(7)
        .map(|end| EVERYTHING[..end].to_owned());
    let lines: Vec<&str> = EVERYTHING.lines().collect();
    let gaps = (0..lines.len()).map(|gap| [&lines[..gap], &lines[gap + 1..]].concat().join("\n"));
    let swaps = (0..lines.len() - 1).map(|at| {
        let mut swapped = lines.clone();
        swapped.swap(at, at + 1);
        swapped.join("\n")
    });
    for source in cuts.chain(gaps).chain(swaps) {
        if let Err(refused) = Scenario::parse("damaged.toml", &source) {
            let shown = refused.to_string();
            assert!(
                refused
                    .problems
                    .iter()
                    .all(|problem| !problem.title.is_empty() && !problem.help.is_empty()),
                "{shown}"
            );
            assert!(shown.contains("damaged.toml:"), "{shown}");
        }
    }
}

/// Every table of the text model by the name that its schema has.
fn tables() -> BTreeMap<&'static str, &'static [&'static str]> {
    macro_rules! keys {
        ($($name:ident),*) => { BTreeMap::from([$((stringify!($name), text::$name::KEYS)),*]) };
    }
    keys!(
        Scenario,
        WhyNot,
        Operator,
        Policy,
        DepthRule,
        Party,
        Fundable,
        Account,
        Channel,
        Fees,
        Forwarding,
        Charge,
        Pay,
        Payout,
        Reorg,
        Crash,
        Restart,
        Link,
        Process,
        Disk,
        Clock,
        Chain,
        Peer,
        Gateway,
        Reconcile,
        ExpectPayment,
        ExpectParty,
        ExpectChannel,
        Forwarded,
        ExpectForwarded,
        Htlc,
        ExpectHtlc,
        ExpectWallet,
        ExpectAccount,
        ExpectRun,
        ExpectExecuted,
        Confirmations,
        ExpectConfirmations
    )
}

#[test]
fn reader_and_schema_know_the_same_keys() {
    let schema = schema();
    let mut objects = BTreeMap::from([("Scenario".to_owned(), &schema)]);
    for (name, definition) in schema["$defs"].as_object().expect("definitions") {
        objects.insert(name.clone(), definition);
    }
    objects.retain(|_, object| object["additionalProperties"] == serde_json::json!(false));
    let properties = |object: &serde_json::Value| -> BTreeSet<String> {
        object["properties"]
            .as_object()
            .map(|properties| properties.keys().cloned().collect())
            .unwrap_or_default()
    };
    let step = objects.remove("Step").expect("steps have a schema");
    let verbs = super::verb::Verb::WORDS
        .iter()
        .chain(["at", "only"].iter())
        .map(|key| (*key).to_owned())
        .collect::<BTreeSet<_>>();
    assert_eq!(properties(step), verbs);
    let in_schema: BTreeMap<String, BTreeSet<String>> = objects
        .iter()
        .map(|(name, object)| (name.clone(), properties(object)))
        .collect();
    let in_reader = tables().into_iter().map(|(name, keys)| {
        (
            name.to_owned(),
            keys.iter().map(|key| (*key).to_owned()).collect(),
        )
    });
    assert_eq!(in_schema, in_reader.collect());
    for (name, object) in &objects {
        assert!(
            object["description"].is_string(),
            "{name} has no description"
        );
        for (key, property) in object["properties"].as_object().into_iter().flatten() {
            assert!(
                property["description"].is_string(),
                "{name}.{key} has no description: {property}"
            );
        }
    }
}

/// What the schema requires is what the reader misses.
#[test]
fn reader_and_schema_require_the_same_keys() {
    let schema = schema();
    let required: Vec<&str> = schema["required"]
        .as_array()
        .expect("some")
        .iter()
        .filter_map(|key| key.as_str())
        .collect();
    assert_eq!(required, ["title", "worlds", "steps"]);
    let shown = render("empty.toml", "");
    for key in required {
        assert!(shown.contains(&format!("`{key} = …`")), "{shown}");
    }
    let charge: BTreeSet<&str> = schema["$defs"]["Charge"]["required"]
        .as_array()
        .expect("some")
        .iter()
        .filter_map(|key| key.as_str())
        .collect();
    let shown = render(
        "charge.toml",
        "title = \"t\"\nworlds = [\"simulated\", \"regtest\"]\nsteps = [{ charge = {} }]",
    );
    for key in text::Charge::KEYS {
        assert_eq!(
            shown.contains(&format!("`{key} = …`")),
            charge.contains(key),
            "{key}: {shown}"
        );
    }
}
