//! Owns outside on-chain wallets (and the miner's): one P2WPKH key each, whose coins are read off the chain book.
//! Deterministic: largest coin first, signatures by RFC 6979. Does not own the engine's wallet (`lockstep-engine`).

use super::chain_book::ChainBook;
use super::keys::NETWORK;
use crate::prng::RootSeed;
use bitcoin::absolute::LockTime;
use bitcoin::hashes::Hash;
use bitcoin::secp256k1::{Message, Secp256k1, SecretKey};
use bitcoin::sighash::{EcdsaSighashType, SighashCache};
use bitcoin::transaction::Version;
use bitcoin::{
    Address, Amount, CompressedPublicKey, OutPoint, PrivateKey, PublicKey, ScriptBuf, Sequence,
    Transaction, TxIn, TxOut, Witness,
};

/// Virtual bytes of a P2WPKH input, and of everything of a transaction but its inputs and outputs, rounded up.
const INPUT_VBYTES: u64 = 68;
const FRAME_VBYTES: u64 = 11;

/// Coins of coinbase transactions are spendable 100 blocks later (consensus); the miner leaves a margin of one.
const COINBASE_MATURITY: u32 = 101;

/// Below this an output is dust for P2WPKH at Bitcoin Core's default dust relay feerate.
const DUST_SAT: u64 = 294;

/// Why a purse does not pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it has {available_sat} sat to spend but needs {needed_sat} sat")]
pub struct NotEnough {
    /// Spendable.
    pub available_sat: u64,
    /// Amounts and fee.
    pub needed_sat: u64,
}

/// Rounded up, so that the feerate is never missed.
fn fee_sat(vbytes: u64, feerate_sat_per_kwu: u64) -> u64 {
    (vbytes * 4 * feerate_sat_per_kwu).div_ceil(1_000)
}

/// A wallet with one key.
pub struct Purse {
    key: SecretKey,
    public: CompressedPublicKey,
}

impl Purse {
    /// The purse of that name in this run.
    pub fn new(seed: RootSeed, name: &str) -> Purse {
        let key = SecretKey::from_slice(&seed.bytes(&format!("purse/{name}")))
            .expect("a hash is a valid key");
        let public = CompressedPublicKey(key.public_key(&Secp256k1::new()));
        Purse { key, public }
    }

    /// Its script.
    pub fn script(&self) -> ScriptBuf {
        ScriptBuf::new_p2wpkh(&self.public.wpubkey_hash())
    }

    /// Its address.
    pub fn address(&self) -> Address {
        Address::p2wpkh(&self.public, NETWORK)
    }

    /// Its proof over a text (BIP 322, simple).
    pub fn prove(&self, text: &str) -> String {
        let address = self.address().to_string();
        let key = PrivateKey::new(self.key, NETWORK).to_wif();
        bip322::sign_simple_encoded(&address, text, &[key], None)
            .expect("the key is that of the address")
    }

    /// What it holds, mempool included.
    pub fn balance_sat(&self, book: &ChainBook) -> u64 {
        self.coins(book)
            .values()
            .map(|(output, _)| output.value.to_sat())
            .sum()
    }

    fn coins(
        &self,
        book: &ChainBook,
    ) -> std::collections::BTreeMap<OutPoint, (TxOut, Option<u32>)> {
        let script = self.script();
        book.unspent(|candidate| candidate == script.as_script())
    }

    /// A signed transaction that pays `outputs` at `feerate_sat_per_kwu`, change last.
    pub fn pay(
        &self,
        book: &ChainBook,
        outputs: &[TxOut],
        feerate_sat_per_kwu: u64,
    ) -> Result<Transaction, NotEnough> {
        let tip = book.tip_height().unwrap_or(0);
        let coinbase = |outpoint: &OutPoint| {
            book.transactions()
                .find(|tx| tx.compute_txid() == outpoint.txid)
                .is_some_and(Transaction::is_coinbase)
        };
        let mature = |outpoint: &OutPoint, height: Option<u32>| match height {
            Some(height) => tip >= height + COINBASE_MATURITY || !coinbase(outpoint),
            None => true,
        };
        let mut coins: Vec<(OutPoint, TxOut)> = self
            .coins(book)
            .into_iter()
            .filter(|(outpoint, (_, height))| mature(outpoint, *height))
            .map(|(outpoint, (output, _))| (outpoint, output))
            .collect();
        coins.sort_by(|a, b| b.1.value.cmp(&a.1.value).then(a.0.cmp(&b.0)));
        self.select(&coins, outputs, feerate_sat_per_kwu)
    }

