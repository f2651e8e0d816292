//! Owns I2: the ledger's outside accounts equal what the outside really holds, to the millisatoshi and the cent: coins of
//! each of the engine's wallets, its side of the channels, its account at the gateway.
//!
//! At rest the equality is exact (our pending outgoing HTLCs still count as ours). While something moves, the outside may
//! be ahead of the engine by what is in flight; then the ledger must lie within what can be in flight: HTLCs for the
//! channels, exact after each look for the chain, transfers under way and credits for the gateway.
//!
//! While a fault of the chain's backend hides the chain, the wallet's account is held at rest against what the engine was
//! last shown: nobody can book what he is not told. For the same reason a transfer that came back without a word (its webhook is
//! lost, and nobody has asked since) is left out of the gateway's account until it is asked about. Nothing else is relaxed.

use super::{Invariant, Settled, Stepped};
use crate::worlds::{NodeTruth, Truth};
use lockstep_engine::api::{Engine, Input};
use lockstep_engine::id::WalletId;
use lockstep_engine::ledger::Account;
use lockstep_engine::payments::{Payment, Status};
use lockstep_engine::rail::{Fact, Rail};
use std::collections::BTreeMap;

/// I2.
pub(super) struct GroundTruth;

impl Invariant for GroundTruth {
    fn name(&self) -> &'static str {
        "ledger-equals-ground-truth"
    }

    fn after_step(&mut self, stepped: &Stepped<'_>) -> Result<(), String> {
        if !opened(stepped.engine) {
            return Ok(());
        }
        suspense_is_owed(stepped.engine)?;
        // A look at the chain may be older than the chain: only rest proves that both agree. What can be said at once is
        // that nothing is booked that no look has shown.
        if let Input::Fact {
            fact: Fact::Chain(_),
            ..
        } = stepped.input
        {
            wallets_follow_the_engines_own_view(stepped.engine)?;
        }
        // A look at the node may come while an HTLC is being offered, when the node's own figures do not add up.
        if let Input::Fact {
            fact: Fact::Node(_),
            ..
        } = stepped.input
        {
            return Ok(());
        }
        stepped
            .truth
            .as_ref()
            .map_or(Ok(()), |truth| in_flight(stepped.engine, truth))
    }

    fn at_rest(&mut self, settled: &Settled<'_>) -> Result<(), String> {
        if !opened(settled.engine) {
            return Ok(());
        }
        let truth = &settled.truth;
        // What a backend hides the ledger cannot know; it still follows what was shown.
        if settled.chain_is_hidden {
            wallets_follow_the_engines_own_view(settled.engine)?;
        } else {
            wallets_hold_what_is_booked(settled.engine, &truth.wallets_sat)?;
        }
        if let Some(node) = &truth.node {
            node_holds_what_is_booked(settled.engine, node)?;
        }
        let channels = i128::from(truth.channels_msat) + i128::from(truth.outgoing_msat);
        equal(
            "the channels",
            balance(settled.engine, &Account::LightningChannels),
            channels,
        )?;
        equal(
            "the gateway's account",
            balance(settled.engine, &Account::Gateway),
            i128::from(truth.gateway_cents - truth.untold_cents),
        )
    }
}

/// The ledger lies within what can be in flight.
fn in_flight(engine: &Engine, truth: &Truth) -> Result<(), String> {
    // A channel that has opened or closed is booked by the next look at the node.
    let listed = engine.payments().channels().listed();
    let is_new = |node: &NodeTruth| !listed.eq(node.listed.iter().copied());
    if !truth.node.as_ref().is_some_and(is_new) {
        let channels = balance(engine, &Account::LightningChannels);
        within("the channels", channels, channels_range(truth))?;
    }
    let pending = i128::from(pending_cents(engine));
    let outside = i128::from(truth.gateway_cents);
    // The books may be late to debit a transfer and to credit one that came back; they are never early.
    let range = (outside - i128::from(truth.came_in_cents), outside + pending);
    within(
        "the gateway's account",
        balance(engine, &Account::Gateway),
        range,
    )
}

