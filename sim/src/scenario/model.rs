//! Owns the checked scenario: every name stands for something that the file defines, every amount is exact and in the unit
//! of its place, every combination is legal. Only `check` makes one. Does not own the text it came from (`text`) nor what may be expected (`expectation`).

use super::bindings::{BindingAsked, BindingStep};
use super::channels::ChannelStep;
pub use super::choice::{
    Asset, Bumping, CrashPoint, DidMethod, DidState, Disposal, EnrolmentState, FailureReason,
    Outcome, Pace, PaymentState, Rail, RejectCode, World,
};
use super::escrow::{EscrowDecision, EscrowOfCharge};
pub use super::expectation::Expectation;
use super::invoicing::{PaidInvoice, Routing, Saying};
pub use super::outside::{Account, Channel, Forwarding, Node, Wallet};
use super::own_wallets::{HOT, OwnStep, OwnedWallet, WalletPurpose};
pub use super::paying::PayingOverrides;
pub use super::trouble::{
    About, ChainFaultKind, ClockFaultKind, CosignerFaultKind, DiskFaultKind, Endpoint, Family,
    GatewayFault, GatewayFaultKind, Layer0Fault, Layer0FaultKind, LinkFaultKind, PeerFaultKind,
    ProcessFaultKind, Trouble,
};
pub use super::units::{Balance, Blocks, Cents, CentsPerBtc, Feerate, Millis, Msat, Sat};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

