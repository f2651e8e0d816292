//! Owns the attack on one parser: its corpus as it stands, then mutations of it and noise. The same draws in every run.
//! Does not own what a parser must do.
//!
//! `LOCKSTEP_PARSER_CASES` multiplies the number of mutated inputs, for a long run; `LOCKSTEP_PARSER_SEED` draws others.

use crate::nodes::{self, Change};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// What a parser made of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It has a value.
    Accepted,
    /// It has an error.
    Refused,
}

impl<T, E> From<&Result<T, E>> for Verdict {
    fn from(result: &Result<T, E>) -> Verdict {
        match result {
            Ok(_) => Verdict::Accepted,
            Err(_) => Verdict::Refused,
        }
    }
}

/// Put in by mutations: what the formats take for a separator, a limit or a trap.
const TOKENS: [&[u8]; 24] = [
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"=",
    b"null",
    b"true",
    b"-",
    b"0",
    b"1e999",
    b"\\u0000",
    b"\\ud800",
    b"\0",
    b"\r\n",
    b"\r\n\r\n",
    b" ",
    b"\xff\xfe",
    b"\xc3\xa9",
    b"{\"a\":",
    b"[[[[[[[[",
    b"%00",
];

/// Take the place of a number.
const NUMBERS: [&str; 12] = [
    "0",
    "1",
    "-1",
    "00",
    "65536",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "340282366920938463463374607431768211456",
];

/// One change; places are fractions of the length, in 65,536ths.
#[derive(Clone, Copy, Debug)]
enum Mutation {
    Set { at: u16, byte: u8 },
    Flip { at: u16, bit: u8 },
    Delete { at: u16, bytes: u8 },
    Repeat { at: u16, bytes: u8 },
    Insert { at: u16, token: usize },
    Number { which: u16, number: usize },
    Cut { at: u16 },
    Graft { at: u16, from: u16 },
    Node(Change),
}

/// Changes of nodes, where there are any.
fn change() -> impl Strategy<Value = Mutation> {
    (any::<u16>(), any::<u16>(), 0..nodes::WAYS)
        .prop_map(|(node, from, how)| Mutation::Node(Change { node, from, how }))
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (any::<u16>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set { at, byte }),
        (any::<u16>(), 0_u8..8).prop_map(|(at, bit)| Mutation::Flip { at, bit }),
        (any::<u16>(), 1_u8..40).prop_map(|(at, bytes)| Mutation::Delete { at, bytes }),
        (any::<u16>(), 1_u8..40).prop_map(|(at, bytes)| Mutation::Repeat { at, bytes }),
        (any::<u16>(), 0..TOKENS.len()).prop_map(|(at, token)| Mutation::Insert { at, token }),
        (any::<u16>(), 0..NUMBERS.len())
            .prop_map(|(which, number)| Mutation::Number { which, number }),
        any::<u16>().prop_map(|at| Mutation::Cut { at }),
        (any::<u16>(), any::<u16>()).prop_map(|(at, from)| Mutation::Graft { at, from }),
    ]
}

fn place(fraction: u16, len: usize) -> usize {
    usize::from(fraction) * len / 65_536
}

/// Where each run of digits begins and ends.
fn numbers(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut begin = None;
    for (at, byte) in bytes.iter().chain(b".").enumerate() {
        match (byte.is_ascii_digit(), begin) {
            (true, None) => begin = Some(at),
            (false, Some(from)) => {
                found.push((from, at));
                begin = None;
            }
            _ => {}
        }
    }
    found
}

fn apply(mutation: Mutation, bytes: &mut Vec<u8>, donor: &[u8]) {
    let len = bytes.len();
    let range = |at: u16, bytes: u8| {
        let from = place(at, len);
        from..(from + usize::from(bytes)).min(len)
    };
    match mutation {
        Mutation::Set { at, byte } if len > 0 => bytes[place(at, len)] = byte,
        Mutation::Flip { at, bit } if len > 0 => bytes[place(at, len)] ^= 1 << bit,
        Mutation::Delete { at, bytes: count } => drop(bytes.drain(range(at, count))),
        Mutation::Repeat { at, bytes: count } => {
            let range = range(at, count);
            let again = bytes[range.clone()].to_vec();
            bytes.splice(range.start..range.start, again);
        }
        Mutation::Insert { at, token } => {
            let at = place(at, len + 1);
            bytes.splice(at..at, TOKENS[token].iter().copied());
        }
        Mutation::Number { which, number } => {
            let runs = numbers(bytes);
            if let Some((from, to)) = runs.get(place(which, runs.len())) {
                bytes.splice(from..to, NUMBERS[number].bytes());
            }
        }
        Mutation::Node(change) => nodes::apply(change, bytes, donor),
        Mutation::Cut { at } => bytes.truncate(place(at, len)),
        Mutation::Graft { at, from } => {
            bytes.truncate(place(at, len));
            bytes.extend_from_slice(&donor[place(from, donor.len())..]);
        }
        Mutation::Set { .. } | Mutation::Flip { .. } => {}
    }
}

