//! Owns from which scripts a transaction spends, as far as it tells: what the witness of a confirmed or relayed input reveals.
//! Does not own whose scripts they are (`identity`).
//!
//! Told are P2WPKH and P2WSH, also inside P2SH, and P2PKH. A P2TR input reveals no script: its previous output must be known.
//! Whatever is not told counts as nobody's.

use bitcoin::{OutPoint, PublicKey, Script, ScriptBuf, Transaction, TxIn};

/// The scripts that each input may have spent from, best guess first; `None` if one of the inputs does not tell.
/// `known` gives the script of a previous output that was seen.
pub(super) fn payer_scripts(
    transaction: &Transaction,
    known: impl Fn(&OutPoint) -> Option<ScriptBuf>,
) -> Option<Vec<ScriptBuf>> {
    let inputs = transaction.input.iter();
    inputs
        .map(|input| known(&input.previous_output).or_else(|| revealed(input)))
        .collect()
}

/// The script that an input's signature data commits to.
fn revealed(input: &TxIn) -> Option<ScriptBuf> {
    let last = input.witness.last();
    let Some(last) = last else {
        return revealed_by_script_sig(&input.script_sig);
    };
    let program = match (input.witness.len(), PublicKey::from_slice(last)) {
        // A signature and a compressed key. (That a P2WSH script has the bytes of somebody's key and can be satisfied is
        // not to be feared: its owner would have to find such a key first.)
        (2, Ok(key)) if last.len() == 33 => ScriptBuf::new_p2wpkh(&key.wpubkey_hash().ok()?),
        // A key path spend has one item; a control block ends a script path spend.
        (1, _) if matches!(last.len(), 64 | 65) => return None,
        _ if is_control_block(last) => return None,
        _ => ScriptBuf::new_p2wsh(&Script::from_bytes(last).wscript_hash()),
    };
    if input.script_sig.is_empty() {
        return Some(program);
    }
    let wrapped = input.script_sig.instructions_minimal().next()?.ok()?;
    let redeem = Script::from_bytes(wrapped.push_bytes()?.as_bytes());
    (redeem == program.as_script()).then(|| ScriptBuf::new_p2sh(&redeem.script_hash()))
}

/// `scriptSig` of P2PKH: a signature and a key.
fn revealed_by_script_sig(script_sig: &Script) -> Option<ScriptBuf> {
    let pushes: Option<Vec<_>> = script_sig
        .instructions_minimal()
        .map(|item| Some(item.ok()?.push_bytes()?.as_bytes().to_vec()))
        .collect();
    match pushes?.as_slice() {
        [_, key] => {
            let key = PublicKey::from_slice(key).ok()?;
            Some(ScriptBuf::new_p2pkh(&key.pubkey_hash()))
        }
        _ => None,
    }
}

/// BIP 341: 33 bytes and 32 for each step, leaf version 0xc0 with the parity bit.
fn is_control_block(item: &[u8]) -> bool {
    let steps = item.len().checked_sub(33);
    steps.is_some_and(|rest| rest.is_multiple_of(32)) && matches!(item.first(), Some(0xc0 | 0xc1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::hashes::Hash as _;
    use bitcoin::secp256k1::{Secp256k1, SecretKey};
    use bitcoin::{Amount, PubkeyHash, Sequence, TxOut, Txid, Witness, absolute, transaction};

    fn key() -> PublicKey {
        let secret = SecretKey::from_slice(&[3; 32]).expect("a key");
        PublicKey::new(secret.public_key(&Secp256k1::new()))
    }

    fn input(script_sig: ScriptBuf, items: &[&[u8]]) -> TxIn {
        TxIn {
            previous_output: OutPoint {
                txid: Txid::all_zeros(),
                vout: 0,
            },
            script_sig,
            sequence: Sequence::MAX,
            witness: Witness::from_slice(items),
        }
    }

    fn told(inputs: Vec<TxIn>) -> Option<Vec<ScriptBuf>> {
        let transaction = Transaction {
            version: transaction::Version::TWO,
            lock_time: absolute::LockTime::ZERO,
            input: inputs,
            output: vec![TxOut {
                value: Amount::ZERO,
                script_pubkey: ScriptBuf::new(),
            }],
        };
        payer_scripts(&transaction, |_| None)
    }

    fn push(bytes: &[u8]) -> bitcoin::script::PushBytesBuf {
        bytes.to_vec().try_into().expect("short")
    }

    #[test]
    fn witnesses_tell_what_they_spend() {
        let key = key();
        let bytes = key.to_bytes();
        let wpkh = ScriptBuf::new_p2wpkh(&key.wpubkey_hash().expect("compressed"));
        let plain = input(ScriptBuf::new(), &[&[1; 71], &bytes]);
        assert_eq!(told(vec![plain.clone()]), Some(vec![wpkh.clone()]));

        let wrapping = ScriptBuf::builder()
            .push_slice(push(wpkh.as_bytes()))
            .into_script();
        let nested = input(wrapping, &[&[1; 71], &bytes]);
        let p2sh = ScriptBuf::new_p2sh(&wpkh.script_hash());
        assert_eq!(told(vec![nested]), Some(vec![p2sh]));

        let script = ScriptBuf::builder()
            .push_key(&key)
            .push_int(7)
            .into_script();
        let spent = input(ScriptBuf::new(), &[&[], &[1; 71], script.as_bytes()]);
        let wsh = ScriptBuf::new_p2wsh(&script.wscript_hash());
        assert_eq!(told(vec![plain, spent]), Some(vec![wpkh, wsh]));

        let legacy = ScriptBuf::builder()
            .push_slice(push(&[1; 71]))
            .push_slice(push(&bytes))
            .into_script();
        let pkh = ScriptBuf::new_p2pkh(&PubkeyHash::hash(&bytes));
        assert_eq!(told(vec![input(legacy, &[])]), Some(vec![pkh]));
    }

    #[test]
    fn taproot_and_what_does_not_fit_tell_nothing() {
        let key_path = input(ScriptBuf::new(), &[&[1; 64]]);
        assert_eq!(told(vec![key_path]), None);
        let mut control = [2; 65];
        control[0] = 0xc1;
        let script_path = input(ScriptBuf::new(), &[&[1; 64], &[0x51], &control]);
        assert_eq!(told(vec![script_path]), None);
        // The redeem script is another one.
        let other = ScriptBuf::builder()
            .push_slice(push(&[0; 22]))
            .into_script();
        let nested = input(other, &[&[1; 71], &key().to_bytes()]);
        assert_eq!(told(vec![nested]), None);
        assert_eq!(told(vec![input(ScriptBuf::new(), &[])]), None);
    }

    #[test]
    fn a_known_output_needs_no_witness() {
        let script = ScriptBuf::new_p2pkh(&PubkeyHash::all_zeros());
        let transaction = Transaction {
            version: transaction::Version::TWO,
            lock_time: absolute::LockTime::ZERO,
            input: vec![input(ScriptBuf::new(), &[&[1; 64]])],
            output: Vec::new(),
        };
        let known = payer_scripts(&transaction, |_| Some(script.clone()));
        assert_eq!(known, Some(vec![script]));
    }
}
