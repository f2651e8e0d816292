//! Owns a signer that holds private descriptors in memory. Does not own building PSBTs nor deciding what to pay: it
//! signs what the engine built, and refuses what the engine would not have built.
//!
//! Refused: text that is no PSBT, an input without its spent output, a sighash type other than ALL or DEFAULT
//! (BIP 174 `PSBT_IN_SIGHASH_TYPE`; anything else lets others change what was signed), a PSBT that has nothing to
//! sign for these keys, and a statement in a name that is not that of the statement key.

use crate::ports::{Signer, SignerUnavailable, StatementOrder};
use bdk_wallet::descriptor::IntoWalletDescriptor;
use bdk_wallet::signer::{SignOptions, SignersContainer};
use bitcoin::psbt::Psbt;
use bitcoin::secp256k1::{All, Secp256k1, SecretKey};
use bitcoin::{EcdsaSighashType, Network, TapSighashType};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use lockstep_engine::layer0;
use lockstep_engine::onchain::Descriptors;
use std::str::FromStr;
use std::sync::Arc;

/// Why the private descriptors cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("failed to read a private descriptor")]
pub struct DescriptorInvalid {
    /// Cause.
    #[source]
    pub cause: bdk_wallet::descriptor::DescriptorError,
}

/// Why a PSBT is not signed.
#[derive(Debug, thiserror::Error)]
enum SignRefused {
    #[error("not a PSBT: {0}")]
    NotPsbt(String),
    #[error("input {index} has no spent output, or another one than it names")]
    SpentOutputMissing { index: usize },
    #[error("input {index} has the sighash type {sighash_type}; only ALL and DEFAULT are signed")]
    ForeignSighash { index: usize, sighash_type: String },
    #[error("the outputs pay more than the inputs have")]
    PaysMoreThanItHas,
    #[error("input {index} is not of this wallet")]
    ForeignInput { index: usize },
    #[error("the keys do not fit: {0}")]
    Keys(String),
}

/// Signs with keys in memory.
#[derive(Clone)]
pub struct SoftwareSigner {
    keys: Arc<Keys>,
    /// The operator's DID key.
    statements: Option<SecretKey>,
}

struct Keys {
    chains: Vec<SignersContainer>,

    secp: Secp256k1<All>,
}

impl SoftwareSigner {
    /// From private descriptors (BIP 380), external and internal, as text.
    pub fn new(
        external: &str,
        internal: &str,
        network: Network,
    ) -> Result<Self, DescriptorInvalid> {
        let descriptors = Descriptors {
            external: external.to_owned(),
            internal: internal.to_owned(),
        };
        Self::of_wallets(&[descriptors], network)
    }

    /// From the private descriptors of several wallets. A transaction may spend from one or more of them.
    pub fn of_wallets(
        wallets: &[Descriptors],
        network: Network,
    ) -> Result<Self, DescriptorInvalid> {
        let secp = Secp256k1::new();
        let mut chains = Vec::new();
        let texts = wallets
            .iter()
            .flat_map(|wallet| [wallet.external.as_str(), wallet.internal.as_str()]);
        for text in texts {
            let (descriptor, keys) = text
                .into_wallet_descriptor(&secp, network)
                .map_err(|cause| DescriptorInvalid { cause })?;
            chains.push(SignersContainer::build(keys, &descriptor, &secp));
        }
        Ok(Self {
            keys: Arc::new(Keys { chains, secp }),
            statements: None,
        })
    }

    /// The same, with a DID key for statements too.
    pub fn with_statement_key(self, key: SecretKey) -> Self {
        Self {
            statements: Some(key),
            ..self
        }
    }

    /// Signs only in the name of the key that it has.
    fn sign_statement_now(&self, order: &StatementOrder) -> Result<String, String> {
        let (key, secp) = (self.statements, &self.keys.secp);
        let key = key.ok_or("there is no key for statements")?;
        if layer0::did_of_key(&key.public_key(secp)) != order.issuer {
            return Err(format!("the key of {} is not here", order.issuer));
        }
        let input = layer0::signing_input(&order.issuer, &order.payload);
        // RFC 6979: the same statement always gets the same signature.
        let signature = secp.sign_ecdsa(&layer0::digest(&input), &key);
        Ok(layer0::compact(&input, &signature))
    }

