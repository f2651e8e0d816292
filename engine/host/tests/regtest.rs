//! Owns the proof that the RPC client and the Electrum chain source speak with a real bitcoind and electrs (regtest).
//! Runs if `BITCOIND_EXE` (and `ELECTRS_EXE`) name them.
//! Does not own the regtest world (the harness).

use bitcoin::{Address, Network, ScriptBuf, WScriptHash, hashes::Hash};
use lockstep_engine::rail::{BlockId, ChainPosition, ChainView};
use lockstep_host::adapters::bitcoind_rpc::{Authentication, BitcoindRpc, RpcError};
use lockstep_host::adapters::electrs::ElectrsChain;
use lockstep_host::ports::{BroadcastError, ChainSource};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A bitcoind that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Already gone is fine.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(executable: &str, directory: &Path, port: u16, p2p: u16) -> Process {
    let child = Command::new(executable)
        .arg("-regtest")
        .arg(format!("-datadir={}", directory.display()))
        .arg(format!("-rpcport={port}"))
        .arg(format!("-bind=127.0.0.1:{p2p}"))
        // The clock leaps: without the last one bitcoind takes electrs for silent, hangs up, and electrs ends.
        .args(["-txindex=1", "-dnsseed=0", "-peertimeout=2000000000"])
        .stdout(Stdio::null())
        .spawn()
        .expect("bitcoind starts");
    Process(child)
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|free| free.local_addr())
        .expect("port")
        .port()
}

