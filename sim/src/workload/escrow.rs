//! Owns what a plan says about escrows: their charges on one rail or two, who pays them, what the agent decides and when, and
//! what is told wrongly before or after it. Does not own other charges (`traffic`).

use super::draws::Draws;
use super::setup::Setup;
use super::text::{Draft, sat};
use crate::prng::RootSeed;

/// The party that decides.
const AGENT: &str = "judge";

/// Of a hundred escrows, so many have charges on both rails, where there are both.
const BOTH_PERCENT: u32 = 50;

/// Of a hundred decisions, so many come after one that does not count.
const WRONG_PERCENT: u32 = 40;

/// Of a hundred decisions, so many are followed by another one.
const AGAIN_PERCENT: u32 = 30;

/// Of a hundred escrows, so many are never decided about.
const UNDECIDED_PERCENT: u32 = 8;

const SECOND: u64 = 1_000;

/// The party that signs what is not its to decide.
const STRANGER: &str = "advocate";

/// The lines of those who sign, if a plan has escrows.
pub(super) fn people() -> [String; 2] {
    [
        format!("parties.{AGENT} = {{ did = \"key-ed25519\" }}"),
        format!("parties.{STRANGER} = {{ did = \"key\" }}"),
    ]
}

struct Charge {
    id: String,
    amount: u64,
    /// Who pays it over Lightning; on chain nobody does.
    node: Option<&'static str>,
}

/// The steps: charges, payments and decisions of one to three escrows.
pub(super) fn steps(draft: &mut Draft, setup: &Setup, lasts: u64, seed: RootSeed) {
    let count = Draws::of(seed, "escrows").between(1, 3);
    for number in 1..=count {
        let mut draws = Draws::of(seed, &format!("escrow/{number}"));
        escrow(draft, setup, (number, lasts), &mut draws);
    }
}

fn escrow(draft: &mut Draft, setup: &Setup, (number, lasts): (u64, u64), draws: &mut Draws) {
    let at = draws.between(6, lasts * 6 / 10 / SECOND) * SECOND;
    let party = draws.pick(&setup.parties).copied().unwrap_or("merchant");
    let node = draws.pick(&setup.outsiders).copied();
    let wallet = draws.pick(&setup.wallets).copied().unwrap_or("walt");
    // Where payouts need bound wallets, nothing on chain can be in escrow.
    let onchain = setup.bound.is_empty();
    let both = draws.percent(BOTH_PERCENT);
    let over_lightning = node.is_some() && (both || !onchain || draws.percent(50));
    let over_chain = onchain && (both || !over_lightning);
    let mut charges = Vec::new();
    if over_lightning {
        let most = (setup.smallest_channel_sat / 30).max(2_000);
        charges.push(charge(("ln", number), draws.between(1_000, most), node));
    }
    if over_chain {
        let amount = draws.between(20, 900) * 1_000;
        charges.push(charge(("chain", number), amount, None));
    }
    let mut paid = at;
    for charge in &charges {
        let rest = match charge.node {
            Some(_) => "over = \"lightning\"".to_owned(),
            None => format!("over = \"onchain\", refund_to = \"{wallet}\""),
        };
        draft.at(
            at,
            &format!(
                "charge = {{ id = \"{}\", party = \"{party}\", amount = \"{}\", {rest}, escrow = {{ id = \"deal-{number}\", agent = \"{AGENT}\" }} }}",
                charge.id,
                sat(charge.amount)
            ),
        );
        let pays = at + draws.between(1, 240) * SECOND;
        let from = charge.node.unwrap_or(wallet);
        if draws.percent(90) {
            let pay = format!("pay = {{ charge = \"{}\", from = \"{from}\" }}", charge.id);
            draft.at(pays, &pay);
        }
        paid = paid.max(pays);
    }
    if !charges.is_empty() && !draws.percent(UNDECIDED_PERCENT) {
        // Now and then before all is paid.
        let decided = draws.between(at / SECOND + 2, paid / SECOND + 600) * SECOND;
        decide(draft, (number, &charges), decided, draws);
    }
}

fn charge((rail, number): (&str, u64), amount: u64, node: Option<&'static str>) -> Charge {
    Charge {
        id: format!("escrow-{rail}-{number}"),
        amount,
        node,
    }
}

fn decide(draft: &mut Draft, (number, charges): (u64, &[Charge]), at: u64, draws: &mut Draws) {
    let step = |verdict: &str, wrong: &str| {
        format!("decide = {{ escrow = \"deal-{number}\", verdict = {verdict}{wrong} }}")
    };
    let verdict = match draws.between(0, 2) {
        0 => "\"release\"".to_owned(),
        1 => "\"refuse\"".to_owned(),
        _ => split(charges, draws),
    };
    if draws.percent(WRONG_PERCENT) {
        let by_other = format!(", signer = \"{STRANGER}\"");
        let wrong = match draws.percent(50) {
            true => by_other.as_str(),
            false => ", altered = true",
        };
        let before = at.saturating_sub(SECOND);
        draft.at(before, &step(&verdict, wrong));
    }
    let times = match draws.percent(AGAIN_PERCENT) {
        true => ", times = 2",
        false => "",
    };
    draft.at(at, &step(&verdict, times));
    if draws.percent(AGAIN_PERCENT) {
        let later = at + draws.between(1, 300) * SECOND;
        let other = match draws.percent(50) {
            true => "\"release\"",
            false => "\"refuse\"",
        };
        draft.at(later, &step(other, ""));
    }
}

/// Each charge between its sides, in parts that add up; now and then all to one of them.
fn split(charges: &[Charge], draws: &mut Draws) -> String {
    let shares = charges.iter().map(|charge| {
        let payee = match draws.between(0, 9) {
            0 => 0,
            1 => charge.amount,
            _ => draws.between(1, charge.amount),
        };
        let payer = charge.amount - payee;
        let to = charge.node.filter(|_| payee > 0 && payer > 0);
        let to = to.map_or(String::new(), |node| format!(", to = \"{node}\""));
        format!(
            "{{ charge = \"{}\", payee = \"{}\", payer = \"{}\"{to} }}",
            charge.id,
            sat(payee),
            sat(payer)
        )
    });
    let shares: Vec<String> = shares.collect();
    format!("\"split\", shares = [{}]", shares.join(", "))
}
