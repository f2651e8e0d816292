//! Owns all payments: which order or fact concerns which one, and what that means for ledger and rails. Each way to pay
//! has a file with its states. Does not own whether an instruction is still outstanding (`api`), nor the comparison with
//! the outside (`reconcile`).
//!
//! Money that no payment accounts for is booked in suspense: Lightning receipts without a charge, coins that nobody was
//! asked for, amounts that came late, twice or short. `ChainWallet` equals its wallet's total after every look.

mod admission;
mod batch;
mod bindings;
mod bumping;
mod channels;
mod charge_lightning;
mod charge_onchain;
mod consolidation;
mod cosigning;
mod desk;
mod dissolving;
mod escrow;
mod evidence;
mod facts;
mod fee_desk;
mod following;
mod funds_move;
mod invoices;
mod order;
mod payout_lightning;
mod payout_onchain;
mod payout_sepa;
mod record;
mod refunds;
mod refusal;
mod shortfall;
mod sweep;
mod till;
mod wallets;

pub use batch::{Batch, Member, Version};
pub use channels::{
    ChannelOrder, ChannelRecord, ChannelRefused, ChannelStage, Channels, OrderState,
};
pub use charge_lightning::{LightningCharge, LightningChargeState};
pub use charge_onchain::{InvoiceToo, OnchainCharge, OnchainChargeState};
pub use escrow::{Decided, Escrow, EscrowRefused};
pub use funds_move::{FundsMove, FundsMoveState, MoveOrder, SentMove};
pub use order::{Charge, ChargeTerms, Destination, Payout, PayoutTerms};
pub use payout_lightning::{LightningPayout, LightningPayoutState};
pub use payout_onchain::{OnchainPayout, OnchainPayoutState};
pub use payout_sepa::{SepaPayout, SepaPayoutState};
pub use record::{Payment, Status};
pub use refusal::{
    ChargeRefused, DecisionRefused, FactRefused, OpeningRefused, PayoutRefused, SweepRefused,
};
pub use wallets::{MoveRefused, WalletRefused};

use crate::event::{Consequences, Event, FailureReason};
use crate::id::{EscrowId, IdempotencyKey, PartyId, PaymentId, WalletId};
use crate::identity::Bindings;
use crate::ledger::{Account, Ledger, PartyExists, Posting};
use crate::money::{Quantity, Rail};
use crate::onchain::{Descriptors, DescriptorsRefused, WalletSnapshot, WalletSpec, Wallets};
use crate::planted::Bug;
use crate::policy::Policy;
use crate::rail::Entropy;
use crate::time::Timestamp;
use admission::CheckedDestination;
use bitcoin::Network;
use bitcoin::hex::DisplayHex as _;
use bitcoin::secp256k1::PublicKey;
use desk::Desk;
use fee_desk::FeeDesk;
use payout_onchain::Payee;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use sweep::Sweep;
use till::{Batches, Till};

/// All payments, the books and the wallets.
#[derive(Debug)]
pub struct Payments {
    network: Network,
    policy: Policy,
    webhook_secrets: Vec<String>,
    layer0_secrets: Vec<String>,
    bindings: Bindings,
    ledger: Ledger,
    onchain: Wallets,
    fees: FeeDesk,
    batches: Batches,
    records: BTreeMap<PaymentId, Payment>,
    /// Between our own wallets; their ids are payment ids too.
    moves: BTreeMap<PaymentId, FundsMove>,
    /// Recoveries; they share their ids with payments.
    sweeps: BTreeMap<PaymentId, Sweep>,
    channels: Channels,
    /// Payment hash (hexadecimal) of each charge.
    charged_hashes: BTreeMap<String, PaymentId>,
    /// Payment hash (hexadecimal) of each payout.
    paid_hashes: BTreeMap<String, PaymentId>,
    /// Our Lightning node, once it has made an invoice.
    own_node: Option<PublicKey>,
    /// Receipts that no charge asked for, in suspense.
    stray_receipts: BTreeSet<String>,
    /// Held payments that no charge asked for, sent back.
    stray_holds: BTreeSet<String>,
    escrows: BTreeMap<EscrowId, Escrow>,
    planted: Option<Bug>,
}

/// What payments are made with.
#[derive(Clone, Debug)]
pub struct PaymentsConfig {
    /// Of addresses and invoices.
    pub network: Network,
    /// Of the wallet `hot`.
    pub descriptors: Descriptors,
    /// The operator's parameters.
    pub policy: Policy,
    /// Current first; several while they are rotated.
    pub webhook_secrets: Vec<String>,
    /// As above, of Layer 0.
    pub layer0_secrets: Vec<String>,
}

