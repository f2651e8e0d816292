//! Owns the properties that hold for every sequence of inputs, sensible or not: books sum to zero, holds are covered,
//! refusals change nothing, the sealed journal folds to the live state, a payment settles once; and that no tampering
//! with a journal goes unseen.
#![allow(
    missing_docs,
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    reason = "tests state plain sums and count few of many events"
)]

mod outside;

use bitcoin::ScriptBuf;
use bitcoin::hashes::Hash as _;
use lockstep_engine::api::{Command, Destination, Event, Input, Status};
use lockstep_engine::id::PaymentId;
use lockstep_engine::journal::Journal;
use lockstep_engine::ledger::Account;
use lockstep_engine::money::{Asset, Msat, Quantity, Rail};
use lockstep_engine::payments::Payment;
use lockstep_engine::planted::Bug;
use lockstep_engine::rail::{Effect, Fact, HttpFailure, LightningFailure};
use lockstep_engine::time::Timestamp;
use outside::*;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use std::collections::BTreeMap;

/// One thing that may happen; the numbers choose among few names, so that things meet.
#[derive(Clone, Copy, Debug)]
struct Happening {
    kind: u8,
    who: u8,
    how: u8,
    amount: u16,
}

fn happening() -> impl Strategy<Value = Happening> {
    (0_u8..16, 0_u8..5, 0_u8..6, 0_u16..2_000).prop_map(|(kind, who, how, amount)| Happening {
        kind,
        who,
        how,
        amount,
    })
}

/// The outside with a memory: its chain, and the branch it is on.
struct Run {
    o: Outside,
    forks: u32,
    height: u32,
    settled: BTreeMap<PaymentId, i32>,
}

impl Run {
    fn new() -> Run {
        Run {
            o: Outside::funded(),
            forks: 0,
            height: 1,
            settled: BTreeMap::new(),
        }
    }

    /// Refusals are as good as acceptance here; `Outside::step` checks that they change nothing.
    fn take(&mut self, h: Happening) {
        let name = format!("p{}", h.who);
        let hash = [h.who; 32];
        let msat = u64::from(h.amount) * 1_000;
        let result = match h.kind {
            0 => self
                .o
                .command(Command::CreateCharge(charge(&name, Rail::Lightning, msat))),
            1 => self
                .o
                .command(Command::CreateCharge(charge(&name, Rail::Onchain, msat))),
            2 => {
                let mut order = charge(&name, Rail::Lightning, msat);
                order.hold = true;
                self.o.command(Command::CreateCharge(order))
            }
            3 => self
                .o
                .command(Command::CreatePayout(sepa(&name, u64::from(h.amount)))),
            4 => {
                let destination =
                    Destination::Invoice(invoice(hash_of(hash), msat.max(1), self.o.now));
                self.o.command(Command::CreatePayout(payout(
                    &name,
                    destination,
                    Quantity::btc(Msat(msat)),
                )))
            }
            5 => self.o.command(Command::CreatePayout(on_chain(&name, msat))),
            6 if h.how < 3 => self.o.command(Command::ReleaseHeld {
                payment: payment(&name),
            }),
            6 => self.o.command(Command::RefuseHeld {
                payment: payment(&name),
            }),
            7 => self.o.fact(Fact::LightningReceived {
                payment_hash: self.hash(&name, hash),
                amount_msat: Msat(msat),
            }),
            8 => self.o.fact(Fact::LightningSent {
                payment_hash: hash_of(hash),
                preimage: if h.how == 0 { [99; 32] } else { hash },
                fee_msat: Msat(u64::from(h.amount) * 10),
            }),
            9 => self.o.fact(Fact::LightningFailed {
                payment_hash: hash_of(hash),
                reason: LightningFailure::Other,
            }),
            10 => self.o.fact(Fact::LightningHeld {
                payment_hash: self.hash(&name, hash),
                amount_msat: Msat(msat),
                claim_deadline_height: self.height + u32::from(h.how),
            }),
            11 => self.o.fact(Fact::HeldFailed {
                payment_hash: self.hash(&name, hash),
            }),
            12 => {
                let status = ["accepted", "settled", "returned"][usize::from(h.how % 3)];
                let cents = self.cents(&name).unwrap_or(7);
                let fact = self
                    .o
                    .webhook(&transfer(&name, cents, status, u64::from(h.how)));
                self.o.fact(fact)
            }
            13 => {
                let view = self.look(h);
                self.o.fact(view)
            }
            14 | 15 => self.answer(h),
            _ => unreachable!("the strategy stops at 15"),
        };
        if let Ok(output) = result {
            self.note(&output.events);
        }
        self.o.later(u64::from(h.amount));
    }

    fn hash(&self, name: &str, otherwise: [u8; 32]) -> [u8; 32] {
        match self.o.engine.payments().get(&payment(name)) {
            Some(Payment::LightningCharge(charge)) => charge.payment_hash.unwrap_or(otherwise),
            _ => otherwise,
        }
    }

