//! Owns holds, the first half of a two-phase transfer: money of a party is set aside, and then posted (in whole or in
//! part, the remainder is released), voided, or expires. Does not own the postings of the second half.
//!
//! A hold ends once: whichever of the three comes first removes it, and the others find nothing (failure F74).

use super::{Ledger, Posting, Transaction};
use crate::id::{PartyId, PaymentId};
use crate::money::Asset;
use crate::planted::Bug;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Money of a party that is set aside for one payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Whose.
    pub party: PartyId,
    /// What.
    pub asset: Asset,
    /// How much, in the asset's smallest unit.
    pub units: u64,
    /// Released at this time, unless something ends it before.
    pub expires_at: Option<Timestamp>,
}

/// A hold to be placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldOrder {
    /// Names the hold.
    pub payment: PaymentId,
    /// The hold.
    pub hold: Hold,
}

/// A change of a hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldEvent {
    /// Names the hold.
    pub payment: PaymentId,
    /// Whose money.
    pub party: PartyId,
    /// What.
    pub asset: Asset,
    /// How it changed.
    pub change: HoldChange,
}

/// How a hold changed; amounts in the asset's smallest unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldChange {
    /// Set aside.
    Placed {
        /// How much.
        units: u64,
    },
    /// Used, and the rest released.
    Posted {
        /// Used.
        units: u64,
        /// Given back.
        released: u64,
    },
    /// So much is set aside from now on, because more or less of it is booked.
    Resized {
        /// How much.
        units: u64,
    },
    /// Given back.
    Voided {
        /// How much.
        units: u64,
    },
    /// Given back because its time was over.
    Expired {
        /// How much.
        units: u64,
    },
}

/// Why a hold operation was refused; nothing has changed. Checked in this order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HoldRefused {
    /// The party has no accounts.
    #[error("party `{party}` is not known")]
    UnknownParty {
        /// Who.
        party: PartyId,
    },
    /// A hold of that name is there.
    #[error("payment `{payment}` has a hold already")]
    Exists {
        /// Which.
        payment: PaymentId,
    },
    /// No hold of that name is there (any more).
    #[error("payment `{payment}` has no hold")]
    NoSuchHold {
        /// Which.
        payment: PaymentId,
    },
    /// More than is set aside.
    #[error("{units} of {asset} cannot be taken from a hold of {held}")]
    ExceedsHold {
        /// Asked for.
        units: u64,
        /// Set aside.
        held: u64,
        /// Of what.
        asset: Asset,
    },
    /// The party does not have that much to spend.
    #[error("party `{party}` has {available} of {asset} available, {needed} are needed")]
    Insufficient {
        /// Who.
        party: PartyId,
        /// Of what.
        asset: Asset,
        /// Can be spent.
        available: i128,
        /// Asked for.
        needed: u64,
    },
}

impl Ledger {
    /// Whether `place_hold` would succeed.
    pub fn check_hold(&self, order: &HoldOrder) -> Result<(), HoldRefused> {
        let Hold {
            party,
            asset,
            units,
            ..
        } = &order.hold;
        if !self.has_party(party) {
            return Err(HoldRefused::UnknownParty {
                party: party.clone(),
            });
        }
        if self.holds.contains_key(&order.payment) {
            return Err(HoldRefused::Exists {
                payment: order.payment.clone(),
            });
        }
        let available = self.available(party, *asset);
        if available < i128::from(*units) {
            return Err(HoldRefused::Insufficient {
                party: party.clone(),
                asset: *asset,
                available,
                needed: *units,
            });
        }
        Ok(())
    }

    /// Sets money aside.
    pub fn place_hold(&mut self, order: HoldOrder) -> Result<HoldEvent, HoldRefused> {
        self.check_hold(&order)?;
        let HoldOrder { payment, hold } = order;
        let event = hold.event(&payment, HoldChange::Placed { units: hold.units });
        self.holds.insert(payment, hold);
        Ok(event)
    }

    /// Ends a hold with the posting that uses `units` of it; the rest is released.
    pub fn post_hold(
        &mut self,
        payment: &PaymentId,
        units: u64,
        posting: Posting,
    ) -> Result<(HoldEvent, Transaction), HoldRefused> {
        let hold = self.hold(payment).ok_or_else(|| HoldRefused::NoSuchHold {
            payment: payment.clone(),
        })?;
        let (asset, held) = (hold.asset, hold.units);
        let released =
            held.checked_sub(units)
                .ok_or(HoldRefused::ExceedsHold { units, held, asset })?;
        let event = hold.event(payment, HoldChange::Posted { units, released });
        self.holds.remove(payment);
        Ok((event, self.post(posting)))
    }

    /// Ends a hold and gives all of it back.
    pub fn void_hold(&mut self, payment: &PaymentId) -> Result<HoldEvent, HoldRefused> {
        let hold = self.hold(payment).ok_or_else(|| HoldRefused::NoSuchHold {
            payment: payment.clone(),
        })?;
        let event = hold.event(payment, HoldChange::Voided { units: hold.units });
        if self.planted != Some(Bug::ForgetHoldRelease) {
            self.holds.remove(payment);
        }
        Ok(event)
    }

    /// Ends one hold whose time is over, if it is.
    pub fn expire_hold(&mut self, payment: &PaymentId, now: Timestamp) -> Option<HoldEvent> {
        let hold = self
            .holds
            .get(payment)
            .filter(|hold| hold.expires_at.is_some_and(|at| at <= now))?;
        let event = hold.event(payment, HoldChange::Expired { units: hold.units });
        self.holds.remove(payment);
        Some(event)
    }

    /// Sets aside so much from now on; `None` if there is no such hold or it is that size.
    pub fn resize_hold(&mut self, payment: &PaymentId, units: u64) -> Option<HoldEvent> {
        let hold = self.holds.get_mut(payment)?;
        if hold.units == units {
            return None;
        }
        hold.units = units;
        Some(hold.event(payment, HoldChange::Resized { units }))
    }

    /// Takes the expiry off a hold, because the effect it pays for is on its way.
    pub fn keep_hold(&mut self, payment: &PaymentId) {
        if let Some(hold) = self.holds.get_mut(payment) {
            hold.expires_at = None;
        }
    }

    /// A hold that has not ended.
    pub fn hold(&self, payment: &PaymentId) -> Option<&Hold> {
        self.holds.get(payment)
    }

    /// Every hold that has not ended, by payment.
    pub fn holds(&self) -> impl Iterator<Item = (&PaymentId, &Hold)> {
        self.holds.iter()
    }

    /// All that is set aside of a party's asset, in its smallest unit.
    pub fn held(&self, party: &PartyId, asset: Asset) -> u64 {
        let of_party = self
            .holds
            .values()
            .filter(|hold| hold.party == *party && hold.asset == asset);
        of_party.fold(0_u64, |sum, hold| sum.saturating_add(hold.units))
    }
}

impl Hold {
    fn event(&self, payment: &PaymentId, change: HoldChange) -> HoldEvent {
        HoldEvent {
            payment: payment.clone(),
            party: self.party.clone(),
            asset: self.asset,
            change,
        }
    }
}