    fn select(
        &self,
        coins: &[(OutPoint, TxOut)],
        outputs: &[TxOut],
        feerate: u64,
    ) -> Result<Transaction, NotEnough> {
        let amount: u64 = outputs.iter().map(|output| output.value.to_sat()).sum();
        let change_vbytes = self.change(0).size() as u64;
        let mut vbytes = FRAME_VBYTES
            + change_vbytes
            + outputs
                .iter()
                .map(|output| output.size() as u64)
                .sum::<u64>();
        let (mut chosen, mut available, mut needed) =
            (Vec::new(), 0, amount + fee_sat(vbytes, feerate));
        for (outpoint, output) in coins {
            if available >= needed {
                break;
            }
            chosen.push((*outpoint, output.clone()));
            available += output.value.to_sat();
            vbytes += INPUT_VBYTES;
            needed = amount + fee_sat(vbytes, feerate);
        }
        let Some(rest) = available.checked_sub(needed) else {
            return Err(NotEnough {
                available_sat: available,
                needed_sat: needed,
            });
        };
        let mut outputs = outputs.to_vec();
        if rest >= DUST_SAT {
            outputs.push(self.change(rest));
        }
        Ok(self.sign(&chosen, outputs))
    }

    /// A transaction that spends the same coins of ours back to us, at ten times the fee: it conflicts with `rival`.
    pub fn conflict(&self, book: &ChainBook, rival: &Transaction) -> Option<Transaction> {
        let coins = self.own_coins(book, rival)?;
        let total: u64 = coins.iter().map(|(_, output)| output.value.to_sat()).sum();
        let back = total.checked_sub(book.fee_sat(rival)? * 10)?;
        Some(self.sign(&coins, vec![self.change(back)]))
    }

    /// A transaction that spends the same coins of ours to `output`, change last; at `feerate_sat_per_kwu`, or else at ten
    /// times the fee of `rival`, which it replaces. `None`: `rival` is not ours.
    pub fn pay_instead(
        &self,
        book: &ChainBook,
        rival: &Transaction,
        output: &TxOut,
        feerate_sat_per_kwu: Option<u64>,
    ) -> Option<Result<Transaction, NotEnough>> {
        let coins = self.own_coins(book, rival)?;
        let vbytes = FRAME_VBYTES
            + INPUT_VBYTES * coins.len() as u64
            + (output.size() + self.change(0).size()) as u64;
        let fee = match feerate_sat_per_kwu {
            Some(feerate) => fee_sat(vbytes, feerate),
            None => book.fee_sat(rival)? * 10,
        };
        let available_sat = coins.iter().map(|(_, coin)| coin.value.to_sat()).sum();
        let needed_sat = output.value.to_sat() + fee;
        let Some(rest) = u64::checked_sub(available_sat, needed_sat) else {
            return Some(Err(NotEnough {
                available_sat,
                needed_sat,
            }));
        };
        let mut outputs = vec![output.clone()];
        if rest >= DUST_SAT {
            outputs.push(self.change(rest));
        }
        Some(Ok(self.sign(&coins, outputs)))
    }

    /// The coins that a transaction spends, if all are ours.
    fn own_coins(&self, book: &ChainBook, spender: &Transaction) -> Option<Vec<(OutPoint, TxOut)>> {
        let coins: Vec<(OutPoint, TxOut)> = spender
            .input
            .iter()
            .map(|input| {
                let coin = book.output(&input.previous_output)?.clone();
                Some((input.previous_output, coin))
            })
            .collect::<Option<_>>()?;
        let script = self.script();
        let ours = coins.iter().all(|(_, coin)| coin.script_pubkey == script);
        ours.then_some(coins)
    }

    fn change(&self, sat: u64) -> TxOut {
        TxOut {
            value: Amount::from_sat(sat),
            script_pubkey: self.script(),
        }
    }

    fn sign(&self, coins: &[(OutPoint, TxOut)], outputs: Vec<TxOut>) -> Transaction {
        let input = |(outpoint, _): &(OutPoint, TxOut)| TxIn {
            previous_output: *outpoint,
            script_sig: ScriptBuf::new(),
            sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
            witness: Witness::new(),
        };
        let transaction = Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: coins.iter().map(input).collect(),
            output: outputs,
        };
        let secp = Secp256k1::new();
        let mut cache = SighashCache::new(transaction);
        for (index, (_, output)) in coins.iter().enumerate() {
            let sighash = cache
                .p2wpkh_signature_hash(
                    index,
                    &output.script_pubkey,
                    output.value,
                    EcdsaSighashType::All,
                )
                .expect("the index is one of ours and the script is P2WPKH");
            let signature = bitcoin::ecdsa::Signature {
                signature: secp
                    .sign_ecdsa(&Message::from_digest(sighash.to_byte_array()), &self.key),
                sighash_type: EcdsaSighashType::All,
            };
            let public = PublicKey::from(self.public);
            *cache.witness_mut(index).expect("as above") =
                Witness::p2wpkh(&signature, &public.inner);
        }
        cache.into_transaction()
    }
}
