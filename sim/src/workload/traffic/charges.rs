//! Owns the charges of a plan and how they are paid: in time, late, twice, too little, too much, by somebody who changes his
//! mind, or not at all. Does not own payouts nor what else happens (`traffic`).

use super::{IN_FLIGHT_PERCENT, MINUTE, SECOND, Traffic};
use crate::workload::draws::Draws;
use crate::workload::text::{sat, span};

/// Of a hundred Lightning charges, so many ask for a price of the list.
const PRICED_PERCENT: u32 = 40;

impl Traffic<'_> {
    pub(super) fn price_list(&mut self, mut draws: Draws) {
        self.prices = (0..2).map(|_| self.lightning_sat(&mut draws)).collect();
    }

    /// When a charge begins: early, so that there is money to pay out.
    fn early(&self, number: usize, draws: &mut Draws) -> u64 {
        let latest = if number == 1 {
            MINUTE
        } else {
            self.lasts * 7 / 10
        };
        draws.between(5, latest / SECOND) * SECOND
    }

    fn lightning_sat(&self, draws: &mut Draws) -> u64 {
        let fits = self.setup.smallest_channel_sat / 100 * IN_FLIGHT_PERCENT;
        match draws.between(0, 9) {
            // Dust HTLCs, and more than a single path takes.
            0 => draws.between(1, 700),
            1 => draws.between(fits / 2, fits * 3),
            _ => draws.between(1_000, fits / 2),
        }
    }

    /// What a charge over Lightning asks for.
    fn price(&self, draws: &mut Draws) -> u64 {
        match draws.pick(&self.prices) {
            Some(price) if draws.percent(PRICED_PERCENT) => *price,
            _ => self.lightning_sat(draws),
        }
    }

    pub(super) fn lightning_charge(&mut self, number: usize, draws: &mut Draws) {
        let (at, party, payer) = (
            self.early(number, draws),
            self.party(draws),
            self.payer(draws),
        );
        let (id, amount) = (format!("charge-{number}"), self.price(draws));
        if draws.percent(20) {
            self.expect(party, amount);
            return self.draft.at(
                at,
                &format!("pay = {{ id = \"{id}\", from = \"{payer}\", to = \"{party}\", amount = \"{}\" }}", sat(amount)),
            );
        }
        let pays = at + hesitation(draws);
        let fate = draws.between(0, 99);
        let expires = if (84..92).contains(&fate) {
            5 * MINUTE
        } else {
            draws.between(10, 60) * MINUTE
        };
        let (asked, given) = match self.is_open(number) {
            true => ("any".to_owned(), format!(", amount = \"{}\"", sat(amount))),
            false => (sat(amount), String::new()),
        };
        self.charge(
            at,
            (&id, party),
            &asked,
            &format!("over = \"lightning\", expires = \"{}\"", span(expires)),
        );
        let pay = format!("pay = {{ charge = \"{id}\", from = \"{payer}\"{given} }}");
        match fate {
            0..76 => {
                self.expect(party, amount);
                self.draft.at(pays, &pay);
            }
            // Twice, late, never.
            76..84 => {
                self.expect(party, amount);
                self.draft.at(pays, &pay);
                self.draft.at(pays + draws.between(0, 30) * SECOND, &pay);
            }
            84..92 => self
                .draft
                .at(at + expires + draws.between(0, 90) * SECOND, &pay),
            _ => {}
        }
    }

    pub(super) fn charge(&mut self, at: u64, (id, party): (&str, &str), amount: &str, rest: &str) {
        self.draft.at(
            at,
            &format!(
                "charge = {{ id = \"{id}\", party = \"{party}\", amount = \"{amount}\", {rest} }}"
            ),
        );
    }

    pub(super) fn held_charge(&mut self, number: usize, draws: &mut Draws) {
        let (at, party, payer) = (
            self.early(number, draws),
            self.party(draws),
            self.payer(draws),
        );
        let (id, amount) = (format!("held-{number}"), self.price(draws));
        let expires = span(draws.between(10, 60) * MINUTE);
        self.charge(
            at,
            (&id, party),
            &sat(amount),
            &format!("over = \"lightning\", hold = true, expires = \"{expires}\""),
        );
        let pays = at + hesitation(draws);
        self.draft.at(
            pays,
            &format!("pay = {{ charge = \"{id}\", from = \"{payer}\" }}"),
        );
        let decided = pays + draws.between(2, 240) * SECOND;
        match draws.between(0, 99) {
            0..60 => {
                self.expect(party, amount);
                self.draft.at(decided, &format!("release = \"{id}\""));
            }
            60..88 => self.draft.at(decided, &format!("refuse = \"{id}\"")),
            // Left to the margin before its claim deadline.
            _ => {}
        }
    }

    pub(super) fn onchain_charge(&mut self, number: usize, draws: &mut Draws) {
        let (at, party) = (self.early(number, draws), self.party(draws));
        let id = format!("charge-{number}");
        let most = if draws.percent(15) { 40_000 } else { 1_200 };
        let amount = draws.between(20, most) * 1_000 + draws.between(0, 999);
        let fate = draws.between(0, 99);
        let expires = if (76..84).contains(&fate) {
            5 * MINUTE
        } else {
            draws.between(20, 90) * MINUTE
        };
        let (invoice, by_invoice) = self.both_ways(number);
        self.charge(
            at,
            (&id, party),
            &sat(amount),
            &format!(
                "over = \"onchain\", expires = \"{}\"{}{invoice}",
                span(expires),
                self.setup.refund_to(number)
            ),
        );
        if let Some(after) = by_invoice {
            let node = self.setup.outsiders[number % self.setup.outsiders.len()];
            let pay = format!("pay = {{ charge = \"{id}\", from = \"{node}\" }}");
            self.draft.at(at + after * SECOND, &pay);
        }
        let wallet = self.payer_wallet(party, draws);
        let feerate = if draws.percent(30) {
            format!(", feerate = \"{} sat/vB\"", draws.between(1, 12))
        } else {
            String::new()
        };
        let pay = |paid: u64| {
            let other = if paid == amount {
                String::new()
            } else {
                format!(", amount = \"{}\"", sat(paid))
            };
            format!("pay = {{ charge = \"{id}\", from = \"{wallet}\"{other}{feerate} }}")
        };
        let pays = at + draws.between(1, 120) * SECOND;
        self.unconfirmed.push(pays);
        match fate {
            0..56 => {
                self.expect(party, amount);
                self.draft.at(pays, &pay(amount));
            }
            // Too little, perhaps the rest later; too much; late; twice; never.
            56..66 => {
                let short = (amount * draws.between(10, 95) / 100).max(1_000);
                self.draft.at(pays, &pay(short));
                if draws.percent(50) {
                    self.draft.at(
                        pays + draws.between(5, 600) * SECOND,
                        &pay((amount - short).max(1_000)),
                    );
                }
            }
            66..76 => {
                self.expect(party, amount);
                self.draft
                    .at(pays, &pay(amount + amount * draws.between(1, 150) / 100));
            }
            76..84 => self
                .draft
                .at(at + expires + draws.between(0, 600) * SECOND, &pay(amount)),
            84..94 => {
                self.expect(party, amount);
                self.draft.at(pays, &pay(amount));
                self.draft
                    .at(pays + draws.between(0, 600) * SECOND, &pay(amount));
            }
            _ => {}
        }
        if fate < 66 && draws.percent(15) {
            let changed = pays + draws.between(2, 90) * SECOND;
            let (to, paid) = self.other_mind((&id, amount), changed, draws);
            self.draft.at(
                changed,
                &format!(
                    "pay = {{ charge = \"{to}\", from = \"{wallet}\", amount = \"{}\", instead_of = \"{id}\" }}",
                    sat(paid)
                ),
            );
        }
        self.last_onchain = Some((id, at));
    }

    /// What a payer pays who replaces his payment of a charge: more, less, the same, or somebody else.
    fn other_mind(&self, (id, amount): (&str, u64), at: u64, draws: &mut Draws) -> (String, u64) {
        match (draws.between(0, 3), &self.last_onchain) {
            (0, _) => (id.to_owned(), amount + amount * draws.between(1, 50) / 100),
            (1, _) => (
                id.to_owned(),
                (amount * draws.between(10, 95) / 100).max(1_000),
            ),
            (2, Some((other, made))) if *made < at => (other.clone(), amount),
            _ => (id.to_owned(), amount),
        }
    }
}

/// How long a payer takes: mostly seconds, so that charges wait in each other's company now and then.
fn hesitation(draws: &mut Draws) -> u64 {
    match draws.percent(70) {
        true => draws.between(1, 20) * SECOND,
        false => draws.between(20, 300) * SECOND,
    }
}