    fn cents(&self, name: &str) -> Option<u64> {
        match self.o.engine.payments().get(&payment(name)) {
            Some(Payment::SepaPayout(payout)) => Some(payout.amount.units()),
            _ => None,
        }
    }

    /// Sometimes a new block, sometimes a fork; each charge's address may be paid, in the mempool or at any height.
    fn look(&mut self, h: Happening) -> Fact {
        self.height += 1;
        if h.how == 0 {
            self.forks += 1;
        }
        let blocks = branch(&format!("f{}", self.forks), 0..=self.height);
        let mut seen = Vec::new();
        for (id, record) in self.o.engine.payments().iter() {
            if let Payment::OnchainCharge(charge) = record {
                let tx = pays(
                    &charge.script,
                    charge.amount.0 + u64::from(h.how % 2),
                    id.as_str(),
                );
                match (usize::from(h.amount) + id.as_str().len()) % 4 {
                    0 => {}
                    1 => seen.push(in_mempool(&tx)),
                    _ => seen.push(confirmed(
                        &tx,
                        blocks[1 + usize::from(h.amount) % (blocks.len() - 1)],
                    )),
                }
            }
        }
        for batch in self.o.engine.payments().batches() {
            let signed = batch.versions.iter().find_map(|v| v.transaction.as_ref());
            if let (Some(transaction), true) = (signed, h.how > 2) {
                seen.push(confirmed(transaction, blocks[blocks.len() - 1]));
            }
        }
        look(blocks, seen)
    }

