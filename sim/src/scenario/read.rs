//! Owns reading a parsed TOML tree into the text model: which keys a table knows, which it needs, and what kind of value
//! each holds. Every finding is collected; nothing stops at the first. Does not own what the values mean (`check`).

use super::problem::{Problems, listed, nearest};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use std::borrow::Cow;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value as typed, and the bytes where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    /// What was typed.
    pub(super) value: T,
    /// Where, in bytes of the file.
    pub(super) span: Range<usize>,
}

/// A key that may be left out.
pub(super) type Optional<T> = Option<At<T>>;

/// A key that must be there. `None` only after its absence was reported.
#[derive(Clone, Debug)]
pub(super) struct Required<T>(pub(super) Option<At<T>>);

/// A value in the tree, with its place and the key it stands under.
#[derive(Clone, Copy)]
pub(super) struct Node<'a> {
    pub(super) value: &'a DeValue<'a>,
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) key: &'a str,
}

/// A table with its entries in the file's order.
pub(super) struct Table<'a> {
    pub(super) entries: Vec<(&'a str, Range<usize>, Node<'a>)>,
    pub(super) span: Range<usize>,
    key: &'a str,
}

/// What can stand as a value.
pub(super) trait Read: Sized {
    /// The value, or `None` after its problems were reported.
    fn read(node: Node<'_>, problems: &mut Problems) -> Option<Self>;
}

/// What can stand as a field of a table.
pub(super) trait Field: Sized {
    const REQUIRED: bool;
    fn from_entry(entry: Option<Node<'_>>, problems: &mut Problems) -> Self;
}

impl<T: Read> Field for Optional<T> {
    const REQUIRED: bool = false;
    fn from_entry(entry: Option<Node<'_>>, problems: &mut Problems) -> Self {
        entry.and_then(|node| read_at(node, problems))
    }
}

impl<T: Read> Field for Required<T> {
    const REQUIRED: bool = true;
    fn from_entry(entry: Option<Node<'_>>, problems: &mut Problems) -> Self {
        Self(entry.and_then(|node| read_at(node, problems)))
    }
}

pub(super) fn read_at<T: Read>(node: Node<'_>, problems: &mut Problems) -> Option<At<T>> {
    T::read(node, problems).map(|value| At {
        value,
        span: node.span(),
    })
}

impl<'a> Node<'a> {
    pub(super) fn new(key: &'a str, value: &'a Spanned<DeValue<'a>>) -> Self {
        Self {
            value: value.get_ref(),
            start: value.span().start,
            end: value.span().end,
            key,
        }
    }

    pub(super) fn span(&self) -> Range<usize> {
        self.start..self.end
    }

    /// Reports that something of another kind was expected.
    pub(super) fn mistyped(&self, expected: &str, example: &str, problems: &mut Problems) {
        let found = match self.value {
            DeValue::String(_) => "text",
            DeValue::Integer(_) => "a bare integer",
            DeValue::Float(_) => "a bare number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let title = format!("`{}` must be {expected}", self.key);
        problems.at(
            &self.span(),
            title,
            format!("this is {found}"),
            format!("write `{} = {example}`", self.key),
        );
    }

    pub(super) fn table(&self, problems: &mut Problems) -> Option<Table<'a>> {
        let DeValue::Table(table) = self.value else {
            self.mistyped("a table", "{ … }", problems);
            return None;
        };
        Some(Table::new(self.key, table, self.span()))
    }

    pub(super) fn list(&self, example: &str, problems: &mut Problems) -> Option<Vec<Node<'a>>> {
        let DeValue::Array(items) = self.value else {
            self.mistyped("a list", example, problems);
            return None;
        };
        Some(items.iter().map(|item| Node::new(self.key, item)).collect())
    }
}

impl<'a> Table<'a> {
    pub(super) fn new(key: &'a str, table: &'a DeTable<'a>, span: Range<usize>) -> Self {
        let entry = |(key, value): (&'a Spanned<Cow<'a, str>>, &'a Spanned<DeValue<'a>>)| {
            let name: &'a str = key.get_ref();
            (name, key.span(), Node::new(name, value))
        };
        let mut entries: Vec<_> = table.iter().map(entry).collect();
        entries.sort_by_key(|(_, span, _)| span.start);
        Self { entries, span, key }
    }

