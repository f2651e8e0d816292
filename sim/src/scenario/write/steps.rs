//! Owns writing a step: its time, its verb and what that takes. Does not own the trouble of families (`trouble`) nor
//! amounts (`amounts`).

use super::{Inline, NameSpace, Writer, amounts, list};
use crate::scenario::channels::ChannelStep;
use crate::scenario::choice::{Asset, RejectCode};
use crate::scenario::display::OPERATOR;
use crate::scenario::invoicing::{InvoiceKind, PaidInvoice, Saying};
use crate::scenario::model::{
    Action, Charge, Expectation, GatewayFault, GatewayFaultKind, Millis, OnchainAmount, Pay, Payee,
    Payer, PaymentName, Payout, Reorg, Request, Step, WalletName,
};
use crate::scenario::own_wallets::OwnStep;
use crate::scenario::trouble::{About, Layer0Fault};

/// Default of `expires` and `deadline`, in ms.
const ONE_HOUR_MS: u64 = 3_600_000;

/// Default of a return's `after`, in ms.
const ONE_MINUTE_MS: u64 = 60_000;

fn unless_an_hour(span: Millis) -> Option<String> {
    (span.get() != ONE_HOUR_MS).then(|| amounts::span(span))
}

fn unless_once(table: &mut Inline, key: &str, times: u32) {
    if times != 1 {
        table.put(key, times.to_string());
    }
}

