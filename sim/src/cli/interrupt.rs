//! Owns Ctrl-C and termination: a flag that loops look at. A second one ends the process at once.
//! Does not own what is cleaned up (children notice that their standard input ends).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

static FLAG: std::sync::OnceLock<Arc<AtomicBool>> = std::sync::OnceLock::new();

/// The exit code after Ctrl-C.
pub(super) const EXIT_CODE: i32 = 130;

/// The flag, shared.
pub(super) fn flag() -> Arc<AtomicBool> {
    FLAG.get_or_init(Arc::default).clone()
}

/// From now on Ctrl-C only sets the flag.
pub(super) fn watch() -> Result<(), String> {
    let flag = flag();
    let handler = move || {
        if flag.swap(true, Ordering::SeqCst) {
            std::process::exit(EXIT_CODE);
        }
    };
    ctrlc::set_handler(handler).map_err(|error| format!("failed to watch for Ctrl-C: {error}"))
}

/// Whether somebody pressed it.
pub(super) fn is_set() -> bool {
    flag().load(Ordering::SeqCst)
}
