//! Owns what is taken from a cosigner: signatures of exactly his key, by SIGHASH_ALL, for every input of the transaction
//! that was built, each of them verified here; and how those of several cosigners become one transaction. Does not own
//! whom to ask nor how many must answer (`payments`).
//!
//! Nothing else of a cosigner's PSBT is looked at: what the inputs are worth, and by which script they are locked, is
//! what this wallet said when it built the transaction.

use super::build::BuiltTransaction;
use super::custody::Cosigner;
use super::{AbandonRefused, Onchain};
use bitcoin::bip32::KeySource;
use bitcoin::psbt::Input;
use bitcoin::secp256k1::{self, Message, Secp256k1, VerifyOnly};
use bitcoin::sighash::SighashCache;
use bitcoin::{EcdsaSighashType, OutPoint, Psbt, PublicKey, Txid, ecdsa};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What one cosigner has given: for each input his key and his signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Signatures(Vec<(PublicKey, ecdsa::Signature)>);

impl Signatures {
    /// No signature at all: what a planted bug counts.
    pub(crate) const fn none() -> Signatures {
        Signatures(Vec::new())
    }
}

/// Why an answer does not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum AnswerWrong {
    /// Not a PSBT (BIP 174).
    #[error("it is not a PSBT")]
    Unreadable,
    /// Inputs, outputs, sequence numbers or lock time are others.
    #[error("it is about another transaction")]
    OtherTransaction,
    /// A signature that leaves parts of the transaction open, or a type that does not exist.
    #[error("input {input} is not signed by SIGHASH_ALL")]
    WrongSighash {
        /// Index.
        input: usize,
    },
    /// A signature that this cosigner cannot give, or an input that he has completed by himself.
    #[error("input {input} has a signature of another key")]
    ForeignSignature {
        /// Index.
        input: usize,
    },
    /// He has left an input out.
    #[error("input {input} is not signed")]
    NotSigned {
        /// Index.
        input: usize,
    },
    /// Not a signature of this transaction.
    #[error("the signature of input {input} is of something else")]
    WrongSignature {
        /// Index.
        input: usize,
    },
}

impl Onchain {
    /// The signatures of one cosigner, if his answer is nothing but them; `None` if no such transaction stands.
    pub fn check_cosigned(
        &self,
        txid: Txid,
        cosigner: &Cosigner,
        answer: &str,
    ) -> Option<Result<Signatures, AnswerWrong>> {
        let built = self.built_psbt(txid)?;
        Some(checked(built, cosigner, answer))
    }

    /// The transaction that was built with the signatures of several cosigners (BIP 174 combiner), base64.
    pub fn combine<'a>(
        &self,
        txid: Txid,
        given: impl IntoIterator<Item = &'a Signatures>,
    ) -> Option<String> {
        let mut psbt = self.built_psbt(txid)?.clone();
        for signatures in given {
            for (input, (key, signature)) in psbt.inputs.iter_mut().zip(&signatures.0) {
                input.partial_sigs.insert(*key, *signature);
            }
        }
        Some(psbt.to_string())
    }

    /// As [`Onchain::abandon`], of a transaction that cosigners were shown: enough of them together could still complete
    /// it. Its coins are free, but the wallet builds nothing more without spending one of them, until something else than
    /// that transaction is seen to have spent one.
    pub fn abandon_shown(&mut self, txid: Txid) -> Result<(), AbandonRefused> {
        let shown = self.built.get(&txid).cloned();
        self.abandon(txid)?;
        self.given_up.extend(shown.map(|shown| (txid, shown)));
        Ok(())
    }

    /// One coin of each transaction that was given up and could still confirm; the first that is not locked. `Err`: the
    /// coins of one are all locked by what takes its place, which is not seen yet.
    pub(super) fn contested(&self) -> Result<Vec<OutPoint>, Txid> {
        let unspent: BTreeSet<OutPoint> = self
            .wallet
            .list_unspent()
            .map(|coin| coin.outpoint)
            .collect();
        let locked: BTreeSet<OutPoint> = self
            .built
            .values()
            .flat_map(BuiltTransaction::inputs)
            .collect();
        let mut coins = Vec::new();
        for (txid, shown) in &self.given_up {
            if shown.inputs().any(|coin| !unspent.contains(&coin)) {
                continue;
            }
            let free = shown.inputs().find(|coin| !locked.contains(coin));
            coins.push(free.ok_or(*txid)?);
        }
        Ok(coins)
    }

    /// Forgets what was given up and can never confirm: something else has spent its coins, and is buried.
    pub(super) fn forget_given_up(&mut self, buried: &BTreeSet<OutPoint>) {
        self.given_up
            .retain(|_, shown| !shown.inputs().any(|coin| buried.contains(&coin)));
    }
}

