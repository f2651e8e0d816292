//! Owns what is known of the executable that runs: version, commit, its hash. Does not own how the commit is found
//! (`sim/build.rs`).

use bitcoin::hashes::{Hash, HashEngine, sha256};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::Read;
use std::sync::OnceLock;

/// Which build of lockstep ran. Two runs of one plan and one seed are the same, byte for byte, only in the same build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// Version of the crate.
    pub version: String,
    /// Commit of the sources; `None` if it was not built from a checkout, or without optimisation.
    pub commit: Option<String>,
    /// Whether the sources differed from that commit; `None` if that could not be told.
    pub dirty: Option<bool>,
    /// SHA-256 of the executable, hexadecimal; `None` if it could not be read.
    pub executable: Option<String>,
}

impl Build {
    /// This one. The executable is read once for each process.
    pub fn this() -> Build {
        static THIS: OnceLock<Build> = OnceLock::new();
        THIS.get_or_init(|| Build {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: option_env!("LOCKSTEP_COMMIT").map(str::to_owned),
            dirty: option_env!("LOCKSTEP_DIRTY").map(|word| word == "true"),
            executable: hash_of_executable(),
        })
        .clone()
    }

    /// Whether both are certainly the same executable.
    pub fn is_same(&self, other: &Build) -> bool {
        self.executable.is_some() && self.executable == other.executable
    }
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lockstep {}", self.version)?;
        if let Some(commit) = &self.commit {
            write!(f, ", commit {}", commit.get(..12).unwrap_or(commit))?;
        }
        if self.dirty == Some(true) {
            f.write_str(" with changes")?;
        }
        match &self.executable {
            Some(hash) => write!(f, ", executable {}", hash.get(..12).unwrap_or(hash)),
            None => Ok(()),
        }
    }
}

const CHUNK_BYTES: usize = 1 << 20;

fn hash_of_executable() -> Option<String> {
    let mut file = std::fs::File::open(std::env::current_exe().ok()?).ok()?;
    let mut engine = sha256::Hash::engine();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut chunk).ok()? {
            0 => return Some(sha256::Hash::from_engine(engine).to_string()),
            length => engine.input(&chunk[..length]),
        }
    }
}