macro_rules! name {
    ($($(#[$doc:meta])* $name:ident,)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub(super) String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

name!(
    /// A party of the scenario; a legal id of the engine.
    PartyName,
    /// A Lightning node of the scenario.
    NodeName,
    /// An outside on-chain wallet of the scenario.
    WalletName,
    /// An outside bank account of the scenario.
    AccountName,
    /// An on-chain wallet of the operator's; a legal id of the engine.
    OwnWalletName,
    /// Somebody who holds one of the keys of a wallet of the operator's; a legal id of the engine.
    CosignerName,
    /// A channel of the scenario.
    ChannelName,
    /// A charge or payout that a step makes; a legal id of the engine.
    PaymentName,
    /// A reconciliation that a step starts; a legal id of the engine.
    RunName,
);

/// Stands in the id of a refund between its charge's id and its number.
pub(super) const REFUND: &str = ".refund-";

impl PaymentName {
    /// The payment that a step makes: of a refund, its charge.
    pub fn made_by_step(&self) -> &str {
        self.0
            .split_once(REFUND)
            .map_or(&self.0, |(charge, _)| charge)
    }
}

/// A scenario that can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// What it shows.
    pub title: String,
    /// Where it runs; at least one.
    pub worlds: BTreeSet<World>,
    /// The reason for each world that is not in `worlds`.
    pub why_not: BTreeMap<World, String>,
    /// Rows of the failure atlas, in order of the file.
    pub covers: Vec<String>,
    /// Root of all random draws.
    pub seed: u64,
    /// When the next step begins; `Free` only if `worlds` is the simulated one alone.
    pub pace: Pace,
    /// What the operator has outside.
    pub operator: Operator,
    /// Overrides of the engine's policy.
    pub policy: PolicyOverrides,
    /// Parties, in order of the file.
    pub parties: Vec<PartyName>,
    /// Those of them that have a DID, and its kind.
    pub dids: BTreeMap<PartyName, DidMethod>,
    /// Lightning nodes, the operator's included, in order of the file.
    pub nodes: Vec<Node>,
    /// Outside wallets, in order of the file.
    pub wallets: Vec<Wallet>,
    /// Outside bank accounts, in order of the file.
    pub accounts: Vec<Account>,
    /// Channels, in order of opening.
    pub channels: Vec<Channel>,
    /// What happens; at least one step.
    pub steps: Vec<Step>,
}

/// What the payment engine's operator has outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// Its Lightning node. There is one if any step pays over Lightning.
    pub node: Option<NodeName>,
    /// Its on-chain wallets, `hot` first, the others in the order of their opening.
    pub wallets: Vec<OwnedWallet>,
    /// Opening balance at the gateway.
    pub gateway: Cents,
}

impl Operator {
    /// The wallet that is always there.
    pub fn hot(&self) -> &OwnedWallet {
        &self.wallets[0]
    }

    /// The same.
    pub fn hot_mut(&mut self) -> &mut OwnedWallet {
        &mut self.wallets[0]
    }
}

impl OwnWalletName {
    /// The wallet that is always there.
    pub fn hot() -> OwnWalletName {
        OwnWalletName(HOT.to_owned())
    }
}

/// What of the engine's policy the scenario sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyOverrides {
    /// Price of bitcoin, above zero.
    pub rate: Option<CentsPerBtc>,
    /// Rules of confirmation depth.
    pub depth: Option<Depth>,
    /// Depth of on-chain payouts, at least 1.
    pub payout_depth: Option<Blocks>,
    /// Feerate of the operator's transactions, above zero.
    pub feerate: Option<Feerate>,
    /// What the wallet is for that charges on chain are paid into.
    pub charges_into: Option<WalletPurpose>,
    /// What the wallet is for that payouts on chain are paid from.
    pub payouts_from: Option<WalletPurpose>,
    /// From so much on (ascending) payouts leave this wallet.
    pub wallet_by_value: Vec<(Sat, OwnWalletName)>,
    /// How long a cosigner is waited for alone, above zero.
    pub cosigner_patience: Option<Millis>,
    /// Blocks before a held payment's claim deadline at which it is failed back.
    pub hold_margin: Option<Blocks>,
    /// Between two questions about an accepted transfer, above zero.
    pub poll_interval: Option<Millis>,
    /// Which payments need a bound wallet.
    pub binding: Option<BindingAsked>,
    /// Whether Layer 0 is told how payments end.
    pub reputation: bool,
    /// Whether the engine manages its node's channels.
    pub channels: bool,
    /// What is done with money on chain that is not as asked.
    pub stray: Option<Stray>,
    /// A charge on chain that is short by no more than this counts as paid.
    pub tolerance: Option<Sat>,
    /// A tip older than this is stale, above zero.
    pub max_tip_age: Option<Millis>,
    /// Who bears what was spent and then taken back.
    pub shortfall: Option<Shortfall>,
    /// How the operator pays on chain.
    pub paying: PayingOverrides,
}

/// What is done with money on chain that does not pay its charge, by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stray {
    /// In time and too little.
    pub partial: Disposal,
    /// Beyond the amount.
    pub over: Disposal,
    /// After the failure.
    pub late: Disposal,
    /// After the settlement.
    pub double: Disposal,
}

/// Who bears what a party has spent and a reorganisation took back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortfall {
    /// The party owes it.
    Receivable {
        /// At most.
        limit: Sat,
    },
    /// The operator.
    Operator,
    /// The party owes it and is frozen.
    Freeze,
}

/// Confirmation depth by value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Depth {
    /// (exclusive bound, confirmations), bounds ascending; the first that fits holds.
    pub below: Vec<(Sat, Blocks)>,
    /// Confirmations for all others; at least 1.
    pub otherwise: Blocks,
}

