//! Owns the tests of the adapter's own rules: how answers become a view, what refuses a transaction, and who waits for whom.

use super::*;
use bdk_electrum::bdk_core;
use bitcoin::hashes::Hash;

fn hash(byte: u8) -> BlockHash {
    BlockHash::from_byte_array([byte; 32])
}

fn transaction(lock_time: u32) -> Transaction {
    Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::from_consensus(lock_time),
        input: Vec::new(),
        output: Vec::new(),
    }
}

fn update(confirmed_in: BlockHash) -> TxUpdate<ConfirmationBlockTime> {
    let (confirmed, pending) = (Arc::new(transaction(1)), Arc::new(transaction(2)));
    let mut update = TxUpdate::default();
    let block_id = bdk_core::BlockId {
        height: 5,
        hash: confirmed_in,
    };
    update.anchors.insert((
        ConfirmationBlockTime {
            block_id,
            confirmation_time: 9,
        },
        confirmed.compute_txid(),
    ));
    update.txs = vec![confirmed.clone(), pending, confirmed];
    update
}

/// Answers this many questions on a connection with this text, then ends the connection without a word at the next one.
async fn serve_connection(listener: &tokio::net::TcpListener, answers: u32, text: &str) {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    let (mut stream, _) = listener.accept().await.expect("a connection");
    let (from, mut to) = stream.split();
    let mut lines = BufReader::new(from).lines();
    for answered in 0..=answers {
        let Some(line) = lines.next_line().await.expect("a line") else {
            return;
        };
        if answered == answers {
            return;
        }
        let question: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let answer = serde_json::json!({ "id": question["id"], "result": text });
        to.write_all(format!("{answer}\n").as_bytes())
            .await
            .expect("written");
    }
}

#[tokio::test]
async fn a_question_over_a_lost_connection_is_asked_again_once() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let url = format!("tcp://{}", listener.local_addr().expect("bound"));
    let transaction = transaction(7);
    let txid = transaction.compute_txid();
    let server = tokio::spawn(async move {
        // The second question meets an end, and so do both attempts of the third.
        serve_connection(&listener, 1, &txid.to_string()).await;
        serve_connection(&listener, 1, &txid.to_string()).await;
        serve_connection(&listener, 0, "").await;
    });
    let chain = ElectrsChain::new(url, Duration::from_secs(1));
    assert_eq!(chain.broadcast(transaction.clone()).await, Ok(txid));
    assert_eq!(chain.broadcast(transaction.clone()).await, Ok(txid));
    let lost = chain.broadcast(transaction).await;
    let Err(BroadcastError::Unavailable { reason }) = lost else {
        panic!("{lost:?}");
    };
    assert!(reason.contains("lost"), "{reason}");
    server.await.expect("served");
}

#[tokio::test]
async fn questions_at_the_same_time_go_over_connections_of_their_own() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let url = format!("tcp://{}", listener.local_addr().expect("bound"));
    let chain = ElectrsChain::new(url, Duration::from_secs(1));
    let transaction = transaction(7);
    let first = tokio::spawn(chain.broadcast(transaction.clone()));
    let (mut idle, _) = listener.accept().await.expect("a connection");
    let mut question = [0; 4_096];
    assert!(idle.read(&mut question).await.expect("a question") > 0);
    let answer = format!(
        "{{\"id\":0,\"result\":\"{}\"}}\n",
        transaction.compute_txid()
    );
    idle.write_all(answer.as_bytes()).await.expect("written");
    first.await.expect("asked").expect("answered");
    let both = [(); 2].map(|()| tokio::spawn(chain.broadcast(transaction.clone())));
    assert!(idle.read(&mut question).await.expect("a question") > 0);
    let other = tokio::time::timeout(Duration::from_secs(20), listener.accept());
    let other = other.await.expect("the other one does not wait");
    drop((idle, other, listener));
    for asked in both {
        let lost = asked.await.expect("asked");
        assert!(
            matches!(lost, Err(BroadcastError::Unavailable { .. })),
            "{lost:?}"
        );
    }
}

#[test]
fn each_transaction_is_placed_once_and_its_block_joins_the_view() {
    let tip = BlockId {
        height: 9,
        hash: hash(9),
    };
    let mut blocks = BTreeMap::from([(8, hash(8)), (9, hash(9))]);
    let seen = place(&update(hash(5)), &mut blocks, tip).expect("consistent");
    assert_eq!(seen.len(), 2);
    let confirmed = seen
        .iter()
        .filter(|seen| matches!(seen.position, ChainPosition::Confirmed { .. }))
        .count();
    assert_eq!(confirmed, 1);
    assert_eq!(blocks.get(&5), Some(&hash(5)));
}

#[test]
fn a_confirmation_outside_the_chain_makes_the_view_inconsistent() {
    let tip = BlockId {
        height: 9,
        hash: hash(9),
    };
    let mut other = BTreeMap::from([(5, hash(50)), (9, hash(9))]);
    assert_eq!(place(&update(hash(5)), &mut other, tip), None);
    let low = BlockId {
        height: 4,
        hash: hash(4),
    };
    assert_eq!(
        place(&update(hash(5)), &mut BTreeMap::from([(4, hash(4))]), low),
        None
    );
}

#[test]
fn only_a_verdict_refuses_and_a_known_transaction_is_a_success() {
    let txid = transaction(1).compute_txid();
    let protocol = |message: &str| {
        ElectrumError::Protocol(serde_json::json!({ "code": 1, "message": message }))
    };
    let refused = protocol(
        "sendrawtransaction RPC error: {\"code\":-26,\"message\":\"min relay fee not met\"}",
    );
    let word = "min relay fee not met".to_owned();
    assert_eq!(
        on_broadcast_error(txid, &refused),
        Err(BroadcastError::Refused { word })
    );
    let plain = protocol("sendrawtransaction RPC error: bad-txns-inputs-missingorspent");
    let word = "bad-txns-inputs-missingorspent".to_owned();
    assert_eq!(
        on_broadcast_error(txid, &plain),
        Err(BroadcastError::Refused { word })
    );
    let known = protocol(
        "sendrawtransaction RPC error: {\"code\":-27,\"message\":\"Transaction outputs already in utxo set\"}",
    );
    assert_eq!(on_broadcast_error(txid, &known), Ok(txid));
    let passed_on = ElectrumError::Protocol(
        serde_json::json!({ "code": 2, "message": "min relay fee not met, 100 < 200" }),
    );
    let word = "min relay fee not met, 100 < 200".to_owned();
    assert_eq!(
        on_broadcast_error(txid, &passed_on),
        Err(BroadcastError::Refused { word })
    );
    for unclear in [
        "sendrawtransaction RPC error: {\"code\":-28,\"message\":\"Verifying blocks...\"}",
        "Verifying blocks...",
        "bad request: failed to broadcast transaction",
        "the server is busy",
    ] {
        let answer = on_broadcast_error(txid, &protocol(unclear));
        assert!(
            matches!(answer, Err(BroadcastError::Unavailable { .. })),
            "{unclear}: {answer:?}"
        );
    }
    let lost = ElectrumError::Message("connection reset".to_owned());
    assert!(matches!(
        on_broadcast_error(txid, &lost),
        Err(BroadcastError::Unavailable { .. })
    ));
}
