//! Owns the way of a fact to the payment that it concerns. Does not own whether the fact can be true
//! (`evidence`) nor what the payment makes of it.

use super::bindings;
use super::desk::{Desk, in_msat, msat, wallet_account};
use super::evidence::read_webhook;
use super::fee_desk::FeeDesk;
use super::funds_move::FundsMove;
use super::payout_sepa::Via;
use super::record::{Payment, Status};
use super::till::Till;
use super::wallets::first_look;
use super::{Payments, hex};
use crate::escrow;
use crate::event::{Consequences, Event};
use crate::id::PaymentId;
use crate::identity::DidNews;
use crate::ledger::{Account, Posting};
use crate::money::{Msat, Rail};
use crate::planted::Bug;
use crate::rail::{
    ChainView, Effect, Entropy, Fact, FeesSeen, HttpFailure, Instruction, LightningFailure,
};
use crate::rare::{Rare, sometimes};
use crate::time::Timestamp;

impl Payments {
    /// Acts on a fact that was checked; then refunds are made of what it brought, and shortfalls covered that it left.
    pub fn on_fact(&mut self, now: Timestamp, entropy: Entropy, fact: &Fact) -> Consequences {
        let mut out = self.route(now, entropy, fact);
        for more in [
            self.carry_out_decisions(now, entropy),
            self.make_refunds(now, entropy),
            self.bear_lost_refunds(now),
            self.cover_shortfalls(now),
        ] {
            out.append(more);
        }
        out
    }

    fn route(&mut self, now: Timestamp, entropy: Entropy, fact: &Fact) -> Consequences {
        if let Some(out) = self.on_sweep_fact(now, entropy, fact) {
            return out;
        }
        match fact {
            Fact::Chain(view) => self.on_chain(now, entropy, view),
            Fact::Signed { key, result } if self.is_move(&key.0) => {
                self.by_move(now, entropy, &key.0, |funds_move, desk, _| {
                    funds_move.on_signed(desk, result);
                })
            }
            Fact::Broadcast { key, result } if self.is_move(&key.0) => {
                self.by_move(now, entropy, &key.0, |funds_move, desk, _| {
                    funds_move.on_broadcast(desk, result);
                })
            }
            Fact::Unavailable { key, .. } if self.is_move(&key.0) => {
                self.by_move(now, entropy, &key.0, |funds_move, _, what| {
                    funds_move.on_unavailable(what);
                })
            }
            Fact::Signed { key, result } => self.at_till(now, entropy, |till| {
                let (subject, _) = parts(&key.0);
                till.on_signed(subject, result);
            }),
            Fact::Cosigned { key, result } => self.at_till(now, entropy, |till| {
                let (subject, what) = parts(&key.0);
                till.on_cosigned(subject, what, result);
            }),
            Fact::Broadcast { key, result } => self.at_till(now, entropy, |till| {
                let (subject, what) = parts(&key.0);
                till.on_broadcast(subject, what, result);
                till.bump_all();
            }),
            Fact::InvoiceCreated { key, result } => {
                self.on_invoice_created(now, entropy, &key.0, result)
            }
            Fact::LightningHeld {
                payment_hash,
                amount_msat,
                claim_deadline_height,
            } => self.on_held(
                now,
                entropy,
                payment_hash,
                *amount_msat,
                *claim_deadline_height,
            ),
            Fact::LightningReceived {
                payment_hash,
                amount_msat,
            } => self.on_received(now, entropy, payment_hash, *amount_msat),
            Fact::HeldFailed { payment_hash } => self.on_held_failed(now, entropy, payment_hash),
            Fact::LightningSent {
                payment_hash,
                preimage,
                fee_msat,
            } => self.on_sent(now, entropy, payment_hash, *preimage, *fee_msat),
            Fact::LightningFailed {
                payment_hash,
                reason,
            } => self.on_failed(now, entropy, payment_hash, *reason),
            Fact::HttpResponded { key, status, body } if bindings::owns(&key.0) => {
                self.on_binding_answer(now, &key.0, Some((*status, body)))
            }
            Fact::HttpFailed { key, .. } if bindings::owns(&key.0) => {
                self.on_binding_answer(now, &key.0, None)
            }
            Fact::TimerFired { key } if bindings::owns(&key.0) => {
                self.on_binding_timer(now, entropy, &key.0)
            }
            Fact::HttpResponded { key, status, body } => {
                self.by_key(now, entropy, &key.0, |payment, desk, what| {
                    if let Payment::SepaPayout(payout) = payment {
                        payout.on_response(desk, what, *status, body);
                    }
                })
            }
            Fact::HttpFailed { key, failure } => {
                self.on_http_failed(now, entropy, &key.0, *failure)
            }
            Fact::Webhook { body, .. } => self.on_webhook(now, entropy, body),
            Fact::TimerFired { key } => self.on_timer(now, entropy, &key.0),
            Fact::Unavailable { key, .. } if FeeDesk::owns(key) => self.on_fees(now, entropy, None),
            Fact::Unavailable { key, .. } => self.on_unavailable(now, entropy, &key.0),
            Fact::Fees { seen, .. } => self.on_fees(now, entropy, Some(seen)),
            Fact::Node(view) => self.on_node(now, view),
            Fact::ChannelRefused { id, reason } => self.on_channel_refused(*id, reason),
            // That it is closing shows in the node's next view.
            Fact::ChannelCloseTaken { .. } => Consequences::default(),
            Fact::LightningBalance { .. } | Fact::StatementSigned { .. } => Consequences::default(),
        }
    }

