//! Owns a hand-driven outside for the engine's tests: a clock, a chain made up by name, a payee's invoices, a gateway's
//! words, a signer; and the record of accepted inputs, which is folded again at the end. Does not own expectations.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    missing_docs,
    reason = "each test target uses its own part; tests state plain sums and look for one effect among many"
)]

use bdk_wallet::{SignOptions, Wallet};
use bitcoin::bip32::{Xpriv, Xpub};
use bitcoin::hashes::{Hash as _, sha256};
use bitcoin::secp256k1::{Message, Secp256k1, SecretKey};
use bitcoin::{
    Amount, BlockHash, Network, OutPoint, Psbt, ScriptBuf, Sequence, Transaction, TxIn, TxOut,
    Txid, Witness,
};
use bitcoin::{absolute, transaction};
use lightning_invoice::{Currency, InvoiceBuilder, PaymentSecret};
use lockstep_engine::api::{
    Charge, Command, Destination, Engine, EngineConfig, Event, Input, Output, Payout, Refusal,
    Status,
};
use lockstep_engine::fiat::sign_webhook;
use lockstep_engine::id::{CommandId, IdempotencyKey, PartyId, PaymentId, WalletId};
use lockstep_engine::ledger::Account;
use lockstep_engine::money::{Asset, Msat, Quantity, Rail};
use lockstep_engine::onchain::Descriptors;
use lockstep_engine::planted::Bug;
use lockstep_engine::policy::Policy;
use lockstep_engine::rail::{
    BlockId, ChainPosition, ChainView, Effect, Entropy, Fact, Instruction, SeenTransaction,
};
use lockstep_engine::time::{Span, Timestamp};

pub const SECRET: &str = "whsec_test";
/// 2023-11-14T22:13:20 UTC.
pub const BEGIN: Timestamp = Timestamp(1_700_000_000_000);
pub const DAY: &str = "2023-11-14";
pub const IBAN: &str = "DE89370400440532013000";

/// Where the coins of the first wallet are booked.
pub fn hot() -> Account {
    Account::ChainWallet {
        wallet: WalletId::hot(),
    }
}

fn master() -> Xpriv {
    Xpriv::new_master(Network::Regtest, &[7; 32]).expect("a seed")
}

pub fn config() -> EngineConfig {
    let public = Xpub::from_priv(&Secp256k1::new(), &master());
    EngineConfig {
        network: Network::Regtest,
        descriptors: Descriptors {
            external: format!("wpkh({public}/0/*)"),
            internal: format!("wpkh({public}/1/*)"),
        },
        policy: Policy::regtest_default(),
        webhook_secrets: vec![SECRET.to_owned()],
        layer0_secrets: Vec::new(),
        planted: None,
    }
}

pub fn engine() -> Engine {
    Engine::new(config()).expect("a usable configuration")
}

/// As `engine`, but wrong.
pub fn engine_with(planted: Option<Bug>) -> Engine {
    Engine::new(EngineConfig {
        planted,
        ..config()
    })
    .expect("a usable configuration")
}

pub fn payment(name: &str) -> PaymentId {
    PaymentId::new(name).expect("an id")
}

pub fn party(name: &str) -> PartyId {
    PartyId::new(name).expect("an id")
}

pub fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey(text.to_owned())
}

pub fn hash_of(preimage: [u8; 32]) -> [u8; 32] {
    sha256::Hash::hash(&preimage).to_byte_array()
}

pub fn charge(name: &str, rail: Rail, msat: u64) -> Charge {
    Charge {
        payment: payment(name),
        party: party("ann"),
        amount_msat: Msat(msat),
        rail,
        hold: false,
        expires_in: Span::secs(3_600),
        wallet: None,
        refund_to: None,
        terms: Default::default(),
        escrow: None,
    }
}

pub fn payout(name: &str, destination: Destination, quantity: Quantity) -> Payout {
    Payout {
        payment: payment(name),
        party: party("ann"),
        destination,
        quantity,
        all: false,
        funded_by: Asset::Btc,
        payee: None,
        deadline: Span::secs(3_600),
        terms: Default::default(),
        wallet: None,
    }
}

