//! Owns the HTML page of a run, one file with everything in it, and the index of several pages: the trace as data for
//! the page, its escaping, and putting style, script and data together. The page itself is in `page.html`, `page.css` and the
//! scripts beside this file. Does not own where the files go (`cli::report`).

mod amounts;
mod describe;
pub mod lines;
mod money;
mod payments;
#[cfg(test)]
pub(in crate::report) mod sample;
mod spans;
pub mod story;

pub use money::Series;
pub use spans::Span;

use super::failure;
use crate::run::outcome::{Outcome, Verdict};
use lines::Line;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use story::{Mark, Story};

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPTS: [&str; 4] = [
    include_str!("axis.js"),
    include_str!("draw.js"),
    include_str!("panels.js"),
    include_str!("page.js"),
];

/// What a page is made of.
pub struct Source<'a> {
    /// What it is called: a scenario file, a trace file, a bundle.
    pub name: &'a str,
    /// The records.
    pub lines: &'a [Line],
    /// How the run ended, if that is known.
    pub outcome: Option<&'a Outcome>,
    /// The plan or scenario of the run, to be read on the page.
    pub plan: Option<&'a str>,
}

/// The whole page.
pub fn page(source: &Source<'_>) -> String {
    let data = data(source).to_string();
    let scripts = SCRIPTS.concat();
    let title = escape(source.name);
    fill(
        TEMPLATE,
        &[
            ("{title}", &title),
            ("{style}", STYLE),
            ("{data}", &escape_script(&data)),
            ("{script}", &scripts),
        ],
    )
}

/// Replaces each mark once, and never inside of what was put in.
fn fill(template: &str, parts: &[(&str, &str)]) -> String {
    let mut text = String::new();
    let mut rest = template;
    for (mark, part) in parts {
        if let Some((before, after)) = rest.split_once(mark) {
            text.push_str(before);
            text.push_str(part);
            rest = after;
        }
    }
    text + rest
}

