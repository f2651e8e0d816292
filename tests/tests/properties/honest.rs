//! Owns an outside that is honest and sometimes late: one node, one chain, one gateway, each with a truth of its own that
//! never contradicts itself, but for the node when it is told to lie. It answers what the engine instructed, and tells on its own what happened.
//! Does not own when it does so (`properties`).

use super::outside::{confirmed, hash_of, in_mempool, issued, look, pays, signed, transfer};
use bitcoin::hashes::Hash as _;
use bitcoin::{BlockHash, ScriptBuf, Transaction, Txid};
use lockstep_engine::money::Msat;
use lockstep_engine::rail::{
    BlockId, Effect, Fact, FeesSeen, HttpFailure, Instruction, LightningFailure,
};
use lockstep_engine::time::Timestamp;
use std::collections::BTreeMap;

/// What is paid where the payer may choose: the least.
const LEAST_MSAT: u64 = 1_000;

/// A Lightning charge as its payer and our node see it.
struct Incoming {
    hash: [u8; 32],
    msat: u64,
    hold: bool,
    /// What came, and whether it was claimed or sent back.
    came: Option<u64>,
    over: Option<bool>,
}

/// Where a transfer stands at the gateway.
#[derive(Clone, Copy)]
struct Transferred {
    cents: u64,
    status: &'static str,
    version: u64,
}

/// The outside.
pub(crate) struct Honest {
    genesis: BlockId,
    incoming: BTreeMap<String, Incoming>,
    /// Preimage of each payout's invoice, and whether it was paid, once that is decided.
    pub(crate) outgoing: BTreeMap<[u8; 32], ([u8; 32], Option<bool>)>,
    addresses: BTreeMap<String, ScriptBuf>,
    transactions: BTreeMap<Txid, (Transaction, Option<u32>)>,
    coins: u32,
    height: u32,
    forks: u32,
    transfers: BTreeMap<String, Transferred>,
    invoices: u8,
}

/// The payment that an instruction is for.
fn name_of(instruction: &Instruction) -> String {
    instruction
        .key
        .0
        .split('/')
        .next()
        .unwrap_or_default()
        .to_owned()
}

impl Honest {
    /// With a chain that begins as the engine's.
    pub(crate) fn new(genesis: BlockId) -> Honest {
        Honest {
            genesis,
            incoming: BTreeMap::new(),
            outgoing: BTreeMap::new(),
            addresses: BTreeMap::new(),
            transactions: BTreeMap::new(),
            coins: 0,
            height: 0,
            forks: 0,
            transfers: BTreeMap::new(),
            invoices: 0,
        }
    }

    /// The engine's own addresses are known as soon as it asks to have them watched.
    pub(crate) fn hear(&mut self, instructions: &[Instruction]) {
        for instruction in instructions {
            if let Effect::WatchScript { script } = &instruction.effect {
                self.addresses.insert(name_of(instruction), script.clone());
            }
        }
    }

    /// A look at the chain as it is.
    pub(crate) fn look(&self) -> Fact {
        let block = |height| BlockId {
            height,
            hash: BlockHash::hash(format!("fork {} block {height}", self.forks).as_bytes()),
        };
        let mut blocks = vec![self.genesis];
        blocks.extend((1..=self.height).map(block));
        let seen = self
            .transactions
            .values()
            .map(|(transaction, height)| match height {
                None => in_mempool(transaction),
                Some(height) => confirmed(transaction, blocks[*height as usize]),
            });
        let seen = seen.collect();
        look(blocks, seen)
    }

    /// A block, with everything that waits or with nothing.
    pub(crate) fn mine(&mut self, full: bool) {
        self.height += 1;
        for (_, height) in self.transactions.values_mut() {
            if full && height.is_none() {
                *height = Some(self.height);
            }
        }
    }

    /// Other blocks from now on; what was in those above a height waits again.
    pub(crate) fn fork(&mut self, depth: u32) {
        let kept = self.height.saturating_sub(depth);
        self.forks += 1;
        self.height += 1;
        for (_, height) in self.transactions.values_mut() {
            if height.is_some_and(|height| height > kept) {
                *height = None;
            }
        }
    }

    /// Somebody pays a charge: over Lightning once, on chain as often as he likes; `more` may be short or over.
    pub(crate) fn pay(&mut self, nth: usize, sat: u64) -> Option<Fact> {
        let count = self.incoming.len() + self.addresses.len();
        let at = nth.checked_rem(count)?;
        if let Some((_, charge)) = self.incoming.iter_mut().nth(at) {
            let msat = *charge.came.get_or_insert(charge.msat + sat % 2);
            let (payment_hash, amount_msat) = (charge.hash, Msat(msat));
            return match (charge.hold, charge.over) {
                (true, None) => Some(Fact::LightningHeld {
                    payment_hash,
                    amount_msat,
                    claim_deadline_height: self.height + 9,
                }),
                (true, Some(false)) => Some(Fact::HeldFailed { payment_hash }),
                _ => Some(Fact::LightningReceived {
                    payment_hash,
                    amount_msat,
                }),
            };
        }
        let script = self.addresses.values().nth(at - self.incoming.len())?;
        self.coins += 1;
        let transaction = pays(script, sat, &format!("coin {}", self.coins));
        self.transactions
            .insert(transaction.compute_txid(), (transaction, None));
        None
    }