fn checked(built: &Psbt, cosigner: &Cosigner, answer: &str) -> Result<Signatures, AnswerWrong> {
    let answer: Psbt = answer.parse().map_err(|_| AnswerWrong::Unreadable)?;
    if answer.unsigned_tx != built.unsigned_tx {
        return Err(AnswerWrong::OtherTransaction);
    }
    let secp = Secp256k1::verification_only();
    let mut cache = SighashCache::new(&built.unsigned_tx);
    let mut signatures = Vec::new();
    for (index, (ours, theirs)) in built.inputs.iter().zip(&answer.inputs).enumerate() {
        let (key, signature) = only_signature(ours, theirs, index, cosigner, &secp)?;
        let wrong = AnswerWrong::WrongSignature { input: index };
        let message = message(&mut cache, ours, index).ok_or_else(|| wrong.clone())?;
        secp.verify_ecdsa(&message, &signature.signature, &key)
            .map_err(|_| wrong)?;
        signatures.push((PublicKey::new(key), signature));
    }
    Ok(Signatures(signatures))
}

/// The one signature that an input has: of this cosigner's key, by SIGHASH_ALL.
fn only_signature(
    ours: &Input,
    theirs: &Input,
    index: usize,
    cosigner: &Cosigner,
    secp: &Secp256k1<VerifyOnly>,
) -> Result<(secp256k1::PublicKey, ecdsa::Signature), AnswerWrong> {
    let key = key_of(cosigner, &ours.bip32_derivation, secp);
    let mine = |signed: &PublicKey| Some(signed.inner) == key;
    let completed = theirs.final_script_witness.is_some()
        || theirs.final_script_sig.is_some()
        || theirs.tap_key_sig.is_some()
        || !theirs.tap_script_sigs.is_empty();
    if completed || theirs.partial_sigs.keys().any(|signed| !mine(signed)) {
        return Err(AnswerWrong::ForeignSignature { input: index });
    }
    let signed = theirs.partial_sigs.iter().next();
    let (signed, signature) = signed.ok_or(AnswerWrong::NotSigned { input: index })?;
    if signature.sighash_type != EcdsaSighashType::All {
        return Err(AnswerWrong::WrongSighash { input: index });
    }
    Ok((signed.inner, *signature))
}

/// A cosigner's key of an input.
fn key_of(
    cosigner: &Cosigner,
    keys: &BTreeMap<secp256k1::PublicKey, KeySource>,
    secp: &Secp256k1<VerifyOnly>,
) -> Option<secp256k1::PublicKey> {
    let his = |(key, (_, path)): (&secp256k1::PublicKey, &KeySource)| {
        (cosigner.key_at(path, secp) == Some(*key)).then_some(*key)
    };
    keys.iter().find_map(his)
}

/// What is signed for an input (BIP 143).
fn message(
    cache: &mut SighashCache<&bitcoin::Transaction>,
    input: &Input,
    index: usize,
) -> Option<Message> {
    let (script, value) = (
        input.witness_script.as_ref()?,
        input.witness_utxo.as_ref()?.value,
    );
    let hash = cache.p2wsh_signature_hash(index, script, value, EcdsaSighashType::All);
    hash.ok().map(Message::from)
}