pub fn sepa(name: &str, cents: u64) -> Payout {
    let destination = Destination::Iban {
        iban: IBAN.to_owned(),
        name: "Ann".to_owned(),
    };
    payout(
        name,
        destination,
        Quantity {
            asset: Asset::Eur,
            units: cents,
        },
    )
}

pub struct Outside {
    pub engine: Engine,
    pub now: Timestamp,
    pub accepted: Vec<(Timestamp, Input)>,
    commands: u32,
}

impl Outside {
    /// An engine with the party `ann`.
    pub fn new() -> Outside {
        let mut outside = Outside {
            engine: engine(),
            now: BEGIN,
            accepted: Vec::new(),
            commands: 0,
        };
        outside.ok(Command::OpenParty {
            party: party("ann"),
        });
        outside
    }

    /// Ann has 1,000,000 sat in the channels, and the gateway account holds 10,000.00 EUR of the operator's.
    pub fn funded() -> Outside {
        let mut outside = Outside::new();
        let opening = Quantity {
            asset: Asset::Eur,
            units: 1_000_000,
        };
        outside.ok(Command::RecordOpening {
            rail: Rail::Sepa,
            quantity: opening,
        });
        outside.ok(Command::CreateCharge(charge(
            "fund",
            Rail::Lightning,
            1_000_000_000,
        )));
        outside.issue("fund", [250; 32], 1_000_000_000);
        outside.tell(Fact::LightningReceived {
            payment_hash: hash_of([250; 32]),
            amount_msat: Msat(1_000_000_000),
        });
        outside
    }

    pub fn step(&mut self, input: Input) -> Result<Output, Refusal> {
        let before = self.engine.digest();
        let admitted = self.engine.admit(self.now, &input);
        assert_eq!(self.engine.digest(), before, "admission is pure");
        let result = self.engine.step(self.now, &input);
        assert_eq!(
            result.as_ref().map(|_| ()).map_err(Clone::clone),
            admitted,
            "admission tells what step does"
        );
        match &result {
            Ok(_) => self.accepted.push((self.now, input)),
            Err(_) => assert_eq!(self.engine.digest(), before, "refused is unchanged"),
        }
        result
    }

    pub fn command(&mut self, command: Command) -> Result<Output, Refusal> {
        self.commands += 1;
        self.command_as(&format!("c{}", self.commands), command)
    }

    pub fn command_as(&mut self, id: &str, command: Command) -> Result<Output, Refusal> {
        let id = CommandId::new(id).expect("an id");
        self.step(Input::Command {
            id,
            entropy: Entropy([9; 32]),
            command,
        })
    }

    pub fn fact(&mut self, fact: Fact) -> Result<Output, Refusal> {
        self.step(Input::Fact {
            entropy: Entropy([8; 32]),
            fact,
        })
    }

    /// A command that is accepted.
    pub fn ok(&mut self, command: Command) -> Output {
        self.command(command).expect("accepted")
    }

    /// A fact that is accepted.
    pub fn tell(&mut self, fact: Fact) -> Output {
        self.fact(fact).expect("accepted")
    }

    pub fn later(&mut self, secs: u64) {
        self.now = self.now.plus(Span::secs(secs));
    }

    pub fn fire(&mut self, text: &str) -> Output {
        self.tell(Fact::TimerFired { key: key(text) })
    }

    pub fn status(&self, name: &str) -> Status {
        self.engine
            .payments()
            .get(&payment(name))
            .expect("known")
            .status()
    }

    pub fn balance(&self, account: &Account) -> i128 {
        self.engine.ledger().balance(account)
    }

    pub fn owed(&self, asset: Asset) -> i128 {
        -self.balance(&Account::Party {
            party: party("ann"),
            asset,
        })
    }

    pub fn available(&self) -> i128 {
        self.engine.ledger().available(&party("ann"), Asset::Btc)
    }

    pub fn outstanding(&self, text: &str) -> Option<Instruction> {
        self.engine
            .outstanding()
            .find(|instruction| instruction.key == key(text))
            .cloned()
    }

