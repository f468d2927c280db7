//! What `tune` tells of hit rates, and what it recommends.

use std::collections::HashMap;
use std::fmt::Write;
use std::time::Duration;

use fleeting::{Cache, Policy};
use rand::distr::Distribution;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rand_distr::Zipf;
use serde_json::Value;

use crate::models::{self, ZEEK};
use crate::program::{Program, gzip, lines, number, text};

/// Tunes for a file, and returns what the program says.
fn report(contents: impl AsRef<[u8]>, arguments: &str) -> Value {
    let program = Program::new();
    program.write("trace", contents);
    program.report(&format!("tune trace {arguments}"))
}

/// Hit rates, by TTL, policy and size.
fn hit_rates(report: &Value) -> HashMap<(String, String, u64), (f64, f64)> {
    let cells = report["cells"].as_array().expect("there are cells");
    let name = |cell: &Value, name: &str| cell[name].as_str().expect("it is a name").to_owned();
    let float = |cell: &Value, name: &str| cell[name].as_f64().expect("it is a number");
    let setting = |cell| (name(cell, "ttl"), name(cell, "policy"), number(cell, "max_size"));
    let estimate = |cell| (float(cell, "hit_rate"), float(cell, "error"));
    cells.iter().map(|cell| (setting(cell), estimate(cell))).collect()
}

/// How many of so many requests hit, in the report of a file of which all keys were simulated.
fn hits(report: &Value, ttl: &str, policy: &str, max_size: u64) -> u64 {
    let setting = (ttl.to_owned(), policy.to_owned(), max_size);
    let (hit_rate, error) = hit_rates(report)[&setting];
    assert!(error.abs() < f64::EPSILON, "nothing is estimated");
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a test sends few requests"
    )]
    let hits = (hit_rate * number(report, "requests") as f64).round() as u64;
    hits
}

/// Hits of a cache that gives up what was used least recently: those at a distance in the stack of
/// less than its size (Mattson et al., 1970).
fn lru(keys: &[u64], max_size: usize) -> u64 {
    let mut stack = Vec::new();
    let mut hits = 0;
    for key in keys {
        let place = stack.iter().rev().position(|other| other == key);
        hits += u64::from(place.is_some_and(|distance| distance < max_size));
        stack.retain(|other| other != key);
        stack.push(*key);
    }
    hits
}

/// Requests of which a few keys get most.
fn zipf(keys: f64, requests: usize, seed: u64) -> Vec<u64> {
    let zipf = Zipf::new(keys, 0.8).expect("there are keys");
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a rank")]
    let draws = zipf.sample_iter(StdRng::seed_from_u64(seed)).map(|rank| rank as u64);
    draws.take(requests).collect()
}

#[test]
fn without_sampling_it_is_what_models_do() {
    let mut random = StdRng::seed_from_u64(1);
    let keys: Vec<u64> = (0..4_000).map(|_| random.random_range(0..100_u64).pow(2)).collect();
    let report = report(lines(keys.iter().copied()), "--sizes 1,7,30,99,100 --policies lru,fifo");
    assert_eq!(report["sampling_rate"], 1.0);
    for max_size in [1, 7, 30, 99, 100] {
        let size = max_size as u64;
        let (fifo, _) = models::fifo(&keys, max_size);
        assert_eq!(hits(&report, "never", "Fifo", size), fifo, "{max_size}");
        assert_eq!(hits(&report, "never", "Lru", size), lru(&keys, max_size), "{max_size}");
    }
}

#[test]
fn every_policy_is_tried_at_every_size() {
    let report = report(lines(zipf(500.0, 2_000, 1)), "");
    let hit_rates = hit_rates(&report);
    for policy in ["Fifo", "Sieve", "S3Fifo", "Lru"] {
        let sizes = hit_rates.keys().filter(|(_, name, _)| name == policy).count();
        assert!((10..=16).contains(&sizes), "{policy}: {sizes}");
        let all = 2_000 - number(&report, "distinct_keys");
        let largest = hit_rates.keys().map(|(.., size)| *size).max().expect("there are sizes");
        assert_eq!(hits(&report, "never", policy, largest), all, "{policy}");
    }
}

#[test]
fn the_ttls_are_those_of_the_trace() {
    let report = report(gzip(ZEEK), "--sizes 1000 --policies fifo");
    assert_eq!(hits(&report, "trace", "Fifo", 1000), models::model(ZEEK).hits);
}

