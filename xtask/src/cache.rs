//! Owns the cache folder outside the checkout: where it is, how it is laid out, and its lock.
//! Does not know how anything in it is built.
//!
//! ```text
//! bin/NAME-VERSION/      finished executables; a folder here is always whole (renamed into place)
//! build/NAME-VERSION/    work in progress; wiped when a build starts and when it succeeds
//! logs/NAME-VERSION.log  the full output of the latest build
//! lock                   held while something is built
//! ```

use std::env;
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use crate::failure::{Doing, Failure};

/// The cache folder.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    root: PathBuf,
}

/// The right to build in the cache. The operating system takes the lock back when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct BuildLock {
    _file: File,
}

impl Cache {
    /// The folder named by `LOCKSTEP_CACHE`, `XDG_CACHE_HOME` or `HOME`.
    ///
    /// # Errors
    /// When none of them is set, or when the folder lies inside the checkout, whose cargo configuration would then
    /// reach the builds in it.
    pub(crate) fn locate(checkout: &Path) -> Result<Self, Failure> {
        let root = root_from(|name| env::var_os(name)).ok_or_else(|| {
            Failure::new("no place for the cache: set LOCKSTEP_CACHE to an absolute path outside the checkout")
        })?;
        if !root.is_absolute() {
            return Err(Failure::new(format!(
                "the cache folder {} is not an absolute path: set LOCKSTEP_CACHE to one",
                root.display()
            )));
        }
        // Looked at before it is created, so that nothing is left behind in the checkout; and after, with links resolved.
        refuse_inside(&root, checkout)?;
        fs::create_dir_all(&root)
            .doing(|| format!("create the cache folder {}", root.display()))?;
        let root = root
            .canonicalize()
            .doing(|| format!("resolve {}", root.display()))?;
        refuse_inside(&root, checkout)?;
        Ok(Self { root })
    }

    /// The folder of the finished executables of `name` at `version`.
    pub(crate) fn bin(&self, name: &str, version: &str) -> PathBuf {
        self.root.join("bin").join(format!("{name}-{version}"))
    }

    /// The folder in which `name` at `version` is built.
    pub(crate) fn build(&self, name: &str, version: &str) -> PathBuf {
        self.root.join("build").join(format!("{name}-{version}"))
    }

    /// The file that takes the output of the build of `name` at `version`.
    pub(crate) fn log(&self, name: &str, version: &str) -> PathBuf {
        self.root.join("logs").join(format!("{name}-{version}.log"))
    }

    /// Takes the build lock; `on_wait` is called once if another process holds it and this one has to wait.
    ///
    /// # Errors
    /// When the lock file can be neither opened nor locked.
    pub(crate) fn lock(&self, on_wait: impl FnOnce(&Path)) -> Result<BuildLock, Failure> {
        let path = self.root.join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .doing(|| format!("open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                on_wait(&path);
                file.lock().doing(|| format!("lock {}", path.display()))?;
            }
            Err(TryLockError::Error(cause)) => {
                return Err(Failure::new(format!(
                    "failed to lock {}: {cause}",
                    path.display()
                )));
            }
        }
        Ok(BuildLock { _file: file })
    }

    /// Moves the finished folder `stage` to its place under `bin/`, replacing what was there.
    ///
    /// The move is one rename: a process that stops before it leaves nothing under `bin/`, one that stops after it
    /// leaves a whole folder.
    ///
    /// # Errors
    /// When the file system refuses.
    pub(crate) fn publish(&self, stage: &Path, name: &str, version: &str) -> Result<(), Failure> {
        let target = self.bin(name, version);
        fs::create_dir_all(self.root.join("bin"))
            .doing(|| format!("create a folder in {}", self.root.display()))?;
        remove_dir(&target)?;
        fs::rename(stage, &target)
            .doing(|| format!("move {} to {}", stage.display(), target.display()))
    }
}

/// Refuses a cache inside the checkout.
fn refuse_inside(root: &Path, checkout: &Path) -> Result<(), Failure> {
    if !root.starts_with(checkout) {
        return Ok(());
    }
    Err(Failure::new(format!(
        "the cache folder {} lies inside the checkout, whose cargo flags would leak into the builds: \
         set LOCKSTEP_CACHE to a folder outside of it",
        root.display()
    )))
}

