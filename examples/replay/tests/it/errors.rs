//! What cannot be done is told in one line, with exit code 2.

use crate::formats::{bad_lines, logged};
use crate::program::{Program, gzip, lines, text};

/// Runs the program, which must refuse, and returns what it says.
#[track_caller]
fn refused(program: &Program, arguments: &str) -> String {
    let output = program.run(arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments}: {}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "", "{arguments}");
    assert!(program.is_clean(), "{arguments}: leaves something behind");
    text(&output.stderr).to_owned()
}

/// Writes a trace that the program must refuse, and returns what it says in one line.
#[track_caller]
fn fault(contents: impl AsRef<[u8]>) -> String {
    let program = Program::new();
    program.write("trace", contents);
    let message = refused(&program, "--trace trace");
    let line = message.strip_prefix("error: ").and_then(|line| line.strip_suffix('\n'));
    let line = line.unwrap_or_else(|| panic!("an error is one line: {message}"));
    assert!(!line.contains('\n'), "an error is one line: {message}");
    line.to_owned()
}

const HEADER: &str = "# timestamp_s key size_bytes ttl_s op";

#[test]
fn a_file_that_is_missing() {
    let message = refused(&Program::new(), "--trace missing.txt");
    assert!(message.starts_with("error: missing.txt: "), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
}

#[test]
fn a_folder_is_no_file() {
    let message = refused(&Program::new(), "--trace .");
    assert!(message.starts_with("error: .: "), "{message}");
}

#[test]
fn a_file_without_requests() {
    let nothing = "expected a request, found the end of the file";
    assert_eq!(fault(""), format!("trace:1: {nothing}"));
    assert_eq!(fault("\n\n"), format!("trace:3: {nothing}"));
    assert_eq!(fault(gzip("")), format!("trace:1: {nothing}"));
    assert_eq!(fault(format!("{HEADER}\n")), format!("trace:2: {nothing}"));
}

#[test]
fn a_compressed_file_that_is_cut_off() {
    let whole = gzip(lines(0..10_000));
    let cut_off = ": expected more, but the compressed data is cut off";
    assert_eq!(fault(&whole[..5]), format!("trace:1{cut_off}"));
    let message = fault(&whole[..whole.len() / 2]);
    let line = message.strip_prefix("trace:").and_then(|rest| rest.strip_suffix(cut_off));
    let line: u64 = line.and_then(|line| line.parse().ok()).expect("the line is named");
    assert!((2..10_000).contains(&line), "{message}");
    assert_eq!(fault(&whole[..whole.len() - 1]), format!("trace:10001{cut_off}"));
}

#[test]
fn a_compressed_file_that_is_damaged() {
    let mut damaged = gzip("1\n2\n3\n");
    let checksum = damaged.len() - 8;
    damaged[checksum] ^= 1;
    let message = fault(&damaged);
    assert!(message.starts_with("trace:4: ") && message.contains("checksum"), "{message}");
}

#[test]
fn a_number_that_is_none() {
    let expected = "expected an unsigned 64-bit number, as in other lines, found";
    assert_eq!(fault("1\n\n3x\n4\n"), format!("trace:3: {expected} \"3x\""));
    assert_eq!(fault("one\n2\n3\n"), format!("trace:1: {expected} \"one\""));
    assert_eq!(fault("1\n2\n-3\n"), format!("trace:3: {expected} \"-3\""));
    let too_large = "18446744073709551616";
    assert_eq!(
        fault(format!("1\n2\n{too_large}\n")),
        format!("trace:3: {expected} \"{too_large}\"")
    );
    let late = "1\n".repeat(100) + "\"quoted\"";
    assert_eq!(fault(late), format!("trace:101: {expected} \"\\\"quoted\\\"\""));
}

#[test]
fn a_ttl_trace_with_a_mistake() {
    let fields = "the five fields `timestamp_s key size_bytes ttl_s op`";
    // However many mistakes there are: it is no text.
    let message = fault(format!("{HEADER}\n0 1\n0 2\n"));
    assert_eq!(message, format!("trace:2: expected {fields}, found \"0 1\""));
    let fault = |line: &str| fault(gzip(format!("{HEADER}\n0 1 2 3 get\n{line}\n1 1 2 3 get")));
    assert_eq!(fault("0 1 2 3"), format!("trace:3: expected {fields}, found \"0 1 2 3\""));
    let message = fault("0 1 2 -3 get");
    assert_eq!(message, "trace:3: expected seconds in the field ttl_s, found \"0 1 2 -3 get\"");
}

#[test]
fn a_ttl_trace_without_its_header() {
    let expected = format!("expected the header `{HEADER}`");
    let message = fault("0 1 2 3 get\n1 1 2 3 get\n");
    assert_eq!(message, format!("trace:1: {expected}, found \"0 1 2 3 get\""));
}

#[test]
fn an_access_log_with_a_mistake() {
    let line = "::1 - - [10/Oct/2000:13:55:36 -0700] \"GET / HTTP/1.0\" 200 1\n";
    let bad = "::1 - - [10/Oct/2000:13:55:36 -0700] \"GET / HT\n";
    let expected = "expected a line of an access log, as web servers write, found \"::1 - - [10/";
    let message = fault(format!("{line}\n{bad}{bad}"));
    assert!(message.starts_with(&format!("trace:3: {expected}")), "{message}");
    let counts = "read as access log, 2 of 3 lines are malformed";
    let remedy = "--format access-log skips them; --format text takes each line as a key";
    assert!(message.ends_with(&format!("; {counts}; {remedy}")), "{message}");
    // Whatever is cut off, and at whatever line: it is no text.
    for contents in [bad_lines(1), bad_lines(100), "key\n".repeat(15) + &bad_lines(20)] {
        let message = fault(contents);
        assert!(message.contains(" lines are malformed; --format text takes"), "{message}");
    }
}

#[test]
fn an_access_log_with_nothing_to_cache() {
    let nothing =
        "trace: none of its 3 requests is cacheable: a GET or HEAD with a status such as 200";
    for line in [logged("POST", "/", 200), logged("GET", "/", 500), logged("GET", "/", 302)] {
        assert_eq!(fault(line.repeat(3)), nothing);
        let program = Program::new();
        program.write("trace", line.repeat(3));
        assert_eq!(refused(&program, "tune trace"), format!("error: {nothing}\n"));
    }
}

#[test]
fn a_file_that_is_no_text() {
    let message = fault(b"\n\xff\n\xfe\n");
    assert!(message.starts_with("trace:2: expected text in UTF-8, found "), "{message}");
    assert!(message.ends_with("; read as text, 2 of 2 lines are malformed"), "{message}");
    let message = fault(b"a\n\xff\n\xfe\n");
    assert!(
        message.ends_with(" 2 of 3 lines are malformed; --format text skips them"),
        "{message}"
    );
    let long = "x".repeat(1 << 20);
    assert_eq!(fault(format!("a\n{long}")), "trace:2: expected a line of at most 65536 bytes");
}

#[test]
fn a_long_line_is_not_shown_whole() {
    let message = fault(format!("1\n2\n{}\n", "3".repeat(1000)));
    assert!(message.ends_with("333\"...") && message.len() < 200, "{message}");
}

#[test]
fn a_value_that_an_option_cannot_have() {
    let program = Program::new();
    for arguments in [
        "--concurrency 0",
        "--concurrency 65537",
        "--requests 0",
        "--requests many",
        "--max-size 0",
        "--max-size 0%",
        "--max-size 101%",
        "--max-size some",
        "--keys 0",
        "--skew NaN",
        "--ttl 0s",
        "--ttl soon",
        "--baseline 0s",
        "--seed 1.5",
        "--runtime glommio",
    ] {
        let message = refused(&program, arguments);
        let option = arguments.split(' ').next().expect("an option is there");
        assert!(message.starts_with("error: ") && message.contains(option), "{message}");
    }
}

#[test]
fn virtual_time_needs_timestamps() {
    let program = Program::new();
    program.write("keys", "a\nb\n");
    let message = refused(&program, "--trace keys --virtual");
    assert!(message.starts_with("error: --virtual: keys has no timestamps"), "{message}");
    assert!(refused(&program, "--virtual").contains("--trace"));
}

#[test]
fn a_generated_stream_and_a_trace_exclude_each_other() {
    let program = Program::new();
    program.write("keys", "a\nb\n");
    assert!(refused(&program, "--trace keys --keys 5").contains("--keys"));
}
