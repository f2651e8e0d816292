//! Owns what payments make of our wallets: opening them, which one an order means, fresh addresses, moves between them.
//! Does not own what lies in a wallet (`onchain`) nor the states of a move (`funds_move`).

use super::Payments;
use super::funds_move::{FundsMove, MoveOrder};
use crate::event::{Consequences, Event};
use crate::id::{IdempotencyKey, PartyId, PaymentId, WalletId};
use crate::money::Sat;
use crate::onchain::{OpenRefused, Owner, Purpose, WalletSpec};
use crate::planted::Bug;
use crate::rail::{Effect, Entropy, Instruction};
use crate::time::Timestamp;
use bitcoin::OutPoint;

/// The dust limit of the longest of our own scripts (taproot, at Bitcoin Core's dust relay feerate of 3 sat/vB).
const LEAST_MOVE: Sat = Sat(330);

/// Why a wallet cannot serve an order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalletRefused {
    /// There is no wallet of that name.
    #[error("wallet `{wallet}` is not open")]
    Unknown {
        /// Which.
        wallet: WalletId,
    },
    /// It serves another party alone.
    #[error("wallet `{wallet}` serves another party than `{party}`")]
    NotTheirs {
        /// Which.
        wallet: WalletId,
        /// For whom it was asked.
        party: PartyId,
    },
    /// A wallet that is restored from its descriptors looks no further than the gap limit (BIP 44).
    #[error(
        "wallet `{wallet}` has given out {unused} addresses in a row that nobody has paid to; its gap limit is {limit}"
    )]
    GapLimit {
        /// Which.
        wallet: WalletId,
        /// Addresses in a row.
        unused: u32,
        /// Its limit.
        limit: u32,
    },
}

/// Why funds are not moved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoveRefused {
    /// A payment or a move has this id.
    #[error("payment id `{payment}` was used before")]
    PaymentIdUsed {
        /// Which.
        payment: PaymentId,
    },
    /// One of the wallets cannot serve.
    #[error("{cause}")]
    Wallet {
        /// Why.
        #[from]
        cause: WalletRefused,
    },
    /// Both are the same.
    #[error("wallet `{wallet}` would pay itself")]
    SameWallet {
        /// Which.
        wallet: WalletId,
    },
    /// The coins of a party's wallet stay its own.
    #[error("wallets `{from}` and `{to}` have different owners")]
    OtherOwner {
        /// Payer.
        from: WalletId,
        /// Payee.
        to: WalletId,
    },
    /// Below dust, or above the policy's limit for payouts.
    #[error("{amount_sat} is not between {least} and {most}")]
    AmountOutOfRange {
        /// Asked.
        amount_sat: Sat,
        /// Limit.
        least: Sat,
        /// Limit.
        most: Sat,
    },
}

impl Payments {
    /// Whether the wallet could be opened.
    pub fn check_wallet(&self, spec: &WalletSpec) -> Result<(), OpenRefused> {
        if let Owner::Party(party) = &spec.owner
            && !self.ledger.has_party(party)
        {
            return Err(OpenRefused::UnknownOwner {
                wallet: spec.name.clone(),
                party: party.clone(),
            });
        }
        self.onchain.check_open(spec)
    }

    /// Opens a wallet, and has the chain looked at: it may have a history.
    pub fn open_wallet(&mut self, spec: &WalletSpec) -> Consequences {
        self.onchain
            .open(spec)
            .expect("the wallet was checked on admission");
        let look = Instruction {
            key: first_look(&spec.name),
            effect: Effect::ReadChain,
        };
        Consequences {
            events: vec![Event::WalletOpened {
                wallet: spec.name.clone(),
            }],
            instructions: vec![look],
            ..Consequences::default()
        }
    }

    /// Whether a fresh address would be given.
    pub fn check_address(&self, wallet: &WalletId) -> Result<(), WalletRefused> {
        let Some(onchain) = self.onchain.get(wallet) else {
            return Err(WalletRefused::Unknown {
                wallet: wallet.clone(),
            });
        };
        let (unused, limit) = (onchain.unused_addresses(), onchain.gap_limit());
        if unused >= limit && self.planted != Some(Bug::IgnoreGapLimit) {
            return Err(WalletRefused::GapLimit {
                wallet: wallet.clone(),
                unused,
                limit,
            });
        }
        Ok(())
    }

    /// Gives out a fresh address. What is paid to it is nobody's until somebody says whose it is.
    pub fn give_address(&mut self, wallet: &WalletId) -> Consequences {
        let (address, _) = self.onchain.reveal_address(wallet);
        Consequences {
            events: vec![Event::AddressGiven {
                wallet: wallet.clone(),
                address,
            }],
            ..Consequences::default()
        }
    }

