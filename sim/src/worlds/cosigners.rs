//! Owns the cosigners of both worlds: independent people with one key each, who are shown a PSBT and sign their part of
//! it. Does not own who must sign (the engine) nor when trouble with them begins (the worlds).
//!
//! Fault model: one cosigner at a time cannot be reached, does not decide, refuses, or gives back something else than he
//! was asked for: another transaction, signed; a signature that leaves outputs open to others; a signature of something
//! else; a signature of a second key of his; another one's signature; an input left out; no PSBT at all. What he has given he may have given to
//! others too. Whoever is not in trouble signs at once, and the same again if he is asked again.

use super::WorldError;
use super::keys::cosigner_account;
use crate::faults::{FaultId, Faults};
use crate::prng::RootSeed;
use crate::scenario::{CosignerFaultKind, Trouble};
use crate::worlds::FaultSite;
use bitcoin::bip32::{ChildNumber, DerivationPath, Xpriv};
use bitcoin::psbt::Input;
use bitcoin::secp256k1::{All, Message, Secp256k1, SecretKey};
use bitcoin::sighash::SighashCache;
use bitcoin::{Amount, EcdsaSighashType, Psbt, PublicKey, Transaction, ecdsa};
use futures_util::future::{BoxFuture, ready};
use lockstep_host::ports::{CosignAnswer, CosignOrder, CosignerUnavailable, Cosigners};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// What an altered transaction pays less to its first payee.
const ALTERED_BY: Amount = Amount::from_sat(1_000);

/// All cosigners of a run; clones are the same people.
#[derive(Clone)]
pub struct EmulatedCosigners(Arc<Mutex<People>>);

struct People {
    /// The account's key of each, by name.
    accounts: BTreeMap<String, Xpriv>,
    troubles: BTreeMap<FaultId, (String, CosignerFaultKind)>,
    faults: Arc<Mutex<Faults>>,
    secp: Secp256k1<All>,
}

/// What an honest cosigner does, or what he does instead.
type Trick = Option<CosignerFaultKind>;

