//! The store: hash to shard, the size of the whole, and what spans shards.
//!
//! Every operation locks one shard at a time, reads the clock under that lock, and hands what it
//! removed to the caller, to be dropped when no lock is held. Nothing here knows of futures: the
//! handle `F` of a flight is opaque.

mod ages;
mod arrivals;
mod bound;
mod copies;
mod digest;
mod entry;
mod flights;
mod landing;
mod leaving;
mod leftovers;
mod limit;
mod limits;
mod load;
mod look;
mod notes;
mod notices;
mod policy;
mod refusal;
mod removals;
mod resize;
mod ring;
mod room;
mod roster;
mod run;
mod shard;
mod spent;
mod sweep;
mod weights;
mod wheel;
mod writes;

pub(crate) use copies::{Copied, Copies, Position};
pub(crate) use digest::KeyHash;
pub(crate) use entry::{Item, Version};
pub(crate) use landing::{Begun, Ending, Request, Ticket, Wanted};
pub(crate) use leftovers::{Failure, Leftovers};
pub(crate) use look::Look;
pub(crate) use removals::Watch;
pub(crate) use sweep::Sweep;

use hashbrown::Equivalent;

use crate::clock::{Clock, Reading, Tick};
use crate::expiry::Ttl;
use crate::freshness::Freshness;
use crate::listener::Listener;
use crate::panic::Postponed;
use crate::policy::Policy;
use crate::reads::Reads;
use crate::stats::Stats;
use crate::sync::{Arc, RwLock, cores};

use bound::Bound;
use entry::Entry;
use load::Load;
use notices::{Notices, Telling};
use policy::Heed;
use removals::Removals;
use shard::Shard;

/// A small cache has about one shard for this many entries, and up to twice as many have one in all:
/// there the order of eviction is exact.
const ENTRIES_PER_SHARD: usize = 1024;
/// Threads that write at once rarely meet when there are this many shards for each.
const SHARDS_PER_CORE: usize = 4;
/// A table with entries in this many of eight places is filled well: removals soon leave so many marks
/// in a fuller one that it has to be renewed.
const FILLED_EIGHTHS: usize = 6;
/// How many entries a sweep looks at, and an iteration copies, before it lets others at the shard: few
/// enough that nobody waits 100 µs, even where each of them is a miss in all of the processor's caches.
const BATCH: usize = 64;

pub(crate) struct Store<K, V, F> {
    shards: Box<[Slot<K, V, F>]>,
    reads: Reads,
    bound: Bound,
    /// Where entries have weights.
    load: Option<Load>,
    clock: Clock,
    heed: Heed,
    freshness: Freshness,
    /// How long entries are fresh since they were last used.
    tti: Ttl,
    /// How long entries are kept past their deadlines; in nanoseconds.
    grace: u64,
    /// How long failures are remembered.
    error_ttl: Ttl,
    removals: Arc<Removals>,
    /// What is still to be told, if anybody listens.
    notices: Option<Box<Notices<K, V>>>,
}

/// What a store is built with.
pub(crate) struct Plan {
    pub(crate) max_size: Option<usize>,
    /// Whether entries have weights.
    pub(crate) is_weighed: bool,
    pub(crate) max_weight: Option<u64>,
    pub(crate) policy: Policy,
    pub(crate) initial_capacity: usize,
    pub(crate) freshness: Freshness,
    pub(crate) tti: Ttl,
    pub(crate) error_ttl: Ttl,
    /// Whether the keys of flights are asked for before they land.
    pub(crate) lends_keys: bool,
}

/// A shard in cache lines of its own: two, because lines are fetched in pairs. The table's head comes
/// right after the lock.
#[repr(align(128))]
struct Slot<K, V, F>(RwLock<Shard<K, V, F>>);

/// What the store asks of a flight's handle.
pub(crate) trait Handle {
    /// Whether the flight goes on, as far as the handle can tell: not if it has been given up.
    fn is_open(&self, clock: &Clock) -> bool;

    /// Since when the time of a flight is up that somebody still waits for.
    fn overdue_since(&self, clock: &Clock) -> Option<Tick>;

    /// Whether it is of use to another flight when this one has landed.
    fn is_reusable(&self) -> bool;
}

