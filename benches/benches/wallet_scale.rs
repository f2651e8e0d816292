//! Claim: what our wallets add to bdk_wallet (complete views that are checked, several wallets under one view, locks on coins)
//! costs a stated factor, and it is known how that grows. Taking in a look at the chain and building a transaction, with
//! 10, 1,000 and 100,000 coins, beside bdk_wallet used bare on the same history in the same run.
//! Owns the histories; does not own the wallets.

use bdk_wallet::chain::{BlockId as BdkBlockId, CheckPoint, ConfirmationBlockTime, TxUpdate};
use bdk_wallet::coin_selection::{BranchAndBoundCoinSelection, LargestFirstCoinSelection};
use bdk_wallet::{KeychainKind, Update, Wallet};
use bitcoin::bip32::{Xpriv, Xpub};
use bitcoin::hashes::Hash as _;
use bitcoin::secp256k1::Secp256k1;
use bitcoin::secp256k1::rand::rngs::mock::StepRng;
use bitcoin::{
    Amount, BlockHash, FeeRate, Network, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut,
    Txid, Witness, absolute, transaction,
};
use criterion::{BatchSize, BenchmarkId, Criterion};
use lockstep_benches::samples::Samples;
use lockstep_engine::id::WalletId;
use lockstep_engine::money::Sat;
use lockstep_engine::onchain::{BuildOrder, Descriptors, Recipient, WalletSpec, Wallets};
use lockstep_engine::rail::{BlockId, ChainPosition, ChainView, Entropy, SeenTransaction};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Coins in the wallet.
const SIZES: [u32; 3] = [10, 1_000, 100_000];

/// Coins for one address: a wallet of that size has fewer addresses than coins.
const ADDRESSES: u32 = 10;

/// Each coin is a little larger than the one before, so that coin selection has something to choose from.
const LEAST_COIN_SAT: u64 = 10_000;

/// Three coins pay for it, roughly.
const PAID_SAT: u64 = 25_000;

/// 2 sat/vB.
const FEERATE_SAT_PER_KWU: u64 = 500;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut samples = Samples::default();
    for size in SIZES {
        let history = History::of(size);
        bench_sync(&mut criterion, &mut samples, &history);
        bench_next_look(&mut criterion, &mut samples, &history);
        bench_build(&mut criterion, &mut samples, &history);
    }
    criterion.final_summary();
    print_table(&samples);
}

/// So many coins in one block, as a view and as bdk's update.
struct History {
    size: u32,
    view: ChainView,
    update: Update,
}

fn descriptors() -> Descriptors {
    let secp = Secp256k1::new();
    let root = Xpriv::new_master(Network::Regtest, &[7; 32]).expect("a seed");
    let public = Xpub::from_priv(&secp, &root);
    Descriptors {
        external: format!("wpkh({public}/0/*)"),
        internal: format!("wpkh({public}/1/*)"),
    }
}

fn ours() -> Wallets {
    let mut wallets =
        Wallets::new(WalletSpec::hot(descriptors()), Network::Regtest).expect("usable");
    for _ in 0..ADDRESSES {
        wallets.reveal_address(&WalletId::hot());
    }
    wallets
}

fn bare() -> Wallet {
    let Descriptors { external, internal } = descriptors();
    let mut wallet = Wallet::create(external, internal)
        .network(Network::Regtest)
        .lookahead(20)
        .create_wallet_no_persist()
        .expect("usable");
    for _ in 0..ADDRESSES {
        wallet.reveal_next_address(KeychainKind::External);
    }
    wallet
}

fn coin(script: &ScriptBuf, number: u32) -> Transaction {
    Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::new(Txid::hash(&number.to_be_bytes()), 0),
            sequence: Sequence::MAX,
            script_sig: ScriptBuf::new(),
            witness: Witness::new(),
        }],
        output: vec![TxOut {
            value: Amount::from_sat(LEAST_COIN_SAT + u64::from(number)),
            script_pubkey: script.clone(),
        }],
    }
}

impl History {
    fn of(size: u32) -> History {
        let wallet = bare();
        let scripts: Vec<ScriptBuf> = (0..ADDRESSES)
            .map(|index| wallet.peek_address(KeychainKind::External, index))
            .map(|address| address.script_pubkey())
            .collect();
        let genesis = wallet.latest_checkpoint().block_id();
        let tip = BdkBlockId {
            height: 1,
            hash: BlockHash::hash(b"one"),
        };
        let anchor = ConfirmationBlockTime {
            block_id: tip,
            confirmation_time: 1_700_000_000,
        };
        let coins = (0..size).map(|number| coin(&scripts[(number % ADDRESSES) as usize], number));
        let coins: Vec<Transaction> = coins.collect();
        let mut tx_update = TxUpdate::default();
        for transaction in &coins {
            tx_update.txs.push(Arc::new(transaction.clone()));
            tx_update
                .anchors
                .insert((anchor, transaction.compute_txid()));
        }
        let chain = CheckPoint::from_block_ids([genesis, tip]).expect("ascending");
        let block = |id: BdkBlockId| BlockId {
            height: id.height,
            hash: id.hash,
        };
        let position = ChainPosition::Confirmed {
            block: block(tip),
            time_secs: 1_700_000_000,
        };
        let transactions = coins
            .into_iter()
            .map(|transaction| SeenTransaction {
                transaction,
                position,
            })
            .collect();
        History {
            size,
            view: ChainView {
                tip_time_secs: None,
                blocks: vec![block(genesis), block(tip)],
                transactions,
            },
            update: Update {
                tx_update,
                chain: Some(chain),
                ..Update::default()
            },
        }
    }

