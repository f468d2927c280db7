//! The clock of one cache: what time it is, in nanoseconds since the cache was built.

use std::time::{Duration, Instant};

use crate::runtime::Runtime;
use crate::sync::Arc;

/// A moment: nanoseconds since the cache was built.
///
/// The last one means "never". It is 584 years away, so nothing else needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(u64);

impl Tick {
    pub(crate) const START: Self = Self(0);
    pub(crate) const NEVER: Self = Self(u64::MAX);
    const LAST: Self = Self(u64::MAX - 1);

    pub(crate) const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    pub(crate) const fn nanos(self) -> u64 {
        self.0
    }

    /// This much later; "never" if that is past what a tick can tell.
    pub(crate) fn after(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }

    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Reads the time of the system, or that of a runtime with a clock of its own.
pub(crate) struct Clock {
    origin: Instant,
    source: Source,
}

enum Source {
    System(coarse::Clock),
    Runtime(Arc<dyn Runtime>),
}

impl Clock {
    pub(crate) fn new(runtime: Option<&Arc<dyn Runtime>>) -> Self {
        match runtime {
            Some(runtime) if !runtime.is_system_clock() => {
                Self { origin: runtime.now(), source: Source::Runtime(Arc::clone(runtime)) }
            }
            _ => Self { origin: system_now(), source: Source::System(coarse::Clock::new()) },
        }
    }

    /// The time now, exactly. Never "never", also when virtual time has moved that far.
    pub(crate) fn now(&self) -> Tick {
        let now = match &self.source {
            Source::System(_) => system_now(),
            Source::Runtime(runtime) => runtime.now(),
        };
        let now = Tick::START.after(now.saturating_duration_since(self.origin));
        now.min(Tick::LAST)
    }

    /// Whether `deadline` is past. Exact, and cheap while it is far away.
    #[inline]
    pub(crate) fn has_passed(&self, deadline: Tick) -> bool {
        if deadline == Tick::NEVER {
            return false;
        }
        if let Source::System(coarse) = &self.source {
            if coarse.is_far(deadline) {
                return false;
            }
        }
        self.has_passed_exactly(deadline)
    }

    #[inline(never)]
    fn has_passed_exactly(&self, deadline: Tick) -> bool {
        self.now() >= deadline
    }

    /// The moment as the runtime's timer knows it; `None` for "never" or past what it can tell.
    pub(crate) fn instant(&self, tick: Tick) -> Option<Instant> {
        if tick == Tick::NEVER {
            return None;
        }
        self.origin.checked_add(Duration::from_nanos(tick.0))
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
fn system_now() -> Instant {
    Instant::now()
}

/// The kernel's coarse clock: the same time line as `Instant`, a few milliseconds behind it, read
/// in a fifth of the time.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod coarse {
    use std::time::Duration;

    use coarsetime::Instant;

    use super::Tick;

    /// A deadline further away than this by the coarse clock is in the future. The coarse clock
    /// lags by some kernel ticks of 1 to 10 ms; the worst lag seen was 9 ms.
    const MARGIN: Duration = Duration::from_secs(1);

    pub(super) struct Clock {
        origin: Instant,
    }

    impl Clock {
        pub(super) fn new() -> Self {
            Self { origin: Instant::now_without_cache_update() }
        }

        /// True only if `deadline` is in the future; a near one may be called not far.
        #[inline]
        pub(super) fn is_far(&self, deadline: Tick) -> bool {
            let elapsed = Instant::now_without_cache_update().duration_since(self.origin);
            Tick::from_nanos(elapsed.as_nanos()).after(MARGIN) < deadline
        }
    }
}

/// Elsewhere the coarse clocks run on other time lines: the exact one is read always.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod coarse {
    use super::Tick;

    pub(super) struct Clock;

    impl Clock {
        pub(super) fn new() -> Self {
            Self
        }

        pub(super) fn is_far(&self, _deadline: Tick) -> bool {
            false
        }
    }
}
