//! The normal dependency tree of a build: what is in it, and what may be.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use cargo_metadata::{DependencyKind, Metadata, Node, Package, PackageId, TargetKind};

use crate::report::{Outcome, fail_unless_empty};

/// A crate of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Crate {
    pub(crate) name: String,
    pub(crate) procedural_macro: bool,
}

/// What a tree must be like.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// Crates that must not be in it.
    pub(crate) absent: BTreeSet<String>,
    /// Whether procedural macros may be in it.
    pub(crate) procedural_macros: bool,
    /// The most crates that it may have, its root included.
    pub(crate) max_crates: Option<usize>,
}

/// Who depends on whom, for use and not only to build or to test.
pub(crate) struct Graph {
    crates: BTreeMap<PackageId, Crate>,
    dependencies: BTreeMap<PackageId, Vec<PackageId>>,
}

impl Graph {
    /// Takes the normal dependencies out of what cargo says.
    pub(crate) fn new(metadata: &Metadata) -> Self {
        let crates = metadata.packages.iter().map(|package| (package.id.clone(), package.into()));
        let nodes = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes);
        Self {
            crates: crates.collect(),
            dependencies: nodes.map(|node| (node.id.clone(), normal_dependencies(node))).collect(),
        }
    }

    /// Returns what `root` depends on, itself included, as far as it was built.
    ///
    /// The graph alone tells too much: it has the features of the whole workspace on, and an optional
    /// dependency in it as soon as a feature such as `tokio?/test-util` speaks of it. What a build
    /// compiled alone tells too much as well: build scripts have dependencies of their own.
    pub(crate) fn tree(&self, root: &PackageId, built: &BTreeSet<PackageId>) -> Vec<Crate> {
        let mut seen = BTreeSet::new();
        let mut ahead = vec![root];
        while let Some(id) = ahead.pop() {
            if built.contains(id) && seen.insert(id) {
                ahead.extend(self.dependencies.get(id).into_iter().flatten());
            }
        }
        seen.iter().filter_map(|id| self.crates.get(*id)).cloned().collect()
    }
}

fn normal_dependencies(node: &Node) -> Vec<PackageId> {
    let normal = node.deps.iter().filter(|dependency| {
        dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal)
    });
    normal.map(|dependency| dependency.pkg.clone()).collect()
}

impl From<&Package> for Crate {
    fn from(package: &Package) -> Self {
        let mut targets = package.targets.iter();
        Self {
            name: package.name.clone(),
            procedural_macro: targets.any(|target| target.kind.contains(&TargetKind::ProcMacro)),
        }
    }
}

impl Rules {
    /// Fails with each crate that breaks a rule.
    pub(crate) fn allow(&self, tree: &[Crate]) -> Outcome {
        let banned = tree.iter().filter_map(|found| self.complaint(found));
        fail_unless_empty(banned.chain(self.size_complaint(tree)))
    }

    fn complaint(&self, found: &Crate) -> Option<String> {
        if self.absent.contains(&found.name) {
            return Some(format!("{} is in the dependency tree", found.name));
        }
        let macros = found.procedural_macro && !self.procedural_macros;
        macros.then(|| format!("{}, a procedural macro, is in the dependency tree", found.name))
    }

    fn size_complaint(&self, tree: &[Crate]) -> Option<String> {
        let limit = self.max_crates.filter(|&limit| tree.len() > limit)?;
        let names: Vec<_> = tree.iter().map(|found| found.name.as_str()).collect();
        Some(format!("{} crates, more than {limit}: {}", names.len(), names.join(", ")))
    }
}

impl fmt::Display for Rules {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rules: Vec<_> = self.absent.iter().map(|name| format!("no {name}")).collect();
        if !self.procedural_macros {
            rules.push("no procedural macro".to_owned());
        }
        rules.extend(self.max_crates.map(|limit| format!("at most {limit} crates")));
        formatter.write_str(&rules.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use cargo_metadata::MetadataCommand;

    use super::*;

    const RULES: Rules =
        Rules { absent: BTreeSet::new(), procedural_macros: false, max_crates: Some(2) };

    fn library(name: &str) -> Crate {
        Crate { name: name.to_owned(), procedural_macro: false }
    }

    fn id(name: &str) -> PackageId {
        PackageId { repr: name.to_owned() }
    }

    fn complaint(rules: &Rules, tree: &[Crate]) -> String {
        rules.allow(tree).expect_err("a rule is broken").to_string()
    }

    #[test]
    fn a_forbidden_crate_is_found() {
        let rules = Rules { absent: BTreeSet::from(["tar".to_owned()]), ..RULES };
        let tree = [library("feather"), library("tar")];
        assert_eq!(complaint(&rules, &tree), "tar is in the dependency tree");
        assert!(rules.allow(&tree[..1]).is_ok());
    }

    #[test]
    fn a_procedural_macro_is_found() {
        let tree = [Crate { name: "derive".to_owned(), procedural_macro: true }];
        assert!(complaint(&RULES, &tree).starts_with("derive, a procedural macro"));
        let lenient = Rules { procedural_macros: true, ..RULES };
        assert!(lenient.allow(&tree).is_ok());
    }

    #[test]
    fn one_crate_too_many_is_found() {
        let tree = ["one", "two", "three"].map(library);
        assert_eq!(complaint(&RULES, &tree), "3 crates, more than 2: one, two, three");
        assert!(RULES.allow(&tree[..2]).is_ok());
    }

    #[test]
    fn a_tree_has_what_is_reached_and_was_built() {
        let graph = Graph {
            crates: ["root", "near", "far", "off", "apart"]
                .map(|name| (id(name), library(name)))
                .into(),
            dependencies: [
                (id("root"), vec![id("near"), id("off")]),
                (id("near"), vec![id("far"), id("root")]),
            ]
            .into(),
        };
        let built = ["root", "near", "far", "apart"].map(id).into();
        let mut names: Vec<_> =
            graph.tree(&id("root"), &built).into_iter().map(|found| found.name).collect();
        names.sort();
        assert_eq!(names, ["far", "near", "root"]);
    }

    #[test]
    fn cargo_tells_which_crates_are_procedural_macros() {
        let metadata = MetadataCommand::new().other_options(["--locked".to_owned()]).exec();
        let graph = Graph::new(&metadata.expect("this is a workspace"));
        let find = |name| graph.crates.values().find(|found| found.name == name);
        assert!(find("serde_derive").expect("serde brings it in").procedural_macro);
        assert!(!find("serde").expect("this program depends on it").procedural_macro);
    }

    #[test]
    fn dependencies_that_only_build_or_test_are_left_out() {
        let node = r#"{ "id": "root", "dependencies": [], "deps": [
            { "name": "a", "pkg": "test", "dep_kinds": [{ "kind": "dev", "target": null }] },
            { "name": "b", "pkg": "build", "dep_kinds": [{ "kind": "build", "target": null }] },
            { "name": "c", "pkg": "use", "dep_kinds": [
                { "kind": "dev", "target": null }, { "kind": null, "target": null }
            ] }
        ] }"#;
        let node = serde_json::from_str(node).expect("cargo writes nodes like this");
        assert_eq!(normal_dependencies(&node), [id("use")]);
    }
}
