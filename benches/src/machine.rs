//! Machine: on what was measured, and which versions.

use std::collections::BTreeMap;
use std::{env, fs, thread};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Every crate that the numbers depend on.
const CRATES: [&str; 14] = [
    "fleeting",
    "TinyUFO",
    "cached",
    "fibre_cache",
    "foyer-memory",
    "hashbrown",
    "lru",
    "mini-moka",
    "moka",
    "quick_cache",
    "scc",
    "sieve-cache",
    "stretto",
    "tokio",
];

/// On what was measured, and which versions.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) system: String,
    pub(crate) compiler: String,
    pub(crate) versions: BTreeMap<&'static str, String>,
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    #[serde(default)]
    dependencies: Vec<String>,
}

impl Machine {
    pub(crate) fn look() -> Self {
        Self {
            date: Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
            processor: processor().unwrap_or_else(|| env::consts::ARCH.to_owned()),
            cores: thread::available_parallelism().map_or(1, Into::into),
            system: system(),
            compiler: rustc_version_runtime::version().to_string(),
            versions: Lock::read().versions(),
        }
    }
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn system() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let text = format!("{} {} {}", env::consts::OS, release.trim(), env::consts::ARCH);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Lock {
    fn read() -> Self {
        let text = include_str!("../../Cargo.lock");
        toml::from_str(text).expect("cargo has written it")
    }

    /// The versions of what this package depends on.
    fn versions(&self) -> BTreeMap<&'static str, String> {
        CRATES.into_iter().filter_map(|name| Some((name, self.version(name)?))).collect()
    }

    /// A dependency is a name, and a version too if the name alone is ambiguous.
    fn version(&self, name: &str) -> Option<String> {
        let package = |name: &str| self.package.iter().find(|package| package.name == name);
        let dependencies = &package(env!("CARGO_PKG_NAME"))?.dependencies;
        let mut words = dependencies
            .iter()
            .map(|dependency| dependency.split(' '))
            .find(|words| words.clone().next() == Some(name))?;
        let version = words.nth(1).map(str::to_owned);
        version.or_else(|| Some(package(name)?.version.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_is_known() {
        let versions = Lock::read().versions();
        assert_eq!(versions.len(), CRATES.len());
        assert!(versions["quick_cache"].starts_with("0.7"));
    }
}
