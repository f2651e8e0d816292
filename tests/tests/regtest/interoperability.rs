//! The node that the simulated world runs, over real sockets with a real ldk-node: it opens a channel, pays, is paid and
//! closes, and every satoshi is where it must be. Owns that story.

use bitcoin::ScriptBuf;
use libtest_mimic::{Failed, Trial};
use lockstep::cli::binaries::{BITCOIND, ELECTRS, Executables};
use lockstep::prng::RootSeed;
use lockstep::run::{LeaveOut, Options, Run};
use lockstep::scenario::Scenario;
use lockstep::worlds::regtest::{Cancel, RegtestWorld, SocketNode, runtime};
use lockstep::worlds::{World, WorldError};
use lockstep_lightning::{
    ForwardingPolicy, InvoiceDescription, InvoiceRequest, NodeEvent, OpenChannel, PayInvoice,
    PaymentId,
};
use std::process::Command;
use std::time::Duration;

const NAME: &str = "interoperability::our_node_with_an_ldk_node";

/// One ldk-node, and nothing else.
const SCENARIO: &str = "title = \"An ldk-node\"\nworlds = [\"regtest\"]\nwhy_not = { simulated = \"it has no ldk-node\" }\nnodes.theirs = {}\nsteps = [{ mine = 1 }]\n";

/// Of which an ldk-node takes a tenth in flight at most.
const CAPACITY_SAT: u64 = 1_000_000;
const WE_PAY_MSAT: u64 = 90_000_000;
const THEY_PAY_MSAT: u64 = 40_000_000;

/// Any of it takes a second or two; the machine may be busy.
const LIMIT: Duration = Duration::from_secs(90);

/// A coinbase is spendable 100 blocks later.
const MATURITY: u32 = 100;

const CHANNEL: u128 = 1;

/// The world finds its servers in the environment of its process, so the test runs in one of its own.
pub(crate) fn trial(executables: Option<Executables>) -> Trial {
    Trial::test(NAME, move || match &executables {
        Some(found) if std::env::var_os(BITCOIND.variable).is_none() => again(found),
        _ => Ok(story()?),
    })
}

fn again(executables: &Executables) -> Result<(), Failed> {
    let output = Command::new(std::env::current_exe()?)
        .args(["--exact", NAME])
        .env(BITCOIND.variable, &executables.bitcoind)
        .env(ELECTRS.variable, &executables.electrs)
        .output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into()),
    }
}

fn story() -> Result<(), String> {
    let runtime = runtime().map_err(|error| error.to_string())?;
    let told = runtime.block_on(tell());
    runtime.shutdown_timeout(Duration::from_secs(2));
    told.map_err(|error| error.to_string())
}

async fn tell() -> Result<(), WorldError> {
    let seed = RootSeed(7);
    let scenario = Scenario::parse("interoperability", SCENARIO).expect("a scenario");
    let options = Options {
        file: "interoperability".to_owned(),
        seed,
        keep_lines: false,
        planted: None,
        leave_out: LeaveOut::default(),
    };
    let run = Run::new(scenario, options);
    let mut world = RegtestWorld::build(run.blueprint()?, Cancel::default()).await?;
    let mut ours = SocketNode::start("ours", seed, &mut world).await?;
    fund(&mut world, &mut ours).await?;
    let theirs_before = world.node_wallet_sat("theirs").await?;
    let ours_before = ours.node().wallet_balance().total_sat;
    open(&mut world, &mut ours).await?;
    pay(&mut world, &mut ours).await?;
    be_paid(&mut world, &mut ours).await?;
    close(&mut world, &mut ours).await?;
    let theirs_after = world.node_wallet_sat("theirs").await?;
    let won = (WE_PAY_MSAT - THEY_PAY_MSAT) / 1_000;
    assert_eq!(theirs_after - theirs_before, won, "the ldk-node's gain");
    let lost = ours_before - ours.node().wallet_balance().total_sat;
    // We have opened, so we bear both fees: 153 and about 170 virtual bytes at the least feerate, at most some dozen sat/vB.
    assert!(
        (won + 300..won + 10_000).contains(&lost),
        "we lost {lost} sat for {won} sat and two fees"
    );
    world.shut_down().await
}

/// Blocks, and everybody has seen them.
async fn mine(
    world: &mut RegtestWorld,
    ours: &mut SocketNode,
    blocks: u32,
    payout: ScriptBuf,
) -> Result<(), WorldError> {
    world.mine(blocks, payout).await?;
    ours.follow(world).await?;
    ours.beside(world.settle()).await??;
    ours.follow(world).await
}