/// The state in a canonical order, for the engine's digest.
#[derive(Serialize)]
pub struct Snapshot<'a> {
    ledger: &'a Ledger,
    tip_time_secs: Option<u32>,
    bindings: &'a Bindings,
    onchain: Vec<WalletSnapshot<'a>>,
    fees: &'a FeeDesk,
    batches: &'a Batches,
    records: &'a BTreeMap<PaymentId, Payment>,
    moves: &'a BTreeMap<PaymentId, FundsMove>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    sweeps: &'a BTreeMap<PaymentId, Sweep>,
    #[serde(skip_serializing_if = "Channels::is_empty")]
    channels: &'a Channels,
    charged_hashes: &'a BTreeMap<String, PaymentId>,
    paid_hashes: &'a BTreeMap<String, PaymentId>,
    own_node: Option<PublicKey>,
    stray_receipts: &'a BTreeSet<String>,
    stray_holds: &'a BTreeSet<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    escrows: &'a BTreeMap<EscrowId, Escrow>,
}

/// A payment hash as it is used in keys and messages.
fn hex(hash: &[u8; 32]) -> String {
    hash.to_lower_hex_string()
}

impl Payments {
    /// No payments, empty books, one empty wallet.
    pub fn new(config: PaymentsConfig) -> Result<Payments, DescriptorsRefused> {
        Ok(Payments {
            onchain: Wallets::new(WalletSpec::hot(config.descriptors), config.network)?,
            network: config.network,
            policy: config.policy,
            webhook_secrets: config.webhook_secrets,
            layer0_secrets: config.layer0_secrets,
            bindings: Bindings::new(config.network),
            ledger: Ledger::new(),
            fees: FeeDesk::default(),
            batches: Batches::default(),
            records: BTreeMap::new(),
            moves: BTreeMap::new(),
            sweeps: BTreeMap::new(),
            channels: Channels::default(),
            charged_hashes: BTreeMap::new(),
            paid_hashes: BTreeMap::new(),
            own_node: None,
            stray_receipts: BTreeSet::new(),
            stray_holds: BTreeSet::new(),
            escrows: BTreeMap::new(),
            planted: None,
        })
    }

    /// Makes payments wrong on purpose; see [`Bug`].
    #[doc(hidden)]
    pub fn plant(&mut self, bug: Bug) {
        self.planted = Some(bug);
        self.ledger.plant(bug);
        self.bindings.plant(bug);
        self.onchain.plant(bug);
    }

    /// A payment.
    pub fn get(&self, payment: &PaymentId) -> Option<&Payment> {
        self.records.get(payment)
    }

    /// All payments, by id.
    pub fn iter(&self) -> impl Iterator<Item = (&PaymentId, &Payment)> {
        self.records.iter()
    }

    /// Payments that are not final although their time is over, with where they stand: each of them is unknown, waits for
    /// depth, or for its claim deadline.
    pub fn overdue(&self, now: Timestamp) -> impl Iterator<Item = (&PaymentId, Status)> {
        let open = self
            .records
            .iter()
            .map(|(id, payment)| (id, payment, payment.status()));
        open.filter(move |(_, payment, status)| !status.is_final() && payment.due_at() <= now)
            .map(|(id, _, status)| (id, status))
    }

    /// All payment transactions, by id.
    pub fn batches(&self) -> impl Iterator<Item = &Batch> {
        self.batches.by_id.values()
    }

    /// The books.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The wallets.
    pub fn onchain(&self) -> &Wallets {
        &self.onchain
    }

    /// Wallets that are bound to DIDs, or shall be.
    pub fn bindings(&self) -> &Bindings {
        &self.bindings
    }
    /// Of addresses and invoices.
    pub const fn network(&self) -> Network {
        self.network
    }

