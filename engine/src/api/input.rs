//! Owns what comes in through the engine's one door: commands from callers, facts from rails.
//! Does not own what is made of them.

use crate::id::{BindingId, CommandId, Did, PartyId, PaymentId, ReconciliationId, WalletId};
use crate::identity::{ProveWallet, RegisterWallet, RotateDid};
use crate::money::Quantity;
use crate::onchain::{Label, WalletSpec};
use crate::payments::{ChannelOrder, Charge, MoveOrder, Payout};
use crate::rail::{Entropy, Fact, Rail};
use bitcoin::OutPoint;
use serde::{Deserialize, Serialize};

/// One input of `Engine::step`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// From an API caller or a scenario.
    Command {
        /// The same id with the same command is answered again; with another command it is refused.
        id: CommandId,
        /// Base of every draw that the command needs (preimages, PSBT ordering).
        entropy: Entropy,
        /// What is asked.
        command: Command,
    },
    /// From a rail.
    Fact {
        /// Base of every draw that the fact's consequences need.
        entropy: Entropy,
        /// What was observed.
        fact: Fact,
    },
}

/// What a caller can ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Open a party's accounts.
    OpenParty {
        /// New.
        party: PartyId,
    },
    /// Say which DID a party has. Layer 0 is asked whether it is active.
    EnrolParty {
        /// Has accounts.
        party: PartyId,
        /// Its DID.
        did: Did,
    },
    /// Open one more of our on-chain wallets.
    OpenWallet(WalletSpec),
    /// Begin to bind a party's own wallet to a DID; answered by a challenge.
    RegisterWallet(RegisterWallet),
    /// Answer the challenge. Layer 0 is asked about the DID.
    ProveWallet(ProveWallet),
    /// Pass a binding on to another DID. Layer 0 is asked about it.
    RotateDid(RotateDid),
    /// End a binding.
    RevokeWallet {
        /// Which.
        binding: BindingId,
    },
    /// Give out a fresh address of one of our wallets.
    NewAddress {
        /// Which.
        wallet: WalletId,
    },
    /// Label something of our wallets (BIP 329); an output may be set aside as not to be spent.
    SetLabel(Label),
    /// Move coins between two of our wallets.
    MoveFunds(MoveOrder),
    /// Book what a rail's outside account held before the engine began (against the operator's equity).
    RecordOpening {
        /// Which outside account.
        rail: Rail,
        /// How much it holds.
        quantity: Quantity,
    },
    /// Move what a wallet's recovery key can spend alone to `hot`: its cosigners are lost.
    SweepByRecovery {
        /// New; shares its ids with payments.
        sweep: PaymentId,
        /// A wallet of several keys.
        wallet: WalletId,
    },
    /// Open a channel of our Lightning node.
    OpenChannel(ChannelOrder),
    /// Close a channel of our Lightning node.
    CloseChannel {
        /// Its funding output.
        funding: OutPoint,
        /// With our own commitment transaction (BOLT 5), without asking the other end.
        force: bool,
    },
    /// Ask for money to be paid to a party (a charge).
    CreateCharge(Charge),
    /// Pay money out of a party's account.
    CreatePayout(Payout),
    /// Claim a payment that a hold invoice keeps waiting.
    ReleaseHeld {
        /// The charge.
        payment: PaymentId,
    },
    /// Fail a held payment back to its payer.
    RefuseHeld {
        /// The charge.
        payment: PaymentId,
    },
    /// Compare the ledger with the outside on all rails. `report_day` is the gateway's business day (YYYY-MM-DD).
    Reconcile {
        /// New.
        run: ReconciliationId,
        /// Day of the settlement report to fetch.
        report_day: String,
    },
}