impl EmulatedCosigners {
    /// These people, with keys from the seed. The effects of trouble with them are counted in `faults`.
    pub fn new(
        seed: RootSeed,
        names: impl IntoIterator<Item = String>,
        faults: Arc<Mutex<Faults>>,
    ) -> EmulatedCosigners {
        let account = |name: String| {
            let account = cosigner_account(seed, &name);
            (name, account)
        };
        EmulatedCosigners(Arc::new(Mutex::new(People {
            accounts: names.into_iter().map(account).collect(),
            troubles: BTreeMap::new(),
            faults,
            secp: Secp256k1::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, People> {
        self.0.lock().expect("no holder of the cosigners panics")
    }

    /// Ends what was begun under `fault`.
    pub fn end_trouble(&self, fault: FaultId) {
        self.lock().troubles.remove(&fault);
    }

    /// Begins trouble with a cosigner; false if it is not trouble of that kind.
    pub fn begin_trouble(&self, trouble: &Trouble, fault: FaultId) -> bool {
        let Trouble::Cosigner { of, kind } = trouble else {
            return false;
        };
        let mut people = self.lock();
        people.troubles.insert(fault, (of.to_string(), *kind));
        true
    }
}

impl FaultSite for EmulatedCosigners {
    fn begin(&self, trouble: &Trouble, fault: FaultId) -> Result<bool, WorldError> {
        Ok(self.begin_trouble(trouble, fault))
    }

    fn end(&self, fault: FaultId) -> Result<(), WorldError> {
        self.end_trouble(fault);
        Ok(())
    }
}

impl Cosigners for EmulatedCosigners {
    fn cosign(
        &self,
        order: CosignOrder,
    ) -> BoxFuture<'static, Result<CosignAnswer, CosignerUnavailable>> {
        Box::pin(ready(self.lock().answer(&order)))
    }
}

impl People {
    fn answer(&self, order: &CosignOrder) -> Result<CosignAnswer, CosignerUnavailable> {
        let name = order.cosigner.as_str();
        let unavailable = |reason: String| CosignerUnavailable { reason };
        let account = self.accounts.get(name);
        let account = account.ok_or_else(|| unavailable(format!("there is no `{name}`")))?;
        let mut troubles = self.troubles.iter();
        let trick = troubles.find(|(_, (of, _))| of == name);
        if let Some((fault, _)) = trick {
            self.faults
                .lock()
                .expect("no holder panics")
                .had_effect(*fault);
        }
        match trick.map(|(_, (_, kind))| *kind) {
            Some(CosignerFaultKind::Absent { .. }) => {
                Err(unavailable(format!("`{name}` cannot be reached")))
            }
            Some(CosignerFaultKind::Undecided { .. }) => Ok(CosignAnswer::Pending),
            Some(CosignerFaultKind::Refuse { .. }) => {
                Ok(CosignAnswer::Refused("not with my name".to_owned()))
            }
            Some(CosignerFaultKind::Garbage { .. }) => Ok(CosignAnswer::Signed("?".to_owned())),
            Some(CosignerFaultKind::SomebodyElses { .. }) => {
                let mut others = self.accounts.iter().filter(|(other, _)| *other != name);
                let other = others.next().map_or(account, |(_, other)| other);
                Ok(self.signed(other, &order.psbt, None))
            }
            trick => Ok(self.signed(account, &order.psbt, trick)),
        }
    }

    fn signed(&self, account: &Xpriv, text: &str, trick: Trick) -> CosignAnswer {
        let Ok(mut psbt) = text.parse::<Psbt>() else {
            return CosignAnswer::Refused("that is not a PSBT".to_owned());
        };
        let altered = altered(&psbt.unsigned_tx);
        if let Some(CosignerFaultKind::Alter { .. }) = trick {
            psbt.unsigned_tx = altered.clone();
        }
        let signs = match trick {
            Some(CosignerFaultKind::SomethingElse { .. }) => altered,
            _ => psbt.unsigned_tx.clone(),
        };
        let last = psbt.inputs.len().saturating_sub(1);
        let mut cache = SighashCache::new(&signs);
        for (index, input) in psbt.inputs.iter_mut().enumerate() {
            let leaves_out = matches!(trick, Some(CosignerFaultKind::LeaveOut { .. }));
            if !(leaves_out && index == last) {
                self.sign_input(account, &mut cache, (index, input), trick);
            }
        }
        CosignAnswer::Signed(psbt.to_string())
    }

    /// Signs an input with every key of this account that its script has; with a trick, otherwise.
    fn sign_input(
        &self,
        account: &Xpriv,
        cache: &mut SighashCache<&Transaction>,
        (index, input): (usize, &mut Input),
        trick: Trick,
    ) {
        let sighash_type = match trick {
            Some(CosignerFaultKind::WrongSighash { .. }) => EcdsaSighashType::NonePlusAnyoneCanPay,
            _ => EcdsaSighashType::All,
        };
        let (Some(script), Some(output)) = (&input.witness_script, &input.witness_utxo) else {
            return;
        };
        let hash = cache.p2wsh_signature_hash(index, script, output.value, sighash_type);
        let Ok(hash) = hash else {
            return;
        };
        let message = Message::from(hash);
        let mine = input.bip32_derivation.iter();
        let mine: Vec<SecretKey> = mine
            .filter_map(|(key, (_, path))| {
                let secret = self.key_at(account, path, false)?;
                (secret.public_key(&self.secp) == *key).then_some((secret, path))
            })
            .flat_map(|(secret, path)| {
                let twice = matches!(trick, Some(CosignerFaultKind::Twice { .. }));
                let second = twice.then(|| self.key_at(account, path, true)).flatten();
                [Some(secret), second]
            })
            .flatten()
            .collect();
        for secret in mine {
            let signature = ecdsa::Signature {
                signature: self.secp.sign_ecdsa(&message, &secret),
                sighash_type,
            };
            let key = PublicKey::new(secret.public_key(&self.secp));
            input.partial_sigs.insert(key, signature);
        }
    }

    /// The key at chain and index of a path; with `other`, that of the other chain.
    fn key_at(&self, account: &Xpriv, path: &DerivationPath, other: bool) -> Option<SecretKey> {
        let steps: &[ChildNumber] = path.as_ref();
        let [.., chain, index] = steps else {
            return None;
        };
        let chain = match (other, *chain == ChildNumber::Normal { index: 0 }) {
            (false, _) => *chain,
            (true, true) => ChildNumber::Normal { index: 1 },
            (true, false) => ChildNumber::Normal { index: 0 },
        };
        let child = account.derive_priv(&self.secp, &[chain, *index]).ok()?;
        Some(child.private_key)
    }
}

/// The transaction with less for its first payee, and more for the miner.
fn altered(transaction: &Transaction) -> Transaction {
    let mut altered = transaction.clone();
    if let Some(first) = altered.output.first_mut() {
        first.value = first.value.checked_sub(ALTERED_BY).unwrap_or(Amount::ZERO);
    }
    altered
}