    /// The wallet that an order means: the one it names; else, of the policy's purpose, the party's own; else the
    /// operator's. Where there are several it is `hot` or the first by name; where there is none it is `hot`.
    pub(super) fn wallet_for(
        &self,
        party: &PartyId,
        named: &Option<WalletId>,
        purpose: Purpose,
    ) -> WalletId {
        if let Some(named) = named {
            return named.clone();
        }
        let of = |owner: &Owner| {
            let mut wallets = self.onchain.iter().map(|(spec, _)| spec);
            let found = wallets.find(|spec| spec.purpose == purpose && spec.owner == *owner);
            found.map(|spec| spec.name.clone())
        };
        let operators = || match purpose {
            Purpose::Hot => None,
            Purpose::Savings | Purpose::Multisig | Purpose::Lightning | Purpose::Deposits => {
                of(&Owner::Operator)
            }
        };
        of(&Owner::Party(party.clone()))
            .or_else(operators)
            .unwrap_or_else(WalletId::hot)
    }

    /// Whether the wallet may serve the party.
    pub(super) fn check_serves(
        &self,
        wallet: &WalletId,
        party: &PartyId,
    ) -> Result<(), WalletRefused> {
        match self.onchain.spec(wallet).map(|spec| &spec.owner) {
            None => Err(WalletRefused::Unknown {
                wallet: wallet.clone(),
            }),
            Some(Owner::Party(owner)) if owner != party => Err(WalletRefused::NotTheirs {
                wallet: wallet.clone(),
                party: party.clone(),
            }),
            Some(Owner::Party(_) | Owner::Operator) => Ok(()),
        }
    }

    /// Whether funds would be moved.
    pub fn check_move(&self, order: &MoveOrder) -> Result<(), MoveRefused> {
        if self.is_id_used(&order.payment) {
            return Err(MoveRefused::PaymentIdUsed {
                payment: order.payment.clone(),
            });
        }
        let owner = |wallet: &WalletId| {
            let spec = self.onchain.spec(wallet);
            spec.map(|spec| &spec.owner).ok_or(WalletRefused::Unknown {
                wallet: wallet.clone(),
            })
        };
        let (from, to) = (owner(&order.from)?, owner(&order.to)?);
        if order.from == order.to {
            return Err(MoveRefused::SameWallet {
                wallet: order.from.clone(),
            });
        }
        if from != to {
            return Err(MoveRefused::OtherOwner {
                from: order.from.clone(),
                to: order.to.clone(),
            });
        }
        let most = self.policy.max_payout_msat.to_sat_floor();
        if !(LEAST_MOVE..=most).contains(&order.amount_sat) {
            return Err(MoveRefused::AmountOutOfRange {
                amount_sat: order.amount_sat,
                least: LEAST_MOVE,
                most,
            });
        }
        Ok(self.check_address(&order.to)?)
    }

    /// Moves funds between two of our wallets.
    pub fn move_funds(
        &mut self,
        now: Timestamp,
        entropy: Entropy,
        order: &MoveOrder,
    ) -> Consequences {
        let mut desk = self.desk(now, entropy);
        let moved = FundsMove::create(&mut desk, order);
        let out = desk.out;
        self.moves.insert(order.payment.clone(), moved);
        out
    }

    /// A person says whether a coin may be spent.
    pub fn set_spendable(&mut self, outpoint: OutPoint, spendable: bool) {
        self.onchain.set_spendable(outpoint, spendable);
    }

    /// Loses a wallet again; only for [`Bug::ForgetWalletsOnRestart`].
    pub(crate) fn forget_wallet(&mut self, wallet: &WalletId) {
        self.onchain.forget(wallet);
    }

    /// All moves between our wallets, by id.
    pub fn moves(&self) -> impl Iterator<Item = (&PaymentId, &FundsMove)> {
        self.moves.iter()
    }

    /// Whether a payment, a move or a recovery has this id.
    pub(super) fn is_id_used(&self, payment: &PaymentId) -> bool {
        self.records.contains_key(payment)
            || self.moves.contains_key(payment)
            || self.sweeps.contains_key(payment)
            || self.channels.order(payment).is_some()
    }
}

/// Names the look at the chain that shows a new wallet's coins.
pub(super) fn first_look(wallet: &WalletId) -> IdempotencyKey {
    IdempotencyKey(format!("wallet-{wallet}/look"))
}
