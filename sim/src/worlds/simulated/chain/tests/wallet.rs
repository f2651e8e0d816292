//! A key that signs P2WPKH spends for tests: no derivation, no randomness.

use bitcoin::hashes::Hash;
use bitcoin::key::{CompressedPublicKey, PrivateKey};
use bitcoin::secp256k1::{All, Message, Secp256k1, SecretKey};
use bitcoin::sighash::SighashCache;
use bitcoin::{
    EcdsaSighashType, NetworkKind, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut,
    Witness, absolute, ecdsa, transaction,
};

pub(super) struct Key {
    secp: Secp256k1<All>,
    secret: SecretKey,
    public: CompressedPublicKey,
}

impl Key {
    pub(super) fn new(number: u8) -> Self {
        let secp = Secp256k1::new();
        let secret = SecretKey::from_slice(&[number; 32]).expect("not zero");
        let private = PrivateKey::new(secret, NetworkKind::Test);
        let public = CompressedPublicKey::from_private_key(&secp, &private).expect("compressed");
        Self {
            secp,
            secret,
            public,
        }
    }

    pub(super) fn script(&self) -> ScriptBuf {
        ScriptBuf::new_p2wpkh(&self.public.wpubkey_hash())
    }

    /// Signs every input as a spend of this key's P2WPKH outputs.
    pub(super) fn sign(&self, tx: &mut Transaction, spent: &[TxOut]) {
        let kind = EcdsaSighashType::All;
        let mut witnesses = Vec::new();
        for (index, out) in spent.iter().enumerate() {
            let mut cache = SighashCache::new(&*tx);
            let hash = cache
                .p2wpkh_signature_hash(index, &self.script(), out.value, kind)
                .expect("P2WPKH");
            let message = Message::from_digest(hash.to_byte_array());
            let signature = self.secp.sign_ecdsa(&message, &self.secret);
            witnesses.push(Witness::p2wpkh(
                &ecdsa::Signature {
                    signature,
                    sighash_type: kind,
                },
                &self.public.0,
            ));
        }
        for (input, witness) in tx.input.iter_mut().zip(witnesses) {
            input.witness = witness;
        }
    }
}

/// Version 2, no lock time, replaceable.
pub(super) fn unsigned(inputs: &[OutPoint], output: Vec<TxOut>) -> Transaction {
    let input = |previous_output: &OutPoint| TxIn {
        previous_output: *previous_output,
        script_sig: ScriptBuf::new(),
        sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
        witness: Witness::new(),
    };
    Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: inputs.iter().map(input).collect(),
        output,
    }
}