const ACCESS_LOG: &str = r#"::1 - - [10/Oct/2000:13:00:00 +0000] "GET /a?b=c HTTP/1.1" 200 5
::1 - - [10/Oct/2000:14:00:10 +0100] "HEAD /a?b=c HTTP/1.1" 304 - "-" "curl/8"
::1 - ann [10/Oct/2000:13:00:20 +0000] "POST /a?b=c HTTP/1.1" 200 5 "http://host/" "curl/8"
::1 - - [10/Oct/2000:13:00:30 +0000] "GET /a HTTP/1.1" 200 5
::1 - - [10/Oct/2000:13:00:29 +0000] "GET /a HTTP/1.1" 200 5
::1 - - [10/Oct/2000:13:01:00 +0000] "GET /a?b=c HTTP/1.1" 200 5
"#;

#[test]
fn an_access_log_is_replayed_at_its_own_times() {
    let report = report(ACCESS_LOG, "--sizes 2 --policies fifo --ttls never,61s,60s,10s");
    let hits = ["never", "1m 1s", "1m", "10s"].map(|ttl| hits(&report, ttl, "Fifo", 2));
    assert_eq!(hits, [3, 3, 2, 1]);
    assert_eq!((number(&report, "requests"), number(&report, "skipped_lines")), (5, 1));
}

#[test]
fn text_may_be_compressed() {
    let report = report(gzip("user:1\nuser 2\nuser:1\n"), "--sizes 1,100% --policies lru");
    assert_eq!((report["format"].as_str(), number(&report, "distinct_keys")), (Some("text"), 2));
    assert_eq!([1, 2].map(|size| hits(&report, "never", "Lru", size)), [0, 1]);
}

#[test]
fn the_error_is_no_more_than_told() {
    let program = Program::new();
    program.write("trace", lines(zipf(30_000.0, 60_000, 1)));
    let sizes = "--sizes 1000,10000 --policies fifo,s3-fifo";
    let exact = hit_rates(&program.report(&format!("tune trace {sizes}")));
    for seed in 1..=3 {
        let report = program.report(&format!("tune trace {sizes} --rate 20% --seed {seed}"));
        let keys = number(&report, "sampled_keys");
        assert!((3_000..5_000).contains(&keys), "{keys}");
        for (setting, (hit_rate, error)) in hit_rates(&report) {
            let (truth, _) = exact[&setting];
            assert!(
                (hit_rate - truth).abs() <= error,
                "{setting:?}: {hit_rate} ± {error}, {truth}"
            );
            assert!(error < 0.1, "{setting:?}: {error}");
        }
    }
}

#[test]
fn a_large_file_is_thinned() {
    let report = report(lines(zipf(30_000.0, 60_000, 1)), "--sample 40000 --sizes 10000");
    assert_eq!(report["sampling_rate"], 0.5);
    assert!(number(&report, "sampled_requests") <= 40_000);
    assert_eq!(number(&report, "requests"), 60_000);
}

/// The same words as code and as text.
macro_rules! both {
    ($($builder:tt)*) => {{
        let built: Result<Cache<u64, ()>, _> = $($builder)*.build();
        assert!(built.is_ok());
        stringify!($($builder)*).split_whitespace().collect::<String>()
    }};
}

/// The last line of what the program prints.
fn recommended(program: &Program, arguments: &str) -> String {
    let output = program.run(&format!("tune trace {arguments}"));
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    text(&output.stdout).lines().last().expect("something is printed").to_owned()
}

#[test]
fn what_is_recommended_is_a_line_of_rust() {
    let program = Program::new();
    program.write("trace", lines((0..3).flat_map(|_| 0..2_000)));
    let expected = both!(Cache::builder().max_size(2_000).policy(Policy::Fifo));
    assert_eq!(recommended(&program, ""), expected);
    let expected = both!(Cache::builder().max_size(2_500).policy(Policy::S3Fifo));
    assert_eq!(recommended(&program, "--sizes 2500 --policies s3-fifo,fifo"), expected);
    let expected = both!(Cache::builder().max_size(2_500).policy(Policy::Sieve));
    assert_eq!(recommended(&program, "--sizes 2500 --policies sieve"), expected);
    let expected = both!(Cache::builder().max_size(2_500).policy(Policy::TinyLfu));
    assert_eq!(recommended(&program, "--sizes 2500 --policies tiny-lfu"), expected);
    let expected = both!(Cache::builder().max_size(2_500).policy(Policy::Adaptive));
    assert_eq!(recommended(&program, "--sizes 2500 --policies adaptive"), expected);
    let expected = both!(Cache::builder().max_size(2_500).policy(Policy::Lru));
    assert_eq!(recommended(&program, "--sizes 2500 --policies lru"), expected);
    program.write("trace", ACCESS_LOG);
    let expected =
        both!(Cache::builder().max_size(1).policy(Policy::Fifo).ttl(Duration::from_secs(61)));
    assert_eq!(recommended(&program, "--ttls 1s,61s,never --max-size 1 --target 20%"), expected);
}

