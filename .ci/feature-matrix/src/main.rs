//! Checks every feature set of `feature-matrix.toml`: the arguments, and the order of the work.

mod cargo;
mod matrix;
mod report;
mod tree;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::cargo::Workspace;
use crate::matrix::{FeatureSet, Matrix, Step};
use crate::report::{Outcome, Report};

/// Checks every feature set of feature-matrix.toml.
#[derive(Parser)]
struct Arguments {
    /// Checks only the set of this name; may be given more than once
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Lists the sets, and what is checked of each, and stops
    #[arg(long)]
    list: bool,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let matrix = Matrix::read(Path::new("feature-matrix.toml"))?;
    let sets = matrix.select(&arguments.only)?;
    if arguments.list {
        print_all(&sets);
        return Ok(ExitCode::SUCCESS);
    }
    let workspace = Workspace::read(&matrix.package)?;
    let mut report = Report::default();
    report.step("matrix", "features", || matrix.agrees_with(&workspace.features()));
    report.step("matrix", "only-with", || matrix.crates_exist(workspace.crate_names()));
    for set in &sets {
        check_set(set, &workspace, &mut report);
    }
    if arguments.only.is_empty() {
        check_combinations(&workspace, &mut report);
    }
    Ok(report.finish())
}

fn print_all(sets: &[FeatureSet]) {
    for set in sets {
        println!("{set}");
    }
}

/// Takes the steps of one set.
fn check_set(set: &FeatureSet, workspace: &Workspace, report: &mut Report) {
    for &step in &set.steps {
        report.step(&set.name, &step.to_string(), || take_step(step, set, workspace));
    }
}

fn take_step(step: Step, set: &FeatureSet, workspace: &Workspace) -> Outcome {
    match step {
        Step::Build => workspace.build(&set.features),
        Step::Crates => set.crates.allow(&workspace.tree(&set.features)?),
        Step::Clippy => workspace.clippy(&set.features),
        Step::Test => workspace.test(&set.features),
        Step::Doc => workspace.doc(&set.features),
    }
}

/// Compiles the library with every combination of its features, supported or not.
fn check_combinations(workspace: &Workspace, report: &mut Report) {
    for features in matrix::combinations(&workspace.features()) {
        report.step(&matrix::name(&features), "check", || workspace.check(&features));
    }
}
