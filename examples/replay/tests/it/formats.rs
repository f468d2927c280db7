//! What a file may look like.

use serde_json::Value;

use crate::program::{Program, gzip, number, text};

/// Replays a file, one request after the other, into a cache that keeps everything.
fn report(contents: impl AsRef<[u8]>, arguments: &str) -> Value {
    let program = Program::new();
    program.write("trace", contents);
    program.report(&format!("--trace trace --concurrency 1 --max-size none {arguments}"))
}

#[track_caller]
fn check(report: &Value, format: &str, requests: u64, keys: u64) {
    assert_eq!(report["format"], format);
    assert_eq!(number(report, "requests"), requests);
    assert_eq!(number(report, "distinct_keys"), keys);
    assert_eq!(number(report, "misses"), keys);
    assert_eq!(number(report, "database_queries"), keys);
    assert_eq!(number(report, "peak_entries"), keys);
    assert_eq!(number(report, "hits"), requests - keys);
}

#[test]
fn numbers() {
    let numbers = "0\n18446744073709551615\n\n 7 \r\n0\n7";
    check(&report(numbers, ""), "numbers", 5, 3);
    check(&report(gzip(numbers), ""), "numbers", 5, 3);
}

#[test]
fn compressed_parts_one_after_the_other() {
    check(&report([gzip("1\n2\n"), gzip("3\n1\n")].concat(), ""), "numbers", 4, 3);
}

#[test]
fn any_text() {
    check(&report("user:1\nuser 2\r\nuser:1\nzwölf\n1\n01\n", ""), "text", 6, 5);
}

#[test]
fn lines_that_are_no_text_are_left_out() {
    for (contents, format) in [
        (&b"a\nb\xff\na\n\xfe\nc\n"[..], "text"),
        (b"1\n\n2\xff\n1\n\xfe\n3\n", "numbers"),
        (b"# timestamp_s key size_bytes ttl_s op\n0 1 1 9 get\n0 \xff\n0 1 1 9 get\n\xff\n1 2 1 9 a", "TTL trace"),
    ] {
        let report = report(contents, "");
        check(&report, format, 3, 2);
        assert_eq!((number(&report, "malformed_lines"), number(&report, "skipped_lines")), (2, 0));
        assert!((2..=3).contains(&number(&report, "first_malformed_line")), "{report}");
    }
}

#[test]
fn the_header_says_how_many_lines_are_left_out() {
    let program = Program::new();
    program.write("trace", b"a\nb\na\n\xff\xff\n\xfe\na\n");
    for arguments in ["--trace trace", "tune trace"] {
        let output = program.run(arguments);
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""), "{arguments}");
        let header: Vec<_> = text(&output.stdout).lines().take(2).collect();
        let expected = ["trace (text): 4 requests, 2 keys", LEFT_OUT];
        assert_eq!(header, expected, "{arguments}");
    }
}

const LEFT_OUT: &str = "lines left out as malformed: 2, the first is line 4";

#[test]
fn numbers_that_are_meant_as_text() {
    check(&report("1\n01\n1\n", "--format numbers"), "numbers", 3, 1);
    check(&report("1\n01\n1\n", "--format text"), "text", 3, 2);
}

#[test]
fn a_ttl_trace_in_real_time() {
    let trace = "# timestamp_s key size_bytes ttl_s op\n\
        0 1 10 86400 get\n0 2 10 86400 get\n0 1 10 86400 set\n900 1 10 86400 get\n";
    let report = report(trace, "");
    check(&report, "TTL trace", 4, 2);
    assert_eq!(report["ttl"], "of each request");
}

#[test]
fn a_ttl_of_zero_keeps_nothing() {
    let trace = "# timestamp_s key size_bytes ttl_s op\n0 1 10 0 get\n0 1 10 0 get\n";
    for arguments in ["", "--virtual"] {
        let report = report(trace, arguments);
        assert_eq!(number(&report, "hits"), 0);
        assert_eq!(number(&report, "database_queries"), 2);
        assert_eq!(number(&report, "peak_entries"), 0);
        assert_eq!(number(&report, "expirations"), 0);
    }
}

#[test]
fn a_ttl_of_the_command_line_comes_first() {
    let trace = "# timestamp_s key size_bytes ttl_s op\n0 1 10 0 get\n7 1 10 0 get\n9 1 1 0 get\n";
    assert_eq!(number(&report(trace, "--virtual --ttl none"), "hits"), 2);
    assert_eq!(number(&report(trace, "--virtual --ttl 8s"), "hits"), 1);
    assert_eq!(number(&report(trace, "--virtual --ttl 7s"), "hits"), 1);
    assert_eq!(number(&report(trace, "--virtual --ttl 2s"), "hits"), 0);
}