/// An access log of 60 pages, each asked for twice, so many minutes apart.
fn log_of_pairs(minutes: u64) -> String {
    let mut requests: Vec<_> =
        (0..60).flat_map(|page| [(page, page), (page + minutes, page)]).collect();
    requests.sort_unstable();
    let mut log = String::new();
    for (minute, page) in requests {
        let (day, hour, minute) = (1 + minute / 1440, minute / 60 % 24, minute % 60);
        let time = format!("{day:02}/Oct/2000:{hour:02}:{minute:02}:00 +0000");
        writeln!(log, "::1 - - [{time}] \"GET /{page} HTTP/1.1\" 200 5").expect("it is text");
    }
    log
}

#[test]
fn where_there_are_times_a_ttl_is_recommended() {
    let program = Program::new();
    let prints = |arguments: &str| {
        let output = program.run(&format!("tune trace {arguments}"));
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
        text(&output.stdout).to_owned()
    };
    // None of the TTLs that are tried with each size is enough.
    program.write("trace", log_of_pairs(90));
    let expected =
        both!(Cache::builder().max_size(60).policy(Policy::Fifo).ttl(Duration::from_secs(7200)));
    for arguments in ["--max-size 60", "--max-size 60 --target 50%"] {
        let output = prints(arguments);
        assert_eq!(output.lines().last(), Some(expected.as_str()), "{arguments}");
        let rule = "The TTL 2h is the shortest of round times that keeps 99 % of the hit rate without \
                    a TTL, 50.00 %.";
        assert!(output.contains(rule) && !output.contains("The file spans"), "{output}");
    }
    let report = program.report("tune trace --max-size 60");
    assert_eq!(report["advice"]["ttl"], "2h");
    assert_eq!(report["advice"]["ttl_rule"]["keeps"]["without_ttl"]["hit_rate"], 0.5);
    // One of them is.
    program.write("trace", log_of_pairs(3));
    let expected =
        both!(Cache::builder().max_size(3).policy(Policy::Fifo).ttl(Duration::from_secs(300)));
    assert_eq!(recommended(&program, "--max-size 60"), expected);
    // A file that is shorter than each TTL says so.
    program.write("trace", ACCESS_LOG);
    let expected =
        both!(Cache::builder().max_size(2).policy(Policy::Fifo).ttl(Duration::from_secs(120)));
    let output = prints("--max-size 2");
    assert_eq!(output.lines().last(), Some(expected.as_str()));
    assert!(output.contains("The file spans only 1m"), "{output}");
}

#[test]
fn where_there_are_no_times_the_ttl_is_left_open() {
    let program = Program::new();
    program.write("trace", lines((0..3).flat_map(|_| 0..200)));
    let output = program.run("tune trace");
    let note = "The file has no timestamps: add `.ttl(..)`, by how stale a value may be.";
    assert!(text(&output.stdout).contains(note), "{}", text(&output.stdout));
    program.write("trace", log_of_pairs(90));
    let output = program.run("tune trace --ttls never --max-size 60");
    let note =
        "Without a TTL a value may be stale for ever: add `.ttl(..)`, by how stale it may be.";
    assert!(text(&output.stdout).contains(note), "{}", text(&output.stdout));
    assert_eq!(text(&output.stdout).lines().last().map(|line| line.contains("ttl")), Some(false));
}

#[test]
fn the_recommendation_keeps_to_what_is_wished() {
    let program = Program::new();
    program.write("trace", lines(zipf(1_000.0, 6_000, 1)));
    let advice =
        |arguments: &str| program.report(&format!("tune trace {arguments}"))["advice"].clone();
    let bounded = advice("--max-size 300");
    assert!(number(&bounded, "max_size") <= 300, "{bounded}");
    assert_eq!(number(&bounded["rule"]["max_size"], "entries"), 300);
    let target = advice("--target 70%");
    assert!(target["hit_rate"].as_f64().is_some_and(|hit_rate| hit_rate >= 0.7), "{target}");
    assert!(!advice("")["rule"]["knee"].is_null());
}

