//! Owns the dispatch of steps by their verb and of expectations by their subject: a step is a table with exactly one verb
//! beside `at` and `only`. Does not own what each verb takes (`text`).

use super::bindings::{ExpectBinding, Prove, Register, Rotate};
use super::channels::{CloseChannel, ExpectNode};
use super::choice::World;
use super::escrow::Decide;
use super::own_wallets::{LabelCharge, MoveFunds, Restored};
use super::problem::{Problems, listed, nearest};
use super::read::{At, Field, Node, Optional, Read, Table};
use super::text::{
    BlockCount, Chain, Charge, Clock, Cosigner, Crash, Disk, Duration, ExpectAccount,
    ExpectChannel, ExpectConfirmations, ExpectEnrolment, ExpectExecuted, ExpectForwarded,
    ExpectHtlc, ExpectParty, ExpectPayment, ExpectReputation, ExpectRun, ExpectStated,
    ExpectWallet, FeerateText, Gateway, Layer0, Link, Pay, Payout, Peer, Process, Reconcile, Reorg,
    Restart,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;

/// A step as typed.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// When, since the scenario's start.
    pub(super) at: Optional<Duration>,
    /// In this world only.
    pub(super) only: Optional<World>,
    /// What; its span is that of the verb's value.
    pub(super) verb: At<Verb>,
}

/// Keys that every step may have beside its verb.
const MODIFIERS: &[&str] = &["at", "only"];

