//! Owns what is wrong with a scenario file: every problem with its place, and how all of them are shown.
//! Does not own finding them (`read`, `check`).

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use std::fmt;
use std::ops::Range;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, in general.
    pub title: String,
    /// Bytes of the file that are wrong.
    pub span: Range<usize>,
    /// What is wrong with exactly these.
    pub label: String,
    /// A second place that explains the first.
    pub also: Option<(Range<usize>, String)>,
    /// The remedy.
    pub help: String,
}

/// Something that is wrong with another file, which the scenario names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// What is wrong; its place is the one where the scenario names the file.
    pub problem: Problem,
    /// The file, as the scenario names it.
    pub file: String,
    /// The line of that file, from 1.
    pub line: usize,
    /// The text of that line.
    pub line_text: String,
    /// Bytes of that line that are wrong.
    pub span: Range<usize>,
    /// What is wrong with exactly these.
    pub label: String,
}

/// The problems found so far.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: Vec<Problem>,
    /// Where reading failed, once reading is over.
    unreadable: Vec<Range<usize>>,
    /// Those that are within another file.
    imported: Vec<Imported>,
}

impl Problems {
    /// Takes a problem in. One that comes after reading, about something of which a part could not be read, would only be a
    /// consequence of that: it is left out.
    pub(super) fn add(&mut self, problem: Problem) {
        let wraps = |part: &Range<usize>| {
            problem.span.start <= part.start
                && part.end <= problem.span.end
                && *part != problem.span
        };
        if !self.unreadable.iter().any(wraps) {
            self.found.push(problem);
        }
    }

    /// Reading is over: what was found so far could not be read.
    pub(super) fn end_of_reading(&mut self) {
        self.unreadable = self
            .found
            .iter()
            .map(|problem| problem.span.clone())
            .collect();
    }

    /// Whether everything within `span` could be read.
    pub(super) fn is_readable(&self, span: &Range<usize>) -> bool {
        !self
            .unreadable
            .iter()
            .any(|part| span.start <= part.start && part.end <= span.end)
    }

    /// A problem at one place.
    pub(super) fn at(
        &mut self,
        span: &Range<usize>,
        title: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(Problem {
            title: title.into(),
            span: span.clone(),
            label: label.into(),
            also: None,
            help: help.into(),
        });
    }

    /// Takes in a problem within another file: that file's name and text, the bytes of it that are wrong, and why.
    pub(super) fn add_imported(
        &mut self,
        problem: Problem,
        (file, text): (&str, &str),
        (span, label): (Range<usize>, String),
    ) {
        let floor = |at| floor_boundary(text, at);
        let start = floor(span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |end| end + 1);
        let length = text[line_start..].find('\n');
        let line_end = length.map_or(text.len(), |length| line_start + length);
        let end = floor(span.end).clamp(start, line_end);
        self.imported.push(Imported {
            problem,
            file: file.to_owned(),
            line: 1 + text[..line_start].matches('\n').count(),
            line_text: text[line_start..line_end].to_owned(),
            span: start - line_start..end - line_start,
            label,
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty() && self.imported.is_empty()
    }

    /// All of them, in the file's order.
    pub(super) fn into_invalid(mut self, file: &str, text: &str) -> InvalidScenario {
        self.found
            .sort_by_key(|problem| (problem.span.start, problem.span.end));
        InvalidScenario {
            file: file.to_owned(),
            text: text.to_owned(),
            problems: self.found,
            imported: self.imported,
        }
    }
}

/// The last character boundary of `text` that is not after `at`.
fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Whether the rendered problems may hold terminal escapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// Plain text, for files, pipes and `NO_COLOR`.
    Never,
    /// ANSI escapes.
    Always,
}

/// A scenario file that was refused, with everything that is wrong with it. Displays as plain text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidScenario {
    /// The file as the user named it.
    pub file: String,
    /// Its whole text.
    pub text: String,
    /// In the file's order; empty only if something is wrong with a file that it names.
    pub problems: Vec<Problem>,
    /// What is wrong within files that it names.
    pub imported: Vec<Imported>,
}

