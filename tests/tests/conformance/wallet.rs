//! Coins of several kinds and how to spend them, for the conformance test: one fixed key, no randomness.

use bitcoin::hashes::Hash;
use bitcoin::key::{CompressedPublicKey, Keypair, PrivateKey, TapTweak};
use bitcoin::opcodes::all::{OP_CHECKMULTISIG, OP_CHECKSIG, OP_CLTV, OP_CSV, OP_DROP};
use bitcoin::secp256k1::{All, Message, Secp256k1, SecretKey};
use bitcoin::sighash::{EcdsaSighashType, Prevouts, SighashCache, TapSighashType};
use bitcoin::{
    NetworkKind, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness, absolute, ecdsa,
    script, taproot, transaction,
};

/// How a coin is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lock {
    /// One signature.
    Wpkh,
    /// Two of two signatures in a script.
    Multisig,
    /// Taproot by key path.
    Taproot,
    /// A signature from this height on (BIP 65).
    Height(u32),
    /// A signature this many blocks after confirmation (BIP 112).
    Blocks(u16),
}

/// An output that the wallet can spend.
#[derive(Debug, Clone)]
pub(crate) struct Coin {
    pub(crate) outpoint: OutPoint,
    pub(crate) out: TxOut,
    pub(crate) lock: Lock,
}

pub(crate) struct Wallet {
    secp: Secp256k1<All>,
    secret: SecretKey,
    public: CompressedPublicKey,
}

impl Wallet {
    pub(crate) fn new() -> Self {
        let secp = Secp256k1::new();
        let secret = SecretKey::from_slice(&[7; 32]).expect("not zero");
        let private = PrivateKey::new(secret, NetworkKind::Test);
        let public = CompressedPublicKey::from_private_key(&secp, &private).expect("compressed");
        Self {
            secp,
            secret,
            public,
        }
    }

    /// The script that a coin of this kind pays.
    pub(crate) fn script(&self, lock: Lock) -> ScriptBuf {
        match lock {
            Lock::Wpkh => ScriptBuf::new_p2wpkh(&self.public.wpubkey_hash()),
            Lock::Taproot => {
                let (internal, _) = self.public.0.x_only_public_key();
                ScriptBuf::new_p2tr(&self.secp, internal, None)
            }
            Lock::Multisig | Lock::Height(_) | Lock::Blocks(_) => {
                self.witness_script(lock).to_p2wsh()
            }
        }
    }

    fn witness_script(&self, lock: Lock) -> ScriptBuf {
        let key = self.public.to_bytes();
        let builder = script::Builder::new();
        let builder = match lock {
            Lock::Height(height) => builder
                .push_int(i64::from(height))
                .push_opcode(OP_CLTV)
                .push_opcode(OP_DROP),
            Lock::Blocks(blocks) => builder
                .push_int(i64::from(blocks))
                .push_opcode(OP_CSV)
                .push_opcode(OP_DROP),
            Lock::Multisig | Lock::Wpkh | Lock::Taproot => {
                let keys = builder
                    .push_int(2)
                    .push_slice(key)
                    .push_slice(key)
                    .push_int(2);
                return keys.push_opcode(OP_CHECKMULTISIG).into_script();
            }
        };
        builder
            .push_slice(key)
            .push_opcode(OP_CHECKSIG)
            .into_script()
    }

    /// An unsigned spend of the coins, with the lock times that their scripts ask for.
    pub(crate) fn draft(coins: &[Coin], output: Vec<TxOut>) -> Transaction {
        let sequence = |lock| match lock {
            Lock::Blocks(blocks) => Sequence::from_height(blocks),
            _ => Sequence::ENABLE_RBF_NO_LOCKTIME,
        };
        let input = |coin: &Coin| TxIn {
            previous_output: coin.outpoint,
            script_sig: ScriptBuf::new(),
            sequence: sequence(coin.lock),
            witness: Witness::new(),
        };
        let heights = coins.iter().filter_map(|c| {
            if let Lock::Height(height) = c.lock {
                Some(height)
            } else {
                None
            }
        });
        Transaction {
            version: transaction::Version::TWO,
            lock_time: absolute::LockTime::from_consensus(heights.max().unwrap_or(0)),
            input: coins.iter().map(input).collect(),
            output,
        }
    }

    /// Signs all inputs; `coins` in the order of the inputs.
    pub(crate) fn sign(&self, mut tx: Transaction, coins: &[Coin]) -> Transaction {
        let witnesses: Vec<Witness> = (0..coins.len())
            .map(|index| self.witness(&tx, coins, index))
            .collect();
        for (input, witness) in tx.input.iter_mut().zip(witnesses) {
            input.witness = witness;
        }
        tx
    }

    fn witness(&self, tx: &Transaction, coins: &[Coin], index: usize) -> Witness {
        let coin = &coins[index];
        let mut cache = SighashCache::new(tx);
        let kind = EcdsaSighashType::All;
        let value = coin.out.value;
        match coin.lock {
            Lock::Wpkh => {
                let hash = cache
                    .p2wpkh_signature_hash(index, &coin.out.script_pubkey, value, kind)
                    .expect("P2WPKH");
                Witness::p2wpkh(&self.ecdsa(hash.to_byte_array()), &self.public.0)
            }
            Lock::Taproot => {
                let spent: Vec<TxOut> = coins.iter().map(|c| c.out.clone()).collect();
                let kind = TapSighashType::Default;
                let hash =
                    cache.taproot_key_spend_signature_hash(index, &Prevouts::All(&spent), kind);
                self.schnorr(hash.expect("all outputs are known").to_byte_array())
            }
            Lock::Multisig | Lock::Height(_) | Lock::Blocks(_) => {
                let script = self.witness_script(coin.lock);
                let hash = cache
                    .p2wsh_signature_hash(index, &script, value, kind)
                    .expect("in range");
                let signature = self.ecdsa(hash.to_byte_array()).to_vec();
                let mut stack = vec![signature.clone()];
                if coin.lock == Lock::Multisig {
                    // CHECKMULTISIG takes one item too many (BIP 147).
                    stack = vec![Vec::new(), signature.clone(), signature];
                }
                stack.push(script.into_bytes());
                Witness::from_slice(&stack)
            }
        }
    }

    fn ecdsa(&self, hash: [u8; 32]) -> ecdsa::Signature {
        let signature = self
            .secp
            .sign_ecdsa(&Message::from_digest(hash), &self.secret);
        ecdsa::Signature {
            signature,
            sighash_type: EcdsaSighashType::All,
        }
    }

    fn schnorr(&self, hash: [u8; 32]) -> Witness {
        let pair = Keypair::from_secret_key(&self.secp, &self.secret)
            .tap_tweak(&self.secp, None)
            .to_keypair();
        let signature = self
            .secp
            .sign_schnorr_no_aux_rand(&Message::from_digest(hash), &pair);
        Witness::p2tr_key_spend(&taproot::Signature {
            signature,
            sighash_type: TapSighashType::Default,
        })
    }
}
