//! Owns the transaction that takes an exact amount out of a wallet, fee included: what its coins hold beyond that comes back
//! as change, and the recipient gets the amount less the fee. Does not own when one is built (`payments`) nor what happens to
//! it then (`build`).

use super::Onchain;
use super::build::{BuildOrder, BuildRefused, MAIN_BRANCH, Recipient, fee_of, refused};
use super::draws::Draws;
use crate::money::Sat;
use bdk_wallet::LocalOutput;
use bdk_wallet::coin_selection::LargestFirstCoinSelection;
use bitcoin::{Amount, FeeRate, OutPoint, Psbt, ScriptBuf};
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// Coins for an exact amount.
struct Coins {
    outpoints: Vec<OutPoint>,
    /// They hold that amount and nothing beyond.
    exact: bool,
}

impl Onchain {
    /// Spends exactly the amount of the order's one recipient. Which coins, follows from the coins alone.
    pub(super) fn select_whole(
        &mut self,
        order: &BuildOrder,
        change: &ScriptBuf,
        unspendable: &BTreeSet<OutPoint>,
    ) -> Result<Psbt, BuildRefused> {
        let [recipient] = &order.recipients[..] else {
            let cause = "a fee can be taken out of one amount only".to_owned();
            return Err(BuildRefused::Unbuildable { cause });
        };
        let dust = Sat(change.minimal_non_dust().to_sat());
        let coins = self.coins_for(recipient.amount_sat, dust, unspendable)?;
        if coins.exact {
            return self.spend(order, &coins, (None, &recipient.script));
        }
        // Amounts do not change what a transaction weighs, so the fee of any other amount is the fee of this one.
        let least = Sat(recipient.script.minimal_non_dust().to_sat());
        let trial = self.spend(order, &coins, (Some(least), change))?;
        let fee = fee_of(&trial)?;
        let left = Sat(recipient.amount_sat.0.saturating_sub(fee.0));
        self.spend(order, &coins, (Some(left), change))
    }

    /// The largest coins that hold the amount exactly, or with change that is no dust.
    fn coins_for(
        &self,
        amount: Sat,
        dust: Sat,
        unspendable: &BTreeSet<OutPoint>,
    ) -> Result<Coins, BuildRefused> {
        let contested = self
            .contested()
            .map_err(|txid| BuildRefused::MustWait { txid })?;
        let contested: BTreeSet<OutPoint> = contested.into_iter().collect();
        let is_free = |coin: &LocalOutput| {
            contested.contains(&coin.outpoint)
                || !unspendable.contains(&coin.outpoint) && !self.is_coinbase(coin)
        };
        let coins = self.wallet.list_unspent().filter(is_free);
        let mut coins: Vec<LocalOutput> = coins.collect();
        coins.sort_by_key(|coin| {
            let must = contested.contains(&coin.outpoint);
            (!must, Reverse(coin.txout.value), coin.outpoint)
        });
        let mut taken = 0_u64;
        let mut outpoints = Vec::new();
        for coin in &coins {
            taken = taken.saturating_add(coin.txout.value.to_sat());
            outpoints.push(coin.outpoint);
            let all_must = contested.iter().all(|must| outpoints.contains(must));
            let (exact, with_change) =
                (taken == amount.0, taken >= amount.0.saturating_add(dust.0));
            if all_must && (exact || with_change) {
                return Ok(Coins { outpoints, exact });
            }
        }
        Err(BuildRefused::InsufficientFunds {
            needed_sat: amount,
            available_sat: Sat(taken),
        })
    }

    fn is_coinbase(&self, coin: &LocalOutput) -> bool {
        let transaction = self.wallet.tx_graph().get_tx(coin.outpoint.txid);
        transaction.is_none_or(|transaction| transaction.is_coinbase())
    }

    /// A transaction of these coins and no others. What is left of them goes to `rest`.
    fn spend(
        &mut self,
        order: &BuildOrder,
        coins: &Coins,
        (pays, rest): (Option<Sat>, &ScriptBuf),
    ) -> Result<Psbt, BuildRefused> {
        let paths = self.paths(MAIN_BRANCH)?;
        let mut builder = self
            .wallet
            .build_tx()
            .coin_selection(LargestFirstCoinSelection);
        let recipient = order.recipients.first();
        if let (Some(amount), Some(Recipient { script, .. })) = (pays, recipient) {
            builder.add_recipient(script.clone(), Amount::from_sat(amount.0));
        }
        builder
            .drain_to(rest.clone())
            .fee_rate(FeeRate::from_sat_per_kwu(order.feerate_sat_per_kwu))
            .manually_selected_only();
        for (keychain, path) in paths {
            builder.policy_path(path, keychain);
        }
        let added = builder.add_utxos(&coins.outpoints).map(|_| ());
        added.map_err(|error| BuildRefused::Unbuildable {
            cause: error.to_string(),
        })?;
        builder
            .finish_with_aux_rand(&mut Draws::new(order.entropy))
            .map_err(|error| refused(order, error))
    }
}
