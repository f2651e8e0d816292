//! Owns finding the executables of the regtest world: by environment, else in the cache that `cargo xtask setup` fills.
//! Does not own building them (`xtask`).

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// One executable that is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binary {
    /// Its name.
    pub name: &'static str,
    /// The variable that may name its path.
    pub variable: &'static str,
}

/// Bitcoin Core.
pub const BITCOIND: Binary = Binary {
    name: "bitcoind",
    variable: "BITCOIND_EXE",
};

/// The Electrum server.
pub const ELECTRS: Binary = Binary {
    name: "electrs",
    variable: "ELECTRS_EXE",
};

/// Where the two are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executables {
    /// Bitcoin Core.
    pub bitcoind: PathBuf,
    /// The Electrum server.
    pub electrs: PathBuf,
}

/// An executable is not there.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// The variable names something that is not a file.
    #[error("{} = {} is not a file\nRemedy: set it to the path of {}, or unset it.", .binary.variable, .path.display(), .binary.name)]
    NotAFile {
        /// Which.
        binary: Binary,
        /// As set.
        path: PathBuf,
    },
    /// It is neither named nor in the cache.
    #[error(
        "there is no {} for the regtest world\nRemedy: `cargo xtask setup` builds it once into {}; or set {} to the path of one.",
        .binary.name, .cache.display(), .binary.variable
    )]
    NotFound {
        /// Which.
        binary: Binary,
        /// Where it was looked for.
        cache: PathBuf,
    },
}

/// Finds both.
pub fn locate() -> Result<Executables, Missing> {
    Ok(Executables {
        bitcoind: find(BITCOIND)?,
        electrs: find(ELECTRS)?,
    })
}

/// Finds one.
pub fn find(binary: Binary) -> Result<PathBuf, Missing> {
    find_with(binary, |name| std::env::var_os(name))
}

fn find_with(
    binary: Binary,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<PathBuf, Missing> {
    let set = |name: &str| {
        variable(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    if let Some(path) = set(binary.variable) {
        return if path.is_file() {
            Ok(path)
        } else {
            Err(Missing::NotAFile { binary, path })
        };
    }
    let cache = set("LOCKSTEP_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|folder| folder.join("lockstep")))
        .or_else(|| set("HOME").map(|home| home.join(".cache").join("lockstep")))
        .unwrap_or_default();
    newest(&cache.join("bin"), binary.name).ok_or(Missing::NotFound { binary, cache })
}

/// The layout is `bin/NAME-VERSION/NAME`; of several versions the highest counts.
fn newest(bin: &Path, name: &str) -> Option<PathBuf> {
    let mut found: Vec<(Vec<u64>, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(bin).ok()?.flatten() {
        let folder = entry.file_name();
        let version = folder
            .to_str()
            .and_then(|folder| folder.strip_prefix(name)?.strip_prefix('-'));
        let executable = entry.path().join(name);
        if let Some(version) = version.filter(|_| executable.is_file()) {
            found.push((
                version
                    .split('.')
                    .map(|part| part.parse().unwrap_or(0))
                    .collect(),
                executable,
            ));
        }
    }
    found.sort();
    found.pop().map(|(_, executable)| executable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(variables: &[(&str, &Path)]) -> Result<PathBuf, Missing> {
        let value = |asked: &str| {
            variables
                .iter()
                .find(|(name, _)| *name == asked)
                .map(|(_, path)| path.into())
        };
        find_with(ELECTRS, value)
    }

    #[test]
    fn the_variable_wins_then_the_highest_version_in_the_cache() {
        let cache = tempfile::tempdir().expect("a folder");
        assert!(matches!(
            look(&[("LOCKSTEP_CACHE", cache.path())]),
            Err(Missing::NotFound { .. })
        ));
        for version in ["0.9.1", "0.10.10", "0.10.2"] {
            let folder = cache.path().join(format!("bin/electrs-{version}"));
            std::fs::create_dir_all(&folder).expect("made");
            std::fs::write(folder.join("electrs"), "").expect("written");
        }
        std::fs::create_dir_all(cache.path().join("bin/electrs-9.9.9")).expect("made");
        let expected = cache.path().join("bin/electrs-0.10.10/electrs");
        assert_eq!(
            look(&[("LOCKSTEP_CACHE", cache.path())]).as_deref(),
            Ok(expected.as_path())
        );
        let set = cache.path().join("bin/electrs-0.9.1/electrs");
        assert_eq!(
            look(&[("LOCKSTEP_CACHE", cache.path()), ("ELECTRS_EXE", &set)]).as_deref(),
            Ok(set.as_path())
        );
        let wrong = look(&[("ELECTRS_EXE", cache.path())])
            .expect_err("a folder")
            .to_string();
        assert!(
            wrong.contains("ELECTRS_EXE") && wrong.contains("Remedy"),
            "{wrong}"
        );
    }
}
