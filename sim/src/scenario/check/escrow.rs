//! Owns checking the words about escrows: an agent has a key of its own, an escrow has one agent and one payee and a charge
//! before it is decided, a split has shares. Does not own what becomes of them (the run).

use super::names::{Kind, When, check_text};
use super::steps::StepChecker;
use crate::scenario::choice::DidMethod;
use crate::scenario::escrow::{
    Decide, EscrowDecision, EscrowName, EscrowOfCharge, EscrowShare, EscrowVerdict, InEscrow,
    Share, VerdictWord,
};
use crate::scenario::model::{Action, NodeName, PartyName};
use crate::scenario::read::{At, Optional, Required};
use crate::scenario::text;
use crate::scenario::units::Msat;
use std::ops::Range;

/// More tellings of one decision show nothing new.
const MOST_TIMES: u64 = 9;

impl StepChecker<'_> {
    /// `Some(None)` if it is left out, `None` if it is wrong.
    #[allow(clippy::option_option, reason = "absent and wrong differ")]
    pub(super) fn in_escrow(
        &mut self,
        typed: &Optional<InEscrow>,
    ) -> Option<Option<EscrowOfCharge>> {
        let Some(typed) = typed else {
            return Some(None);
        };
        let name = typed.value.id.0.as_ref();
        let agent = typed.value.agent.0.as_ref();
        let agent = agent.and_then(|agent| self.agent(agent));
        let name = name?;
        check_text(name, false, self.problems);
        let (id, agent) = (EscrowName(name.value.clone()), agent?);
        let first = self.escrows.entry(id.clone()).or_insert(agent.clone());
        if *first != agent {
            let title = format!("escrow `{id}` has another agent");
            let label = format!("`{first}` decides about it");
            let help = "one escrow has one agent: name it, or choose another id";
            self.problems.at(&name.span, title, label, help);
        }
        Some(Some(EscrowOfCharge { id, agent }))
    }

    /// A party whose DID holds its key.
    fn agent(&mut self, name: &At<String>) -> Option<PartyName> {
        let party = self.party_with_did(name)?;
        if self.dids.get(&party) == Some(&DidMethod::Web) {
            let title = format!("the DID of `{party}` does not hold its key");
            let help = format!("define it as `parties.{party} = {{ did = \"key-ed25519\" }}`");
            let label = "nobody could check what it decides";
            self.problems.at(&name.span, title, label, help);
        }
        Some(party)
    }

    pub(super) fn decide(&mut self, typed: &Decide, span: &Range<usize>) -> Option<Action> {
        let name = typed.escrow.0.as_ref()?;
        let escrow = EscrowName(name.value.clone());
        let Some(agent) = self.escrows.get(&escrow).cloned() else {
            let title = format!("there is no escrow `{escrow}`");
            let help = "charge into it by an earlier step: `escrow = { id = …, agent = … }`";
            let label = "no earlier charge is in it";
            self.problems.at(&name.span, title, label, help);
            return None;
        };
        let verdict = self.verdict(typed, span);
        let signer = match &typed.signer {
            Some(signer) => Some(self.agent(signer)?),
            None => None,
        };
        let times = typed.times.as_ref().map_or(1, |times| times.value);
        if !(1..=MOST_TIMES).contains(&times) {
            let help = format!("write a number from 1 to {MOST_TIMES}");
            self.problems
                .at(span, "told so often", "out of range", help);
        }
        Some(Action::Decide(EscrowDecision {
            escrow,
            agent,
            verdict: verdict?,
            signer,
            altered: typed.altered.as_ref().is_some_and(|altered| altered.value),
            times,
        }))
    }

    fn verdict(&mut self, typed: &Decide, span: &Range<usize>) -> Option<EscrowVerdict> {
        let word = typed.verdict.0.as_ref()?.value;
        match (word, &typed.shares) {
            (VerdictWord::Release, None) => Some(EscrowVerdict::Release),
            (VerdictWord::Refuse, None) => Some(EscrowVerdict::Refuse),
            (VerdictWord::Split, Some(shares)) if !shares.value.is_empty() => {
                let shares: Vec<_> = shares.value.iter().map(|share| self.share(share)).collect();
                let mut shares: Vec<_> = shares.into_iter().collect::<Option<_>>()?;
                shares.sort_by(|a: &EscrowShare, b| a.charge.cmp(&b.charge));
                Some(EscrowVerdict::Split(shares))
            }
            (VerdictWord::Release | VerdictWord::Refuse | VerdictWord::Split, _) => {
                let help = "write `shares = [{ charge = …, payee = …, payer = … }]` with \"split\", and only there";
                let title = "a split has shares, and nothing else has";
                self.problems.at(span, title, "who gets how much?", help);
                None
            }
        }
    }

    fn share(&mut self, typed: &At<Share>) -> Option<EscrowShare> {
        let share = &typed.value;
        let name = share.charge.0.as_ref();
        let charge = self
            .names
            .payment(name, When::Before(self.index), self.problems);
        let payee = self.part(&share.payee);
        let payer = self.part(&share.payer);
        let to = match &share.to {
            Some(node) => {
                self.refuse_operator(node, "are paid back");
                let found = self
                    .names
                    .resolve(Kind::Node, NodeName, Some(node), self.problems);
                Some(found?)
            }
            None => None,
        };
        Some(EscrowShare {
            charge: charge?.0,
            payee: payee?,
            payer: payer?,
            to,
        })
    }

    /// It may be zero.
    fn part(&mut self, typed: &Required<text::Amount>) -> Option<Msat> {
        let typed = typed.0.as_ref()?;
        match Msat::parse(&typed.value.0) {
            Ok(amount) => Some(amount),
            Err(error) => {
                let help = "write it like \"60_000 sat\"";
                let title = "what a side gets cannot be read";
                self.problems
                    .at(&typed.span, title, error.to_string(), help);
                None
            }
        }
    }
}
