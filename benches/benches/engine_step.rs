//! Claim: the pure engine is not what limits a simulation. Inputs per second through its one door, for charges that are
//! created, issued and settled over Lightning, and what the digest of the whole state costs as the state grows.
//! Owns the inputs; does not own the engine.

use bitcoin::bip32::{Xpriv, Xpub};
use bitcoin::hashes::{Hash as _, sha256};
use bitcoin::secp256k1::{Message, Secp256k1, SecretKey};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use lightning_invoice::{Currency, InvoiceBuilder, PaymentSecret};
use lockstep_benches::samples::Samples;
use lockstep_engine::api::{Charge, Command, Engine, EngineConfig, Input};
use lockstep_engine::id::{CommandId, IdempotencyKey, PartyId, PaymentId};
use lockstep_engine::money::Msat;
use lockstep_engine::onchain::Descriptors;
use lockstep_engine::policy::Policy;
use lockstep_engine::rail::{Entropy, Fact, Rail};
use lockstep_engine::time::{Span, Timestamp};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// 2023-11-14T22:13:20 UTC.
const BEGIN: Timestamp = Timestamp(1_700_000_000_000);

const AMOUNT: Msat = Msat(10_000_000);

/// Charges per iteration.
const CHARGES: u32 = 100;

/// Settled charges in the state whose digest is taken.
const SIZES: [u32; 3] = [0, 100, 1_000];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut samples = Samples::default();
    bench_step(&mut criterion, &mut samples);
    bench_digest(&mut criterion, &mut samples);
    criterion.final_summary();
    print_table(&samples);
}

fn bench_step(criterion: &mut Criterion, samples: &mut Samples) {
    let inputs: Vec<Input> = (0..CHARGES).flat_map(settled_charge).collect();
    let mut group = criterion.benchmark_group("engine_step");
    group
        .sample_size(20)
        .throughput(Throughput::Elements(inputs.len() as u64));
    group.bench_function("charge and settle", |bencher| {
        let routine = |mut engine: Engine| {
            samples.add("step", time(|| feed(&mut engine, &inputs)));
            engine
        };
        bencher.iter_batched(engine, routine, BatchSize::PerIteration);
    });
    group.finish();
}

fn bench_digest(criterion: &mut Criterion, samples: &mut Samples) {
    let mut group = criterion.benchmark_group("engine_digest");
    group.sample_size(20);
    for size in SIZES {
        let mut engine = engine();
        feed(
            &mut engine,
            &(0..size).flat_map(settled_charge).collect::<Vec<Input>>(),
        );
        group.bench_with_input(
            BenchmarkId::from_parameter(size),
            &engine,
            |bencher, engine| {
                let name = format!("digest/{size}");
                let digest = || {
                    black_box(engine.digest());
                };
                bencher.iter(|| samples.add(&name, time(digest)));
            },
        );
    }
    group.finish();
}

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn feed(engine: &mut Engine, inputs: &[Input]) {
    for (index, input) in (0..).zip(inputs) {
        let output = engine
            .step(BEGIN.plus(Span(index)), input)
            .expect("accepted");
        assert!(
            !output.events.is_empty(),
            "every one of these inputs leads to an event"
        );
    }
}

/// An engine with one party.
fn engine() -> Engine {
    let master = Xpriv::new_master(bitcoin::Network::Regtest, &[7; 32]).expect("a seed");
    let public = Xpub::from_priv(&Secp256k1::new(), &master);
    let config = EngineConfig {
        network: bitcoin::Network::Regtest,
        descriptors: Descriptors {
            external: format!("wpkh({public}/0/*)"),
            internal: format!("wpkh({public}/1/*)"),
        },
        policy: Policy::regtest_default(),
        webhook_secrets: vec!["a secret".to_owned()],
        layer0_secrets: Vec::new(),
        planted: None,
    };
    let mut engine = Engine::new(config).expect("a usable configuration");
    feed(
        &mut engine,
        &[command("open", Command::OpenParty { party: party() })],
    );
    engine
}

fn party() -> PartyId {
    PartyId::new("merchant").expect("a plain name")
}

fn command(id: &str, command: Command) -> Input {
    Input::Command {
        id: CommandId::new(id).expect("a plain name"),
        entropy: Entropy([9; 32]),
        command,
    }
}

/// A charge, its invoice, and the payment of it.
fn settled_charge(number: u32) -> [Input; 3] {
    let name = format!("charge-{number}");
    let charge = Charge {
        payment: PaymentId::new(name.as_str()).expect("a plain name"),
        party: party(),
        amount_msat: AMOUNT,
        rail: Rail::Lightning,
        hold: false,
        expires_in: Span::secs(3_600),
        wallet: None,
        refund_to: None,
        terms: Default::default(),
        escrow: None,
    };
    let hash = sha256::Hash::hash(name.as_bytes());
    let fact = |fact| Input::Fact {
        entropy: Entropy([8; 32]),
        fact,
    };
    [
        command(&name, Command::CreateCharge(charge)),
        fact(Fact::InvoiceCreated {
            key: IdempotencyKey(format!("{name}/invoice")),
            result: Ok(invoice(&name, hash)),
        }),
        fact(Fact::LightningReceived {
            payment_hash: hash.to_byte_array(),
            amount_msat: AMOUNT,
        }),
    ]
}

fn invoice(name: &str, payment_hash: sha256::Hash) -> String {
    let payee = SecretKey::from_slice(&[5; 32]).expect("a key");
    let sign = |message: &Message| Secp256k1::new().sign_ecdsa_recoverable(message, &payee);
    InvoiceBuilder::new(Currency::Regtest)
        .description(name.to_owned())
        .payment_hash(payment_hash)
        .payment_secret(PaymentSecret([4; 32]))
        .duration_since_epoch(Duration::from_millis(BEGIN.0))
        .min_final_cltv_expiry_delta(18)
        .amount_milli_satoshis(AMOUNT.0)
        .build_signed(sign)
        .expect("complete")
        .to_string()
}

fn print_table(samples: &Samples) {
    println!("\n| engine | median | per second |");
    println!("|---|---|---|");
    if let Some(taken) = samples.median("step") {
        let each = taken.as_secs_f64() / f64::from(3 * CHARGES);
        println!(
            "| one input of charge, invoice, payment | {:.1} us | {:.0} |",
            each * 1e6,
            1.0 / each
        );
    }
    for size in SIZES {
        if let Some(taken) = samples.median(&format!("digest/{size}")) {
            println!(
                "| digest with {size} settled charges | {:.0} us | |",
                taken.as_secs_f64() * 1e6
            );
        }
    }
}