/// The node's wallet is booked to the satoshi. What of closed channels has not come is somewhere between nothing and what was
/// ours in them; nothing, once all is swept.
fn node_holds_what_is_booked(engine: &Engine, node: &NodeTruth) -> Result<(), String> {
    let wallet = i128::from(node.wallet_sat) * 1_000;
    equal(
        "the node's wallet",
        balance(engine, &Account::NodeWallet),
        wallet,
    )?;
    let closing = balance(engine, &Account::LightningClosing);
    if closing < 0 || (node.swept && closing != 0) {
        return Err(format!(
            "{closing} msat are booked of closed channels, which {}",
            if node.swept {
                "are swept"
            } else {
                "is less than nothing"
            }
        ));
    }
    Ok(())
}

fn balance(engine: &Engine, account: &Account) -> i128 {
    engine.ledger().balance(account)
}

/// Openings are booked one by one; before the last one is, the books are not complete.
fn opened(engine: &Engine) -> bool {
    engine.ledger().parties().next().is_some()
}

fn channels_range(truth: &Truth) -> (i128, i128) {
    let low = i128::from(truth.channels_msat);
    (
        low,
        low + i128::from(truth.outgoing_msat) + i128::from(truth.incoming_msat),
    )
}

/// Euro that the gateway may have debited without the engine knowing yet.
fn pending_cents(engine: &Engine) -> u64 {
    let cents = |payment: &Payment| match payment {
        Payment::SepaPayout(payout) => payout.amount.units(),
        _ => 0,
    };
    engine
        .payments()
        .iter()
        .filter(|(_, payment)| payment.status() != Status::Failed)
        .map(|(_, payment)| cents(payment))
        .sum()
}

/// Suspense is money that came without a name: it can be owed, never be missing.
fn suspense_is_owed(engine: &Engine) -> Result<(), String> {
    for rail in [Rail::Onchain, Rail::Lightning, Rail::Sepa] {
        let held = balance(engine, &Account::Suspense { rail });
        if held > 0 {
            return Err(format!(
                "suspense of {rail:?} is {held}: money was booked out that nobody had brought in"
            ));
        }
    }
    Ok(())
}

fn in_wallet(engine: &Engine, wallet: &WalletId) -> i128 {
    let wallet = wallet.clone();
    balance(engine, &Account::ChainWallet { wallet })
}

/// Each wallet for itself: money that is booked in the wrong one is wrong, though the sum is right.
fn wallets_hold_what_is_booked(
    engine: &Engine,
    outside: &BTreeMap<String, u64>,
) -> Result<(), String> {
    for (name, sat) in outside {
        let wallet = WalletId::new(name.as_str()).map_err(|error| error.to_string())?;
        let what = format!("the wallet `{name}`");
        equal(&what, in_wallet(engine, &wallet), i128::from(*sat) * 1_000)?;
    }
    for (account, booked) in engine.ledger().accounts() {
        if let Account::ChainWallet { wallet } = account
            && !outside.contains_key(wallet.as_str())
        {
            return Err(format!(
                "{booked} msat are booked in wallet `{wallet}`, which is nobody's"
            ));
        }
    }
    Ok(())
}

fn wallets_follow_the_engines_own_view(engine: &Engine) -> Result<(), String> {
    for (wallet, seen) in engine.payments().onchain().totals() {
        let what = format!("the wallet `{wallet}` as last seen");
        equal(
            &what,
            in_wallet(engine, &wallet),
            i128::from(seen.0) * 1_000,
        )?;
    }
    Ok(())
}

fn equal(what: &str, ledger: i128, outside: i128) -> Result<(), String> {
    if ledger == outside {
        return Ok(());
    }
    Err(format!(
        "the ledger says {ledger} of {what}, the outside holds {outside} (difference {})",
        ledger - outside
    ))
}

fn within(what: &str, ledger: i128, (low, high): (i128, i128)) -> Result<(), String> {
    if (low..=high).contains(&ledger) {
        return Ok(());
    }
    Err(format!(
        "the ledger says {ledger} of {what}, the outside holds {low} to {high} with what is in flight"
    ))
}
