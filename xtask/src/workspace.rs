//! Owns the checkout as cargo sees it: its root folder, and cargo commands that run in it.
//! Does not know which commands are run.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::failure::{Doing, Failure};

/// The checkout's root folder.
///
/// # Errors
/// When it is gone.
pub(crate) fn checkout() -> Result<PathBuf, Failure> {
    let manifest =
        env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let root = Path::new(&manifest).parent().unwrap_or(Path::new("."));
    root.canonicalize()
        .doing(|| format!("resolve {}", root.display()))
}

/// The cargo that started this program, or the one in the search path.
pub(crate) fn plain_cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// A cargo in the checkout, without what the cargo that started this program has set for it: build scripts that look
/// at those variables would otherwise run again on each change between `cargo test` and `cargo xtask test`.
pub(crate) fn cargo(checkout: &Path) -> Command {
    let mut command = plain_cargo();
    command.current_dir(checkout);
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
        }) {
            command.env_remove(name);
        }
    }
    command
}

/// What `cargo metadata` says about the workspace.
///
/// # Errors
/// When cargo does not start or refuses, or when its answer is not JSON.
pub(crate) fn cargo_metadata(checkout: &Path, options: &[&str]) -> Result<Value, Failure> {
    let output = cargo(checkout)
        .args(["metadata", "--format-version=1"])
        .args(options)
        .output()
        .doing(|| "start cargo metadata".to_owned())?;
    if !output.status.success() {
        return Err(Failure::new(format!(
            "cargo metadata failed: {}",
            String::from_utf8_lossy(&output.stderr)
        )));
    }
    serde_json::from_slice(&output.stdout).doing(|| "read the output of cargo metadata".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checkout_holds_the_workspace_with_this_package() {
        let root = checkout().expect("the checkout");
        assert!(root.join("Cargo.toml").is_file() && root.join("xtask").is_dir());
        let metadata = cargo_metadata(&root, &["--no-deps"]).expect("metadata");
        let packages = metadata["packages"].as_array().expect("packages");
        assert!(
            packages
                .iter()
                .any(|package| package["name"] == env!("CARGO_PKG_NAME"))
        );
    }

    #[test]
    fn cargo_in_the_checkout_forgets_the_package_that_runs() {
        let command = cargo(Path::new("/checkout"));
        let removed = command
            .get_envs()
            .filter(|(_, value)| value.is_none())
            .map(|(name, _)| name);
        assert!(removed.into_iter().any(|name| name == "CARGO_PKG_NAME"));
    }
}
