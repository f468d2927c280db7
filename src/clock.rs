//! The clock of one cache: what time it is, exactly or cheaply.

use std::cell::Cell;
use std::mem;
use std::time::Duration;

use crate::runtime::{Instant, Runtime};
use crate::sync::{Arc, AtomicU64, Ordering};

/// A moment: nanoseconds since the clock's start, which is that of the machine or of the cache.
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

    /// This much earlier, but not before the clock's start.
    pub(crate) fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// The tick of `now`, if this is that of `origin`. Never "never".
    fn at(self, origin: Instant, now: Instant) -> Self {
        let elapsed = now.saturating_duration_since(origin);
        self.after(elapsed).min(Self::LAST)
    }

    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A moment that readers may put off, side by side.
///
/// What they know of each other comes from the lock under which they do so: no order is needed beyond that.
#[derive(Debug)]
pub(crate) struct AtomicTick(AtomicU64);

impl AtomicTick {
    #[inline]
    pub(crate) const fn new(tick: Tick) -> Self {
        Self(AtomicU64::new(tick.0))
    }

    #[inline]
    pub(crate) fn get(&self) -> Tick {
        Tick(self.0.load(Ordering::Relaxed))
    }

    /// Puts another moment in its place; returns the old one.
    #[inline]
    pub(crate) fn replace(&mut self, tick: Tick) -> Tick {
        Tick(mem::replace(self.0.get_mut(), tick.0))
    }

    #[inline]
    pub(crate) fn into_inner(self) -> Tick {
        Tick(self.0.into_inner())
    }

    /// Makes it a later moment, and tells whether it was earlier.
    #[inline]
    pub(crate) fn put_off(&self, tick: Tick) -> bool {
        // Looked at first: most readers come in the same tick of a coarse clock, and write nothing.
        self.get() < tick && self.0.fetch_max(tick.0, Ordering::Relaxed) < tick.0
    }
}

/// A deadline further away than this is in the future also by a clock that is some milliseconds
/// behind, by a wide margin.
const FAR: u64 = 1_000_000_000;

/// Reads the time of the system, or that of a runtime with a clock of its own.
pub(crate) struct Clock {
    source: Source,
    timeline: Timeline,
}

/// One moment as a timer knows it, and as a clock does: tells all others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeline {
    instant: Instant,
    tick: Tick,
}

enum Source {
    System(system::Clock),
    Runtime(Arc<dyn Runtime>),
}

impl Clock {
    pub(crate) fn new(runtime: Option<&Arc<dyn Runtime>>) -> Self {
        match runtime {
            Some(runtime) if !runtime.is_system_clock() => {
                let timeline = Timeline { instant: runtime.now(), tick: Tick::START };
                Self { source: Source::Runtime(Arc::clone(runtime)), timeline }
            }
            _ => {
                let clock = system::Clock::new();
                // In this order: what a timer is asked for must not come early.
                let tick = clock.now();
                let timeline = Timeline { instant: system::instant(), tick };
                Self { source: Source::System(clock), timeline }
            }
        }
    }

    /// The time now, exactly. Never "never", also when virtual time has moved that far.
    #[inline]
    pub(crate) fn now(&self) -> Tick {
        match &self.source {
            Source::System(clock) => clock.now(),
            Source::Runtime(runtime) => Tick::START.at(self.timeline.instant, runtime.now()),
        }
    }

    /// The time now, where the system can tell it in a fifth of the time: never ahead, and some
    /// milliseconds behind. Exact for a runtime with a clock of its own.
    #[inline]
    pub(crate) fn reading(&self) -> Reading<'_> {
        let recent = match &self.source {
            Source::System(clock) => clock.recent(),
            Source::Runtime(_) => None,
        };
        match recent {
            Some(tick) => Reading::new(self, tick, false),
            None => self.exact_reading(),
        }
    }

    #[inline(never)]
    pub(crate) fn exact_reading(&self) -> Reading<'_> {
        Reading::new(self, self.now(), true)
    }

    /// A reading for when the time does not matter, because nothing can expire.
    #[inline]
    pub(crate) fn no_reading(&self) -> Reading<'_> {
        Reading::new(self, Tick::START, true)
    }

    /// Whether `deadline` is past. Exact, and cheap while it is far away.
    #[inline]
    pub(crate) fn has_passed(&self, deadline: Tick) -> bool {
        if deadline == Tick::NEVER {
            return false;
        }
        match &self.source {
            Source::System(clock) if clock.is_far(deadline) => false,
            _ => self.has_passed_exactly(deadline),
        }
    }

    #[cold]
    fn has_passed_exactly(&self, deadline: Tick) -> bool {
        self.now() >= deadline
    }

    /// The moment as the runtime's timer knows it; `None` for "never" or past what it can tell.
    pub(crate) fn instant(&self, tick: Tick) -> Option<Instant> {
        self.timeline.instant(tick)
    }

    pub(crate) fn timeline(&self) -> Timeline {
        self.timeline
    }
}

