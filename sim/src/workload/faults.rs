//! Owns drawing faults into a plan: which families, which kinds, whom, when, within the fault budget. Does not own the table of
//! kinds (`kinds`) nor how each is written (`faults::words`).

mod grounds;
mod words;

use super::draws::Draws;
use super::kinds::{FaultKind, Hits, KINDS};
use super::profile::{Budget, Profile};
use super::text::Draft;
use crate::prng::RootSeed;
use crate::scenario::{Family, Scenario};
use grounds::{Grounds, Target};

/// Draws of place and time that do not fit the budget before a fault is given up.
const ATTEMPTS: u32 = 12;

/// What is started again needs this long to be as before.
const RECOVERY_MS: u64 = 20_000;

/// A fault with its place in time.
struct Planned {
    from: u64,
    until: u64,
    /// Not before this step.
    after: usize,
    /// Two faults that share one do not overlap.
    scopes: Vec<String>,
    /// The step's verb.
    text: String,
}

/// Draws faults into the plan; `calm` is what the draft says so far.
pub(super) fn draw(draft: &mut Draft, calm: &Scenario, profile: &Profile, seed: RootSeed) {
    let budget = &profile.faults;
    let mut draws = Draws::of(seed, "faults/count");
    let count = draws.between(budget.count.least.into(), budget.count.most.into());
    let grounds = Grounds::of(calm, draft);
    let weights = weights(profile, &grounds, seed);
    let mut planned: Vec<Planned> = Vec::new();
    for index in 0..count {
        let room = count.saturating_sub(planned.len() as u64);
        if room == 0 {
            break;
        }
        let mut draws = Draws::of(seed, &format!("fault/{index}"));
        let fitting = (0..ATTEMPTS).find_map(|_| {
            let family = draws.weighted(&families(&weights))?;
            let of_family: Vec<_> = weights
                .iter()
                .filter(|(kind, _)| kind.family == family)
                .copied()
                .collect();
            let kind = draws.weighted(&of_family)?;
            let target = grounds.target(kind, &mut draws)?;
            let fault = place(kind, &target, (&grounds, budget), &mut draws)?;
            if !fits(&fault, &planned, budget) {
                return None;
            }
            let partner = company(kind, &of_family, &mut draws)
                .filter(|_| room > 1)
                .and_then(|other| place(other, &target, (&grounds, budget), &mut draws))
                .filter(|partner| fits(partner, planned.iter().chain([&fault]), budget));
            (partner.is_some() || !needs_company(kind)).then_some([Some(fault), partner])
        });
        planned.extend(fitting.into_iter().flatten().flatten());
    }
    // The last first: positions of steps stay what they are.
    planned.sort_by_key(|fault| std::cmp::Reverse((fault.from, fault.after)));
    for fault in &planned {
        draft.insert(fault.from, fault.after, &fault.text);
    }
}

/// The kinds that can be drawn in this plan: whole families are off, the others have weights of the plan's own.
fn weights(profile: &Profile, grounds: &Grounds, seed: RootSeed) -> Vec<(&'static FaultKind, u32)> {
    let budget = &profile.faults;
    let mut swarm = Draws::of(seed, "faults/families");
    let drawn = Family::ALL.map(|family| {
        let weight = budget.family(family);
        let off = swarm.ppm(profile.off_ppm);
        let mine = swarm.between(1, u64::from(weight.max(1)) * 2) as u32;
        (family, if off || weight == 0 { 0 } else { mine }, weight)
    });
    let with = |weight_of: &dyn Fn(Family) -> u32| -> Vec<(&'static FaultKind, u32)> {
        let usable = KINDS.iter().filter(|kind| grounds.has(kind));
        usable
            .map(|kind| {
                let own = budget
                    .kinds
                    .get(&kind.key())
                    .copied()
                    .unwrap_or(kind.weight);
                (kind, own * weight_of(kind.family))
            })
            .filter(|(_, weight)| *weight > 0)
            .collect()
    };
    let of = |family: Family| drawn.iter().find(|(known, ..)| *known == family);
    let swarmed = with(&|family| of(family).map_or(0, |(_, mine, _)| *mine));
    if swarmed.is_empty() {
        return with(&|family| of(family).map_or(0, |(_, _, weight)| *weight));
    }
    swarmed
}

