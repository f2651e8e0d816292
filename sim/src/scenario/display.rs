//! Owns the canonical one-line text of a step, the heading under which traces list what it caused. Worlds and runs must
//! agree on it to the byte. Does not own the text of single amounts (`units`).

use super::invoicing::{InvoiceKind, PaidInvoice, Saying};
use super::model::{
    Action, Charge, Expectation, OnchainAmount, OwnWalletName, Pay, Payee, Payer, Payout, Reorg,
    Request, Step,
};
use std::fmt::{self, Display, Formatter};

/// ` word value`, or nothing.
fn optional(f: &mut Formatter<'_>, word: &str, value: &Option<impl Display>) -> fmt::Result {
    value
        .as_ref()
        .map_or(Ok(()), |value| write!(f, " {word} {value}"))
}

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(at) = self.at {
            write!(f, "at {at}: ")?;
        }
        write!(f, "{}", self.action)?;
        optional(f, "only in", &self.only)
    }
}

impl Display for Action {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Charge(charge) => write!(f, "charge {charge}"),
            Self::Pay(pay) => write!(f, "pay {pay}"),
            Self::Payout(payout) => write!(f, "payout {payout}"),
            Self::Enrol { party } => write!(f, "enrol {party}"),
            Self::Binding(step) => write!(f, "{step}"),
            Self::Own(step) => write!(f, "{step}"),
            Self::Channel(step) => write!(f, "{step}"),
            Self::Sweep { wallet } => write!(f, "sweep {wallet}"),
            Self::Release { charge } => write!(f, "release {charge}"),
            Self::Refuse { charge } => write!(f, "refuse {charge}"),
            Self::Decide(decision) => write!(f, "{decision}"),
            Self::Mine { blocks } => write!(f, "mine {blocks}"),
            Self::Reorg(reorg) => write!(f, "reorg {reorg}"),
            Self::CrashNode { node, down_for } => {
                write!(f, "crash node {node}")?;
                optional(f, "for", down_for)
            }
            Self::RestartNode { node } => write!(f, "restart node {node}"),
            Self::CrashEngine { point, on } => write!(f, "crash engine {point} on {on}"),
            Self::Trouble(trouble) => write!(f, "{trouble}"),
            Self::Gateway(fault) => write!(f, "gateway {fault}"),
            Self::Layer0(fault) => write!(f, "layer0 {fault}"),
            Self::Fee { feerate } => write!(f, "fee {feerate}"),
            Self::Wait { span } => write!(f, "wait {span}"),
            Self::Reconcile { run } => write!(f, "reconcile {run}"),
            Self::Expect(expectation) => write!(f, "expect {expectation}"),
        }
    }
}

impl Display for Charge {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} {} expires {}",
            self.id, self.party, self.request, self.expires
        )?;
        optional(f, "refund to", &self.refund_to)?;
        optional(f, "in escrow", &self.escrow)
    }
}

fn said(f: &mut Formatter<'_>, says: &Option<Saying>) -> fmt::Result {
    match says {
        Some(Saying::Words(words)) => write!(f, " for {words:?}"),
        Some(Saying::HashOf(words)) => write!(f, " for the hash of {words:?}"),
        None => Ok(()),
    }
}

impl Display for Request {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lightning { amount, hold, says } => {
                match amount {
                    Some(amount) => write!(f, "{amount} over lightning")?,
                    None => f.write_str("any amount over lightning")?,
                }
                f.write_str(if *hold { " hold" } else { "" })?;
                said(f, says)
            }
            Self::Onchain {
                amount,
                wallet,
                invoice,
                says,
            } => {
                write!(f, "{amount} over onchain")?;
                f.write_str(if *invoice { " or by invoice" } else { "" })?;
                said(f, says)?;
                optional(f, "into", wallet)
            }
        }
    }
}

impl Display for Pay {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.charge, self.payer)?;
        match &self.opens {
            Some(charge) => write!(f, " -> {} {}", charge.party, charge.request)?,
            None => self.payer.fmt_amount(f)?,
        }
        match &self.payer {
            Payer::Wallet {
                feerate,
                instead_of,
                ..
            } => {
                optional(f, "at", feerate)?;
                optional(f, "in place of", instead_of)
            }
            Payer::Node {
                route: Some(route), ..
            } => {
                let via: Vec<&str> = route.via.iter().map(|node| node.as_str()).collect();
                write!(f, " via {} final cltv {}", via.join(" "), route.final_cltv)
            }
            Payer::Node { route: None, .. } => Ok(()),
        }
    }
}

