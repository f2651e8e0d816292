//! Owns Layer 0's HTTP interface: authorisation, routes and answers. Does not own sockets.

use super::Layer0;
use crate::worlds::gateway::{Fate, Request, Response};
use serde_json::{Value, json};

pub(super) fn handle(layer0: &mut Layer0, request: &Request) -> Response {
    let expected = format!("Bearer {}", layer0.token);
    if request.header("authorization") != Some(expected.as_str()) {
        return error(401, "unauthorised", "the bearer token is missing or wrong");
    }
    let path: Vec<&str> = request.path.split('/').collect();
    match (request.method.as_str(), &path[..]) {
        ("GET", ["", "v1", "dids", did]) => identity(layer0, &did.replace("%25", "%")),
        (_, ["", "v1", "dids", _]) => error(405, "method_not_allowed", "only GET is offered here"),
        _ => error(404, "not_found", "there is nothing here"),
    }
}

fn identity(layer0: &Layer0, did: &str) -> Response {
    match layer0.identities.get(did) {
        Some(known) => {
            let record = json!({ "did": did, "state": known.state, "keys": known.keys });
            answer(200, &record)
        }
        None => error(404, "not_found", "no such identity"),
    }
}

fn answer(status: u16, body: &Value) -> Response {
    Response {
        status,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: body.to_string(),
        fate: Fate::Deliver,
    }
}

fn error(status: u16, code: &str, message: &str) -> Response {
    let error = json!({ "code": code, "message": message });
    answer(status, &json!({ "error": error }))
}
