//! Check: what others have published comes out here too.

use serde::Deserialize;

use crate::console::print;
use crate::error::Failure;

use super::comparison::share;
use super::contender;
use super::trace::{Sources, Trace};

/// What others have published.
#[derive(Deserialize)]
struct Published {
    series: Vec<Series>,
}

/// Hit ratios of one policy on one trace.
#[derive(Deserialize)]
struct Series {
    trace: String,
    /// Its name on the command line.
    policy: String,
    /// Entries, and percent.
    points: Vec<(usize, f64)>,
}

/// Half of the last digit that is published, and a little for what a fraction cannot hold.
const TOLERANCE: f64 = 0.005 + 1e-9;

/// Replays what others have, prints both, and fails if they differ.
///
/// Only on the traces with these names; on all, if there are no names.
pub(crate) fn run(sources: Sources, only: &[String]) -> Result<(), Failure> {
    let mut published = Published::read().series;
    published.retain(|series| only.is_empty() || only.contains(&series.trace));
    let names: Vec<_> = published.iter().map(|series| &series.trace).chain(only).collect();
    let traces = sources.only(&names)?.load(usize::MAX)?;
    let mut differing = 0;
    for series in &published {
        let trace = traces.iter().find(|trace| trace.name == series.trace);
        differing += series.check(trace.expect("it was loaded"))?;
    }
    if differing > 0 {
        return Err(Failure::NotAsPublished { differing });
    }
    Ok(())
}

impl Published {
    fn read() -> Self {
        toml::from_str(include_str!("../../published.toml")).expect("a test has read it")
    }
}

impl Series {
    /// Returns how many points differ.
    fn check(&self, trace: &Trace) -> Result<usize, Failure> {
        let policy = contender::named(&self.policy).expect("a test has found it");
        let mut differing = 0;
        for &(entries, percent) in &self.points {
            let hits = (policy.replay)(trace, entries);
            let here = 100.0 * share(hits, trace.len() as u64);
            let is_same = (here - percent).abs() <= TOLERANCE;
            differing += usize::from(!is_same);
            let mark = if is_same { "" } else { ", which differs" };
            let (trace, policy) = (&self.trace, policy.name);
            print(&format!(
                "{trace}, {policy}, {entries} entries: {here:.2} % here, {percent:.2} % published{mark}\n"
            ))?;
        }
        Ok(differing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_can_be_replayed() {
        for series in Published::read().series {
            let policy = contender::named(&series.policy).expect("there is such a policy");
            assert_eq!(policy.runs, 1, "{}", policy.name);
        }
    }
}
