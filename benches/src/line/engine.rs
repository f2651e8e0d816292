//! Owns the engine's part in the full form of the line: its books are opened on what its node holds, and every payment
//! answers a charge of its own. Does not own the world.

use super::simulated::Line;
use super::{AMOUNT_MSAT, INVOICE_EXPIRY_SECS, NODES};
use lockstep::worlds::World;
use lockstep_engine::api::{Charge, Command};
use lockstep_engine::id::{CommandId, PartyId, PaymentId};
use lockstep_engine::money::{Msat, Quantity};
use lockstep_engine::rail::Rail;
use lockstep_engine::time::Span;

/// No charge takes longer in virtual time.
const LIMIT: Span = Span::secs(600);

const PARTY: &str = "merchant";

/// Numbers commands and charges.
pub(super) struct Books {
    commands: u32,
    charges: u32,
}

impl Books {
    /// Starts the engine and gives it its opening balance and its one party.
    pub(super) async fn open(line: &mut Line) -> Books {
        line.world.start_engine().await.expect("the engine starts");
        line.world.settle().await.expect("settled");
        let mut books = Books {
            commands: 0,
            charges: 0,
        };
        let operator = NODES[NODES.len() - 1];
        let channels = line
            .world
            .process(operator)
            .expect("it is there")
            .node()
            .expect("it runs")
            .channels();
        let opening = Msat(
            channels
                .iter()
                .map(|channel| channel.local_balance_msat)
                .sum(),
        );
        books
            .command(
                line,
                Command::RecordOpening {
                    rail: Rail::Lightning,
                    quantity: Quantity::btc(opening),
                },
            )
            .await;
        books
            .command(
                line,
                Command::OpenParty {
                    party: PartyId::new(PARTY).expect("a plain name"),
                },
            )
            .await;
        line.world.settle().await.expect("settled");
        line.world.begin();
        line.recorder
            .begin(line.world.epoch(), line.world.truth_source());
        books
    }

    async fn command(&mut self, line: &Line, command: Command) {
        self.commands += 1;
        let id = CommandId::new(format!("command-{}", self.commands)).expect("a plain name");
        line.world
            .service()
            .submit(id, command)
            .await
            .expect("accepted");
    }

    /// Opens `count` charges, has them paid together, and waits until the engine has settled all.
    pub(super) async fn charge_and_pay(&mut self, line: &mut Line, count: usize) {
        let mut names = Vec::new();
        for _ in 0..count {
            self.charges += 1;
            let name = format!("charge-{}", self.charges);
            let charge = Charge {
                payment: PaymentId::new(name.as_str()).expect("a plain name"),
                party: PartyId::new(PARTY).expect("a plain name"),
                amount_msat: Msat(AMOUNT_MSAT),
                rail: Rail::Lightning,
                hold: false,
                expires_in: Span::secs(u64::from(INVOICE_EXPIRY_SECS)),
                wallet: None,
                refund_to: None,
                terms: Default::default(),
                escrow: None,
            };
            self.command(line, Command::CreateCharge(charge)).await;
            names.push(name);
        }
        let told = |line: &Line, name: &String| line.recorder.told(name);
        wait(line, |line| {
            names
                .iter()
                .all(|name| told(line, name).is_some_and(|told| told.request.is_some()))
        })
        .await;
        for name in &names {
            let invoice = told(line, name)
                .and_then(|told| told.request)
                .expect("just waited for");
            line.world
                .node_pays(NODES[0], &invoice, None)
                .await
                .expect("there is a route");
        }
        wait(line, |line| {
            names
                .iter()
                .all(|name| told(line, name).is_some_and(|told| told.state == "settled"))
        })
        .await;
    }
}

async fn wait(line: &mut Line, done: impl Fn(&Line) -> bool) {
    let limit = line.world.now().plus(LIMIT);
    while !done(line) {
        assert!(line.world.now() < limit, "charges do not end");
        line.world.pass_a_little(limit).await.expect("time passes");
    }
}
