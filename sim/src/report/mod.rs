//! Owns how things are shown: what will run, progress, the table of what ran, failures, differences, JSON, the page of a run, the story of a payment.
//! Everything here makes text from values. Does not own processes, files or exit codes (`cli`).

pub mod diff;
pub mod explain;
pub mod failure;
pub mod fees;
pub mod fuzz;
pub mod json;
pub mod page;
pub mod plan;
pub mod progress;
pub mod results;
pub mod table;
pub mod words;
