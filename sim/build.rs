//! Owns telling the executable of which commit it is. In unoptimised builds it does not: each commit would build the whole
//! crate anew. Does not own what is made of it (`src/bundle/build.rs`).

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("PROFILE").as_deref() != Ok("release") {
        return;
    }
    let Some(folder) = git_folder() else {
        return;
    };
    let watch = |path: &Path| println!("cargo:rerun-if-changed={}", path.display());
    watch(&folder.join("HEAD"));
    if let Some(commit) = commit(&folder, &watch) {
        println!("cargo:rustc-env=LOCKSTEP_COMMIT={commit}");
    }
    // Whether the sources differ from it changes with any of them.
    for sources in ["../engine", "src", "lightning/src", "../Cargo.lock"] {
        watch(Path::new(sources));
    }
    if let Some(dirty) = is_dirty() {
        println!("cargo:rustc-env=LOCKSTEP_DIRTY={dirty}");
    }
}

/// `.git` of the workspace; in a linked worktree that is a file which names the folder.
fn git_folder() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?.join(".git");
    if path.is_dir() {
        return Some(path);
    }
    let text = std::fs::read_to_string(&path).ok()?;
    Some(PathBuf::from(text.strip_prefix("gitdir: ")?.trim_end()))
}

/// The commit that is checked out: `HEAD` holds it, or names a branch, which has a file or a line in `packed-refs`.
fn commit(folder: &Path, watch: &dyn Fn(&Path)) -> Option<String> {
    let head = std::fs::read_to_string(folder.join("HEAD")).ok()?;
    let Some(branch) = head.trim_end().strip_prefix("ref: ") else {
        return Some(head.trim_end().to_owned());
    };
    let shared = match std::fs::read_to_string(folder.join("commondir")) {
        Ok(path) => folder.join(path.trim_end()),
        Err(_) => folder.to_owned(),
    };
    let loose = shared.join(branch);
    watch(&loose);
    if let Ok(commit) = std::fs::read_to_string(loose) {
        return Some(commit.trim_end().to_owned());
    }
    let packed = std::fs::read_to_string(shared.join("packed-refs")).ok()?;
    let line = packed.lines().find_map(|line| line.strip_suffix(branch))?;
    Some(line.trim_end().to_owned())
}

/// Whether files that are under version control were changed; `None` without `git`.
fn is_dirty() -> Option<bool> {
    let told = Command::new("git")
        .args(["status", "--porcelain", "--untracked-files=no"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .ok()?;
    told.status.success().then_some(!told.stdout.is_empty())
}
