//! `counts.toml`: what was counted when it was last recorded, and with which tools.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::RECORD;
use crate::tools::Tools;

const HEADER: &str = "\
# Instructions of one call of each kind: what `cargo run --release --locked -p instructions` compares
# with, and writes here when asked to with `-- --record`.
";

/// The file.
#[derive(Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// What the counts were made with.
    pub(crate) tools: Tools,
    /// For each operation, by its name.
    pub(crate) counts: BTreeMap<String, u32>,
}

impl Record {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("{} (record it: {RECORD})", path.display()))?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        fs::write(path, self.text()?).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> Result<Self> {
        Ok(toml::from_str(text)?)
    }

    fn text(&self) -> Result<String> {
        Ok(format!("{HEADER}\n{}", toml::to_string(self)?))
    }

    /// Fails unless there is one count for each of these operations, and no other.
    pub(crate) fn has_exactly(&self, operations: &BTreeSet<String>) -> Result<()> {
        let recorded: BTreeSet<_> = self.counts.keys().cloned().collect();
        let missing = operations.difference(&recorded);
        let unknown = recorded.difference(operations);
        let complaints: Vec<_> = missing
            .map(|name| format!("{name} was not recorded"))
            .chain(unknown.map(|name| format!("{name} was recorded, but is no operation")))
            .collect();
        if !complaints.is_empty() {
            bail!("{}; record all: {RECORD}", complaints.join(", "));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(names: &[&str]) -> Record {
        let counts = names.iter().map(|&name| (name.to_owned(), 1)).collect();
        Record { tools: Tools::default(), counts }
    }

    fn operations(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let written = record(&["hit", "miss"]);
        let text = written.text().expect("it can be written");
        assert_eq!(Record::parse(&text).expect("it is valid"), written);
    }

    #[test]
    fn an_operation_without_a_count_is_found() {
        let outcome = record(&["hit"]).has_exactly(&operations(&["hit", "miss"]));
        let message = outcome.expect_err("one is missing").to_string();
        assert_eq!(message, format!("miss was not recorded; record all: {RECORD}"));
    }

    #[test]
    fn a_count_without_an_operation_is_found() {
        let outcome = record(&["hit", "miss"]).has_exactly(&operations(&["hit"]));
        let message = outcome.expect_err("one is superfluous").to_string();
        assert_eq!(
            message,
            format!("miss was recorded, but is no operation; record all: {RECORD}")
        );
    }

    #[test]
    fn one_count_for_each_operation_is_as_it_should_be() {
        assert!(record(&["hit", "miss"]).has_exactly(&operations(&["miss", "hit"])).is_ok());
    }
}