impl Timeline {
    /// The moment as the runtime's timer knows it; `None` for "never" or past what it can tell.
    pub(crate) fn instant(self, tick: Tick) -> Option<Instant> {
        if tick == Tick::NEVER {
            return None;
        }
        self.instant.checked_add(tick.since(self.tick))
    }
}

/// The time as it was read for one operation: what has passed once it is asked has passed until its end, and
/// what has not passed has not.
pub(crate) struct Reading<'a> {
    clock: &'a Clock,
    tick: Tick,
    is_exact: bool,
    /// The exact time, once that was needed; else the start, which is long past.
    settled: Cell<Tick>,
}

impl<'a> Reading<'a> {
    #[inline]
    fn new(clock: &'a Clock, tick: Tick, is_exact: bool) -> Self {
        Self { clock, tick, is_exact, settled: Cell::new(Tick::START) }
    }

    /// The time; some milliseconds ago perhaps, unless the reading is exact.
    #[inline]
    pub(crate) fn tick(&self) -> Tick {
        self.tick
    }

    /// Whether this is the time now, and not some milliseconds ago.
    #[inline]
    pub(crate) fn is_exact(&self) -> bool {
        self.is_exact
    }

    /// Whether `deadline` is past, exactly: if this reading cannot tell, the clock is read again, once.
    #[inline]
    pub(crate) fn has_passed(&self, deadline: Tick) -> bool {
        if self.is_exact || self.tick.after_nanos(FAR) < deadline {
            return deadline <= self.tick;
        }
        deadline <= self.settle()
    }

    #[cold]
    fn settle(&self) -> Tick {
        if self.settled.get() == Tick::START {
            self.settled.set(self.clock.now());
        }
        self.settled.get()
    }
}

/// Linux has a coarse clock on the time line of the exact one, some milliseconds behind it: it says
/// what the time was at the last kernel tick. Ticks are 1 to 10 ms apart; the greatest lag seen was 9 ms.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    pub(super) use super::system_instant as instant;

    use rustix::time::{ClockId, clock_gettime};

    use super::{FAR, Tick};

    pub(super) struct Clock(());

    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "elsewhere there is more to it"
    )]
    impl Clock {
        pub(super) fn new() -> Self {
            Self(())
        }

        #[inline]
        pub(super) fn now(&self) -> Tick {
            read(ClockId::Monotonic)
        }

        #[inline]
        pub(super) fn recent(&self) -> Option<Tick> {
            Some(read(ClockId::MonotonicCoarse))
        }

        /// Whether `deadline` is surely in the future; not of one that is near.
        #[inline]
        pub(super) fn is_far(&self, deadline: Tick) -> bool {
            read(ClockId::MonotonicCoarse).nanos() + FAR < deadline.nanos()
        }
    }

    /// Since the machine was started.
    #[inline]
    #[expect(clippy::cast_sign_loss, reason = "it counts from zero")]
    fn read(clock: ClockId) -> Tick {
        let time = clock_gettime(clock);
        Tick::from_nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    }
}

/// Elsewhere the coarse clocks run on other time lines: the exact one is read always.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod system {
    pub(super) use super::system_instant as instant;

    use super::{Instant, Tick};

    pub(super) struct Clock(Instant);

    #[expect(clippy::unused_self, reason = "the same calls as on Linux")]
    impl Clock {
        pub(super) fn new() -> Self {
            Self(instant())
        }

        pub(super) fn now(&self) -> Tick {
            Tick::START.at(self.0, instant())
        }

        pub(super) fn recent(&self) -> Option<Tick> {
            None
        }

        pub(super) fn is_far(&self, _deadline: Tick) -> bool {
            false
        }
    }
}

/// Reads the time of a cache with this runtime, as its timers know it.
pub(crate) fn clock_of(
    runtime: Option<&Arc<dyn Runtime>>,
) -> Box<dyn Fn() -> Instant + Send + Sync> {
    match runtime.map(Arc::clone) {
        Some(runtime) => Box::new(move || runtime.now()),
        None => Box::new(system_instant),
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
fn system_instant() -> Instant {
    Instant::now()
}
