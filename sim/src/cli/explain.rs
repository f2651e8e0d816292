//! Owns `lockstep explain`: which trace, which payments, as text or JSON. Does not own the story (`report::explain`).

use super::BAD_USAGE;
use super::args::ExplainArguments;
use super::output::{Failure, Output};
use super::report::read_trace;
use crate::report::explain;
use crate::report::page::story;

/// Tells the story of one payment, or of each.
pub(super) fn run(arguments: &ExplainArguments, output: &mut Output) -> Result<u8, Failure> {
    let (lines, outcome) = read_trace(&arguments.trace)?;
    let story = story::build(&lines, outcome.as_ref());
    let wanted: Vec<usize> = match &arguments.payment {
        None => (0..story.payments.len()).collect(),
        Some(name) => {
            let found = story.payments.iter().position(|known| known == name);
            vec![found.ok_or_else(|| unknown(arguments, name, &story.payments))?]
        }
    };
    if arguments.json {
        let all: Vec<_> = wanted
            .into_iter()
            .map(|payment| explain::json(&story, &lines, payment))
            .collect();
        let text = serde_json::to_string_pretty(&all).expect("a value is JSON");
        return output.result(&text).map(|()| 0);
    }
    if wanted.is_empty() {
        let file = arguments.trace.display();
        output.say(&format!("{file}: there is no payment in it"))?;
    }
    for (index, payment) in wanted.into_iter().enumerate() {
        if index > 0 {
            output.say("")?;
        }
        output.say(explain::text(&story, &lines, payment).trim_end())?;
    }
    Ok(0)
}

fn unknown(arguments: &ExplainArguments, name: &str, known: &[String]) -> Failure {
    let known = match known {
        [] => "it has none; name another trace.".to_owned(),
        known => format!("name one of its payments: {}.", known.join(", ")),
    };
    let file = arguments.trace.display();
    let text = format!("there is no payment {name} in {file}\nRemedy: {known}");
    Failure::new(BAD_USAGE, text)
}