const ACCESS_LOG: &str = r#"::1 - - [10/Oct/2000:13:00:00 +0000] "GET /a?b=c HTTP/1.1" 200 5
::1 - - [10/Oct/2000:14:00:10 +0100] "HEAD /a?b=c HTTP/1.1" 304 - "-" "curl/8"
::1 - ann [10/Oct/2000:13:00:20 +0000] "POST /a?b=c HTTP/1.1" 200 5 "http://host/" "curl/8"
::1 - - [10/Oct/2000:13:00:30 +0000] "GET /a HTTP/1.1" 200 5
::1 - - [10/Oct/2000:13:00:29 +0000] "GET /a HTTP/1.1" 200 5
::1 - - [10/Oct/2000:13:01:00 +0000] "GET /a?b=c HTTP/1.1" 200 5
"#;

#[test]
fn an_access_log() {
    let report = report(ACCESS_LOG, "");
    check(&report, "access log", 5, 2);
    assert_eq!(number(&report, "skipped_lines"), 1);
}

/// A line of an access log.
pub(crate) fn logged(method: &str, path: &str, status: u16) -> String {
    format!("::1 - - [10/Oct/2000:13:00:00 +0000] \"{method} {path} HTTP/1.1\" {status} 5\n")
}

#[test]
fn of_an_access_log_only_that_counts_which_a_cache_could_answer() {
    let mut log = String::new();
    for status in 100..600 {
        log += &logged("GET", "/a", status);
    }
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        log += &logged(method, "/b", 200);
    }
    log += &logged("HEAD", "/a", 200);
    let program = Program::new();
    program.write("trace", log);
    for arguments in ["--trace trace", "tune trace"] {
        let report = program.report(arguments);
        // The 12 statuses of RFC 9110, 15.1, and 304; and the HEAD.
        assert_eq!(
            (report["format"].as_str(), number(&report, "requests")),
            (Some("access log"), 14)
        );
        assert_eq!((number(&report, "distinct_keys"), number(&report, "skipped_lines")), (1, 492));
        let output = text(&program.run(arguments).stdout).to_owned();
        let expected = "lines left out as not cacheable, by method or status: 492";
        assert_eq!(output.lines().nth(1), Some(expected), "{arguments}");
    }
}

#[test]
fn an_access_log_may_have_malformed_lines() {
    let good = logged("GET", "/a", 200);
    let program = Program::new();
    // Its first lines are malformed for the most part, and yet it is no text.
    program.write("trace", bad_lines(12) + &good.repeat(4) + &good.repeat(20));
    for arguments in ["--trace trace", "tune trace"] {
        let report = program.report(arguments);
        assert_eq!(
            (report["format"].as_str(), number(&report, "requests")),
            (Some("access log"), 24)
        );
        assert_eq!(number(&report, "malformed_lines"), 12);
        let output = text(&program.run(arguments).stdout).to_owned();
        let header: Vec<_> = output.lines().take(2).collect();
        let expected = "lines left out as malformed: 12, the first is line 1";
        assert_eq!(header, ["trace (access log): 24 requests, 1 keys", expected], "{arguments}");
    }
    // A format that was asked for is not in doubt.
    program.write("trace", bad_lines(12) + &good);
    let report = program.report("--trace trace --format access-log");
    assert_eq!((number(&report, "requests"), number(&report, "malformed_lines")), (1, 12));
}

/// Lines of an access log that are cut off at several places.
pub(crate) fn bad_lines(count: usize) -> String {
    let whole = logged("GET", "/a", 200);
    let ends = ["\" 200 5\n", " 5\n", " HTTP/1.1\" 200 5\n", "5\n"];
    let bad = ends.iter().cycle().map(|end| whole.replace(end, "\n"));
    bad.take(count).collect()
}

#[test]
fn an_access_log_in_virtual_time() {
    let hits = |ttl: &str| number(&report(ACCESS_LOG, &format!("--virtual --ttl {ttl}")), "hits");
    assert_eq!(hits("61s"), 3);
    assert_eq!(hits("60s"), 2);
    assert_eq!(hits("10s"), 1);
    assert_eq!(report(ACCESS_LOG, "--virtual")["virtual_seconds"], 60.0);
}

#[test]
fn no_more_requests_than_asked_for() {
    check(&report("1\n2\n1\n3\nx\n", "--requests 3"), "numbers", 3, 2);
}