#[test]
fn a_target_out_of_reach_has_an_exit_code_of_its_own() {
    let program = Program::new();
    // Each key has to miss once: a third of the requests.
    program.write("trace", lines((0..3).flat_map(|_| 0..200)));
    let missed = |arguments: &str| {
        let output = program.run(&format!("tune trace --target 70% {arguments}"));
        assert_eq!(output.status.code(), Some(3), "{arguments}");
        let (table, message) = (text(&output.stdout), text(&output.stderr));
        let best = message
            .strip_prefix("error: --target: no setting tried reaches 70.00 %; the best has ");
        let best = best.unwrap_or_else(|| panic!("{arguments}: {message}")).trim_end().to_owned();
        (table.to_owned(), best)
    };
    let (table, best) = missed("--plot curves.svg");
    assert_eq!(best, "66.67 %");
    let note =
        "The target of 70.00 % cannot be reached with what the table has: the best is 66.67 %.";
    assert!(table.contains("│     200 ┆") && table.contains(note), "{table}");
    assert!(table.ends_with("Cache::builder().max_size(200).policy(Policy::Fifo)\n"), "{table}");
    assert!(program.path("curves.svg").exists());
    let (table, best) = missed("--max-size 10 --policies lru");
    assert!(best == "0.00 %" && table.contains("the best is 0.00 %."), "{best} {table}");
    let (report, _) = missed("--json");
    let report: Value = serde_json::from_str(&report).expect("it is JSON");
    assert_eq!(report["missed_target"]["target"], 0.7);
    assert!(
        report["missed_target"]["best"].as_f64().is_some_and(|best| (0.6..0.7).contains(&best))
    );
    assert!(!report["advice"]["rule"]["missed_target"].is_null(), "{report}");
    let reached = program.report("tune trace --target 60%");
    assert!(reached["missed_target"].is_null(), "{reached}");
}

#[test]
fn the_exit_codes_are_in_the_help() {
    let output = Program::new().run("tune --help");
    assert!(text(&output.stdout).contains("3  --target is out of reach"));
}

#[test]
fn where_no_key_comes_twice_nothing_is_recommended() {
    let program = Program::new();
    program.write("trace", lines(0..100));
    assert!(recommended(&program, "").starts_with("Nothing is recommended"));
}

#[test]
fn the_curves_are_drawn_when_asked_for() {
    let program = Program::new();
    let mut log = String::new();
    for (minute, path) in [(0, "a"), (1, "b"), (2, "a"), (9, "b")] {
        let time = format!("10/Oct/2000:13:{minute:02}:00 +0000");
        writeln!(log, "::1 - - [{time}] \"GET /{path} HTTP/1.1\" 200 5").expect("it is text");
    }
    program.write("trace", log);
    recommended(&program, "--plot curves.svg");
    let drawing = std::fs::read_to_string(program.path("curves.svg")).expect("it was drawn");
    assert!(drawing.starts_with("<svg") && drawing.trim_end().ends_with("</svg>"));
    for label in ["TTL: 1m", "TTL: 5m", "TTL: never", "FIFO", "SIEVE", "S3-FIFO", "advice"] {
        assert!(drawing.contains(label), "{label}");
    }
    assert!(!program.path("tune.svg").exists());
}

/// Runs the program, which must refuse with exit code 2, and returns what it says.
#[track_caller]
fn refused(arguments: &str) -> String {
    let program = Program::new();
    program.write("keys", lines(zipf(500.0, 2_000, 1)));
    program.write("log", ACCESS_LOG);
    program.write("empty", "");
    let output = program.run(&format!("tune {arguments}"));
    assert_eq!(output.status.code(), Some(2), "{arguments}: {}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "", "{arguments}");
    text(&output.stderr).to_owned()
}

#[test]
fn what_cannot_be_told_is_refused_in_one_line() {
    for (arguments, expected) in [
        ("missing", "error: missing: "),
        (".", "error: .: "),
        ("empty", "error: empty:1: expected a request, found the end of the file"),
        ("log --format numbers", "error: log:1: expected an unsigned 64-bit number"),
        ("keys --ttls 5m", "error: --ttls: keys has no timestamps"),
        ("keys --ttls trace", "error: --ttls: keys says nothing of TTLs"),
        ("log --ttls trace", "error: --ttls: log says nothing of TTLs"),
        ("keys --rate 1%", "error: --rate: "),
        ("keys --rate 50% --sizes 10", "error: --sizes: at least 256 entries"),
        ("keys --rate 50% --max-size 10", "error: --max-size: at least 256 entries"),
        ("keys --plot missing/curves.svg", "error: --plot: missing/curves.svg: "),
    ] {
        let message = refused(arguments);
        assert!(message.starts_with(expected), "{arguments}: {message}");
        assert_eq!(message.lines().count(), 1, "{arguments}: {message}");
    }
}

#[test]
fn a_value_that_an_option_cannot_have() {
    for arguments in [
        "--sizes 0",
        "--sizes 0%",
        "--sizes some",
        "--policies random",
        "--ttls soon",
        "--ttls 0s",
        "--max-size 0",
        "--target 101%",
        "--target 0.5",
        "--rate 0%",
        "--sample 0",
        "--seed x",
    ] {
        let message = refused(&format!("keys {arguments}"));
        let option = arguments.split(' ').next().expect("an option is there");
        assert!(message.starts_with("error: ") && message.contains(option), "{message}");
    }
    assert!(refused("").contains("<FILE>"));
}