    /// What an honest node would not say: another amount than came, a hash of nobody's, the opposite of before.
    pub(crate) fn lie(&self, nth: usize, sat: u64) -> Option<Fact> {
        let msat = Msat(sat * 1_000);
        let charge = nth.checked_rem(self.incoming.len() + 1).unwrap_or_default();
        let payout = nth.checked_rem(self.outgoing.len() + 1).unwrap_or_default();
        let of_charge = self
            .incoming
            .values()
            .nth(charge)
            .map_or([77; 32], |charge| charge.hash);
        let (&payment_hash, &(preimage, _)) = self.outgoing.iter().nth(payout)?;
        Some(match sat % 5 {
            0 => Fact::LightningReceived {
                payment_hash: of_charge,
                amount_msat: msat,
            },
            1 => Fact::LightningHeld {
                payment_hash: of_charge,
                amount_msat: msat,
                claim_deadline_height: self.height + 2,
            },
            2 => Fact::HeldFailed {
                payment_hash: of_charge,
            },
            3 => Fact::LightningSent {
                payment_hash,
                preimage,
                fee_msat: msat,
            },
            _ => Fact::LightningFailed {
                payment_hash,
                reason: LightningFailure::Other,
            },
        })
    }

    /// The gateway books a transfer, or sends it back; whether it tells is another matter.
    pub(crate) fn book(&mut self, nth: usize, back: bool) {
        let count = self.transfers.len();
        let at = nth.checked_rem(count);
        if let Some(told) = at.and_then(|at| self.transfers.values_mut().nth(at)) {
            let next = match (told.status, back) {
                ("accepted", false) => "settled",
                ("accepted" | "settled", true) => "returned",
                _ => return,
            };
            (told.status, told.version) = (next, told.version + 1);
        }
    }

    /// What the gateway calls about, if about anything.
    pub(crate) fn calls(&self, nth: usize) -> Option<String> {
        let (name, told) = self
            .transfers
            .iter()
            .nth(nth.checked_rem(self.transfers.len())?)?;
        (told.status != "accepted").then(|| told_of(name, told))
    }

    /// Answers an instruction; `how` says how well. `None`: not yet.
    pub(crate) fn answer(
        &mut self,
        instruction: &Instruction,
        how: u8,
        now: Timestamp,
    ) -> Option<Fact> {
        let key = instruction.key.clone();
        Some(match &instruction.effect {
            Effect::WatchScript { .. } => return None,
            Effect::ReadChain => self.look(),
            Effect::ReadLightningBalance => Fact::LightningBalance {
                key,
                local_msat: Msat(0),
                outgoing_htlcs_msat: Msat(0),
            },
            Effect::ReadFees => Fact::Fees {
                key,
                seen: FeesSeen::default(),
            },
            Effect::WakeAt { .. } => Fact::TimerFired { key },
            // Nobody has a DID here, and the node no channels that the engine opens.
            Effect::CallLayer0 { .. }
            | Effect::OpenChannel { .. }
            | Effect::CloseChannel { .. } => return None,
            _ if how == 0 => Fact::Unavailable {
                key,
                reason: "busy".to_owned(),
            },
            Effect::SignPsbt { psbt } => Fact::Signed {
                key,
                result: if how == 1 {
                    Err("no".to_owned())
                } else {
                    Ok(signed(psbt))
                },
            },
            Effect::Broadcast { transaction } => self.broadcast(key, transaction, how),
            Effect::CreateInvoice {
                amount_msat,
                hold_hash,
                ..
            } => {
                let hash = *hold_hash;
                let msat = amount_msat.map(|amount| amount.0);
                self.make_invoice(instruction, msat, (hash, how == 1, now))
            }
            Effect::PayInvoice {
                invoice,
                max_fee_msat,
                ..
            } => self.pay_out(invoice, max_fee_msat.0, how),
            Effect::ClaimHeld {
                preimage,
                amount_msat,
            } => {
                self.end(hash_of(*preimage), true);
                Fact::LightningReceived {
                    payment_hash: hash_of(*preimage),
                    amount_msat: *amount_msat,
                }
            }
            Effect::FailHeld { payment_hash } => {
                self.end(*payment_hash, false);
                Fact::HeldFailed {
                    payment_hash: *payment_hash,
                }
            }
            Effect::CallGateway { request } => self.respond(instruction, &request.body, how),
            // Nothing here has a wallet of several keys.
            Effect::Cosign { .. } => Fact::Cosigned {
                key,
                result: Err("no".to_owned()),
            },
            // Nothing is stated.
            Effect::SignStatement { .. } => Fact::StatementSigned {
                key,
                result: Err("no key".to_owned()),
            },
        })
    }

