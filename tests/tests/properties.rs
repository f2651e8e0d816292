//! Owns the properties of the pure engine under commands and facts in any order, with an outside that is honest and
//! sometimes late, and seldom mistaken (`honest`): after each step the engine is where the model says (`lockstep::model`), each command was
//! answered as foretold, a refused input has changed nothing, and in the end the journal folds to the same state.
//! Does not own the model, nor the properties that need none (`engine/tests/properties.rs`).
#![allow(missing_docs, reason = "a test")]

#[path = "properties/honest.rs"]
mod honest;
#[path = "../../engine/tests/outside/mod.rs"]
mod outside;

use bitcoin::ScriptBuf;
use bitcoin::hashes::Hash as _;
use honest::Honest;
use lockstep::invariants::ModelAgrees;
use lockstep::model::Terms;
use lockstep_engine::api::{Command, Destination, Input, Payout, Status};
use lockstep_engine::id::{CommandId, ReconciliationId};
use lockstep_engine::money::{Asset, Msat, Quantity, Rail};
use lockstep_engine::payments::Payment;
use lockstep_engine::planted::Bug;
use lockstep_engine::rail::{Effect, Entropy, Fact};
use lockstep_engine::time::Span;
use outside::{
    BEGIN, DAY, Outside, charge, engine, hash_of, invoice, party, payment, payout, sepa,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};
use std::collections::BTreeSet;

/// One thing that a caller or the outside does. Numbers that choose are taken modulo what there is.
#[derive(Clone, Debug)]
enum Act {
    Open {
        who: u8,
    },
    Charge {
        name: u8,
        who: u8,
        rail: Rail,
        hold: bool,
        sat: u64,
    },
    PayOut {
        name: u8,
        who: u8,
        way: u8,
        units: u64,
    },
    Decide {
        name: u8,
        release: bool,
    },
    Repeat {
        nth: usize,
        changed: bool,
    },
    Reconcile {
        run: u8,
        day: &'static str,
    },
    Pay {
        nth: usize,
        sat: u64,
    },
    Answer {
        nth: usize,
        how: u8,
    },
    Mine {
        full: bool,
    },
    Fork {
        depth: u32,
    },
    Look,
    Lie {
        nth: usize,
        sat: u64,
    },
    Book {
        nth: usize,
        back: bool,
    },
    Call {
        nth: usize,
    },
    Wait {
        secs: u64,
    },
}

/// What the choice of acts depends on: whether there is anything to pay, to answer, to decide.
#[derive(Clone, Debug, Default)]
struct Sketch {
    orders: usize,
}

struct Machine;

impl ReferenceStateMachine for Machine {
    type State = Sketch;
    type Transition = Act;

    fn init_state() -> BoxedStrategy<Sketch> {
        Just(Sketch::default()).boxed()
    }

    fn transitions(sketch: &Sketch) -> BoxedStrategy<Act> {
        let (names, parties) = (0_u8..12, 0_u8..3);
        // A few amounts at the edges: nothing, the least, whole and fits, more than anybody has.
        let sat = prop_oneof![
            Just(0),
            Just(1),
            200_u64..300,
            1_000_u64..400_000,
            Just(2_000_000_000)
        ];
        let rail = prop_oneof![4 => Just(Rail::Lightning), 4 => Just(Rail::Onchain), 1 => Just(Rail::Sepa)];
        let day = prop_oneof![Just(DAY), Just("2023-13-01"), Just("yesterday")];
        let charge = (
            names.clone(),
            parties.clone(),
            rail,
            any::<bool>(),
            sat.clone(),
        )
            .prop_map(|(name, who, rail, hold, sat)| Act::Charge {
                name,
                who,
                rail,
                hold,
                sat,
            });
        let pay_out =
            (names.clone(), parties.clone(), 0_u8..7, sat).prop_map(|(name, who, way, units)| {
                Act::PayOut {
                    name,
                    who,
                    way,
                    units,
                }
            });
        // With nothing ordered the outside has little to say.
        let often = |weight: u32| if sketch.orders == 0 { 1 } else { weight };
        prop_oneof![
            1 => parties.prop_map(|who| Act::Open { who }),
            4 => charge,
            4 => pay_out,
            2 => (names, any::<bool>()).prop_map(|(name, release)| Act::Decide { name, release }),
            1 => (any::<usize>(), any::<bool>()).prop_map(|(nth, changed)| Act::Repeat { nth, changed }),
            1 => (0_u8..12, day).prop_map(|(run, day)| Act::Reconcile { run, day }),
            often(5) => (any::<usize>(), 1_000_u64..400_000).prop_map(|(nth, sat)| Act::Pay { nth, sat }),
            often(12) => (any::<usize>(), 0_u8..9).prop_map(|(nth, how)| Act::Answer { nth, how }),
            often(2) => any::<bool>().prop_map(|full| Act::Mine { full }),
            often(1) => (0_u32..4).prop_map(|depth| Act::Fork { depth }),
            often(3) => Just(Act::Look),
            1 => (any::<usize>(), 0_u64..400_000).prop_map(|(nth, sat)| Act::Lie { nth, sat }),
            often(2) => (any::<usize>(), prop::bool::weighted(0.2)).prop_map(|(nth, back)| Act::Book { nth, back }),
            often(2) => any::<usize>().prop_map(|nth| Act::Call { nth }),
            2 => (1_u64..4_000).prop_map(|secs| Act::Wait { secs }),
        ]
        .boxed()
    }