impl Payer {
    fn fmt_amount(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node { amount, .. } => optional(f, "instead", amount),
            Self::Wallet { amount, .. } => optional(f, "instead", amount),
        }
    }
}

impl Display for Payer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node { node, .. } => write!(f, "{node}"),
            Self::Wallet { wallet, .. } => write!(f, "{wallet}"),
        }
    }
}

impl Display for Payout {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} -> {} within {}",
            self.id, self.from, self.payee, self.deadline
        )?;
        optional(f, "bound to", &self.bound_to)
    }
}

impl Display for OnchainAmount {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(amount) => write!(f, "{amount}"),
            Self::All => f.write_str("all"),
        }
    }
}

impl Display for Payee {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node {
                node,
                amount,
                invoice,
                routing,
            } => {
                write!(f, "{node} {amount} over lightning")?;
                match invoice {
                    PaidInvoice::Made(InvoiceKind::Plain) => {}
                    PaidInvoice::Made(kind) => write!(f, " invoice {kind}")?,
                    PaidInvoice::Of(payment) => write!(f, " invoice of {payment}")?,
                }
                optional(f, "max fee", &routing.max_fee)?;
                optional(f, "retry", &routing.retry)
            }
            Self::Wallet {
                wallet,
                amount,
                out_of,
            } => {
                write!(f, "{wallet} {amount} over onchain")?;
                optional(f, "out of", out_of)
            }
            Self::Account {
                account,
                amount,
                funded_by,
            } => write!(f, "{account} {amount} over sepa funded by {funded_by}"),
        }
    }
}

impl Display for Reorg {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} then {}", self.depth, self.then)?;
        for (index, payment) in self.drop.iter().enumerate() {
            write!(f, "{}{payment}", if index == 0 { " drop " } else { ", " })?;
        }
        f.write_str(if self.keep { " keep" } else { "" })
    }
}

/// How the operator's own wallet and gateway balance are called.
pub(super) const OPERATOR: &str = "operator";

impl OwnWalletName {
    /// As steps name it among others' wallets: `operator`, `operator/savings`.
    pub(super) fn as_own(&self) -> String {
        if *self == OwnWalletName::hot() {
            OPERATOR.to_owned()
        } else {
            format!("{OPERATOR}/{self}")
        }
    }
}

impl Display for Expectation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Payment {
                payment,
                state,
                within,
                reason,
            } => {
                write!(f, "payment {payment} {state}")?;
                optional(f, "because", reason)?;
                optional(f, "within", within)
            }
            Self::Enrolment {
                party,
                state,
                within,
            } => {
                write!(f, "enrolment {party} {state}")?;
                optional(f, "within", within)
            }
            Self::Stated {
                payment,
                outcome,
                times,
                within,
            } => {
                write!(f, "stated {payment} {outcome} times {times}")?;
                optional(f, "within", within)
            }
            Self::Reputation { party, score } => write!(f, "reputation {party} score {score}"),
            Self::Party { party, btc, eur } => {
                write!(f, "party {party}")?;
                optional(f, "btc", btc)?;
                optional(f, "eur", eur)
            }
            Self::Channel {
                channel,
                end,
                balance,
            } => write!(f, "channel {channel} end {end} balance {balance}"),
            Self::ChannelStage {
                channel,
                stage,
                within,
            } => {
                write!(f, "channel {channel} {stage}")?;
                optional(f, "within", within)
            }
            Self::Node { node, balance } => write!(f, "node {node} balance {balance}"),
            Self::Forwarded { node, fee } => write!(f, "forwarded {node} fee {fee}"),
            Self::Htlc {
                channel,
                amount,
                cltv_delta,
            } => write!(f, "htlc {channel} {amount} cltv delta {cltv_delta}"),
            Self::Wallet { wallet, balance } => write!(f, "wallet {wallet} balance {balance}"),
            Self::OwnWallet { wallet, balance } => {
                write!(f, "wallet {} balance {balance}", wallet.as_own())
            }
            Self::Account { account, balance } => {
                write!(
                    f,
                    "account {} balance {balance}",
                    account.as_ref().map_or(OPERATOR, |name| name.as_str())
                )
            }
            Self::Run { run, breaks } => write!(f, "run {run} breaks {breaks}"),
            Self::Binding {
                binding,
                state,
                within,
            } => {
                write!(f, "binding {binding} {state}")?;
                optional(f, "within", within)
            }
            Self::Executed { payout, times } => write!(f, "executed {payout} times {times}"),
            Self::Confirmations { payment, at_least } => {
                write!(f, "confirmations {payment} at least {at_least}")
            }
        }
    }
}
