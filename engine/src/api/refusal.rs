//! Owns why the engine refuses an input. The state is then byte for byte what it was.
//!
//! Precedence: the first reason that is found is given, and the checks run in a fixed order. It is mostly the order of the
//! enums, but not always: a view's and a webhook's reasons are grouped by what they are about.

use crate::id::{CommandId, IdempotencyKey};
use crate::identity::{ProveRefused, RegisterRefused, RevokeRefused, RotateRefused};
use crate::ledger::PartyExists;
use crate::onchain::{LabelRefused, OpenRefused};
use crate::payments::{
    ChannelRefused, ChargeRefused, DecisionRefused, FactRefused, MoveRefused, OpeningRefused,
    PayoutRefused, SweepRefused, WalletRefused,
};
use crate::reconcile::ReconcileRefused;
use crate::reputation::EnrolmentRefused;

/// Why an input is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Commands: the id was used for another command.
    #[error("command id `{id}` was used for another command")]
    CommandIdReused {
        /// Which.
        id: CommandId,
    },
    /// `OpenParty`.
    #[error("{cause}")]
    Party {
        /// Why.
        #[from]
        cause: PartyExists,
    },
    /// `EnrolParty`.
    #[error("the enrolment is refused: {cause}")]
    Enrolment {
        /// Why.
        #[from]
        cause: EnrolmentRefused,
    },
    /// `OpenWallet`.
    #[error("the wallet is refused: {cause}")]
    Wallet {
        /// Why.
        #[from]
        cause: OpenRefused,
    },
    /// `RegisterWallet`.
    #[error("the registration is refused: {cause}")]
    Register {
        /// Why.
        #[from]
        cause: RegisterRefused,
    },
    /// `ProveWallet`.
    #[error("the proof is refused: {cause}")]
    Prove {
        /// Why.
        #[from]
        cause: ProveRefused,
    },
    /// `RotateDid`.
    #[error("the rotation is refused: {cause}")]
    Rotate {
        /// Why.
        #[from]
        cause: RotateRefused,
    },
    /// `RevokeWallet`.
    #[error("the revocation is refused: {cause}")]
    Revoke {
        /// Why.
        #[from]
        cause: RevokeRefused,
    },
    /// `OpenChannel`, `CloseChannel`.
    #[error("the order is refused: {cause}")]
    Channel {
        /// Why.
        #[from]
        cause: ChannelRefused,
    },
    /// `NewAddress`.
    #[error("no address is given out: {cause}")]
    Address {
        /// Why.
        #[from]
        cause: WalletRefused,
    },
    /// `SetLabel`.
    #[error("the label is refused: {cause}")]
    Label {
        /// Why.
        #[from]
        cause: LabelRefused,
    },
    /// `MoveFunds`.
    #[error("the move of funds is refused: {cause}")]
    Move {
        /// Why.
        #[from]
        cause: MoveRefused,
    },
    /// `RecordOpening`.
    #[error("the opening is refused: {cause}")]
    Opening {
        /// Why.
        #[from]
        cause: OpeningRefused,
    },
    /// `CreateCharge`.
    #[error("the charge is refused: {cause}")]
    Charge {
        /// Why.
        #[from]
        cause: ChargeRefused,
    },
    /// `CreatePayout`.
    #[error("the payout is refused: {cause}")]
    Payout {
        /// Why.
        #[from]
        cause: PayoutRefused,
    },
    /// `SweepByRecovery`.
    #[error("the recovery is refused: {cause}")]
    Sweep {
        /// Why.
        #[from]
        cause: SweepRefused,
    },
    /// `ReleaseHeld`, `RefuseHeld`.
    #[error("the decision is refused: {cause}")]
    Decision {
        /// Why.
        #[from]
        cause: DecisionRefused,
    },
    /// `Reconcile`.
    #[error("the reconciliation is refused: {cause}")]
    Reconcile {
        /// Why.
        #[from]
        cause: ReconcileRefused,
    },
    /// Facts with a key: no instruction that such a fact answers is outstanding under it. A fact told twice is refused
    /// so the second time.
    #[error("no instruction is outstanding under `{key}` that this answers")]
    NotOutstanding {
        /// Which.
        key: IdempotencyKey,
    },
    /// Facts.
    #[error("the fact is refused: {cause}")]
    Fact {
        /// Why.
        #[from]
        cause: FactRefused,
    },
}
