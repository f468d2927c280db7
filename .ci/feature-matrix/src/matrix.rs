//! `feature-matrix.toml`: the supported feature sets, and what is checked of each.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::report::{Outcome, fail_unless_empty};
use crate::tree::Rules;

/// Names of features.
pub(crate) type Features = BTreeSet<String>;

/// The file, with its defaults filled in.
#[derive(Debug)]
pub(crate) struct Matrix {
    /// The package whose features these are.
    pub(crate) package: String,
    sets: Vec<FeatureSet>,
    only_with: BTreeMap<String, Features>,
}

/// One supported feature set.
#[derive(Clone, Debug)]
pub(crate) struct FeatureSet {
    /// Its features, joined by `+`.
    pub(crate) name: String,
    /// The features that are on, all others being off.
    pub(crate) features: Features,
    /// What is done with it, in this order.
    pub(crate) steps: Vec<Step>,
    /// What its normal dependency tree must be like.
    pub(crate) crates: Rules,
}

/// One thing to do with a feature set.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Step {
    Build,
    Crates,
    Clippy,
    Test,
    Doc,
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    package: String,
    sets: Vec<Row>,
    defaults: Defaults,
    only_with: BTreeMap<String, Features>,
}

/// One row of `sets`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Row {
    features: Features,
    steps: Option<Vec<Step>>,
    procedural_macros: Option<bool>,
    max_crates: Option<usize>,
}

/// What a row has that does not say otherwise.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Defaults {
    steps: Vec<Step>,
    procedural_macros: bool,
    max_crates: Option<usize>,
}

impl Matrix {
    /// Reads the file at `path`.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("{} (run this from the top level)", path.display()))?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> Result<Self> {
        let File { package, sets, defaults, only_with } = toml::from_str(text)?;
        let sets: Vec<_> = sets.into_iter().map(|row| row.fill(&defaults, &only_with)).collect();
        let names: BTreeSet<_> = sets.iter().map(|set| &set.name).collect();
        ensure!(names.len() == sets.len(), "two sets have the same features");
        Ok(Self { package, sets, only_with })
    }

    /// Returns the sets of these names, or all of them if no name is given.
    pub(crate) fn select(&self, names: &[String]) -> Result<Vec<FeatureSet>> {
        if names.is_empty() {
            return Ok(self.sets.clone());
        }
        names.iter().map(|name| self.find(name).cloned()).collect()
    }

    fn find(&self, name: &str) -> Result<&FeatureSet> {
        let features = features_of(name);
        let Some(set) = self.sets.iter().find(|set| set.features == features) else {
            bail!("no set is called {name:?}: see --list");
        };
        Ok(set)
    }

    /// Fails unless the features that the matrix names are exactly those that the package has.
    pub(crate) fn agrees_with(&self, features: &Features) -> Outcome {
        let exercised: Features = self.sets.iter().flat_map(|set| set.features.clone()).collect();
        let conditions: Features = self.only_with.values().flatten().cloned().collect();
        let missing = features
            .difference(&exercised)
            .map(|feature| format!("no set exercises the feature {feature:?}"));
        let unknown = (&exercised | &conditions)
            .difference(features)
            .map(|feature| format!("the package has no feature {feature:?}"))
            .collect::<Vec<_>>();
        fail_unless_empty(missing.chain(unknown))
    }

    /// Fails if a rule is about a crate that nothing brings in, for such a rule never fails.
    pub(crate) fn crates_exist(&self, crates: &BTreeSet<String>) -> Outcome {
        let rules = self.only_with.keys();
        let unknown = rules.filter(|name| !crates.contains(*name));
        fail_unless_empty(unknown.map(|name| format!("no feature brings in the crate {name:?}")))
    }
}

impl Row {
    fn fill(self, defaults: &Defaults, only_with: &BTreeMap<String, Features>) -> FeatureSet {
        let banned = only_with.iter().filter(|(_, allowed)| allowed.is_disjoint(&self.features));
        FeatureSet {
            name: name(&self.features),
            steps: self.steps.unwrap_or_else(|| defaults.steps.clone()),
            crates: Rules {
                absent: banned.map(|(name, _)| name.clone()).collect(),
                procedural_macros: self.procedural_macros.unwrap_or(defaults.procedural_macros),
                max_crates: self.max_crates.or(defaults.max_crates),
            },
            features: self.features,
        }
    }
}

impl fmt::Display for FeatureSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: Vec<_> = self.steps.iter().map(Step::to_string).collect();
        write!(formatter, "{}: {}; {}", self.name, steps.join(", "), self.crates)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Build => "build",
            Self::Crates => "crates",
            Self::Clippy => "clippy",
            Self::Test => "test",
            Self::Doc => "doc",
        })
    }
}

/// Returns what the set of these features is called.
pub(crate) fn name(features: &Features) -> String {
    if features.is_empty() {
        return "none".to_owned();
    }
    features.iter().map(String::as_str).collect::<Vec<_>>().join("+")
}

