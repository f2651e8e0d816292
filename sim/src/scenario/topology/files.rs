//! Owns the way to the files that a scenario names: reading them is the caller's, as the format knows no disk.
//! Does not own what is in them.

/// Gives the text of files.
pub trait Files {
    /// The text of the file at `path`, which is relative to the scenario's folder; or why it cannot be had, as a fragment
    /// after "cannot be read: ".
    fn read(&self, path: &str) -> Result<String, String>;
}

/// For texts that stand alone, such as the plan of a bundle, in which all is expanded.
#[derive(Clone, Copy, Debug)]
pub struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _: &str) -> Result<String, String> {
        Err("this text has no folder".to_owned())
    }
}
