//! Consensus rules of a single transaction: form, value, maturity.
//!
//! Owns what blocks and mempool both check. Scripts are in `script`, lock times in `locks`, relay policy in `standard`.

use std::collections::BTreeSet;

use bitcoin::{OutPoint, Transaction};

use super::coins::Coin;
use super::policy::{COINBASE_MATURITY, MAX_BLOCK_WEIGHT, MAX_MONEY_SAT};
use super::reject::TxReject;

const WITNESS_SCALE: u64 = 4;

/// Rules that need nothing but the transaction.
pub(super) fn check_form(tx: &Transaction) -> Result<(), TxReject> {
    if tx.input.is_empty() {
        return Err(TxReject::NoInputs);
    }
    if tx.output.is_empty() {
        return Err(TxReject::NoOutputs);
    }
    if (tx.base_size() as u64).saturating_mul(WITNESS_SCALE) > MAX_BLOCK_WEIGHT {
        return Err(TxReject::Oversize);
    }
    let mut total = 0_u64;
    for out in &tx.output {
        if out.value.to_sat() > MAX_MONEY_SAT {
            return Err(TxReject::OutputTooLarge);
        }
        total += out.value.to_sat();
        if total > MAX_MONEY_SAT {
            return Err(TxReject::OutputTotalTooLarge);
        }
    }
    let distinct: BTreeSet<OutPoint> = tx.input.iter().map(|i| i.previous_output).collect();
    if distinct.len() != tx.input.len() {
        return Err(TxReject::DuplicateInput);
    }
    check_prevouts(tx)
}

fn check_prevouts(tx: &Transaction) -> Result<(), TxReject> {
    if tx.is_coinbase() {
        let length = tx.input[0].script_sig.len();
        if (2..=100).contains(&length) {
            Ok(())
        } else {
            Err(TxReject::CoinbaseScriptLength)
        }
    } else if tx.input.iter().any(|i| i.previous_output.is_null()) {
        Err(TxReject::NullPrevout)
    } else {
        Ok(())
    }
}

/// Maturity and value at `height`; returns the fee in satoshi.
pub(super) fn check_inputs(tx: &Transaction, spent: &[Coin], height: u32) -> Result<u64, TxReject> {
    let mut in_sat = 0_u64;
    for (input, coin) in tx.input.iter().zip(spent) {
        if coin.coinbase && height.saturating_sub(coin.height) < COINBASE_MATURITY {
            return Err(TxReject::ImmatureCoinbase {
                outpoint: input.previous_output,
            });
        }
        in_sat += coin.out.value.to_sat();
        if in_sat > MAX_MONEY_SAT {
            return Err(TxReject::InputValues);
        }
    }
    let out_sat = output_sat(tx);
    in_sat
        .checked_sub(out_sat)
        .ok_or(TxReject::InBelowOut { in_sat, out_sat })
}

/// Sum of the outputs in satoshi; call only after [`check_form`].
pub(super) fn output_sat(tx: &Transaction) -> u64 {
    tx.output.iter().map(|o| o.value.to_sat()).sum()
}

/// Cost of the signature operations (BIP 141), given what the inputs spend.
pub(super) fn sigop_cost(tx: &Transaction, spent: &[Coin]) -> usize {
    tx.total_sigop_cost(|outpoint| {
        let index = tx
            .input
            .iter()
            .position(|i| i.previous_output == *outpoint)?;
        spent.get(index).map(|coin| coin.out.clone())
    })
}
