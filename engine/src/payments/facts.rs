//! Owns the way of a fact to the payment that it concerns. Does not own what the payment makes of it.

use super::desk::{Desk, in_msat, msat, wallet_account};
use super::fee_desk::FeeDesk;
use super::payout_sepa::Via;
use super::record::{Payment, Status};
use super::refusal::FactRefused;
use super::till::Till;
use super::{Payments, hex};
use crate::event::{Consequences, Event};
use crate::fiat::{self, WebhookEvent, WebhookRefused};
use crate::id::PaymentId;
use crate::ledger::{Account, Posting};
use crate::lightning;
use crate::money::{Msat, Rail, Sat};
use crate::planted::Bug;
use crate::rail::{
    ChainView, Effect, Entropy, Fact, FeesSeen, HttpFailure, Instruction, LightningFailure,
};
use crate::rare::{Rare, sometimes};
use crate::time::Timestamp;
use bitcoin::Amount;

impl Payments {
    /// Whether a fact would be accepted. That facts with a key answer an outstanding instruction is checked by the caller.
    pub fn check_fact(&self, now: Timestamp, fact: &Fact) -> Result<(), FactRefused> {
        if let Fact::Webhook { signature, body } = fact
            && self.planted != Some(Bug::SkipSignatureCheck)
        {
            let (secrets, tolerance) = (&self.webhook_secrets, self.policy.webhook_tolerance);
            fiat::verify_webhook_sender(secrets, tolerance, now, signature, body).map_err(
                |cause| {
                    sometimes(Rare::WebhookRefused);
                    FactRefused::Webhook { cause }
                },
            )?;
        }
        self.check_recorded_fact(fact)
    }

    /// As `check_fact`, for a fact that was admitted and journaled. Who sent a webhook, and when, was checked then, with
    /// the secrets of that time; they may have been replaced since.
    pub fn check_recorded_fact(&self, fact: &Fact) -> Result<(), FactRefused> {
        match fact {
            Fact::Chain(view) => {
                self.onchain.check_view(view)?;
                self.check_amounts(view)
            }
            Fact::Webhook { body, .. } => read_webhook(body).map(|_| ()),
            Fact::LightningSent {
                payment_hash,
                preimage,
                ..
            } => {
                self.check_paid_hash(payment_hash)?;
                if lightning::is_proof(preimage, payment_hash) {
                    Ok(())
                } else {
                    Err(FactRefused::WrongProof {
                        payment_hash: hex(payment_hash),
                    })
                }
            }
            Fact::LightningFailed { payment_hash, .. } => self.check_paid_hash(payment_hash),
            Fact::HeldFailed { payment_hash } => {
                let text = hex(payment_hash);
                let known =
                    self.charged_hashes.contains_key(&text) || self.stray_holds.contains(&text);
                if known {
                    Ok(())
                } else {
                    Err(FactRefused::UnknownHash { payment_hash: text })
                }
            }
            Fact::LightningHeld { .. }
            | Fact::LightningReceived { .. }
            | Fact::Signed { .. }
            | Fact::Broadcast { .. }
            | Fact::InvoiceCreated { .. }
            | Fact::LightningBalance { .. }
            | Fact::Fees { .. }
            | Fact::HttpResponded { .. }
            | Fact::HttpFailed { .. }
            | Fact::TimerFired { .. }
            | Fact::Unavailable { .. } => Ok(()),
        }
    }

    fn check_paid_hash(&self, hash: &[u8; 32]) -> Result<(), FactRefused> {
        let payment_hash = hex(hash);
        if self.paid_hashes.contains_key(&payment_hash) {
            Ok(())
        } else {
            Err(FactRefused::UnknownHash { payment_hash })
        }
    }

    /// No output may hold more than there is, nor may all outputs of ours together exceed what is booked in msat (an
    /// address may be paid and emptied again and again, so their sum is not bounded by the supply).
    fn check_amounts(&self, view: &ChainView) -> Result<(), FactRefused> {
        let mut ours_sat: u64 = 0;
        for transaction in view.transactions.iter().map(|seen| &seen.transaction) {
            let impossible = || FactRefused::ImpossibleAmount {
                txid: transaction.compute_txid(),
            };
            for output in &transaction.output {
                if output.value > Amount::MAX_MONEY {
                    return Err(impossible());
                }
                if self.onchain.owner_of(&output.script_pubkey).is_some() {
                    ours_sat = ours_sat.saturating_add(output.value.to_sat());
                }
            }
            if Sat(ours_sat).to_msat().is_none() {
                return Err(impossible());
            }
        }
        Ok(())
    }

    /// Acts on a fact that was checked.
    pub fn on_fact(&mut self, now: Timestamp, entropy: Entropy, fact: &Fact) -> Consequences {
        match fact {
            Fact::Chain(view) => self.on_chain(now, entropy, view),
            Fact::Signed { key, result } => self.at_till(now, entropy, |till| {
                let (subject, _) = parts(&key.0);
                till.on_signed(subject, result);
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
            Fact::LightningBalance { .. } => Consequences::default(),
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

    fn on_invoice_created(
        &mut self,
        now: Timestamp,
        entropy: Entropy,
        key: &str,
        result: &Result<String, String>,
    ) -> Consequences {
        let mut issued = None;
        let out = self.by_key(now, entropy, key, |payment, desk, _| {
            if let Payment::LightningCharge(charge) = payment {
                charge.on_invoice(desk, result);
                issued = charge
                    .payment_hash
                    .map(|hash| (hex(&hash), charge.id.clone()));
            }
        });
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
            return self.with_lightning_charge(now, entropy, &payment, |charge, desk| {
                charge.on_received(desk, amount)
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
                _ => till.build_waiting(),
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
        Till {
            desk: &mut desk,
            payments: &mut records,
            batches: &mut batches,
        }
        .on_look();
        suspend_remainders(&mut desk);
        let looked = unseen.iter().map(super::first_look);
        desk.out.answered.extend(looked);
        let out = desk.out;
        self.records = records;
        self.batches = batches;
        out
    }
}

/// Keys are `<subject>/<what>`.
fn parts(key: &str) -> (&str, &str) {
    key.split_once('/').unwrap_or((key, ""))
}

/// `None`: of a kind that is not known here.
fn read_webhook(body: &str) -> Result<Option<WebhookEvent>, FactRefused> {
    match fiat::parse_webhook_body(body) {
        Ok(event) => Ok(Some(event)),
        Err(WebhookRefused::UnknownKind { .. }) => Ok(None),
        Err(
            cause @ (WebhookRefused::MalformedHeader { .. }
            | WebhookRefused::NoSignature
            | WebhookRefused::WrongSignature
            | WebhookRefused::TooOld { .. }
            | WebhookRefused::TooNew { .. }
            | WebhookRefused::MalformedBody { .. }),
        ) => Err(FactRefused::Webhook { cause }),
    }
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
