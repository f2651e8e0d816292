//! Owns the two executables of the regtest world: finds them, or builds them from the package registry into the cache.
//! Does not start a node with them.
//!
//! Both builds run outside the checkout and without its compiler flags, so that `--cfg madsim` does not reach them.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use crate::cache::{Cache, remove_dir};
use crate::failure::{Doing, Failure};
use crate::packages::{self, Package};
use crate::progress::Job;
use crate::workspace::plain_cargo;

/// An executable of the regtest world and how it is had.
#[derive(Debug)]
pub(crate) struct Recipe {
    name: &'static str,
    /// The version of the crate that holds the source.
    version: &'static str,
    /// The environment variable that names an executable to use instead.
    pub(crate) variable: &'static str,
    packages: &'static [Package],
    /// Builds in the given folder and returns the finished files.
    build: fn(&mut Job, &Path) -> Result<Vec<PathBuf>, Failure>,
}

/// Bitcoin Core, from the source tree inside a crate that wraps its kernel; the crate itself is not compiled.
pub(crate) const BITCOIND: Recipe = Recipe {
    name: "bitcoind",
    version: "0.4.1",
    variable: "BITCOIND_EXE",
    packages: packages::FOR_BITCOIND,
    build: build_bitcoind,
};

/// The Electrum server. Later minor versions drop `--daemon-p2p-addr`, which the crate `electrsd` passes.
pub(crate) const ELECTRS: Recipe = Recipe {
    name: "electrs",
    version: "0.10.10",
    variable: "ELECTRS_EXE",
    packages: packages::FOR_ELECTRS,
    build: build_electrs,
};

/// The crate that holds Bitcoin Core's source.
const BITCOIN_SOURCE: &str = "libbitcoinkernel-sys";

/// bitcoind and bitcoin-cli for regtest: no wallet, no ZMQ, no IPC, none of the other programs.
const CMAKE_OPTIONS: &[&str] = &[
    "-DCMAKE_BUILD_TYPE=Release",
    "-DBUILD_DAEMON=ON",
    "-DBUILD_CLI=ON",
    "-DENABLE_WALLET=OFF",
    "-DBUILD_TESTS=OFF",
    "-DBUILD_BENCH=OFF",
    "-DBUILD_TX=OFF",
    "-DBUILD_UTIL=OFF",
    "-DBUILD_BITCOIN_BIN=OFF",
    "-DENABLE_IPC=OFF",
    "-DBUILD_KERNEL_LIB=OFF",
    "-DWITH_ZMQ=OFF",
    "-DENABLE_EXTERNAL_SIGNER=OFF",
    "-DWITH_EMBEDDED_ASMAP=OFF",
];

/// Where the two executables are.
#[derive(Debug)]
pub(crate) struct Executables {
    pub(crate) bitcoind: PathBuf,
    pub(crate) electrs: PathBuf,
}

impl Executables {
    /// Finds both executables; installs packages and builds what is missing.
    ///
    /// # Errors
    /// When an override is not an executable, a package cannot be installed or a build fails.
    pub(crate) fn ensure(cache: &Cache) -> Result<Self, Failure> {
        Ok(Self {
            bitcoind: ensure(&BITCOIND, cache)?,
            electrs: ensure(&ELECTRS, cache)?,
        })
    }

    /// Finds both executables and builds nothing.
    ///
    /// # Errors
    /// When an override is not an executable or one is not there.
    pub(crate) fn find(cache: &Cache) -> Result<Self, Failure> {
        let find_one = |recipe: &Recipe| {
            find(recipe, cache)?.ok_or_else(|| {
                Failure::new(format!(
                    "{} is not built yet: run `cargo xtask setup`, or set {} to an executable of yours",
                    recipe.name, recipe.variable
                ))
            })
        };
        Ok(Self {
            bitcoind: find_one(&BITCOIND)?,
            electrs: find_one(&ELECTRS)?,
        })
    }
}

fn ensure(recipe: &Recipe, cache: &Cache) -> Result<PathBuf, Failure> {
    if let Some(found) = find(recipe, cache)? {
        return Ok(found);
    }
    packages::ensure(recipe.packages)?;
    let _lock =
        cache.lock(|path| eprintln!("waiting for another build to release {}", path.display()))?;
    // Another process may have built it meanwhile, or a library that a cached executable needs has just been installed.
    if let Some(found) = find(recipe, cache)? {
        return Ok(found);
    }
    build(recipe, cache)
}

