//! A line of a TTL trace: a time, a key, a size, a TTL and an operation.

use std::time::Duration;

use crate::key::KeyRef;
use crate::stream::Record;

use super::Expected;

/// The first line of a TTL trace.
pub(super) const HEADER: &str = "# timestamp_s key size_bytes ttl_s op";

pub(super) const EXPECTED_HEADER: &str = "the header `# timestamp_s key size_bytes ttl_s op`";

/// The request in a line. The operation may be any: all are requests of something to be cached.
pub(super) fn parse(line: &str) -> Result<Record<'_>, Expected> {
    let mut fields = line.split_whitespace();
    let fields = [(); 6].map(|()| fields.next());
    let [Some(timestamp), Some(key), Some(size), Some(ttl), Some(_operation), None] = fields else {
        return Err(Expected("the five fields `timestamp_s key size_bytes ttl_s op`"));
    };
    let at = seconds(timestamp).ok_or(Expected("seconds in the field timestamp_s"))?;
    let key = key.parse().map_err(|_| Expected("an unsigned 64-bit number in the field key"))?;
    let _: u64 = size.parse().map_err(|_| Expected("a number in the field size_bytes"))?;
    let ttl = seconds(ttl).ok_or(Expected("seconds in the field ttl_s"))?;
    Ok(Record { key: KeyRef::Number(key), at: Some(at), ttl: Some(ttl) })
}

fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_five_fields() {
        let record = Record {
            key: KeyRef::Number(8_767_788_755_496_211_082),
            at: Some(Duration::from_millis(1_500)),
            ttl: Some(Duration::from_secs(2_230)),
        };
        assert_eq!(parse("1.5 8767788755496211082 44 2230 get"), Ok(record));
    }

    #[test]
    fn each_field_is_checked() {
        let field = |line: &str| parse(line).expect_err("the line is wrong").0;
        assert!(field("-1 1 1 1 get").ends_with("timestamp_s"));
        assert!(field("x 1 1 1 get").ends_with("timestamp_s"));
        assert!(field("NaN 1 1 1 get").ends_with("timestamp_s"));
        assert!(field("1 -1 1 1 get").ends_with("key"));
        assert!(field("1 1 1.5 1 get").ends_with("size_bytes"));
        assert!(field("1 1 1 inf get").ends_with("ttl_s"));
        assert!(field("1 1 1 1").contains("five fields"));
        assert!(field("1 1 1 1 get x").contains("five fields"));
    }
}
