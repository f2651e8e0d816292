//! Each kind of fault on a network of two endpoints. A process runs one simulation only (`scheduler`), so all cases are
//! parts of one test, each on a network of its own.

use super::*;
use crate::scenario::{Action, Scenario, Trouble};
use crate::scheduler::simulate;
use crate::trace::Trace;
use madsim::time::{sleep, timeout};

/// The kind as a scenario would write it.
fn kind(typed: &str) -> LinkFaultKind {
    let text = format!(
        "title = \"t\"\nworlds = [\"simulated\"]\nwhy_not.regtest = \"a test\"\nsteps = [{{ link = {{ between = [\"engine\", \"chain\"], fault = {typed} }} }}]\n"
    );
    let scenario = Scenario::parse("test", &text).unwrap_or_else(|error| panic!("{error:?}"));
    match &scenario.steps[0].action {
        Action::Trouble(Trouble::Link { kind, .. }) => *kind,
        other => panic!("{other:?}"),
    }
}

const A: &str = "a";
const B: &str = "b";
const SECOND: Duration = Duration::from_secs(1);

/// A network, and one fault on it.
struct Case {
    network: Network,
    faults: Arc<Mutex<Faults>>,
    fault: FaultId,
    kind: LinkFaultKind,
}

impl Case {
    fn new(typed: &str) -> Case {
        let faults = Arc::new(Mutex::new(Faults::default()));
        let fault = faults.lock().expect("alone").plan("link", typed, "a-b");
        let carrier = madsim::runtime::Handle::current().create_node().build();
        let trace = SharedTrace::new(Trace::new(false));
        Case {
            network: Network::new(RootSeed(1), carrier, trace, faults.clone()),
            kind: kind(typed),
            faults,
            fault,
        }
    }

    fn connect(&self) -> (End, End) {
        self.network.connect(A, B).expect("no fault yet")
    }

    fn begin(&self) {
        self.network.begin_fault((A, B), self.kind, self.fault);
    }

    fn end(&self) {
        self.network.end_fault(self.fault);
    }

    fn effects(&self) -> u64 {
        self.faults.lock().expect("alone").all()[0].effects
    }
}

/// What arrives within a time; `None` if nothing does, `Some(None)` if the connection has ended.
async fn within(span: Duration, end: &End) -> Option<Option<Vec<u8>>> {
    timeout(span, end.receive()).await.ok()
}

#[test]
fn each_kind_of_fault_does_what_it_says() {
    let all = || async {
        a_partition_holds_then_resets().await;
        one_way_holds_one_direction().await;
        a_clog_lets_go_at_once().await;
        half_open_tells_the_second_end_at_the_end().await;
        half_open_takes_the_next_connection_if_there_is_none().await;
        a_disconnect_ends_what_there_is().await;
        a_delay_is_added().await;
        spikes_are_some_and_keep_the_order().await;
        a_loss_is_a_reset().await;
        messages_are_held_and_lost().await;
        messages_overtake_each_other().await;
        messages_come_twice_and_chunks_do_not().await;
        two_faults_of_one_link_end_one_by_one().await;
    };
    simulate(RootSeed(1), all).expect("the only simulation of this test program");
}

async fn a_partition_holds_then_resets() {
    let case = Case::new("\"partition\", for = \"1 h\"");
    let (a, b) = case.connect();
    case.begin();
    assert!(case.network.connect(B, A).is_err());
    a.send(b"held".to_vec());
    assert_eq!(within(SECOND * 30, &b).await, None);
    case.end();
    assert_eq!(within(SECOND, &b).await, Some(Some(b"held".to_vec())));
    case.begin();
    b.send(b"never".to_vec());
    assert_eq!(within(SECOND * 59, &a).await, None);
    assert_eq!(within(SECOND * 2, &a).await, Some(None), "given up");
    assert_eq!(case.effects(), 3, "one refusal, two chunks");
}

