//! Owns what happens in a plan but for faults: payments over all rails and what their outside does, commands that must be
//! refused, blocks, the fee market, reconciliations, and the tail that lets everything become final. Each payment has a stream
//! of its own. Does not own who is there (`setup`), faults (`faults`), nor what becomes of charges (`charges`).

mod charges;
mod invoices;

use super::bindings;
use super::channels;
use super::draws::Draws;
use super::escrow;
use super::profile::{Profile, SHORTEST_DEADLINE_S, Sort};
use super::setup::{BAD_ACCOUNT, Setup, VAULT};
use super::text::{Draft, blocks, euro, line, sat, span};
use crate::prng::RootSeed;
use std::collections::BTreeMap;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;

/// Under the smallest output that the network relays to a P2WPKH address (294 sat).
const DUST_SAT: u64 = 100;

/// What of a channel LDK lets be in flight, at most: 10 % of an announced one.
const IN_FLIGHT_PERCENT: u64 = 10;

/// Of a hundred plans, so many begin with parties that own nothing.
const POOR_PERCENT: u32 = 10;

/// Of a hundred payouts, so many ask for more than the party can expect to have.
const TOO_MUCH_PERCENT: u32 = 5;

/// Where wallets are bound, so many of a hundred payments keep to it.
const NAMED_PERCENT: u32 = 80;

/// Draws the kinds of payments of a plan, in no order: whole kinds are off per plan, the others have weights of the plan's own.
pub(super) fn sorts(profile: &Profile, seed: RootSeed) -> Vec<Sort> {
    let mut swarm = Draws::of(seed, "traffic/kinds");
    let of_profile = profile.traffic.weights();
    let mut weights = of_profile.map(|(sort, weight)| {
        let off = swarm.ppm(profile.off_ppm);
        let drawn = swarm.between(1, u64::from(weight.max(1)) * 2) as u32;
        (sort, if off || weight == 0 { 0 } else { drawn })
    });
    // Without charges nobody has anything to pay out.
    let charges =
        |weights: &[(Sort, u32)]| weights.iter().any(|(sort, w)| sort.is_charge() && *w > 0);
    if !charges(&weights) && charges(&of_profile) {
        for (mine, of_profile) in weights.iter_mut().zip(of_profile) {
            if of_profile.0.is_charge() {
                mine.1 = of_profile.1;
            }
        }
    }
    let mut draws = Draws::of(seed, "traffic/count");
    let count = draws.between(profile.payments.least.into(), profile.payments.most.into());
    let mut sorts: Vec<Sort> = (0..count)
        .filter_map(|index| Draws::of(seed, &format!("traffic/kind/{index}")).weighted(&weights))
        .collect();
    // The first one brings money.
    if let Some(charge) = sorts.iter().position(|sort| sort.is_charge()) {
        sorts.swap(0, charge);
    }
    sorts
}

/// Everything that happens, into the draft.
pub(super) fn draw(
    draft: &mut Draft,
    setup: &Setup,
    sorts: &[Sort],
    profile: &Profile,
    seed: RootSeed,
) {
    let mut draws = Draws::of(seed, "traffic/span");
    let minutes = draws.between(profile.minutes.least.into(), profile.minutes.most.into());
    let mut traffic = Traffic {
        draft,
        setup,
        lasts: minutes * MINUTE,
        owed: BTreeMap::new(),
        prices: Vec::new(),
        unconfirmed: Vec::new(),
        is_funded: false,
        last_onchain: None,
        all_ppm: profile.all_ppm,
        seed,
    };
    bindings::steps(traffic.draft, setup, minutes * MINUTE, seed);
    channels::steps(traffic.draft, setup, minutes * MINUTE, seed);
    if sorts.iter().any(|sort| sort.is_payout()) {
        traffic.opening_funds(Draws::of(seed, "traffic/opening"));
    }
    traffic.price_list(Draws::of(seed, "traffic/prices"));
    for (index, sort) in sorts.iter().enumerate() {
        let draws = Draws::of(seed, &format!("payment/{index}"));
        traffic.payment(index + 1, *sort, draws);
    }
    if setup.escrows {
        escrow::steps(traffic.draft, setup, minutes * MINUTE, seed);
    }
    if setup.reputation {
        for party in &setup.parties {
            traffic.enrolment(party, Draws::of(seed, &format!("enrolment/{party}")));
        }
    }
    traffic.chain(Draws::of(seed, "traffic/blocks"));
    traffic.fee_market(Draws::of(seed, "traffic/fees"));
    traffic.moves(Draws::of(seed, "traffic/moves"));
    traffic.reconciliations(Draws::of(seed, "traffic/reconciliations"));
    draft.sort();
    tail(draft, setup, profile);
}

