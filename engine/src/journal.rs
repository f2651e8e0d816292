//! Owns the record of accepted inputs: sequence, versions, the hash chain, and its verification. The input's type is
//! the caller's. Does not own where records are stored (the host) nor what replaying them does (`api`).
//!
//! A record is one line of JSON in a fixed field order:
//! `{"version":1,"seq":0,"at":<ms>,"previous":"<hash>","input":{..},"hash":"<hash>"}`. `hash` is the SHA-256 of the same
//! object without it; `previous` is the hash of the record before, 32 zero bytes for the first. Records cut off at the
//! end leave a chain that is whole, so they show only against a [`Head`] kept elsewhere.

use crate::time::Timestamp;
use bitcoin::hashes::{Hash as _, sha256};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The version written; others are not read.
pub const VERSION: u32 = 1;

/// SHA-256 of a record, as it stands in JSON: 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecordHash(pub sha256::Hash);

/// What is before the first record.
pub fn genesis() -> RecordHash {
    RecordHash(sha256::Hash::all_zeros())
}

/// An accepted input and its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record<I> {
    /// Of the format.
    pub version: u32,
    /// From 0 without gaps.
    pub seq: u64,
    /// When the input was accepted.
    pub at: Timestamp,
    /// Hash of the record before.
    pub previous: RecordHash,
    /// What was accepted.
    pub input: I,
}

/// A record ready to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedRecord {
    /// Its number.
    pub seq: u64,
    /// The line, without an end of line.
    pub bytes: Vec<u8>,
    /// Its hash.
    pub hash: RecordHash,
}

/// Where a chain ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Number of the next record.
    pub next_seq: u64,
    /// Hash of the last one.
    pub hash: RecordHash,
}

/// The chain's growing end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    head: Head,
}

/// The first bad record of a journal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {position} of the journal is bad: {fault}")]
pub struct JournalBroken {
    /// Counted from 0 in the order as stored.
    pub position: u64,
    /// Why.
    pub fault: Fault,
}

/// What is wrong with a record. Looked for in this order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The text ends too early, or records are absent at the end.
    #[error("it is cut off")]
    Truncated,
    /// Another version of the format.
    #[error("it has version {version}, this program reads version {VERSION}")]
    UnknownVersion {
        /// Which.
        version: u32,
    },
    /// It is no record, is not written as this program writes it, or its hash is not that of its content.
    #[error("it was altered ({what})")]
    Altered {
        /// What shows it.
        what: String,
    },
    /// The record that belongs here stands elsewhere.
    #[error("it is number {found} where number {expected} belongs, which stands elsewhere")]
    Reordered {
        /// Belongs here.
        expected: u64,
        /// Stands here.
        found: u64,
    },
    /// The record that belongs here is gone.
    #[error("it is number {found} where number {expected} belongs, which is gone")]
    Removed {
        /// Belongs here.
        expected: u64,
        /// Stands here.
        found: u64,
    },
    /// Number and content are in order, but it follows upon another record.
    #[error("it does not follow upon the record before it")]
    Unchained,
}

impl Default for Journal {
    fn default() -> Self {
        Journal::new()
    }
}

impl Journal {
    /// An empty journal.
    pub fn new() -> Journal {
        Journal {
            head: Head {
                next_seq: 0,
                hash: genesis(),
            },
        }
    }

    /// The journal that ends with `records`, after checking all of them; the records come with it.
    /// `head`, if the caller keeps one, shows whether records are absent at the end.
    pub fn from_records<I: Serialize + DeserializeOwned>(
        records: &[Vec<u8>],
        head: Option<Head>,
    ) -> Result<(Journal, Vec<Record<I>>), JournalBroken> {
        let mut journal = Journal::new();
        let mut opened = Vec::with_capacity(records.len());
        for (position, bytes) in (0_u64..).zip(records) {
            let (record, hash) = journal
                .check_next::<I>(bytes, records)
                .map_err(|fault| JournalBroken { position, fault })?;
            journal.advance(hash);
            opened.push(record);
        }
        match head {
            Some(head) if head != journal.head => Err(journal.not_at(head)),
            Some(_) | None => Ok((journal, opened)),
        }
    }

    /// Appends an input to the chain.
    ///
    /// # Panics
    /// If the input cannot be written as JSON: an error of the program.
    pub fn seal<I: Serialize>(&mut self, at: Timestamp, input: &I) -> SealedRecord {
        let seq = self.head.next_seq;
        let record = Record {
            version: VERSION,
            seq,
            at,
            previous: self.head.hash,
            input,
        };
        let (bytes, hash) = written(&record);
        self.advance(hash);
        SealedRecord { seq, bytes, hash }
    }

    /// Where the chain ends.
    pub fn head(&self) -> Head {
        self.head
    }

    fn advance(&mut self, hash: RecordHash) {
        let next_seq = self
            .head
            .next_seq
            .checked_add(1)
            .expect("records are counted in 64 bits");
        self.head = Head { next_seq, hash };
    }

    fn check_next<I: Serialize + DeserializeOwned>(
        &self,
        bytes: &[u8],
        all: &[Vec<u8>],
    ) -> Result<(Record<I>, RecordHash), Fault> {
        let (record, hash) = decode::<I>(bytes)?;
        let (expected, found) = (self.head.next_seq, record.seq);
        if found != expected {
            let elsewhere = all
                .iter()
                .any(|other| matches!(decode::<I>(other), Ok((r, _)) if r.seq == expected));
            return Err(if elsewhere {
                Fault::Reordered { expected, found }
            } else {
                Fault::Removed { expected, found }
            });
        }
        if record.previous != self.head.hash {
            return Err(Fault::Unchained);
        }
        Ok((record, hash))
    }

