//! The simulated chain against a real `bitcoind`: same blocks, same tips, same coins, same mempool decisions.
//!
//! Owns the comparison. Every block of a simulated history with all kinds of spends and a reorganisation is given to
//! `bitcoind` in the order of its birth; then each class of mempool decision is asked on both sides.
//! Needs `BITCOIND_EXE`. Known and stated differences (policy of Core 31 against the one simulated) are not asked.

#[path = "conformance/wallet.rs"]
mod wallet;

use bitcoin::consensus::encode::serialize_hex;
use bitcoin::{Amount, Block, OutPoint, ScriptBuf, Sequence, Transaction, TxOut, absolute};
use bitcoind::{BitcoinD, Conf};
use lockstep::worlds::simulated::chain::{Chain, MAX_BLOCK_WEIGHT, MineRequest, Policy, Supply};
use serde_json::{Value, json};

use wallet::{Coin, Lock, Wallet};

const START: u32 = 1_700_000_000;

/// The simulated chain beside the real one.
struct Pair {
    chain: Chain,
    real: BitcoinD,
    wallet: Wallet,
    now: u32,
}

impl Pair {
    /// `None` if there is no `bitcoind` to compare with.
    fn start() -> Option<Self> {
        let Ok(exe) = std::env::var("BITCOIND_EXE") else {
            println!("skipped: BITCOIND_EXE is not set; `cargo xtask test` builds bitcoind");
            return None;
        };
        let mut conf = Conf::default();
        conf.wallet = None;
        let real = BitcoinD::with_conf(exe, &conf).expect("bitcoind starts");
        // Core 31 has no limits on ancestors and descendants, only on clusters.
        let policy = Policy {
            ancestors_max: 100,
            descendants_max: 100,
            ..Policy::default()
        };
        let mut pair = Self {
            chain: Chain::new(policy),
            real,
            wallet: Wallet::new(),
            now: START,
        };
        pair.pass(0);
        Some(pair)
    }

    fn call(&self, method: &str, params: &[Value]) -> Value {
        self.real
            .client
            .call(method, params)
            .unwrap_or_else(|e| panic!("{method} failed: {e}"))
    }

    /// Moves both clocks.
    fn pass(&mut self, seconds: u32) {
        self.now += seconds;
        let answer = self.call("setmocktime", &[json!(self.now)]);
        assert_eq!(answer, Value::Null);
    }

    fn request(&self, salt: u64) -> MineRequest {
        let payout_script = self.wallet.script(Lock::Wpkh);
        MineRequest {
            time: self.now,
            payout_script,
            max_weight: MAX_BLOCK_WEIGHT,
            salt,
        }
    }

    fn mine(&mut self) {
        self.pass(600);
        let block = self.chain.mine(&self.request(0)).expect("a valid block");
        assert_eq!(
            self.give(&block),
            Value::Null,
            "bitcoind refuses block {}",
            self.chain.height()
        );
    }

    fn give(&self, block: &Block) -> Value {
        self.call("submitblock", &[json!(serialize_hex(block))])
    }

    /// A spendable coinbase output.
    fn coinbase(&self, height: u32) -> Coin {
        let tx = self.chain.block_at(height).expect("mined").txdata[0].clone();
        coin(&tx, 0, Lock::Wpkh)
    }

    fn out(&self, lock: Lock, sat: u64) -> TxOut {
        TxOut {
            value: Amount::from_sat(sat),
            script_pubkey: self.wallet.script(lock),
        }
    }

    /// Spends coins into one P2WPKH output.
    fn sweep(&self, coins: &[Coin], fee_sat: u64) -> Transaction {
        let total: Amount = coins.iter().map(|c| c.out.value).sum();
        let draft = Wallet::draft(coins, vec![self.out(Lock::Wpkh, total.to_sat() - fee_sat)]);
        self.wallet.sign(draft, coins)
    }

    /// Sends to both mempools; both must take it.
    fn send(&mut self, tx: &Transaction) {
        self.chain
            .submit_transaction(tx, self.now)
            .expect("the simulated node takes it");
        let txid = self.call("sendrawtransaction", &[json!(serialize_hex(tx)), json!(0)]);
        assert_eq!(txid, json!(tx.compute_txid().to_string()));
    }