    fn apply(mut sketch: Sketch, act: &Act) -> Sketch {
        sketch.orders += usize::from(matches!(act, Act::Charge { .. } | Act::PayOut { .. }));
        sketch
    }
}

/// The engine, the outside around it and the model beside it.
struct Trial {
    o: Outside,
    honest: Honest,
    model: ModelAgrees,
    commands: Vec<(CommandId, Command)>,
    invoices: u8,
}

impl Trial {
    /// Ann has 1,000,000 sat over Lightning and 900,000 on chain; all that happened to get there is told to the model too.
    fn begin(bug: Option<Bug>) -> Result<Trial, String> {
        let o = Outside::funded();
        let mut model = ModelAgrees::new(Terms::default());
        let mut again = engine();
        for (at, input) in &o.accepted {
            let output = again
                .step(*at, input)
                .map_err(|refusal| refusal.to_string())?;
            model.on_accepted(*at, input, &output, &again)?;
        }
        let honest = Honest::new(o.engine.chain_blocks()[0]);
        let mut trial = Trial {
            o,
            honest,
            model,
            commands: Vec::new(),
            invoices: 0,
        };
        for act in WALLET {
            trial.take(&act)?;
        }
        if let Some(bug) = bug {
            trial.o.engine.plant(bug);
        }
        Ok(trial)
    }

    /// `Outside::step` sees to it that admission is pure, tells what the step does, and that a refusal changes nothing.
    fn step(&mut self, input: Input) -> Result<(), String> {
        let now = self.o.now;
        match self.o.step(input.clone()) {
            Ok(output) => {
                self.honest.hear(&output.instructions);
                self.model.on_accepted(now, &input, &output, &self.o.engine)
            }
            Err(_) => self.model.on_refused(now, &input),
        }
    }

    fn command(&mut self, command: Command) -> Result<(), String> {
        let id = CommandId::new(format!("act-{}", self.commands.len())).expect("an id");
        self.commands.push((id.clone(), command.clone()));
        self.step(Input::Command {
            id,
            entropy: Entropy([9; 32]),
            command,
        })
    }

    fn fact(&mut self, fact: Option<Fact>) -> Result<(), String> {
        let input = fact.map(|fact| Input::Fact {
            entropy: Entropy([8; 32]),
            fact,
        });
        input.map_or(Ok(()), |input| self.step(input))
    }

    fn take(&mut self, act: &Act) -> Result<(), String> {
        match act.clone() {
            Act::Open { who } => self.command(Command::OpenParty {
                party: party(WHO[usize::from(who)]),
            }),
            Act::Charge {
                name,
                who,
                rail,
                hold,
                sat,
            } => {
                let mut order = charge(&format!("p{name}"), rail, sat.saturating_mul(1_000));
                (order.party, order.hold) =
                    (party(WHO[usize::from(who)]), hold && rail != Rail::Sepa);
                self.command(Command::CreateCharge(order))
            }
            Act::PayOut {
                name,
                who,
                way,
                units,
            } => {
                let mut order = self.order(&format!("p{name}"), way, units);
                order.party = party(WHO[usize::from(who)]);
                self.command(Command::CreatePayout(order))
            }
            Act::Decide { name, release } => {
                let payment = payment(&format!("p{name}"));
                self.command(if release {
                    Command::ReleaseHeld { payment }
                } else {
                    Command::RefuseHeld { payment }
                })
            }
            Act::Repeat { nth, changed } => {
                let Some(at) = nth.checked_rem(self.commands.len()) else {
                    return Ok(());
                };
                let (id, mut command) = self.commands[at].clone();
                if changed {
                    command = Command::OpenParty {
                        party: party("dora"),
                    };
                }
                self.step(Input::Command {
                    id,
                    entropy: Entropy([7; 32]),
                    command,
                })
            }
            Act::Reconcile { run, day } => {
                let run = ReconciliationId::new(format!("r{run}")).expect("an id");
                self.command(Command::Reconcile {
                    run,
                    report_day: day.to_owned(),
                })
            }
            outside => self.outside(&outside),
        }
    }

