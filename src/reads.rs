//! Reads: what readers count, each thread in a place of its own.
//!
//! A counter that several threads write is a cache line that travels between them, and a locked
//! instruction each time. A place has one thread at a time, which adds without either. Places are
//! dealt out for the whole process, and the place of a thread that ends goes to the next; threads
//! past the last place share one.

use std::cell::Cell;
use std::collections::BTreeSet;

use crate::stats::Stats;
use crate::sync::{AtomicU64, Mutex, Ordering, cores};

/// Programs mostly have about as many threads as cores; some have a few more.
const PLACES_PER_CORE: usize = 2;

/// The counters of one cache.
pub(crate) struct Reads {
    own: Box<[Tally]>,
    shared: Tally,
    /// What had been counted when the counters were last reset. Subtracted, because only a place's
    /// thread may write to it.
    reset: Mutex<Figures>,
}

/// Counters in cache lines of their own: two, because lines are fetched in pairs.
#[derive(Default)]
#[repr(align(128))]
struct Tally([AtomicU64; 5]);

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    Hit,
    Miss,
    /// A value past its time to live was handed out.
    StaleHit,
    /// A miss that joined a running compute counts this too.
    Coalesced,
    /// A miss that met a failure which is remembered counts this too.
    RememberedFailure,
}

impl Read {
    /// What it is of a request that had to wait before.
    pub(crate) fn late(self) -> Self {
        if self == Self::Hit { Self::Miss } else { self }
    }
}

#[derive(Clone, Copy, Default)]
struct Figures([u64; 5]);

impl Reads {
    pub(crate) fn new() -> Self {
        let own = (0..PLACES_PER_CORE * cores()).map(|_| Tally::default()).collect();
        Self { own, shared: Tally::default(), reset: Mutex::from(Figures::default()) }
    }

    #[inline]
    pub(crate) fn add(&self, read: Read) {
        match self.own.get(PLACE.get()) {
            Some(tally) => add_alone(&tally.0[read as usize]),
            None => self.add_first_or_shared(read),
        }
    }

    pub(crate) fn snapshot(&self) -> Stats {
        let (now, reset) = (self.counted(), *self.reset.lock());
        // Of two resets at once the later may be seen with the earlier's count.
        let since = |read: Read| now.0[read as usize].saturating_sub(reset.0[read as usize]);
        Stats {
            hits: since(Read::Hit),
            misses: since(Read::Miss),
            stale_hits: since(Read::StaleHit),
            coalesced: since(Read::Coalesced),
            remembered_failures: since(Read::RememberedFailure),
            ..Stats::default()
        }
    }

    pub(crate) fn reset(&self) {
        let mut reset = self.reset.lock();
        *reset = self.counted();
    }

    fn counted(&self) -> Figures {
        let mut figures = Figures::default();
        for tally in self.own.iter().chain([&self.shared]) {
            for (figure, counter) in figures.0.iter_mut().zip(&tally.0) {
                *figure += counter.load(Ordering::Relaxed);
            }
        }
        figures
    }

    #[cold]
    #[inline(never)]
    fn add_first_or_shared(&self, read: Read) {
        match self.own.get(take_place()) {
            Some(tally) => add_alone(&tally.0[read as usize]),
            None => drop(self.shared.0[read as usize].fetch_add(1, Ordering::Relaxed)),
        }
    }
}

/// Adds one to a counter that only this thread writes.
#[inline]
fn add_alone(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

thread_local! {
    static PLACE: Cell<usize> = const { Cell::new(NOWHERE) };
    static LEASE: Lease = Lease::take();
}

/// The place of a thread that has none, or not yet.
const NOWHERE: usize = usize::MAX;

static REGISTRY: Mutex<Registry> = Mutex::new(Registry { free: BTreeSet::new(), next: 0 });

struct Registry {
    free: BTreeSet<usize>,
    next: usize,
}

/// A thread's right to its place. What it has counted is seen by whoever has the place next, because
/// both go through the registry's lock.
struct Lease(usize);

impl Lease {
    fn take() -> Self {
        let mut registry = REGISTRY.lock();
        let place = registry.free.pop_first().unwrap_or_else(|| {
            registry.next += 1;
            registry.next - 1
        });
        Self(place)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        PLACE.set(NOWHERE);
        REGISTRY.lock().free.insert(self.0);
    }
}

/// This thread's place; `NOWHERE` while the thread ends.
fn take_place() -> usize {
    let place = LEASE.try_with(|lease| lease.0).unwrap_or(NOWHERE);
    PLACE.set(place);
    place
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn every_thread_counts_once_also_past_the_last_place() {
        let reads = Reads::new();
        let threads = reads.own.len() + 3;
        for _ in 0..2 {
            thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| (0..1_000).for_each(|_| reads.add(Read::Hit)));
                }
            });
        }
        assert_eq!(reads.snapshot().hits, 2 * 1_000 * threads as u64);
        reads.reset();
        reads.add(Read::Miss);
        assert_eq!((reads.snapshot().hits, reads.snapshot().misses), (0, 1));
    }

    #[test]
    fn a_thread_that_ends_can_still_count() {
        static READS: std::sync::LazyLock<Reads> = std::sync::LazyLock::new(Reads::new);
        struct Last;
        impl Drop for Last {
            fn drop(&mut self) {
                READS.add(Read::Hit);
            }
        }
        thread_local!(static LAST: Last = const { Last });
        // Destroyed after what was first used later, so one of both comes after the lease's end.
        thread::spawn(|| {
            LAST.with(|_| READS.add(Read::Hit));
        })
        .join()
        .expect("the thread ends");
        thread::spawn(|| {
            READS.add(Read::Hit);
            LAST.with(|_| ());
        })
        .join()
        .expect("the thread ends");
        assert_eq!(READS.snapshot().hits, 4);
    }
}
