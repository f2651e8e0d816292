//! Owns the proof that a webhook over a real socket gets the status that its fate deserves.
//! Does not own which webhooks the engine accepts.

use crate::world::{World, config};
use crate::{settlement, without_time_limit};
use futures_util::future::{Either, select};
use lockstep_engine::rail::Method;
use lockstep_host::Driver;
use lockstep_host::adapters::http_client::{OutgoingRequest, exchange_over};
use lockstep_host::adapters::tcp_stream::TcpTransport;
use lockstep_host::adapters::webhook_server::{MAX_BODY_BYTES, PATH, SIGNATURE_HEADER, serve};
use tokio::net::{TcpListener, TcpStream};

struct Delivery {
    method: Method,
    path: &'static str,
    signature: String,
    body: String,
}

async fn deliver(address: std::net::SocketAddr, delivery: Delivery) -> u16 {
    let stream = TcpStream::connect(address).await.expect("connects");
    let headers = vec![
        ("host", "lockstep".to_owned()),
        (SIGNATURE_HEADER, delivery.signature),
    ];
    let request = OutgoingRequest {
        method: delivery.method,
        path: delivery.path.to_owned(),
        headers,
        body: delivery.body,
    };
    exchange_over(TcpTransport::new(stream), request, without_time_limit())
        .await
        .expect("answer")
        .status
}

#[test]
fn each_delivery_gets_the_status_that_its_fate_deserves() {
    let world = World::new();
    let (driver, handle) = Driver::start(config(), world.ports(), world.store()).expect("starts");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let address = listener.local_addr().expect("address");
        let server = tokio::spawn(serve(listener, handle.clone()));
        let (signature, body) = settlement(&world);
        let post = |path, signature: &str, body: &str| Delivery {
            method: Method::Post,
            path,
            signature: signature.to_owned(),
            body: body.to_owned(),
        };
        let deliveries = async {
            let journaled = world.outside().disk.synced.len();
            assert_eq!(deliver(address, post(PATH, "t=1,v1=00", &body)).await, 400);
            assert_eq!(
                deliver(address, post("/elsewhere", &signature, &body)).await,
                404
            );
            let get = Delivery {
                method: Method::Get,
                ..post(PATH, &signature, "")
            };
            assert_eq!(deliver(address, get).await, 405);
            let too_large = " ".repeat(MAX_BODY_BYTES + 1);
            assert_eq!(
                deliver(address, post(PATH, &signature, &too_large)).await,
                413
            );
            let before = world.outside().disk.synced.len();
            assert!(
                before <= journaled + 1,
                "a refused delivery was journaled (the look at the chain may be)"
            );
            assert_eq!(deliver(address, post(PATH, &signature, &body)).await, 200);
            assert_eq!(world.outside().disk.synced.len(), before + 1);
        };
        let Either::Right(((), driver)) =
            select(Box::pin(driver.run()), Box::pin(deliveries)).await
        else {
            panic!("the driver ended");
        };
        drop(driver);
        assert_eq!(deliver(address, post(PATH, &signature, &body)).await, 503);
        server.abort();
    });
}