    /// Signs the transaction of a payout: what is handed out.
    pub fn sign(&mut self, name: &str) -> Transaction {
        let text = format!("{name}/sign");
        let Some(Effect::SignPsbt { psbt }) = self.outstanding(&text).map(|i| i.effect) else {
            panic!("{name} is to be signed")
        };
        let out = self.tell(Fact::Signed {
            key: key(&text),
            result: Ok(signed(&psbt)),
        });
        match out.instructions.into_iter().next().map(|i| i.effect) {
            Some(Effect::Broadcast { transaction }) => transaction,
            other => panic!("{other:?}"),
        }
    }

    /// The node makes the invoice that a charge asked for.
    pub fn issue(&mut self, name: &str, preimage: [u8; 32], msat: u64) -> Output {
        let result = Ok(issued(name, hash_of(preimage), (Some(msat), self.now)));
        self.tell(Fact::InvoiceCreated {
            key: key(&format!("{name}/invoice")),
            result,
        })
    }

    /// A webhook as the gateway signs it.
    pub fn webhook(&self, transfer: &str) -> Fact {
        let kind = if transfer.contains("returned") {
            "transfer.returned"
        } else {
            "transfer.settled"
        };
        let created = self.now.as_secs();
        let body =
            format!(r#"{{"id":"evt_1","type":"{kind}","created":{created},"data":{transfer}}}"#);
        Fact::Webhook {
            signature: sign_webhook(SECRET, self.now, &body),
            body,
        }
    }

    pub fn responds(&mut self, text: &str, status: u16, body: &str) -> Output {
        self.tell(Fact::HttpResponded {
            key: key(text),
            status,
            body: body.to_owned(),
        })
    }

    /// Folding the accepted inputs gives the live state, and the books sum to zero.
    pub fn check(&self) {
        let mut folded = engine();
        for (at, input) in &self.accepted {
            folded.step_recorded(*at, input).expect("accepted before");
        }
        assert_eq!(
            folded.digest(),
            self.engine.digest(),
            "folding gives the live state"
        );
        assert!(
            self.engine
                .ledger()
                .totals()
                .values()
                .all(|total| *total == 0),
            "books sum to zero"
        );
    }
}

pub fn transfer(name: &str, cents: u64, status: &str, version: u64) -> String {
    let reason = if status == "returned" {
        r#""AC04""#
    } else {
        "null"
    };
    format!(
        r#"{{"id":"tr_1","reference":"{name}","amount":{cents},"currency":"EUR","status":"{status}","version":{version},"return_reason":{reason}}}"#
    )
}

/// The invoice of an outside node.
pub fn invoice(hash: [u8; 32], msat: u64, at: Timestamp) -> String {
    signed_invoice(5, "test", (hash, Some(msat), at))
}

/// The invoice of an outside node that leaves the amount to the payer.
pub fn open_invoice(hash: [u8; 32], at: Timestamp) -> String {
    signed_invoice(5, "test", (hash, None, at))
}

/// What our node makes for a charge.
pub fn issued(name: &str, hash: [u8; 32], (msat, at): (Option<u64>, Timestamp)) -> String {
    signed_invoice(6, name, (hash, msat, at))
}

fn signed_invoice(
    key: u8,
    description: &str,
    (hash, msat, at): ([u8; 32], Option<u64>, Timestamp),
) -> String {
    let payee = SecretKey::from_slice(&[key; 32]).expect("a key");
    let builder = InvoiceBuilder::new(Currency::Regtest)
        .description(description.to_owned())
        .payment_hash(sha256::Hash::from_byte_array(hash))
        .payment_secret(PaymentSecret([4; 32]))
        .duration_since_epoch(std::time::Duration::from_millis(at.0))
        .min_final_cltv_expiry_delta(18);
    let builder = match msat {
        Some(msat) => builder.amount_milli_satoshis(msat),
        None => builder,
    };
    builder
        .build_signed(|message: &Message| Secp256k1::new().sign_ecdsa_recoverable(message, &payee))
        .expect("complete")
        .to_string()
}

/// Every branch shares the genesis block that the engine begins with.
pub fn branch(name: &str, heights: std::ops::RangeInclusive<u32>) -> Vec<BlockId> {
    let genesis = engine().chain_blocks();
    heights
        .map(|height| match height {
            0 => genesis[0],
            _ => BlockId {
                height,
                hash: BlockHash::hash(format!("{name} {height}").as_bytes()),
            },
        })
        .collect()
}

pub fn look(blocks: Vec<BlockId>, transactions: Vec<SeenTransaction>) -> Fact {
    Fact::Chain(ChainView {
        blocks,
        transactions,
        tip_time_secs: None,
    })
}

pub fn pays(script: &ScriptBuf, sat: u64, coin: &str) -> Transaction {
    let previous_output = OutPoint {
        txid: Txid::hash(coin.as_bytes()),
        vout: 0,
    };
    let input = TxIn {
        previous_output,
        sequence: Sequence::MAX,
        script_sig: ScriptBuf::new(),
        witness: Witness::new(),
    };
    let output = TxOut {
        value: Amount::from_sat(sat),
        script_pubkey: script.clone(),
    };
    Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: vec![input],
        output: vec![output],
    }
}

