//! Owns the list of instructions that were issued and not answered: what is issued again, under the same keys, after a
//! restart. Does not own their meaning.

use crate::id::IdempotencyKey;
use crate::rail::{Effect, Fact, Instruction};
use serde::Serialize;
use std::collections::BTreeMap;

/// In issue order. Scripts to watch stay for ever; timers until they fire, or are withdrawn.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Outstanding {
    next: u64,
    by_number: BTreeMap<u64, Instruction>,
    #[serde(skip)]
    numbers: BTreeMap<IdempotencyKey, u64>,
}

impl Outstanding {
    /// Adds an instruction; under a key that is outstanding, the later one takes its place.
    pub(super) fn add(&mut self, instruction: Instruction) {
        self.remove(&instruction.key);
        self.numbers.insert(instruction.key.clone(), self.next);
        self.by_number.insert(self.next, instruction);
        self.next = self
            .next
            .checked_add(1)
            .expect("instructions are counted in 64 bits");
    }

    pub(super) fn remove(&mut self, key: &IdempotencyKey) {
        if let Some(number) = self.numbers.remove(key) {
            self.by_number.remove(&number);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Instruction> {
        self.by_number.values()
    }

    /// Whether a fact answers what is outstanding; `Err` holds the key that it names in vain.
    pub(super) fn check_answer(&self, fact: &Fact) -> Result<(), IdempotencyKey> {
        let Some(key) = key_of(fact) else {
            return Ok(());
        };
        let effect = self
            .numbers
            .get(key)
            .and_then(|number| self.by_number.get(number))
            .map(|i| &i.effect);
        match effect {
            Some(effect) if fits(fact, effect) => Ok(()),
            Some(_) | None => Err(key.clone()),
        }
    }
}

/// The key that a fact answers for good. An unavailable backend answers nothing: the host tries again.
pub(super) fn answered_by(fact: &Fact) -> Option<&IdempotencyKey> {
    match fact {
        Fact::Unavailable { .. } => None,
        Fact::Signed { key, .. }
        | Fact::StatementSigned { key, .. }
        | Fact::Cosigned { key, .. }
        | Fact::Broadcast { key, .. }
        | Fact::InvoiceCreated { key, .. }
        | Fact::LightningBalance { key, .. }
        | Fact::ChannelCloseTaken { key, .. }
        | Fact::Fees { key, .. }
        | Fact::HttpResponded { key, .. }
        | Fact::HttpFailed { key, .. }
        | Fact::TimerFired { key } => Some(key),
        Fact::Chain(_)
        | Fact::Node(_)
        | Fact::ChannelRefused { .. }
        | Fact::LightningHeld { .. }
        | Fact::LightningReceived { .. }
        | Fact::HeldFailed { .. }
        | Fact::LightningSent { .. }
        | Fact::LightningFailed { .. }
        | Fact::Webhook { .. } => None,
    }
}

fn key_of(fact: &Fact) -> Option<&IdempotencyKey> {
    match fact {
        Fact::Unavailable { key, .. } => Some(key),
        Fact::Chain(_)
        | Fact::Signed { .. }
        | Fact::StatementSigned { .. }
        | Fact::Cosigned { .. }
        | Fact::Broadcast { .. }
        | Fact::InvoiceCreated { .. }
        | Fact::LightningHeld { .. }
        | Fact::LightningReceived { .. }
        | Fact::HeldFailed { .. }
        | Fact::LightningSent { .. }
        | Fact::LightningFailed { .. }
        | Fact::LightningBalance { .. }
        | Fact::Node(_)
        | Fact::ChannelRefused { .. }
        | Fact::ChannelCloseTaken { .. }
        | Fact::Fees { .. }
        | Fact::HttpResponded { .. }
        | Fact::HttpFailed { .. }
        | Fact::Webhook { .. }
        | Fact::TimerFired { .. } => answered_by(fact),
    }
}

fn fits(fact: &Fact, effect: &Effect) -> bool {
    match fact {
        Fact::Signed { .. } => matches!(effect, Effect::SignPsbt { .. }),
        Fact::StatementSigned { .. } => matches!(effect, Effect::SignStatement { .. }),
        Fact::Cosigned { .. } => matches!(effect, Effect::Cosign { .. }),
        Fact::Broadcast { .. } => matches!(effect, Effect::Broadcast { .. }),
        Fact::InvoiceCreated { .. } => matches!(effect, Effect::CreateInvoice { .. }),
        Fact::LightningBalance { .. } => matches!(effect, Effect::ReadLightningBalance),
        Fact::ChannelCloseTaken { .. } => matches!(effect, Effect::CloseChannel { .. }),
        Fact::Fees { .. } => matches!(effect, Effect::ReadFees),
        Fact::HttpResponded { .. } | Fact::HttpFailed { .. } => {
            matches!(
                effect,
                Effect::CallGateway { .. } | Effect::CallLayer0 { .. }
            )
        }
        Fact::TimerFired { .. } => matches!(effect, Effect::WakeAt { .. }),
        Fact::Unavailable { .. }
        | Fact::Chain(_)
        | Fact::Node(_)
        | Fact::ChannelRefused { .. }
        | Fact::LightningHeld { .. }
        | Fact::LightningReceived { .. }
        | Fact::HeldFailed { .. }
        | Fact::LightningSent { .. }
        | Fact::LightningFailed { .. }
        | Fact::Webhook { .. } => true,
    }
}