    /// Asks both mempools and compares the words.
    fn compare(&self, case: &str, tx: &Transaction, expected: &str) {
        let ours = match self.chain.test_transaction(tx, self.now) {
            Ok(_) => "accepted".to_owned(),
            Err(reject) => reject.to_string(),
        };
        let answer = self.call("testmempoolaccept", &[json!([serialize_hex(tx)]), json!(0)]);
        let theirs = answer[0]["reject-reason"]
            .as_str()
            .unwrap_or("accepted")
            .to_owned();
        assert_eq!(
            answer[0]["allowed"] == json!(true),
            theirs == "accepted",
            "{case}"
        );
        // The RPC shortens one word; the interpreter's error in brackets is Core's own.
        let theirs = theirs.replace("missing-inputs", "bad-txns-inputs-missingorspent");
        let word = |text: &str| text.split(" (").next().unwrap_or_default().to_owned();
        assert_eq!(word(&ours), word(&theirs), "{case}");
        assert_eq!(word(&ours), expected, "{case}");
    }

    fn compare_state(&self) {
        let tip = self.chain.tip();
        assert_eq!(
            self.call("getbestblockhash", &[]),
            json!(tip.hash.to_string())
        );
        assert_eq!(self.call("getblockcount", &[]), json!(tip.height));
        let info = self.call("gettxoutsetinfo", &[json!("none")]);
        let Supply {
            issued_sat,
            unspent_sat,
            burned_sat,
        } = self.chain.supply();
        let total = Amount::from_btc(info["total_amount"].as_f64().expect("an amount"))
            .expect("eight digits");
        assert_eq!(total.to_sat(), unspent_sat);
        assert_eq!(info["txouts"], json!(self.chain.utxo_count()));
        assert_eq!(issued_sat, unspent_sat + burned_sat);
    }

    fn compare_mempools(&self) {
        let mut theirs: Vec<String> =
            serde_json::from_value(self.call("getrawmempool", &[])).expect("a list of ids");
        let mut ours: Vec<String> = self.chain.mempool().map(|e| e.txid.to_string()).collect();
        theirs.sort_unstable();
        ours.sort_unstable();
        assert_eq!(ours, theirs);
        for entry in self.chain.mempool() {
            let real = self.call("getmempoolentry", &[json!(entry.txid.to_string())]);
            assert_eq!(real["vsize"], json!(entry.vsize));
            let fee = Amount::from_btc(real["fees"]["base"].as_f64().expect("an amount"))
                .expect("eight digits");
            assert_eq!(fee.to_sat(), entry.fee_sat);
        }
    }
}

fn coin(tx: &Transaction, vout: u32, lock: Lock) -> Coin {
    Coin {
        outpoint: OutPoint {
            txid: tx.compute_txid(),
            vout,
        },
        out: tx.output[vout as usize].clone(),
        lock,
    }
}

/// A history with every kind of spend, in both chains.
fn live(pair: &mut Pair) {
    for _ in 0..160 {
        pair.mine();
    }
    let locks = [
        Lock::Wpkh,
        Lock::Multisig,
        Lock::Taproot,
        Lock::Height(162),
        Lock::Blocks(2),
    ];
    let source = pair.coinbase(1);
    let outs = locks
        .iter()
        .map(|lock| pair.out(*lock, 900_000_000))
        .collect();
    let funding = pair.wallet.sign(
        Wallet::draft(std::slice::from_ref(&source), outs),
        &[source],
    );
    pair.send(&funding);
    pair.mine();
    let coins: Vec<Coin> = (0..)
        .zip(locks)
        .map(|(vout, lock)| coin(&funding, vout, lock))
        .collect();
    pair.compare(
        "BIP 65 and 113",
        &pair.sweep(&coins[3..4], 500),
        "non-final",
    );
    pair.compare(
        "BIP 112 and 68",
        &pair.sweep(&coins[4..5], 500),
        "non-BIP68-final",
    );
    pair.send(&pair.sweep(&coins[..3], 1_000));
    pair.mine();
    pair.send(&pair.sweep(&coins[3..], 1_000));
    pair.mine();
    pair.compare_state();
}