async fn one_way_holds_one_direction() {
    let case = Case::new("\"one-way\", for = \"1 h\"");
    let (a, b) = case.connect();
    case.begin();
    b.send(b"back".to_vec());
    assert_eq!(within(SECOND, &a).await, Some(Some(b"back".to_vec())));
    assert_eq!(case.effects(), 0);
    a.send(b"there".to_vec());
    assert_eq!(within(SECOND * 30, &b).await, None);
    assert!(case.network.connect(B, A).is_err(), "no handshake");
    case.end();
    assert_eq!(within(SECOND, &b).await, Some(Some(b"there".to_vec())));
    assert_eq!(case.effects(), 2);
}

async fn a_clog_lets_go_at_once() {
    let case = Case::new("\"clog\", for = \"1 h\"");
    let (a, b) = case.connect();
    case.begin();
    for byte in 0..3 {
        a.send(vec![byte]);
    }
    let (c, d) = case.connect();
    c.send(vec![9]);
    assert_eq!(within(RESET_AFTER_HELD * 3, &b).await, None, "never reset");
    case.end();
    let now = simulated_instant();
    for byte in 0..3 {
        assert_eq!(b.receive().await, Some(vec![byte]));
    }
    assert_eq!(d.receive().await, Some(vec![9]));
    // The scheduler rounds each wait up to a millisecond.
    assert!(simulated_instant() - now < Duration::from_millis(10));
    assert_eq!(case.effects(), 2, "the first chunk of each connection");
}

async fn half_open_tells_the_second_end_at_the_end() {
    let case = Case::new("\"half-open\", for = \"1 h\"");
    let (a, b) = case.connect();
    case.begin();
    assert_eq!(within(Duration::from_millis(1), &a).await, Some(None));
    drop(a);
    b.send(b"nowhere".to_vec());
    assert_eq!(within(SECOND * 600, &b).await, None, "it is not told");
    assert_eq!(case.effects(), 2, "one connection, one chunk");
    let (c, d) = case.connect();
    c.send(b"anew".to_vec());
    assert_eq!(within(SECOND, &d).await, Some(Some(b"anew".to_vec())));
    case.end();
    assert_eq!(within(Duration::from_millis(1), &b).await, Some(None));
    assert_eq!(within(SECOND, &d).await, None, "the new one stays");
}

async fn half_open_takes_the_next_connection_if_there_is_none() {
    let case = Case::new("\"half-open\", for = \"1 h\"");
    case.begin();
    let (a, b) = case.connect();
    a.send(b"a question".to_vec());
    assert_eq!(within(SECOND, &b).await, Some(Some(b"a question".to_vec())));
    b.send(b"an answer".to_vec());
    assert_eq!(within(SECOND, &a).await, Some(None));
    assert_eq!(within(SECOND, &b).await, None);
    assert_eq!(case.effects(), 2);
}

async fn a_disconnect_ends_what_there_is() {
    let case = Case::new("\"disconnect\"");
    let (a, b) = case.connect();
    case.begin();
    assert_eq!(within(Duration::from_millis(1), &a).await, Some(None));
    assert_eq!(within(Duration::from_millis(1), &b).await, Some(None));
    assert!(case.network.connect(A, B).is_ok());
    assert_eq!(case.effects(), 1);
}

async fn a_delay_is_added() {
    let case = Case::new("\"delay\", by = \"5 s\", for = \"1 h\"");
    let (a, b) = case.connect();
    case.begin();
    a.send(b"late".to_vec());
    assert_eq!(within(SECOND * 5, &b).await, None);
    assert!(within(SECOND, &b).await.is_some());
    assert_eq!(case.effects(), 1);
}