struct Traffic<'a> {
    draft: &'a mut Draft,
    setup: &'a Setup,
    lasts: u64,
    /// What each party may expect of its charges, in satoshi.
    owed: BTreeMap<&'static str, u64>,
    /// What things cost here, in satoshi: several charges ask for one of them.
    prices: Vec<u64>,
    /// When on-chain charges are paid.
    unconfirmed: Vec<u64>,
    /// Parties have money from the first minute on.
    is_funded: bool,
    /// The on-chain charge that was drawn last.
    last_onchain: Option<(String, u64)>,
    /// So many payouts on chain of a million are of all that the party has.
    all_ppm: u32,
    seed: RootSeed,
}

impl Traffic<'_> {
    /// Parties that have something to spend from the first minute on: a charge each, paid at once and confirmed. Some plans do
    /// without.
    fn opening_funds(&mut self, mut draws: Draws) {
        if draws.percent(POOR_PERCENT) {
            return;
        }
        self.is_funded = true;
        for party in self.setup.parties.clone() {
            let id = format!("funds-{party}");
            let amount = draws.between(1_500, 6_000) * 1_000;
            let wallet = self.payer_wallet(party, &mut draws);
            self.charge(SECOND, (&id, party), &sat(amount), "over = \"onchain\"");
            // Above every floor that the fee market is drawn from.
            self.draft.at(
                2 * SECOND,
                &format!(
                    "pay = {{ charge = \"{id}\", from = \"{wallet}\", feerate = \"20 sat/vB\" }}"
                ),
            );
            self.expect(party, amount);
            self.draft.pointless.push(id);
        }
        let depth = blocks(self.setup.deepest);
        self.draft.at(4 * SECOND, &format!("mine = \"{depth}\""));
    }

    fn payment(&mut self, number: usize, sort: Sort, mut draws: Draws) {
        let draws = &mut draws;
        match sort {
            Sort::ChargeLightning => self.lightning_charge(number, draws),
            Sort::ChargeHold => self.held_charge(number, draws),
            Sort::ChargeOnchain => self.onchain_charge(number, draws),
            Sort::PayoutLightning | Sort::PayoutOnchain | Sort::PayoutSepa => {
                self.payout(number, sort, draws);
            }
            Sort::Refused => self.refused(number, draws),
        }
    }

    /// A party is enrolled, mostly before its first payment; now and then Layer 0 thinks ill of it, at first or later.
    fn enrolment(&mut self, party: &str, mut draws: Draws) {
        let soon = draws.percent(80);
        let at = match soon {
            true => draws.between(1, 4) * SECOND,
            false => draws.between(5, self.lasts / SECOND) * SECOND,
        };
        let says = |state: &str| format!("layer0 = {{ party = \"{party}\", state = \"{state}\" }}");
        let enrol = format!("enrol = \"{party}\"");
        let is_unknown = draws.percent(15);
        if is_unknown {
            self.draft
                .steps
                .push(line(at - SECOND / 2, &says("suspended")));
        }
        self.draft.steps.push(line(at, &enrol));
        if is_unknown || draws.percent(15) {
            let later = at + draws.between(1, 10) * MINUTE;
            self.draft.steps.push(line(later, &says("active")));
            self.draft.steps.push(line(later + SECOND, &enrol));
        }
        if draws.percent(10) {
            let later = at + draws.between(1, self.lasts / MINUTE) * MINUTE;
            self.draft.steps.push(line(later, &says("revoked")));
        }
    }

    fn party(&self, draws: &mut Draws) -> &'static str {
        draws
            .pick(&self.setup.parties)
            .copied()
            .unwrap_or("merchant")
    }

    fn payer(&self, draws: &mut Draws) -> &'static str {
        draws.pick(&self.setup.outsiders).copied().unwrap_or("ann")
    }

    /// The wallet that pays a party's charge: mostly the one that is bound to it, if one is.
    fn payer_wallet(&self, party: &str, draws: &mut Draws) -> &'static str {
        let any = draws.pick(&self.setup.wallets).copied().unwrap_or("walt");
        let own = self.setup.bound.iter().find(|(_, owner)| *owner == party);
        match own {
            Some((wallet, _)) if draws.percent(NAMED_PERCENT) => wallet,
            _ => any,
        }
    }

    fn expect(&mut self, party: &'static str, sat: u64) {
        *self.owed.entry(party).or_default() += sat;
    }

    /// The party that can expect most, or any; and what it can spend at most, in satoshi.
    fn spender(&self, draws: &mut Draws) -> (&'static str, u64) {
        let richest = self.owed.iter().max_by_key(|(_, sat)| **sat);
        match richest {
            Some((party, sat)) if draws.percent(75) => (party, *sat),
            _ => {
                let party = self.party(draws);
                (party, self.owed.get(party).copied().unwrap_or(0))
            }
        }
    }

    fn payout(&mut self, number: usize, sort: Sort, draws: &mut Draws) {
        let at = self.payout_time(sort, draws);
        let (party, owed) = self.spender(draws);
        let most = if draws.percent(TOO_MUCH_PERCENT) {
            owed.max(2_000) * 4
        } else {
            (owed / 2).clamp(2_000, 600_000)
        };
        let (to, mut what) = self.payee(sort, most, draws);
        if sort == Sort::PayoutOnchain && self.goes_whole(number) {
            let (_, others) = what.split_once(',').unwrap_or_default();
            let comma = if others.is_empty() { "" } else { "," };
            what = format!("amount = \"all\"{comma}{others}");
        }
        if sort == Sort::PayoutLightning {
            what += &self.routed(number);
        }
        let deadline = span(deadline(sort, draws));
        self.owed
            .entry(party)
            .and_modify(|sat| *sat -= (*sat).min(most));
        self.draft.at(
            at,
            &format!(
                "payout = {{ id = \"payout-{number}\", from = \"{party}\", to = \"{to}\", {what}, deadline = \"{deadline}\" }}"
            ),
        );
    }

    /// Whether a payout is of all that its party has; by a stream of its own, so that nothing else is drawn otherwise.
    fn goes_whole(&self, number: usize) -> bool {
        Draws::of(self.seed, &format!("all/{number}")).ppm(self.all_ppm)
    }

    /// Once there is money; on chain often while other money is on its way to the same wallet.
    fn payout_time(&self, sort: Sort, draws: &mut Draws) -> u64 {
        let soon = draws.percent(40);
        let paid = draws.pick(&self.unconfirmed).copied();
        let after = draws.between(1, 20) * SECOND;
        if let (Sort::PayoutOnchain, true, Some(paid)) = (sort, soon, paid) {
            return paid + after;
        }
        let first = if self.is_funded { 5 } else { 35 };
        draws.between(self.lasts * first / 100 / SECOND, self.lasts / SECOND) * SECOND
    }

    /// Whom, and how much: at most so many satoshi.
    fn payee(&self, sort: Sort, most: u64, draws: &mut Draws) -> (&'static str, String) {
        match sort {
            Sort::PayoutLightning => {
                let fits = (self.setup.smallest_channel_sat / 100 * IN_FLIGHT_PERCENT).max(2_000);
                let most = if draws.percent(10) {
                    fits * 3
                } else {
                    most.min(fits / 2)
                };
                let amount = sat(draws.between(1_000, most));
                (self.payer(draws), format!("amount = \"{amount}\""))
            }
            Sort::PayoutOnchain => {
                let wallet = draws.pick(&self.setup.wallets).copied().unwrap_or("walt");
                let amount = sat(draws.between(1_000, most));
                let owner = self.setup.bound.iter().find(|(bound, _)| *bound == wallet);
                let payee = match owner {
                    Some((_, party)) if draws.percent(NAMED_PERCENT) => {
                        format!(", payee = \"{party}\"")
                    }
                    _ => String::new(),
                };
                (wallet, format!("amount = \"{amount}\"{payee}"))
            }
            _ => {
                let account = draws
                    .pick(&self.setup.accounts)
                    .copied()
                    .unwrap_or("mill-bank");
                // A satoshi is worth 0.02 to 0.12 cents, by the policy's rate.
                let amount = euro(draws.between(1, most / 25).max(1));
                let funded = if draws.percent(96) {
                    ", funded_by = \"BTC\""
                } else {
                    ""
                };
                (account, format!("amount = \"{amount}\"{funded}"))
            }
        }
    }

    /// A command that must be refused, whatever else happens.
    fn refused(&mut self, number: usize, draws: &mut Draws) {
        let at = draws.between(5, self.lasts / SECOND) * SECOND;
        let party = self.party(draws);
        let wallet = draws.pick(&self.setup.wallets).copied().unwrap_or("walt");
        let account = draws
            .pick(&self.setup.accounts)
            .copied()
            .unwrap_or("mill-bank");
        let payout = |to: &str, rest: &str| {
            format!(
                "payout = {{ id = \"refused-{number}\", from = \"{party}\", to = \"{to}\", {rest} }}"
            )
        };
        let charge = |rest: &str| {
            format!(
                "charge = {{ id = \"refused-{number}\", party = \"{party}\", over = \"onchain\", {rest} }}"
            )
        };
        let text = match draws.between(0, 7) {
            0 => payout(wallet, "amount = \"9 BTC\""),
            1 => payout(wallet, &format!("amount = \"{}\"", sat(DUST_SAT))),
            2 => payout(BAD_ACCOUNT.0, "amount = \"1.00 EUR\", funded_by = \"BTC\""),
            3 => payout(
                account,
                "amount = \"5_000_000.00 EUR\", funded_by = \"EUR\"",
            ),
            4 => payout(wallet, "amount = \"10_000 sat\", deadline = \"8 d\""),
            5 => charge("amount = \"11 BTC\""),
            6 => charge("amount = \"10_000 sat\", expires = \"8 d\""),
            _ => payout(wallet, "amount = \"11 BTC\""),
        };
        self.draft.pointless.push(format!("refused-{number}"));
        self.draft.at(at, &text);
    }

    /// Blocks all along.
    fn chain(&mut self, mut draws: Draws) {
        let slow = draws.between(1, 4);
        let mut at = 0;
        loop {
            at += draws.between(40, 200 * slow) * SECOND;
            if at > self.lasts {
                return;
            }
            let count = if draws.percent(80) {
                1
            } else {
                draws.between(2, 3)
            };
            self.draft.at(at, &format!("mine = \"{}\"", blocks(count)));
        }
    }

    fn fee_market(&mut self, mut draws: Draws) {
        let moves = if draws.percent(35) {
            draws.between(1, 3)
        } else {
            0
        };
        for _ in 0..moves {
            let at = draws.between(5, self.lasts / SECOND) * SECOND;
            self.draft
                .at(at, &format!("fee = \"{} sat/vB\"", draws.between(1, 12)));
        }
    }

    /// Coins go to and fro between the operator's wallets, sometimes more than there are; now and then an address is given
    /// out that nobody pays to.
    fn moves(&mut self, mut draws: Draws) {
        let [hot, other] = self.setup.own_wallets[..] else {
            return;
        };
        // What several people sign for is not moved.
        let back = if other == VAULT { 0 } else { 40 };
        for number in 1..=draws.between(1, 4) {
            let at = draws.between(5, self.lasts / SECOND) * SECOND;
            let (from, to) = if draws.percent(100 - back) {
                (hot, other)
            } else {
                (other, hot)
            };
            let amount = sat(draws.between(1, 4_000) * 1_000);
            self.draft.at(
                at,
                &format!(
                    "move = {{ id = \"move-{number}\", from = \"{from}\", to = \"{to}\", amount = \"{amount}\" }}"
                ),
            );
        }
        if draws.percent(30) {
            let at = draws.between(5, self.lasts / SECOND) * SECOND;
            self.draft.at(at, &format!("address = \"{other}\""));
        }
        if self.setup.few_addresses {
            // Two in a row: the second is one too many if nobody has paid to the first.
            let at = draws.between(5, self.lasts / SECOND) * SECOND;
            for at in [at, at + 2 * SECOND] {
                self.draft.at(at, &format!("address = \"{other}\""));
            }
        }
    }

    fn reconciliations(&mut self, mut draws: Draws) {
        let runs = if draws.percent(50) {
            draws.between(1, 3)
        } else {
            0
        };
        for number in 1..=runs {
            let at = draws.between(30, self.lasts / SECOND) * SECOND;
            self.draft
                .at(at, &format!("reconcile = {{ id = \"run-{number}\" }}"));
        }
        if draws.percent(15) {
            let at = draws.between(30, self.lasts / SECOND) * SECOND;
            self.draft.wait(at, draws.between(1, 20) * SECOND);
        }
    }
}

/// Faults alone let no deadline pass, but over Lightning: there one that has passed decides nothing, and some are so short
/// that the payment is still on its way.
fn deadline(sort: Sort, draws: &mut Draws) -> u64 {
    let least = u64::from(SHORTEST_DEADLINE_S) / 60;
    let usual = draws.between(least, 3 * least) * MINUTE;
    match draws.percent(30) {
        true if sort == Sort::PayoutLightning => draws.between(2, 40) * 10,
        _ => usual,
    }
}

/// After the last fault everything becomes final: the fee market is calm and blocks come until all is deep.
fn tail(draft: &mut Draft, setup: &Setup, profile: &Profile) {
    let mut at = draft.last() + u64::from(profile.faults.longest_s) * SECOND + MINUTE;
    let mut tail = vec![line(at, "fee = \"1 sat/vB\"")];
    for _ in 0..setup.deepest + 2 {
        at += MINUTE;
        tail.push(line(at, "mine = \"1 block\""));
    }
    draft.tail = tail;
}
