//! Owns the targets of the journal: records as stored, and the inputs that they hold.

use crate::attack::{Verdict, corpus};
use crate::outside;
use bitcoin::hashes::{Hash as _, sha256};
use lockstep_engine::api::Input;
use lockstep_engine::journal::{Journal, decode};
use std::sync::LazyLock;

/// The records that were sealed: any other text that is believed would be a forged SHA-256.
static SEALED: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let files = corpus("journal-record").into_iter();
    let sealed = files.filter(|(name, _)| name.starts_with("ok-"));
    sealed.map(|(_, bytes)| bytes).collect()
});

/// Believed only as it was sealed. The same content under a hash made anew is believed if it is written as a record is, and
/// then it is a record.
pub(crate) fn journal_record(bytes: &[u8]) -> Verdict {
    let decoded = decode::<Input>(bytes);
    assert!(
        decoded.is_err() || SEALED.iter().any(|sealed| sealed == bytes),
        "an altered record was believed"
    );
    let chain = Journal::from_records::<Input>(&[bytes.to_vec()], None);
    if let Ok((_, records)) = &chain {
        let again = Journal::new().seal(records[0].at, &records[0].input);
        assert_eq!(again.bytes, bytes);
    }
    if let Some(resealed) = resealed(bytes)
        && let Ok((record, _)) = decode::<Input>(&resealed)
    {
        let json = serde_json::to_vec(&record.input).expect("plain data");
        assert_eq!(
            serde_json::from_slice::<Input>(&json).expect("our own"),
            record.input
        );
    }
    Verdict::from(&decoded)
}

/// The record with the hash that belongs to its content, as whoever can write to the disk could make it.
fn resealed(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (content, _) = text.rsplit_once(",\"hash\":\"")?;
    let hash = sha256::Hash::hash(format!("{content}}}").as_bytes());
    Some(format!("{content},\"hash\":\"{hash}\"}}").into_bytes())
}

/// Whatever can be read as an input is taken or refused, twice in a row, by an engine in the midst of everything.
pub(crate) fn input(bytes: &[u8]) -> Verdict {
    let Ok(input) = serde_json::from_slice::<Input>(bytes) else {
        return Verdict::Refused;
    };
    let mut engine = outside::engine();
    let first = outside::take(&mut engine, &input);
    drop(outside::take(&mut engine, &input));
    Verdict::from(&first)
}
