//! Owns the checks of orders: all that can be said against a charge, a payout, a decision or an opening before anything
//! is done. Pure. Does not own what is done.

use super::order::{Charge, ChargeTerms, Destination, Payout, PayoutTerms};
use super::record::{Payment, Status};
use super::refusal::{ChargeRefused, DecisionRefused, OpeningRefused, PayoutRefused, SweepRefused};
use super::{
    Payments, charge_lightning::LightningChargeState, payout_lightning, payout_onchain, payout_sepa,
};
use crate::fiat::{self, Iban};
use crate::id::{BindingId, PartyId, PaymentId, WalletId};
use crate::identity::Purpose;
use crate::ledger::Account;
use crate::lightning::{CheckedInvoice, MAX_DESCRIPTION_BYTES};
use crate::money::{Asset, Eur, Minor, Msat, Quantity, Rail, Sat};
use crate::onchain;
use crate::onchain::bip21::{self, PaymentUri, UriRefused};
use crate::policy::BindingAsked;
use crate::policy::{Policy, WalletStep};
use crate::rail::Description;
use crate::rare::{Rare, sometimes};
use crate::time::{Span, Timestamp};
use bitcoin::ScriptBuf;
use std::borrow::Cow;

/// A destination that can be paid.
pub(super) enum CheckedDestination {
    Invoice(String, CheckedInvoice),
    /// With the binding that the policy asks for.
    Script(ScriptBuf, Msat, Option<BindingId>),
    Account(Iban, String, Minor<Eur>),
}

impl Payments {
    /// Whether the charge would be accepted.
    pub fn check_charge(&self, order: &Charge) -> Result<(), ChargeRefused> {
        if !self.has_account(&order.party) {
            return Err(ChargeRefused::UnknownParty {
                party: order.party.clone(),
            });
        }
        if self.is_id_used(&order.payment) {
            return Err(ChargeRefused::PaymentIdUsed {
                payment: order.payment.clone(),
            });
        }
        match (order.rail, order.hold) {
            (Rail::Sepa, _) => return Err(ChargeRefused::RailNotOffered { rail: order.rail }),
            (Rail::Onchain, true) => {
                return Err(ChargeRefused::HoldNotOffered { rail: order.rail });
            }
            (Rail::Onchain, false) | (Rail::Lightning, _) => {}
        }
        check_charge_terms(order)?;
        let (amount, least, most) = (
            order.amount_msat,
            self.policy.min_charge_msat,
            self.policy.max_charge_msat,
        );
        if !order.terms.any_amount && (amount < least || amount > most) {
            return Err(ChargeRefused::AmountOutOfRange {
                amount,
                least,
                most,
            });
        }
        if order.rail == Rail::Onchain && amount.to_sat_exact().is_none() {
            return Err(ChargeRefused::NotWholeSatoshi { amount });
        }
        let wallet = self.wallet_for(&order.party, &order.wallet, self.policy.charges_into);
        self.check_serves(&wallet, &order.party)?;
        if order.rail == Rail::Onchain {
            self.check_address(&wallet)?;
        }
        let (expires_in, most) = (order.expires_in, self.policy.max_charge_expiry);
        if expires_in == Span(0) || expires_in > most {
            return Err(ChargeRefused::ExpiryOutOfRange { expires_in, most });
        }
        self.check_refund_to(order)?;
        self.check_escrow(order)?;
        self.room()
            .map_err(|open| ChargeRefused::TooManyOpen { open })
    }

    /// Whether the party is one that callers may name.
    fn has_account(&self, party: &PartyId) -> bool {
        self.ledger.has_party(party) && *party != super::refunds::payers()
    }

    fn check_refund_to(&self, order: &Charge) -> Result<(), ChargeRefused> {
        let Some(text) = &order.refund_to else {
            return Ok(());
        };
        if order.rail != Rail::Onchain {
            return Err(ChargeRefused::RefundNotOffered { rail: order.rail });
        }
        let script = onchain::check_address(text, self.network)?;
        if self.onchain.owner_of(&script).is_some() {
            return Err(ChargeRefused::RefundToOurselves);
        }
        Ok(())
    }

    /// Whether the payout would be accepted at `now`.
    pub fn check_payout(&self, now: Timestamp, order: &Payout) -> Result<(), PayoutRefused> {
        self.checked_destination(now, order).map(|_| ())
    }

