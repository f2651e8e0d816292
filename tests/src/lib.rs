//! Owns what the test targets share: the workspace's folders, the scenario files, the way into a child process, and the
//! command line run as a process. Does not own any test.

use lockstep::cli;
use lockstep::cli::sources::{self, Source};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// The first argument that makes a test executable behave as the executable `lockstep`.
const AS_LOCKSTEP: &str = "__lockstep";

/// The workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this package lies in the workspace")
}

/// First thing in every test executable with a harness of its own: does a child's work, or the command line's, and
/// ends the process; or returns, with the workspace as the current folder.
pub fn entry() {
    cli::child_entry();
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    if arguments.next().as_deref() == Some(AS_LOCKSTEP.as_ref()) {
        let code = cli::main([program].into_iter().chain(arguments));
        std::process::exit(if code == ExitCode::SUCCESS {
            0
        } else {
            exit_number(code)
        });
    }
    std::env::set_current_dir(root()).expect("the workspace can be entered");
}

/// `ExitCode` tells its number only in its debug form.
fn exit_number(code: ExitCode) -> i32 {
    let text = format!("{code:?}");
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    digits.parse().expect("an exit code has a number")
}

/// The command line as a process of its own, in this folder.
pub fn lockstep<A: Into<OsString>>(
    folder: &Path,
    arguments: impl IntoIterator<Item = A>,
) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this executable has a path"));
    command
        .arg(AS_LOCKSTEP)
        .args(arguments.into_iter().map(Into::into))
        .current_dir(folder);
    command.env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// A scenario of the workspace.
pub struct Found {
    /// Its path below `scenarios/`, without `.toml`.
    pub name: String,
    /// What was read.
    pub source: Source,
}

/// All scenarios; a broken one fails every target that asks, loudly.
pub fn scenarios() -> Vec<Found> {
    let files =
        sources::find(&[PathBuf::from("scenarios")]).unwrap_or_else(|errors| panic!("{errors:?}"));
    let load = |file: String| {
        let source = sources::load(&file).unwrap_or_else(|error| panic!("{error}"));
        let name = file
            .trim_start_matches("scenarios/")
            .trim_end_matches(".toml")
            .to_owned();
        Found { name, source }
    };
    files.into_iter().map(load).collect()
}
