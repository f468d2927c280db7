//! What counts depend on beside the code: the tools that compile, link and run it.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// The version of each tool.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Tools(BTreeMap<String, String>);

impl Tools {
    /// Asks the tools of this machine.
    pub(crate) fn here() -> Result<Self> {
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let valgrind = version("valgrind".into(), "--version").ok();
        let libc = version("getconf".into(), "GNU_LIBC_VERSION");
        let tools = [
            ("libc", libc.unwrap_or_else(|_| "not glibc".to_owned())),
            ("machine", env::consts::ARCH.to_owned()),
            ("rustc", version(rustc, "--version").context("rustc cannot be run")?),
            ("valgrind", valgrind.context("needs valgrind: install the package `valgrind`")?),
        ];
        Ok(Self(tools.map(|(tool, version)| (tool.to_owned(), version)).into()))
    }

    /// Tells which tools are others now.
    pub(crate) fn changes(&self, now: &Self) -> Vec<String> {
        let changed = now.0.iter().filter(|(tool, version)| self.0.get(*tool) != Some(version));
        let tell = |(tool, version): (&String, &String)| {
            let recorded = self.0.get(tool).map_or("unknown", String::as_str);
            format!("{tool}: {recorded} when recorded, {version} now")
        };
        changed.map(tell).collect()
    }
}

fn version(program: OsString, argument: &str) -> Result<String> {
    let output = Command::new(program).arg(argument).output()?;
    ensure!(output.status.success(), "{}", output.status);
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tools(rustc: &str) -> Tools {
        Tools([("rustc", rustc), ("valgrind", "3")].map(|(a, b)| (a.into(), b.into())).into())
    }

    #[test]
    fn another_version_is_told() {
        let told = tools("1.85").changes(&tools("1.86"));
        assert_eq!(told, ["rustc: 1.85 when recorded, 1.86 now"]);
        assert!(tools("1.85").changes(&tools("1.85")).is_empty());
    }

    #[test]
    fn a_tool_that_was_not_recorded_is_told() {
        let told = Tools::default().changes(&tools("1.86"));
        assert_eq!(told[0], "rustc: unknown when recorded, 1.86 now");
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        assert!(version("no-such-program".into(), "--version").is_err());
    }
}