macro_rules! verbs {
    ($( $(#[doc = $doc:literal])+ $word:literal $variant:ident($type:ty), )*) => {
        /// What a step does, as typed.
        #[derive(Clone, Debug)]
        pub(super) enum Verb { $( $(#[doc = $doc])+ $variant($type), )* }

        impl Verb {
            /// Every verb.
            pub(super) const WORDS: &'static [&'static str] = &[$($word),*];

            fn read(node: Node<'_>, problems: &mut Problems) -> Option<Self> {
                match node.key {
                    $($word => <$type>::read(node, problems).map(Self::$variant),)*
                    _ => None,
                }
            }

            fn schemas(generator: &mut SchemaGenerator) -> Vec<(&'static str, &'static str, Schema)> {
                vec![$(($word, concat!($($doc),+).trim(), generator.subschema_for::<$type>())),*]
            }
        }
    };
}

verbs!(
    /// The engine is asked to request money for a party.
    "charge" Charge(Charge),
    /// Somebody outside pays a charge.
    "pay" Pay(Pay),
    /// The engine is asked to pay money out.
    "payout" Payout(Payout),
    /// The engine is told a party's DID.
    "enrol" Enrol(String),
    /// The engine is asked to bind an outside wallet to a DID.
    "register" Register(Register),
    /// The challenge of a binding is answered.
    "prove" Prove(Prove),
    /// A binding is passed on to another DID.
    "rotate" Rotate(Rotate),
    /// A binding is ended.
    "revoke" Revoke(String),
    /// Coins are moved between two of the operator's wallets.
    "move" Move(MoveFunds),
    /// One of the operator's wallets gives out a fresh address.
    "address" Address(String),
    /// A person labels what a charge brought in.
    "label" Label(LabelCharge),
    /// One of the operator's wallets is recovered from its descriptors alone, and compared with the engine's.
    "recover" Recover(String),
    /// The database of the `engine` is lost, and restored from an exported journal.
    "restore" Restore(Restored),
    /// The recovery key moves what it can of a wallet of several keys to `hot`.
    "sweep" Sweep(String),
    /// A held charge is claimed.
    "release" Release(String),
    /// A held charge is failed back to its payer.
    "refuse" Refuse(String),
    /// A channel of `channels` that has `later` is opened.
    "open" Open(String),
    /// A channel is closed.
    "close" Close(CloseChannel),
    /// The agent of an escrow decides.
    "decide" Decide(Decide),
    /// Blocks are mined.
    "mine" Mine(BlockCount),
    /// The last blocks are replaced by others.
    "reorg" Reorg(Reorg),
    /// A process dies.
    "crash" Crash(Crash),
    /// A crashed node is started again.
    "restart" Restart(Restart),
    /// Trouble on the link between two endpoints.
    "link" Link(Link),
    /// Trouble with a process.
    "process" Process(Process),
    /// Trouble with what a process keeps.
    "disk" Disk(Disk),
    /// Trouble with what a process takes for the time.
    "clock" Clock(Clock),
    /// Trouble with the chain or its backend.
    "chain" Chain(Chain),
    /// A Lightning node does not keep to the protocol.
    "peer" Peer(Peer),
    /// A cosigner does not do what he is asked to.
    "cosigner" Cosigner(Cosigner),
    /// The fiat gateway misbehaves.
    "gateway" Gateway(Gateway),
    /// Layer 0 changes what it says, or misbehaves.
    "layer0" Layer0(Layer0),
    /// The fee market moves: the feerate that a transaction needs to be mined.
    "fee" Fee(FeerateText),
    /// Nothing happens for a while.
    "wait" Wait(Duration),
    /// The ledger is compared with the outside.
    "reconcile" Reconcile(Reconcile),
    /// Something must be true.
    "expect" Expect(Expect),
);

impl Read for Step {
    fn read(node: Node<'_>, problems: &mut Problems) -> Option<Self> {
        if !node.value.is_table() {
            problems.at(
                &node.span(),
                "a step must be a table",
                "this is none",
                "write `{ mine = \"6 blocks\" }`",
            );
            return None;
        }
        let table = node.table(problems)?;
        let at = Field::from_entry(table.get("at"), problems);
        let only = Field::from_entry(table.get("only"), problems);
        let verb = one_verb(&table, problems)?;
        let value = Verb::read(verb, problems)?;
        Some(Self {
            at,
            only,
            verb: At {
                value,
                span: verb.span(),
            },
        })
    }
}

/// The value under the step's only verb.
fn one_verb<'a>(table: &Table<'a>, problems: &mut Problems) -> Option<Node<'a>> {
    let mut verb: Option<(&str, Node<'a>)> = None;
    let mut unknown = false;
    for (name, span, node) in &table.entries {
        if MODIFIERS.contains(name) {
            continue;
        }
        if !Verb::WORDS.contains(name) {
            unknown = true;
            problems.at(
                span,
                format!("unknown step `{name}`"),
                "not something that a step can do",
                verb_help(name),
            );
        } else if let Some((first, _)) = verb {
            let help = format!("make two steps of it: {{ {first} = … }}, {{ {name} = … }}");
            problems.at(
                span,
                format!("a step does one thing, this one has `{first}` and `{name}`"),
                "the second verb",
                help,
            );
        } else {
            verb = Some((name, *node));
        }
    }
    if verb.is_none() && !unknown {
        let help = format!("add one of {}", Verb::WORDS.join(", "));
        problems.at(
            &table.span,
            "a step without a verb",
            "this step does nothing",
            help,
        );
    }
    verb.map(|(_, node)| node)
}

fn verb_help(name: &str) -> String {
    let (ranked, best) = nearest(name, Verb::WORDS);
    let meant = best.map_or(String::new(), |best| format!("did you mean `{best}`? "));
    format!(
        "{meant}steps: {}; beside them `at` and `only`",
        ranked.join(", ")
    )
}

macro_rules! subjects {
    ($( $(#[doc = $doc:literal])+ $word:literal $variant:ident($type:ty), )*) => {
        /// What must be true, as typed; the subject is the key that tells which kind it is.
        #[derive(Clone, Debug)]
        pub(super) enum Expect { $( $(#[doc = $doc])+ $variant($type), )* }

        impl Expect {
            /// Every subject.
            pub(super) const SUBJECTS: &'static [&'static str] = &[$($word),*];

            fn read_subject(subject: &str, node: Node<'_>, problems: &mut Problems) -> Option<Self> {
                match subject {
                    $($word => <$type>::read(node, problems).map(Self::$variant),)*
                    _ => None,
                }
            }
        }

        impl JsonSchema for Expect {
            fn schema_name() -> Cow<'static, str> {
                "Expect".into()
            }
            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                json_schema!({ "description": "Something that must be true.", "oneOf": [$(generator.subschema_for::<$type>()),*] })
            }
        }
    };
}

subjects!(
    /// A payment's state.
    "payment" Payment(ExpectPayment),
    /// A party's enrolment with Layer 0.
    "enrolment" Enrolment(ExpectEnrolment),
    /// What Layer 0 was told of a payment.
    "stated" Stated(ExpectStated),
    /// A party's score.
    "reputation" Reputation(ExpectReputation),
    /// A party's balances.
    "party" Party(ExpectParty),
    /// A channel's balance.
    "channel" Channel(ExpectChannel),
    /// What a node's own wallet holds.
    "node" Node(ExpectNode),
    /// Forwarding fees.
    "forwarded" Forwarded(ExpectForwarded),
    /// An HTLC.
    "htlc" Htlc(ExpectHtlc),
    /// A wallet's balance.
    "wallet" Wallet(ExpectWallet),
    /// A bank account's balance.
    "account" Account(ExpectAccount),
    /// A reconciliation's breaks.
    "run" Run(ExpectRun),
    /// A binding's state.
    "binding" Binding(ExpectBinding),
    /// How often a payout was carried out.
    "executed" Executed(ExpectExecuted),
    /// An on-chain payment's depth.
    "confirmations" Confirmations(ExpectConfirmations),
);

impl Read for Expect {
    fn read(node: Node<'_>, problems: &mut Problems) -> Option<Self> {
        let table = node.table(problems)?;
        let subjects: Vec<&str> = table
            .entries
            .iter()
            .map(|(name, ..)| *name)
            .filter(|name| Self::SUBJECTS.contains(name))
            .collect();
        if let [subject] = subjects[..] {
            return Self::read_subject(subject, node, problems);
        }
        if subjects.is_empty() {
            let typed = table.entries.first().map_or("", |(name, ..)| *name);
            let (ranked, best) = nearest(typed, Self::SUBJECTS);
            let meant = best.map_or(String::new(), |best| format!("did you mean `{best}`? "));
            let help = format!("{meant}begin with one of {}", ranked.join(", "));
            problems.at(
                &table.span,
                "an expectation without a subject",
                "nothing says what this is about",
                help,
            );
        } else {
            let title = format!(
                "an expectation is about one thing, this one has {}",
                listed(&subjects, "none")
            );
            problems.at(
                &table.span,
                title,
                "more than one subject",
                "make a step of each",
            );
        }
        None
    }
}

impl JsonSchema for Step {
    fn schema_name() -> Cow<'static, str> {
        "Step".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut properties = serde_json::Map::new();
        let mut put = |key: &str, description: &str, schema: Schema| {
            properties.insert(
                key.to_owned(),
                serde_json::json!({ "description": description, "allOf": [schema] }),
            );
        };
        put(
            "at",
            "When, since the scenario's start; never before an earlier step. Default: after the step before.",
            generator.subschema_for::<Duration>(),
        );
        put(
            "only",
            "The step is left out in the other world.",
            generator.subschema_for::<World>(),
        );
        let mut one_verb = Vec::new();
        for (word, description, schema) in Verb::schemas(generator) {
            put(word, description, schema);
            one_verb.push(serde_json::json!({ "required": [word] }));
        }
        json_schema!({
            "type": "object", "description": "One step: a verb, and if wanted `at` and `only`.",
            "properties": properties, "additionalProperties": false, "oneOf": one_verb,
            "examples": [{ "at": "10 s", "pay": { "id": "p1", "from": "buyer", "to": "merchant", "amount": "5_000_000 sat" } }, { "mine": "6 blocks" }],
        })
    }
}