    fn outside(&mut self, act: &Act) -> Result<(), String> {
        match *act {
            Act::Pay { nth, sat } => {
                let fact = self.honest.pay(nth, sat);
                self.fact(fact)
            }
            Act::Answer { nth, how } => self.answer(nth, how),
            Act::Mine { full } => {
                self.honest.mine(full);
                Ok(())
            }
            Act::Fork { depth } => {
                self.honest.fork(depth);
                self.fact(Some(self.honest.look()))
            }
            Act::Look => self.fact(Some(self.honest.look())),
            Act::Lie { nth, sat } => self.fact(self.honest.lie(nth, sat)),
            Act::Book { nth, back } => {
                self.honest.book(nth, back);
                Ok(())
            }
            Act::Call { nth } => {
                let fact = self
                    .honest
                    .calls(nth)
                    .map(|transfer| self.o.webhook(&transfer));
                self.fact(fact)
            }
            Act::Wait { secs } => {
                self.o.later(secs);
                Ok(())
            }
            Act::Open { .. }
            | Act::Charge { .. }
            | Act::PayOut { .. }
            | Act::Decide { .. }
            | Act::Repeat { .. }
            | Act::Reconcile { .. } => Ok(()),
        }
    }

    fn answer(&mut self, nth: usize, how: u8) -> Result<(), String> {
        let now = self.o.now;
        let ready = |effect: &Effect| match effect {
            Effect::WatchScript { .. } => false,
            Effect::WakeAt { at } => *at <= now,
            _ => true,
        };
        let outstanding = self.o.engine.outstanding();
        let all: Vec<_> = outstanding
            .filter(|found| ready(&found.effect))
            .cloned()
            .collect();
        let Some(at) = nth.checked_rem(all.len()) else {
            return Ok(());
        };
        let fact = self.honest.answer(&all[at], how, self.o.now);
        self.fact(fact)
    }

    fn order(&mut self, name: &str, way: u8, units: u64) -> Payout {
        let msat = units.saturating_mul(1_000);
        let btc = Quantity::btc(Msat(msat));
        let foreign = ScriptBuf::new_p2wpkh(&bitcoin::WPubkeyHash::from_byte_array([6; 20]));
        let address = |network| {
            let address = bitcoin::Address::from_script(&foreign, network).expect("an address");
            Destination::Address(address.to_string())
        };
        match way {
            0 => payout(name, address(bitcoin::Network::Regtest), btc),
            1 => payout(name, address(bitcoin::Network::Bitcoin), btc),
            2 => sepa(name, units / 100),
            3 => Payout {
                funded_by: Asset::Eur,
                payee: None,
                ..sepa(name, units / 100)
            },
            4 => Payout {
                destination: Destination::Iban {
                    iban: "DE89370400440532013001".to_owned(),
                    name: "Ann".to_owned(),
                },
                ..sepa(name, units / 100)
            },
            5 => {
                // An invoice of before, if there is one: tried twice.
                let preimage = [200_u8.saturating_add(self.invoices % 8); 32];
                let text = invoice(hash_of(preimage), msat.max(1), BEGIN);
                self.honest
                    .outgoing
                    .entry(hash_of(preimage))
                    .or_insert((preimage, None));
                payout(name, Destination::Invoice(text), btc)
            }
            _ => {
                self.invoices = self.invoices.wrapping_add(1);
                let preimage = [self.invoices.wrapping_add(128); 32];
                self.honest
                    .outgoing
                    .insert(hash_of(preimage), (preimage, None));
                let text = invoice(hash_of(preimage), msat.max(1), self.o.now);
                Payout {
                    deadline: Span::secs(600),
                    terms: Default::default(),
                    ..payout(name, Destination::Invoice(text), btc)
                }
            }
        }
    }

