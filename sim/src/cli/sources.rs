//! Owns finding and reading scenario files: paths and folders -> checked scenarios. Does not own the format (`scenario`).

use crate::scenario::{Colour, Files, InvalidScenario, Scenario};
use std::io;
use std::path::{Path, PathBuf};

/// A scenario file that was read.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file as the user named it.
    pub file: String,
    /// What is in it.
    pub scenario: Scenario,
}

/// A scenario file could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// There is nothing there, or it cannot be read.
    #[error("failed to read {}: {cause}\nRemedy: name a scenario file, or a folder with *.toml files in it.", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// A folder without scenarios.
    #[error("there is no scenario in {}\nRemedy: name a folder with *.toml files in it, at any depth.", path.display())]
    Empty {
        /// Which.
        path: PathBuf,
    },
    /// A name that is not Unicode.
    #[error("the name {} is not UTF-8\nRemedy: rename the file.", path.display())]
    NotUnicode {
        /// Which.
        path: PathBuf,
    },
    /// Its text is wrong.
    #[error(transparent)]
    Invalid(InvalidScenario),
}

impl SourceError {
    /// As shown to the user.
    pub fn render(&self, colour: Colour) -> String {
        match self {
            SourceError::Invalid(invalid) => invalid.render(colour),
            other => format!("error: {other}\n"),
        }
    }
}

/// The scenario files that are meant by `paths`, folders searched to any depth, sorted, each once.
pub fn find(paths: &[PathBuf]) -> Result<Vec<String>, Vec<SourceError>> {
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for path in paths {
        let before = found.len();
        let listed = match path.is_dir() {
            true => search(path, &mut found),
            false => path.metadata().map(|_| found.push(path.clone())),
        };
        match listed {
            Err(cause) => errors.push(SourceError::Unreadable {
                path: path.clone(),
                cause,
            }),
            Ok(()) if found.len() == before => {
                errors.push(SourceError::Empty { path: path.clone() })
            }
            Ok(()) => {}
        }
    }
    found.sort();
    found.dedup();
    let mut files = Vec::new();
    for path in found {
        match path.to_str() {
            Some(file) => files.push(file.to_owned()),
            None => errors.push(SourceError::NotUnicode { path }),
        }
    }
    if errors.is_empty() {
        Ok(files)
    } else {
        Err(errors)
    }
}

/// Links to folders are not followed: they could form a ring.
fn search(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            search(&path, found)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            found.push(path);
        }
    }
    Ok(())
}

/// Files beside a scenario.
struct Beside<'a>(&'a Path);

impl Files for Beside<'_> {
    fn read(&self, path: &str) -> Result<String, String> {
        std::fs::read_to_string(self.0.join(path)).map_err(|error| error.to_string())
    }
}

/// Reads and checks one file, with those that it names.
pub fn load(file: &str) -> Result<Source, SourceError> {
    let unreadable = |cause| SourceError::Unreadable {
        path: PathBuf::from(file),
        cause,
    };
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    let folder = Path::new(file).parent().unwrap_or(Path::new(""));
    let scenario = Scenario::parse_with(file, &text, &Beside(folder));
    let scenario = scenario.map_err(SourceError::Invalid)?;
    Ok(Source {
        file: file.to_owned(),
        scenario,
    })
}

/// Finds, reads and checks; everything that is wrong with any file is told.
pub(super) fn load_all(paths: &[PathBuf]) -> Result<Vec<Source>, Vec<SourceError>> {
    let (mut sources, mut errors) = (Vec::new(), Vec::new());
    for file in find(paths)? {
        match load(&file) {
            Ok(source) => sources.push(source),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        Ok(sources)
    } else {
        Err(errors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_searched_and_sorted_and_files_named_twice_come_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let inner = folder.path().join("inner");
        std::fs::create_dir(&inner).expect("made");
        for path in [
            folder.path().join("b.toml"),
            inner.join("a.toml"),
            folder.path().join("b.trace"),
        ] {
            std::fs::write(path, "").expect("written");
        }
        let paths = [folder.path().to_owned(), folder.path().join("b.toml")];
        let found = find(&paths).expect("found");
        let names: Vec<&str> = found
            .iter()
            .map(|file| &file[folder.path().as_os_str().len() + 1..])
            .collect();
        assert_eq!(names, ["b.toml", "inner/a.toml"]);
    }

    #[test]
    fn what_is_not_there_and_what_is_empty_is_said() {
        let folder = tempfile::tempdir().expect("a folder");
        let errors = find(&[folder.path().to_owned(), folder.path().join("none.toml")])
            .expect_err("both are wrong");
        assert!(
            matches!(
                errors[..],
                [SourceError::Empty { .. }, SourceError::Unreadable { .. }]
            ),
            "{errors:?}"
        );
    }
}
