//! What Ctrl-C does.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::program::{Program, files, number, text};

/// Between two looks at something that cannot be waited for.
const PAUSE: Duration = Duration::from_millis(5);

fn start(program: &Program, arguments: &str) -> Child {
    let mut command = program.command(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the program can be started")
}

/// Starts the program on what comes through `pipe`. It is listening to Ctrl-C by then,
/// because one end of a pipe opens when the other does.
fn start_reading(program: &Program, arguments: &str) -> (Child, File) {
    shell(&format!("mkfifo '{}'", program.path("pipe").display()));
    let child = start(program, arguments);
    let pipe = OpenOptions::new().write(true).open(program.path("pipe"));
    (child, pipe.expect("the program opens the pipe"))
}

fn interrupt(child: &Child) {
    shell(&format!("kill -INT {}", child.id()));
}

fn shell(command: &str) {
    let status = Command::new("sh").args(["-c", command]).status();
    assert!(status.expect("there is a shell").success(), "{command}");
}

#[test]
fn the_first_one_asks_for_the_report_so_far() {
    let program = Program::new();
    let arguments = "--requests 3000000 --keys 10 --max-size 1 --concurrency 1 --json";
    let child = start(&program, arguments);
    // The database is there: it is after the program has begun to listen.
    while !files(&program.temporary()).any(|folder| files(&folder).next().is_some()) {
        thread::sleep(PAUSE);
    }
    interrupt(&child);
    let output = child.wait_with_output().expect("the program ends");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(130), ""));
    let report: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(report["is_interrupted"], true);
    assert!(number(&report, "requests") < 3_000_000);
    assert!(program.is_clean());
}

#[test]
fn before_the_first_request_the_report_is_empty() {
    let program = Program::new();
    let (child, mut pipe) = start_reading(&program, "--trace pipe --json");
    interrupt(&child);
    // Until the program reads no further.
    while pipe.write_all(b"1\n2\n3\n").is_ok() {}
    let output = child.wait_with_output().expect("the program ends");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(130), ""));
    let report: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(report["is_interrupted"], true);
    assert_eq!(number(&report, "requests"), 0);
    assert!(program.is_clean());
}

#[test]
fn while_tune_reads_nothing_is_recommended() {
    let program = Program::new();
    let (child, mut pipe) = start_reading(&program, "tune pipe --json");
    interrupt(&child);
    // Until the program reads no further.
    while pipe.write_all(b"1\n2\n3\n").is_ok() {}
    let output = child.wait_with_output().expect("the program ends");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(130), ""));
    let report: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(report["is_interrupted"], true);
    assert!(report["advice"].is_null() && report["cells"] == Value::Array(Vec::new()));
}

#[test]
fn the_second_one_ends_the_program_at_once() {
    let program = Program::new();
    // Says nothing: the program waits for a first line.
    let (mut child, pipe) = start_reading(&program, "--trace pipe");
    while child.try_wait().expect("the program is there").is_none() {
        interrupt(&child);
        thread::sleep(PAUSE);
    }
    drop(pipe);
    let output = child.wait_with_output().expect("the program ends");
    assert_eq!(output.status.code(), Some(130));
    assert_eq!((text(&output.stdout), text(&output.stderr)), ("", ""));
    assert!(program.is_clean());
}
