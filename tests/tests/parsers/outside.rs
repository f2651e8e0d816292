//! Owns an engine in the midst of everything: each kind of fact finds something that waits for it. Does not own what is
//! fed to it.

use crate::attack::Verdict;
use bitcoin::hashes::Hash as _;
use bitcoin::{
    Address, Amount, BlockHash, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid,
    WPubkeyHash, Witness, absolute, transaction,
};
use lockstep::prng::RootSeed;
use lockstep::worlds::keys;
use lockstep_engine::api::{
    Charge, Command, Destination, Engine, EngineConfig, Input, Output, Payout,
};
use lockstep_engine::id::{CommandId, PartyId, PaymentId, ReconciliationId};
use lockstep_engine::money::{Asset, Eur, Minor, Msat, Quantity, Rail};
use lockstep_engine::policy::Policy;
use lockstep_engine::rail::{
    BlockId, ChainPosition, ChainView, Effect, Entropy, Fact, SeenTransaction,
};
use lockstep_engine::time::{Span, Timestamp};

/// 2023-11-14T22:13:20 UTC.
pub(crate) const NOW: Timestamp = Timestamp(1_700_000_000_000);
/// Of webhooks.
pub(crate) const SECRET: &str = "whsec_test";
/// The day of `NOW`.
pub(crate) const DAY: &str = "2023-11-14";
/// The SEPA payout that waits for the answer to its order.
pub(crate) const PAYOUT: &str = "payout-1";
const IBAN: &str = "DE89370400440532013000";

/// A payment id.
pub(crate) fn id(text: &str) -> PaymentId {
    PaymentId::new(text).expect("an id")
}

fn config() -> EngineConfig {
    EngineConfig {
        network: keys::NETWORK,
        descriptors: keys::engine_keys(RootSeed(1)).public,
        policy: Policy::regtest_default(),
        webhook_secrets: vec![SECRET.to_owned()],
        layer0_secrets: Vec::new(),
        planted: None,
    }
}

fn command(engine: &mut Engine, number: u32, command: Command) -> Output {
    let input = Input::Command {
        id: CommandId::new(format!("c{number}")).expect("an id"),
        entropy: Entropy([9; 32]),
        command,
    };
    engine.step(NOW, &input).expect("accepted")
}

fn charge(name: &str, rail: Rail, amount_msat: u64) -> Command {
    Command::CreateCharge(Charge {
        payment: id(name),
        party: PartyId::new("ann").expect("an id"),
        amount_msat: Msat(amount_msat),
        rail,
        hold: false,
        expires_in: Span::secs(3_600),
        wallet: None,
        refund_to: None,
        terms: Default::default(),
        escrow: None,
    })
}

fn payout(name: &str, destination: Destination, quantity: Quantity) -> Command {
    Command::CreatePayout(Payout {
        payment: id(name),
        party: PartyId::new("ann").expect("an id"),
        destination,
        quantity,
        all: false,
        funded_by: Asset::Btc,
        payee: None,
        deadline: Span::secs(3_600),
        terms: Default::default(),
        wallet: None,
    })
}

/// One confirmed output to `script`.
fn funding(engine: &Engine, script: ScriptBuf) -> Fact {
    let input = TxIn {
        previous_output: OutPoint {
            txid: Txid::hash(b"coin"),
            vout: 0,
        },
        script_sig: ScriptBuf::new(),
        sequence: Sequence::MAX,
        witness: Witness::new(),
    };
    let transaction = Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: vec![input],
        output: vec![TxOut {
            value: Amount::from_sat(900_000),
            script_pubkey: script,
        }],
    };
    let block = BlockId {
        height: 1,
        hash: BlockHash::hash(b"block 1"),
    };
    let position = ChainPosition::Confirmed {
        block,
        time_secs: 1_700_000_000,
    };
    Fact::Chain(ChainView {
        blocks: vec![engine.chain_blocks()[0], block],
        transactions: vec![SeenTransaction {
            transaction,
            position,
        }],
        tip_time_secs: None,
    })
}

/// An engine that waits for: the answer to the order of `payout-1` (12.50 EUR), the signature of `store-1`, the invoices of
/// `c1` and `c2` (held), the report, balance and look of `day-1`, coins for `c3`.
pub(crate) fn engine() -> Engine {
    let mut engine = Engine::new(config()).expect("a usable configuration");
    let party = PartyId::new("ann").expect("an id");
    command(&mut engine, 1, Command::OpenParty { party });
    let quantity = Quantity::eur(Minor::<Eur>::new(100_000));
    command(
        &mut engine,
        2,
        Command::RecordOpening {
            rail: Rail::Sepa,
            quantity,
        },
    );
    let out = command(&mut engine, 3, charge("fund", Rail::Onchain, 900_000_000));
    let script = out
        .instructions
        .iter()
        .find_map(|instruction| match &instruction.effect {
            Effect::WatchScript { script } => Some(script.clone()),
            _ => None,
        });
    let fact = funding(&engine, script.expect("a script to watch"));
    step(&mut engine, &fact).expect("accepted");
    let name = "Ann Example".to_owned();
    let iban = Destination::Iban {
        iban: IBAN.to_owned(),
        name,
    };
    let cents = Quantity::eur(Minor::<Eur>::new(1_250));
    command(&mut engine, 4, payout(PAYOUT, iban, cents));
    let foreign = ScriptBuf::new_p2wpkh(&WPubkeyHash::from_byte_array([6; 20]));
    let address = Address::from_script(&foreign, keys::NETWORK)
        .expect("an address")
        .to_string();
    command(
        &mut engine,
        5,
        payout(
            "store-1",
            Destination::Address(address),
            Quantity::btc(Msat(20_000_000)),
        ),
    );
    command(&mut engine, 6, charge("c1", Rail::Lightning, 5_000));
    let Command::CreateCharge(held) = charge("c2", Rail::Lightning, 5_000) else {
        unreachable!("a charge is a charge")
    };
    command(
        &mut engine,
        7,
        Command::CreateCharge(Charge { hold: true, ..held }),
    );
    command(&mut engine, 8, charge("c3", Rail::Onchain, 50_000_000));
    let run = ReconciliationId::new("day-1").expect("an id");
    let report_day = DAY.to_owned();
    command(&mut engine, 9, Command::Reconcile { run, report_day });
    engine
}

/// Takes a fact in.
pub(crate) fn step(
    engine: &mut Engine,
    fact: &Fact,
) -> Result<Output, lockstep_engine::api::Refusal> {
    let entropy = Entropy([8; 32]);
    take(
        engine,
        &Input::Fact {
            entropy,
            fact: fact.clone(),
        },
    )
}

/// Takes an input in. A refusal changes nothing; after an acceptance the books sum to zero, and admission said the same.
pub(crate) fn take(
    engine: &mut Engine,
    input: &Input,
) -> Result<Output, lockstep_engine::api::Refusal> {
    let before = engine.digest();
    let admitted = engine.admit(NOW, input);
    let result = engine.step(NOW, input);
    assert_eq!(
        result.as_ref().err(),
        admitted.as_ref().err(),
        "admission tells what step does"
    );
    match &result {
        Ok(_) => assert!(
            engine.ledger().totals().values().all(|total| *total == 0),
            "the books sum to zero"
        ),
        Err(_) => assert_eq!(engine.digest(), before, "a refused input changes nothing"),
    }
    result
}

/// As `step`, on a fresh engine.
pub(crate) fn taken(fact: &Fact) -> Verdict {
    Verdict::from(&step(&mut engine(), fact))
}
