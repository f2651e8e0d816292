//! Reports of real runs: `lockstep report` makes a page that has every payment and the reason of a failure, a browser
//! shows it without an error, `lockstep explain` tells a payment's story, and `lockstep fees` says who bears what. Owns that list.

use libtest_mimic::{Failed, Trial};
use lockstep_tests::{lockstep, root};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Output};

const QUICKSTART: &str = "scenarios/quickstart.toml";

/// Where Debian, other distributions and people put it.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// A browser that hangs is a failure after so many seconds.
const BROWSER_LIMIT: &str = "120";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("reports::a_page_of_a_run", page_of_a_run),
        Trial::test("reports::a_failure_is_on_the_page", failure_on_the_page),
        Trial::test("reports::a_story_in_the_terminal", story),
        Trial::test("reports::a_browser_shows_the_page", browser),
        Trial::test("reports::fees_are_those_of_the_books", fees),
    ]
}

fn succeeded(output: Output) -> Result<Output, Failed> {
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("ended with {}: {said}", output.status).into())
}

fn report(path: &str, out: &Path) -> Result<(), Failed> {
    let out = out.to_str().ok_or("the folder's name is UTF-8")?;
    let arguments = ["report", path, "--out", out, "--open-nothing"];
    succeeded(lockstep(root(), arguments).output()?).map(|_| ())
}

/// The data in a page.
fn data(page: &Path) -> Result<Value, Failed> {
    let text = std::fs::read_to_string(page)?;
    let (_, rest) = text
        .split_once("<script id=\"data\" type=\"application/json\">")
        .ok_or("the page has no data")?;
    let (json, _) = rest.split_once("</script>").ok_or("the data do not end")?;
    Ok(serde_json::from_str(json)?)
}

fn page_of_a_run() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    report(QUICKSTART, folder.path())?;
    let index = std::fs::read_to_string(folder.path().join("index.html"))?;
    let file = "quickstart-simulated-1.html";
    if !index.contains(&format!("href=\"{file}\"")) {
        return Err(format!("the index does not lead to {file}: {index}").into());
    }
    let data = data(&folder.path().join(file))?;
    let marks = data["marks"].as_array().ok_or("there are no marks")?;
    let run = &data["run"];
    let zero_sum = run["checks"]["ledger-zero-sum"]["count"].as_u64();
    let right = data["payments"] == serde_json::json!(["order-1", "payout-1"])
        && run["verdict"] == "pass"
        && run["records"].as_u64() == Some(marks.len() as u64)
        && data["bad"].is_null()
        && zero_sum.is_some_and(|count| count > 0);
    match right {
        true => Ok(()),
        false => Err(format!("not the page of the run: {run}, {}", data["payments"]).into()),
    }
}

/// A copy of the quickstart that expects one satoshi too many.
fn failing(folder: &Path) -> Result<String, Failed> {
    let text = std::fs::read_to_string(root().join(QUICKSTART))?;
    let (good, bad) = ("btc = \"200_000 sat\"", "btc = \"200_001 sat\"");
    if !text.contains(good) {
        return Err(format!("{QUICKSTART} has no `{good}` any more").into());
    }
    let path = folder.join("failing.toml");
    std::fs::write(&path, text.replace(good, bad))?;
    Ok(path.to_str().ok_or("the name is UTF-8")?.to_owned())
}

fn failure_on_the_page() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    report(&failing(folder.path())?, folder.path())?;
    let data = data(&folder.path().join("failing-simulated-1.html"))?;
    let bad = data["bad"].as_u64().ok_or("no first bad event")? as usize;
    let event = &data["marks"][bad][11];
    let right = data["run"]["verdict"] == "violated"
        && event["step"]
            .as_str()
            .is_some_and(|step| step.contains("200001"))
        && data["run"]["line"] == event["line"];
    match right {
        true => Ok(()),
        false => Err(format!("not what failed: {event}, {}", data["run"]).into()),
    }
}

/// Payouts alone, in batches, bumped and with a child; what the operator bears: consolidations, moves and recoveries.
const PAYING: [&str; 8] = [
    "multisig/not-bumped",
    "multisig/recovery",
    "onchain/batch",
    "onchain/child-pays",
    "onchain/consolidate",
    "onchain/move-funds",
    "onchain/two-hundred-payouts",
    "receiving/refund-at-market",
];

/// What the report reads off the chain and the transactions that were built is what payouts settled with, and what lies in
/// the operator's account of fees.
fn fees() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace.jsonl");
    let trace = trace.to_str().ok_or("the name is UTF-8")?;
    for name in PAYING {
        let scenario = format!("scenarios/{name}.toml");
        succeeded(lockstep(root(), ["run", &scenario, "--trace", trace]).output()?)?;
        let output = succeeded(lockstep(root(), ["fees", trace, "--json"]).output()?)?;
        let report: Value = serde_json::from_slice(&output.stdout)?;
        let told = std::fs::read_to_string(root().join(format!("scenarios/{name}.trace")))?;
        let booked = booked_fees(&told)?;
        let reported: BTreeMap<String, u64> = serde_json::from_value(report["by_bearer"].clone())?;
        if reported != booked || booked.is_empty() {
            return Err(format!("{name}: reported {reported:?}, booked {booked:?}").into());
        }
    }
    Ok(())
}

