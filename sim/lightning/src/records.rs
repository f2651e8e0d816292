//! The node's own memory of payments: one small record on the disk for each payment made and each invoice issued.
//!
//! Owns the records' contents and keys (`payments/out/..`, `payments/in/..`). LDK forgets finished payments; these do not.

use bitcoin::hex::DisplayHex as _;
use lightning::ln::channelmanager::PaymentId;
use lightning::ln::msgs::DecodeError;
use lightning::util::ser::{Readable, Writeable};
use lightning_types::payment::{PaymentHash, PaymentPreimage};

use crate::disk::{DiskError, Store};
use crate::events::FailureReason;

pub(crate) const OUTGOING_PREFIX: &str = "payments/out/";
const INCOMING_PREFIX: &str = "payments/in/";

/// How far an outgoing payment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutgoingStatus {
    /// Handed to LDK; its fate is open.
    Pending,
    /// Paid, with proof.
    Sent {
        /// The proof of payment.
        preimage: PaymentPreimage,
        /// Fees paid to forwarding nodes.
        fee_paid_msat: u64,
    },
    /// Failed for good; nothing was paid.
    Failed {
        /// Why.
        reason: FailureReason,
    },
}

/// How far an invoice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IncomingStatus {
    /// Nothing arrived yet.
    Expected,
    /// A payment arrived and is held.
    Held {
        /// The amount held.
        amount_msat: u64,
    },
    /// Paid.
    Received {
        /// The amount received.
        amount_msat: u64,
    },
    /// The payment was given back.
    Released,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutgoingRecord {
    pub(crate) payment_hash: PaymentHash,
    pub(crate) amount_msat: u64,
    pub(crate) status: OutgoingStatus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IncomingRecord {
    pub(crate) amount_msat: Option<u64>,
    pub(crate) hold: bool,
    pub(crate) status: IncomingStatus,
}

/// How these types stand on the disk: LDK's type-length-value records.
#[expect(clippy::drop_non_drop, reason = "LDK's macros drop references")]
mod encoding {
    use lightning::{impl_writeable_tlv_based, impl_writeable_tlv_based_enum};

    use super::{IncomingRecord, IncomingStatus, OutgoingRecord, OutgoingStatus};

    impl_writeable_tlv_based_enum!(OutgoingStatus,
        (0, Pending) => {},
        (1, Sent) => { (0, preimage, required), (2, fee_paid_msat, required), },
        (2, Failed) => { (0, reason, required), },
    );

    impl_writeable_tlv_based_enum!(IncomingStatus,
        (0, Expected) => {},
        (1, Held) => { (0, amount_msat, required), },
        (2, Received) => { (0, amount_msat, required), },
        (3, Released) => {},
    );

    impl_writeable_tlv_based!(OutgoingRecord, {
        (0, payment_hash, required),
        (2, amount_msat, required),
        (4, status, required),
    });

    impl_writeable_tlv_based!(IncomingRecord, {
        (1, amount_msat, option),
        (2, hold, required),
        (4, status, required),
    });
}

fn outgoing_key(id: &PaymentId) -> String {
    format!("{OUTGOING_PREFIX}{}", id.0.as_hex())
}

fn incoming_key(hash: &PaymentHash) -> String {
    format!("{INCOMING_PREFIX}{}", hash.0.as_hex())
}

pub(crate) fn outgoing(store: &Store, id: &PaymentId) -> Result<Option<OutgoingRecord>, DiskError> {
    read(store, &outgoing_key(id))
}

pub(crate) fn put_outgoing(
    store: &Store,
    id: &PaymentId,
    record: &OutgoingRecord,
) -> Result<(), DiskError> {
    store.put(&outgoing_key(id), &record.encode())
}

pub(crate) fn incoming(
    store: &Store,
    hash: &PaymentHash,
) -> Result<Option<IncomingRecord>, DiskError> {
    read(store, &incoming_key(hash))
}

pub(crate) fn put_incoming(
    store: &Store,
    hash: &PaymentHash,
    record: &IncomingRecord,
) -> Result<(), DiskError> {
    store.put(&incoming_key(hash), &record.encode())
}

/// All outgoing payments on the disk, by id.
pub(crate) fn all_outgoing(store: &Store) -> Result<Vec<(PaymentId, OutgoingRecord)>, DiskError> {
    let mut all = Vec::new();
    for key in store.keys(OUTGOING_PREFIX)? {
        let hex = &key[OUTGOING_PREFIX.len()..];
        let id = <[u8; 32] as bitcoin::hex::FromHex>::from_hex(hex)
            .map_err(|error| damaged(&key, &error))?;
        if let Some(record) = read(store, &key)? {
            all.push((PaymentId(id), record));
        }
    }
    Ok(all)
}

fn read<R: Readable>(store: &Store, key: &str) -> Result<Option<R>, DiskError> {
    let Some(bytes) = store.get(key)? else {
        return Ok(None);
    };
    let decoded: Result<R, DecodeError> = R::read(&mut bytes.as_slice());
    decoded
        .map(Some)
        .map_err(|error| damaged(key, &format!("{error:?}")))
}

fn damaged(key: &str, cause: &impl ToString) -> DiskError {
    DiskError {
        operation: "read",
        key: key.to_owned(),
        cause: cause.to_string(),
    }
}