    fn end(&self) -> Result<(), String> {
        self.o.check();
        self.model.all_agree(&self.o.engine)
    }
}

/// Ann is paid on chain, so that there are coins to pay out.
const WALLET: [Act; 4] = [
    Act::Charge {
        name: 12,
        who: 0,
        rail: Rail::Onchain,
        hold: false,
        sat: 900_000,
    },
    Act::Pay {
        nth: 0,
        sat: 900_000,
    },
    Act::Mine { full: true },
    Act::Look,
];

/// The second and the third have no accounts unless an act opens them.
const WHO: [&str; 3] = ["ann", "bob", "cid"];

struct EngineAgainstModel;

impl StateMachineTest for EngineAgainstModel {
    type SystemUnderTest = Trial;
    type Reference = Machine;

    fn init_test(_: &Sketch) -> Trial {
        Trial::begin(None).expect("the model agrees with the beginning")
    }

    fn apply(mut trial: Trial, _: &Sketch, act: Act) -> Trial {
        if let Err(what) = trial.take(&act) {
            panic!("after {act:?}: {what}");
        }
        trial
    }

    fn teardown(trial: Trial, _: Sketch) {
        trial
            .end()
            .expect("every payment stands where the model says, and the journal folds");
    }
}

proptest_state_machine::prop_state_machine! {
    #![proptest_config(ProptestConfig {
        // A few seconds; PROPTEST_CASES asks for more.
        cases: ProptestConfig::default().cases / 3,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_engine_is_where_the_model_says(sequential 1..120 => EngineAgainstModel);
}

/// Runs the same acts every time it is called, `each` after every one of them; what was wrong first.
fn explore(bug: Option<Bug>, mut each: impl FnMut(&Trial)) -> Option<String> {
    let config = ProptestConfig {
        cases: 120,
        failure_persistence: None,
        max_shrink_iters: 0,
        ..ProptestConfig::default()
    };
    let acts = Machine::sequential_strategy(80..120);
    let mut rng = TestRunner::new_with_rng(
        config.clone(),
        TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    );
    for _ in 0..config.cases {
        let (_, acts, _) = acts.new_tree(&mut rng).expect("acts").current();
        let mut trial = Trial::begin(bug).expect("the model agrees with the beginning");
        for act in &acts {
            if let Err(what) = trial.take(act) {
                return Some(what);
            }
            each(&trial);
        }
        if let Err(what) = trial.model.all_agree(&trial.o.engine) {
            return Some(what);
        }
    }
    None
}

/// The acts are not idle: payments of every kind are settled and fail, and every state on the way is reached.
#[test]
fn the_acts_reach_every_state() {
    let mut reached: BTreeSet<(&str, Status)> = BTreeSet::new();
    let what = explore(None, |trial| {
        for (_, payment) in trial.o.engine.payments().iter() {
            let kind = match payment {
                Payment::LightningCharge(_) => "charge over Lightning",
                Payment::OnchainCharge(_) => "charge on chain",
                Payment::LightningPayout(_) => "payout over Lightning",
                Payment::OnchainPayout(_) => "payout on chain",
                Payment::SepaPayout(_) => "payout over SEPA",
            };
            reached.insert((kind, payment.status()));
        }
    });
    assert_eq!(what, None, "the engine agrees with the model");
    let (begun, ways) = (
        [
            Status::Created,
            Status::Issued,
            Status::Held,
            Status::Seen,
            Status::Reserved,
            Status::Dispatched,
            Status::Unknown,
        ],
        [
            "charge over Lightning",
            "charge on chain",
            "payout over Lightning",
            "payout on chain",
            "payout over SEPA",
        ],
    );
    for way in ways {
        for end in [Status::Settled, Status::Failed] {
            assert!(
                reached.contains(&(way, end)),
                "no {way} is {end:?}: {reached:?}"
            );
        }
    }
    for status in begun {
        assert!(
            reached.iter().any(|(_, found)| *found == status),
            "nothing is {status:?}"
        );
    }
}

#[test]
fn the_model_catches_the_bugs_planted_for_it() {
    for (bug, sign) in [
        (Bug::NeverSettle, " deep"),
        (Bug::RepeatDuplicates, "the model says"),
        (Bug::IgnoreReorg, "is Settled with"),
        (Bug::ForgetHoldRelease, "of it held; the model says"),
    ] {
        let what = explore(Some(bug), |_| ()).unwrap_or_default();
        assert!(what.contains(sign), "{bug:?}: {what}");
    }
}
