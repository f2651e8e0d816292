//! Owns how each instruction is performed through the ports and which fact its answer becomes. Does not own when it is
//! performed or tried again (the driver), nor timers and looks at the chain, which the driver keeps itself.
//!
//! The instruction was journaled (as a consequence of its input) before it comes here. If the process stops just
//! before an effect, recovery issues it again under the same key. If it stops just after, before the answer is
//! journaled, recovery issues it again too: each effect below says why that is safe.

use crate::ports::{
    BroadcastError, ClaimOrder, ClaimTaken, CloseChannelOrder, CosignAnswer, CosignOrder,
    FailOrder, GatewayCall, HttpTransport, InvoiceOrder, LightningError, OpenChannelOrder,
    PayError, PayOrder, PayTaken, Ports, StatementOrder,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lockstep_engine::id::IdempotencyKey;
use lockstep_engine::rail::{Effect, Fact, Instruction, Method};
use std::sync::Arc;

/// How an attempt ended.
pub(super) enum Outcome {
    /// With an answer for the engine.
    Answered(Fact),
    /// Taken; the answer comes later by another way (a Lightning event).
    Taken,
    /// Whoever was asked has not decided yet: to be asked again under the same key, without a word to the engine.
    Pending,
    /// Not possible now: to be tried again under the same key.
    Unavailable(String),
}

/// What the driver does with an instruction.
pub(super) enum Performance {
    /// Wait for this.
    Attempt(BoxFuture<'static, Outcome>),
    /// Look at the chain.
    Look,
    /// Wake the engine at the instruction's time.
    Timer(lockstep_engine::time::Timestamp),
    /// Nothing: the next look at the chain covers it.
    Nothing,
}

/// The short name of an effect, for status and log.
pub(super) fn name(effect: &Effect) -> &'static str {
    match effect {
        Effect::WatchScript { .. } => "watch script",
        Effect::SignPsbt { .. } => "sign PSBT",
        Effect::SignStatement { .. } => "sign statement",
        Effect::Cosign { .. } => "cosign PSBT",
        Effect::Broadcast { .. } => "broadcast",
        Effect::CreateInvoice { .. } => "create invoice",
        Effect::PayInvoice { .. } => "pay invoice",
        Effect::ClaimHeld { .. } => "claim held payment",
        Effect::FailHeld { .. } => "fail held payment",
        Effect::OpenChannel { .. } => "open channel",
        Effect::CloseChannel { .. } => "close channel",
        Effect::ReadLightningBalance => "read Lightning balance",
        Effect::ReadChain => "read chain",
        Effect::ReadFees => "read fees",
        Effect::CallGateway { .. } => "call gateway",
        Effect::CallLayer0 { .. } => "call Layer 0",
        Effect::WakeAt { .. } => "timer",
    }
}

/// Whether an attempt that nobody knows the end of may have moved money, in a way that a failed repetition would hide. The
/// Lightning node and the signer remember or repeat theirs; reading moves nothing.
pub(super) fn moves_money_unasked(effect: &Effect) -> bool {
    match effect {
        Effect::Broadcast { .. } => true,
        Effect::CallGateway { request } => request.method == Method::Post,
        Effect::WatchScript { .. }
        | Effect::SignPsbt { .. }
        | Effect::SignStatement { .. }
        | Effect::Cosign { .. }
        | Effect::CreateInvoice { .. }
        | Effect::PayInvoice { .. }
        | Effect::ClaimHeld { .. }
        | Effect::FailHeld { .. }
        | Effect::OpenChannel { .. }
        | Effect::CloseChannel { .. }
        | Effect::ReadLightningBalance
        | Effect::ReadChain
        | Effect::CallLayer0 { .. }
        | Effect::ReadFees
        | Effect::WakeAt { .. } => false,
    }
}

/// Begins an instruction; nothing happens before the attempt is first polled.
pub(super) fn perform(ports: &Ports, instruction: &Instruction) -> Performance {
    let key = instruction.key.clone();
    let attempt = match instruction.effect.clone() {
        // Watching leaves no trace outside: scripts are taken from the engine at each look.
        Effect::WatchScript { .. } => return Performance::Nothing,
        // Reading leaves no trace outside.
        Effect::ReadChain => return Performance::Look,
        // The agenda is lost with the process and rebuilt from the outstanding instructions; a time that has passed
        // fires at once.
        Effect::WakeAt { at } => return Performance::Timer(at),
        Effect::SignPsbt { psbt } => sign(ports, key, psbt),
        Effect::SignStatement { issuer, payload } => {
            sign_statement(ports, key, StatementOrder { issuer, payload })
        }
        Effect::Cosign { cosigner, psbt } => cosign(
            ports,
            CosignOrder {
                key,
                cosigner,
                psbt,
            },
        ),
        Effect::Broadcast { transaction } => broadcast(ports, key, transaction),
        Effect::CreateInvoice {
            amount_msat,
            description,
            expiry_secs,
            hold_hash,
        } => create_invoice(
            ports,
            InvoiceOrder {
                key,
                amount_msat,
                description,
                expiry_secs,
                hold_hash,
            },
        ),
        Effect::PayInvoice {
            invoice,
            amount_msat,
            max_fee_msat,
            retry_secs,
        } => pay(
            ports,
            PayOrder {
                key,
                invoice,
                amount_msat,
                max_fee_msat,
                retry_secs,
            },
        ),
        Effect::ClaimHeld {
            preimage,
            amount_msat,
        } => claim(
            ports,
            ClaimOrder {
                key,
                preimage,
                amount_msat,
            },
        ),
        Effect::FailHeld { payment_hash } => fail(ports, FailOrder { key, payment_hash }),
        Effect::OpenChannel {
            id,
            peer,
            capacity,
            announced,
        } => {
            let order = OpenChannelOrder {
                id,
                peer,
                capacity_sat: capacity.0,
                announced,
            };
            open_channel(ports, order)
        }
        Effect::CloseChannel { funding, force } => {
            close_channel(ports, key, CloseChannelOrder { funding, force })
        }
        Effect::ReadLightningBalance => balance(ports, key),
        Effect::ReadFees => fees(ports, key),
        Effect::CallGateway { request } => call(ports, &ports.http, GatewayCall { key, request }),
        Effect::CallLayer0 { request } => call(ports, &ports.layer0, GatewayCall { key, request }),
    };
    Performance::Attempt(attempt)
}

/// Stopped before: no signature exists. Stopped after: the same PSBT is signed again; both signatures spend the same
/// outputs, so at most one can confirm.
fn sign(ports: &Ports, key: IdempotencyKey, psbt: String) -> BoxFuture<'static, Outcome> {
    ports
        .signer
        .sign(psbt)
        .map(move |answer| match answer {
            Ok(result) => Outcome::Answered(Fact::Signed { key, result }),
            Err(unavailable) => Outcome::Unavailable(unavailable.reason),
        })
        .boxed()
}