    fn not_at(&self, head: Head) -> JournalBroken {
        let position = self.head.next_seq;
        if head.next_seq > position {
            JournalBroken {
                position,
                fault: Fault::Truncated,
            }
        } else {
            JournalBroken {
                position: position.saturating_sub(1),
                fault: Fault::Unchained,
            }
        }
    }
}

/// Reads one record and checks that its content is what was sealed; its place in the chain is not looked at.
pub fn decode<I: Serialize + DeserializeOwned>(
    bytes: &[u8],
) -> Result<(Record<I>, RecordHash), Fault> {
    let altered = |what: String| Fault::Altered { what };
    let value: serde_json::Value = match serde_json::from_slice(bytes) {
        Ok(value) => value,
        Err(error) if error.is_eof() => return Err(Fault::Truncated),
        Err(error) => return Err(altered(error.to_string())),
    };
    let serde_json::Value::Object(mut fields) = value else {
        return Err(altered("not an object".to_owned()));
    };
    let version = fields
        .get("version")
        .and_then(serde_json::Value::as_u64)
        .and_then(|v| u32::try_from(v).ok());
    match version {
        Some(VERSION) => {}
        Some(version) => return Err(Fault::UnknownVersion { version }),
        None => return Err(altered("no version".to_owned())),
    }
    fields.remove("hash");
    let record: Record<I> = serde_json::from_value(serde_json::Value::Object(fields))
        .map_err(|error| altered(error.to_string()))?;
    let (canonical, hash) = written(&record);
    if canonical != bytes {
        return Err(altered(
            "its hash or its form is not that of its content".to_owned(),
        ));
    }
    Ok((record, hash))
}

fn written<I: Serialize>(record: &Record<I>) -> (Vec<u8>, RecordHash) {
    let mut bytes = serde_json::to_vec(record).expect("inputs are plain data");
    let hash = RecordHash(sha256::Hash::hash(&bytes));
    let closing = bytes.pop();
    assert_eq!(closing, Some(b'}'), "a record is an object");
    bytes.extend_from_slice(format!(",\"hash\":\"{}\"}}", hash.0).as_bytes());
    (bytes, hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> (Journal, Vec<Vec<u8>>) {
        let mut journal = Journal::new();
        let records = (0_u64..4)
            .map(|n| journal.seal(Timestamp(n), &format!("input {n}")).bytes)
            .collect();
        (journal, records)
    }

    fn check(records: &[Vec<u8>], head: Option<Head>, position: u64, fault: Fault) {
        let found = Journal::from_records::<String>(records, head).map(|_| ());
        assert_eq!(found, Err(JournalBroken { position, fault }));
    }

    #[test]
    fn a_whole_chain_is_read_back() {
        let (journal, records) = chain();
        let (read, opened) =
            Journal::from_records::<String>(&records, Some(journal.head())).expect("whole");
        assert_eq!(read, journal);
        assert_eq!(
            opened.iter().map(|r| r.input.as_str()).collect::<Vec<_>>(),
            ["input 0", "input 1", "input 2", "input 3"]
        );
    }

    #[test]
    fn removed_and_reordered_records_are_told_apart() {
        let (_, mut records) = chain();
        records.swap(1, 2);
        check(
            &records,
            None,
            1,
            Fault::Reordered {
                expected: 1,
                found: 2,
            },
        );
        let (_, mut records) = chain();
        records.remove(1);
        check(
            &records,
            None,
            1,
            Fault::Removed {
                expected: 1,
                found: 2,
            },
        );
        let (_, mut records) = chain();
        let again = records[1].clone();
        records.push(again);
        check(
            &records,
            None,
            4,
            Fault::Removed {
                expected: 4,
                found: 1,
            },
        );
    }

    #[test]
    fn cut_off_records_are_found() {
        let (journal, mut records) = chain();
        records[3].truncate(40);
        check(&records, None, 3, Fault::Truncated);
        records.pop();
        check(&records, Some(journal.head()), 3, Fault::Truncated);
    }

    #[test]
    fn altered_records_are_found_even_when_their_hash_is_made_new() {
        let (_, mut records) = chain();
        let text = String::from_utf8(records[1].clone())
            .expect("text")
            .replace("input 1", "input 9");
        records[1] = text.into_bytes();
        let found = Journal::from_records::<String>(&records, None).map(|_| ());
        assert!(
            matches!(
                found,
                Err(JournalBroken {
                    position: 1,
                    fault: Fault::Altered { .. }
                })
            ),
            "{found:?}"
        );

        let (record, _) = decode::<String>(&chain().1[1]).expect("whole");
        records[1] = written(&Record {
            input: "input 9".to_owned(),
            ..record
        })
        .0;
        check(&records, None, 2, Fault::Unchained);
    }

    #[test]
    fn the_last_record_is_bound_by_the_head() {
        let (journal, mut records) = chain();
        let (record, _) = decode::<String>(&records[3]).expect("whole");
        records[3] = written(&Record {
            input: "input 9".to_owned(),
            ..record
        })
        .0;
        check(&records, Some(journal.head()), 3, Fault::Unchained);
    }

    #[test]
    fn another_version_is_named() {
        let (_, mut records) = chain();
        let text = String::from_utf8(records[0].clone())
            .expect("text")
            .replace("\"version\":1", "\"version\":2");
        records[0] = text.into_bytes();
        check(&records, None, 0, Fault::UnknownVersion { version: 2 });
    }
}