    fn sign_now(&self, text: &str) -> Result<String, SignRefused> {
        let mut psbt =
            Psbt::from_str(text).map_err(|error| SignRefused::NotPsbt(error.to_string()))?;
        check(&psbt)?;
        // The engine's backend names whole spent transactions where it has them; `check` has compared them.
        let options = SignOptions {
            trust_witness_utxo: true,
            ..SignOptions::default()
        };
        for signer in self.keys.chains.iter().flat_map(SignersContainer::signers) {
            signer
                .sign_transaction(&mut psbt, &options, &self.keys.secp)
                .map_err(|error| SignRefused::Keys(error.to_string()))?;
        }
        let unsigned = psbt.inputs.iter().position(|input| {
            input.partial_sigs.is_empty()
                && input.tap_key_sig.is_none()
                && input.tap_script_sigs.is_empty()
        });
        match unsigned {
            Some(index) => Err(SignRefused::ForeignInput { index }),
            None => Ok(psbt.to_string()),
        }
    }
}

/// What must be so before a key is touched.
fn check(psbt: &Psbt) -> Result<(), SignRefused> {
    let mut inputs_sat: u64 = 0;
    for (index, input) in psbt.inputs.iter().enumerate() {
        let spent = spent_output(psbt, index).ok_or(SignRefused::SpentOutputMissing { index })?;
        inputs_sat = inputs_sat.saturating_add(spent.value.to_sat());
        let plain = [
            EcdsaSighashType::All.into(),
            TapSighashType::Default.into(),
            TapSighashType::All.into(),
        ];
        if let Some(foreign) = input
            .sighash_type
            .filter(|sighash_type| !plain.contains(sighash_type))
        {
            return Err(SignRefused::ForeignSighash {
                index,
                sighash_type: foreign.to_string(),
            });
        }
    }
    let outputs = psbt
        .unsigned_tx
        .output
        .iter()
        .map(|output| output.value.to_sat());
    let outputs_sat = outputs.fold(0_u64, u64::saturating_add);
    if outputs_sat > inputs_sat {
        Err(SignRefused::PaysMoreThanItHas)
    } else {
        Ok(())
    }
}

/// The output that an input spends; `None` if the PSBT does not have it or contradicts itself.
fn spent_output(psbt: &Psbt, index: usize) -> Option<&bitcoin::TxOut> {
    let input = &psbt.inputs[index];
    let outpoint = psbt.unsigned_tx.input.get(index)?.previous_output;
    let Some(transaction) = &input.non_witness_utxo else {
        return input.witness_utxo.as_ref();
    };
    if transaction.compute_txid() != outpoint.txid {
        return None;
    }
    let output = transaction
        .output
        .get(usize::try_from(outpoint.vout).ok()?)?;
    input
        .witness_utxo
        .as_ref()
        .is_none_or(|witness_utxo| witness_utxo == output)
        .then_some(output)
}

