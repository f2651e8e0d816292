//! Owns the short forms of durations, counts and hashes. Does not own where they stand.

/// Hexadecimal digits of a hash that a table shows: enough to tell runs apart at a glance.
const HASH_DIGITS: usize = 12;

/// A duration in ms, in the unit that fits.
pub fn duration(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        60_000..3_600_000 => format!("{} min {:02} s", ms / 60_000, ms % 60_000 / 1_000),
        3_600_000..86_400_000 => format!("{} h {:02} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
        _ => format!("{} d {:02} h", ms / 86_400_000, ms % 86_400_000 / 3_600_000),
    }
}

/// A point in virtual time, to the ms: `0:10.220`, `2:00.000`, `1:00:00.000`, `3 d 4:00:00.000`.
pub fn clock(ms: u64) -> String {
    let (seconds, minutes, hours) = (ms / 1_000 % 60, ms / 60_000 % 60, ms / 3_600_000 % 24);
    let tail = format!("{seconds:02}.{:03}", ms % 1_000);
    match (ms / 86_400_000, hours) {
        (0, 0) => format!("{minutes}:{tail}"),
        (0, _) => format!("{hours}:{minutes:02}:{tail}"),
        (days, _) => format!("{days} d {hours}:{minutes:02}:{tail}"),
    }
}

/// How much faster than real time, or `-` if nothing was measured.
pub fn ratio(virtual_ms: u64, wall_ms: u64) -> String {
    match (virtual_ms, wall_ms) {
        (0, _) | (_, 0) => "-".to_owned(),
        (virtual_ms, wall_ms) if virtual_ms >= wall_ms * 10 => format!("{}x", virtual_ms / wall_ms),
        (virtual_ms, wall_ms) => {
            let tenths = virtual_ms.saturating_mul(10) / wall_ms;
            format!("{}.{}x", tenths / 10, tenths % 10)
        }
    }
}

/// The beginning of a hash.
pub fn short_hash(hash: &str) -> &str {
    match hash.get(..HASH_DIGITS) {
        Some(short) => short,
        None if hash.is_empty() => "-",
        None => hash,
    }
}

/// `1 fault`, `2 faults`.
pub fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_in_the_unit_that_fits() {
        let shown = [999, 1_250, 61_000, 3_660_000, 90_000_000].map(duration);
        assert_eq!(
            shown,
            ["999 ms", "1.2 s", "1 min 01 s", "1 h 01 min", "1 d 01 h"]
        );
        let shown = [10_220, 120_000, 3_600_000, 273_600_000].map(clock);
        assert_eq!(
            shown,
            ["0:10.220", "2:00.000", "1:00:00.000", "3 d 4:00:00.000"]
        );
        assert_eq!(
            [ratio(0, 5), ratio(15, 10), ratio(5, 10), ratio(1_000, 10)],
            ["-", "1.5x", "0.5x", "100x"]
        );
        assert_eq!(
            [short_hash("0123456789abcdef"), short_hash("")],
            ["0123456789ab", "-"]
        );
    }
}