impl Writer<'_> {
    fn layer0(&self, fault: &Layer0Fault) -> String {
        let mut table = Inline::default();
        table.text("fault", fault.kind.name());
        match &fault.about {
            About::Party(party) => {
                table.text("party", self.name(NameSpace::Party, party.as_str()));
            }
            About::Payment(payment) => table.text("on", self.payment(payment)),
        }
        table.maybe("by", fault.kind.by().map(amounts::span));
        unless_once(&mut table, "times", fault.kind.times().unwrap_or(1));
        table.end()
    }

    pub(super) fn step(&self, step: &Step) -> String {
        let mut table = Inline::default();
        table.maybe("at", step.at.map(amounts::span));
        let (verb, value) = self.action(&step.action);
        table.put(verb, value);
        table.maybe("only", step.only.map(|world| world.to_string()));
        table.end()
    }

    fn action(&self, action: &Action) -> (&'static str, String) {
        match action {
            Action::Charge(charge) => ("charge", self.charge(charge)),
            Action::Pay(pay) => ("pay", self.pay(pay)),
            Action::Payout(payout) => ("payout", self.payout(payout)),
            Action::Enrol { party } => {
                let name = self.name(NameSpace::Party, party.as_str());
                ("enrol", super::quoted(&name))
            }
            Action::Binding(step) => self.binding_step(step),
            Action::Own(step) => self.own_step(step),
            Action::Channel(step) => self.channel_step(step),
            Action::Sweep { wallet } => ("sweep", super::quoted(wallet.as_str())),
            Action::Release { charge } => ("release", super::quoted(&self.payment(charge))),
            Action::Refuse { charge } => ("refuse", super::quoted(&self.payment(charge))),
            Action::Decide(decision) => self.decide(decision),
            Action::Mine { blocks } => ("mine", super::quoted(&blocks.to_string())),
            Action::Reorg(reorg) => ("reorg", self.reorg(reorg)),
            Action::CrashNode { node, down_for } => {
                let mut table = Inline::default();
                table.text("node", self.name(NameSpace::Outside, node.as_str()));
                table.maybe("for", down_for.map(amounts::span));
                ("crash", table.end())
            }
            Action::RestartNode { node } => {
                let mut table = Inline::default();
                table.text("node", self.name(NameSpace::Outside, node.as_str()));
                ("restart", table.end())
            }
            Action::CrashEngine { point, on } => {
                let mut table = Inline::default();
                table.text("engine", point.as_str());
                table.text("on", self.payment(on));
                ("crash", table.end())
            }
            Action::Trouble(trouble) => self.trouble(trouble),
            Action::Gateway(fault) => ("gateway", self.gateway(fault)),
            Action::Layer0(fault) => ("layer0", self.layer0(fault)),
            Action::Fee { feerate } => ("fee", super::quoted(&feerate.to_string())),
            Action::Wait { span } => ("wait", super::quoted(&amounts::span(*span))),
            Action::Reconcile { run } => {
                let mut table = Inline::default();
                table.text("id", self.name(NameSpace::Run, run.as_str()));
                ("reconcile", table.end())
            }
            Action::Expect(expectation) => ("expect", self.expect(expectation)),
        }
    }

    fn channel_step(&self, step: &ChannelStep) -> (&'static str, String) {
        let channel = self.name(NameSpace::Channel, step.channel().as_str());
        match step {
            ChannelStep::Open { .. } => ("open", super::quoted(&channel)),
            ChannelStep::Close { by, force, .. } => {
                let mut table = Inline::default();
                table.text("channel", channel);
                table.text("by", self.name(NameSpace::Outside, by.as_str()));
                if *force {
                    table.put("force", "true");
                }
                ("close", table.end())
            }
        }
    }

    fn own_step(&self, step: &OwnStep) -> (&'static str, String) {
        let mut table = Inline::default();
        match step {
            OwnStep::Move {
                id,
                from,
                to,
                amount,
            } => {
                table.text("id", self.payment(id));
                table.text("from", from.as_str());
                table.text("to", to.as_str());
                table.text("amount", amounts::sat(*amount));
                ("move", table.end())
            }
            OwnStep::Address { wallet } => ("address", super::quoted(wallet.as_str())),
            OwnStep::Recover { wallet } => ("recover", super::quoted(wallet.as_str())),
            OwnStep::Restore => ("restore", super::quoted("engine")),
            OwnStep::Label {
                charge,
                text,
                spendable,
            } => {
                table.text("charge", self.payment(charge));
                table.maybe("text", text.clone());
                if let Some(spendable) = spendable {
                    table.put("spendable", spendable.to_string());
                }
                ("label", table.end())
            }
        }
    }

    pub(super) fn payment(&self, name: &PaymentName) -> String {
        let made = name.made_by_step();
        let rest = &name.as_str()[made.len()..];
        self.name(NameSpace::Payment, made) + rest
    }

    fn charge(&self, charge: &Charge) -> String {
        let mut table = Inline::default();
        table.text("id", self.payment(&charge.id));
        table.text("party", self.name(NameSpace::Party, charge.party.as_str()));
        table.text("amount", requested(&charge.request));
        table.text("over", charge.request.rail().as_str());
        let says = match &charge.request {
            Request::Lightning { hold, says, .. } => {
                table.flag("hold", *hold);
                says
            }
            Request::Onchain { invoice, says, .. } => {
                table.flag("invoice", *invoice);
                says
            }
        };
        match says {
            Some(Saying::Words(words)) => table.text("description", words),
            Some(Saying::HashOf(words)) => table.text("description_hash", words),
            None => {}
        }
        table.maybe("expires", unless_an_hour(charge.expires));
        if let Request::Onchain { wallet, .. } = &charge.request {
            table.maybe("wallet", wallet.as_ref().map(ToString::to_string));
        }
        let wallet = |wallet: &WalletName| self.name(NameSpace::Outside, wallet.as_str());
        table.maybe("refund_to", charge.refund_to.as_ref().map(wallet));
        if let Some(escrow) = &charge.escrow {
            table.put("escrow", self.in_escrow(escrow));
        }
        table.end()
    }

    fn pay(&self, pay: &Pay) -> String {
        let mut table = Inline::default();
        let from = match &pay.payer {
            Payer::Node { node, .. } => node.as_str(),
            Payer::Wallet { wallet, .. } => wallet.as_str(),
        };
        let from = self.name(NameSpace::Outside, from);
        match &pay.opens {
            Some(charge) => {
                table.text("id", self.payment(&charge.id));
                table.text("from", from);
                table.text("to", self.name(NameSpace::Party, charge.party.as_str()));
                table.text("amount", requested(&charge.request));
            }
            None => {
                table.text("charge", self.payment(&pay.charge));
                table.text("from", from);
                table.maybe("amount", instead(&pay.payer));
            }
        }
        match &pay.payer {
            Payer::Node {
                route: Some(route), ..
            } => {
                let via: Vec<String> = route
                    .via
                    .iter()
                    .map(|node| self.name(NameSpace::Outside, node.as_str()))
                    .collect();
                table.put("via", list(via.iter().map(String::as_str)));
                table.text("final_cltv", route.final_cltv.to_string());
            }
            Payer::Node { route: None, .. } => {}
            Payer::Wallet {
                feerate,
                instead_of,
                ..
            } => {
                table.maybe("feerate", feerate.map(|rate| rate.to_string()));
                let first = instead_of.as_ref().map(|first| self.payment(first));
                table.maybe("instead_of", first);
            }
        }
        table.end()
    }

    fn payout(&self, payout: &Payout) -> String {
        let mut table = Inline::default();
        table.text("id", self.payment(&payout.id));
        table.text("from", self.name(NameSpace::Party, payout.from.as_str()));
        let (to, amount, funded_by) = match &payout.payee {
            Payee::Node { node, amount, .. } => (node.as_str(), amounts::msat(*amount), None),
            Payee::Wallet { wallet, amount, .. } => {
                let amount = match amount {
                    OnchainAmount::Exactly(amount) => amounts::sat(*amount),
                    OnchainAmount::All => amount.to_string(),
                };
                (wallet.as_str(), amount, None)
            }
            Payee::Account {
                account,
                amount,
                funded_by,
            } => (account.as_str(), amounts::cents(*amount), Some(*funded_by)),
        };
        table.text("to", self.name(NameSpace::Outside, to));
        table.text("amount", amount);
        let funded_by = funded_by.filter(|asset| *asset != Asset::Eur);
        table.maybe("funded_by", funded_by.map(|asset| asset.to_string()));
        table.maybe("deadline", unless_an_hour(payout.deadline));
        let bound_to = payout.bound_to.as_ref();
        table.maybe(
            "payee",
            bound_to.map(|party| self.name(NameSpace::Party, party.as_str())),
        );
        match &payout.payee {
            Payee::Wallet { out_of, .. } => {
                table.maybe("wallet", out_of.as_ref().map(ToString::to_string));
            }
            Payee::Node {
                invoice, routing, ..
            } => {
                match invoice {
                    PaidInvoice::Made(InvoiceKind::Plain) => {}
                    PaidInvoice::Made(kind) => table.text("invoice", kind.as_str()),
                    PaidInvoice::Of(payment) => table.text("invoice_of", self.payment(payment)),
                }
                table.maybe("max_fee", routing.max_fee.map(amounts::msat));
                table.maybe("retry", routing.retry.map(amounts::span));
            }
            Payee::Account { .. } => {}
        }
        table.end()
    }

    fn reorg(&self, reorg: &Reorg) -> String {
        let mut table = Inline::default();
        table.put("depth", reorg.depth.get().to_string());
        table.put("then", reorg.then.get().to_string());
        if !reorg.drop.is_empty() {
            let dropped: Vec<String> = reorg.drop.iter().map(|name| self.payment(name)).collect();
            table.put("drop", list(dropped.iter().map(String::as_str)));
        }
        table.flag("keep", reorg.keep);
        table.end()
    }

    fn gateway(&self, fault: &GatewayFault) -> String {
        let mut table = Inline::default();
        table.text("fault", gateway_fault(&fault.kind));
        table.text("on", self.payment(&fault.on));
        match &fault.kind {
            GatewayFaultKind::LoseRequest { times }
            | GatewayFaultKind::LoseResponse { times }
            | GatewayFaultKind::CutBody { times }
            | GatewayFaultKind::ServerError { times }
            | GatewayFaultKind::TooManyRequests { times } => {
                unless_once(&mut table, "times", *times);
            }
            GatewayFaultKind::SlowResponse { by }
            | GatewayFaultKind::SlowBody { by }
            | GatewayFaultKind::DelayWebhook { by } => table.text("by", amounts::span(*by)),
            GatewayFaultKind::Reject { code } => {
                let code = (*code != RejectCode::InsufficientFunds).then(|| code.to_string());
                table.maybe("code", code);
            }
            GatewayFaultKind::Return { reason, after } => {
                table.maybe("reason", (reason != "AC04").then(|| reason.clone()));
                let after = (after.get() != ONE_MINUTE_MS).then(|| amounts::span(*after));
                table.maybe("after", after);
            }
            GatewayFaultKind::ForgetKey
            | GatewayFaultKind::DuplicateWebhook
            | GatewayFaultKind::ReorderWebhooks
            | GatewayFaultKind::DropWebhook
            | GatewayFaultKind::WrongSignature
            | GatewayFaultKind::ForgedWebhook
            | GatewayFaultKind::WrongAmount => {}
        }
        table.end()
    }

    fn expect(&self, expectation: &Expectation) -> String {
        let mut table = Inline::default();
        match expectation {
            Expectation::Payment {
                payment,
                state,
                within,
                reason,
            } => {
                table.text("payment", self.payment(payment));
                table.text("state", state.as_str());
                table.maybe("reason", reason.map(|reason| reason.to_string()));
                table.maybe("within", within.map(amounts::span));
            }
            Expectation::Enrolment {
                party,
                state,
                within,
            } => {
                table.text("enrolment", self.name(NameSpace::Party, party.as_str()));
                table.text("state", state.as_str());
                table.maybe("within", within.map(amounts::span));
            }
            Expectation::Stated {
                payment,
                outcome,
                times,
                within,
            } => {
                table.text("stated", self.payment(payment));
                table.text("outcome", outcome.as_str());
                unless_once(&mut table, "times", *times);
                table.maybe("within", within.map(amounts::span));
            }
            Expectation::Reputation { party, score } => {
                table.text("reputation", self.name(NameSpace::Party, party.as_str()));
                table.put("score", score.to_string());
            }
            Expectation::Party { party, btc, eur } => {
                table.text("party", self.name(NameSpace::Party, party.as_str()));
                table.maybe("btc", btc.map(amounts::btc_balance));
                table.maybe("eur", eur.map(amounts::eur_balance));
            }
            Expectation::Channel { .. }
            | Expectation::ChannelStage { .. }
            | Expectation::Node { .. }
            | Expectation::Forwarded { .. }
            | Expectation::Htlc { .. }
            | Expectation::Wallet { .. }
            | Expectation::OwnWallet { .. }
            | Expectation::Account { .. } => self.expect_outside(expectation, &mut table),
            Expectation::Run { run, breaks } => {
                table.text("run", self.name(NameSpace::Run, run.as_str()));
                table.put("breaks", breaks.to_string());
            }
            Expectation::Binding {
                binding,
                state,
                within,
            } => {
                table.text("binding", binding.as_str());
                table.text("state", state.as_str());
                table.maybe("within", within.map(amounts::span));
            }
            Expectation::Executed { payout, times } => {
                table.text("executed", self.payment(payout));
                table.put("times", times.to_string());
            }
            Expectation::Confirmations { payment, at_least } => {
                let mut depth = Inline::default();
                depth.text("payment", self.payment(payment));
                depth.put("at_least", at_least.to_string());
                table.put("confirmations", depth.end());
            }
        }
        table.end()
    }

    /// What somebody outside must hold, earn or offer.
    fn expect_outside(&self, expectation: &Expectation, table: &mut Inline) {
        match expectation {
            Expectation::Channel {
                channel,
                end,
                balance,
            } => {
                table.text("channel", self.name(NameSpace::Channel, channel.as_str()));
                table.text("end", self.name(NameSpace::Outside, end.as_str()));
                table.text("balance", amounts::msat(*balance));
            }
            Expectation::ChannelStage {
                channel,
                stage,
                within,
            } => {
                table.text("channel", self.name(NameSpace::Channel, channel.as_str()));
                table.text("state", stage.as_str());
                table.maybe("within", within.map(amounts::span));
            }
            Expectation::Node { node, balance } => {
                table.text("node", self.name(NameSpace::Outside, node.as_str()));
                table.text("balance", amounts::sat(*balance));
            }
            Expectation::Forwarded { node, fee } => {
                let mut forwarded = Inline::default();
                forwarded.text("node", self.name(NameSpace::Outside, node.as_str()));
                forwarded.text("fee", amounts::fee(*fee));
                table.put("forwarded", forwarded.end());
            }
            Expectation::Htlc {
                channel,
                amount,
                cltv_delta,
            } => {
                let mut htlc = Inline::default();
                htlc.text("channel", self.name(NameSpace::Channel, channel.as_str()));
                htlc.text("amount", amounts::fee(*amount));
                htlc.put("cltv_delta", cltv_delta.get().to_string());
                table.put("htlc", htlc.end());
            }
            Expectation::Wallet { wallet, balance } => {
                table.text("wallet", self.name(NameSpace::Outside, wallet.as_str()));
                table.text("balance", amounts::sat(*balance));
            }
            Expectation::OwnWallet { wallet, balance } => {
                table.text("wallet", wallet.as_own());
                table.text("balance", amounts::sat(*balance));
            }
            Expectation::Account { account, balance } => {
                let account = account.as_ref().map(|account| account.as_str());
                table.text("account", self.or_operator(account));
                table.text("balance", amounts::cents(*balance));
            }
            _ => {}
        }
    }

    fn or_operator(&self, name: Option<&str>) -> String {
        name.map_or_else(
            || OPERATOR.to_owned(),
            |name| self.name(NameSpace::Outside, name),
        )
    }
}