/// Stopped before: no signature exists. Stopped after: the same statement is signed again, and only the signature that is
/// journaled is ever told.
fn sign_statement(
    ports: &Ports,
    key: IdempotencyKey,
    order: StatementOrder,
) -> BoxFuture<'static, Outcome> {
    ports
        .signer
        .sign_statement(order)
        .map(move |answer| match answer {
            Ok(result) => Outcome::Answered(Fact::StatementSigned { key, result }),
            Err(unavailable) => Outcome::Unavailable(unavailable.reason),
        })
        .boxed()
}

/// Stopped before: no signature exists. Stopped after: the cosigner is given the same order again; what he has signed
/// once he may sign again, it spends the same outputs.
fn cosign(ports: &Ports, order: CosignOrder) -> BoxFuture<'static, Outcome> {
    let key = order.key.clone();
    ports
        .cosigners
        .cosign(order)
        .map(move |answer| match answer {
            Ok(CosignAnswer::Pending) => Outcome::Pending,
            Ok(CosignAnswer::Signed(psbt)) => Outcome::Answered(Fact::Cosigned {
                key,
                result: Ok(psbt),
            }),
            Ok(CosignAnswer::Refused(words)) => Outcome::Answered(Fact::Cosigned {
                key,
                result: Err(words),
            }),
            Err(unavailable) => Outcome::Unavailable(unavailable.reason),
        })
        .boxed()
}

/// Stopped before: nobody has seen the transaction. Stopped after: the same transaction is handed over again, which
/// the backend answers as known.
fn broadcast(
    ports: &Ports,
    key: IdempotencyKey,
    transaction: bitcoin::Transaction,
) -> BoxFuture<'static, Outcome> {
    ports
        .chain
        .broadcast(transaction)
        .map(move |answer| match answer {
            Ok(txid) => Outcome::Answered(Fact::Broadcast {
                key,
                result: Ok(txid),
            }),
            Err(BroadcastError::Refused { word }) => Outcome::Answered(Fact::Broadcast {
                key,
                result: Err(word),
            }),
            Err(BroadcastError::Unavailable { reason }) => Outcome::Unavailable(reason),
        })
        .boxed()
}

/// Stopped before: no invoice exists. Stopped after: an invoice exists that nobody was shown; the next one is another
/// invoice (or the same hold hash), and only that one is journaled and shown.
fn create_invoice(ports: &Ports, order: InvoiceOrder) -> BoxFuture<'static, Outcome> {
    let key = order.key.clone();
    ports
        .lightning
        .create_invoice(order)
        .map(move |answer| match answer {
            Ok(invoice) => Outcome::Answered(Fact::InvoiceCreated {
                key,
                result: Ok(invoice),
            }),
            Err(LightningError::Refused { reason }) => Outcome::Answered(Fact::InvoiceCreated {
                key,
                result: Err(reason),
            }),
            Err(LightningError::Unavailable { reason }) => Outcome::Unavailable(reason),
        })
        .boxed()
}

