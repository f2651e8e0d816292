//! Owns a small trace for the tests of reports: a warm-up, a charge over two nodes, a fault, a lost answer.

use super::lines::{self, Line};
use crate::run::outcome::Outcome;

/// One record a line.
const TRACE: &str = r#"
{"n":0,"at_ms":0,"subsystem":"links","actor":"alice","event":{"to":"bob","bytes":50,"sha256":"00","took_us":7000}}
{"n":1,"at_ms":0,"subsystem":"stimulus","actor":"scenario","event":{"event":"warmed up"}}
{"n":2,"at_ms":0,"subsystem":"balances","actor":"ledger/gateway","event":{"balance":0}}
{"n":3,"at_ms":1000,"subsystem":"stimulus","actor":"scenario","event":{"line":7,"step":"pay p-1: alice"}}
{"n":4,"at_ms":1000,"subsystem":"engine","actor":"p-1","event":{"event":"charge_created","payment":"p-1","party":"shop","rail":"lightning","amount_msat":5000}}
{"n":5,"at_ms":1000,"subsystem":"lightning","actor":"alice","event":{"htlc":"added","way":"out","channel_id":"c1","payment_hash":"aa","amount_msat":5001,"cltv_expiry":9}}
{"n":6,"at_ms":1030,"subsystem":"lightning","actor":"bob","event":{"htlc":"added","way":"in","channel_id":"c1","payment_hash":"aa","amount_msat":5001,"cltv_expiry":9}}
{"n":7,"at_ms":1040,"subsystem":"ledger","actor":"p-1","event":{"event":"posted","memo":"charge received","payment":"p-1","lines":[{"account":"lightning_channels","amount":5000},{"account":{"party":{"party":"shop","asset":"btc"}},"amount":-5000}]}}
{"n":8,"at_ms":1040,"subsystem":"engine","actor":"p-1","event":{"event":"payment_settled","payment":"p-1","fee_msat":0,"quantity":{"asset":"btc","units":5000}}}
{"n":9,"at_ms":4000,"subsystem":"faults","actor":"p-1","event":{"fault":"lose-response","id":0,"phase":"begin"}}
{"n":10,"at_ms":5000,"subsystem":"stimulus","actor":"scenario","event":{"line":8,"step":"payout p-2: shop -> bank 1.00 EUR over sepa"}}
{"n":11,"at_ms":5000,"subsystem":"engine","actor":"p-2","event":{"event":"payout_dispatched","payment":"p-2"}}
{"n":12,"at_ms":5020,"subsystem":"links","actor":"engine","event":{"to":"gateway","bytes":300,"sha256":"01","took_us":20000}}
{"n":13,"at_ms":5020,"subsystem":"http","actor":"p-2/transfer","event":{"call":"POST","key":"p-2/transfer","lost":true,"path":"/v1/transfers","replayed":false,"status":201}}
{"n":14,"at_ms":5020,"subsystem":"http","actor":"engine","event":{"answer":{"failure":"connection_lost"},"exchange":"p-2/transfer","path":"/v1/transfers"}}
{"n":15,"at_ms":5020,"subsystem":"engine","actor":"p-2","event":{"event":"outcome_unknown","payment":"p-2"}}
{"n":16,"at_ms":5040,"subsystem":"chain","actor":"chain","event":{"block":9,"transactions":["pay:p-1"]}}
"#;

/// What a run of it ended with.
const OUTCOME: &str = r#"{"scenario":"s.toml","world":"simulated","seed":3,"verdict":"violated","line":8,
"step":"payout p-2: shop -> bank 1.00 EUR over sepa","what":"not </script> <b>&","virtual_ms":5040,"wall_ms":1,"records":17,
"trace_hash":"0011223344556677","subsystem_hashes":{},"canonical":[],"faults":[],"waits_ms":{}}"#;

pub(in crate::report) fn lines() -> Vec<Line> {
    lines::read("sample", TRACE).expect("the sample is a trace")
}

pub(in crate::report) fn outcome() -> Outcome {
    serde_json::from_str(OUTCOME).expect("the sample's outcome, without the newer fields")
}
