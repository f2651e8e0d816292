//! Owns the scenario as typed: every table and key with its meaning, each value still text where it has a unit.
//! From here come both what the reader knows and the JSON schema. Does not own what is consistent (`check`), the dispatch of
//! steps and expectations by their verb (`verb`), nor what an expectation is about (`subject`).

use super::bindings::BindingAsked;
use super::choice::{
    Asset, Bearer, Bumping, ChainFault, ClockFault, CosignerFault, CrashPoint, DidMethod, DidState,
    DiskFault, Disposal, GatewayFaultKind, Layer0Fault, LinkFault, Pace, PeerFault, ProcessFault,
    Rail, RejectCode, World,
};
use super::escrow::InEscrow;
use super::invoicing::InvoiceKind;
pub(super) use super::own_wallets::OwnWallet;
use super::own_wallets::WalletPurpose;
use super::problem::Problems;
use super::read::{At, Named, Node, Optional, Read, Required, table};
pub(super) use super::subject::*;
pub(super) use super::topology::Topology;
pub(super) use super::verb::{Expect, Step};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::de::DeValue;

/// Defines a text with a unit: not parsed yet, because what is legal depends on where it stands.
macro_rules! measure {
    ($(#[doc = $doc:literal])+ $name:ident, $integers:literal, $pattern:literal, [$first:literal $(, $example:literal)*]) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug)]
        pub(super) struct $name(pub(super) String);

        impl Read for $name {
            fn read(node: Node<'_>, problems: &mut Problems) -> Option<Self> {
                match node.value {
                    DeValue::String(text) => Some(Self(text.clone().into_owned())),
                    DeValue::Integer(number) if $integers && number.radix() == 10 => Some(Self(format!("{} blocks", number.as_str()))),
                    _ => {
                        node.mistyped("text with a unit", concat!("\"", $first, "\""), problems);
                        None
                    }
                }
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let types: &[&str] = if $integers { &["string", "integer"] } else { &["string"] };
                json_schema!({
                    "type": types, "minimum": 0, "pattern": $pattern,
                    "description": concat!($($doc),+).trim(), "examples": [$first $(, $example)*],
                })
            }
        }
    };
}

measure!(
    /// An amount of money: number, space, unit. Bitcoin in `BTC`, `sat` or `msat`, euro in `EUR`.
    Amount, false, "^-?[0-9][0-9_]*(\\.[0-9_]+)? *(BTC|sat|msat|EUR)$", ["400_000 sat", "0.5 BTC", "4_999_999 msat", "12.50 EUR"]
);
measure!(
    /// An amount of money, or `all` that the party can spend (on chain only).
    AmountOrAll, false, "^(all|-?[0-9][0-9_]*(\\.[0-9_]+)? *(BTC|sat|msat|EUR))$", ["400_000 sat", "12.50 EUR", "all"]
);
measure!(
    /// An amount of money, or `any` that the payer chooses (Lightning only).
    AmountOrAny, false, "^(any|-?[0-9][0-9_]*(\\.[0-9_]+)? *(BTC|sat|msat))$", ["400_000 sat", "any"]
);
measure!(
    /// A span of virtual time: number, space, `ms`, `s`, `min`, `h` or `d`.
    Duration, false, "^[0-9][0-9_]*(\\.[0-9_]+)? *(ms|s|min|h|d)$", ["30 s", "5 min", "2 h", "10.2 s"]
);
measure!(
    /// A number of blocks: an integer, or text with the unit.
    BlockCount, true, "^[0-9][0-9_]* *blocks?$", ["6 blocks", "1 block"]
);
measure!(
    /// A feerate.
    FeerateText, false, "^[0-9][0-9_]*(\\.[0-9_]+)? *sat/vB$", ["2 sat/vB", "1.5 sat/vB"]
);
measure!(
    /// A price of bitcoin.
    RateText, false, "^[0-9][0-9_]*(\\.[0-9_]+)? *EUR/BTC$", ["60_000.00 EUR/BTC"]
);

table!(
    /// A scripted scenario of Lockstep: who is there, what happens, what must then be true.
    Scenario {
        /// What the scenario shows, as one sentence.
        "title" title: Required<String>,
        /// Where it runs.
        "worlds" worlds: Required<Vec<At<World>>>,
        /// For each world that `worlds` does not name, why the scenario cannot run there.
        "why_not" why_not: Optional<WhyNot>,
        /// Rows of the failure atlas that it exercises, such as "L1" or "F54".
        "covers" covers: Optional<Vec<At<String>>>,
        /// Root of all random draws. Default 1.
        "seed" seed: Optional<u64>,
        /// When the next step begins. Default "lock-step".
        "pace" pace: Optional<Pace>,
        /// What the payment engine's operator has outside.
        "operator" operator: Optional<Operator>,
        /// Overrides of the engine policy's defaults.
        "policy" policy: Optional<Policy>,
        /// Parties with accounts in the engine, by name.
        "parties" parties: Optional<Named<Party>>,
        /// A network of nodes and channels that is described instead of listed; they stand before those of `nodes` and `channels`.
        "topology" topology: Optional<Topology>,
        /// Lightning nodes, by name. All but the operator's are outsiders.
        "nodes" nodes: Optional<Named<Fundable>>,
        /// Outside on-chain wallets, by name.
        "wallets" wallets: Optional<Named<Fundable>>,
        /// Outside bank accounts, by name.
        "accounts" accounts: Optional<Named<Account>>,
        /// Lightning channels, by name, opened in the file's order during the warm-up.
        "channels" channels: Optional<Named<Channel>>,
        /// What happens, in order.
        "steps" steps: Required<Vec<At<Step>>>,
    }
);
table!(
    /// Reasons why a scenario does not run in a world.
    WhyNot {
        /// Why it cannot run in the simulated world.
        "simulated" simulated: Optional<String>,
        /// Why it cannot run in the regtest world.
        "regtest" regtest: Optional<String>,
    }
);
table!(
    /// What the payment engine's operator has outside.
    Operator {
        /// Its Lightning node, one of `nodes`. Without one, no Lightning payment is possible.
        "node" node: Optional<String>,
        /// Opening funds of its on-chain wallet `hot`, in one confirmed output. Default none.
        "wallet" wallet: Optional<Amount>,
        /// More of its on-chain wallets, by name; what is said of `hot` is about the one that is always there.
        "wallets" wallets: Optional<Named<OwnWallet>>,
        /// Opening balance at the fiat gateway. Default none.
        "gateway" gateway: Optional<Amount>,
    }
);
table!(
    /// Overrides of the engine policy's defaults; what is left out keeps its default.
    Policy {
        /// The price at which bitcoin pays for euro payouts.
        "rate" rate: Optional<RateText>,
        /// How deep an on-chain payment must be, by its value: the first rule that fits holds, the last has no `below`.
        "depth" depth: Optional<Vec<At<DepthRule>>>,
        /// How deep an on-chain payout must be.
        "payout_depth" payout_depth: Optional<BlockCount>,
        /// Feerate of the operator's transactions.
        "feerate" feerate: Optional<FeerateText>,
        /// What the wallet is for that charges on chain are paid into, unless they name one. Default "hot".
        "charges_into" charges_into: Optional<WalletPurpose>,
        /// What the wallet is for that payouts on chain are paid from, unless they name one. Default "hot".
        "payouts_from" payouts_from: Optional<WalletPurpose>,
        /// From which value on payouts leave which wallet of the operator's, ascending.
        "wallet_by_value" wallet_by_value: Optional<Vec<At<WalletRule>>>,
        /// How long a cosigner is waited for alone; then the next one is asked too.
        "cosigner_patience" cosigner_patience: Optional<Duration>,
        /// A held payment is failed back when no more than this many blocks remain for its claim.
        "hold_margin" hold_margin: Optional<BlockCount>,
        /// Between two questions about a transfer that the gateway has accepted.
        "poll_interval" poll_interval: Optional<Duration>,
        /// Which on-chain payments need a bound wallet. Default "off".
        "binding" binding: Optional<BindingAsked>,
        /// Whether Layer 0 is told how payments of parties with a DID end. Default false.
        "reputation" reputation: Optional<bool>,
        /// Whether the engine manages its node's channels and keeps their books. Default false.
        "channels" channels: Optional<bool>,
        /// What is done with money on chain that is not as asked, and that it is told. Default: it is not told.
        "stray" stray: Optional<Stray>,
        /// A charge on chain that is short by no more than this counts as paid. Default none.
        "tolerance" tolerance: Optional<Amount>,
        /// A tip older than this is stale: nothing settles, fails or is refunded by it. Default: none is.
        "max_tip_age" max_tip_age: Optional<Duration>,
        /// Who bears what a party has spent and a reorganisation took back. Default: its account goes below zero.
        "shortfall" shortfall: Optional<Shortfall>,
        /// How the operator pays on chain. Default: one transaction for each payout, at `feerate`.
        "paying" paying: Optional<Paying>,
    }
);
table!(
    /// What is done with money on chain that does not pay its charge, by kind; "suspense" for what is left out.
    Stray {
        /// Came in time and did not suffice.
        "partial" partial: Optional<Disposal>,
        /// What a settled charge got beyond its amount.
        "over" over: Optional<Disposal>,
        /// Came after the charge had failed.
        "late" late: Optional<Disposal>,
        /// Came after the charge was settled.
        "double" double: Optional<Disposal>,
    }
);
table!(
    /// Who bears what a party has spent and a reorganisation took back.
    Shortfall {
        /// Who.
        "by" by: Required<Bearer>,
        /// With "receivable": the most that a party may owe; the operator bears the rest. Default 0.01 BTC.
        "limit" limit: Optional<Amount>,
    }
);
table!(
    /// How the operator pays on chain.
    Paying {
        /// Fees are estimated, and never below this. Stands beside `ceiling`.
        "floor" floor: Optional<FeerateText>,
        /// Fees are estimated, and never above this.
        "ceiling" ceiling: Optional<FeerateText>,
        /// The most that one payout may cost in miner's fees. Default: the highest feerate for 10,000 weight units.
        "budget" budget: Optional<Amount>,
        /// What is done about a transaction that offers too little. Default "off"; anything else needs `floor` and `ceiling`.
        "bump" bump: Optional<Bumping>,
        /// How long a payout waits for others, to leave in one transaction. Default: not at all.
        "window" window: Optional<Duration>,
        /// The most payouts in one transaction. Default 50.
        "most" most: Optional<u64>,
        /// From so many spendable coins on they are made fewer. Stands beside `cheap`.
        "coins" coins: Optional<u64>,
        /// Coins are made fewer only at this feerate or below.
        "cheap" cheap: Optional<FeerateText>,
    }
);
table!(
    /// One rule of confirmation depth.
    DepthRule {
        /// The rule holds for payments below this amount; the last rule has none and holds for all others.
        "below" below: Optional<Amount>,
        /// Confirmations that settle the payment; the block that holds it is the first.
        "blocks" blocks: Required<BlockCount>,
    }
);
table!(
    /// One rule of which wallet pays.
    WalletRule {
        /// The rule holds for payouts of this amount and more.
        "from" from: Required<Amount>,
        /// One of `operator.wallets`.
        "wallet" wallet: Required<String>,
    }
);
table!(
    /// A party: a bitcoin and a euro account in the engine, both empty.
    Party {
        /// It has a DID of this kind, which Layer 0 knows. Default none.
        "did" did: Optional<DidMethod>,
    }
);
table!(
    /// Somebody outside with bitcoin of his own.
    Fundable {
        /// Opening on-chain funds, in one confirmed output. Default none.
        "funds" funds: Optional<Amount>,
    }
);
table!(
    /// An outside bank account.
    Account {
        /// Account number (ISO 13616), spaces allowed. Its check digits are the engine's to judge.
        "iban" iban: Required<String>,
        /// Account holder, 1 to 70 characters.
        "name" name: Required<String>,
    }
);
table!(
    /// A Lightning channel.
    Channel {
        /// The node that opens and funds it.
        "from" from: Required<String>,
        /// The node at the other end.
        "to" to: Required<String>,
        /// Its size.
        "capacity" capacity: Required<Amount>,
        /// What `to` is given at the opening. Default none.
        "push" push: Optional<Amount>,
        /// Whether other nodes may route over it. Default true.
        "announced" announced: Optional<bool>,
        /// It is opened by a step, not before the scenario begins. Default false.
        "later" later: Optional<bool>,
        /// What each end asks for forwarding.
        "fees" fees: Optional<Fees>,
    }
);
table!(
    /// The forwarding policy of both ends of a channel.
    Fees {
        /// For what leaves `from` over this channel.
        "from" from: Optional<Forwarding>,
        /// For what leaves `to` over this channel.
        "to" to: Optional<Forwarding>,
    }
);
table!(
    /// What one end of a channel asks for forwarding (BOLT 7, `channel_update`).
    Forwarding {
        /// Fee for each HTLC. Default "1_000 msat".
        "base" base: Optional<Amount>,
        /// Proportional fee in millionths of the forwarded amount. Default 100.
        "ppm" ppm: Optional<u64>,
        /// CLTV expiry delta. Default "80 blocks".
        "cltv" cltv: Optional<BlockCount>,
    }
);
table!(
    /// The engine is asked to request money for a party.
    Charge {
        /// New.
        "id" id: Required<String>,
        /// Who is credited.
        "party" party: Required<String>,
        /// How much; bitcoin. Over Lightning also "any": the payer says.
        "amount" amount: Required<AmountOrAny>,
        /// "lightning" or "onchain".
        "over" over: Required<Rail>,
        /// Lightning only: a paid charge waits for `release` or `refuse`. Default false.
        "hold" hold: Optional<bool>,
        /// On chain only: the charge has an invoice as well, and whichever way pays first settles it. Default false.
        "invoice" invoice: Optional<bool>,
        /// With an invoice only: what it says that it is for. Default: the id.
        "description" description: Optional<String>,
        /// With an invoice only: it has the SHA-256 of these words in place of a description.
        "description_hash" description_hash: Optional<String>,
        /// Unpaid after this span, it expires. Default "1 h".
        "expires" expires: Optional<Duration>,
        /// On chain only: which of the operator's wallets is paid. Default "hot".
        "wallet" wallet: Optional<String>,
        /// On chain only: the wallet to which money goes back that does not pay the charge.
        "refund_to" refund_to: Optional<String>,
        /// Its money waits for an agent's decision; on chain it needs `refund_to`.
        "escrow" escrow: Optional<InEscrow>,
    }
);
table!(
    /// Somebody outside pays: either a `charge` that is there, or a new one that `id`, `to` and `amount` describe.
    Pay {
        /// The charge to pay.
        "charge" charge: Optional<String>,
        /// Instead of `charge`: the id of a charge that is made first and then paid.
        "id" id: Optional<String>,
        /// A node (Lightning) or a wallet (on chain).
        "from" from: Required<String>,
        /// With `id`: the party to be credited.
        "to" to: Optional<String>,
        /// With `id`: the amount of the charge. With `charge`: pay this instead of what is asked.
        "amount" amount: Optional<Amount>,
        /// "lightning" or "onchain". Default: what `from` can do.
        "over" over: Optional<Rail>,
        /// Lightning only: the nodes that forward it, in order; the simulated world alone can choose a route.
        "via" via: Optional<Vec<At<String>>>,
        /// With `via`: blocks between the payee's HTLC and the next block.
        "final_cltv" final_cltv: Optional<BlockCount>,
        /// On chain only: feerate of the paying transaction. Default: the least that gets mined.
        "feerate" feerate: Optional<FeerateText>,
        /// With `charge`, on chain only: the charge whose unconfirmed payment by the same wallet this one replaces (BIP 125).
        "instead_of" instead_of: Optional<String>,
    }
);
table!(
    /// The engine is asked to pay money out of a party's account.
    Payout {
        /// New.
        "id" id: Required<String>,
        /// The party that pays.
        "from" from: Required<String>,
        /// A node (its invoice is made first), a wallet (its fresh address) or a bank account.
        "to" to: Required<String>,
        /// What the payee gets: bitcoin for nodes and wallets, euro for bank accounts; "all" that the party can spend, less the
        /// miner's fee, for wallets.
        "amount" amount: Required<AmountOrAll>,
        /// Lightning only: which invoice of `to` is paid. Default "plain".
        "invoice" invoice: Optional<InvoiceKind>,
        /// Lightning only, in place of `invoice`: the invoice of this earlier charge or payout.
        "invoice_of" invoice_of: Optional<String>,
        /// Lightning only: the most for routing fees. Default: the policy's limit.
        "max_fee" max_fee: Optional<Amount>,
        /// Lightning only: how long other ways are looked for; the simulated world alone can change it. Default "10 s".
        "retry" retry: Optional<Duration>,
        /// What pays for it. Default: the same asset.
        "funded_by" funded_by: Optional<Asset>,
        /// "lightning", "onchain" or "sepa". Default: what `to` can take.
        "over" over: Optional<Rail>,
        /// It must be final by then. Default "1 h".
        "deadline" deadline: Optional<Duration>,
        /// On chain only, with `policy.binding`: the party whose bound wallet it is. Default `from`.
        "payee" payee: Optional<String>,
        /// On chain only: which of the operator's wallets pays. Default "hot".
        "wallet" wallet: Optional<String>,
    }
);
table!(
    /// The last `depth` blocks are replaced by `then` others.
    Reorg {
        /// How many blocks are disconnected.
        "depth" depth: Required<BlockCount>,
        /// How many are mined in their place; more than `depth`.
        "then" then: Required<BlockCount>,
        /// On-chain payments whose transactions vanish from the mempool too, because a conflicting one was mined.
        "drop" drop: Optional<Vec<At<String>>>,
        /// Whether the other disconnected transactions are mined again at once. Default false: they wait in the mempool for a `mine`.
        "keep" keep: Optional<bool>,
    }
);
table!(
    /// A process dies: either a `node` at once, or the `engine` at a point of the next input that concerns a payment.
    Crash {
        /// The Lightning node whose process dies now.
        "node" node: Optional<String>,
        /// With `node`: it is started again after this span. Default: by a `restart`.
        "for" span: Optional<Duration>,
        /// Where in its handling of an input the engine dies; it is started again at once.
        "engine" engine: Optional<CrashPoint>,
        /// With `engine`: the payment whose next input it is.
        "on" on: Optional<String>,
    }
);
table!(
    /// A crashed node is started again from what is on its disk.
    Restart {
        /// Which.
        "node" node: Required<String>,
    }
);
table!(
    /// Trouble on the link between two endpoints.
    Link {
        /// The two: nodes, "engine", "gateway", "layer0" or "chain". A fault with a direction goes from the first to the second.
        "between" between: Required<Vec<At<String>>>,
        /// What happens.
        "fault" fault: Required<LinkFault>,
        /// How long; for all but "disconnect".
        "for" span: Optional<Duration>,
        /// How much later messages arrive; for "delay", "spikes" and "reorder".
        "by" by: Optional<Duration>,
    }
);
table!(
    /// Trouble with a process.
    Process {
        /// Whose: a node, "engine", "gateway", "layer0" or "chain".
        "of" of: Required<String>,
        /// What happens.
        "fault" fault: Required<ProcessFault>,
        /// How long; for "kill", "kill-at-write" and "stale-restart" until it is started again.
        "for" span: Required<Duration>,
        /// Which write from now, from 1; for "kill-at-write". Default 1.
        "write" write: Optional<u64>,
        /// How old the state is; for "stale-restart".
        "by" by: Optional<Duration>,
    }
);
table!(
    /// Trouble with what a process keeps.
    Disk {
        /// Whose: a node or "engine".
        "of" of: Required<String>,
        /// What happens.
        "fault" fault: Required<DiskFault>,
        /// How long; for "torn" and "lost" until the process is started again.
        "for" span: Required<Duration>,
        /// How much longer a sync takes; for "slow".
        "by" by: Optional<Duration>,
    }
);
table!(
    /// Trouble with what a process takes for the time.
    Clock {
        /// Whose: a node, "engine", "gateway", "layer0" or "chain" (block times).
        "of" of: Required<String>,
        /// What happens.
        "fault" fault: Required<ClockFault>,
        /// How long; for "skew" and "drift".
        "for" span: Optional<Duration>,
        /// How much; for "skew" and "step".
        "by" by: Optional<Duration>,
        /// How fast it runs away, in millionths; for "drift".
        "ppm" ppm: Optional<u64>,
        /// Slow instead of fast. Default false.
        "behind" behind: Optional<bool>,
    }
);
table!(
    /// Trouble with the chain or its backend.
    Chain {
        /// What happens.
        "fault" fault: Required<ChainFault>,
        /// How long; for all but "evict" and "replace".
        "for" span: Optional<Duration>,
        /// The on-chain payment; for "evict" and "replace".
        "on" on: Optional<String>,
        /// How many blocks behind; for "lag".
        "blocks" blocks: Optional<BlockCount>,
        /// What a transaction needs to be mined; for "fee-spike".
        "feerate" feerate: Optional<FeerateText>,
    }
);
table!(
    /// A Lightning node does not keep to the protocol.
    Peer {
        /// Which; never the operator's.
        "of" of: Required<String>,
        /// What it does.
        "fault" fault: Required<PeerFault>,
        /// How long; for all but "revoked".
        "for" span: Optional<Duration>,
        /// Which of its channels; for "revoked".
        "channel" channel: Optional<String>,
    }
);
table!(
    /// A cosigner does not do what he is asked to.
    Cosigner {
        /// Which; one of the `cosigners` of a wallet of the operator's.
        "of" of: Required<String>,
        /// What he does.
        "fault" fault: Required<CosignerFault>,
        /// How long.
        "for" span: Required<Duration>,
    }
);
table!(
    /// The fiat gateway is made to misbehave about one SEPA payout.
    Gateway {
        /// What it does.
        "fault" fault: Required<GatewayFaultKind>,
        /// The payout.
        "on" on: Required<String>,
        /// How late or how long; for "delay-webhook", "slow-response" and "slow-body".
        "by" by: Optional<Duration>,
        /// The error code; for "reject". Default "insufficient_funds".
        "code" code: Optional<RejectCode>,
        /// Reason code (ISO 20022 ExternalReturnReason1Code); for "return". Default "AC04", account closed.
        "reason" reason: Optional<String>,
        /// How long after the order was taken; for "return". One that is not later than the booking (1 min) is never booked. Default "1 min".
        "after" after: Optional<Duration>,
        /// How many in a row; for "lose-request", "lose-response", "cut-body", "server-error" and "too-many-requests". Default 1.
        "times" times: Optional<u64>,
    }
);
table!(
    /// Layer 0 changes what it says of a party's DID, or misbehaves about questions for it or statements about a payment.
    Layer0 {
        /// The party whose DID it is about; with `state`, `rotates_to` or `fault`.
        "party" party: Optional<String>,
        /// What Layer 0 says of the DID from now on.
        "state" state: Optional<DidState>,
        /// The party whose DID takes its place; the engine is told.
        "rotates_to" rotates_to: Optional<String>,
        /// What it does wrong.
        "fault" fault: Optional<Layer0Fault>,
        /// With `fault`: the payment about which it is told.
        "on" on: Optional<String>,
        /// How late or how long; for "slow-response" and "slow-body".
        "by" by: Optional<Duration>,
        /// How many in a row; for "lose-request", "lose-response", "cut-body", "server-error" and "too-many-requests". Default 1.
        "times" times: Optional<u64>,
    }
);
table!(
    /// The ledger is compared with the outside on every rail.
    Reconcile {
        /// New.
        "id" id: Required<String>,
    }
);