fn replace_and_bump(pair: &mut Pair) {
    let first = pair.sweep(&[pair.coinbase(2)], 500);
    pair.send(&first);
    let needed = 500 + (first.vsize() as u64).div_ceil(10);
    pair.compare(
        "one satoshi short of rule 4",
        &pair.sweep(&[pair.coinbase(2)], needed - 1),
        "insufficient fee",
    );
    pair.send(&pair.sweep(&[pair.coinbase(2)], needed));
    let parent = pair.sweep(&[pair.coinbase(3)], 0);
    let child = pair.sweep(&[coin(&parent, 0, Lock::Wpkh)], 5_000);
    pair.compare("a parent without fee", &parent, "min relay fee not met");
    pair.chain
        .submit_package(&parent, &child, pair.now)
        .expect("the child pays");
    let answer = pair.call(
        "submitpackage",
        &[json!([serialize_hex(&parent), serialize_hex(&child)])],
    );
    assert_eq!(answer["package_msg"], json!("success"));
    let mut tip = child;
    for _ in 0..10 {
        tip = pair.sweep(&[coin(&tip, 0, Lock::Wpkh)], 300);
        pair.send(&tip);
    }
    pair.compare_mempools();
    pair.mine();
    pair.compare_mempools();
    pair.compare_state();
}

/// A rival branch of three blocks takes two back; `bitcoind` sees each block when it is born.
fn reorganise(pair: &mut Pair) {
    let spend = pair.sweep(&[pair.coinbase(4)], 500);
    pair.send(&spend);
    let fork = pair.chain.tip().hash;
    pair.mine();
    pair.mine();
    assert!(pair.chain.mempool().next().is_none());
    let mut parent = fork;
    for step in 0..3 {
        let block = pair
            .chain
            .draft(parent, &pair.request(1))
            .expect("known")
            .seal();
        parent = block.block_hash();
        pair.chain
            .submit_block(block.clone(), pair.now)
            .expect("valid");
        // A block that does not become the tip stays unchecked, which the RPC calls inconclusive (BIP 22).
        let expected = if step < 2 {
            json!("inconclusive")
        } else {
            Value::Null
        };
        assert_eq!(pair.give(&block), expected);
    }
    assert_eq!(pair.chain.tip().hash, parent);
    assert!(pair.chain.mempool_entry(&spend.compute_txid()).is_some());
    pair.compare_mempools();
    pair.compare_state();
    pair.mine();
}

fn compare_decisions(pair: &mut Pair) {
    let source = || pair.coinbase(5);
    let good = pair.sweep(&[source()], 500);
    let vsize = good.vsize() as u64;
    let resigned = |change: fn(&mut Transaction)| {
        let mut tx = good.clone();
        change(&mut tx);
        pair.wallet.sign(tx, &[source()])
    };
    pair.compare("plain", &good, "accepted");
    pair.compare(
        "just enough",
        &pair.sweep(&[source()], vsize.div_ceil(10)),
        "accepted",
    );
    pair.compare(
        "one short",
        &pair.sweep(&[source()], vsize.div_ceil(10) - 1),
        "min relay fee not met",
    );
    pair.compare(
        "not dust",
        &resigned(|t| t.output[0].value = Amount::from_sat(294)),
        "accepted",
    );
    pair.compare(
        "dust",
        &resigned(|t| t.output[0].value = Amount::from_sat(293)),
        "dust",
    );
    pair.compare("version", &resigned(|t| t.version.0 = 4), "version");
    let odd = |t: &mut Transaction| t.output[0].script_pubkey = ScriptBuf::from_bytes(vec![0x93]);
    pair.compare("script", &resigned(odd), "scriptpubkey");
    pair.compare(
        "data",
        &resigned(|t| t.output[0].script_pubkey = ScriptBuf::new_op_return([1; 60])),
        "accepted",
    );
    pair.compare(
        "value",
        &resigned(|t| t.output[0].value *= 2),
        "bad-txns-in-belowout",
    );
    let locked =
        |t: &mut Transaction| t.lock_time = absolute::LockTime::from_consensus(499_999_999);
    pair.compare("locked", &resigned(locked), "non-final");
    pair.compare(
        "young",
        &resigned(|t| t.input[0].sequence = Sequence::from_height(60_000)),
        "non-BIP68-final",
    );
    pair.compare(
        "immature",
        &pair.sweep(&[pair.coinbase(pair.chain.height() - 98)], 500),
        IMMATURE,
    );
    pair.compare(
        "mature",
        &pair.sweep(&[pair.coinbase(pair.chain.height() - 99)], 500),
        "accepted",
    );
    pair.compare(
        "coinbase",
        &pair.chain.block_at(9).expect("mined").txdata[0],
        "coinbase",
    );
    let mut missing = source();
    missing.outpoint.vout = 7;
    pair.compare(
        "missing",
        &pair.sweep(&[missing], 500),
        "bad-txns-inputs-missingorspent",
    );
    let mut forged = good.clone();
    forged.output[0].value -= Amount::from_sat(1);
    pair.compare("forged", &forged, "mempool-script-verify-flag-failed");
    let many = vec![good.output[0].clone(); 3_300];
    pair.compare("heavy", &Wallet::draft(&[source()], many), "tx-size");
    compare_with_mempool(pair, &good);
}

