//! A line of a web server's access log, in the common or combined format.

use std::sync::LazyLock;
use std::time::Duration;

use jiff::fmt::strtime;
use regex::Regex;

use crate::key::KeyRef;
use crate::stream::Record;

use super::Expected;

/// Host, identity, user, time, request, status and size. What follows, such as the referrer, and
/// fields before the host, which some servers write, do not matter.
static LINE: LazyLock<Regex> = LazyLock::new(|| {
    let line = r#"^\S+ \S+ [^\["]*\[([^\]"]+)\] "((?:[^"\\]|\\.)*)" (\d{3}) (?:\d+|-)(?: |$)"#;
    Regex::new(line).expect("the expression is valid")
});

/// A time or a request as in such a line, and hardly elsewhere.
static MARK: LazyLock<Regex> = LazyLock::new(|| {
    let mark = r#"\[\d{2}/[A-Z][a-z]{2}/\d{4}:\d{2}|"[A-Z]+ \S+ HTTP/\d"#;
    Regex::new(mark).expect("the expression is valid")
});

/// Whether something of a line is as in an access log.
pub(super) fn resembles(line: &str) -> bool {
    MARK.is_match(line)
}

/// Those methods whose answers caches keep: RFC 9110, section 9.2.3. Of POST hardly any does.
const METHODS: [&str; 2] = ["GET", "HEAD"];

/// Those statuses whose answers may be cached if a server does not say more: RFC 9110, section 15.1.
/// A 206 is among them: a cache that has the whole can answer with a part.
///
/// With them 304, the answer of a server that was asked whether what is cached elsewhere is still
/// right. A cache in front of that server would have known (RFC 9111, section 4.3.2).
const STATUSES: [&str; 13] =
    ["200", "203", "204", "206", "300", "301", "304", "308", "404", "405", "410", "414", "501"];

/// The request in a line: its path and query. `None` for what no cache could answer: other methods
/// and statuses, and what is no HTTP at all.
pub(super) fn parse(line: &str) -> Result<Option<Record<'_>>, Expected> {
    let captures = LINE.captures(line);
    let captures = captures.ok_or(Expected("a line of an access log, as web servers write"))?;
    let [time, request, status] = captures.extract().1;
    let at = timestamp(time).ok_or(Expected("a time such as [10/Oct/2000:13:55:36 -0700]"))?;
    let record = |path| Record { key: KeyRef::Text(path), at: Some(at), ttl: None };
    let path = path(request).filter(|_| STATUSES.contains(&status));
    Ok(path.map(record))
}

/// The path and query, if the method is one of those whose answers are cached.
fn path(request: &str) -> Option<&str> {
    let (method, rest) = request.split_once(' ')?;
    // HTTP/0.9 has no version.
    let path = rest.rsplit_once(' ').map_or(rest, |(path, _version)| path);
    (METHODS.contains(&method) && !path.is_empty()).then_some(path)
}

/// The time since 1970.
fn timestamp(text: &str) -> Option<Duration> {
    let time = strtime::parse("%d/%b/%Y:%H:%M:%S %z", text).ok()?;
    Duration::try_from(time.to_timestamp().ok()?.as_duration()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMON: &str = "127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700]";

    fn key(request: &str) -> Option<String> {
        let line = format!("{COMMON} \"{request}\" 200 2326");
        let record = parse(&line).expect("the line is right")?;
        let KeyRef::Text(key) = record.key else { panic!("a path is text") };
        Some(key.to_owned())
    }

    #[test]
    fn the_key_is_path_and_query() {
        assert_eq!(key("GET /a?b=c HTTP/1.0").as_deref(), Some("/a?b=c"));
        assert_eq!(key("HEAD / HTTP/1.1").as_deref(), Some("/"));
        assert_eq!(key("GET /").as_deref(), Some("/"));
        assert_eq!(key("GET /with space HTTP/1.1").as_deref(), Some("/with space"));
        assert_eq!(key(r#"GET /\"quoted\" HTTP/1.1"#).as_deref(), Some(r#"/\"quoted\""#));
    }

    #[test]
    fn what_nobody_caches_has_no_key() {
        for request in ["POST /a HTTP/1.1", "-", "", r"\x16\x03\x01", "GET  HTTP/1.1", "get / x"] {
            assert_eq!(key(request), None, "{request}");
        }
        let line = format!("{COMMON} \"GET / HTTP/1.1\" 500 2326");
        assert_eq!(parse(&line), Ok(None));
    }

    #[test]
    fn lines_of_many_servers_are_understood() {
        for line in [
            "::1 - - [10/Oct/2000:13:55:36 +0000] \"GET / HTTP/1.1\" 304 -",
            "host - a user [10/Oct/2000:13:55:36 +0000] \"GET / HTTP/1.1\" 200 1 \"-\" \"x\\\"y\"",
            "example.org:443 ::1 - - [10/Oct/2000:13:55:36 +0000] \"GET / HTTP/1.1\" 200 1 \"\"",
        ] {
            assert!(parse(line).is_ok_and(|record| record.is_some()), "{line}");
        }
    }

    #[test]
    fn other_lines_are_errors() {
        for line in [
            "",
            "127.0.0.1 - frank",
            "127.0.0.1 - - [10/Oct/2000:13:55:36 -0700] \"GET / HTTP/1.0",
            "127.0.0.1 - - [10/Oct/2000:13:55:36 -0700] \"GET / HTTP/1.0\" OK 1",
            "127.0.0.1 - - [99/Oct/2000:13:55:36 -0700] \"GET / HTTP/1.0\" 200 1",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_time_knows_its_zone() {
        assert_eq!(timestamp("10/Oct/2000:13:55:36 -0700"), Some(Duration::from_secs(971_211_336)));
        assert_eq!(timestamp("01/Jan/1960:00:00:00 +0000"), None);
    }
}