impl Signer for SoftwareSigner {
    fn sign(
        &self,
        psbt: String,
    ) -> BoxFuture<'static, Result<Result<String, String>, SignerUnavailable>> {
        ready(Ok(self
            .sign_now(&psbt)
            .map_err(|refused| refused.to_string())))
        .boxed()
    }

    fn sign_statement(
        &self,
        order: StatementOrder,
    ) -> BoxFuture<'static, Result<Result<String, String>, SignerUnavailable>> {
        ready(Ok(self.sign_statement_now(&order))).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bdk_wallet::{KeychainKind, Wallet};
    use bitcoin::hashes::Hash;
    use bitcoin::secp256k1::rand::rngs::mock::StepRng;
    use bitcoin::{Amount, Transaction, TxOut, absolute, transaction};

    /// Well-known test seed; regtest only.
    const ROOT: &str = "tprv8ZgxMBicQKsPd7Uf69XL1XwhmjHopUGep8GuEiJDZmbQz6o58LninorQAfcKZWARbtRtfnLcJ5MQ2AtHcQJCCRUcMRvmDUjyEmNUWwx8UbK";

    fn descriptors() -> (String, String) {
        (
            format!("wpkh({ROOT}/84h/1h/0h/0/*)"),
            format!("wpkh({ROOT}/84h/1h/0h/1/*)"),
        )
    }

    fn signer() -> SoftwareSigner {
        let (external, internal) = descriptors();
        SoftwareSigner::new(&external, &internal, Network::Regtest).expect("descriptors")
    }

    /// A PSBT that spends 50,000 sat of a wallet that knows only public keys.
    fn psbt() -> Psbt {
        let (external, internal) = descriptors();
        let public = |text: &str| {
            let secp = Secp256k1::new();
            text.into_wallet_descriptor(&secp, Network::Regtest)
                .expect("descriptor")
                .0
                .to_string()
        };
        let mut wallet = Wallet::create(public(&external), public(&internal))
            .network(Network::Regtest)
            .create_wallet_no_persist()
            .expect("wallet");
        let script = wallet
            .reveal_next_address(KeychainKind::External)
            .script_pubkey();
        let funding = Transaction {
            version: transaction::Version::TWO,
            lock_time: absolute::LockTime::ZERO,
            input: vec![bitcoin::TxIn {
                previous_output: bitcoin::OutPoint {
                    txid: bitcoin::Txid::from_byte_array([1; 32]),
                    vout: 0,
                },
                ..bitcoin::TxIn::default()
            }],
            output: vec![TxOut {
                value: Amount::from_sat(50_000),
                script_pubkey: script.clone(),
            }],
        };
        wallet.apply_unconfirmed_txs([(funding, 1)]);
        let mut builder = wallet.build_tx();
        builder.add_recipient(script, Amount::from_sat(20_000));
        builder
            .finish_with_aux_rand(&mut StepRng::new(7, 13))
            .expect("psbt")
    }

    fn refusal(psbt: &Psbt) -> SignRefused {
        signer()
            .sign_now(&psbt.to_string())
            .expect_err("must be refused")
    }

    #[test]
    fn signs_what_a_public_wallet_built() {
        let unsigned = psbt();
        let signed = signer().sign_now(&unsigned.to_string()).expect("signed");
        let signed = Psbt::from_str(&signed).expect("psbt");
        assert!(
            signed
                .inputs
                .iter()
                .all(|input| input.partial_sigs.len() == 1)
        );
        assert_eq!(signed.unsigned_tx, unsigned.unsigned_tx);
    }

    #[test]
    fn refuses_text_that_is_no_psbt() {
        assert!(matches!(
            signer().sign_now("cHNidA=="),
            Err(SignRefused::NotPsbt(_))
        ));
    }

    #[test]
    fn refuses_a_foreign_sighash_type() {
        let mut psbt = psbt();
        psbt.inputs[0].sighash_type = Some(EcdsaSighashType::NonePlusAnyoneCanPay.into());
        assert!(matches!(
            refusal(&psbt),
            SignRefused::ForeignSighash { index: 0, .. }
        ));
    }

    #[test]
    fn refuses_an_input_without_or_with_another_spent_output() {
        let mut without = psbt();
        without.inputs[0].non_witness_utxo = None;
        without.inputs[0].witness_utxo = None;
        assert!(matches!(
            refusal(&without),
            SignRefused::SpentOutputMissing { index: 0 }
        ));
        let mut altered = psbt();
        let value = &mut altered.inputs[0]
            .witness_utxo
            .as_mut()
            .expect("segwit")
            .value;
        *value = Amount::from_sat(60_000);
        assert!(matches!(
            refusal(&altered),
            SignRefused::SpentOutputMissing { index: 0 }
        ));
    }

    #[test]
    fn refuses_an_input_of_somebody_else() {
        let mut psbt = psbt();
        psbt.inputs[0].bip32_derivation.clear();
        assert!(matches!(
            refusal(&psbt),
            SignRefused::ForeignInput { index: 0 } | SignRefused::Keys(_)
        ));
    }

    #[test]
    fn refuses_outputs_above_the_inputs() {
        let mut psbt = psbt();
        psbt.unsigned_tx.output[0].value = Amount::from_sat(1_000_000);
        assert!(matches!(refusal(&psbt), SignRefused::PaysMoreThanItHas));
    }

    #[test]
    fn statements_are_signed_in_the_name_of_its_own_key_only() {
        let key = SecretKey::from_slice(&[7; 32]).expect("below the curve's order");
        let issuer = layer0::did_of_key(&key.public_key(&Secp256k1::new()));
        let order = StatementOrder {
            issuer: issuer.clone(),
            payload: "{}".to_owned(),
        };
        let without = signer().sign_statement_now(&order);
        assert_eq!(without, Err("there is no key for statements".to_owned()));
        let signed = signer().with_statement_key(key).sign_statement_now(&order);
        let statement = signed.expect("signed");
        assert_eq!(layer0::verify(&issuer, "{}", &statement), Ok(()));
        let other = SecretKey::from_slice(&[8; 32]).expect("below the curve's order");
        let refused = signer()
            .with_statement_key(other)
            .sign_statement_now(&order);
        assert_eq!(refused, Err(format!("the key of {issuer} is not here")));
    }
}