/// Removes a folder with all that is in it; a folder that is not there is as good.
///
/// # Errors
/// When the file system refuses.
pub(crate) fn remove_dir(path: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(path) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => Err(Failure::new(format!(
            "failed to remove {}: {cause}",
            path.display()
        ))),
        _ => Ok(()),
    }
}

/// The cache folder according to the environment; an empty variable counts as unset.
fn root_from(var: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name| {
        var(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set("LOCKSTEP_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|dir| dir.join("lockstep")))
        .or_else(|| set("HOME").map(|dir| dir.join(".cache").join("lockstep")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process;

    /// A folder of this test's own, gone when the test ends.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = env::temp_dir().join(format!("lockstep-xtask-{name}-{}", process::id()));
            fs::create_dir_all(&path).expect("a scratch folder");
            Self(path.canonicalize().expect("a scratch folder"))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            remove_dir(&self.0).expect("the scratch folder goes");
        }
    }

    fn root(vars: &[(&str, &str)]) -> Option<String> {
        let found = root_from(|name| {
            vars.iter()
                .find(|(set, _)| *set == name)
                .map(|(_, value)| OsString::from(value))
        });
        found.map(|path| path.display().to_string())
    }

    #[test]
    fn the_nearest_variable_names_the_root() {
        let home = ("HOME", "/h");
        assert_eq!(root(&[home]).as_deref(), Some("/h/.cache/lockstep"));
        assert_eq!(
            root(&[home, ("XDG_CACHE_HOME", "/xdg")]).as_deref(),
            Some("/xdg/lockstep")
        );
        assert_eq!(
            root(&[home, ("XDG_CACHE_HOME", "/xdg"), ("LOCKSTEP_CACHE", "/c")]).as_deref(),
            Some("/c")
        );
        assert_eq!(
            root(&[home, ("XDG_CACHE_HOME", "")]).as_deref(),
            Some("/h/.cache/lockstep")
        );
        assert_eq!(root(&[]), None);
    }

    #[test]
    fn a_cache_inside_the_checkout_is_refused() {
        let checkout = Path::new("/src/lockstep");
        let failure = refuse_inside(Path::new("/src/lockstep/target/cache"), checkout);
        assert!(failure.is_err_and(|failure| failure.to_string().contains("LOCKSTEP_CACHE")));
        assert_eq!(
            refuse_inside(Path::new("/src/lockstep-cache"), checkout),
            Ok(())
        );
    }

    #[test]
    fn folders_carry_name_and_version() {
        let cache = Cache {
            root: PathBuf::from("/c"),
        };
        assert_eq!(
            cache.bin("electrs", "0.10.10"),
            Path::new("/c/bin/electrs-0.10.10")
        );
        assert_eq!(
            cache.build("electrs", "0.10.10"),
            Path::new("/c/build/electrs-0.10.10")
        );
        assert_eq!(
            cache.log("electrs", "0.10.10"),
            Path::new("/c/logs/electrs-0.10.10.log")
        );
    }

    #[test]
    fn publishing_replaces_the_folder_as_a_whole() {
        let scratch = Scratch::new("publish");
        let cache = Cache {
            root: scratch.0.clone(),
        };
        for content in ["first", "second"] {
            let stage = cache.build("tool", "1").join("stage");
            fs::create_dir_all(&stage).expect("a stage");
            fs::write(stage.join(content), content).expect("a file");
            cache.publish(&stage, "tool", "1").expect("published");
            assert!(!stage.exists());
            let files = fs::read_dir(cache.bin("tool", "1"))
                .expect("the folder")
                .count();
            assert!(files == 1 && cache.bin("tool", "1").join(content).is_file());
        }
    }

    #[test]
    fn a_held_lock_makes_the_next_one_wait() {
        let scratch = Scratch::new("lock");
        let cache = Cache {
            root: scratch.0.clone(),
        };
        let held = cache.lock(|_| panic!("nobody holds it")).expect("locked");
        let other = File::options()
            .write(true)
            .open(scratch.0.join("lock"))
            .expect("the lock file");
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
        drop(held);
        assert!(other.try_lock().is_ok());
    }
}