async fn spikes_are_some_and_keep_the_order() {
    let case = Case::new("\"spikes\", by = \"10 s\", for = \"1 h\"");
    case.begin();
    let mut late = 0;
    for _ in 0..50 {
        let (a, b) = case.connect();
        a.send(vec![1]);
        late += u64::from(within(SECOND / 10, &b).await.is_none());
    }
    assert!((1..30).contains(&late), "{late} of 50");
    let (a, b) = case.connect();
    for byte in 0..50 {
        a.send(vec![byte]);
    }
    for byte in 0..50 {
        assert_eq!(b.receive().await, Some(vec![byte]));
    }
    assert!(case.effects() >= late);
}

async fn a_loss_is_a_reset() {
    let case = Case::new("\"loss\", for = \"1 h\"");
    case.begin();
    let mut lost = 0;
    for _ in 0..20 {
        let (a, b) = case.connect();
        a.send(vec![1]);
        lost += u64::from(within(SECOND, &b).await == Some(None));
    }
    assert!((1..20).contains(&lost), "{lost} of 20");
    assert_eq!(case.effects(), lost);
}

async fn messages_are_held_and_lost() {
    let case = Case::new("\"partition\", for = \"1 h\"");
    case.begin();
    let since = simulated_instant();
    assert_eq!(case.network.travel(A, B).await, Arrival::Lost);
    assert!(simulated_instant() - since >= RESET_AFTER_HELD);
    let end = async {
        sleep(SECOND * 100).await;
        case.end();
    };
    let (copies, ()) = futures_util::join!(case.network.travel_surely(A, B), end);
    assert_eq!(copies, 1);

    let silent = Case::new("\"half-open\", for = \"1 h\"");
    silent.begin();
    let arrived = Arrival::Arrived { copies: 1 };
    assert_eq!(silent.network.travel(A, B).await, arrived);
    let end = async {
        sleep(SECOND * 100).await;
        silent.end();
    };
    let (back, ()) = futures_util::join!(silent.network.travel(B, A), end);
    assert_eq!(back, Arrival::Lost);
    assert!(silent.network.is_quiet());
}

async fn messages_overtake_each_other() {
    let case = Case::new("\"reorder\", by = \"10 s\", for = \"1 h\"");
    case.begin();
    let order = Mutex::new(Vec::new());
    let (network, arrived) = (&case.network, &order);
    let one = |number: u32| async move {
        assert_eq!(network.travel_surely(A, B).await, 1);
        arrived.lock().expect("alone").push(number);
    };
    futures_util::future::join_all((0..20).map(one)).await;
    let arrived = order.lock().expect("alone").clone();
    assert!(
        arrived.windows(2).any(|pair| pair[0] > pair[1]),
        "{arrived:?}"
    );
    assert!(case.effects() > 0);
    let (a, b) = case.connect();
    a.send(vec![1]);
    assert!(
        within(SECOND / 10, &b).await.is_some(),
        "chunks are not held"
    );
}

async fn messages_come_twice_and_chunks_do_not() {
    let case = Case::new("\"duplicate\", for = \"1 h\"");
    case.begin();
    let twice = Arrival::Arrived { copies: 2 };
    assert_eq!(case.network.travel(A, B).await, twice);
    assert_eq!(case.network.travel(B, A).await, twice);
    assert_eq!(case.effects(), 2);
    let (a, b) = case.connect();
    a.send(vec![1]);
    assert!(within(SECOND, &b).await.is_some());
    assert_eq!(within(SECOND, &b).await, None);
}

async fn two_faults_of_one_link_end_one_by_one() {
    let case = Case::new("\"clog\", for = \"1 h\"");
    let other = case
        .faults
        .lock()
        .expect("alone")
        .plan("link", "clog", "b-a");
    case.begin();
    case.network.begin_fault((B, A), case.kind, other);
    let (a, b) = case.connect();
    a.send(vec![1]);
    case.end();
    assert_eq!(
        within(SECOND * 10, &b).await,
        None,
        "the other one holds it"
    );
    case.network.end_fault(other);
    assert!(within(SECOND, &b).await.is_some());
}
