//! Owns what the benches share: how a measured part of a child process is timed from outside, the line of four nodes in
//! its three forms, and the collected samples with their tables. Does not own any claim: each bench target has one.

pub mod child;
pub mod line;
pub mod samples;

use std::path::Path;

/// The workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this package lies in the workspace")
}