pub fn in_mempool(transaction: &Transaction) -> SeenTransaction {
    SeenTransaction {
        transaction: transaction.clone(),
        position: ChainPosition::Mempool,
    }
}

pub fn confirmed(transaction: &Transaction, block: BlockId) -> SeenTransaction {
    let position = ChainPosition::Confirmed {
        block,
        time_secs: 1_700_000_000,
    };
    SeenTransaction {
        transaction: transaction.clone(),
        position,
    }
}

/// What a signer that holds the wallet's keys gives back.
pub fn signed(psbt: &str) -> String {
    let secret = master();
    let signer = Wallet::create(format!("wpkh({secret}/0/*)"), format!("wpkh({secret}/1/*)"))
        .network(Network::Regtest)
        .create_wallet_no_persist()
        .expect("usable descriptors");
    let mut psbt: Psbt = psbt.parse().expect("a PSBT");
    signer
        .sign(
            &mut psbt,
            SignOptions {
                try_finalize: false,
                ..SignOptions::default()
            },
        )
        .expect("signing works");
    psbt.to_string()
}

/// The names of events, as they stand in JSON; ledger events left out.
pub fn names(output: &Output) -> Vec<String> {
    let told = output
        .events
        .iter()
        .filter(|event| !matches!(event, Event::Posted(_) | Event::Hold(_)));
    told.map(|event| {
        serde_json::to_value(event).expect("JSON")["event"]
            .as_str()
            .expect("a tag")
            .to_owned()
    })
    .collect()
}

pub fn watched(output: &Output) -> ScriptBuf {
    let scripts = output
        .instructions
        .iter()
        .find_map(|instruction| match &instruction.effect {
            Effect::WatchScript { script } => Some(script.clone()),
            _ => None,
        });
    scripts.expect("a script to watch")
}

/// Ann has 100,000 sat on chain; `p1` pays 20,000 of it to a foreign script.
pub fn payout_on_chain() -> (Outside, bitcoin::Transaction, bitcoin::Transaction) {
    let mut o = Outside::new();
    let script = watched(&o.ok(Command::CreateCharge(charge(
        "fund",
        Rail::Onchain,
        100_000_000,
    ))));
    let funding = pays(&script, 100_000, "coin");
    let blocks = branch("a", 0..=2);
    o.tell(look(
        blocks[..2].to_vec(),
        vec![confirmed(&funding, blocks[1])],
    ));
    let foreign = ScriptBuf::new_p2wpkh(&bitcoin::WPubkeyHash::from_byte_array([6; 20]));
    let address =
        bitcoin::Address::from_script(&foreign, bitcoin::Network::Regtest).expect("an address");
    let order = payout(
        "p1",
        Destination::Address(address.to_string()),
        Quantity::btc(Msat(20_000_000)),
    );
    assert_eq!(
        names(&o.ok(Command::CreatePayout(order))),
        ["payout_reserved", "transaction_built"]
    );
    let transaction = o.sign("p1");
    (o, funding, transaction)
}
