//! Owns the command line of `cargo xtask`: its grammar and its help texts.
//! Does not carry out any command.

use std::ffi::OsString;

use crate::failure::Failure;

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Setup,
    Test(TestOptions),
    Paths,
    Deny,
    /// A text to print, and nothing else to do.
    Help(&'static str),
}

/// Which tests to run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TestOptions {
    pub(crate) worlds: Worlds,
    /// Parts of test names; a test runs if its name contains one of them. None: every test.
    pub(crate) filters: Vec<String>,
    /// Arguments for the test binaries, taken as they are.
    pub(crate) passed_on: Vec<String>,
}

/// The worlds that the tests run in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Worlds {
    Simulated,
    Regtest,
    Both,
}

const HELP: &str = "\
Installs what the tests need and runs them.

Usage: cargo xtask COMMAND

Commands:
  setup   install system packages, build bitcoind and electrs into the cache
  test    setup, then run the tests in both worlds
  paths   print where bitcoind and electrs are, as lines for a shell
  deny    check licences, sources and duplicate versions of the dependencies
  help    this text, or that of a command

Examples:
  cargo xtask test                 everything; the first run builds for a quarter of an hour
  cargo xtask test --world simulated
  cargo xtask help test

Environment:
  LOCKSTEP_CACHE   folder for the built executables, outside the checkout
                   (else $XDG_CACHE_HOME/lockstep, else ~/.cache/lockstep)
  BITCOIND_EXE     a bitcoind to use instead of building one
  ELECTRS_EXE      an electrs 0.10 to use instead of building one
";

const SETUP_HELP: &str = "\
Installs the system packages that are missing, then builds bitcoind and electrs into the cache.

Usage: cargo xtask setup

Does nothing for an executable that is in the cache already or that BITCOIND_EXE or ELECTRS_EXE names.
Packages are installed with apt-get as root or through a sudo that asks for no password; otherwise the one
line to run is printed. Needs the package registry, 2 GB of disk while it builds and 50 MB afterwards.

Examples:
  cargo xtask setup
  LOCKSTEP_CACHE=/srv/lockstep cargo xtask setup
  BITCOIND_EXE=/usr/bin/bitcoind cargo xtask setup
";

const TEST_HELP: &str = "\
Makes sure that bitcoind and electrs are there, then runs the tests.

Usage: cargo xtask test [--world WORLD] [FILTER..] [-- ARGUMENT..]

  --world WORLD   simulated: every test that needs no bitcoind (nothing is built or installed)
                  regtest:   the tests that need bitcoind
                  both:      all of them (default)
  FILTER          run the tests whose name contains it; with several, one run after the other
  ARGUMENT        passed to the test binaries as it is

The exit code is that of `cargo test`.

Examples:
  cargo xtask test
  cargo xtask test quickstart
  cargo xtask test --world regtest quickstart reorg
  cargo xtask test journal -- --nocapture
";

const PATHS_HELP: &str = "\
Prints where bitcoind and electrs are, as lines for a shell. Builds nothing.

Usage: cargo xtask paths

Examples:
  cargo xtask paths
  eval \"$(cargo xtask paths)\" && cargo test --test regtest
";

const DENY_HELP: &str = "\
Checks the dependencies against deny.toml: licences, sources, banned crates and duplicate versions.

Usage: cargo xtask deny

Needs no network. Not checked: security advisories and yanked versions, whose lists lie outside the package
registry. deny.toml is also cargo-deny's own file; where the network allows it, `cargo deny check` adds them.

Examples:
  cargo xtask deny
";

const COMMANDS: &[(&str, &str)] = &[
    ("setup", SETUP_HELP),
    ("test", TEST_HELP),
    ("paths", PATHS_HELP),
    ("deny", DENY_HELP),
    ("help", HELP),
];

/// Reads the arguments that follow the program's name.
///
/// # Errors
/// When they make no sense: a usage failure that says what was expected.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, Failure> {
    let args = args
        .into_iter()
        .map(|arg| {
            arg.into_string()
                .map_err(|arg| usage(&format!("the argument {arg:?} is not valid UTF-8"), "help"))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let Some((name, rest)) = args.split_first() else {
        return Err(usage("a command is missing", "help"));
    };
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        return parse_help(rest);
    }
    let help = help_of(name)?;
    let before_dashes = rest.iter().take_while(|arg| *arg != "--");
    if before_dashes
        .clone()
        .any(|arg| matches!(arg.as_str(), "--help" | "-h"))
    {
        return Ok(Command::Help(help));
    }
    match name.as_str() {
        "test" => parse_test(rest).map(Command::Test),
        _ if !rest.is_empty() => Err(usage(
            &format!("`{name}` takes no arguments, got `{}`", rest.join(" ")),
            name,
        )),
        "setup" => Ok(Command::Setup),
        "paths" => Ok(Command::Paths),
        "deny" => Ok(Command::Deny),
        _ => unreachable!("`{name}` has a help text and no arm here"),
    }
}