    pub(super) fn checked_destination(
        &self,
        now: Timestamp,
        order: &Payout,
    ) -> Result<CheckedDestination, PayoutRefused> {
        self.check_identity(&order.party, &order.payment)?;
        check_assets(order)?;
        check_all(order)?;
        let order = &*self.with_amount(order);
        let wallet = self.paying_wallet(order);
        self.check_serves(&wallet, &order.party)?;
        self.check_wallet_for_value(order)?;
        self.check_payout_limits(order)?;
        let destination = self.check_destination(now, order)?;
        let hold = match &destination {
            CheckedDestination::Invoice(..) => payout_lightning::hold(&self.policy, order),
            CheckedDestination::Script(_, amount, _) => {
                payout_onchain::hold(&self.policy, order, *amount, now.plus(order.deadline))
            }
            CheckedDestination::Account(_, _, amount) => {
                payout_sepa::hold(&self.policy, order, *amount)?
            }
        };
        self.ledger.check_hold(&hold)?;
        Ok(destination)
    }

    /// The order with its amount: of one for all that a party has, what it can spend now, in whole satoshi.
    pub(super) fn with_amount<'o>(&self, order: &'o Payout) -> Cow<'o, Payout> {
        if !order.all {
            return Cow::Borrowed(order);
        }
        let free = self.ledger.available(&order.party, Asset::Btc);
        let free = Msat(u64::try_from(free).unwrap_or(0)).to_sat_floor();
        let mut order = order.clone();
        order.quantity = Quantity::btc(free.to_msat().unwrap_or(Msat(0)));
        Cow::Owned(order)
    }

    /// What is surely left for the payee of all that a party has.
    fn least_of_all(&self, order: &Payout, dust: Sat) -> Result<Msat, PayoutRefused> {
        let (available, fee) = (Msat(order.quantity.units), self.policy.onchain_fee_bound());
        let too_little = |needed: Sat| PayoutRefused::TooLittleForAll {
            party: order.party.clone(),
            available,
            needed: needed.to_msat().unwrap_or(Msat(u64::MAX)),
        };
        let needed = Sat(fee.0.saturating_add(dust.0));
        let left = available.to_sat_floor().0.checked_sub(fee.0);
        match left.map(Sat).filter(|left| *left >= dust) {
            Some(left) => left.to_msat().ok_or_else(|| too_little(needed)),
            None => Err(too_little(needed)),
        }
    }

    /// Whether a recovery would be accepted.
    pub fn check_sweep(&self, sweep: &PaymentId, wallet: &WalletId) -> Result<(), SweepRefused> {
        if self.is_id_used(sweep) {
            let sweep = sweep.clone();
            return Err(SweepRefused::IdUsed { sweep });
        }
        let spec = self.onchain.spec(wallet);
        let people = spec.and_then(|spec| spec.cosigners());
        match people.is_some_and(|people| people.recovery.is_some()) {
            true => Ok(()),
            false => Err(SweepRefused::NoRecovery {
                wallet: wallet.clone(),
            }),
        }
    }

    /// The wallet that pays: the one that is named, or else the one that the policy has for such an amount, or for payouts.
    pub(super) fn paying_wallet(&self, order: &Payout) -> WalletId {
        let by_value = || Some(wallets_for(&self.policy, order)?.first()?.wallet.clone());
        let named = order.wallet.clone().or_else(by_value);
        self.wallet_for(&order.party, &named, self.policy.payouts_from)
    }

    /// Much money leaves only the wallets that the policy has for it.
    fn check_wallet_for_value(&self, order: &Payout) -> Result<(), PayoutRefused> {
        let (Some(named), Some(steps)) = (&order.wallet, wallets_for(&self.policy, order)) else {
            return Ok(());
        };
        match steps.iter().any(|step| step.wallet == *named) {
            true => Ok(()),
            false => Err(PayoutRefused::WalletOfLessValue {
                wallet: named.clone(),
                quantity: order.quantity,
            }),
        }
    }

    fn check_identity(&self, party: &PartyId, payment: &PaymentId) -> Result<(), PayoutRefused> {
        if !self.has_account(party) {
            return Err(PayoutRefused::UnknownParty {
                party: party.clone(),
            });
        }
        let frozen = Account::Frozen {
            party: party.clone(),
        };
        if self.ledger.balance(&frozen) > 0 {
            sometimes(Rare::FrozenPayout);
            return Err(PayoutRefused::Frozen {
                party: party.clone(),
            });
        }
        if self.is_id_used(payment) {
            return Err(PayoutRefused::PaymentIdUsed {
                payment: payment.clone(),
            });
        }
        Ok(())
    }

    fn check_payout_limits(&self, order: &Payout) -> Result<(), PayoutRefused> {
        let quantity = order.quantity;
        let most = match quantity.asset {
            Asset::Btc => self.policy.max_payout_msat.0,
            Asset::Eur => self.policy.max_payout_cents,
        };
        if (quantity.units == 0 && !order.all) || quantity.units > most {
            return Err(PayoutRefused::AmountOutOfRange { quantity, most });
        }
        let (deadline, most) = (order.deadline, self.policy.max_payout_deadline);
        if deadline == Span(0) || deadline > most {
            return Err(PayoutRefused::DeadlineOutOfRange { deadline, most });
        }
        check_payout_terms(order)?;
        self.room()
            .map_err(|open| PayoutRefused::TooManyOpen { open })
    }

    fn check_destination(
        &self,
        now: Timestamp,
        order: &Payout,
    ) -> Result<CheckedDestination, PayoutRefused> {
        let amount = Msat(order.quantity.units);
        match &order.destination {
            Destination::Invoice(text) => {
                let invoice = self.check_invoice(now, text, amount)?;
                Ok(CheckedDestination::Invoice(text.trim().to_owned(), invoice))
            }
            Destination::Address(text) => {
                let address = address_of(text, (amount, order.all))?;
                let script = onchain::check_address(&address, self.network)?;
                let sat = amount
                    .to_sat_exact()
                    .ok_or(PayoutRefused::NotWholeSatoshi { amount })?;
                let least = Sat(script.minimal_non_dust().to_sat());
                let amount = match order.all {
                    true => self.least_of_all(order, least)?,
                    false => amount,
                };
                if sat < least {
                    let least = least.to_msat().unwrap_or(Msat(u64::MAX));
                    return Err(PayoutRefused::Dust { amount, least });
                }
                let binding = self.check_bound(order, &script, &address)?;
                Ok(CheckedDestination::Script(script, amount, binding))
            }
            Destination::Iban { iban, name } => {
                let iban = Iban::parse(iban)?;
                fiat::check_name(name)?;
                Ok(CheckedDestination::Account(
                    iban,
                    name.clone(),
                    Minor::new(order.quantity.units),
                ))
            }
        }
    }

    /// The binding of the wallet that is paid, if the policy asks for one.
    fn check_bound(
        &self,
        order: &Payout,
        script: &ScriptBuf,
        address: &str,
    ) -> Result<Option<BindingId>, PayoutRefused> {
        match self.policy.binding.asked {
            BindingAsked::Off => return Ok(None),
            BindingAsked::Payouts | BindingAsked::Both => {}
        }
        let payee = order.payee.as_ref().unwrap_or(&order.party);
        let found = self.bindings.owner(payee, script, Purpose::Payouts);
        match found {
            Some(binding) => Ok(Some(binding.id.clone())),
            None => Err(PayoutRefused::NotBound {
                address: address.to_owned(),
                payee: payee.clone(),
            }),
        }
    }

    /// Whether a decision about a held payment would be accepted.
    pub fn check_decision(&self, payment: &PaymentId) -> Result<(), DecisionRefused> {
        if let Some(escrow) = self.escrow_of(payment) {
            return Err(DecisionRefused::InEscrow {
                payment: payment.clone(),
                escrow: escrow.clone(),
            });
        }
        match self.records.get(payment) {
            None => Err(DecisionRefused::UnknownPayment {
                payment: payment.clone(),
            }),
            Some(Payment::LightningCharge(charge))
                if matches!(charge.state, LightningChargeState::Held { .. }) =>
            {
                Ok(())
            }
            Some(
                Payment::LightningCharge(_)
                | Payment::OnchainCharge(_)
                | Payment::LightningPayout(_)
                | Payment::OnchainPayout(_)
                | Payment::SepaPayout(_),
            ) => Err(DecisionRefused::NotHeld {
                payment: payment.clone(),
            }),
        }
    }

    /// Whether an opening balance would be accepted.
    pub fn check_opening(rail: Rail, quantity: Quantity) -> Result<(), OpeningRefused> {
        if rail.asset() != quantity.asset {
            return Err(OpeningRefused::WrongAsset {
                rail,
                asset: quantity.asset,
            });
        }
        if quantity.units == 0 {
            Err(OpeningRefused::Zero)
        } else {
            Ok(())
        }
    }

    /// `Err`: how many payments are open, if that is the limit.
    fn room(&self) -> Result<(), u32> {
        let open = self
            .records
            .values()
            .filter(|payment| !Status::is_final(payment.status()))
            .count();
        let open = u32::try_from(open).unwrap_or(u32::MAX);
        if open >= self.policy.max_open_payments {
            Err(open)
        } else {
            Ok(())
        }
    }
}