/// Text in HTML.
pub fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// JSON inside of a script element: nothing in it can end the element or begin a comment. `<` stands only in texts of
/// JSON, where it can be written as an escape; so can the two line ends that JSON allows and scripts did not.
fn escape_script(json: &str) -> String {
    json.replace('<', "\\u003c")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

/// Gives equal texts one number.
#[derive(Default)]
struct Texts {
    all: Vec<String>,
    known: BTreeMap<String, usize>,
}

impl Texts {
    fn number(&mut self, text: &str) -> usize {
        if let Some(known) = self.known.get(text) {
            return *known;
        }
        self.all.push(text.to_owned());
        self.known.insert(text.to_owned(), self.all.len() - 1);
        self.all.len() - 1
    }
}

/// Bits of a mark.
const LOST: u8 = 1;
const BAD: u8 = 2;
const WARM_UP: u8 = 4;

/// Browsers show no page of more records in reasonable time; it has then about 15 MB.
const MOST_LINES: usize = 100_000;

/// Of a record that is too long for a page: all but the bytes on links before the scenario's time begins. In networks of
/// hundreds of nodes nearly everything is that (gossip), and it is hidden on the page anyway.
fn thinned(lines: &[Line]) -> Option<Vec<Line>> {
    if lines.len() <= MOST_LINES {
        return None;
    }
    let warm_up = story::warm_up(lines);
    let is_kept = |(index, line): &(usize, &Line)| *index >= warm_up || line.subsystem != "links";
    let kept = lines.iter().enumerate().filter(is_kept);
    Some(kept.map(|(_, line)| line.clone()).collect())
}

/// What the page is drawn from. Marks are arrays, in the order that `page.js` reads them.
pub fn data(source: &Source<'_>) -> Value {
    let thinned = thinned(source.lines);
    let lines = thinned.as_deref().unwrap_or(source.lines);
    let story = story::build(lines, source.outcome);
    let mut texts = Texts::default();
    let mut subsystems = Texts::default();
    let marks: Vec<Value> = story
        .marks
        .iter()
        .enumerate()
        .map(|(index, mark)| {
            let line = &lines[mark.line];
            let flags = flags(mark, index < story.warm_up);
            json!([
                line.n,
                mark.at_ms,
                mark.from_ms.map_or(-1, |ms| ms as i64),
                subsystems.number(&line.subsystem),
                mark.lane,
                mark.to.map_or(-1, |lane| lane as i64),
                texts.number(&mark.text),
                flags,
                mark.weight,
                mark.payments,
                texts.number(&line.actor),
                line.event,
            ])
        })
        .collect();
    let Story {
        lanes,
        payments,
        bad,
        spans,
        money,
        ..
    } = story;
    json!({
        "format": 1,
        "name": source.name,
        "run": source.outcome.map(run),
        "plan": source.plan,
        "lanes": lanes,
        "subsystems": subsystems.all,
        "payments": payments,
        "texts": texts.all,
        "marks": marks,
        "bad": bad,
        "faults": spans,
        "money": money,
    })
}

fn flags(mark: &Mark, warm_up: bool) -> u8 {
    let bit = |set: bool, bit: u8| if set { bit } else { 0 };
    bit(mark.lost, LOST) | bit(mark.bad, BAD) | bit(warm_up, WARM_UP)
}

fn run(outcome: &Outcome) -> Value {
    let (line, step, what) = failed(&outcome.verdict);
    json!({
        "scenario": outcome.scenario,
        "world": outcome.world,
        "seed": outcome.seed,
        "verdict": outcome.verdict.word(),
        "line": line,
        "step": step,
        "what": what,
        "virtual_ms": outcome.virtual_ms,
        "records": outcome.records,
        "trace_hash": outcome.trace_hash,
        "again": failure::reproduce(outcome),
        "faults": outcome.faults,
        "checks": outcome.checks,
    })
}

fn failed(verdict: &Verdict) -> (Option<usize>, &str, &str) {
    match verdict {
        Verdict::Violated { line, step, what } | Verdict::Liveness { line, step, what } => {
            (*line, step, what)
        }
        Verdict::NonDeterministic { what } | Verdict::Harness { what } => (None, "", what),
        Verdict::Pass | Verdict::Interrupted => (None, "", ""),
    }
}

/// A page in the index.
pub struct Entry {
    /// The page's file name, beside the index.
    pub file: String,
    /// What it is called.
    pub name: String,
    /// World and seed, or nothing.
    pub run: String,
    /// One word.
    pub verdict: String,
    /// What failed, in a line.
    pub what: String,
}

impl Entry {
    /// Of a run whose page is in `file`.
    pub fn new(file: &str, name: &str, outcome: Option<&Outcome>) -> Entry {
        let first_line = |text: &str| text.lines().next().unwrap_or_default().to_owned();
        Entry {
            file: file.to_owned(),
            name: name.to_owned(),
            run: outcome.map_or_else(String::new, |outcome| {
                format!("{}, seed {}", outcome.world, outcome.seed)
            }),
            verdict: outcome
                .map_or("trace", |outcome| outcome.verdict.word())
                .to_owned(),
            what: outcome.map_or_else(String::new, |outcome| {
                first_line(failed(&outcome.verdict).2)
            }),
        }
    }
}

/// The index of all pages.
pub fn index(entries: &[Entry]) -> String {
    let rows: String = entries
        .iter()
        .map(|entry| {
            format!(
                "<tr><td><a href=\"{}\">{}</a></td><td>{}</td><td><span class=\"verdict {}\">{}</span></td><td>{}</td></tr>\n",
                escape(&entry.file),
                escape(&entry.name),
                escape(&entry.run),
                escape(&entry.verdict),
                escape(&entry.verdict),
                escape(&entry.what),
            )
        })
        .collect();
    fill(
        include_str!("index.html"),
        &[("{style}", STYLE), ("{rows}", &rows)],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(lines: &[Line]) -> Source<'_> {
        Source {
            name: "a </title> & \"b\"",
            lines,
            outcome: None,
            plan: None,
        }
    }

    #[test]
    fn a_very_long_record_lacks_the_links_of_its_warm_up_only() {
        let sample = sample::lines();
        assert!(thinned(&sample).is_none());
        let gossip = std::iter::repeat_n(sample[0].clone(), MOST_LINES);
        let long: Vec<Line> = gossip.chain(sample.iter().cloned()).collect();
        let kept = thinned(&long).expect("it is too long");
        assert_eq!(kept, sample[1..], "one link later is kept");
    }

    #[test]
    fn the_data_has_every_record_and_texts_once() {
        let lines = sample::lines();
        let data = data(&source(&lines));
        let marks = data["marks"].as_array().expect("marks");
        assert_eq!(marks.len(), lines.len());
        assert_eq!(data["payments"], json!(["p-1", "p-2"]));
        let settled = &marks[8];
        assert_eq!((&settled[0], &settled[1]), (&json!(8), &json!(1_040)));
        let text = settled[6].as_u64().expect("a number") as usize;
        assert_eq!(data["texts"][text], "settled: 5 sat");
        assert_eq!(settled[11], lines[8].event);
        let texts = data["texts"].as_array().expect("texts");
        let all: std::collections::BTreeSet<_> = texts.iter().map(Value::to_string).collect();
        assert_eq!(all.len(), texts.len());
        assert_eq!(marks[0][7], json!(WARM_UP));
    }

    #[test]
    fn nothing_in_a_trace_can_end_the_script_or_become_html() {
        let mut lines = sample::lines();
        lines[3].event =
            json!({ "step": "</script><script>alert(1)</script><!-- \u{2028} {script}" });
        let outcome = sample::outcome();
        let page = page(&Source {
            outcome: Some(&outcome),
            ..source(&lines)
        });
        let start = "<script id=\"data\" type=\"application/json\">";
        let (head, rest) = page.split_once(start).expect("the data");
        let (data, tail) = rest.split_once("</script>").expect("its end");
        assert!(!data.contains('<') && !data.contains('\u{2028}'));
        let parsed: Value = serde_json::from_str(data).expect("what is embedded is JSON");
        assert_eq!(parsed["marks"][3][11], lines[3].event);
        assert_eq!(parsed["run"]["what"], "not </script> <b>&");
        assert!(head.contains("<title>a &lt;/title&gt; &amp; &quot;b&quot; - Lockstep</title>"));
        assert_eq!(
            tail.matches("</script>").count(),
            1,
            "the page's own script alone"
        );
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        let lines = sample::lines();
        let page = page(&source(&lines));
        for outside in ["http://", "https://", "src=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn the_index_names_each_run_and_what_failed() {
        let outcome = sample::outcome();
        let entries = [
            Entry::new("a.html", "a & b", Some(&outcome)),
            Entry::new("t.html", "t.jsonl", None),
        ];
        let index = index(&entries);
        assert!(index.contains("<a href=\"a.html\">a &amp; b</a>"));
        assert!(index.contains("not &lt;/script&gt; &lt;b&gt;&amp;"));
        assert!(index.contains(">trace</span>"));
    }
}
