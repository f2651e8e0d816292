//! Owns how a drawn fault is written as a step, with its parameters. Does not own whom and when.

use super::grounds::{Grounds, Target};
use crate::scenario::Family;
use crate::workload::draws::Draws;
use crate::workload::kinds::FaultKind;
use crate::workload::profile::Budget;
use crate::workload::text::{blocks, span};

const POINTS: [&str; 4] = ["before-journal", "journaled", "stepped", "performed"];

const REJECT_CODES: [&str; 3] = ["invalid_iban", "insufficient_funds", "invalid_amount"];

/// ISO 20022 ExternalReturnReason1Code: closed account, wrong account, refused by the creditor.
const RETURN_REASONS: [&str; 3] = ["AC04", "AC01", "MS03"];

/// The step's verb, and whether the fault lasts for its span.
pub(super) fn verb(
    kind: &FaultKind,
    target: &Target,
    (lasts, budget): (u64, &Budget),
    (grounds, at): (&Grounds, u64),
    draws: &mut Draws,
) -> (String, bool) {
    let (fault, for_) = (kind.name, span(lasts));
    match (kind.family, target) {
        (Family::Link, Target::Link(a, b)) => {
            let (rest, lasting) = link(fault, &for_, draws);
            (
                format!("link = {{ between = [\"{a}\", \"{b}\"], fault = \"{fault}\"{rest} }}"),
                lasting,
            )
        }
        (Family::Process, Target::Point(payment)) => {
            let point = draws.pick(&POINTS).copied().unwrap_or("journaled");
            (
                format!("crash = {{ engine = \"{point}\", on = \"{payment}\" }}"),
                false,
            )
        }
        (Family::Process, Target::Process(node)) if fault == "crash" => (
            format!("crash = {{ node = \"{node}\", for = \"{for_}\" }}"),
            true,
        ),
        (Family::Process, Target::Process(of)) => {
            let rest = match fault {
                "kill-at-write" => format!(", write = {}", draws.between(1, 12)),
                "stale-restart" => format!(", by = \"{}\"", span(draws.between(1, 90) * 1_000)),
                _ => String::new(),
            };
            (
                format!(
                    "process = {{ of = \"{of}\", fault = \"{fault}\", for = \"{for_}\"{rest} }}"
                ),
                true,
            )
        }
        (Family::Disk, Target::Process(of)) => {
            let rest = if fault == "slow" {
                format!(", by = \"{}\"", span(draws.between(20, 3_000)))
            } else {
                String::new()
            };
            (
                format!("disk = {{ of = \"{of}\", fault = \"{fault}\", for = \"{for_}\"{rest} }}"),
                true,
            )
        }
        (Family::Clock, Target::Process(of)) => (clock(fault, of, &for_, draws), fault != "step"),
        (Family::Http, Target::Sepa(payment)) => {
            (exchange("gateway", fault, payment, draws), false)
        }
        (Family::Http, Target::Statement(payment)) => {
            (exchange("layer0", fault, payment, draws), false)
        }
        (Family::Peer, Target::Channel(channel, of)) => (
            format!("peer = {{ of = \"{of}\", fault = \"{fault}\", channel = \"{channel}\" }}"),
            false,
        ),
        (Family::Peer, Target::Process(of)) => (
            format!("peer = {{ of = \"{of}\", fault = \"{fault}\", for = \"{for_}\" }}"),
            true,
        ),
        (_, Target::Cosigner(of)) => (
            format!("cosigner = {{ of = \"{of}\", fault = \"{fault}\", for = \"{for_}\" }}"),
            true,
        ),
        (_, Target::Onchain(payment)) => (
            format!("chain = {{ fault = \"{fault}\", on = \"{payment}\" }}"),
            false,
        ),
        (_, _) if fault == "reorg" => (reorg((grounds, at), budget, draws), false),
        (_, _) => {
            let rest = match fault {
                "fee-spike" => format!(", feerate = \"{} sat/vB\"", draws.between(3, 40)),
                "lag" => format!(", blocks = \"{}\"", blocks(draws.between(1, 3))),
                _ => String::new(),
            };
            (
                format!("chain = {{ fault = \"{fault}\", for = \"{for_}\"{rest} }}"),
                true,
            )
        }
    }
}

fn link(fault: &str, for_: &str, draws: &mut Draws) -> (String, bool) {
    let by = match fault {
        "disconnect" => return (String::new(), false),
        "delay" => draws.between(100, 6_000),
        "spikes" => draws.between(1_000, 20_000),
        "reorder" => draws.between(200, 10_000),
        _ => return (format!(", for = \"{for_}\""), true),
    };
    (format!(", by = \"{}\", for = \"{for_}\"", span(by)), true)
}

fn clock(fault: &str, of: &str, for_: &str, draws: &mut Draws) -> String {
    let behind = if draws.percent(50) {
        ", behind = true"
    } else {
        ""
    };
    let by = span(draws.between(1, 120) * 1_000);
    let rest = match fault {
        "step" => format!("by = \"{by}\""),
        "drift" => format!("ppm = {}, for = \"{for_}\"", draws.between(100, 100_000)),
        _ => format!("by = \"{by}\", for = \"{for_}\""),
    };
    format!("clock = {{ of = \"{of}\", fault = \"{fault}\", {rest}{behind} }}")
}

/// A fault of the gateway or of Layer 0.
fn exchange(verb: &str, fault: &str, payment: &str, draws: &mut Draws) -> String {
    let rest = match fault {
        "lose-response" | "lose-request" | "cut-body" | "too-many-requests" => {
            format!(", times = {}", draws.between(1, 3))
        }
        "server-error" => format!(", times = {}", draws.between(1, 5)),
        "slow-response" | "slow-body" => {
            format!(", by = \"{}\"", span(draws.between(1, 90) * 1_000))
        }
        "delay-webhook" => format!(", by = \"{}\"", span(draws.between(10, 900) * 1_000)),
        "reject" => {
            let code = draws.pick(&REJECT_CODES).copied().unwrap_or("invalid_iban");
            format!(", code = \"{code}\"")
        }
        "return" => {
            let reason = draws.pick(&RETURN_REASONS).copied().unwrap_or("AC04");
            // Mostly after it was booked.
            let first = if draws.percent(25) { 5 } else { 61 };
            let after = span(draws.between(first, 600) * 1_000);
            format!(", reason = \"{reason}\", after = \"{after}\"")
        }
        _ => String::new(),
    };
    format!("{verb} = {{ fault = \"{fault}\", on = \"{payment}\"{rest} }}")
}

fn reorg((grounds, at): (&Grounds, u64), budget: &Budget, draws: &mut Draws) -> String {
    let depth = draws.between(1, budget.reorg_depth.into());
    let then = depth + draws.between(1, 2);
    let mut rest = String::new();
    if draws.percent(30) {
        rest.push_str(", keep = true");
    }
    let paid = grounds.paid_before(at);
    if draws.percent(25)
        && let Some(payment) = draws.pick(&paid)
    {
        rest.push_str(&format!(", drop = [\"{}\"]", payment.id));
    }
    format!("reorg = {{ depth = {depth}, then = {then}{rest} }}")
}