async fn up(rpc: &BitcoindRpc) {
    for _ in 0..200 {
        if rpc.block_count().await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("bitcoind does not answer: {:?}", rpc.block_count().await);
}

fn anyone_can_spend() -> (ScriptBuf, String) {
    let script = ScriptBuf::new_p2wsh(&WScriptHash::hash(&[0x51]));
    let address = Address::from_script(&script, Network::Regtest)
        .expect("address")
        .to_string();
    (script, address)
}

#[test]
fn the_client_mines_reads_and_reorganises() {
    let Ok(executable) = std::env::var("BITCOIND_EXE") else {
        eprintln!("skipped: BITCOIND_EXE names no bitcoind");
        return;
    };
    let directory = tempfile::tempdir().expect("directory");
    let port = free_port();
    let _process = start(&executable, directory.path(), port, free_port());
    let cookie = Authentication::Cookie(directory.path().join("regtest").join(".cookie"));
    let rpc = BitcoindRpc::new(format!("127.0.0.1:{port}"), cookie);
    let (script, address) = anyone_can_spend();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime");
    runtime.block_on(async {
        up(&rpc).await;
        rpc.set_mock_time(1_700_000_000).await.expect("clock");
        let hashes = rpc.generate_to_address(3, &address).await.expect("mines");
        assert_eq!(rpc.block_count().await, Ok(3));
        assert_eq!(rpc.best_block_hash().await, Ok(hashes[2]));
        assert_eq!(rpc.block_hash(2).await, Ok(hashes[1]));
        let block = rpc.block(hashes[2]).await.expect("block");
        let coinbase = &block.txdata[0];
        assert_eq!(coinbase.output[0].script_pubkey, script);
        assert_eq!(rpc.raw_mempool().await, Ok(Vec::new()));
        assert_eq!(rpc.mempool_info().await.expect("numbers").size, 0);
        let refused = rpc.send_raw_transaction(coinbase).await;
        assert!(
            matches!(
                refused,
                Err(RpcError::Answered {
                    code: -26 | -27,
                    ..
                })
            ),
            "{refused:?}"
        );
        rpc.invalidate_block(hashes[2]).await.expect("leaves");
        assert_eq!(rpc.best_block_hash().await, Ok(hashes[1]));
        rpc.reconsider_block(hashes[2]).await.expect("returns");
        assert_eq!(
            rpc.submit_block(&block).await,
            Ok(Some("duplicate".to_owned()))
        );
        assert_eq!(rpc.best_block_hash().await, Ok(hashes[2]));
    });
    let password = Authentication::UserPassword {
        user: "nobody".to_owned(),
        password: "wrong".to_owned(),
    };
    let stranger = BitcoindRpc::new(format!("127.0.0.1:{port}"), password);
    let refused = runtime.block_on(stranger.block_count());
    assert_eq!(
        refused,
        Err(RpcError::NotAuthorised {
            method: "getblockcount"
        })
    );
}

/// Asks until the server shows `tip`: electrs follows bitcoind with a delay.
async fn view_at(
    chain: &ElectrsChain,
    script: &ScriptBuf,
    known: &[BlockId],
    tip: BlockId,
) -> ChainView {
    let mut answer = None;
    for _ in 0..200 {
        let view = chain.view(vec![script.clone()], known.to_vec()).await;
        match view {
            Ok(view) if view.blocks.last() == Some(&tip) => return view,
            other => answer = Some(other),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no view at {tip:?}: {answer:?}");
}

#[test]
fn a_view_follows_the_chain_through_a_reorganisation() {
    let (Ok(bitcoind), Ok(electrs)) = (std::env::var("BITCOIND_EXE"), std::env::var("ELECTRS_EXE"))
    else {
        eprintln!("skipped: BITCOIND_EXE and ELECTRS_EXE name no executables");
        return;
    };
    let directory = tempfile::tempdir().expect("directory");
    let (rpc_port, p2p, electrum) = (free_port(), free_port(), free_port());
    let _bitcoind = start(&bitcoind, directory.path(), rpc_port, p2p);
    let cookie = directory.path().join("regtest").join(".cookie");
    let rpc = BitcoindRpc::new(
        format!("127.0.0.1:{rpc_port}"),
        Authentication::Cookie(cookie.clone()),
    );
    let (script, address) = anyone_can_spend();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime");
    runtime.block_on(async {
        up(&rpc).await;
        let mined = rpc.generate_to_address(2, &address).await.expect("mines");
        let child = Command::new(electrs)
            .args(["--network", "regtest", "--skip-default-conf-files", "--log-filters", "ERROR"])
            .arg(format!("--db-dir={}", directory.path().join("electrs").display()))
            .arg(format!("--cookie-file={}", cookie.display()))
            .arg(format!("--daemon-rpc-addr=127.0.0.1:{rpc_port}"))
            .arg(format!("--daemon-p2p-addr=127.0.0.1:{p2p}"))
            .arg(format!("--electrum-rpc-addr=127.0.0.1:{electrum}"))
            .arg(format!("--monitoring-addr=127.0.0.1:{}", free_port()))
            .spawn()
            .expect("electrs starts");
        let _electrs = Process(child);
        let chain = ElectrsChain::new(format!("tcp://127.0.0.1:{electrum}"), Duration::from_secs(60));
        let genesis = BlockId { height: 0, hash: rpc.block_hash(0).await.expect("genesis") };
        let tip = BlockId { height: 2, hash: mined[1] };
        let view = view_at(&chain, &script, &[genesis], tip).await;
        assert_eq!(view.blocks.len(), 3);
        assert_eq!(view.transactions.len(), 2);
        let coinbase = view.transactions[0].transaction.clone();
        let refused = chain.broadcast(coinbase).await;
        assert!(matches!(refused, Ok(_) | Err(BroadcastError::Refused { .. })), "{refused:?}");
        rpc.invalidate_block(mined[1]).await.expect("leaves");
        rpc.set_mock_time(1_900_000_000).await.expect("clock");
        let other = rpc.generate_to_address(2, &address).await.expect("mines");
        let view = view_at(&chain, &script, &view.blocks, BlockId { height: 3, hash: other[1] }).await;
        assert_eq!(view.blocks.iter().find(|block| block.height == 2).map(|block| block.hash), Some(other[0]));
        let lost = view
            .transactions
            .iter()
            .any(|seen| matches!(seen.position, ChainPosition::Confirmed { block, .. } if block.hash == mined[1]));
        assert!(!lost, "a transaction of the abandoned block");
        assert_eq!(view.transactions.len(), 3);
    });
}