/// Bytes that can be read in a failure's message.
#[derive(Clone)]
struct Bytes(Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

fn mutated(
    corpus: Vec<Vec<u8>>,
    mutations: impl Strategy<Value = Vec<Mutation>>,
) -> impl Strategy<Value = Bytes> {
    let (from, donor) = (any::<prop::sample::Index>(), any::<prop::sample::Index>());
    (from, donor, mutations).prop_map(move |(from, donor, mutations)| {
        let mut bytes = from.get(&corpus).clone();
        let donor: &Vec<u8> = donor.get(&corpus);
        for mutation in mutations {
            apply(mutation, &mut bytes, donor);
        }
        Bytes(bytes)
    })
}

fn inputs(corpus: Vec<Vec<u8>>) -> impl Strategy<Value = Bytes> {
    let json = corpus.iter().any(|bytes| nodes::is_json(bytes));
    let noise = prop::collection::vec(any::<u8>(), 0..200).prop_map(Bytes);
    let bytes = mutated(corpus.clone(), prop::collection::vec(mutation(), 1..6));
    let nodes = mutated(corpus, prop::collection::vec(change(), 1..4));
    prop_oneof![1 => noise, 15 => bytes, if json { 30 } else { 1 } => nodes]
}

/// The files of a target's corpus, by name.
pub(crate) fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fixtures/corpus")
        .join(target);
    let entries =
        std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<(String, Vec<u8>)> = entries
        .map(|entry| {
            let path = entry.expect("a folder can be listed").path();
            let name = path
                .file_name()
                .expect("a file has a name")
                .to_string_lossy()
                .into_owned();
            (
                name,
                std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
            )
        })
        .collect();
    files.sort();
    files
}

fn from_environment(name: &str) -> Option<u32> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is not a number")),
    )
}

/// Runs `check` on the corpus of `target`, then on `cases` mutated inputs.
///
/// # Panics
/// If `check` panics, or gives a file of the corpus another verdict than its name says.
pub(crate) fn attack(target: &str, cases: u32, check: impl Fn(&[u8]) -> Verdict) {
    attack_with(target, cases, [], check);
}

/// As `attack`, with samples that only a program can make, named as files are.
pub(crate) fn attack_with<const N: usize>(
    target: &str,
    cases: u32,
    samples: [(&str, Vec<u8>); N],
    check: impl Fn(&[u8]) -> Verdict,
) {
    let mut files = corpus(target);
    files.extend(samples.map(|(name, bytes)| (name.to_owned(), bytes)));
    for kind in ["ok-", "bad-"] {
        assert!(
            files.iter().any(|(name, _)| name.starts_with(kind)),
            "{target}: no file begins with {kind}"
        );
    }
    for (name, bytes) in &files {
        let verdict = catch_unwind(AssertUnwindSafe(|| check(bytes)))
            .unwrap_or_else(|_| panic!("fixtures/corpus/{target}/{name}: the parser panicked"));
        let expected = [("ok-", Verdict::Accepted), ("bad-", Verdict::Refused)];
        for (_, expected) in expected.iter().filter(|(kind, _)| name.starts_with(kind)) {
            assert_eq!(verdict, *expected, "fixtures/corpus/{target}/{name}");
        }
    }
    let config = ProptestConfig {
        cases: cases.saturating_mul(from_environment("LOCKSTEP_PARSER_CASES").unwrap_or(1)),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let mut seed = [7; 32];
    if let Some(other) = from_environment("LOCKSTEP_PARSER_SEED") {
        seed[..4].copy_from_slice(&other.to_le_bytes());
    }
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let samples = files.into_iter().map(|(_, bytes)| bytes).collect();
    let result = TestRunner::new_with_rng(config, rng).run(&inputs(samples), |input| {
        check(&input.0);
        Ok(())
    });
    if let Err(failure) = result {
        panic!(
            "{failure}\nmend the parser and keep the input as fixtures/corpus/{target}/found-NAME"
        );
    }
}

#[test]
#[should_panic(expected = "minimal failing input")]
fn a_parser_that_panics_is_found() {
    attack("day", 1_000, |bytes| {
        assert!(!bytes.starts_with(b"2") || bytes.len() < 12, "too long");
        crate::fiat::day(bytes)
    });
}