fn parse_help(rest: &[String]) -> Result<Command, Failure> {
    match rest {
        [] => Ok(Command::Help(HELP)),
        [name] => help_of(name).map(Command::Help),
        _ => Err(usage("`help` takes one command", "help")),
    }
}

fn help_of(name: &str) -> Result<&'static str, Failure> {
    COMMANDS
        .iter()
        .find_map(|(command, help)| (*command == name).then_some(*help))
        .ok_or_else(|| usage(&format!("there is no command `{name}`"), "help"))
}

fn parse_test(args: &[String]) -> Result<TestOptions, Failure> {
    let mut options = TestOptions {
        worlds: Worlds::Both,
        filters: Vec::new(),
        passed_on: Vec::new(),
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "--" {
            options.passed_on = args.by_ref().cloned().collect();
        } else if arg == "--world" {
            let value = args
                .next()
                .ok_or_else(|| usage("`--world` needs a value", "test"))?;
            options.worlds = parse_worlds(value)?;
        } else if let Some(value) = arg.strip_prefix("--world=") {
            options.worlds = parse_worlds(value)?;
        } else if arg.starts_with('-') {
            return Err(usage(
                &format!(
                    "there is no option `{arg}` (arguments for the test binaries follow `--`)"
                ),
                "test",
            ));
        } else if arg.is_empty() {
            return Err(usage("a filter is empty", "test"));
        } else {
            options.filters.push(arg.clone());
        }
    }
    Ok(options)
}

fn parse_worlds(value: &str) -> Result<Worlds, Failure> {
    match value {
        "simulated" => Ok(Worlds::Simulated),
        "regtest" => Ok(Worlds::Regtest),
        "both" => Ok(Worlds::Both),
        _ => Err(usage(
            &format!("there is no world `{value}`: simulated, regtest or both"),
            "test",
        )),
    }
}

fn usage(message: &str, topic: &str) -> Failure {
    let topic = if topic == "help" {
        String::new()
    } else {
        format!(" {topic}")
    };
    Failure::usage(format!("{message}\nTry `cargo xtask help{topic}`."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str) -> Result<Command, Failure> {
        parse(line.split_whitespace().map(OsString::from))
    }

    fn test_options(line: &str) -> TestOptions {
        match check(line) {
            Ok(Command::Test(options)) => options,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn plain_commands() {
        assert_eq!(check("setup"), Ok(Command::Setup));
        assert_eq!(check("paths"), Ok(Command::Paths));
        assert_eq!(check("deny"), Ok(Command::Deny));
    }

    #[test]
    fn help_is_found_by_every_way() {
        for line in ["help", "--help", "-h", "help help"] {
            assert_eq!(check(line), Ok(Command::Help(HELP)), "{line}");
        }
        for line in [
            "help test",
            "test --help",
            "test quickstart -h",
            "test --world=nowhere --help",
        ] {
            assert_eq!(check(line), Ok(Command::Help(TEST_HELP)), "{line}");
        }
        assert_eq!(check("paths --help"), Ok(Command::Help(PATHS_HELP)));
    }

    #[test]
    fn every_help_text_has_usage_and_examples() {
        for (name, help) in COMMANDS {
            assert!(
                help.contains("Usage: cargo xtask ") && help.contains("Examples:\n"),
                "{name}"
            );
            assert!(
                HELP.contains(&format!("\n  {name} ")),
                "{name} is not listed"
            );
        }
    }

    #[test]
    fn test_takes_world_filters_and_arguments() {
        let options = test_options("test");
        assert_eq!((options.worlds, options.filters.len()), (Worlds::Both, 0));
        assert_eq!(
            test_options("test --world simulated").worlds,
            Worlds::Simulated
        );
        let options = test_options("test reorg --world=regtest quickstart -- --nocapture --help");
        assert_eq!(options.worlds, Worlds::Regtest);
        assert_eq!(options.filters, ["reorg", "quickstart"]);
        assert_eq!(options.passed_on, ["--nocapture", "--help"]);
    }

    #[test]
    fn wrong_lines_are_usage_failures_that_name_the_culprit() {
        for (line, culprit) in [
            ("", "a command is missing"),
            ("tset", "`tset`"),
            ("--world regtest", "`--world`"),
            ("setup now", "`now`"),
            ("paths --json", "`--json`"),
            ("test --wordl regtest", "`--wordl`"),
            ("test --world", "needs a value"),
            ("test --world mainnet", "`mainnet`"),
            ("help setup test", "one command"),
            ("help nothing", "`nothing`"),
        ] {
            let failure = check(line).expect_err(line);
            assert_eq!(failure.exit_code(), 2, "{line}");
            assert!(failure.to_string().contains(culprit), "{line}: {failure}");
        }
    }
}
