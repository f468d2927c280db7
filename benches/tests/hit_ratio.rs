//! Short runs of the program `hit-ratio`: what it finds is known, or plain.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use tempfile::TempDir;

fn run(folder: &TempDir, arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hit-ratio"));
    command.current_dir(folder.path()).args(arguments.split_whitespace());
    command.output().expect("the program can be started")
}

fn folder() -> TempDir {
    TempDir::with_prefix("hit-ratio-").expect("a temporary folder can be made")
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).expect("the program writes text")
}

/// Writes a trace into the folder `traces`.
fn write(folder: &TempDir, name: &str, lines: &[String]) {
    let traces = folder.path().join("traces");
    fs::create_dir_all(&traces).expect("a folder can be made");
    let (path, text) = (traces.join(name), lines.join("\n"));
    let mut file = File::create(&path).expect("a file can be made");
    if path.extension().is_none_or(|extension| extension != "gz") {
        return file.write_all(text.as_bytes()).expect("a file can be written");
    }
    let mut gzip = GzEncoder::new(file, Compression::fast());
    gzip.write_all(text.as_bytes()).expect("a file can be written");
    gzip.finish().expect("a file can be written");
}

/// Ten times the same 200 keys.
fn round_and_round() -> Vec<String> {
    (0..200).cycle().take(2_000).map(|key: u64| key.to_string()).collect()
}

/// The rows of the results.
fn rows(folder: &Path) -> Vec<Value> {
    let results = fs::read(folder.join("hit-ratio.json")).expect("results are written");
    let results: Value = serde_json::from_slice(&results).expect("results are JSON");
    results["rows"].as_array().expect("there are rows").clone()
}

fn ratio(row: &Value, policy: &str) -> String {
    format!("{:.2}", row["hit_ratios"][policy].as_f64().expect("it took part"))
}

#[test]
fn a_loop_has_a_known_optimum() {
    let folder = folder();
    write(&folder, "round.txt.gz", &round_and_round());
    let output = run(&folder, "--traces traces --out out --policies exact,foyer-sieve");
    assert!(output.status.success(), "{}", text(&output.stderr));

    let [row] = rows(&folder.path().join("out")).try_into().expect("there is one size");
    assert_eq!((&row["entries"], &row["requests"]), (&20.into(), &2_000.into()));
    let ratios = ["FIFO", "LRU", "foyer SIEVE", "OPT"].map(|policy| ratio(&row, policy));
    // Each time, but the first, the best there can be finds the 20 that it keeps.
    assert_eq!(ratios, ["0.00", "0.00", "0.00", "9.00"]);
}

#[test]
fn entries_expire_on_the_clock_of_the_trace() {
    let folder = folder();
    let mut lines = vec!["# timestamp_s key size_bytes ttl_s op".to_owned()];
    let mut ask = |second: u64, key: u64, ttl: u64| {
        lines.push(format!("{second} {key} 8 {ttl} get"));
    };
    // Enough keys that a tenth of them is worth a cache; each is asked for once.
    (1_000..1_400).for_each(|key| ask(0, key, 1));
    // A miss, a hit before the end, a miss at the end, and then a hit again.
    for second in [10, 19, 20, 29] {
        ask(second, 1, 10);
    }
    // What lives no time is not stored.
    for second in [30, 30] {
        ask(second, 2, 0);
    }
    write(&folder, "timed.txt", &lines);
    let output = run(&folder, "--traces traces --out out");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("own TTL"));

    let [row] = rows(&folder.path().join("out")).try_into().expect("there is one size");
    for policy in ["FIFO", "LRU", "OPT", "quick_cache", "fleeting FIFO", "fleeting FIFO, own TTL"] {
        assert_eq!(ratio(&row, policy), format!("{:.2}", 2.0 / 4.06), "{policy}");
    }
}

