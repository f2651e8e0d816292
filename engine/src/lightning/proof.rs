//! Owns preimages and payment hashes (BOLT 2, BOLT 11): a preimage that hashes to the invoice's hash proves payment.
//! Does not own where entropy comes from.

use crate::id::PaymentId;
use crate::rail::Entropy;
use bitcoin::hashes::{Hash, HashEngine, Hmac, HmacEngine, sha256};

/// The preimage of a payment: HMAC-SHA256 under the entropy, so that one input can serve several payments.
pub fn preimage(entropy: &Entropy, payment: &PaymentId) -> [u8; 32] {
    let mut engine = HmacEngine::<sha256::Hash>::new(&entropy.0);
    engine.input(b"lockstep/lightning/preimage/");
    engine.input(payment.as_str().as_bytes());
    Hmac::from_engine(engine).to_byte_array()
}

/// SHA-256 of the preimage.
pub fn payment_hash(preimage: &[u8; 32]) -> [u8; 32] {
    sha256::Hash::hash(preimage).to_byte_array()
}

/// Whether `preimage` proves the payment of `hash`.
pub fn is_proof(preimage: &[u8; 32], hash: &[u8; 32]) -> bool {
    payment_hash(preimage) == *hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> PaymentId {
        PaymentId::new(text).expect("legal")
    }

    #[test]
    fn a_preimage_follows_from_entropy_and_payment() {
        let one = preimage(&Entropy([1; 32]), &id("p1"));
        assert_eq!(one, preimage(&Entropy([1; 32]), &id("p1")));
        assert_ne!(one, preimage(&Entropy([1; 32]), &id("p2")));
        assert_ne!(one, preimage(&Entropy([2; 32]), &id("p1")));
    }

    #[test]
    fn only_the_preimage_proves() {
        // SHA-256 of 32 zero bytes, a published value.
        let hash = payment_hash(&[0; 32]);
        let published = "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925";
        assert_eq!(sha256::Hash::from_byte_array(hash).to_string(), published);
        assert!(is_proof(&[0; 32], &hash));
        assert!(!is_proof(&[1; 32], &hash));
        assert!(!is_proof(&hash, &hash));
    }
}
