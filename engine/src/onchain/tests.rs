//! Owns the wallet of the on-chain tests: one key, blocks and payments made up by name.

mod building;
mod sets;
mod uris;
mod views;
mod whole;

use super::*;
use crate::id::WalletId;
use crate::rail::{ChainPosition, SeenTransaction};
use bdk_wallet::{SignOptions, Wallet};
use bitcoin::bip32::{Xpriv, Xpub};
use bitcoin::hashes::Hash;
use bitcoin::key::Secp256k1;
use bitcoin::{Amount, Psbt, Sequence, Transaction, TxIn, TxOut, Witness, absolute, transaction};

/// Far above what tests pay in fees.
const PAID_SAT: u64 = 100_000;

fn master(seed: u8) -> Xpriv {
    Xpriv::new_master(Network::Regtest, &[seed; 32]).expect("a seed")
}

fn descriptors() -> Descriptors {
    let public = Xpub::from_priv(&Secp256k1::new(), &master(7));
    Descriptors {
        external: format!("wpkh({public}/0/*)"),
        internal: format!("wpkh({public}/1/*)"),
    }
}

fn wallet() -> Onchain {
    Onchain::new(&descriptors(), Network::Regtest).expect("usable descriptors")
}

/// A signer of `seed`'s keys that answers as a port would.
fn sign(seed: u8, psbt_base64: &str) -> String {
    let secret = master(seed);
    let signer = Wallet::create(format!("wpkh({secret}/0/*)"), format!("wpkh({secret}/1/*)"))
        .network(Network::Regtest)
        .create_wallet_no_persist()
        .expect("usable descriptors");
    let mut psbt: Psbt = psbt_base64.parse().expect("a PSBT");
    signer
        .sign(
            &mut psbt,
            SignOptions {
                try_finalize: false,
                ..SignOptions::default()
            },
        )
        .expect("signing works");
    psbt.to_string()
}

/// The block of `branch` at `height`; every branch shares genesis.
fn block(branch: &str, height: u32) -> BlockId {
    match height {
        0 => wallet().tip(),
        _ => BlockId {
            height,
            hash: bitcoin::BlockHash::hash(format!("{branch} {height}").as_bytes()),
        },
    }
}

fn branch(name: &str, from: u32, to: u32) -> Vec<BlockId> {
    (from..=to).map(|height| block(name, height)).collect()
}

/// A payment to `script` that spends an outpoint of its own, named by `coin`.
fn payment(script: &ScriptBuf, sat: u64, coin: &str) -> Transaction {
    let previous_output = OutPoint {
        txid: Txid::hash(coin.as_bytes()),
        vout: 0,
    };
    let input = TxIn {
        previous_output,
        sequence: Sequence::MAX,
        script_sig: ScriptBuf::new(),
        witness: Witness::new(),
    };
    let output = TxOut {
        value: Amount::from_sat(sat),
        script_pubkey: script.clone(),
    };
    Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: vec![input],
        output: vec![output],
    }
}

fn in_mempool(transaction: &Transaction) -> SeenTransaction {
    SeenTransaction {
        transaction: transaction.clone(),
        position: ChainPosition::Mempool,
    }
}

fn confirmed(transaction: &Transaction, block: BlockId) -> SeenTransaction {
    let position = ChainPosition::Confirmed {
        block,
        time_secs: 1_700_000_000,
    };
    SeenTransaction {
        transaction: transaction.clone(),
        position,
    }
}

fn view(blocks: Vec<BlockId>, transactions: Vec<SeenTransaction>) -> ChainView {
    ChainView {
        blocks,
        transactions,
        tip_time_secs: None,
    }
}

fn state(onchain: &Onchain) -> String {
    serde_json::to_string(&onchain.snapshot()).expect("the snapshot is JSON")
}

/// bdk must find exactly the view's transactions canonical, else coin selection would differ from what is reported.
fn assert_canonical_set_is_the_view(onchain: &Onchain) {
    let canonical: std::collections::BTreeSet<Txid> = onchain
        .wallet
        .transactions()
        .map(|tx| tx.tx_node.txid)
        .collect();
    assert_eq!(canonical, onchain.positions.keys().copied().collect());
    for transaction in onchain.wallet.transactions() {
        let height = onchain.positions[&transaction.tx_node.txid];
        assert_eq!(
            transaction.chain_position.confirmation_height_upper_bound(),
            height
        );
    }
}

#[test]
fn every_address_is_fresh_and_watched() {
    let mut onchain = wallet();
    let mut scripts = std::collections::BTreeSet::new();
    for _ in 0..LOOKAHEAD_SCRIPTS + 5 {
        let (address, script) = onchain.reveal_address();
        assert_eq!(
            check_address(&address, Network::Regtest),
            Ok(script.clone())
        );
        assert!(onchain.watched_scripts().contains(&script));
        assert!(scripts.insert(script), "given out twice");
    }
    let both_lookaheads = usize::try_from(2 * LOOKAHEAD_SCRIPTS).expect("small");
    assert_eq!(
        onchain.watched_scripts().len(),
        scripts.len() + both_lookaheads
    );
}

#[test]
fn descriptors_that_cannot_serve_are_refused() {
    let good = descriptors();
    let refusal = |external: &str, internal: &str, network| {
        let descriptors = Descriptors {
            external: external.to_owned(),
            internal: internal.to_owned(),
        };
        Onchain::new(&descriptors, network).expect_err("must be refused")
    };
    let private = format!("wpkh({}/0/*)", master(7));
    let fixed = good.external.replace("/*", "/5");
    let legacy = good.external.replace("wpkh", "pkh");
    let regtest = Network::Regtest;
    assert!(matches!(
        refusal(&private, &good.internal, regtest),
        DescriptorsRefused::Unreadable {
            which: "external",
            ..
        }
    ));
    assert!(matches!(
        refusal(&good.external, "nonsense", regtest),
        DescriptorsRefused::Unreadable {
            which: "internal",
            ..
        }
    ));
    assert!(matches!(
        refusal(&fixed, &good.internal, regtest),
        DescriptorsRefused::NotRanged { .. }
    ));
    assert!(matches!(
        refusal(&legacy, &good.internal, regtest),
        DescriptorsRefused::NotSegwit { .. }
    ));
    assert!(matches!(
        refusal(&good.external, &good.external, regtest),
        DescriptorsRefused::Unusable { .. }
    ));
    assert!(matches!(
        refusal(&good.external, &good.internal, Network::Bitcoin),
        DescriptorsRefused::Unusable { .. }
    ));
}

#[test]
fn addresses_of_other_networks_are_refused() {
    let mainnet = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
    assert!(matches!(
        check_address(mainnet, Network::Regtest),
        Err(AddressRefused::WrongNetwork { .. })
    ));
    assert!(matches!(
        check_address("bc1qnonsense", Network::Regtest),
        Err(AddressRefused::Unreadable { .. })
    ));
    assert!(check_address(mainnet, Network::Bitcoin).is_ok());
}
