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

    #[inline]
    pub(crate) const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    #[inline]
    pub(crate) const fn nanos(self) -> u64 {
        self.0
    }

    /// This much later; "never" if that is past what a tick can tell.
    #[inline]
    pub(crate) fn after(self, duration: Duration) -> Self {
        self.after_nanos(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }

    #[inline]
    pub(crate) const fn after_nanos(self, nanos: u64) -> Self {
        Self(self.0.saturating_add(nanos))
    }

    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A deadline further away than this is in the future also by a clock that is some milliseconds
/// behind, by a wide margin.
const FAR: u64 = 1_000_000_000;

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
            // The origin first: the coarse clock must not begin before the exact one.
            _ => Self { origin: system_now(), source: Source::System(coarse::Clock::new()) },
        }
    }

    /// The time now, exactly. Never "never", also when virtual time has moved that far.
    #[inline]
    pub(crate) fn now(&self) -> Tick {
        let now = match &self.source {
            Source::System(_) => system_now(),
            Source::Runtime(runtime) => runtime.now(),
        };
        let elapsed = now.saturating_duration_since(self.origin);
        let seconds = elapsed.as_secs().saturating_mul(1_000_000_000);
        let nanos = seconds.saturating_add(elapsed.subsec_nanos().into());
        Tick(nanos).min(Tick::LAST)
    }

    /// The time now, read in a fifth of the time: never ahead, and at most
    /// [some milliseconds](coarse::LAG) behind. Exact for a runtime with a clock of its own.
    #[inline]
    pub(crate) fn reading(&self) -> Reading<'_> {
        let recent = match &self.source {
            Source::System(coarse) => coarse.recent(),
            Source::Runtime(_) => None,
        };
        match recent {
            Some(tick) => Reading { clock: self, tick, is_exact: false },
            None => self.exact_reading(),
        }
    }

    #[inline(never)]
    pub(crate) fn exact_reading(&self) -> Reading<'_> {
        Reading { clock: self, tick: self.now(), is_exact: true }
    }

    /// A reading for when the time does not matter, because nothing can expire.
    #[inline]
    pub(crate) fn no_reading(&self) -> Reading<'_> {
        Reading { clock: self, tick: Tick::START, is_exact: true }
    }

    /// Whether `deadline` is past. Exact, and cheap while it is far away.
    #[inline]
    pub(crate) fn has_passed(&self, deadline: Tick) -> bool {
        if deadline == Tick::NEVER {
            return false;
        }
        match &self.source {
            Source::System(coarse) if coarse.is_far(deadline) => false,
            _ => self.has_passed_exactly(deadline),
        }
    }

    #[cold]
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

/// The time as it was read for one operation.
pub(crate) struct Reading<'a> {
    clock: &'a Clock,
    tick: Tick,
    is_exact: bool,
}

impl Reading<'_> {
    /// The time; some milliseconds ago perhaps, unless the reading is exact.
    #[inline]
    pub(crate) fn tick(&self) -> Tick {
        self.tick
    }

    /// Whether `deadline` is past, exactly: if this reading cannot tell, the clock is read again.
    #[inline]
    pub(crate) fn has_passed(&self, deadline: Tick) -> bool {
        if self.is_exact || self.tick.after_nanos(FAR) < deadline {
            return deadline <= self.tick;
        }
        self.clock.has_passed_exactly(deadline)
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
    use coarsetime::{Duration, Instant};

    use super::{FAR, Tick};

    /// The coarse clock lags by one or two kernel ticks of 1 to 10 ms; the worst lag seen was 9 ms.
    pub(super) const LAG: u64 = 50_000_000;

    pub(super) struct Clock {
        /// In the clock's own unit.
        origin: u64,
    }

    impl Clock {
        pub(super) fn new() -> Self {
            Self { origin: Instant::now_without_cache_update().as_ticks() }
        }

        /// A moment just past. It is taken to be the greatest lag behind the clock, because the
        /// origin lagged too: so it is never ahead.
        #[inline]
        #[expect(clippy::unnecessary_wraps, reason = "elsewhere there is none")]
        pub(super) fn recent(&self) -> Option<Tick> {
            Some(Tick::from_nanos(self.elapsed().saturating_sub(LAG)))
        }

        /// Whether `deadline` is surely in the future; not of one that is near.
        #[inline]
        pub(super) fn is_far(&self, deadline: Tick) -> bool {
            self.elapsed() + FAR < deadline.nanos()
        }

        /// Nanoseconds since the origin.
        #[inline]
        fn elapsed(&self) -> u64 {
            let now = Instant::now_without_cache_update().as_ticks();
            Duration::from_ticks(now - self.origin).as_nanos()
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

        pub(super) fn recent(&self) -> Option<Tick> {
            None
        }

        pub(super) fn is_far(&self, _deadline: Tick) -> bool {
            false
        }
    }
}