/// The executable to use: the override, else the cached one if it runs.
fn find(recipe: &Recipe, cache: &Cache) -> Result<Option<PathBuf>, Failure> {
    if let Some(path) = env::var_os(recipe.variable).filter(|path| !path.is_empty()) {
        return checked_override(recipe, Path::new(&path)).map(Some);
    }
    let cached = cache.bin(recipe.name, recipe.version).join(recipe.name);
    Ok(reported_version(&cached).is_ok().then_some(cached))
}

/// Checks that an override names something that runs; returns its absolute path, since the tests run elsewhere.
fn checked_override(recipe: &Recipe, path: &Path) -> Result<PathBuf, Failure> {
    let refuse = |why: String| {
        Failure::new(format!(
            "{}={} {why}. Set it to the path of an executable {}, or unset it to have one built",
            recipe.variable,
            path.display(),
            recipe.name
        ))
    };
    let metadata =
        fs::metadata(path).map_err(|cause| refuse(format!("cannot be used ({cause})")))?;
    if metadata.is_dir() {
        return Err(refuse("is a directory".to_owned()));
    }
    if !metadata.is_file() {
        return Err(refuse("is not a file".to_owned()));
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err(refuse("is not executable".to_owned()));
    }
    let path = path
        .canonicalize()
        .map_err(|cause| refuse(format!("cannot be resolved ({cause})")))?;
    reported_version(&path)
        .map_err(|cause| refuse(format!("does not answer --version ({cause})")))?;
    Ok(path)
}

/// The first line that the executable prints for `--version`.
fn reported_version(path: &Path) -> Result<String, String> {
    let output = Command::new(path)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .map_err(|cause| cause.to_string())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!(
            "{}: {}",
            output.status,
            said.lines().next().unwrap_or("no message")
        ));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .next()
        .map(str::to_owned)
        .ok_or_else(|| "it printed nothing".to_owned())
}

/// Builds in a folder of its own and moves the finished files into place at the end.
fn build(recipe: &Recipe, cache: &Cache) -> Result<PathBuf, Failure> {
    let (name, version) = (recipe.name, recipe.version);
    let folder = cache.build(name, version);
    remove_dir(&folder)?;
    fs::create_dir_all(&folder).doing(|| format!("create {}", folder.display()))?;

    let mut job = Job::start(
        format!("building {name} {version}"),
        &cache.log(name, version),
    )?;
    let files = (recipe.build)(&mut job, &folder)?;

    let stage = folder.join("stage");
    fs::create_dir_all(&stage).doing(|| format!("create {}", stage.display()))?;
    for file in &files {
        let target = stage.join(file.file_name().unwrap_or_default());
        fs::rename(file, &target)
            .doing(|| format!("move {} to {}", file.display(), target.display()))?;
    }
    let reported = reported_version(&stage.join(name)).map_err(|cause| {
        Failure::new(format!(
            "the {name} just built does not answer --version: {cause}"
        ))
    })?;
    cache.publish(&stage, name, version)?;
    remove_dir(&folder)?;
    job.finish();
    println!("{name}: {reported}");
    Ok(cache.bin(name, version).join(name))
}

fn build_bitcoind(job: &mut Job, folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let source = fetch_source(job, &folder.join("fetch"))?.join("bitcoin");
    let out = folder.join("out");
    job.run(
        Command::new("cmake")
            .arg("-B")
            .arg(&out)
            .arg("-S")
            .arg(source)
            .args(CMAKE_OPTIONS)
            .current_dir(folder),
    )?;
    job.run(
        Command::new("cmake")
            .arg("--build")
            .arg(&out)
            .args(["--target", "bitcoind", "bitcoin-cli"])
            .arg(format!("-j{}", parallelism()))
            .current_dir(folder),
    )?;
    Ok(vec![out.join("bin/bitcoind"), out.join("bin/bitcoin-cli")])
}

/// Lets cargo fetch Bitcoin Core's source: a package of no content depends on the crate that holds it.
fn fetch_source(job: &mut Job, folder: &Path) -> Result<PathBuf, Failure> {
    let manifest = format!(
        "[package]\nname = \"fetch\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\n[workspace]\n\n\
         [dependencies]\n{BITCOIN_SOURCE} = \"={}\"\n",
        BITCOIND.version
    );
    fs::create_dir_all(folder.join("src")).doing(|| format!("create {}", folder.display()))?;
    fs::write(folder.join("Cargo.toml"), manifest)
        .doing(|| format!("write into {}", folder.display()))?;
    fs::write(folder.join("src/lib.rs"), "")
        .doing(|| format!("write into {}", folder.display()))?;
    job.run(cargo(folder).arg("fetch"))?;
    let metadata = cargo(folder)
        .args(["metadata", "--format-version=1", "--offline"])
        .output()
        .doing(|| "start cargo metadata".to_owned())?;
    source_folder(&metadata.stdout).ok_or_else(|| {
        Failure::new(format!(
            "cargo metadata does not say where the source of {BITCOIN_SOURCE} is: {}",
            String::from_utf8_lossy(&metadata.stderr)
        ))
    })
}