/// Stopped before: no HTLC exists. Stopped after: the node knows the payment hash and pays it at most once; it answers
/// with the pending payment or with the outcome that it had.
fn pay(ports: &Ports, order: PayOrder) -> BoxFuture<'static, Outcome> {
    ports
        .lightning
        .pay(order)
        .map(|answer| match answer {
            Ok(PayTaken::Pending) => Outcome::Taken,
            Ok(PayTaken::Finished(event)) => Outcome::Answered(event.into()),
            Err(PayError::Refused {
                payment_hash,
                reason,
            }) => Outcome::Answered(Fact::LightningFailed {
                payment_hash,
                reason,
            }),
            Err(PayError::Unavailable { reason }) => Outcome::Unavailable(reason),
        })
        .boxed()
}

/// Stopped before: the payment stays held. Stopped after: claiming again is harmless, the node tells the outcome.
fn claim(ports: &Ports, order: ClaimOrder) -> BoxFuture<'static, Outcome> {
    ports
        .lightning
        .claim_held(order)
        .map(|answer| match answer {
            Ok(ClaimTaken::Claiming) => Outcome::Taken,
            Ok(ClaimTaken::Finished(event)) => Outcome::Answered(event.into()),
            Ok(ClaimTaken::Gone { payment_hash }) => {
                Outcome::Answered(Fact::HeldFailed { payment_hash })
            }
            Err(unavailable) => Outcome::Unavailable(unavailable.reason),
        })
        .boxed()
}

/// Stopped before: the payment stays held. Stopped after: nothing is held any more, and failing nothing succeeds.
fn fail(ports: &Ports, order: FailOrder) -> BoxFuture<'static, Outcome> {
    let payment_hash = order.payment_hash;
    ports
        .lightning
        .fail_held(order)
        .map(move |answer| match answer {
            Ok(()) => Outcome::Answered(Fact::HeldFailed { payment_hash }),
            Err(unavailable) => Outcome::Unavailable(unavailable.reason),
        })
        .boxed()
}

/// Stopped before: there is no channel. Stopped after: the node knows the id and begins no second channel; that it is open
/// shows in the node's next view, that it came to nothing is told by an event.
fn open_channel(ports: &Ports, order: OpenChannelOrder) -> BoxFuture<'static, Outcome> {
    let id = order.id;
    ports
        .lightning
        .open_channel(order)
        .map(move |answer| match answer {
            Ok(()) => Outcome::Taken,
            Err(LightningError::Refused { reason }) => {
                Outcome::Answered(Fact::ChannelRefused { id, reason })
            }
            Err(LightningError::Unavailable { reason }) => Outcome::Unavailable(reason),
        })
        .boxed()
}

/// Stopped before: the channel is open. Stopped after: closing what is closing or closed changes nothing.
fn close_channel(
    ports: &Ports,
    key: IdempotencyKey,
    order: CloseChannelOrder,
) -> BoxFuture<'static, Outcome> {
    ports
        .lightning
        .close_channel(order)
        .map(move |answer| {
            let result = match answer {
                Ok(()) => Ok(()),
                Err(LightningError::Refused { reason }) => Err(reason),
                Err(LightningError::Unavailable { reason }) => return Outcome::Unavailable(reason),
            };
            Outcome::Answered(Fact::ChannelCloseTaken { key, result })
        })
        .boxed()
}

/// Reading leaves no trace outside.
fn balance(ports: &Ports, key: IdempotencyKey) -> BoxFuture<'static, Outcome> {
    ports
        .lightning
        .balance()
        .map(move |answer| match answer {
            Ok(balance) => Outcome::Answered(Fact::LightningBalance {
                key,
                local_msat: balance.local_msat,
                outgoing_htlcs_msat: balance.outgoing_htlcs_msat,
            }),
            Err(unavailable) => Outcome::Unavailable(unavailable.reason),
        })
        .boxed()
}

/// Reading leaves no trace outside.
fn fees(ports: &Ports, key: IdempotencyKey) -> BoxFuture<'static, Outcome> {
    ports
        .chain
        .fees()
        .map(move |answer| match answer {
            Ok(seen) => Outcome::Answered(Fact::Fees { key, seen }),
            Err(unavailable) => Outcome::Unavailable(unavailable.reason),
        })
        .boxed()
}

/// Stopped before: the gateway (or Layer 0) has seen nothing. Stopped after: the same key and body again get the first
/// answer. A failed exchange is an answer for the engine, which alone decides whether to ask again.
fn call(
    ports: &Ports,
    system: &Arc<dyn HttpTransport>,
    call: GatewayCall,
) -> BoxFuture<'static, Outcome> {
    let exchange = system.exchange(call.clone());
    let (observer, clock) = (ports.observer.clone(), ports.clock.clone());
    exchange
        .map(move |answer| {
            observer.on_exchange(clock.now(), &call, &answer);
            Outcome::Answered(match answer {
                Ok(response) => Fact::HttpResponded {
                    key: call.key,
                    status: response.status,
                    body: response.body,
                },
                Err(failure) => Fact::HttpFailed {
                    key: call.key,
                    failure,
                },
            })
        })
        .boxed()
}