    /// Facts that a recovery waits for.
    fn on_sweep_fact(
        &mut self,
        now: Timestamp,
        entropy: Entropy,
        fact: &Fact,
    ) -> Option<Consequences> {
        if let Fact::Cosigned { key, result } = fact {
            self.with_sweep(now, entropy, key, |sweep, desk, _| {
                sweep.on_cosigned(desk, result)
            })
        } else if let Fact::Broadcast { key, result } = fact {
            self.with_sweep(now, entropy, key, |sweep, desk, _| {
                sweep.on_broadcast(desk, result)
            })
        } else if let Fact::Unavailable { key, .. } = fact {
            self.with_sweep(now, entropy, key, |sweep, _, what| {
                sweep.on_unavailable(what)
            })
        } else {
            None
        }
    }

    /// The backend has said what it knows of fees, or cannot be asked (`None`).
    fn on_fees(
        &mut self,
        now: Timestamp,
        entropy: Entropy,
        seen: Option<&FeesSeen>,
    ) -> Consequences {
        let tip = self.onchain.tip();
        match seen {
            Some(seen) => self.fees.on_answer(seen, now, tip),
            None => self.fees.on_silence(),
        }
        self.at_till(now, entropy, |till| {
            till.build_waiting();
            till.bump_all();
            till.consolidate();
        })
    }

    /// An attempt did not end as far as the host knows; it will try again. Money that the attempt may have moved must
    /// not be freed by what a later attempt says.
    fn on_unavailable(&mut self, now: Timestamp, entropy: Entropy, key: &str) -> Consequences {
        let (subject, what) = parts(key);
        if self.batches.of_subject(subject).is_some() {
            return self.at_till(now, entropy, |till| till.on_unavailable(subject, what));
        }
        self.by_key(now, entropy, key, |payment, desk, what| match payment {
            Payment::SepaPayout(payout) => payout.on_unavailable(desk, what),
            Payment::OnchainPayout(_) => {}
            Payment::LightningCharge(_)
            | Payment::OnchainCharge(_)
            | Payment::LightningPayout(_) => {}
        })
    }

