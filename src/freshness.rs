//! Freshness: how old a value may be, and when it is to be renewed; pure.

use std::time::Duration;

use crate::clock::Tick;

/// The cache's rules for values that are old, or past their time to live. Nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Freshness {
    refresh_after: u64,
    early_refresh: f64,
    stale_while_revalidate: u64,
    stale_if_error: u64,
}

/// When a value was stored, and how long it took to compute.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Age {
    pub(crate) born: Tick,
    /// Zero if it was not computed.
    pub(crate) cost: Duration,
}

/// Off.
const NEVER: u64 = u64::MAX;

impl Freshness {
    pub(crate) fn new(
        refresh_after: Option<Duration>,
        early_refresh: f64,
        stale_while_revalidate: Duration,
        stale_if_error: Duration,
    ) -> Self {
        Self {
            refresh_after: refresh_after.map_or(NEVER, nanos),
            early_refresh,
            stale_while_revalidate: nanos(stale_while_revalidate),
            stale_if_error: nanos(stale_if_error),
        }
    }

    /// Whether fresh values may be renewed, for which their ages must be known.
    #[inline]
    pub(crate) fn watches_age(&self) -> bool {
        self.refresh_after != NEVER || self.early_refresh > 0.0
    }

    /// How long a value is kept past its time to live.
    #[inline]
    pub(crate) fn grace(&self) -> u64 {
        self.stale_while_revalidate.max(self.stale_if_error)
    }

    /// Until when a value with this deadline is served while it is renewed.
    pub(crate) fn served_until(&self, deadline: Tick) -> Tick {
        deadline.after_nanos(self.stale_while_revalidate)
    }

    /// Until when a value with this deadline stands in for a compute that failed.
    pub(crate) fn stands_in_until(&self, deadline: Tick) -> Tick {
        deadline.after_nanos(self.stale_if_error)
    }

    pub(crate) fn has_stand_ins(&self) -> bool {
        self.stale_if_error > 0
    }

    /// Whether a fresh value is to be renewed now: because it is old, or by chance because it will
    /// be soon. `random` is between 0 and 1.
    ///
    /// The chance is that of `XFetch` (Vattani, Chierichetti and Lowenstein, "Optimal Probabilistic
    /// Cache Stampede Prevention", VLDB 2015): the longer the compute takes and the nearer the
    /// deadline, the likelier.
    #[expect(clippy::cast_precision_loss, reason = "of centuries, the last minute does not matter")]
    pub(crate) fn is_due(
        &self,
        age: Age,
        deadline: Tick,
        now: Tick,
        random: impl FnOnce() -> f64,
    ) -> bool {
        if self.refresh_after != NEVER && now >= age.born.after_nanos(self.refresh_after) {
            return true;
        }
        if self.early_refresh == 0.0 || age.cost.is_zero() || deadline == Tick::NEVER {
            return false;
        }
        let ahead = age.cost.as_nanos() as f64 * self.early_refresh * -random().ln();
        ahead >= deadline.since(now).as_nanos() as f64
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn tick(seconds: u64) -> Tick {
        Tick::START.after(SECOND * u32::try_from(seconds).expect("a few seconds"))
    }

    #[test]
    fn an_old_value_is_due() {
        let rules = Freshness::new(Some(10 * SECOND), 0.0, Duration::ZERO, Duration::ZERO);
        let age = Age { born: tick(5), cost: Duration::ZERO };
        let is_due = |now| rules.is_due(age, tick(100), now, || unreachable!("no chance"));
        assert!(!is_due(tick(14)));
        assert!(is_due(tick(15)));
    }

    #[test]
    fn a_value_may_be_due_before_its_deadline() {
        let rules = Freshness::new(None, 2.0, Duration::ZERO, Duration::ZERO);
        let age = Age { born: tick(0), cost: SECOND };
        let is_due = |now, random| rules.is_due(age, tick(100), tick(now), || random);
        // Twice the cost, times the logarithm of e.
        let typical = (-1.0_f64).exp();
        assert!(!is_due(97, typical));
        assert!(is_due(98, typical));
        assert!(!is_due(98, 1.0), "an unlikely late draw");
        assert!(is_due(0, 0.0), "an infinitely early one");
        let free = Age { born: tick(0), cost: Duration::ZERO };
        assert!(!rules.is_due(free, tick(100), tick(99), || 0.0), "what cost nothing is no loss");
    }

    #[test]
    fn what_never_expires_is_not_due_early() {
        let rules = Freshness::new(None, 1.0, Duration::ZERO, Duration::ZERO);
        let age = Age { born: tick(0), cost: SECOND };
        assert!(!rules.is_due(age, Tick::NEVER, tick(1_000), || 0.0));
    }
}
