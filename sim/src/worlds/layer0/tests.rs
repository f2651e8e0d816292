//! Owns the checks of the Layer 0 model. Does not own how the engine uses it.

use super::{DidState, Identity, Layer0, Layer0Config};
use crate::worlds::gateway::{Request, Response};

const DID: &str = "did:web:shop.example%3A3000";

fn layer0() -> Layer0 {
    Layer0::new(Layer0Config {
        token: "token".to_owned(),
        webhook_secret: "secret".to_owned(),
        identities: vec![Identity {
            did: DID.to_owned(),
            keys: vec!["zQ3sKey".to_owned()],
        }],
    })
}

fn ask(layer0: &mut Layer0, method: &str, path: &str, token: &str) -> Response {
    let request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        headers: vec![("Authorization".to_owned(), format!("Bearer {token}"))],
        body: Vec::new(),
    };
    layer0.handle(0, &request)
}

#[test]
fn a_did_is_told_with_its_state() {
    let mut layer0 = layer0();
    let path = "/v1/dids/did:web:shop.example%253A3000";
    let known = |state: &str| format!(r#"{{"did":"{DID}","keys":["zQ3sKey"],"state":"{state}"}}"#);
    let response = ask(&mut layer0, "GET", path, "token");
    assert_eq!((response.status, response.body), (200, known("active")));
    assert!(layer0.set_state(DID, DidState::Revoked));
    let response = ask(&mut layer0, "GET", path, "token");
    assert_eq!((response.status, response.body), (200, known("revoked")));
    assert!(!layer0.set_state("did:web:nobody", DidState::Active));
}

#[test]
fn what_is_not_there_is_refused() {
    let mut layer0 = layer0();
    for (method, path, token, status) in [
        ("GET", "/v1/dids/did:web:nobody", "token", 404),
        ("GET", "/v1/dids", "token", 404),
        ("POST", "/v1/dids/did:web:nobody", "token", 405),
        (
            "GET",
            "/v1/dids/did:web:shop.example%253A3000",
            "wrong",
            401,
        ),
    ] {
        let response = ask(&mut layer0, method, path, token);
        assert_eq!(response.status, status, "{method} {path}");
    }
}
