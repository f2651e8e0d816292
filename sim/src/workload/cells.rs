//! Owns the coverage matrix's cells: rail, state of a payment that is not final, kind of fault. Does not own which of them a run
//! has reached (`coverage`).

use super::kinds::KINDS;

/// The states in which payments of each rail spend time.
pub const STATES: &[(&str, &[&str])] = &[
    (
        "lightning",
        &["created", "issued", "held", "dispatched", "unknown"],
    ),
    (
        "onchain",
        &[
            "issued",
            "seen",
            "undone",
            "reserved",
            "dispatched",
            "unknown",
        ],
    ),
    ("sepa", &["dispatched", "unknown"]),
];

/// `rail/state/fault`.
pub fn name(rail: &str, state: &str, fault: &str) -> String {
    format!("{rail}/{state}/{fault}")
}

/// Whether the text names a cell of the matrix.
pub fn is_one(text: &str) -> bool {
    let mut parts = text.split('/');
    let (Some(rail), Some(state), Some(fault), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let known = STATES
        .iter()
        .any(|(name, states)| *name == rail && states.contains(&state));
    known && KINDS.iter().any(|kind| kind.name == fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_recognised() {
        assert!(is_one("lightning/held/partition"));
        for no in [
            "",
            "lightning/held",
            "sepa/held/crash",
            "sepa/unknown/x",
            "a/b/c/d",
        ] {
            assert!(!is_one(no), "{no}");
        }
    }

    #[test]
    fn a_fault_is_named_once_in_all_families() {
        for kind in KINDS {
            let same = KINDS.iter().filter(|other| other.name == kind.name);
            assert_eq!(same.count(), 1, "{}", kind.name);
        }
    }
}