impl<K, V, F> Store<K, V, F> {
    /// `None` if there is no memory for `initial_capacity` entries.
    pub(crate) fn new(plan: &Plan, clock: Clock, listener: Option<Listener<K, V>>) -> Option<Self> {
        let &Plan { max_size, max_weight, policy, initial_capacity, .. } = plan;
        let &Plan { freshness, tti, error_ttl, .. } = plan;
        let count = shard_count(max_size, max_weight);
        let capacity = initial_capacity.min(max_size.unwrap_or(usize::MAX)).div_ceil(count);
        let slot = || {
            let mut shard = Shard::new(plan);
            let reserved = capacity == 0 || shard.reserve(capacity);
            reserved.then(|| Slot(RwLock::new(shard)))
        };
        let shards = (0..count).map(|_| slot()).collect::<Option<_>>()?;
        let (reads, bound, grace) = (Reads::new(), Bound::new(max_size), freshness.grace());
        let removals = Arc::default();
        let heed = if tti.is_endless() { Heed::of(policy) } else { Heed::Order };
        let load = plan.is_weighed.then(|| Load::new(max_weight));
        let notices = listener.map(|listener| Box::new(Notices::new(listener)));
        Some(Self {
            shards,
            reads,
            bound,
            load,
            clock,
            heed,
            freshness,
            tti,
            grace,
            error_ttl,
            removals,
            notices,
        })
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// How long entries are fresh since they were last used.
    pub(crate) fn tti(&self) -> Ttl {
        self.tti
    }

    pub(crate) fn max_size(&self) -> Option<usize> {
        self.bound.max_size()
    }

    pub(crate) fn max_weight(&self) -> Option<u64> {
        self.load.as_ref().and_then(Load::max_weight)
    }

    pub(crate) fn len(&self) -> usize {
        let counted = || self.shards.iter().map(|slot| slot.0.read().len()).sum();
        self.bound.taken().unwrap_or_else(counted)
    }

    /// What all entries weigh: one each, where they have no weights.
    pub(crate) fn weight(&self) -> u64 {
        self.load.as_ref().map_or_else(|| self.len() as u64, Load::taken)
    }

    pub(crate) fn stats(&self) -> Stats {
        let mut stats = self.reads.snapshot();
        for slot in &self.shards {
            stats.add(&slot.0.read().stats);
        }
        stats.listener_panics = self.notices.as_ref().map_or(0, |notices| notices.panics());
        stats
    }

    pub(crate) fn reset_stats(&self) {
        for slot in &self.shards {
            slot.0.write().stats = Stats::default();
        }
        self.reads.reset();
        self.notices.iter().for_each(|notices| notices.reset_panics());
    }

    /// For what an operation removes.
    #[inline]
    pub(crate) fn leftovers(&self) -> Leftovers<'_, K, V> {
        self.notices.as_deref().map_or(Leftovers::new(), Leftovers::told)
    }

    /// Whether somebody is told of what leaves, which takes an owned key.
    #[inline]
    pub(crate) fn has_listener(&self) -> bool {
        self.notices.is_some()
    }

    /// Tells the listener what a compute has left to be told.
    #[inline]
    pub(crate) fn catch_up(&self) {
        if let Some(notices) = &self.notices {
            notices.deliver();
        }
    }

    /// Whether this thread is inside a listener, of whatever cache.
    pub(crate) fn is_telling() -> bool {
        Telling::is_here()
    }

    /// Removes everything.
    pub(crate) fn clear(&self) {
        // Under no lock, and before anything is removed: the runtime's clock may panic.
        let told = self.notices.as_deref().map(|notices| (notices, self.clock.now()));
        let clear = |slot: &Slot<K, V, F>| {
            let mut shard = slot.0.write();
            self.removals.note();
            let mut spent = shard.clear();
            // Under the lock: a bound may begin, and counts what is there.
            self.settle(&mut shard, spent.len());
            if let Some((notices, now)) = told {
                notices.push_all(spent.take_table(), now);
            }
            spent
        };
        // Dropped when all shards are empty: a destructor may panic.
        let mut spent: Vec<_> = self.shards.iter().map(clear).collect();
        let mut postponed = Postponed::default();
        for spent in &mut spent {
            spent.drop_contents(&mut postponed);
        }
        drop(self.leftovers());
    }

    /// Watches for removals from now on.
    pub(crate) fn watch_removals(&self) -> Watch {
        self.removals.watch()
    }

    pub(crate) fn reads(&self) -> &Reads {
        &self.reads
    }

    #[inline]
    fn shard(&self, hash: KeyHash) -> &RwLock<Shard<K, V, F>> {
        &self.shards[self.index(hash)].0
    }

    #[inline]
    fn index(&self, hash: KeyHash) -> usize {
        hash.pick(self.shards.len())
    }

    /// Removes what a request found expired.
    #[cold]
    #[inline(never)]
    fn remove_expired<Q: Equivalent<K> + ?Sized>(&self, hash: KeyHash, key: &Q) {
        let mut removed = self.leftovers();
        let mut shard = self.shard(hash).write();
        let now = self.clock.exact_reading();
        let count = usize::from(shard.remove_expired(hash, key, &now, &mut removed));
        self.settle(&mut shard, count);
        drop(shard);
        drop(removed);
    }

    /// When what has this deadline is removed.
    #[inline]
    fn lapse(&self, deadline: Tick) -> Tick {
        deadline.after_nanos(self.grace)
    }

    /// Whether what is over has no place in the cache any more.
    pub(crate) fn is_over(&self, deadline: Tick) -> bool {
        self.clock.has_passed(self.lapse(deadline))
    }

