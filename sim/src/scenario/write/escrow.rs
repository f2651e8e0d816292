//! Owns writing the words about escrows. Does not own the others (`steps`).

use super::{Inline, NameSpace, Writer, amounts};
use crate::scenario::escrow::{EscrowDecision, EscrowOfCharge, EscrowShare, EscrowVerdict};

impl Writer<'_> {
    pub(super) fn in_escrow(&self, escrow: &EscrowOfCharge) -> String {
        let mut table = Inline::default();
        table.text("id", escrow.id.as_str());
        table.text("agent", self.name(NameSpace::Party, escrow.agent.as_str()));
        table.end()
    }

    pub(super) fn decide(&self, decision: &EscrowDecision) -> (&'static str, String) {
        let mut table = Inline::default();
        table.text("escrow", decision.escrow.as_str());
        let shares = match &decision.verdict {
            EscrowVerdict::Release => {
                table.text("verdict", "release");
                &[][..]
            }
            EscrowVerdict::Refuse => {
                table.text("verdict", "refuse");
                &[][..]
            }
            EscrowVerdict::Split(shares) => {
                table.text("verdict", "split");
                &shares[..]
            }
        };
        if !shares.is_empty() {
            let shares: Vec<String> = shares.iter().map(|share| self.share(share)).collect();
            table.put("shares", format!("[{}]", shares.join(", ")));
        }
        let signer = decision.signer.as_ref();
        table.maybe(
            "signer",
            signer.map(|party| self.name(NameSpace::Party, party.as_str())),
        );
        table.flag("altered", decision.altered);
        if decision.times > 1 {
            table.put("times", decision.times.to_string());
        }
        ("decide", table.end())
    }

    fn share(&self, share: &EscrowShare) -> String {
        let mut table = Inline::default();
        table.text("charge", self.payment(&share.charge));
        table.text("payee", amounts::msat(share.payee));
        table.text("payer", amounts::msat(share.payer));
        let to = share.to.as_ref();
        table.maybe(
            "to",
            to.map(|node| self.name(NameSpace::Outside, node.as_str())),
        );
        table.end()
    }
}
