//! Owns `cargo xtask`: what the tests need besides Rust code, and the one command that runs them all.
//! Does not test anything itself.

mod binaries;
mod cache;
mod cli;
mod deny;
mod failure;
mod licence;
mod packages;
mod progress;
mod suite;
mod workspace;

use std::env;
use std::path::Path;
use std::process::ExitCode;

use crate::binaries::{BITCOIND, ELECTRS, Executables};
use crate::cache::Cache;
use crate::cli::Command;
use crate::failure::Failure;
use crate::workspace::checkout;

fn main() -> ExitCode {
    match cli::parse(env::args_os().skip(1)).and_then(run) {
        Ok(exit_code) => ExitCode::from(exit_code),
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Carries out a command; returns the exit code.
fn run(command: Command) -> Result<u8, Failure> {
    match command {
        Command::Setup => setup().map(|()| 0),
        Command::Test(options) => suite::run(&options, &checkout()?),
        Command::Paths => paths().map(|()| 0),
        Command::Deny => deny::run(&checkout()?).map(|()| 0),
        Command::Help(text) => {
            print!("{text}");
            Ok(0)
        }
    }
}

fn setup() -> Result<(), Failure> {
    let executables = Executables::ensure(&Cache::locate(&checkout()?)?)?;
    println!(
        "bitcoind: {}\nelectrs:  {}",
        executables.bitcoind.display(),
        executables.electrs.display()
    );
    Ok(())
}

fn paths() -> Result<(), Failure> {
    let executables = Executables::find(&Cache::locate(&checkout()?)?)?;
    for (recipe, path) in [
        (&BITCOIND, &executables.bitcoind),
        (&ELECTRS, &executables.electrs),
    ] {
        println!("export {}={}", recipe.variable, quoted(path));
    }
    Ok(())
}

/// A path in single quotes, as a shell reads it.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_survive_a_shell() {
        let output = std::process::Command::new("sh")
            .args([
                "-c",
                &format!("printf %s {}", quoted(Path::new("/a b/it's $HOME"))),
            ])
            .output()
            .expect("a shell");
        assert_eq!(output.stdout, b"/a b/it's $HOME");
    }
}