/// Returns the features of the set that is called `name`, in whichever order it names them.
fn features_of(name: &str) -> Features {
    if name == "none" {
        return Features::new();
    }
    name.split('+').map(str::to_owned).collect()
}

/// Returns every combination of these features, none and all included.
pub(crate) fn combinations(features: &Features) -> Vec<Features> {
    features.iter().fold(vec![Features::new()], |without, feature| {
        let with = without.iter().map(|chosen| chosen | &Features::from([feature.clone()]));
        let with: Vec<_> = with.collect();
        [without, with].concat()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = r#"
        package = "example"
        sets = [
            { features = [], max-crates = 2 },
            { features = ["red"], steps = ["doc"] },
            { features = ["green", "blue"], procedural-macros = true },
        ]
        [defaults]
        steps = ["build", "test"]
        procedural-macros = false
        [only-with]
        paint = ["red", "green"]
        sky = ["blue"]
    "#;

    fn example() -> Matrix {
        Matrix::parse(EXAMPLE).expect("the example is valid")
    }

    fn features(names: &[&str]) -> Features {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn complaints(outcome: Outcome) -> String {
        outcome.expect_err("there is something to complain of").to_string()
    }

    #[test]
    fn a_set_has_the_defaults_that_it_does_not_override() {
        let [none, red, both] = &example().sets[..] else { panic!("there are three sets") };
        assert_eq!(none.steps, [Step::Build, Step::Test]);
        assert_eq!(red.steps, [Step::Doc]);
        assert_eq!((none.crates.max_crates, red.crates.max_crates), (Some(2), None));
        assert!(!none.crates.procedural_macros && both.crates.procedural_macros);
    }

    #[test]
    fn a_crate_is_absent_without_every_feature_that_may_bring_it_in() {
        let [none, red, both] = &example().sets[..] else { panic!("there are three sets") };
        assert_eq!(none.crates.absent, features(&["paint", "sky"]));
        assert_eq!(red.crates.absent, features(&["sky"]));
        assert_eq!(both.crates.absent, features(&[]));
    }

    #[test]
    fn a_feature_never_exercised_is_found() {
        let outcome = example().agrees_with(&features(&["red", "green", "blue", "black"]));
        assert_eq!(complaints(outcome), "no set exercises the feature \"black\"");
    }

    #[test]
    fn a_feature_that_the_package_lacks_is_found() {
        let outcome = example().agrees_with(&features(&["red", "green"]));
        assert_eq!(complaints(outcome), "the package has no feature \"blue\"");
    }

    #[test]
    fn a_condition_on_a_feature_that_the_package_lacks_is_found() {
        let matrix = EXAMPLE.replace("sky = [\"blue\"]", "sky = [\"azure\"]");
        let matrix = Matrix::parse(&matrix).expect("it is valid by itself");
        let outcome = matrix.agrees_with(&features(&["red", "green", "blue"]));
        assert_eq!(complaints(outcome), "the package has no feature \"azure\"");
    }

    #[test]
    fn equal_features_agree() {
        let outcome = example().agrees_with(&features(&["red", "green", "blue"]));
        assert!(outcome.is_ok());
    }

    #[test]
    fn a_rule_about_a_crate_that_nothing_brings_in_is_found() {
        let outcome = example().crates_exist(&features(&["example", "paint"]));
        assert_eq!(complaints(outcome), "no feature brings in the crate \"sky\"");
        assert!(example().crates_exist(&features(&["paint", "sky"])).is_ok());
    }

    #[test]
    fn unknown_keys_are_errors_at_every_level() {
        for (known, unknown) in [
            ("package = ", "packages = 1\npackage = "),
            ("{ features = []", "{ feature = 1, features = []"),
            ("[defaults]", "[defaults]\nstep = []"),
            ("[\"doc\"]", "[\"docs\"]"),
        ] {
            let text = EXAMPLE.replace(known, unknown);
            assert_ne!(text, EXAMPLE);
            let error = Matrix::parse(&text).expect_err(unknown).to_string();
            assert!(error.contains("unknown"), "{error}");
        }
    }

    #[test]
    fn two_sets_of_the_same_features_are_an_error() {
        let text = EXAMPLE.replace("[\"red\"], steps", "[\"blue\", \"green\"], steps");
        assert!(Matrix::parse(&text).is_err());
    }

    #[test]
    fn sets_are_selected_by_name() {
        let select = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
            let sets = example().select(&names).ok()?;
            Some(sets.into_iter().map(|set| set.name).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(select(&["none", "green+blue"]).as_deref(), Some("none blue+green"));
        assert_eq!(select(&["blue+green"]).as_deref(), Some("blue+green"));
        assert_eq!(select(&["blue"]), None);
        assert_eq!(select(&[]).as_deref(), Some("none red blue+green"));
    }

    #[test]
    fn combinations_are_all_subsets_once() {
        let all = combinations(&features(&["a", "b", "c"]));
        let distinct: BTreeSet<_> = all.iter().collect();
        assert_eq!((all.len(), distinct.len()), (8, 8));
        assert!(distinct.contains(&features(&[])));
        assert!(distinct.contains(&features(&["a", "c"])));
    }
}