/// A step. Displays as one canonical line, the heading in traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Earliest time since the scenario's start; never before an earlier step's.
    pub at: Option<Millis>,
    /// In this world only; one of the scenario's.
    pub only: Option<World>,
    /// What happens.
    pub action: Action,
    /// Line of the file, from 1, where its verb's value begins.
    pub line: usize,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Command to the engine.
    Charge(Charge),
    /// Somebody outside pays.
    Pay(Pay),
    /// Command to the engine.
    Payout(Payout),
    /// Command to the engine: this is the party's DID.
    Enrol {
        /// Has a DID.
        party: PartyName,
    },
    /// Something about a binding.
    Binding(BindingStep),
    /// Something with the operator's own wallets.
    Own(OwnStep),
    /// A channel is opened or closed.
    Channel(ChannelStep),
    /// The recovery key moves what it can of a wallet to `hot`.
    Sweep {
        /// One of the operator's.
        wallet: OwnWalletName,
    },
    /// Command to the engine: claim a held charge.
    Release {
        /// Made with `hold` by an earlier step, not decided yet.
        charge: PaymentName,
    },
    /// Command to the engine: fail a held charge back.
    Refuse {
        /// Made with `hold` by an earlier step, not decided yet.
        charge: PaymentName,
    },
    /// The agent of an escrow decides, and it is told.
    Decide(EscrowDecision),
    /// Blocks are mined, with all that the mempool has and the fee market lets in.
    Mine {
        /// At least 1.
        blocks: Blocks,
    },
    /// The last blocks are replaced.
    Reorg(Reorg),
    /// A Lightning node's process dies.
    CrashNode {
        /// Up until now.
        node: NodeName,
        /// It comes back by itself after this span, else by a `RestartNode`.
        down_for: Option<Millis>,
    },
    /// A Lightning node is started again.
    RestartNode {
        /// Down until now.
        node: NodeName,
    },
    /// The engine's process dies at this point of the next input that concerns a payment, and is started again at once.
    CrashEngine {
        /// Where.
        point: CrashPoint,
        /// Of any step: faults may be armed before the payment is made.
        on: PaymentName,
    },
    /// Something breaks.
    Trouble(Trouble),
    /// Trouble with the gateway.
    Gateway(GatewayFault),
    /// Trouble with Layer 0.
    Layer0(Layer0Fault),
    /// The feerate that a transaction needs from now on to be mined.
    Fee {
        /// Above zero.
        feerate: Feerate,
    },
    /// Virtual time passes.
    Wait {
        /// Above zero.
        span: Millis,
    },
    /// Command to the engine.
    Reconcile {
        /// New.
        run: RunName,
    },
    /// Something must be true.
    Expect(Expectation),
}

/// A request for money to a party.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// New.
    pub id: PaymentName,
    /// Is credited.
    pub party: PartyName,
    /// How much, how.
    pub request: Request,
    /// Above zero.
    pub expires: Millis,
    /// Where money goes back to that does not pay it; on chain only.
    pub refund_to: Option<WalletName>,
    /// Whose decision its money waits for.
    pub escrow: Option<EscrowOfCharge>,
}

/// What a charge asks for; amounts above zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A BOLT 11 invoice of the operator's node.
    Lightning {
        /// How much; `None`: the payer says.
        amount: Option<Msat>,
        /// Whether it waits for `Release` or `Refuse`.
        hold: bool,
        /// What it says that it is for.
        says: Option<Saying>,
    },
    /// An address of the operator's.
    Onchain {
        /// How much.
        amount: Sat,
        /// Of another wallet than `hot`.
        wallet: Option<OwnWalletName>,
        /// Whether it has an invoice as well.
        invoice: bool,
        /// What that says that it is for.
        says: Option<Saying>,
    },
}

/// A payment by an outsider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pay {
    /// The charge that is paid; made by an earlier step or by this one.
    pub charge: PaymentName,
    /// The charge that this step makes first.
    pub opens: Option<Charge>,
    /// Who pays, in the way that the charge asks for.
    pub payer: Payer,
}

/// Who pays a charge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payer {
    /// Pays the invoice; never the operator's node.
    Node {
        /// Who.
        node: NodeName,
        /// Instead of the invoice's amount.
        amount: Option<Msat>,
        /// Instead of a route that the node finds (simulated world only).
        route: Option<Route>,
    },
    /// Pays to the address.
    Wallet {
        /// Who.
        wallet: WalletName,
        /// Instead of the charge's amount.
        amount: Option<Sat>,
        /// Instead of the least that gets mined.
        feerate: Option<Feerate>,
        /// The charge whose unconfirmed payment by the same wallet it replaces (BIP 125).
        instead_of: Option<PaymentName>,
    },
}

