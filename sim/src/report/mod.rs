//! Owns how things are shown: what will run, progress, the table of what ran, failures, differences, JSON.
//! Everything here makes text from values. Does not own processes, files or exit codes (`cli`).

pub mod diff;
pub mod failure;
pub mod json;
pub mod plan;
pub mod progress;
pub mod results;
pub mod table;
pub mod words;