/// What only an invoice can say is asked of charges over Lightning only.
fn check_charge_terms(order: &Charge) -> Result<(), ChargeRefused> {
    let (terms, rail, amount) = (&order.terms, order.rail, order.amount_msat);
    let offered = match rail {
        Rail::Lightning => !terms.invoice_too,
        Rail::Onchain => !terms.any_amount && (terms.invoice_too || terms.description.is_none()),
        Rail::Sepa => *terms == ChargeTerms::default(),
    };
    if !offered {
        return Err(ChargeRefused::TermsNotOffered { rail });
    }
    if terms.any_amount && amount != Msat(0) {
        return Err(ChargeRefused::AnyAmountNamed { amount });
    }
    match &terms.description {
        Some(Description::Text(text)) if text.len() > MAX_DESCRIPTION_BYTES => {
            Err(ChargeRefused::DescriptionTooLong { bytes: text.len() })
        }
        Some(Description::Text(_) | Description::Hash(_)) | None => Ok(()),
    }
}

/// A budget for routing and a span for it are asked of payouts over Lightning only; the span is one of the deadline's.
fn check_payout_terms(order: &Payout) -> Result<(), PayoutRefused> {
    let (terms, rail) = (order.terms, rail_of(order));
    if terms != PayoutTerms::default() && rail != Rail::Lightning {
        return Err(PayoutRefused::TermsNotOffered { rail });
    }
    match terms.retry_for {
        Some(span) if span == Span(0) || span > order.deadline => {
            Err(PayoutRefused::RetriesOutOfRange {
                span,
                most: order.deadline,
            })
        }
        Some(_) | None => Ok(()),
    }
}

