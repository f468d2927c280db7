//! Scale: how large the workloads are and how long a sample takes.

use std::time::Duration;

/// Sizes and times of a run. The titles of workloads name the full sizes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    is_quick: bool,
    pub(crate) rounds: usize,
    pub(crate) seed: u64,
    /// How long a sample takes.
    pub(crate) sample: Duration,
    /// 10 k.
    pub(crate) small: usize,
    /// 100 k.
    pub(crate) medium: usize,
    /// 1 M.
    pub(crate) large: usize,
    /// 10 M.
    pub(crate) huge: usize,
    /// How many calls a trace has.
    pub(crate) trace: usize,
    /// A time to live that has to pass in reality. Filling a cache takes less.
    pub(crate) real_ttl: Duration,
}

impl Scale {
    pub(crate) fn full(rounds: usize, seed: u64) -> Self {
        Self {
            is_quick: false,
            rounds,
            seed,
            sample: Duration::from_millis(40),
            small: 10_000,
            medium: 100_000,
            large: 1_000_000,
            huge: 10_000_000,
            trace: 1 << 20,
            real_ttl: Duration::from_secs(3),
        }
    }

    /// Just enough to see that everything works.
    pub(crate) fn quick(rounds: usize, seed: u64) -> Self {
        Self {
            is_quick: true,
            rounds,
            seed,
            sample: Duration::from_micros(200),
            small: 1_000,
            medium: 2_000,
            large: 4_000,
            huge: 8_000,
            trace: 1 << 10,
            real_ttl: Duration::from_millis(50),
        }
    }

    /// The options that lead to this scale, for another program.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut arguments =
            vec![format!("--rounds={}", self.rounds), format!("--seed={}", self.seed)];
        arguments.extend(self.is_quick.then(|| "--quick".to_owned()));
        arguments
    }
}