    /// As `payments` takes one: asked whether it may be, then taken.
    fn show(&self, wallets: &mut Wallets) {
        wallets.check_view(&self.view).expect("a good view");
        wallets.apply_view(&self.view).expect("a good view");
    }
}

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn group<'a>(
    criterion: &'a mut Criterion,
    name: &str,
) -> criterion::BenchmarkGroup<'a, criterion::measurement::WallTime> {
    let mut group = criterion.benchmark_group(name);
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(2));
    group
}

/// A wallet that knows nothing takes everything in.
fn bench_sync(criterion: &mut Criterion, samples: &mut Samples, history: &History) {
    let mut group = group(criterion, "wallet_sync");
    let size = history.size;
    group.bench_function(BenchmarkId::new("ours", size), |bencher| {
        let routine = |mut wallets: Wallets| {
            samples.add(
                format!("sync/ours/{size}"),
                time(|| history.show(&mut wallets)),
            );
            wallets
        };
        bencher.iter_batched(ours, routine, BatchSize::PerIteration);
    });
    group.bench_function(BenchmarkId::new("bare", size), |bencher| {
        let routine = |(mut wallet, update): (Wallet, Update)| {
            let apply = || wallet.apply_update(update).expect("it connects");
            samples.add(format!("sync/bare/{size}"), time(apply));
            wallet
        };
        let fresh = || (bare(), history.update.clone());
        bencher.iter_batched(fresh, routine, BatchSize::PerIteration);
    });
    group.finish();
}

/// A wallet that knows everything is shown it again: ours is shown the whole history at each look, bdk only what is new
/// (here nothing), and asked for the balance.
fn bench_next_look(criterion: &mut Criterion, samples: &mut Samples, history: &History) {
    let mut group = group(criterion, "wallet_next_look");
    let size = history.size;
    let mut wallets = ours();
    history.show(&mut wallets);
    group.bench_function(BenchmarkId::new("ours", size), |bencher| {
        let look = || {
            history.show(&mut wallets);
            black_box(wallets.totals());
        };
        let mut look = look;
        bencher.iter(|| samples.add(format!("look/ours/{size}"), time(&mut look)));
    });
    let mut wallet = bare();
    wallet
        .apply_update(history.update.clone())
        .expect("it connects");
    group.bench_function(BenchmarkId::new("bare", size), |bencher| {
        let mut look = || {
            let nothing = Update {
                chain: history.update.chain.clone(),
                ..Update::default()
            };
            wallet.apply_update(nothing).expect("it connects");
            black_box(wallet.balance());
        };
        bencher.iter(|| samples.add(format!("look/bare/{size}"), time(&mut look)));
    });
    group.finish();
}

/// One payee is paid; the transaction is given up again, so that each sample finds the same coins.
fn bench_build(criterion: &mut Criterion, samples: &mut Samples, history: &History) {
    let mut group = group(criterion, "wallet_build");
    let size = history.size;
    let payee = coin(&ScriptBuf::new_op_return([7; 20]), 0);
    let payee = ScriptBuf::new_p2wpkh(&bitcoin::WPubkeyHash::hash(
        &payee.output[0].script_pubkey.to_bytes(),
    ));
    let mut wallets = ours();
    history.show(&mut wallets);
    group.bench_function(BenchmarkId::new("ours", size), |bencher| {
        let mut build = || {
            let order = BuildOrder {
                recipients: vec![Recipient {
                    script: payee.clone(),
                    amount_sat: Sat(PAID_SAT),
                }],
                confirmed_first: false,
                fee_included: false,
                feerate_sat_per_kwu: FEERATE_SAT_PER_KWU,
                max_fee_sat: Sat(PAID_SAT),
                entropy: Entropy([9; 32]),
            };
            let built = wallets
                .build(&WalletId::hot(), order)
                .expect("enough coins");
            wallets.abandon(built.txid).expect("never sent");
        };
        bencher.iter(|| samples.add(format!("build/ours/{size}"), time(&mut build)));
    });
    let mut wallet = bare();
    wallet
        .apply_update(history.update.clone())
        .expect("it connects");
    group.bench_function(BenchmarkId::new("bare", size), |bencher| {
        let mut build = || {
            let selection = BranchAndBoundCoinSelection::<LargestFirstCoinSelection>::default();
            let mut builder = wallet.build_tx().coin_selection(selection);
            builder
                .add_recipient(payee.clone(), Amount::from_sat(PAID_SAT))
                .fee_rate(FeeRate::from_sat_per_kwu(FEERATE_SAT_PER_KWU));
            let psbt = builder.finish_with_aux_rand(&mut StepRng::new(1, 1));
            black_box(psbt.expect("enough coins"));
        };
        bencher.iter(|| samples.add(format!("build/bare/{size}"), time(&mut build)));
    });
    group.finish();
}

fn print_table(samples: &Samples) {
    println!("\n| what | coins | ours | bdk_wallet bare | ratio |");
    println!("|---|---|---|---|---|");
    for (what, words) in [
        ("sync", "first look"),
        ("look", "next look"),
        ("build", "one transaction"),
    ] {
        for size in SIZES {
            let median = |whose: &str| samples.median(&format!("{what}/{whose}/{size}"));
            if let (Some(ours), Some(bare)) = (median("ours"), median("bare")) {
                println!(
                    "| {words} | {size} | {:.3} ms | {:.3} ms | {:.1} |",
                    ours.as_secs_f64() * 1e3,
                    bare.as_secs_f64() * 1e3,
                    ours.as_secs_f64() / bare.as_secs_f64()
                );
            }
        }
    }
}