/// What a canonical trace says of fees on chain, in satoshi: of each payout when it settled last, and of the operator.
fn booked_fees(trace: &str) -> Result<BTreeMap<String, u64>, Failed> {
    let (mut booked, mut payouts) = (BTreeMap::new(), BTreeSet::new());
    for line in trace.lines() {
        let line: Value = serde_json::from_str(line)?;
        let (of, is) = (&line["of"], &line["is"]);
        let payment = is["payment"].as_str().unwrap_or_default().to_owned();
        if of == "ledger/fees/onchain" {
            let msat = is["balance"].as_u64().unwrap_or(0);
            booked.insert("operator".to_owned(), msat / 1_000);
        } else if is["event"] == "payout_reserved" && is["rail"] == "onchain" {
            payouts.insert(payment);
        } else if is["event"] == "payment_settled" && payouts.contains(&payment) {
            booked.insert(payment, is["fee_msat"].as_u64().unwrap_or(0) / 1_000);
        }
    }
    Ok(booked)
}

fn story() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace.jsonl");
    let trace = trace.to_str().ok_or("the name is UTF-8")?;
    succeeded(lockstep(root(), ["run", QUICKSTART, "--seed", "1", "--trace", trace]).output()?)?;
    let arguments = ["explain", trace, "--payment", "order-1"];
    let output = succeeded(lockstep(root(), arguments).output()?)?;
    let text = String::from_utf8(output.stdout)?;
    let hops = text.matches("HTLC 400,").count();
    let wide = text.lines().find(|line| line.chars().count() > 100);
    if hops != 3 || !text.contains("settled: 400,000 sat") || wide.is_some() {
        return Err(format!("not the story of order-1:\n{text}").into());
    }
    let unknown = lockstep(root(), ["explain", trace, "--payment", "order-9"]).output()?;
    let said = String::from_utf8_lossy(&unknown.stderr);
    match unknown.status.code() == Some(2) && said.contains("order-1, payout-1") {
        true => Ok(()),
        false => Err(format!("an unknown payment: {said}").into()),
    }
}

/// The document after the scripts have run, and what the browser's console said.
fn rendered(program: &str, page: &Path, hash: &str) -> Result<(String, String), Failed> {
    let home = tempfile::tempdir()?;
    let url = format!("file://{}{hash}", page.display());
    let output = Command::new("timeout")
        .args([
            BROWSER_LIMIT,
            program,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
        ])
        .args([
            "--enable-logging=stderr",
            "--virtual-time-budget=5000",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", home.path().display()))
        .arg(url)
        .output()?;
    let output = succeeded(output)?;
    let console: String = String::from_utf8_lossy(&output.stderr)
        .lines()
        .filter(|line| line.contains("CONSOLE"))
        .collect();
    Ok((
        String::from_utf8_lossy(&output.stdout).into_owned(),
        console,
    ))
}

fn browser() -> Result<(), Failed> {
    let is_there = |program: &&str| Command::new(program).arg("--version").output().is_ok();
    let Some(program) = BROWSERS.into_iter().find(|program| is_there(program)) else {
        let names = BROWSERS.join(", ");
        eprintln!(
            "skipped: no browser ({names}) to show a page with; the page's scripts were not run"
        );
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    report(&failing(folder.path())?, folder.path())?;
    let page = folder.path().join("failing-simulated-1.html");
    let shown: [(&str, &[&str]); 3] = [
        ("", &["data-ready=", "failing.toml:28: ", "ledger-zero-sum"]),
        (
            "#payment=payout-1&theme=dark",
            &["data-theme=\"dark\"", "webhook transfer.settled"],
        ),
        (
            "#n=262&warm-up=1&axis=linear",
            &["charge created: 400,000 sat"],
        ),
    ];
    for (hash, words) in shown {
        let (document, console) = rendered(program, &page, hash)?;
        if !console.is_empty() {
            return Err(format!("{hash}: the console says: {console}").into());
        }
        let (_, body) = document.split_once("<body").ok_or("no document")?;
        // The data and scripts have these words too; what is shown stands before them.
        let visible = body.split("<script").next().unwrap_or_default();
        let head = document.split("<head>").next().unwrap_or_default();
        let seen = |word: &&&str| visible.contains(**word) || head.contains(**word);
        if let Some(missing) = words.iter().find(|word| !seen(word)) {
            return Err(format!("{hash}: `{missing}` is not shown:\n{visible}").into());
        }
    }
    Ok(())
}
