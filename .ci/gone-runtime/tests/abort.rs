//! Runs the program as it would be shipped with `panic = "abort"`: any panic ends it.

use std::env;
use std::process::Command;

#[test]
fn nothing_panics_where_the_runtime_is_gone() {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let program = Command::new(cargo)
        .args(["run", "--locked", "--quiet", "--package", "gone-runtime", "--profile", "abort"])
        .output()
        .expect("cargo runs");
    let errors = String::from_utf8_lossy(&program.stderr);
    assert!(program.status.success(), "{}: {errors}", program.status);
    assert!(!errors.contains("panicked"), "a panic was reported: {errors}");
}
