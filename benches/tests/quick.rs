//! A quick run of the program: everything is measured, printed and written.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

fn run(folder: &TempDir, arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_benches"));
    // Cargo has built the other program already, and need not look again.
    command.env_remove("CARGO").current_dir(folder.path());
    command.args(arguments.split_whitespace()).output().expect("the program can be started")
}

fn folder() -> TempDir {
    TempDir::with_prefix("benches-").expect("a temporary folder can be made")
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).expect("the program writes text")
}

#[test]
fn a_quick_run_measures_everything() {
    let folder = folder();
    let output = run(&folder, "--quick --rounds 5 --output out");
    assert!(output.status.success(), "{}", text(&output.stderr));

    let printed = text(&output.stdout);
    assert!(printed.starts_with("# fleeting and its peers"));
    let (_, targets) = printed.split_once("## Targets").expect("targets come last");
    assert_eq!(targets.lines().filter(|line| line.starts_with("| ")).count(), 1 + 25);

    let results = fs::read(folder.path().join("out/results.json")).expect("results are written");
    let results: Value = serde_json::from_slice(&results).expect("results are JSON");
    for target in results["targets"].as_array().expect("there are targets") {
        assert_ne!(target["mark"], "unknown", "{target}");
    }
    for chart in [
        "reads", "writes", "zipf", "policies", "computes", "waiters", "callers", "lifetime",
        "memory",
    ] {
        let path = folder.path().join(format!("out/{chart}.svg"));
        let drawing = fs::read_to_string(path).expect("charts are written");
        assert!(drawing.contains("fleeting"), "{chart}");
    }
}

#[test]
fn only_some_workloads() {
    let folder = folder();
    let output = run(&folder, "--quick --only overwrite");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("## Writes"));
    assert!(!text(&output.stdout).contains("## Reads"));
    assert!(folder.path().join("target/benches/results.json").exists());
}

#[test]
fn bad_input_is_one_line_and_exit_code_2() {
    let folder = folder();
    fs::write(folder.path().join("file"), "").expect("a file can be written");
    for arguments in ["--only nothing-has-this-name", "--quick --output file/folder"] {
        let output = run(&folder, arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments}");
        assert_eq!(text(&output.stderr).lines().count(), 1, "{arguments}");
        assert_eq!(text(&output.stdout), "", "{arguments}");
    }
    for arguments in ["--rounds 4", "--rounds many", "--seed -1"] {
        assert_eq!(run(&folder, arguments).status.code(), Some(2), "{arguments}");
    }
}
