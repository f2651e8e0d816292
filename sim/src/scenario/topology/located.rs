//! Owns JSON whose values know where they stand, so that what is wrong with a file of somebody else's is shown at its line
//! and column. Does not own what is in such a file (`lnd`, `sim_ln`).

use super::Edge;
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

/// Something that is wrong with an imported file.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) title: String,
    /// Bytes of the imported file.
    pub(super) span: Range<usize>,
    pub(super) label: String,
    pub(super) help: String,
}

/// A whole file of JSON.
#[derive(Clone, Copy)]
pub(super) struct Document<'a>(pub(super) &'a str);

impl<'a> Document<'a> {
    /// Where a part of it stands.
    pub(super) fn place(self, part: &RawValue) -> Range<usize> {
        let start = (part.get().as_ptr() as usize).saturating_sub(self.0.as_ptr() as usize);
        start..start + part.get().len()
    }

    /// The whole, read as what it must be.
    pub(super) fn whole<T: Deserialize<'a>>(self, remedy: &str) -> Result<T, Wrong> {
        read(self.0, 0, remedy)
    }

    /// A part, read as what it must be.
    pub(super) fn part<T: Deserialize<'a>>(
        self,
        part: &'a RawValue,
        remedy: &str,
    ) -> Result<T, Wrong> {
        read(part.get(), self.place(part).start, remedy)
    }

    /// What is wrong with a part.
    pub(super) fn wrong(
        self,
        part: &RawValue,
        title: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) -> Wrong {
        Wrong {
            title: title.into(),
            span: self.place(part),
            label: label.into(),
            help: help.into(),
        }
    }

    /// Public key of a node, as 66 hexadecimal digits (BOLT 7 `node_id`), in small letters.
    pub(super) fn key(self, part: &'a RawValue) -> Result<String, Wrong> {
        let help = "write 66 hexadecimal digits that begin with 02 or 03";
        let key: String = self.part(part, help)?;
        let is_key = key.len() == 66
            && (key.starts_with("02") || key.starts_with("03"))
            && key.chars().all(|c| c.is_ascii_hexdigit());
        if is_key {
            return Ok(key.to_ascii_lowercase());
        }
        Err(self.wrong(
            part,
            "this is no public key",
            "not a compressed point",
            help,
        ))
    }

    /// A number that fits so many.
    pub(super) fn at_most(self, part: &'a RawValue, most: u64, what: &str) -> Result<u64, Wrong> {
        let help = format!("write a whole number of at most {most}");
        let Whole(number) = self.part(part, &help)?;
        if number <= most {
            return Ok(number);
        }
        let title = format!("this is too large for {what}");
        Err(self.wrong(part, title, format!("more than {most}"), help))
    }
}

fn read<'a, T: Deserialize<'a>>(text: &'a str, start: usize, remedy: &str) -> Result<T, Wrong> {
    serde_json::from_str(text).map_err(|error| {
        let shown = error.to_string();
        let said = shown.rsplit_once(" at line ").map_or(&*shown, |cut| cut.0);
        let at = start + offset(text, error.line(), error.column());
        // Of a single value all of it.
        let span = match text.starts_with(['{', '[']) || start == 0 {
            true => at..at + 1,
            false => start..start + text.len(),
        };
        Wrong {
            title: if error.is_data() {
                "this is not as it must be".to_owned()
            } else {
                "this is not JSON".to_owned()
            },
            span,
            label: said.to_owned(),
            help: remedy.to_owned(),
        }
    })
}

/// The byte before which an error of serde_json was found; lines and columns count from 1.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let before: usize = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    (before + column.saturating_sub(1)).min(text.len().saturating_sub(1))
}

/// A number that is not negative, bare or as text (LND writes 64-bit numbers as text).
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole(pub(super) u64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Whole;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number, not negative")
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Whole, E> {
                Ok(Whole(number))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Whole, E> {
                let plain = text.chars().all(|c| c.is_ascii_digit());
                let number = text.parse().ok().filter(|_| plain);
                number
                    .map(Whole)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// Longest alias that is kept (BOLT 7: 32 bytes).
const MAX_ALIAS_CHARS: usize = 32;

/// Digits of its key that name a node without an alias of its own.
const KEY_DIGITS: usize = 12;

/// The name that an alias gives: other characters than those of names become one `-`.
fn name_of_alias(alias: &str) -> String {
    let mut name = String::new();
    for c in alias.chars() {
        let is_legal = c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        match is_legal {
            true => name.push(c),
            false if name.ends_with('-') => {}
            false => name.push('-'),
        }
    }
    let name = name.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let end = name.len().min(MAX_ALIAS_CHARS);
    name[..end].trim_end_matches('-').to_owned()
}

/// Names of nodes: the alias, if no other node has the same, else the first digits of the key.
pub(super) fn names_of_nodes(aliases: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut users: BTreeMap<String, usize> = BTreeMap::new();
    for alias in aliases.values() {
        *users.entry(name_of_alias(alias)).or_default() += 1;
    }
    let name = |(key, alias): (&String, &String)| {
        let wanted = name_of_alias(alias);
        let name = match !wanted.is_empty() && users[&wanted] == 1 {
            true => wanted,
            false => key[..KEY_DIGITS].to_owned(),
        };
        (key.clone(), name)
    };
    aliases.iter().map(name).collect()
}

/// A channel's name: its short channel id as block, transaction and output (BOLT 7).
pub(super) fn name_of_channel(id: u64) -> String {
    format!("{}x{}x{}", id >> 40, id >> 16 & 0xff_ffff, id & 0xffff)
}

/// Nodes with a channel, in the order in which they are listed.
pub(super) fn joined(listed: Vec<String>, channels: &[Edge]) -> Vec<String> {
    let ends = channels.iter().flat_map(|edge| [&edge.from, &edge.to]);
    let ends: BTreeSet<&String> = ends.collect();
    let is_joined = |name: &String| ends.contains(name);
    listed.into_iter().filter(is_joined).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_become_names_and_the_same_ones_do_not() {
        assert_eq!(name_of_alias("Alice's node ⚡ 1"), "Alice-s-node-1");
        assert_eq!(name_of_alias("⚡⚡"), "");
        assert_eq!(name_of_alias("--x--"), "x");
        let key = |digit: char| format!("02{}", digit.to_string().repeat(64));
        let aliases = [('a', "bob"), ('b', "carol"), ('c', "bob"), ('d', "")];
        let aliases = aliases.map(|(digit, alias)| (key(digit), alias.to_owned()));
        let names = names_of_nodes(&aliases.into_iter().collect());
        let names: Vec<&str> = names.values().map(String::as_str).collect();
        assert_eq!(
            names,
            ["02aaaaaaaaaa", "carol", "02cccccccccc", "02dddddddddd"]
        );
    }

    #[test]
    fn short_channel_ids_are_written_as_in_bolt_7() {
        assert_eq!(name_of_channel(777_783_530_501_636_097), "707390x1971x1");
        assert_eq!(name_of_channel(1), "0x0x1");
    }

    #[test]
    fn numbers_are_bare_or_text() {
        let whole = |text| serde_json::from_str::<Whole>(text).map(|Whole(n)| n).ok();
        assert_eq!(whole("7"), Some(7));
        assert_eq!(whole("\"7\""), Some(7));
        for wrong in ["-7", "\"-7\"", "\"+7\"", "7.5", "\"\"", "true"] {
            assert_eq!(whole(wrong), None, "{wrong}");
        }
    }
}
