//! Owns writing files so that never a part of one is seen: a temporary file in the same folder, then a rename.
//! Does not own what is in them.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("failed to write {}: {cause}\nRemedy: {}", path.display(), remedy(cause))]
pub struct WriteFailed {
    /// Which.
    path: PathBuf,
    /// Why not.
    cause: io::Error,
}

fn remedy(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space, or name a file on another disk."
        }
        io::ErrorKind::NotFound => "create the folder first, or name another one.",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "name a file in a folder that you may write to."
        }
        _ => "name a file in a folder that exists and that you may write to.",
    }
}

impl WriteFailed {
    pub(super) fn new(path: &Path, cause: io::Error) -> WriteFailed {
        WriteFailed {
            path: path.to_owned(),
            cause,
        }
    }
}

/// A file in the making. Dropped without `finish`, it leaves nothing behind.
#[derive(Debug)]
pub(super) struct Draft {
    target: PathBuf,
    file: NamedTempFile,
    /// Devices and pipes are written to; they cannot be replaced.
    replace: bool,
}

impl Draft {
    /// Begins a file that is to be at `target`.
    pub(super) fn begin(target: &Path) -> Result<Draft, WriteFailed> {
        let failed = |cause| WriteFailed::new(target, cause);
        // A link is followed, not replaced.
        let target = &target.canonicalize().unwrap_or_else(|_| target.to_owned());
        if target.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let replace = target.is_file() || !target.exists();
        let folder = match target.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let made = match replace {
            true => tempfile::Builder::new()
                .prefix(".lockstep-")
                .tempfile_in(folder),
            false => NamedTempFile::new(),
        };
        Ok(Draft {
            target: target.to_owned(),
            file: made.map_err(failed)?,
            replace,
        })
    }

    /// Where it is being made.
    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Puts it in its place.
    pub(super) fn finish(self) -> Result<(), WriteFailed> {
        let Draft {
            target,
            file,
            replace,
        } = self;
        let done = match replace {
            true => publish(file, &target),
            false => pour(file.path(), &target),
        };
        done.map_err(|cause| WriteFailed::new(&target, cause))
    }
}

/// Temporary files are for their owner alone; a finished one is as readable as any that the user makes.
fn publish(file: NamedTempFile, target: &Path) -> io::Result<()> {
    file.as_file().sync_all()?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = target
            .metadata()
            .map_or(0o644, |metadata| metadata.permissions().mode());
        file.as_file()
            .set_permissions(std::fs::Permissions::from_mode(mode))?;
    }
    file.persist(target)
        .map(|_| ())
        .map_err(|error| error.error)
}

fn pour(source: &Path, target: &Path) -> io::Result<()> {
    let mut from = std::fs::File::open(source)?;
    let mut to = std::fs::OpenOptions::new().write(true).open(target)?;
    io::copy(&mut from, &mut to)?;
    to.flush()
}

/// Writes a whole file, or nothing.
pub(super) fn write_whole(target: &Path, text: &str) -> Result<(), WriteFailed> {
    let mut draft = Draft::begin(target)?;
    draft
        .file
        .write_all(text.as_bytes())
        .map_err(|cause| WriteFailed::new(target, cause))?;
    draft.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_that_is_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("a.trace");
        drop(Draft::begin(&target).expect("begun"));
        assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 0);
        write_whole(&target, "one\n").expect("written");
        write_whole(&target, "two\n").expect("replaced");
        assert_eq!(std::fs::read_to_string(&target).expect("read"), "two\n");
        assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 1);
    }

    #[test]
    fn failures_name_file_and_remedy() {
        let missing = write_whole(Path::new("/no/such/folder/x"), "")
            .expect_err("no folder")
            .to_string();
        assert!(
            missing.contains("/no/such/folder/x") && missing.contains("create the folder"),
            "{missing}"
        );
        let folder = write_whole(Path::new("/"), "")
            .expect_err("a folder")
            .to_string();
        assert!(folder.contains("directory"), "{folder}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_said_and_the_device_stays() {
        let full = write_whole(Path::new("/dev/full"), "text")
            .expect_err("full")
            .to_string();
        assert!(full.contains("free some space"), "{full}");
        assert!(!Path::new("/dev/full").is_file());
    }
}
