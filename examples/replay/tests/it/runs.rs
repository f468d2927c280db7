//! Runs over made-up streams, on each runtime.

use serde_json::Value;

use crate::program::{Program, number, text};

const RUNTIMES: [&str; 3] = ["tokio", "smol", "async-std"];

#[test]
fn the_figures_agree_on_each_runtime() {
    let program = Program::new();
    for runtime in RUNTIMES {
        for concurrency in [1, 50] {
            let report = program.report(&format!(
                "--runtime {runtime} --concurrency {concurrency} --requests 20000 --keys 5000"
            ));
            let number = |name| number(&report, name);
            assert_eq!(report["runtime"], runtime);
            assert_eq!(number("concurrency"), concurrency);
            assert_eq!(number("requests"), 20_000);
            assert_eq!(number("hits") + number("misses"), 20_000);
            assert_eq!(number("database_queries"), number("misses") - number("coalesced"));
            assert_eq!(number("database_queries_avoided"), 20_000 - number("database_queries"));
            assert_eq!(number("max_size"), 500);
            assert_eq!(number("peak_entries"), 500);
            assert_eq!(number("entries"), 500);
            assert_eq!(number("evictions"), number("database_queries") - 500);
            assert_eq!(number("expirations"), 0);
            assert_eq!(report["without_cache"]["requests"], 20_000);
            assert_eq!(report["without_cache"]["is_cut_short"], false);
        }
    }
}

/// What is true however fast the machine is: each row that was stored has left, or is there.
#[test]
fn what_comes_in_goes_out() {
    let program = Program::new();
    for runtime in RUNTIMES {
        for ttl in ["1ns", "1ms", "20ms"] {
            let report = program.report(&format!(
                "--runtime {runtime} --ttl {ttl} --requests 20000 --keys 5000 --baseline 1ms"
            ));
            let number = |name| number(&report, name);
            assert_eq!(number("hits") + number("misses"), 20_000);
            assert_eq!(
                number("database_queries"),
                number("evictions") + number("expirations") + number("entries"),
                "{report}"
            );
            assert!(number("peak_entries") <= 500);
        }
    }
}

#[test]
fn one_task_has_nobody_to_wait_with() {
    let report = Program::new().report("--concurrency 1 --requests 5000 --keys 100");
    assert_eq!(number(&report, "coalesced"), 0);
}

#[test]
fn speeds_are_told() {
    let report = Program::new().report("--requests 5000 --keys 1000");
    let positive = |value: &Value| value.as_f64().is_some_and(|value| value > 0.0);
    for speed in [&report, &report["without_cache"]] {
        assert!(positive(&speed["seconds"]) && positive(&speed["requests_per_second"]), "{report}");
    }
    let latencies = ["hit_latency", "miss_latency"].map(|name| &report[name]);
    for latency in latencies.into_iter().chain([&report["without_cache"]["latency"]]) {
        let median = number(latency, "median_ns");
        assert!(0 < median && median <= number(latency, "p99_ns"), "{report}");
    }
    let ratio = |speed: &Value| speed["requests_per_second"].as_f64().expect("it is a number");
    let speedup = ratio(&report) / ratio(&report["without_cache"]);
    assert!((report["speedup"].as_f64().expect("it is a number") / speedup - 1.0).abs() < 1e-6);
}

#[test]
fn a_seed_names_a_run() {
    let program = Program::new();
    let figures = |seed: u64| {
        // More entries than one shard has: their order depends on the hashes of the keys.
        let report = program.report(&format!(
            "--concurrency 1 --requests 30000 --keys 20000 --max-size 3000 --seed {seed}"
        ));
        ["hits", "evictions", "database_queries"].map(|name| number(&report, name))
    };
    assert_eq!(figures(1), figures(1));
    assert_ne!(figures(1), figures(2));
}

#[test]
fn the_most_requests_of_a_short_baseline_are_told() {
    let program = Program::new();
    let report = program.report("--requests 100000 --keys 10 --concurrency 1 --baseline 1ns");
    let baseline = &report["without_cache"];
    assert_eq!(baseline["is_cut_short"], true);
    assert!(number(baseline, "requests") < 100_000);
}

#[test]
fn virtual_time_tells_nothing_of_speed() {
    let program = Program::new();
    program.write("trace", "# timestamp_s key size_bytes ttl_s op\n5 1 1 1 get\n6 1 1 1 get\n");
    let report = program.report("--trace trace --virtual");
    assert_eq!(report["virtual_seconds"], 1.0);
    for name in ["seconds", "requests_per_second", "hit_latency", "without_cache", "speedup"] {
        assert!(report[name].is_null(), "{name}");
    }
}

#[test]
fn the_table_has_all_rows() {
    let output = Program::new().run("--requests 5000 --keys 1000");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    let title = |line: &str| line.split(['│', '┆']).nth(1).map(|title| title.trim().to_owned());
    let titles: Vec<_> = text(&output.stdout).lines().filter_map(title).collect();
    let rows = [
        "",
        "requests",
        "hit rate",
        "database queries",
        "queries avoided",
        "coalesced",
        "evictions",
        "expirations",
        "entries at most",
        "entries at the end",
        "requests a second",
        "speed-up",
        "hit: median time",
        "hit: 99th percentile",
        "miss: median time",
        "miss: 99th percentile",
    ];
    assert_eq!(titles, rows);
}

#[test]
fn nobody_has_to_read_the_report() {
    let program = Program::new();
    for arguments in ["--requests 100", "--requests 100 --json"] {
        let mut command = program.command(arguments);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut child = command.spawn().expect("the program can be started");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("the program ends");
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    }
}