/// Families by the weights that their kinds carry in this plan.
fn families(weights: &[(&'static FaultKind, u32)]) -> Vec<(Family, u32)> {
    let mut found: Vec<(Family, u32)> = Vec::new();
    for (kind, weight) in weights {
        let of_family = weight / kind.weight.max(1);
        match found.iter_mut().find(|(family, _)| *family == kind.family) {
            Some((_, most)) => *most = (*most).max(of_family),
            None => found.push((kind.family, of_family.max(1))),
        }
    }
    found
}

/// Kinds that do nothing to a transfer that nothing else happens to.
const NEEDS: [(&str, &[&str]); 2] = [
    ("reorder-webhooks", &["return"]),
    ("forget-key", &["lose-response", "cut-body"]),
];

/// What tells of a return late, twice, in the wrong order, or not.
const TELLS_OF_RETURN: [&str; 5] = [
    "reorder-webhooks",
    "delay-webhook",
    "duplicate-webhook",
    "drop-webhook",
    "lose-response",
];

fn needs_company(kind: &FaultKind) -> bool {
    kind.family == Family::Http && NEEDS.iter().any(|(name, _)| *name == kind.name)
}

/// The kind of the same family that hits the same transfer, too, if one is drawn.
fn company(
    kind: &FaultKind,
    of_family: &[(&'static FaultKind, u32)],
    draws: &mut Draws,
) -> Option<&'static FaultKind> {
    let needed = NEEDS.iter().find(|(name, _)| *name == kind.name);
    let names = match needed {
        Some((_, names)) => *names,
        None if kind.name == "return" && draws.percent(40) => &TELLS_OF_RETURN,
        None => return None,
    };
    let others = of_family
        .iter()
        .filter(|(other, _)| names.contains(&other.name));
    draws.weighted(&others.copied().collect::<Vec<_>>())
}

/// When the target is hit, and for how long.
fn place(
    kind: &'static FaultKind,
    target: &Target,
    (grounds, budget): (&Grounds, &Budget),
    draws: &mut Draws,
) -> Option<Planned> {
    let lasts = draws.between(3, budget.longest_s.into()) * 1_000;
    let scopes = target.scopes(kind);
    let (from, after) = match target {
        // Armed just before the payment is made; a point also later, for the inputs that follow.
        Target::Point(payment) if draws.percent(40) => {
            let found = grounds.payment(payment)?;
            (found.paid_at + draws.between(0, 4) * 500, 0)
        }
        Target::Sepa(payment) | Target::Statement(payment) | Target::Point(payment) => {
            let found = grounds.payment(payment)?;
            (found.made_at.saturating_sub(1), 0)
        }
        Target::Onchain(payment) => {
            let found = grounds.payment(payment)?;
            let from = grounds.while_unconfirmed(found, draws);
            (from, found.last_step + 1)
        }
        _ => (moment(kind, target, (grounds, lasts), draws), 0),
    };
    let (text, lasting) = words::verb(kind, target, (lasts, budget), (grounds, from), draws);
    let until = from + if lasting { lasts } else { 0 } + RECOVERY_MS;
    Some(Planned {
        from,
        until,
        after,
        scopes,
        text,
    })
}

/// Mostly when something happens to a payment that the target has to do with, so that the fault has something to hit: what
/// lasts has begun by then, or begins soon after. Else at any time.
fn moment(
    kind: &FaultKind,
    target: &Target,
    (grounds, lasts): (&Grounds, u64),
    draws: &mut Draws,
) -> u64 {
    let near = draws.percent(90);
    let moments = grounds.moments(kind, target);
    match draws.pick(&moments) {
        Some(at) if near && draws.percent(70) => {
            at.saturating_sub(draws.between(0, lasts * 3 / 4)).max(1)
        }
        Some(at) if near => at + draws.between(0, 15) * 200,
        _ => draws.between(2_000, grounds.until),
    }
}

/// Whether the budget allows it beside what is planned.
fn fits<'a>(
    fault: &Planned,
    planned: impl IntoIterator<Item = &'a Planned>,
    budget: &Budget,
) -> bool {
    let overlapping: Vec<&Planned> = planned
        .into_iter()
        .filter(|other| other.from < fault.until && fault.from < other.until)
        .collect();
    let shares = |other: &&Planned| {
        other
            .scopes
            .iter()
            .any(|scope| fault.scopes.contains(scope))
    };
    overlapping.len() < budget.at_once as usize && !overlapping.iter().any(shares)
}

impl Target {
    /// What nothing else may hit at the same time.
    fn scopes(&self, kind: &FaultKind) -> Vec<String> {
        let mut scopes = match self {
            Target::Link(a, b) => vec![format!("link {a} {b}")],
            Target::Process(name) => vec![format!("process {name}")],
            Target::Channel(_, node) => vec![format!("process {node}")],
            Target::Chain => vec!["the chain".to_owned()],
            Target::Onchain(payment) => vec!["the chain".to_owned(), payment.clone()],
            Target::Sepa(payment) => vec![format!("{} {payment}", kind.name)],
            Target::Statement(payment) => vec![format!("{} statements of {payment}", kind.name)],
            Target::Cosigner(name) => vec![format!("cosigner {name}")],
            Target::Point(_) => vec!["process engine".to_owned()],
        };
        // A node that is away cannot be found again while another is away, too.
        if kind.family == Family::Process
            && !matches!(self, Target::Point(_))
            && kind.hits == Hits::NodeOrPoint
        {
            scopes.push("a node is away".to_owned());
        }
        scopes
    }
}