    /// Answers one outstanding instruction, well or badly.
    fn answer(
        &mut self,
        h: Happening,
    ) -> Result<lockstep_engine::api::Output, lockstep_engine::api::Refusal> {
        let all: Vec<_> = self.o.engine.outstanding().cloned().collect();
        let Some(instruction) = all.get(usize::from(h.amount) % all.len().max(1)) else {
            return self.o.fact(Fact::TimerFired {
                key: key("p1/expiry"),
            });
        };
        let key = instruction.key.clone();
        let fact = match &instruction.effect {
            Effect::WatchScript { .. }
            | Effect::ReadChain
            | Effect::ReadFees
            | Effect::CallLayer0 { .. }
            | Effect::ReadLightningBalance => Fact::Unavailable {
                key,
                reason: "down".to_owned(),
            },
            Effect::SignPsbt { psbt } if h.how > 0 => Fact::Signed {
                key,
                result: Ok(signed(psbt)),
            },
            Effect::SignPsbt { .. } => Fact::Signed {
                key,
                result: Err("no".to_owned()),
            },
            Effect::SignStatement { .. } => Fact::StatementSigned {
                key,
                result: Err("no".to_owned()),
            },
            Effect::Broadcast { transaction } if h.how > 0 => Fact::Broadcast {
                key,
                result: Ok(transaction.compute_txid()),
            },
            Effect::Broadcast { .. } => Fact::Broadcast {
                key,
                result: Err("no".to_owned()),
            },
            Effect::CreateInvoice {
                amount_msat,
                hold_hash,
                ..
            } => {
                let hash = hold_hash.unwrap_or_else(|| hash_of([100 + h.who; 32]));
                let result = if h.how > 0 {
                    let (name, _) = key.0.split_once('/').expect("of a charge");
                    let msat = amount_msat.map(|amount| amount.0);
                    Ok(issued(name, hash, (msat, self.o.now)))
                } else {
                    Err("no".to_owned())
                };
                Fact::InvoiceCreated { key, result }
            }
            Effect::CallGateway { .. } if h.how < 2 => Fact::HttpFailed {
                key,
                failure: if h.how == 0 {
                    HttpFailure::NotConnected
                } else {
                    HttpFailure::TimedOut
                },
            },
            Effect::CallGateway { request } => {
                let name = key.0.split('/').next().unwrap_or_default().to_owned();
                let told = transfer(&name, self.cents(&name).unwrap_or(7), "accepted", 0);
                let body = if request.body.is_empty() {
                    format!(r#"{{"data":[{told}]}}"#)
                } else {
                    told
                };
                let status = [200, 422, 500, 200][usize::from(h.how - 2)];
                Fact::HttpResponded { key, status, body }
            }
            // Nothing here has channels of its own.
            Effect::OpenChannel { .. } | Effect::CloseChannel { .. } => Fact::Unavailable {
                key,
                reason: "down".to_owned(),
            },
            // Nothing here has a wallet of several keys.
            Effect::Cosign { .. } => Fact::Cosigned {
                key,
                result: Err("no".to_owned()),
            },
            Effect::WakeAt { .. } => Fact::TimerFired { key },
            Effect::PayInvoice { .. } | Effect::ClaimHeld { .. } | Effect::FailHeld { .. } => {
                Fact::TimerFired { key }
            }
        };
        self.o.fact(fact)
    }

    fn note(&mut self, events: &[Event]) {
        for event in events {
            match event {
                Event::PaymentSettled { payment, .. } => {
                    *self.settled.entry(payment.clone()).or_default() += 1
                }
                Event::PaymentUndone { payment } => {
                    *self.settled.entry(payment.clone()).or_default() -= 1
                }
                _ => {}
            }
        }
    }

    fn check(&self) {
        let ledger = self.o.engine.ledger();
        assert!(
            ledger.totals().values().all(|total| *total == 0),
            "books sum to zero"
        );
        assert!(
            self.settled.values().all(|count| (0..=1).contains(count)),
            "settled once: {:?}",
            self.settled
        );
        let on_chain = i128::from(
            self.o
                .engine
                .payments()
                .onchain()
                .total(&lockstep_engine::id::WalletId::hot())
                .0,
        ) * 1_000;
        assert_eq!(
            ledger.balance(&hot()),
            on_chain,
            "the wallet's account is the wallet"
        );
        let suspense = ledger.balance(&Account::Suspense {
            rail: Rail::Onchain,
        });
        assert!(suspense <= 0, "coins are missing: {suspense}");
        for (id, hold) in ledger.holds() {
            let status = self
                .o
                .engine
                .payments()
                .get(id)
                .expect("a hold has its payment")
                .status();
            assert!(
                !matches!(status, Status::Settled | Status::Failed),
                "{id} is final and holds {hold:?}"
            );
        }
        for payment in self.o.engine.payments().iter().map(|(_, record)| record) {
            if let Payment::OnchainCharge(_) = payment {
                return; // Its credit may have been taken back after it was spent.
            }
        }
        for asset in [Asset::Btc, Asset::Eur] {
            assert!(
                ledger.available(&party("ann"), asset) >= 0,
                "holds are covered"
            );
        }
    }

    /// The sealed journal is whole, and folding it gives the live state.
    fn check_fold(&self, bug: Option<Bug>) {
        let (journal, records) = self.sealed();
        let (_, opened) =
            Journal::from_records::<Input>(&records, Some(journal.head())).expect("whole");
        let mut folded = engine_with(bug);
        for record in opened {
            folded
                .step_recorded(record.at, &record.input)
                .expect("accepted before");
        }
        assert_eq!(
            folded.digest(),
            self.o.engine.digest(),
            "folding gives the live state"
        );
    }

    fn sealed(&self) -> (Journal, Vec<Vec<u8>>) {
        let mut journal = Journal::new();
        let records = self
            .o
            .accepted
            .iter()
            .map(|(at, input)| journal.seal(*at, input).bytes)
            .collect();
        (journal, records)
    }
}

fn on_chain(name: &str, msat: u64) -> lockstep_engine::api::Payout {
    let foreign = ScriptBuf::new_p2wpkh(&bitcoin::WPubkeyHash::from_byte_array([6; 20]));
    let address =
        bitcoin::Address::from_script(&foreign, bitcoin::Network::Regtest).expect("an address");
    payout(
        name,
        Destination::Address(address.to_string()),
        Quantity::btc(Msat(msat)),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_sequence_keeps_the_books(happenings in prop::collection::vec(happening(), 1..60)) {
        let mut run = Run::new();
        for h in happenings {
            run.take(h);
            run.check();
        }
        run.check_fold(None);
    }

    #[test]
    fn no_tampering_goes_unseen(count in 2_usize..12, at in 0_usize..1_000, how in 0_u8..5, byte in any::<u8>()) {
        let mut journal = Journal::new();
        let seal = |n: usize| journal.seal(Timestamp(u64::try_from(n).expect("small")), &format!("input {n}")).bytes;
        let mut records: Vec<Vec<u8>> = (0..count).map(seal).collect();
        let whole = records.clone();
        let place = at % count;
        match how {
            0 => { records.remove(place); }
            1 => records.swap(place, (place + 1) % count),
            2 => {
                let inside = at % records[place].len();
                records[place][inside] = byte;
            }
            3 => records.truncate(place),
            _ => {
                let cut = at % records[place].len();
                records[place].truncate(cut);
            }
        }
        prop_assume!(records != whole);
        prop_assert!(Journal::from_records::<String>(&records, Some(journal.head())).is_err());
    }
}

/// The same happenings in every run: whether one of the properties above fails with the bug planted.
fn caught(bug: Option<Bug>) -> bool {
    let config = ProptestConfig {
        cases: 32,
        failure_persistence: None,
        max_shrink_iters: 0,
        ..ProptestConfig::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let happenings = prop::collection::vec(happening(), 30..60);
    let result = TestRunner::new_with_rng(config, rng).run(&happenings, |happenings| {
        let mut run = Run::new();
        if let Some(bug) = bug {
            run.o.engine.plant(bug);
        }
        for h in happenings {
            run.take(h);
            run.check();
        }
        run.check_fold(bug);
        Ok(())
    });
    result.is_err()
}

#[test]
fn the_properties_catch_the_bugs_planted_for_them() {
    assert!(!caught(None), "without a bug they hold");
    for bug in [
        Bug::UnbalancedPosting,
        Bug::ForgetHoldRelease,
        Bug::IgnoreReorg,
        Bug::ForgetCommandsOnRestart,
    ] {
        assert!(caught(Some(bug)), "{bug:?}");
    }
}