    /// An invoice on the hash that a hold invoice needs, or a fresh one; or a refusal.
    fn make_invoice(
        &mut self,
        instruction: &Instruction,
        msat: Option<u64>,
        (hold_hash, refuse, now): (Option<[u8; 32]>, bool, Timestamp),
    ) -> Fact {
        let key = instruction.key.clone();
        if refuse {
            let result = Err("no".to_owned());
            return Fact::InvoiceCreated { key, result };
        }
        self.invoices = self.invoices.wrapping_add(1);
        let hash = hold_hash.unwrap_or_else(|| hash_of([self.invoices; 32]));
        let charge = Incoming {
            hash,
            msat: msat.unwrap_or(LEAST_MSAT),
            hold: hold_hash.is_some(),
            came: None,
            over: None,
        };
        let name = name_of(instruction);
        let result = Ok(issued(&name, hash, (msat, now)));
        self.incoming.insert(name, charge);
        Fact::InvoiceCreated { key, result }
    }

    fn end(&mut self, hash: [u8; 32], claimed: bool) {
        if let Some(charge) = self
            .incoming
            .values_mut()
            .find(|charge| charge.hash == hash)
        {
            charge.over.get_or_insert(claimed);
        }
    }

    fn broadcast(
        &mut self,
        key: lockstep_engine::id::IdempotencyKey,
        transaction: &Transaction,
        how: u8,
    ) -> Fact {
        let txid = transaction.compute_txid();
        let known = self.transactions.contains_key(&txid);
        if how == 1 && !known {
            return Fact::Broadcast {
                key,
                result: Err("min relay fee not met".to_owned()),
            };
        }
        self.transactions
            .entry(txid)
            .or_insert_with(|| (transaction.clone(), None));
        Fact::Broadcast {
            key,
            result: Ok(txid),
        }
    }

    /// The first answer decides, and is told again as often as it is asked for.
    fn pay_out(&mut self, invoice: &str, max_fee: u64, how: u8) -> Fact {
        let read: lightning_invoice::Bolt11Invoice = invoice.parse().expect("one of ours");
        let payment_hash: [u8; 32] = *read.payment_hash().as_ref();
        let (preimage, paid) = self.outgoing.get_mut(&payment_hash).expect("one of ours");
        if *paid.get_or_insert(how > 2) {
            let fee_msat = Msat(max_fee / u64::from(how.max(1)));
            Fact::LightningSent {
                payment_hash,
                preimage: *preimage,
                fee_msat,
            }
        } else {
            Fact::LightningFailed {
                payment_hash,
                reason: LightningFailure::RouteNotFound,
            }
        }
    }

    /// An order is carried out once by reference; its answer may be lost, before or after.
    fn respond(&mut self, instruction: &Instruction, body: &str, how: u8) -> Fact {
        let (key, name) = (instruction.key.clone(), name_of(instruction));
        let lost = |failure| Fact::HttpFailed {
            key: key.clone(),
            failure,
        };
        let says = |status, body: String| Fact::HttpResponded {
            key: key.clone(),
            status,
            body,
        };
        let asks_for_report = instruction.key.0.contains("/report");
        if how == 1 {
            return lost(HttpFailure::NotConnected);
        }
        if asks_for_report {
            return says(
                404,
                r#"{"error":{"code":"not_found","message":""}}"#.to_owned(),
            );
        }
        if body.is_empty() {
            let told = self.transfers.get(&name).map(|told| told_of(&name, told));
            return says(200, format!(r#"{{"data":[{}]}}"#, told.unwrap_or_default()));
        }
        if how == 2 && !self.transfers.contains_key(&name) {
            return says(
                422,
                r#"{"error":{"code":"invalid_amount","message":""}}"#.to_owned(),
            );
        }
        let order: serde_json::Value = serde_json::from_str(body).expect("JSON");
        let cents = order["amount"].as_u64().expect("an amount");
        let reference = order["reference"].as_str().expect("a reference").to_owned();
        let new = Transferred {
            cents,
            status: "accepted",
            version: 1,
        };
        let first = *self.transfers.entry(reference.clone()).or_insert(new);
        if how == 3 {
            lost(HttpFailure::ConnectionLost)
        } else {
            says(201, told_of(&reference, &first))
        }
    }
}

fn told_of(name: &str, told: &Transferred) -> String {
    transfer(name, told.cents, told.status, told.version)
}
