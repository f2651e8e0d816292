//! Owns the executable `lockstep`: it hands over to the library at once. Does not own anything else.

fn main() -> std::process::ExitCode {
    lockstep::cli::child_entry();
    lockstep::cli::main(std::env::args_os())
}