const IMMATURE: &str = "bad-txns-premature-spend-of-coinbase";

fn compare_with_mempool(pair: &mut Pair, good: &Transaction) {
    pair.send(good);
    pair.compare("again", good, "txn-already-in-mempool");
    let mut stripped = good.clone();
    stripped.input[0].witness.clear();
    pair.compare(
        "other witness",
        &stripped,
        "txn-same-nonwitness-data-in-mempool",
    );
    let both = [pair.coinbase(5), coin(good, 0, Lock::Wpkh)];
    pair.compare(
        "spends what it replaces",
        &pair.sweep(&both, 50_000),
        "bad-txns-spends-conflicting-tx",
    );
    let mut tip = good.clone();
    for _ in 1..64 {
        tip = pair.sweep(&[coin(&tip, 0, Lock::Wpkh)], 300);
        pair.send(&tip);
    }
    pair.compare(
        "the 65th",
        &pair.sweep(&[coin(&tip, 0, Lock::Wpkh)], 300),
        "too-large-cluster",
    );
    pair.compare_mempools();
    pair.mine();
    pair.compare("known", &tip, "txn-already-known");
    // Of a confirmed transaction whose outputs are spent Core has forgotten that it knew it.
    pair.compare("forgotten", good, "bad-txns-inputs-missingorspent");
    pair.compare_mempools();
    pair.compare_state();
}

/// Blocks that the simulated chain refuses are refused by `bitcoind`, in the same word.
fn compare_refused_blocks(pair: &mut Pair) {
    pair.pass(600);
    let tip = pair.chain.tip().hash;
    let draft = |salt| pair.chain.draft(tip, &pair.request(salt)).expect("known");
    let mut greedy = draft(1);
    greedy.coinbase_sat += 1;
    let mut high = draft(2);
    high.height += 1;
    let mut early = draft(3);
    early.time = pair.chain.tip().median_time;
    let mut late = draft(4);
    late.time = pair.now + 7_201;
    let mut thief = draft(5);
    let mut forged = pair.sweep(&[pair.coinbase(6)], 500);
    forged.output[0].value -= Amount::from_sat(1);
    thief.transactions = vec![forged];
    for draft in [greedy, high, early, late, thief] {
        let block = draft.seal();
        let ours = pair
            .chain
            .clone()
            .submit_block(block.clone(), pair.now)
            .expect_err("invalid")
            .to_string();
        let theirs = pair.give(&block);
        let word = |text: &str| text.split(" (").next().unwrap_or_default().to_owned();
        assert_eq!(word(&ours), word(theirs.as_str().unwrap_or("accepted")));
    }
    pair.mine();
    pair.compare_state();
}

#[test]
fn the_simulated_chain_agrees_with_bitcoind() {
    let Some(mut pair) = Pair::start() else {
        return;
    };
    live(&mut pair);
    replace_and_bump(&mut pair);
    reorganise(&mut pair);
    compare_decisions(&mut pair);
    compare_refused_blocks(&mut pair);
}