impl InvalidScenario {
    /// All problems with line, column, source line, caret and remedy, and a last line that counts them.
    pub fn render(&self, colour: Colour) -> String {
        let renderer = match colour {
            Colour::Never => Renderer::plain(),
            Colour::Always => Renderer::styled(),
        };
        let mut out = String::new();
        for problem in &self.problems {
            out.push_str(&renderer.render(&[self.group(problem)]));
            out.push_str("\n\n");
        }
        for imported in &self.imported {
            out.push_str(&renderer.render(&[self.imported_group(imported)]));
            out.push_str("\n\n");
        }
        let count = self.problems.len() + self.imported.len();
        out.push_str(&format!(
            "{}: {count} problem{}\n",
            self.file,
            if count == 1 { "" } else { "s" }
        ));
        out
    }

    fn group<'a>(&'a self, problem: &'a Problem) -> annotate_snippets::Group<'a> {
        let primary = AnnotationKind::Primary
            .span(self.clamp(&problem.span))
            .label(&problem.label);
        let also = problem
            .also
            .iter()
            .map(|(span, label)| AnnotationKind::Context.span(self.clamp(span)).label(label));
        let snippet = Snippet::source(&self.text)
            .path(&self.file)
            .annotation(primary)
            .annotations(also);
        Level::ERROR
            .primary_title(&problem.title)
            .element(snippet)
            .element(Level::HELP.message(&problem.help))
    }

    fn imported_group<'a>(&'a self, imported: &'a Imported) -> annotate_snippets::Group<'a> {
        let within = Snippet::source(&imported.line_text)
            .path(&imported.file)
            .line_start(imported.line)
            .annotation(
                AnnotationKind::Primary
                    .span(imported.span.clone())
                    .label(&imported.label),
            );
        let problem = &imported.problem;
        let named = Snippet::source(&self.text).path(&self.file).annotation(
            AnnotationKind::Context
                .span(self.clamp(&problem.span))
                .label(&problem.label),
        );
        Level::ERROR
            .primary_title(&problem.title)
            .element(within)
            .element(named)
            .element(Level::HELP.message(&problem.help))
    }

    /// Within the text, on character boundaries, and on one line (a whole `[[steps]]` block would drown its message).
    fn clamp(&self, span: &Range<usize>) -> Range<usize> {
        let floor = |at| floor_boundary(&self.text, at);
        let (start, end) = (floor(span.start), floor(span.end).max(floor(span.start)));
        let line_end = self.text[start..end]
            .find('\n')
            .map_or(end, |length| start + length);
        start..line_end
    }
}

impl fmt::Display for InvalidScenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Colour::Never))
    }
}

impl std::error::Error for InvalidScenario {}

/// How alike two words must be (Ratcliff and Obershelp's ratio) for one to be offered in place of the other.
const ALIKE: f32 = 0.65;

/// `known` as a list, the words most like `word` first, and the nearest one if it is near enough to be meant.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> (Vec<&'a str>, Option<&'a str>) {
    let ratio = |candidate: &str| {
        let (a, b) = (word.to_lowercase(), candidate.to_lowercase());
        similar::TextDiff::from_chars(&a, &b).ratio()
    };
    let mut ranked: Vec<(f32, &str)> = known
        .iter()
        .map(|candidate| (ratio(candidate), *candidate))
        .collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    let best = ranked
        .first()
        .filter(|(ratio, _)| *ratio >= ALIKE)
        .map(|(_, word)| *word);
    (ranked.into_iter().map(|(_, word)| word).collect(), best)
}

/// `a`, `b` or `c`.
pub(super) fn listed(words: &[&str], none: &str) -> String {
    match words {
        [] => none.to_owned(),
        [one] => format!("`{one}`"),
        [most @ .., last] => format!("`{}` and `{last}`", most.join("`, `")),
    }
}
