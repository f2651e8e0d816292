//! Owns what a plan says about wallets bound to DIDs: whether the policy asks for it, whose wallet each one is, how it is
//! proven, rightly or not, and what ends it. Does not own payments (`traffic`).

use super::draws::Draws;
use super::setup::Setup;
use super::text::Draft;
use crate::prng::RootSeed;

/// Of a hundred plans, so many have a policy that asks for bindings.
const ASKED_PERCENT: u32 = 20;

/// Of a hundred proofs, so many come after a wrong one.
const WRONG_PERCENT: u32 = 40;

/// Of a hundred bindings, so many are ended by somebody.
const ENDED_PERCENT: u32 = 40;

const SECOND: u64 = 1_000;

/// Draws whose wallet each one is; the policy's word, if it asks for bindings.
pub(super) fn draw(setup: &mut Setup, seed: RootSeed) -> Option<&'static str> {
    let mut draws = Draws::of(seed, "bindings");
    if !draws.percent(ASKED_PERCENT) {
        return None;
    }
    let parties = setup.parties.clone();
    for (index, wallet) in setup.wallets.iter().enumerate() {
        if let Some(party) = parties.get(index % parties.len().max(1)) {
            setup.bound.push((wallet, party));
        }
    }
    for party in &parties {
        let methods = ["key", "key", "key-ed25519", "web"];
        let method = draws.pick(&methods).copied().unwrap_or("key");
        setup.dids.push((party, method));
    }
    Some(if draws.percent(60) { "payouts" } else { "both" })
}

/// The steps: each wallet is registered and proven before anything is paid, and some of it ends.
pub(super) fn steps(draft: &mut Draft, setup: &Setup, lasts: u64, seed: RootSeed) {
    for (wallet, party) in &setup.bound {
        let mut draws = Draws::of(seed, &format!("binding/{wallet}"));
        let draws = &mut draws;
        draft.at(100, &register(wallet, wallet, party));
        if draws.percent(WRONG_PERCENT)
            && let Some(proof) = wrong_proof(wallet, setup, draws)
        {
            draft.at(200, &proof);
        }
        draft.at(300, &format!("prove = {{ binding = \"{wallet}\" }}"));
        if draws.percent(ENDED_PERCENT) {
            let at = draws.between(lasts / 4 / SECOND, lasts / SECOND) * SECOND;
            end(draft, (wallet, party), setup, (at, draws));
        }
    }
}

fn register(id: &str, wallet: &str, party: &str) -> String {
    format!("register = {{ id = \"{id}\", party = \"{party}\", wallet = \"{wallet}\" }}")
}

/// Of the challenge of another binding, by another wallet, or by the DID of another party; none where there is nobody else.
fn wrong_proof(wallet: &str, setup: &Setup, draws: &mut Draws) -> Option<String> {
    let others: Vec<&str> = setup
        .wallets
        .iter()
        .copied()
        .filter(|other| *other != wallet)
        .collect();
    let owner = setup.bound.iter().find(|(bound, _)| *bound == wallet);
    let strangers: Vec<&str> = setup
        .parties
        .iter()
        .copied()
        .filter(|party| owner.is_some_and(|(_, owner)| owner != party))
        .collect();
    let bound = setup.bound.iter().map(|(other, _)| *other);
    let mut wrong: Vec<String> = bound
        .filter(|other| *other != wallet)
        .map(|other| format!("prove = {{ binding = \"{wallet}\", challenge = \"{other}\" }}"))
        .collect();
    wrong.extend(
        others
            .iter()
            .map(|other| format!("prove = {{ binding = \"{wallet}\", wallet = \"{other}\" }}")),
    );
    wrong.extend(
        strangers
            .iter()
            .map(|party| format!("prove = {{ binding = \"{wallet}\", did = \"{party}\" }}")),
    );
    draws.pick(&wrong).cloned()
}

/// By the party, by Layer 0, or by a rotation; sometimes it is bound anew.
fn end(
    draft: &mut Draft,
    (wallet, party): (&str, &str),
    setup: &Setup,
    (at, draws): (u64, &mut Draws),
) {
    let others: Vec<&str> = setup
        .parties
        .iter()
        .copied()
        .filter(|other| *other != party)
        .collect();
    let other = draws.pick(&others).copied();
    match (draws.between(0, 3), other) {
        (0 | 1, _) => {
            draft.at(at, &format!("revoke = \"{wallet}\""));
            if draws.percent(60) {
                let again = format!("{wallet}-again");
                draft.at(at + 5 * SECOND, &register(&again, wallet, party));
                let prove = format!("prove = {{ binding = \"{again}\" }}");
                draft.at(at + 6 * SECOND, &prove);
            }
        }
        (2, Some(other)) => {
            let rotate = format!("rotate = {{ binding = \"{wallet}\", to = \"{other}\" }}");
            draft.at(at, &rotate);
        }
        (3, Some(other)) => {
            let news = format!("layer0 = {{ party = \"{party}\", rotates_to = \"{other}\" }}");
            draft.at(at, &news);
            let rotate = format!(
                "rotate = {{ binding = \"{wallet}\", to = \"{other}\", old_signs = false }}"
            );
            draft.at(at + draws.between(1, 60) * SECOND, &rotate);
        }
        _ => {
            let news = format!("layer0 = {{ party = \"{party}\", state = \"revoked\" }}");
            draft.at(at, &news);
        }
    }
}