/// Its name, as in files.
fn gateway_fault(kind: &GatewayFaultKind) -> &'static str {
    match kind {
        GatewayFaultKind::LoseRequest { .. } => "lose-request",
        GatewayFaultKind::LoseResponse { .. } => "lose-response",
        GatewayFaultKind::SlowResponse { .. } => "slow-response",
        GatewayFaultKind::SlowBody { .. } => "slow-body",
        GatewayFaultKind::CutBody { .. } => "cut-body",
        GatewayFaultKind::ServerError { .. } => "server-error",
        GatewayFaultKind::TooManyRequests { .. } => "too-many-requests",
        GatewayFaultKind::ForgetKey => "forget-key",
        GatewayFaultKind::DuplicateWebhook => "duplicate-webhook",
        GatewayFaultKind::DelayWebhook { .. } => "delay-webhook",
        GatewayFaultKind::ReorderWebhooks => "reorder-webhooks",
        GatewayFaultKind::DropWebhook => "drop-webhook",
        GatewayFaultKind::WrongSignature => "wrong-signature",
        GatewayFaultKind::ForgedWebhook => "forged-webhook",
        GatewayFaultKind::WrongAmount => "wrong-amount",
        GatewayFaultKind::Reject { .. } => "reject",
        GatewayFaultKind::Return { .. } => "return",
    }
}

fn requested(request: &Request) -> String {
    match request {
        Request::Lightning { amount, .. } => amount.map_or("any".to_owned(), amounts::msat),
        Request::Onchain { amount, .. } => amounts::sat(*amount),
    }
}

/// What is paid instead of what is asked.
fn instead(payer: &Payer) -> Option<String> {
    match payer {
        Payer::Node { amount, .. } => amount.map(amounts::msat),
        Payer::Wallet { amount, .. } => amount.map(amounts::sat),
    }
}
