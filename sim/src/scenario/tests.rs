//! Owns the tests of the scenario format: broken files with the exact text of their errors, valid files with the checked
//! steps they give, and the agreement of reader and schema.

mod everything;

pub(super) use everything::EVERYTHING;
use everything::LINES;

use super::model::{Action, Blocks, Expectation, Payee, Payer, Request, Scenario, World};
use super::problem::Colour;
use super::{schema, text};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Broken files `NAME.toml`, each with the errors that it must give in `NAME.txt`.
const ERRORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/errors");

/// Files beside those of a folder.
pub(super) struct Beside<'a>(pub(super) &'a Path);

impl super::Files for Beside<'_> {
    fn read(&self, path: &str) -> Result<String, String> {
        let read = std::fs::read_to_string(self.0.join(path));
        read.map_err(|error| error.to_string())
    }
}

fn render(name: &str, source: &str) -> String {
    let refused = Scenario::parse_with(name, source, &Beside(Path::new(ERRORS))).expect_err(name);
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
        ["buyer-B", "B-shop", "late"],
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
    assert_eq!(scenario.steps[89].line, line_of("executed = \"o1\""));
    let Action::Pay(pay) = &scenario.steps[7].action else {
        panic!("{:?}", scenario.steps[7])
    };
    let opens = pay.opens.as_ref().expect("a new charge");
    assert!(
        matches!(opens.request, Request::Lightning { amount: Some(amount), hold: false, .. } if amount.get() == 5_000_000_000)
    );
    assert!(
        matches!(&pay.payer, Payer::Node { node, amount: None, .. } if node.as_str() == "buyer")
    );
    let Action::Payout(payout) = &scenario.steps[39].action else {
        panic!("{:?}", scenario.steps[39])
    };
    assert!(matches!(&payout.payee, Payee::Account { amount, .. } if amount.get() == 1_250));
    assert!(
        matches!(&scenario.steps[80].action, Action::Expect(Expectation::Party { btc: Some(btc), .. }) if btc.negative)
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
    let mut tables = keys!(
        Scenario,
        WhyNot,
        Operator,
        OwnWallet,
        Policy,
        Stray,
        Shortfall,
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
        Layer0,
        Reconcile,
        ExpectPayment,
        ExpectEnrolment,
        ExpectStated,
        ExpectReputation,
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
        ExpectConfirmations,
        Cosigner,
        WalletRule,
        Topology
    );
    tables.extend([
        ("Cosigning", super::own_wallets::Cosigning::KEYS),
        ("MoveFunds", super::own_wallets::MoveFunds::KEYS),
        ("LabelCharge", super::own_wallets::LabelCharge::KEYS),
        ("Register", super::bindings::Register::KEYS),
        ("Paying", text::Paying::KEYS),
        ("SmallWorld", super::topology::SmallWorld::KEYS),
        ("CloseChannel", super::channels::CloseChannel::KEYS),
        ("InEscrow", super::escrow::InEscrow::KEYS),
        ("Decide", super::escrow::Decide::KEYS),
        ("Share", super::escrow::Share::KEYS),
        ("ExpectNode", super::channels::ExpectNode::KEYS),
        ("Prove", super::bindings::Prove::KEYS),
        ("Rotate", super::bindings::Rotate::KEYS),
        ("ExpectBinding", super::bindings::ExpectBinding::KEYS),
    ]);
    tables
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
