//! Owns the samples that benches take beside criterion's, for the tables of docs/PERFORMANCE.md: criterion compares a
//! function with its own past, a table compares functions with each other within one run. Does not own rendering.

use std::collections::BTreeMap;
use std::time::Duration;

/// Samples by name.
#[derive(Clone, Debug, Default)]
pub struct Samples(BTreeMap<String, Vec<Duration>>);

impl Samples {
    /// Adds one.
    pub fn add(&mut self, name: impl Into<String>, sample: Duration) {
        self.0.entry(name.into()).or_default().push(sample);
    }

    /// The median (the upper one of two), if there is any sample of that name. It shrugs off single disturbances of a
    /// shared machine.
    pub fn median(&self, name: &str) -> Option<Duration> {
        let mut samples = self.0.get(name)?.clone();
        samples.sort();
        samples.get(samples.len() / 2).copied()
    }

    /// How many samples of that name there are.
    pub fn count(&self, name: &str) -> usize {
        self.0.get(name).map_or(0, Vec::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_ignores_an_outlier_and_order() {
        let mut samples = Samples::default();
        assert_eq!(samples.median("a"), None);
        for ms in [900, 10, 12] {
            samples.add("a", Duration::from_millis(ms));
        }
        samples.add("b", Duration::from_millis(1));
        assert_eq!(
            (samples.median("a"), samples.count("a")),
            (Some(Duration::from_millis(12)), 3)
        );
    }
}