    /// How long a value with this TTL lives if nobody uses it. It is the next that the shard is given.
    #[inline]
    fn life(&self, shard: &mut Shard<K, V, F>, ttl: Ttl) -> Ttl {
        if self.tti.is_endless() { ttl } else { shard.notes.limits.expect(ttl) }
    }

    /// When a value ends that takes the place of a fresh one and keeps its TTL; `None` if there is none.
    #[cold]
    fn kept_deadline<Q: Equivalent<K> + ?Sized>(
        &self,
        shard: &mut Shard<K, V, F>,
        hash: KeyHash,
        key: &Q,
        now: &Reading<'_>,
    ) -> Option<Tick> {
        let ends = shard.find_fresh(hash, key, now).map(|entry| shard.ttl_ends(entry))?;
        let life = self.life(shard, Ttl::between(now.tick(), ends));
        Some(life.deadline(now.tick()))
    }

    /// Whether a value with this deadline, whose TTL is zero, would be kept as a stale one: it must not be.
    #[inline]
    fn is_void(&self, deadline: Tick, now: &Reading<'_>) -> bool {
        self.grace > 0 && deadline <= now.tick()
    }

    /// Notes that a value is used now: its idle time begins anew. Under the lock for reading, or for
    /// writing.
    #[inline]
    fn note_use(&self, shard: &Shard<K, V, F>, entry: &Entry<K, V>) {
        if !self.tti.is_endless() {
            shard.note_use(entry, &self.reading_of_use());
        }
    }

    /// The time, as far as it can matter to a use.
    // A call: where little is in line, all other reads stay as fast as they were.
    #[inline(never)]
    fn reading_of_use(&self) -> Reading<'_> {
        if self.tti.is_long() { self.clock.reading() } else { self.clock.exact_reading() }
    }

    /// Whether the time may matter to a write of something that never expires. A value that is kept for ever
    /// past its deadline has no alarm.
    #[inline]
    fn watches_time(&self, shard: &Shard<K, V, F>) -> bool {
        shard.has_alarms() || self.grace > 0 || self.freshness.watches_age()
    }

    /// The time, as far as it can matter to a write of something that lives for `ttl`.
    #[inline(always)]
    fn reading_for(&self, shard: &Shard<K, V, F>, ttl: Ttl) -> Reading<'_> {
        if !ttl.is_long() {
            self.clock.exact_reading()
        } else if ttl.is_endless() && !self.watches_time(shard) {
            self.clock.no_reading()
        } else {
            self.clock.reading()
        }
    }
}

impl<K, V, F> Drop for Store<K, V, F> {
    fn drop(&mut self) {
        // Nobody is told: the values have not left a cache, it has gone with them.
        let notices = self.notices.take();
        let mut postponed = Postponed::default();
        // The tables would stop dropping at the first destructor that panics.
        postponed.run(|| self.clear());
        postponed.run(|| drop(notices));
    }
}

#[cfg(any(test, feature = "test-util"))]
impl<K, V, F> Store<K, V, F> {
    /// Panics unless every shard is whole and the size is what the shards hold. For use at rest.
    /// Returns how many flights are under way.
    pub(crate) fn validate(&self) -> usize {
        let held: usize = self.shards.iter().map(|slot| slot.0.read().len()).sum();
        assert_eq!(self.len(), held, "the size is the sum of the shards");
        assert!(self.max_size().is_none_or(|max_size| held <= max_size), "the bound holds");
        self.notices.iter().for_each(|notices| notices.validate());
        let (mut flights, mut weight) = (0, 0);
        for slot in &self.shards {
            let (of_shard, heavy) = slot.0.read().validate();
            flights += of_shard;
            weight += heavy;
        }
        let taken = self.load.as_ref().map_or(0, Load::taken);
        assert_eq!(taken, weight, "the weight is what the shards hold");
        assert!(self.load.as_ref().is_none_or(|load| weight <= load.most()), "the bound holds");
        flights
    }
}

/// Some for each core; fewer for a small cache, and a few more where the tables fit better then.
///
/// A table has a power of two of places. If all shards of a full cache had just too many entries for
/// one size, each would be twice as large as it need be; so there are so many shards that each is
/// filled well.
///
/// What a bounded weight is made of is not known. Where it is small, entries can only be few.
fn shard_count(max_size: Option<usize>, max_weight: Option<u64>) -> usize {
    let wanted = (SHARDS_PER_CORE * cores()).next_power_of_two().min(1 << 15);
    let heaviest =
        max_weight.map_or(usize::MAX, |weight| usize::try_from(weight).unwrap_or(usize::MAX));
    let most = max_size.unwrap_or(usize::MAX).min(heaviest);
    let least = wanted.min(most / ENTRIES_PER_SHARD);
    if least <= 1 {
        return 1;
    }
    let Some(max_size) = max_size else { return least };
    let places = max_size / least / FILLED_EIGHTHS * 8;
    let filled = (1 << places.ilog2()) / 8 * FILLED_EIGHTHS;
    max_size.div_ceil(filled)
}
