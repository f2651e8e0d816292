//! Owns how amounts are written in reports: satoshi with the rest in thousandths, euro with cents, thousands apart. Does
//! not own amounts in scenarios (`scenario::units`).

/// Millisatoshi, as satoshi.
pub(super) fn btc(msat: i128) -> String {
    let (sign, value) = (if msat < 0 { "-" } else { "" }, msat.unsigned_abs());
    let rest = match value % 1_000 {
        0 => String::new(),
        rest => format!(".{rest:03}"),
    };
    format!("{sign}{}{rest} sat", grouped(value / 1_000))
}

/// Cents, as euro.
pub(super) fn cents(cents: i128) -> String {
    let (sign, value) = (if cents < 0 { "-" } else { "" }, cents.unsigned_abs());
    format!("{sign}{}.{:02} EUR", grouped(value / 100), value % 100)
}

/// Smallest units of an asset.
pub(super) fn by_asset(asset: &str, units: i128) -> String {
    match asset.to_ascii_lowercase().as_str() {
        "btc" => btc(units),
        "eur" => cents(units),
        _ => format!("{units} {asset}"),
    }
}

fn grouped(value: u128) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_and_grouped() {
        let shown = [0, 1, -1_500, 400_082_004].map(btc);
        assert_eq!(
            shown,
            ["0 sat", "0.001 sat", "-1.500 sat", "400,082.004 sat"]
        );
        let shown = [0, -5, 123_456_789].map(cents);
        assert_eq!(shown, ["0.00 EUR", "-0.05 EUR", "1,234,567.89 EUR"]);
    }
}