/// A coinbase for each, mature: the ldk-node keeps a reserve on chain for its anchors.
async fn fund(world: &mut RegtestWorld, ours: &mut SocketNode) -> Result<(), WorldError> {
    let address = ours.node().new_address();
    let address = address.map_err(|error| WorldError::harness("give an address", error))?;
    let theirs = world.node_address("theirs").await?;
    mine(world, ours, 1, address.script_pubkey()).await?;
    mine(world, ours, 1, theirs.script_pubkey()).await?;
    mine(world, ours, MATURITY, nobody()).await
}

/// Anybody can spend it.
fn nobody() -> ScriptBuf {
    ScriptBuf::from_bytes(vec![0x51]).to_p2wsh()
}

async fn open(world: &mut RegtestWorld, ours: &mut SocketNode) -> Result<(), WorldError> {
    let (peer, address) = world.peer("theirs")?;
    ours.connect(peer, address).await?;
    ours.until(LIMIT, "the handshake", |ours| {
        ours.node().connected_peers() == [peer]
    })
    .await?;
    let open = OpenChannel {
        peer,
        capacity_sat: CAPACITY_SAT,
        push_msat: 0,
        announce: false,
        forwarding: ForwardingPolicy::default(),
        user_channel_id: CHANNEL,
    };
    let opened = ours.node().open_channel(open);
    opened.map_err(|error| WorldError::harness("open a channel", error))?;
    ours.until(LIMIT, "the funding", |ours| {
        has_told(ours, |event| {
            matches!(event, NodeEvent::ChannelPending { .. })
        })
    })
    .await?;
    ours.follow(world).await?;
    mine(world, ours, 6, nobody()).await?;
    ours.until(LIMIT, "the channel to be usable", |ours| {
        ours.node().channels().iter().any(|channel| channel.usable)
    })
    .await
}

fn has_told(ours: &SocketNode, is_it: impl Fn(&NodeEvent) -> bool) -> bool {
    ours.events().iter().any(is_it)
}

/// Ours, and theirs, of the one channel; nothing is in flight.
fn assert_balances(ours: &SocketNode, paid_msat: u64) {
    let channels = ours.node().channels();
    let [channel] = &channels[..] else {
        panic!("one channel is open: {channels:?}");
    };
    let local = CAPACITY_SAT * 1_000 - paid_msat;
    assert_eq!(
        (channel.local_balance_msat, channel.remote_balance_msat),
        (local, paid_msat)
    );
}

async fn pay(world: &mut RegtestWorld, ours: &mut SocketNode) -> Result<(), WorldError> {
    let invoice = world.node_invoice("theirs", Some(WE_PAY_MSAT)).await?;
    let pay = PayInvoice {
        invoice: &invoice,
        amount_msat: None,
        payment_id: PaymentId([1; 32]),
        max_total_fee_msat: None,
        retry_timeout_secs: 10,
    };
    let taken = ours.node().pay_invoice(pay);
    taken.map_err(|error| WorldError::harness("pay", error))?;
    ours.until(LIMIT, "the proof of payment", |ours| {
        has_told(ours, |event| {
            matches!(
                event,
                NodeEvent::PaymentSent {
                    fee_paid_msat: 0,
                    ..
                }
            )
        })
    })
    .await?;
    ours.beside(world.settle()).await??;
    assert_balances(ours, WE_PAY_MSAT);
    Ok(())
}

async fn be_paid(world: &mut RegtestWorld, ours: &mut SocketNode) -> Result<(), WorldError> {
    let request = InvoiceRequest {
        amount_msat: Some(THEY_PAY_MSAT),
        description: InvoiceDescription::Text("from an ldk-node".to_owned()),
        expiry_secs: 3_600,
        min_final_cltv: None,
    };
    let invoice = ours.node().create_invoice(request);
    let invoice = invoice.map_err(|error| WorldError::harness("make an invoice", error))?;
    world.node_pays("theirs", &invoice, None).await?;
    ours.until(LIMIT, "the payment", |ours| {
        has_told(ours, |event| {
            matches!(event, NodeEvent::PaymentReceived { amount_msat, .. } if *amount_msat == THEY_PAY_MSAT)
        })
    })
    .await?;
    ours.beside(world.settle()).await??;
    assert_balances(ours, WE_PAY_MSAT - THEY_PAY_MSAT);
    Ok(())
}

/// Together (BOLT 2), and deep enough for both wallets.
async fn close(world: &mut RegtestWorld, ours: &mut SocketNode) -> Result<(), WorldError> {
    let closing = ours.node().close_channel(CHANNEL);
    closing.map_err(|error| WorldError::harness("close the channel", error))?;
    ours.until(LIMIT, "the closing", |ours| {
        has_told(ours, |event| {
            matches!(event, NodeEvent::ChannelClosed { .. })
        })
    })
    .await?;
    ours.follow(world).await?;
    mine(world, ours, 6, nobody()).await?;
    assert!(ours.node().channels().is_empty(), "the channel is closed");
    Ok(())
}