    /// Lets the payment act that the key names; keys are `<payment>/<what>`.
    fn by_key(
        &mut self,
        now: Timestamp,
        entropy: Entropy,
        key: &str,
        act: impl FnOnce(&mut Payment, &mut Desk<'_>, &str),
    ) -> Consequences {
        let Some((payment, what)) = key.split_once('/') else {
            return Consequences::default();
        };
        let Ok(payment) = PaymentId::new(payment) else {
            return Consequences::default();
        };
        self.with(now, entropy, &payment, |record, desk| {
            act(record, desk, what)
        })
    }

    fn is_move(&self, key: &str) -> bool {
        move_of(key).is_some_and(|(id, _)| self.moves.contains_key(&id))
    }

    /// Lets the move of funds act that the key names.
    fn by_move(
        &mut self,
        now: Timestamp,
        entropy: Entropy,
        key: &str,
        act: impl FnOnce(&mut FundsMove, &mut Desk<'_>, &str),
    ) -> Consequences {
        let Some((id, what)) = move_of(key) else {
            return Consequences::default();
        };
        let Some(mut funds_move) = self.moves.remove(&id) else {
            return Consequences::default();
        };
        let mut desk = self.desk(now, entropy);
        act(&mut funds_move, &mut desk, what);
        let out = desk.out;
        self.moves.insert(id, funds_move);
        out
    }

    fn on_invoice_created(
        &mut self,
        now: Timestamp,
        entropy: Entropy,
        key: &str,
        result: &Result<String, String>,
    ) -> Consequences {
        let (mut issued, mut own_node) = (None, None);
        let out = self.by_key(now, entropy, key, |payment, desk, _| {
            let (node, hash, id) = match payment {
                Payment::LightningCharge(charge) => {
                    let node = charge.on_invoice(desk, result);
                    (node, charge.payment_hash, &charge.id)
                }
                Payment::OnchainCharge(charge) => {
                    let node = charge.on_invoice(desk, result);
                    let by_invoice = charge.by_invoice.as_ref();
                    let hash = by_invoice.and_then(|by_invoice| by_invoice.payment_hash);
                    (node, hash, &charge.id)
                }
                Payment::LightningPayout(_)
                | Payment::OnchainPayout(_)
                | Payment::SepaPayout(_) => return,
            };
            own_node = node;
            issued = hash.map(|hash| (hex(&hash), id.clone()));
        });
        self.own_node = own_node.or(self.own_node);
        if let Some((hash, payment)) = issued {
            self.charged_hashes.entry(hash).or_insert(payment);
        }
        out
    }

    fn on_held(
        &mut self,
        now: Timestamp,
        entropy: Entropy,
        hash: &[u8; 32],
        amount: Msat,
        claim_deadline_height: u32,
    ) -> Consequences {
        let text = hex(hash);
        if let Some(payment) = self.charged_hashes.get(&text).cloned() {
            return self.with_lightning_charge(now, entropy, &payment, |charge, desk| {
                charge.on_held(desk, amount, claim_deadline_height);
            });
        }
        // Nobody asked for it: back to its payer.
        sometimes(Rare::StrayHold);
        let key = stray_key(&text);
        self.stray_holds.insert(text);
        let effect = Effect::FailHeld {
            payment_hash: *hash,
        };
        Consequences {
            instructions: vec![Instruction { key, effect }],
            ..Consequences::default()
        }
    }

    fn on_received(
        &mut self,
        now: Timestamp,
        entropy: Entropy,
        hash: &[u8; 32],
        amount: Msat,
    ) -> Consequences {
        let text = hex(hash);
        if let Some(payment) = self.charge_of(&text, amount) {
            return self.with(now, entropy, &payment, |record, desk| match record {
                Payment::LightningCharge(charge) => charge.on_received(desk, amount),
                Payment::OnchainCharge(charge) => charge.on_received(desk, amount),
                Payment::LightningPayout(_)
                | Payment::OnchainPayout(_)
                | Payment::SepaPayout(_) => {}
            });
        }
        if amount == Msat(0) || !self.stray_receipts.insert(text) {
            return Consequences::default();
        }
        sometimes(Rare::StrayReceipt);
        let suspense = Account::Suspense {
            rail: Rail::Lightning,
        };
        let lines = vec![
            (Account::LightningChannels, msat(amount)),
            (suspense, msat(amount).saturating_neg()),
        ];
        let posted = self.ledger.post(Posting {
            at: now,
            payment: None,
            memo: "receipt without a charge",
            lines,
        });
        Consequences {
            events: vec![Event::Posted(posted)],
            ..Consequences::default()
        }
    }

    /// The charge of a payment hash.
    fn charge_of(&self, hash: &str, amount: Msat) -> Option<PaymentId> {
        let open = |payment: &Payment| {
            matches!(payment, Payment::LightningCharge(charge)
                if charge.amount == amount && charge.status() == Status::Issued)
        };
        if self.planted == Some(Bug::CreditWrongParty)
            && let Some((id, _)) = self.records.iter().find(|(_, payment)| open(payment))
        {
            return Some(id.clone());
        }
        self.charged_hashes.get(hash).cloned()
    }

    fn on_held_failed(
        &mut self,
        now: Timestamp,
        entropy: Entropy,
        hash: &[u8; 32],
    ) -> Consequences {
        let text = hex(hash);
        match self.charged_hashes.get(&text).cloned() {
            Some(payment) => self.with_lightning_charge(now, entropy, &payment, |charge, desk| {
                charge.on_sent_back(desk)
            }),
            None => Consequences {
                answered: vec![stray_key(&text)],
                ..Consequences::default()
            },
        }
    }

    fn on_sent(
        &mut self,
        now: Timestamp,
        entropy: Entropy,
        hash: &[u8; 32],
        preimage: [u8; 32],
        fee: Msat,
    ) -> Consequences {
        let Some(payment) = self.paid_hashes.get(&hex(hash)).cloned() else {
            return Consequences::default();
        };
        self.with(now, entropy, &payment, |record, desk| {
            if let Payment::LightningPayout(payout) = record {
                payout.on_sent(desk, preimage, fee);
            }
        })
    }

    fn on_failed(
        &mut self,
        now: Timestamp,
        entropy: Entropy,
        hash: &[u8; 32],
        reason: LightningFailure,
    ) -> Consequences {
        let Some(payment) = self.paid_hashes.get(&hex(hash)).cloned() else {
            return Consequences::default();
        };
        self.with(now, entropy, &payment, |record, desk| {
            if let Payment::LightningPayout(payout) = record {
                payout.on_failed(desk, reason);
            }
        })
    }

    fn on_http_failed(
        &mut self,
        now: Timestamp,
        entropy: Entropy,
        key: &str,
        failure: HttpFailure,
    ) -> Consequences {
        self.by_key(now, entropy, key, |payment, desk, what| {
            if let Payment::SepaPayout(payout) = payment {
                payout.on_no_response(desk, what, failure);
            }
        })
    }

    fn on_webhook(&mut self, now: Timestamp, entropy: Entropy, body: &str) -> Consequences {
        let ignored = |reason: &str| {
            sometimes(Rare::WebhookAboutNothing);
            let event = Event::WebhookIgnored {
                reason: reason.to_owned(),
            };
            Consequences {
                events: vec![event],
                ..Consequences::default()
            }
        };
        if escrow::claims(body) {
            return self.on_decision(now, body);
        }
        if let Some(news) = DidNews::read(body) {
            let out = self.on_did_news(now, entropy, &news);
            return out.unwrap_or_else(|| ignored("about no binding of ours"));
        }
        let checked = read_webhook(body).expect("the webhook was checked on admission");
        let Some(event) = checked else {
            return ignored("of a kind that is not known");
        };
        let reference = PaymentId::new(event.transfer.reference.clone()).ok();
        let payment =
            reference.filter(|id| matches!(self.records.get(id), Some(Payment::SepaPayout(_))));
        let Some(payment) = payment else {
            return ignored("about no payout of ours");
        };
        self.with(now, entropy, &payment, |record, desk| {
            if let Payment::SepaPayout(payout) = record {
                payout.on_news(desk, Via::Webhook, event.transfer);
            }
        })
    }

    /// Asks the gateway about a transfer of ours, wherever its payout stands.
    pub fn ask_about_transfer(
        &mut self,
        now: Timestamp,
        entropy: Entropy,
        reference: &str,
    ) -> Consequences {
        let Ok(payment) = PaymentId::new(reference) else {
            return Consequences::default();
        };
        self.with(now, entropy, &payment, |record, desk| {
            if let Payment::SepaPayout(payout) = record {
                payout.ask(desk);
            }
        })
    }

    fn on_timer(&mut self, now: Timestamp, entropy: Entropy, key: &str) -> Consequences {
        let (subject, what) = parts(key);
        let payout = PaymentId::new(subject)
            .ok()
            .filter(|id| matches!(self.records.get(id), Some(Payment::OnchainPayout(_))));
        if let Some(id) = payout {
            let drops = self.planted == Some(Bug::DropExpiry);
            return self.at_till(now, entropy, |till| match what {
                "deadline" if drops => {}
                "deadline" => till.on_deadline(&id),
                "ripe" => till.build_waiting(),
                _ => till.on_patience(id.as_str(), what),
            });
        }
        self.by_key(now, entropy, key, |payment, desk, what| {
            if matches!(what, "expiry" | "deadline") && desk.has_bug(Bug::DropExpiry) {
                return;
            }
            match payment {
                Payment::LightningCharge(charge) => charge.on_expiry(desk),
                Payment::OnchainCharge(charge) => charge.on_expiry(desk),
                Payment::LightningPayout(payout) => payout.on_deadline(desk),
                Payment::OnchainPayout(_) => {}
                Payment::SepaPayout(payout) if what == "deadline" => payout.on_deadline(desk),
                Payment::SepaPayout(payout) => payout.on_timer(desk, what),
            }
        })
    }

    /// The wallet takes the view; then every payment that lives on the chain looks at it, and what nobody accounts for
    /// goes to suspense. Charges come before payouts, so that what they bring can be paid out.
    fn on_chain(&mut self, now: Timestamp, entropy: Entropy, view: &ChainView) -> Consequences {
        self.onchain
            .apply_view(view)
            .expect("the view was checked on admission");
        let unseen = self.onchain.take_unseen();
        let mut records = std::mem::take(&mut self.records);
        let mut moves = std::mem::take(&mut self.moves);
        let mut sweeps = std::mem::take(&mut self.sweeps);
        let mut batches = std::mem::take(&mut self.batches);
        let mut desk = self.desk(now, entropy);
        for payment in records.values_mut() {
            match payment {
                Payment::OnchainCharge(charge) => charge.on_view(&mut desk),
                Payment::LightningCharge(charge) => charge.on_tip(&mut desk),
                Payment::OnchainPayout(_)
                | Payment::LightningPayout(_)
                | Payment::SepaPayout(_) => {}
            }
        }
        let mut till = Till {
            desk: &mut desk,
            payments: &mut records,
            batches: &mut batches,
        };
        till.on_view();
        for sweep in sweeps.values_mut() {
            sweep.on_view(till.desk);
        }
        till.on_coins();
        for funds_move in moves.values_mut() {
            funds_move.on_view(&mut desk);
        }
        suspend_remainders(&mut desk);
        let looked = unseen.iter().map(first_look);
        desk.out.answered.extend(looked);
        let out = desk.out;
        self.records = records;
        self.moves = moves;
        self.sweeps = sweeps;
        self.batches = batches;
        out
    }
}

/// What a key names if it is of a move of funds: `<id>/<what>`.
fn move_of(key: &str) -> Option<(PaymentId, &str)> {
    let (id, what) = key.split_once('/')?;
    Some((PaymentId::new(id).ok()?, what))
}

/// Keys are `<subject>/<what>`.
fn parts(key: &str) -> (&str, &str) {
    key.split_once('/').unwrap_or((key, ""))
}

/// Names the failing back of a held payment that no charge asked for.
fn stray_key(hash: &str) -> crate::id::IdempotencyKey {
    crate::id::IdempotencyKey(format!("hash-{hash}/fail"))
}

/// Whatever a wallet has beyond what payments booked (or lacks) lies in suspense.
fn suspend_remainders(desk: &mut Desk<'_>) {
    for (wallet, total) in desk.onchain.totals() {
        let account = wallet_account(&wallet);
        let remainder = msat(in_msat(total)).saturating_sub(desk.ledger.balance(&account));
        if remainder == 0 {
            continue;
        }
        if remainder < 0 {
            sometimes(Rare::WalletFellShort);
        }
        let suspense = Account::Suspense {
            rail: Rail::Onchain,
        };
        let lines = vec![(account, remainder), (suspense, remainder.saturating_neg())];
        let posting = Posting {
            at: desk.now,
            payment: None,
            memo: "coins without a payment",
            lines,
        };
        let posted = desk.ledger.post(posting);
        desk.emit(Event::Posted(posted));
    }
}