/// The steps of the policy that hold for a payout on chain.
fn wallets_for<'a>(policy: &'a Policy, order: &Payout) -> Option<&'a [WalletStep]> {
    match order.destination {
        Destination::Address(_) => policy.wallets_for(Msat(order.quantity.units).to_sat_floor()),
        Destination::Invoice(_) | Destination::Iban { .. } => None,
    }
}

/// The address of a destination: as it is, or out of a payment URI whose amount, if it names one, is the payout's; for all
/// that a party has it may name none.
fn address_of(text: &str, (amount, all): (Msat, bool)) -> Result<String, PayoutRefused> {
    if !bip21::is_uri(text.trim()) {
        return Ok(text.to_owned());
    }
    let uri = PaymentUri::parse(text)?;
    match uri.amount {
        Some(asked) if all || asked.to_msat() != Some(amount) => {
            Err(PayoutRefused::UriAmountDiffers {
                uri: asked,
                payout: amount,
            })
        }
        Some(_) | None if uri.address.is_empty() => Err(UriRefused::NoPayee.into()),
        Some(_) | None => Ok(uri.address),
    }
}

fn rail_of(order: &Payout) -> Rail {
    match order.destination {
        Destination::Invoice(_) => Rail::Lightning,
        Destination::Address(_) => Rail::Onchain,
        Destination::Iban { .. } => Rail::Sepa,
    }
}

/// All that a party has goes on chain only, and under no other amount.
fn check_all(order: &Payout) -> Result<(), PayoutRefused> {
    let (rail, quantity) = (rail_of(order), order.quantity);
    match (order.all, rail, quantity.units) {
        (false, ..) | (true, Rail::Onchain, 0) => Ok(()),
        (true, Rail::Onchain, _) => Err(PayoutRefused::AllWithAmount { quantity }),
        (true, Rail::Lightning | Rail::Sepa, _) => Err(PayoutRefused::AllNotOffered { rail }),
    }
}

fn check_assets(order: &Payout) -> Result<(), PayoutRefused> {
    let rail = rail_of(order);
    if rail.asset() != order.quantity.asset {
        return Err(PayoutRefused::WrongAsset {
            rail,
            asset: order.quantity.asset,
        });
    }
    match (order.quantity.asset, order.funded_by) {
        (Asset::Btc, Asset::Btc) | (Asset::Eur, Asset::Eur | Asset::Btc) => Ok(()),
        (Asset::Btc, Asset::Eur) => Err(PayoutRefused::WrongFunding {
            quantity: order.quantity,
            funded_by: order.funded_by,
        }),
    }
}