#[test]
fn a_quick_run_shows_everything() {
    let folder = folder();
    let made_up = [("a.txt", 7), ("b.txt.gz", 11), ("lirs-gli.txt", 13)];
    for (name, factor) in made_up {
        let keys = (0..9_000_u64).map(|position| (position * position / factor % 977).to_string());
        write(&folder, name, &keys.collect::<Vec<_>>());
    }
    let output = run(&folder, "--traces traces --quick --jobs 2 --out out");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    let out = folder.path().join("out");
    let written = fs::read_to_string(out.join("hit-ratio.md")).expect("the report is written");
    assert_eq!(printed, written);
    for title in
        ["Averages", "Fewer misses than FIFO", "Distance from the best peer", "All rows", "Curves"]
    {
        assert!(printed.contains(&format!("\n## {title}\n")), "{title}");
    }
    let groups = printed.lines().filter(|line| line.starts_with("| "));
    let has = |name| groups.clone().any(|line| line.starts_with(&format!("| {name}")));
    assert!(has("all rows") && has("1st, 3rd, … trace") && has("10% of distinct"), "{printed}");

    let rows = rows(&out);
    assert!(rows.iter().all(|row| row["requests"] == 3_000));
    for row in rows {
        let best = row["hit_ratios"]["OPT"].as_f64().expect("it took part");
        for (policy, ratio) in row["hit_ratios"].as_object().expect("there are some") {
            let has_its_room = policy != "moka";
            let ratio = ratio.as_f64().expect("it is a number");
            assert!(ratio <= best || !has_its_room, "{policy}: {ratio}, {best}");
        }
    }
    for (name, _) in made_up {
        let name = name.split('.').next().expect("it has a name");
        let drawing = fs::read_to_string(out.join(format!("{name}.svg"))).expect("it is drawn");
        assert!(drawing.contains("fleeting FIFO"), "{name}");
    }
}

#[test]
fn only_some_traces_and_policies() {
    let folder = folder();
    write(&folder, "one.txt", &round_and_round());
    write(&folder, "two.txt", &round_and_round());
    let output = run(&folder, "--traces traces --only two --policies LRU,fleeting --jobs 1");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let out = folder.path().join("target/hit-ratio");
    assert!(out.join("two.svg").exists());
    let [row] = rows(&out).try_into().expect("there is one trace with one size");
    assert_eq!(row["trace"], "two");
    let policies = row["hit_ratios"].as_object().expect("there are some");
    assert!(policies.keys().all(|policy| policy == "LRU" || policy.starts_with("fleeting")));
}

#[test]
fn bad_input_is_one_line_and_exit_code_2() {
    let folder = folder();
    let lines = |lines: &[&str]| lines.iter().map(|&line| line.to_owned()).collect::<Vec<_>>();
    write(&folder, "good.txt", &round_and_round());
    write(&folder, "word.txt", &lines(&["1", "2", "three"]));
    write(&folder, "fields.txt", &lines(&["# timestamp_s key size_bytes ttl_s op", "1 2 3"]));
    write(&folder, "empty.txt", &[]);
    write(&folder, "cut.txt.gz", &round_and_round());
    let cut = folder.path().join("traces/cut.txt.gz");
    let bytes = fs::read(&cut).expect("it was written");
    fs::write(&cut, &bytes[..bytes.len() - 12]).expect("it can be written again");
    fs::create_dir(folder.path().join("bare")).expect("a folder can be made");

    for (arguments, named) in [
        ("--traces nowhere", "--traces: nowhere"),
        ("--traces bare", "--traces: bare"),
        ("--traces traces/good.txt", "--traces: traces/good.txt"),
        ("--traces traces --only good,bad", "--only: there is no trace \"bad\""),
        ("--traces traces --policies lru,best", "--policies: there is no policy \"best\""),
        ("--traces traces --only word", "traces/word.txt:3: "),
        ("--traces traces --only fields", "traces/fields.txt:2: "),
        ("--traces traces --only empty", "traces/empty.txt: "),
        ("--traces traces --only cut", "traces/cut.txt.gz:"),
        ("--traces traces --only good --out traces/good.txt/out", "--out: traces/good.txt/out"),
        ("--traces traces --check", "--only: there is no trace \"arc-oltp\""),
    ] {
        let output = run(&folder, arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments}");
        let error = text(&output.stderr);
        assert!(error.contains(named), "{arguments}: {error}");
        assert_eq!(error.lines().count(), 1, "{arguments}: {error}");
        assert_eq!(text(&output.stdout), "", "{arguments}");
    }
    for arguments in ["--jobs 0", "--jobs many", "--check --quick", "--trace traces"] {
        assert_eq!(run(&folder, arguments).status.code(), Some(2), "{arguments}");
    }
}

/// Where the traces are, what has been published of them is what the references find.
#[test]
fn what_others_have_published_comes_out_here() {
    let traces = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/traces");
    if !Path::new(traces).exists() {
        return;
    }
    let output = run(&folder(), "--check --only lirs-gli");
    assert!(output.status.success(), "{}", text(&output.stdout));
    assert_eq!(text(&output.stdout).lines().count(), 3);
}
