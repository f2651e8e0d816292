//! Standardness: what a node relays although consensus would allow more (Bitcoin Core's `policy/policy.cpp`).
//!
//! Owns form rules of outputs, inputs and witnesses. Not here: ephemeral dust (any dust is refused), TRUC (version 3 is
//! relayed like version 2), the legacy signature operation limit of BIP 54.

use bitcoin::{FeeRate, Script, Transaction, WitnessVersion};

use super::coins::Coin;
use super::policy::{MAX_STANDARD_WEIGHT, Policy};
use super::reject::TxReject;

const MIN_NON_WITNESS_BYTES: usize = 65;
const MAX_SCRIPT_SIG_BYTES: usize = 1_650;
/// Since version 30 Core relays as much data as fits a standard transaction.
const MAX_DATA_CARRIER_BYTES: usize = 100_000;
const MAX_P2WSH_SCRIPT_BYTES: usize = 3_600;
const MAX_P2WSH_ITEMS: usize = 100;
const MAX_WITNESS_ITEM_BYTES: usize = 80;
const MAX_P2SH_SIGOPS: usize = 15;
const ANNEX_TAG: u8 = 0x50;
const TAPSCRIPT_LEAF: u8 = 0xc0;

/// Checks what the transaction alone shows, in Core's order.
pub(super) fn check_standard(tx: &Transaction, policy: &Policy) -> Result<(), TxReject> {
    if !(1..=3).contains(&tx.version.0) {
        return Err(TxReject::Version);
    }
    let weight = tx.weight().to_wu();
    if weight > MAX_STANDARD_WEIGHT {
        return Err(TxReject::TooHeavy { weight });
    }
    for input in &tx.input {
        if input.script_sig.len() > MAX_SCRIPT_SIG_BYTES {
            return Err(TxReject::ScriptSigSize);
        }
        if !input.script_sig.is_push_only() {
            return Err(TxReject::ScriptSigNotPushOnly);
        }
    }
    check_outputs(tx, policy)?;
    if tx.base_size() < MIN_NON_WITNESS_BYTES {
        return Err(TxReject::TooSmall);
    }
    Ok(())
}

fn check_outputs(tx: &Transaction, policy: &Policy) -> Result<(), TxReject> {
    let mut data_left = MAX_DATA_CARRIER_BYTES;
    for (output, out) in tx.output.iter().enumerate() {
        let script = &out.script_pubkey;
        if !is_standard_output(script) {
            return Err(TxReject::NonStandardOutput { output });
        }
        if script.is_op_return() {
            data_left = data_left
                .checked_sub(script.len())
                .ok_or(TxReject::DataCarrier)?;
        }
    }
    // FeeRate counts per 1000 weight units, a quarter of 1000 virtual bytes.
    let rate = FeeRate::from_sat_per_kwu(policy.dust_relay_sat_per_kvb / 4);
    for (output, out) in tx.output.iter().enumerate() {
        let needed_sat = out.script_pubkey.minimal_non_dust_custom(rate).to_sat();
        if !out.script_pubkey.is_op_return() && out.value.to_sat() < needed_sat {
            return Err(TxReject::Dust { output, needed_sat });
        }
    }
    Ok(())
}

fn is_standard_output(script: &Script) -> bool {
    if script.is_op_return() {
        return script
            .as_bytes()
            .get(1..)
            .is_some_and(|rest| Script::from_bytes(rest).is_push_only());
    }
    match script.witness_version() {
        Some(WitnessVersion::V0) => script.is_p2wpkh() || script.is_p2wsh(),
        Some(_) => true,
        None => is_legacy_form(script),
    }
}

fn is_legacy_form(script: &Script) -> bool {
    script.is_p2pkh() || script.is_p2sh() || script.is_p2pk() || is_small_multisig(script)
}

/// Bare multisig of at most three keys.
fn is_small_multisig(script: &Script) -> bool {
    const OP_1: u8 = 0x51;
    let bytes = script.as_bytes();
    let keys = bytes.len().checked_sub(2).map(|at| bytes[at]);
    script.is_multisig() && keys.is_some_and(|n| (OP_1..=OP_1 + 2).contains(&n))
}

fn is_anchor(script: &Script) -> bool {
    script.as_bytes() == [0x51, 0x02, 0x4e, 0x73]
}

/// Checks what the inputs spend and how.
pub(super) fn check_inputs_standard(tx: &Transaction, spent: &[Coin]) -> Result<(), TxReject> {
    for (input, (txin, coin)) in tx.input.iter().zip(spent).enumerate() {
        let script = &coin.out.script_pubkey;
        let known =
            script.is_p2wpkh() || script.is_p2wsh() || script.is_p2tr() || is_anchor(script);
        if !known && !is_legacy_form(script) {
            return Err(TxReject::NonStandardInput { input });
        }
        if script.is_p2sh() {
            let redeem = last_push(&txin.script_sig);
            if redeem.is_some_and(|s| s.count_sigops() > MAX_P2SH_SIGOPS) {
                return Err(TxReject::NonStandardInput { input });
            }
        }
        if !is_witness_standard(txin, script) {
            return Err(TxReject::NonStandardWitness { input });
        }
    }
    Ok(())
}

fn last_push(script_sig: &Script) -> Option<bitcoin::ScriptBuf> {
    let last = script_sig.instructions().last()?.ok()?;
    last.push_bytes()
        .map(|bytes| bitcoin::ScriptBuf::from_bytes(bytes.as_bytes().to_vec()))
}

fn is_witness_standard(txin: &bitcoin::TxIn, script: &Script) -> bool {
    if txin.witness.is_empty() {
        return true;
    }
    let nested = if script.is_p2sh() {
        last_push(&txin.script_sig)
    } else {
        None
    };
    let program: &Script = nested.as_deref().unwrap_or(script);
    let items: Vec<&[u8]> = txin.witness.iter().collect();
    if is_anchor(script) || program.witness_version().is_none() {
        // Core: a witness for an anchor or for an output without witness program is malleation.
        return false;
    }
    if program.is_p2wsh() {
        let (redeem, stack) = items.split_last().expect("not empty");
        return redeem.len() <= MAX_P2WSH_SCRIPT_BYTES
            && stack.len() <= MAX_P2WSH_ITEMS
            && stack.iter().all(|i| i.len() <= MAX_WITNESS_ITEM_BYTES);
    }
    if script.is_p2tr() {
        return is_taproot_standard(&items);
    }
    true
}

/// BIP 341: no annex; BIP 342: small items in script paths.
fn is_taproot_standard(items: &[&[u8]]) -> bool {
    if items.len() >= 2 && items[items.len() - 1].first() == Some(&ANNEX_TAG) {
        return false;
    }
    if items.len() < 2 {
        return true;
    }
    let (control, rest) = items.split_last().expect("two or more");
    match control.first() {
        None => false,
        Some(leaf) if leaf & 0xfe == TAPSCRIPT_LEAF => rest[..rest.len() - 1]
            .iter()
            .all(|i| i.len() <= MAX_WITNESS_ITEM_BYTES),
        Some(_) => true,
    }
}