/// The folder of the crate that holds Bitcoin Core's source, from the output of `cargo metadata`.
fn source_folder(metadata: &[u8]) -> Option<PathBuf> {
    let metadata: serde_json::Value = serde_json::from_slice(metadata).ok()?;
    let package = metadata["packages"]
        .as_array()?
        .iter()
        .find(|package| package["name"] == BITCOIN_SOURCE)?;
    Path::new(package["manifest_path"].as_str()?)
        .parent()
        .map(Path::to_owned)
}

fn build_electrs(job: &mut Job, folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let root = folder.join("root");
    job.run(
        cargo(folder)
            .args([
                "install",
                "--locked",
                ELECTRS.name,
                "--version",
                ELECTRS.version,
                "--no-track",
                "--root",
            ])
            .arg(&root)
            .arg(format!("--jobs={}", parallelism()))
            .env("ROCKSDB_INCLUDE_DIR", "/usr/include")
            .env("ROCKSDB_LIB_DIR", "/usr/lib"),
    )?;
    Ok(vec![root.join("bin").join(ELECTRS.name)])
}

/// A cargo that sees neither the checkout's configuration nor its flags and target folder.
fn cargo(folder: &Path) -> Command {
    let mut command = plain_cargo();
    command
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", folder.join("target"));
    for flags in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
    ] {
        command.env_remove(flags);
    }
    command
}

/// How many compilers run at once.
fn parallelism() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_override_must_be_an_executable_that_answers() {
        let check = |path: &Path| checked_override(&ELECTRS, path);
        let folder =
            env::temp_dir().join(format!("lockstep-xtask-override-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let script = |name: &str, text: &str, mode: u32| {
            let path = folder.join(name);
            fs::write(&path, text).expect("a script");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
            path
        };
        let good = script("good", "#!/bin/sh\necho v0.10.10\n", 0o755);
        let cases = [
            (folder.join("absent"), "cannot be used"),
            (folder.clone(), "is a directory"),
            (
                script("plain", "#!/bin/sh\necho v0\n", 0o644),
                "is not executable",
            ),
            (
                script(
                    "wrong",
                    "#!/bin/sh\necho no such library >&2; exit 127\n",
                    0o755,
                ),
                "no such library",
            ),
            (script("silent", "#!/bin/sh\n", 0o755), "printed nothing"),
        ];
        for (path, reason) in &cases {
            let failure = check(path).expect_err(reason).to_string();
            assert!(
                failure.contains(reason) && failure.contains("ELECTRS_EXE="),
                "{failure}"
            );
            assert!(failure.contains("unset it"), "{failure}");
        }
        assert_eq!(
            check(&good),
            good.canonicalize().map_err(|_| Failure::new("no path"))
        );
        remove_dir(&folder).expect("the folder goes");
    }

    #[test]
    fn the_source_folder_is_the_one_beside_the_manifest() {
        let metadata = br#"{"packages":[
            {"name":"fetch","manifest_path":"/b/fetch/Cargo.toml"},
            {"name":"libbitcoinkernel-sys","manifest_path":"/r/libbitcoinkernel-sys-0.4.1/Cargo.toml"}]}"#;
        assert_eq!(
            source_folder(metadata).as_deref(),
            Some(Path::new("/r/libbitcoinkernel-sys-0.4.1"))
        );
        assert_eq!(source_folder(br#"{"packages":[]}"#), None);
        assert_eq!(source_folder(b""), None);
    }

    #[test]
    fn cargo_for_the_builds_gets_none_of_the_checkouts_flags() {
        let command = cargo(Path::new("/b"));
        let set = command
            .get_envs()
            .collect::<std::collections::BTreeMap<_, _>>();
        assert_eq!(
            set.get("RUSTFLAGS".as_ref() as &std::ffi::OsStr),
            Some(&None)
        );
        assert_eq!(
            set.get("CARGO_ENCODED_RUSTFLAGS".as_ref() as &std::ffi::OsStr),
            Some(&None)
        );
        assert_eq!(command.get_current_dir(), Some(Path::new("/b")));
    }
}
