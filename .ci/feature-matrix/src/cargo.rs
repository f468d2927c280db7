//! What cargo is asked, and asked to do, with one feature set.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};
use cargo_metadata::{CargoOpt, Message, Metadata, MetadataCommand, Package, PackageId};

use crate::matrix::Features;
use crate::report::Outcome;
use crate::tree::{Crate, Graph};

/// The workspace, and the package in it that is looked at.
pub(crate) struct Workspace {
    package: Package,
    graph: Graph,
    crate_names: BTreeSet<String>,
}

impl Workspace {
    /// Asks cargo what is in the workspace of the present folder.
    pub(crate) fn read(package: &str) -> Result<Self> {
        let metadata = MetadataCommand::new()
            .features(CargoOpt::AllFeatures)
            .other_options(["--locked".to_owned()])
            .exec()?;
        Ok(Self {
            package: find(&metadata, package)?.clone(),
            graph: Graph::new(&metadata),
            crate_names: metadata.packages.iter().map(|found| found.name.clone()).collect(),
        })
    }

    /// Returns the features that the package offers.
    pub(crate) fn features(&self) -> Features {
        // `default` is not a choice of its own: it stands for some of the others.
        self.package.features.keys().filter(|name| *name != "default").cloned().collect()
    }

    /// Returns the names of all crates that some feature of some member brings in.
    pub(crate) fn crate_names(&self) -> &BTreeSet<String> {
        &self.crate_names
    }

    /// Builds the library.
    pub(crate) fn build(&self, features: &Features) -> Outcome {
        run(self.cargo("build", features).arg("--lib")).map(drop)
    }

    /// Compiles the library as far as needed to know that it does, without a warning.
    pub(crate) fn check(&self, features: &Features) -> Outcome {
        // This is `cargo check`, with a flag for the one crate and not for its dependencies.
        let mut command = self.cargo("rustc", features);
        run(command.args(["--lib", "--profile", "check", "--", "-Dwarnings"])).map(drop)
    }

    /// Lints every target.
    pub(crate) fn clippy(&self, features: &Features) -> Outcome {
        run(self.cargo("clippy", features).args(["--all-targets", "--", "-Dwarnings"])).map(drop)
    }

    /// Runs the unit, integration and documentation tests.
    pub(crate) fn test(&self, features: &Features) -> Outcome {
        run(&mut self.cargo("test", features)).map(drop)
    }

    /// Builds the documentation.
    pub(crate) fn doc(&self, features: &Features) -> Outcome {
        let mut command = self.cargo("doc", features);
        run(command.arg("--no-deps").env("RUSTDOCFLAGS", "-Dwarnings")).map(drop)
    }

    /// Returns the normal dependency tree of the library for the machine that this runs on.
    pub(crate) fn tree(&self, features: &Features) -> Result<Vec<Crate>> {
        let mut command = self.cargo("build", features);
        let output = run(command.args(["--lib", "--message-format=json"]))?;
        Ok(self.graph.tree(&self.package.id, &built(&output)?))
    }

    fn cargo(&self, subcommand: &str, features: &Features) -> Command {
        let mut command = Command::new(cargo_path());
        command
            .args([subcommand, "--locked", "--package", &self.package.name])
            .args(["--no-default-features", "--features"])
            .arg(features.iter().map(String::as_str).collect::<Vec<_>>().join(","));
        if env::var_os("CARGO_INCREMENTAL").is_none() {
            // Each set is compiled once: state for a second time is time and room wasted.
            command.env("CARGO_INCREMENTAL", "0");
        }
        command
    }
}

fn find<'a>(metadata: &'a Metadata, name: &str) -> Result<&'a Package> {
    let mut members = metadata.workspace_packages().into_iter();
    members
        .find(|package| package.name == name)
        .with_context(|| format!("no package {name:?} in the workspace"))
}

/// Returns the cargo that started this program, or else the one on the path.
fn cargo_path() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Runs a command to its end; a failure shows all that it said.
fn run(command: &mut Command) -> Result<Output> {
    let output = command.stdin(Stdio::null()).output().context("cargo cannot be started")?;
    if !output.status.success() {
        bail!("{command:?}: {}\n{}", output.status, said(&output));
    }
    Ok(output)
}

fn said(output: &Output) -> String {
    [&output.stderr[..], &output.stdout[..]].map(String::from_utf8_lossy).concat()
}

/// Returns the packages that a build compiled, or found compiled already.
fn built(output: &Output) -> Result<BTreeSet<PackageId>> {
    let mut packages = BTreeSet::new();
    for message in Message::parse_stream(&output.stdout[..]) {
        if let Message::CompilerArtifact(artifact) = message? {
            packages.insert(artifact.package_id);
        }
    }
    Ok(packages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_found_with_its_features() {
        let workspace = Workspace::read("feature-matrix").expect("this package is a member");
        assert_eq!(workspace.features(), Features::new());
        assert!(workspace.crate_names().contains("toml"));
    }

    #[test]
    fn a_package_that_is_no_member_is_an_error() {
        assert!(Workspace::read("toml").is_err());
    }

    #[test]
    fn a_failure_shows_what_was_said() {
        let error = run(Command::new(cargo_path()).arg("no-such-command")).expect_err("it fails");
        assert!(error.to_string().contains("no such command"), "{error}");
    }

    #[test]
    fn the_crates_of_a_build_are_those_that_cargo_names() {
        let output = Output {
            stdout: ARTIFACT.as_bytes().to_vec(),
            ..run(Command::new(cargo_path()).arg("--version")).expect("cargo is here")
        };
        let built = built(&output).expect("the message is valid");
        assert_eq!(built, BTreeSet::from([PackageId { repr: "slab".to_owned() }]));
    }

    const ARTIFACT: &str = r#"{"reason":"compiler-artifact","package_id":"slab","manifest_path":"/slab/Cargo.toml","target":{"kind":["lib"],"crate_types":["lib"],"name":"slab","src_path":"/slab/src/lib.rs","edition":"2018","doc":true,"doctest":true,"test":true},"profile":{"opt_level":"0","debuginfo":0,"debug_assertions":true,"overflow_checks":true,"test":false},"features":["std"],"filenames":["/slab.rlib"],"executable":null,"fresh":true}
{"reason":"build-finished","success":true}
"#;
}