    pub(super) fn get(&self, key: &str) -> Option<Node<'a>> {
        self.entries
            .iter()
            .find(|(name, ..)| *name == key)
            .map(|(.., node)| *node)
    }

    /// Reports every key that the table does not know and every one that it needs and does not have.
    pub(super) fn check_keys(
        &self,
        known: &[&'static str],
        required: &[&'static str],
        problems: &mut Problems,
    ) {
        for (name, span, _) in &self.entries {
            if !known.contains(name) {
                problems.at(
                    span,
                    format!("unknown key `{name}` in {}", self.place()),
                    "not a key of this table",
                    unknown_key_help(name, known),
                );
            }
        }
        let missing: Vec<&str> = required
            .iter()
            .copied()
            .filter(|key| self.get(key).is_none())
            .collect();
        if !missing.is_empty() {
            let title = format!("{} lacks {}", self.place(), listed(&missing, ""));
            problems.at(
                &self.span,
                title,
                "in this table",
                format!("add {}", self.additions(&missing)),
            );
        }
    }

    fn additions(&self, missing: &[&str]) -> String {
        missing
            .iter()
            .map(|key| format!("`{key} = …`"))
            .collect::<Vec<_>>()
            .join(" and ")
    }

    /// How messages name this table.
    fn place(&self) -> String {
        if self.key.is_empty() {
            "the scenario".to_owned()
        } else {
            format!("`{}`", self.key)
        }
    }
}

/// Keys of the file's top level: the usual victims of TOML's rule that keys after `[table]` belong to that table.
pub(super) const TOP_LEVEL: &[&str] = super::text::Scenario::KEYS;

fn unknown_key_help(name: &str, known: &[&'static str]) -> String {
    let (ranked, best) = nearest(name, known);
    if best.is_none() && TOP_LEVEL.contains(&name) {
        return format!(
            "`{name}` belongs to the top of the file, but in TOML a key below a `[table]` line is part of that table: move it above \
             the first `[table]` line, or write tables as dotted keys (`nodes.a = {{ … }}`) and steps as `[[steps]]`"
        );
    }
    match best {
        Some(best) => format!("did you mean `{best}`? known keys: {}", ranked.join(", ")),
        None if ranked.is_empty() => "this table takes no keys: leave it empty".to_owned(),
        None => format!("known keys: {}", ranked.join(", ")),
    }
}

/// Defines a table of the text model: its fields, the reader that knows exactly these keys, and its JSON schema.
macro_rules! table {
    ($(#[$meta:meta])* $name:ident { $( $(#[$field_meta:meta])* $key:literal $field:ident: $type:ty, )* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        pub(super) struct $name { $( $(#[$field_meta])* #[schemars(rename = $key)] pub(super) $field: $type, )* }

        impl $name {
            /// Every key that this table knows.
            pub(super) const KEYS: &'static [&'static str] = &[$($key),*];

            /// From a table whose keys were or were not checked before.
            #[allow(unused_variables, reason = "a table may have no keys")]
            pub(super) fn from_table(table: &crate::scenario::read::Table<'_>, problems: &mut crate::scenario::problem::Problems) -> Self {
                let required: &[(&'static str, bool)] = &[$(($key, <$type as crate::scenario::read::Field>::REQUIRED)),*];
                let required: Vec<&'static str> = required.iter().filter(|(_, required)| *required).map(|(key, _)| *key).collect();
                table.check_keys(Self::KEYS, &required, problems);
                Self { $( $field: crate::scenario::read::Field::from_entry(table.get($key), problems), )* }
            }
        }

        impl crate::scenario::read::Read for $name {
            fn read(node: crate::scenario::read::Node<'_>, problems: &mut crate::scenario::problem::Problems) -> Option<Self> {
                Some(Self::from_table(&node.table(problems)?, problems))
            }
        }
    };
}
pub(super) use table;

/// Defines a word that a scenario chooses from a list.
macro_rules! word {
    ($(#[$meta:meta])* $visibility:vis $name:ident { $( $(#[doc = $doc:literal])+ $word:literal $variant:ident, )* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $visibility enum $name { $( $(#[doc = $doc])+ $variant, )* }

        impl $name {
            /// Every value, in order of declaration.
            $visibility const ALL: &'static [$name] = &[$($name::$variant),*];

            /// As it is typed.
            $visibility const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl crate::scenario::read::Read for $name {
            fn read(node: crate::scenario::read::Node<'_>, problems: &mut crate::scenario::problem::Problems) -> Option<Self> {
                crate::scenario::read::read_word(node, Self::ALL, Self::as_str, problems)
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "oneOf": [ $( { "const": $word, "description": concat!($($doc),+).trim() } ),* ] })
            }
        }
    };
}
pub(super) use word;

pub(super) fn read_word<W: Copy>(
    node: Node<'_>,
    all: &[W],
    as_str: fn(W) -> &'static str,
    problems: &mut Problems,
) -> Option<W> {
    let words: Vec<&str> = all.iter().map(|word| as_str(*word)).collect();
    let DeValue::String(text) = node.value else {
        node.mistyped("text", &format!("\"{}\"", words[0]), problems);
        return None;
    };
    let found = all.iter().copied().find(|word| as_str(*word) == text);
    if found.is_none() {
        let (ranked, best) = nearest(text, &words);
        let meant = best.map_or(String::new(), |best| format!("did you mean \"{best}\"? "));
        let title = format!("unknown value \"{text}\" for `{}`", node.key);
        problems.at(
            &node.span(),
            title,
            "not one of the known values",
            format!("{meant}known: {}", ranked.join(", ")),
        );
    }
    found
}

impl Read for String {
    fn read(node: Node<'_>, problems: &mut Problems) -> Option<Self> {
        match node.value {
            DeValue::String(text) => Some(text.clone().into_owned()),
            _ => {
                node.mistyped("text", "\"…\"", problems);
                None
            }
        }
    }
}

impl Read for bool {
    fn read(node: Node<'_>, problems: &mut Problems) -> Option<Self> {
        if let DeValue::Boolean(value) = node.value {
            return Some(*value);
        }
        node.mistyped("true or false", "true", problems);
        None
    }
}

impl Read for u64 {
    fn read(node: Node<'_>, problems: &mut Problems) -> Option<Self> {
        let whole = match node.value {
            DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        if whole.is_none() {
            let title = format!("`{}` must be a whole number, not negative", node.key);
            problems.at(
                &node.span(),
                title,
                "this is none",
                format!("write `{} = 1`, without quotes or a unit", node.key),
            );
        }
        whole
    }
}

impl<T: Read> Read for Vec<At<T>> {
    fn read(node: Node<'_>, problems: &mut Problems) -> Option<Self> {
        let items = node.list("[ … ]", problems)?;
        Some(
            items
                .into_iter()
                .filter_map(|item| read_at(item, problems))
                .collect(),
        )
    }
}

/// Entries under names that the file chooses, in the file's order. `None` only after the entry was reported: its name still
/// counts as defined.
#[derive(Clone, Debug)]
pub(super) struct Named<T>(pub(super) Vec<(At<String>, Optional<T>)>);

impl<T> Named<T> {
    /// The entries that could be read.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&At<String>, &At<T>)> {
        self.0
            .iter()
            .filter_map(|(name, value)| value.as_ref().map(|value| (name, value)))
    }
}

impl<T: Read> Read for Named<T> {
    fn read(node: Node<'_>, problems: &mut Problems) -> Option<Self> {
        let table = node.table(problems)?;
        let entry = |(name, span, node): &(&str, Range<usize>, Node<'_>)| {
            let name = At {
                value: (*name).to_owned(),
                span: span.clone(),
            };
            (name, read_at(*node, problems))
        };
        Some(Self(table.entries.iter().map(entry).collect()))
    }
}

macro_rules! schema_of_inner {
    ($($wrapper:ident),*) => {$(
        impl<T: JsonSchema> JsonSchema for $wrapper<T> {
            fn inline_schema() -> bool {
                T::inline_schema()
            }
            fn schema_name() -> Cow<'static, str> {
                T::schema_name()
            }
            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                T::json_schema(generator)
            }
        }
    )*};
}
schema_of_inner!(At, Required);

impl<T: JsonSchema> JsonSchema for Named<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("Named{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "object", "additionalProperties": generator.subschema_for::<T>() })
    }
}
