//! Owns the check of a BIP-322 proof: whether whoever controls an address has signed a text. Does not own the text
//! (`challenge`) nor the cryptography (crate `bip322`).
//!
//! Taken are the forms *simple* (`smp…`, or without a prefix) and *full* (`ful…`) for P2WPKH, P2SH-P2WPKH, P2PKH, P2TR by its
//! key path, and CHECKMULTISIG in P2WSH, P2SH-P2WSH and P2SH. Refused, each with its own reason: proofs of funds (`pof…`: they
//! would have to be compared with the chain), proofs that hold only from a time on (a lock time or a sequence), and scripts
//! that cannot be interpreted here.

use bitcoin::absolute::LockTime;
use bitcoin::base64::Engine as _;
use bitcoin::base64::engine::general_purpose::STANDARD;
use bitcoin::consensus::encode::deserialize;
use bitcoin::{Address, Sequence, Transaction, Witness};

/// The longest proof, in characters of base64. A full 15-of-15 multisig proof has about 2,200.
pub const MAX_PROOF_CHARS: usize = 8_192;

/// Why a proof does not count. Nothing is changed by it; another one may be given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofRefused {
    /// Longer than any proof that can be checked.
    #[error("a proof of {chars} characters is longer than {MAX_PROOF_CHARS}")]
    TooLong {
        /// How long.
        chars: usize,
    },
    /// Not base64, or not what the prefix says.
    #[error("the proof cannot be read as {form} (BIP 322): {cause}")]
    Malformed {
        /// `a simple signature` or `a full transaction`.
        form: &'static str,
        /// The parser's words.
        cause: String,
    },
    /// `pof…`.
    #[error("proofs of funds (`pof`) are not taken; give a simple or full proof of the address")]
    ProofOfFunds,
    /// The transaction has a lock time or a sequence: it says "valid at time T and age S".
    #[error(
        "the proof holds only from lock time {lock_time} and age {sequence} on; time-locked proofs are not taken"
    )]
    TimeLocked {
        /// `nLockTime`.
        lock_time: u32,
        /// `nSequence` of the first input.
        sequence: u32,
    },
    /// BIP 322's third outcome.
    #[error(
        "the script of the address cannot be checked here (single key, key path of taproot, or CHECKMULTISIG), or the proof has an unknown transaction version"
    )]
    Inconclusive,
    /// Another key, another text, another address.
    #[error("the proof is not of this address over this text: {cause}")]
    Invalid {
        /// The verifier's words.
        cause: String,
    },
}

/// Checks that `proof` is one of `address` over `text` (BIP 322).
///
/// # Errors
/// When it is malformed, of a form that is not taken, or not a proof of that.
pub fn verify_proof(address: &Address, text: &str, proof: &str) -> Result<(), ProofRefused> {
    if proof.len() > MAX_PROOF_CHARS {
        return Err(ProofRefused::TooLong { chars: proof.len() });
    }
    let outcome = if proof.starts_with("pof") {
        return Err(ProofRefused::ProofOfFunds);
    } else if let Some(body) = proof.strip_prefix("ful") {
        let to_sign: Transaction = read("a full transaction", body)?;
        check_no_lock(&to_sign)?;
        bip322::verify_full(address, text, to_sign)
    } else {
        let body = proof.strip_prefix("smp").unwrap_or(proof);
        let witness: Witness = read("a simple signature", body)?;
        bip322::verify_simple(address, text, witness)
    };
    match outcome {
        Ok(bip322::Verification::Valid {
            time: LockTime::ZERO,
            age: Sequence(0),
        }) => Ok(()),
        Ok(bip322::Verification::Valid { time, age }) => Err(ProofRefused::TimeLocked {
            lock_time: time.to_consensus_u32(),
            sequence: age.0,
        }),
        Ok(bip322::Verification::Inconclusive) => Err(ProofRefused::Inconclusive),
        Err(cause) => Err(ProofRefused::Invalid {
            cause: cause.to_string(),
        }),
    }
}

fn read<T: bitcoin::consensus::Decodable>(
    form: &'static str,
    body: &str,
) -> Result<T, ProofRefused> {
    let malformed = |cause: String| ProofRefused::Malformed { form, cause };
    let bytes = STANDARD
        .decode(body)
        .map_err(|cause| malformed(cause.to_string()))?;
    deserialize(&bytes).map_err(|cause| malformed(cause.to_string()))
}

/// Before anything else is checked, so that a time-locked script is refused for its lock and not for its script.
fn check_no_lock(to_sign: &Transaction) -> Result<(), ProofRefused> {
    let sequence = to_sign.input.first().map_or(0, |input| input.sequence.0);
    let lock_time = to_sign.lock_time.to_consensus_u32();
    if lock_time == 0 && sequence == 0 {
        Ok(())
    } else {
        Err(ProofRefused::TimeLocked {
            lock_time,
            sequence,
        })
    }
}
