//! Owns I5: each payment reaches a terminal state by its own deadline, once faults have stopped. A held payment waits for
//! a decision and has the deadline of its HTLC, which is on the chain's clock. A move of funds has no deadline: a few blocks
//! after the last fault are enough for it.

use super::{Kind, Violation};
use lockstep_engine::api::Engine;
use lockstep_engine::payments::Status;
use lockstep_engine::time::Timestamp;

/// The name in docs/INVARIANTS.md.
const NAME: &str = "terminal-by-deadline";

/// The payments that are not final, and when the last of them is due.
pub fn unfinished(engine: &Engine) -> Option<(Timestamp, Violation)> {
    let open: Vec<_> = engine
        .payments()
        .iter()
        .filter(|(_, payment)| !payment.status().is_final() && payment.status() != Status::Held)
        .collect();
    let moves = engine.payments().moves();
    let moves: Vec<_> = moves
        .map(|(id, moved)| (id, moved.status()))
        .filter(|(_, status)| !status.is_final())
        .collect();
    let due = open.iter().map(|(_, payment)| payment.due_at());
    // A move has no deadline: it is due as soon as blocks are mined.
    let due = due
        .chain(moves.iter().map(|_| Timestamp::default()))
        .max()?;
    let payments = open.iter().map(|(id, payment)| (*id, payment.status()));
    let names: Vec<String> = payments
        .chain(moves)
        .map(|(id, status)| format!("{id} ({status:?})"))
        .collect();
    let what = format!("past its deadline and not final: {}", names.join(", "));
    Some((
        due,
        Violation {
            invariant: NAME.to_owned(),
            kind: Kind::Liveness,
            what,
        },
    ))
}
