//! Numbers, as people read them.

/// About three digits that count.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_about_three_digits() {
        let texts = [0.0, 0.123, 1.0, 1.234, 12.34, 123.4, 12345.6].map(number);
        assert_eq!(texts, ["0", "0.12", "1", "1.23", "12.3", "123", "12346"]);
    }
}