/// A route that a scenario prescribes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Forwarding nodes, in order; at least one.
    pub via: Vec<NodeName>,
    /// Blocks between the payee's HTLC and the next block.
    pub final_cltv: Blocks,
}

/// An order to pay somebody outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payout {
    /// New.
    pub id: PaymentName,
    /// Whose money.
    pub from: PartyName,
    /// To whom, how much, how.
    pub payee: Payee,
    /// On chain only: whose bound wallet it is; `None`: that of `from`.
    pub bound_to: Option<PartyName>,
    /// Above zero.
    pub deadline: Millis,
}

/// Who is paid; amounts above zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payee {
    /// Lightning: an invoice of this node, never the operator's.
    Node {
        /// Who.
        node: NodeName,
        /// What he gets.
        amount: Msat,
        /// Which invoice.
        invoice: PaidInvoice,
        /// How a way is looked for.
        routing: Routing,
    },
    /// On chain: a fresh address of this wallet.
    Wallet {
        /// Who.
        wallet: WalletName,
        /// What he gets.
        amount: OnchainAmount,
        /// From another wallet than `hot`.
        out_of: Option<OwnWalletName>,
    },
    /// SEPA.
    Account {
        /// Who.
        account: AccountName,
        /// What he gets.
        amount: Cents,
        /// Euro, or bitcoin at the policy's rate.
        funded_by: Asset,
    },
}

/// How much a payout on chain is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnchainAmount {
    /// So much.
    Exactly(Sat),
    /// All that the party can spend, less the miner's fee.
    All,
}

/// A replacement of the last blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reorg {
    /// Blocks disconnected; at least 1.
    pub depth: Blocks,
    /// Blocks mined in their place; more than `depth`.
    pub then: Blocks,
    /// On-chain payments whose transactions are conflicted away.
    pub drop: Vec<PaymentName>,
    /// Whether the others are mined again at once.
    pub keep: bool,
}

impl Request {
    /// The rail that the charge is paid over.
    pub fn rail(&self) -> Rail {
        match self {
            Self::Lightning { .. } => Rail::Lightning,
            Self::Onchain { .. } => Rail::Onchain,
        }
    }
}

impl Payee {
    /// The rail that the payout goes over.
    pub fn rail(&self) -> Rail {
        match self {
            Self::Node { .. } => Rail::Lightning,
            Self::Wallet { .. } => Rail::Onchain,
            Self::Account { .. } => Rail::Sepa,
        }
    }
}

impl Action {
    /// The only world that can do this; `None` if every world can.
    pub fn bound_to(&self) -> Option<World> {
        match self {
            Self::Trouble(trouble) if trouble.is_possible_in(World::Regtest) => None,
            Self::Trouble(_) | Self::Expect(Expectation::Htlc { .. }) => Some(World::Simulated),
            Self::Layer0(fault) if fault.kind.takes_time() => Some(World::Simulated),
            Self::Pay(Pay {
                payer: Payer::Node { route: Some(_), .. },
                ..
            }) => Some(World::Simulated),
            Self::Charge(_)
            | Self::Pay(_)
            | Self::Payout(_)
            | Self::Own(_)
            | Self::Channel(_)
            | Self::Enrol { .. }
            | Self::Layer0(_)
            | Self::Binding(_)
            | Self::Sweep { .. }
            | Self::Release { .. }
            | Self::Refuse { .. }
            | Self::Decide(_)
            | Self::Mine { .. } => None,
            Self::Gateway(fault) if fault.kind.takes_time() => Some(World::Simulated),
            Self::Reorg(_)
            | Self::CrashNode { .. }
            | Self::RestartNode { .. }
            | Self::CrashEngine { .. }
            | Self::Gateway(_) => None,
            Self::Fee { .. } | Self::Wait { .. } | Self::Reconcile { .. } | Self::Expect(_) => None,
        }
    }
}