    /// The parameters.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The whole state.
    pub fn snapshot(&self) -> Snapshot<'_> {
        Snapshot {
            ledger: &self.ledger,
            tip_time_secs: self.onchain.tip_time_secs(),
            bindings: &self.bindings,
            onchain: self.onchain.snapshot(),
            fees: &self.fees,
            batches: &self.batches,
            records: &self.records,
            moves: &self.moves,
            sweeps: &self.sweeps,
            channels: &self.channels,
            charged_hashes: &self.charged_hashes,
            paid_hashes: &self.paid_hashes,
            own_node: self.own_node,
            stray_receipts: &self.stray_receipts,
            stray_holds: &self.stray_holds,
            escrows: &self.escrows,
        }
    }

    /// Whether the party could be opened.
    pub fn check_party(&self, party: &PartyId) -> Result<(), PartyExists> {
        if self.ledger.has_party(party) || *party == refunds::payers() {
            Err(PartyExists {
                party: party.clone(),
            })
        } else {
            Ok(())
        }
    }

    /// Opens a party's accounts. Like every method below, it must have been checked by its `check_*`.
    pub fn open_party(&mut self, party: &PartyId) -> Consequences {
        self.ledger
            .open_party(party)
            .expect("the party was checked on admission");
        Consequences {
            events: vec![Event::PartyOpened {
                party: party.clone(),
            }],
            ..Consequences::default()
        }
    }

    /// Books what a rail's outside account held before. Coins are booked when they are seen, as suspense; the opening
    /// names them.
    pub fn record_opening(
        &mut self,
        now: Timestamp,
        rail: Rail,
        quantity: Quantity,
    ) -> Consequences {
        let account = match rail {
            Rail::Onchain => Account::Suspense { rail },
            Rail::Lightning => Account::LightningChannels,
            Rail::Sepa => Account::Gateway,
        };
        let units = i128::from(quantity.units);
        let lines = vec![
            (account, units),
            (
                Account::Equity {
                    asset: quantity.asset,
                },
                units.saturating_neg(),
            ),
        ];
        let posted = self.ledger.post(Posting {
            at: now,
            payment: None,
            memo: "opening",
            lines,
        });
        Consequences {
            events: vec![Event::Posted(posted)],
            ..Consequences::default()
        }
    }

    /// Makes a charge.
    pub fn create_charge(
        &mut self,
        now: Timestamp,
        entropy: Entropy,
        order: &Charge,
    ) -> Consequences {
        let paid_wallet = self.wallet_for(&order.party, &order.wallet, self.policy.charges_into);
        let mut desk = self.desk(now, entropy);
        let (payment, hash) = match order.rail {
            Rail::Lightning => {
                let charge = LightningCharge::create(&mut desk, order);
                let hash = charge.payment_hash;
                (Payment::LightningCharge(charge), hash)
            }
            Rail::Onchain => (
                Payment::OnchainCharge(OnchainCharge::create(&mut desk, order, paid_wallet)),
                None,
            ),
            Rail::Sepa => unreachable!("charges over SEPA are refused on admission"),
        };
        let out = desk.out;
        if let Some(hash) = hash {
            self.charged_hashes
                .insert(hex(&hash), order.payment.clone());
        }
        self.records.insert(order.payment.clone(), payment);
        self.enter_escrow(order);
        out
    }

    /// Makes a payout.
    pub fn create_payout(
        &mut self,
        now: Timestamp,
        entropy: Entropy,
        order: &Payout,
    ) -> Consequences {
        let destination = self
            .checked_destination(now, order)
            .expect("the payout was checked on admission");
        if let CheckedDestination::Invoice(_, invoice) = &destination {
            self.paid_hashes
                .insert(hex(&invoice.payment_hash), order.payment.clone());
        }
        let order = &self.with_amount(order).into_owned();
        let paying_wallet = self.paying_wallet(order);
        let mut desk = self.desk(now, entropy);
        let payment = match destination {
            CheckedDestination::Invoice(text, invoice) => {
                Payment::LightningPayout(LightningPayout::create(&mut desk, order, &text, &invoice))
            }
            CheckedDestination::Script(script, _, binding) => {
                let payee = Payee {
                    wallet: paying_wallet,
                    script,
                    binding,
                };
                let create = match order.all {
                    true => OnchainPayout::create_whole,
                    false => OnchainPayout::create,
                };
                Payment::OnchainPayout(create(&mut desk, order, payee))
            }
            CheckedDestination::Account(iban, name, amount) => {
                Payment::SepaPayout(SepaPayout::create(&mut desk, order, &iban, &name, amount))
            }
        };
        let out = desk.out;
        let is_onchain = matches!(payment, Payment::OnchainPayout(_));
        self.records.insert(order.payment.clone(), payment);
        if is_onchain {
            self.then_build(now, entropy, out)
        } else {
            out
        }
    }

    /// Moves what the recovery key can spend to `hot`.
    pub fn sweep_by_recovery(
        &mut self,
        now: Timestamp,
        entropy: Entropy,
        (sweep, wallet): (&PaymentId, &WalletId),
    ) -> Consequences {
        let mut desk = self.desk(now, entropy);
        let made = Sweep::create(&mut desk, sweep, wallet);
        let out = desk.out;
        self.sweeps.insert(sweep.clone(), made);
        out
    }

    /// Lets one recovery act with everything else at hand; `None` if there is none under that key.
    fn with_sweep(
        &mut self,
        now: Timestamp,
        entropy: Entropy,
        key: &IdempotencyKey,
        act: impl FnOnce(&mut Sweep, &mut Desk<'_>, &str),
    ) -> Option<Consequences> {
        let (id, what) = key.0.split_once('/')?;
        let id = PaymentId::new(id).ok()?;
        let mut sweep = self.sweeps.remove(&id)?;
        let mut desk = self.desk(now, entropy);
        act(&mut sweep, &mut desk, what);
        let out = desk.out;
        self.sweeps.insert(id, sweep);
        Some(out)
    }

    /// Forgets the signatures of a payout's cosigners, as a planted bug does.
    #[doc(hidden)]
    pub fn forget_signatures(&mut self, key: &IdempotencyKey) {
        let subject = key.0.split_once('/').map(|(subject, _)| subject);
        let batch = subject.and_then(|subject| self.batches.of_subject(subject));
        if let Some(batch) = batch.and_then(|id| self.batches.by_id.get_mut(&id)) {
            batch.forget_signatures();
        }
    }

    /// Claims a held payment.
    pub fn release_held(
        &mut self,
        now: Timestamp,
        entropy: Entropy,
        payment: &PaymentId,
    ) -> Consequences {
        self.with_lightning_charge(now, entropy, payment, LightningCharge::on_release)
    }

    /// Sends a held payment back.
    pub fn refuse_held(
        &mut self,
        now: Timestamp,
        entropy: Entropy,
        payment: &PaymentId,
    ) -> Consequences {
        self.with_lightning_charge(now, entropy, payment, |charge, desk| {
            charge.on_refuse(desk, FailureReason::Refused);
        })
    }

    fn with_lightning_charge(
        &mut self,
        now: Timestamp,
        entropy: Entropy,
        payment: &PaymentId,
        act: impl FnOnce(&mut LightningCharge, &mut Desk<'_>),
    ) -> Consequences {
        self.with(now, entropy, payment, |record, desk| match record {
            Payment::LightningCharge(charge) => act(charge, desk),
            Payment::OnchainCharge(_)
            | Payment::LightningPayout(_)
            | Payment::OnchainPayout(_)
            | Payment::SepaPayout(_) => {}
        })
    }

    /// What came of an input, and of payouts that can be paid now.
    fn then_build(
        &mut self,
        now: Timestamp,
        entropy: Entropy,
        mut out: Consequences,
    ) -> Consequences {
        let more = self.at_till(now, entropy, |till| till.build_waiting());
        out.events.extend(more.events);
        out.instructions.extend(more.instructions);
        out.answered.extend(more.answered);
        out
    }

    /// Lets payment transactions be made or followed, with everything else at hand.
    fn at_till(
        &mut self,
        now: Timestamp,
        entropy: Entropy,
        act: impl FnOnce(&mut Till<'_, '_>),
    ) -> Consequences {
        let mut payments = std::mem::take(&mut self.records);
        let mut batches = std::mem::take(&mut self.batches);
        let mut desk = self.desk(now, entropy);
        act(&mut Till {
            desk: &mut desk,
            payments: &mut payments,
            batches: &mut batches,
        });
        let out = desk.out;
        self.records = payments;
        self.batches = batches;
        out
    }

    /// Lets one payment act with everything else at hand.
    fn with(
        &mut self,
        now: Timestamp,
        entropy: Entropy,
        payment: &PaymentId,
        act: impl FnOnce(&mut Payment, &mut Desk<'_>),
    ) -> Consequences {
        let Some(mut record) = self.records.remove(payment) else {
            return Consequences::default();
        };
        let mut desk = self.desk(now, entropy);
        act(&mut record, &mut desk);
        let out = desk.out;
        self.records.insert(payment.clone(), record);
        out
    }

    fn desk(&mut self, now: Timestamp, entropy: Entropy) -> Desk<'_> {
        Desk {
            now,
            entropy,
            network: self.network,
            policy: &self.policy,
            bindings: &self.bindings,
            ledger: &mut self.ledger,
            onchain: &mut self.onchain,
            fees: &mut self.fees,
            planted: self.planted,
            out: Consequences::default(),
        }
    }
}
