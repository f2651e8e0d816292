//! Script verification of every input by Bitcoin Core's own interpreter (`bitcoinconsensus`).
//!
//! Owns the call. Consensus flags only (P2SH, DERSIG, NULLDUMMY, CLTV, CSV, WITNESS, TAPROOT): Core's extra policy flags
//! (LOW_S, MINIMALIF, CLEANSTACK, NULLFAIL, discouraged upgrades) are not checked, so this relays some that Core does not.

use bitcoin::{Transaction, consensus::encode::serialize};
use bitcoinconsensus::Utxo;

use super::coins::Coin;

/// Checks scripts. The seam exists so that a test can prove that the check is what catches forgeries.
#[derive(Debug, Clone, Default)]
pub(super) struct ScriptVerifier {
    #[cfg(test)]
    pub(super) accept_everything: bool,
}

impl ScriptVerifier {
    /// Checks all inputs against what they spend, in the order of the inputs.
    ///
    /// # Errors
    /// The index of the first input whose script is not satisfied.
    pub(super) fn verify(&self, tx: &Transaction, spent: &[Coin]) -> Result<(), usize> {
        #[cfg(test)]
        if self.accept_everything {
            return Ok(());
        }
        let bytes = serialize(tx);
        let utxos: Vec<Utxo> = spent.iter().map(utxo).collect();
        for (index, coin) in spent.iter().enumerate() {
            let script = coin.out.script_pubkey.as_bytes();
            bitcoinconsensus::verify(script, coin.out.value.to_sat(), &bytes, Some(&utxos), index)
                .map_err(|_| index)?;
        }
        Ok(())
    }
}

fn utxo(coin: &Coin) -> Utxo {
    let script = coin.out.script_pubkey.as_bytes();
    Utxo {
        script_pubkey: script.as_ptr(),
        script_pubkey_len: u32::try_from(script.len()).expect("a script fits a transaction"),
        value: i64::try_from(coin.out.value.to_sat()).expect("amounts are below the supply"),
    }
}
