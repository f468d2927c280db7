//! The store: hash to shard, the size of the whole, and what spans shards.
//!
//! Every operation locks one shard at a time, reads the clock under that lock, and hands what it
//! removed to the caller, to be dropped when no lock is held. Nothing here knows of futures: the
//! handle `F` of a flight is opaque.

mod ages;
mod arrivals;
mod bound;
mod digest;
mod entry;
mod flights;
mod landing;
mod leftovers;
mod limits;
mod load;
mod notes;
mod notices;
mod policy;
mod removals;
mod resize;
mod ring;
mod room;
mod roster;
mod run;
mod shard;
mod sweep;
mod weights;
mod wheel;
mod writes;

pub(crate) use digest::KeyHash;
pub(crate) use entry::{Item, Version};
pub(crate) use landing::{Begun, Ending, Request, Ticket, Wanted};
pub(crate) use leftovers::{Failure, Leftovers};
pub(crate) use removals::Watch;
pub(crate) use shard::Copies;
pub(crate) use sweep::Sweep;

use std::time::Duration;

use hashbrown::Equivalent;

use crate::chance;
use crate::clock::{Clock, Reading, Tick};
use crate::expiry::Ttl;
use crate::freshness::Freshness;
use crate::listener::Listener;
use crate::panic::Postponed;
use crate::policy::Policy;
use crate::reads::{Read, Reads};
use crate::stats::Stats;
use crate::sync::{Arc, Reader, RwLock, cores};

use arrivals::Token;
use bound::Bound;
use entry::Entry;
use flights::Found;
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
}

/// What a request found.
pub(crate) enum Look<V, J> {
    Hit(V),
    /// A fresh value that is old.
    Old(V, Version),
    /// A value past its time to live that may be handed out while it is renewed; and the version to
    /// be renewed, if nobody is at it.
    Stale(V, Option<Version>),
    /// Another request's flight for the key; and the value that stands in if it fails.
    Flight(J, Option<Version>),
    /// The compute has failed lately.
    Failed(Failure, Option<Version>),
    /// Nothing; and the value that stands in if a compute fails.
    Absent(Option<Version>),
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
        let clear = |slot: &Slot<K, V, F>| {
            let mut shard = slot.0.write();
            self.removals.note();
            let mut spent = shard.clear();
            // Under the lock: a bound may begin, and counts what is there.
            self.settle(&mut shard, spent.len());
            if let Some(notices) = &self.notices {
                notices.push_all(spent.take_table(), self.clock.now());
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
    #[inline]
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

/// Reads.
impl<K, V: Clone, F> Store<K, V, F> {
    /// The fresh value; counts a hit or a miss, and removes what it found expired.
    #[inline]
    pub(crate) fn get<Q: Equivalent<K> + ?Sized>(&self, hash: KeyHash, key: &Q) -> Option<V> {
        let shard = self.shard(hash).read();
        let Some(entry) = shard.find(hash, key) else {
            drop(shard);
            self.reads.add(Read::Miss);
            return None;
        };
        if self.clock.has_passed(entry.deadline()) {
            let is_over = self.clock.has_passed(self.lapse(entry.deadline()));
            drop(shard);
            self.reads.add(Read::Miss);
            if is_over {
                self.remove_expired(hash, key);
            }
            return None;
        }
        let value = entry.value.clone();
        if self.heed == Heed::Nothing {
            drop(shard);
        } else {
            let token = entry.token;
            self.end_hit(shard, hash, token);
        }
        self.reads.add(Read::Hit);
        Some(value)
    }

    /// The fresh value, noted as used; counts nothing.
    pub(crate) fn take_up<Q: Equivalent<K> + ?Sized>(&self, hash: KeyHash, key: &Q) -> Option<V> {
        let shard = self.shard(hash).read();
        let entry =
            shard.find(hash, key).filter(|entry| !self.clock.has_passed(entry.deadline()))?;
        let value = entry.value.clone();
        let token = entry.token;
        self.end_hit(shard, hash, token);
        Some(value)
    }

    /// Notes a hit of an entry, and ends the reading.
    #[inline]
    fn end_hit(&self, shard: Reader<'_, Shard<K, V, F>>, hash: KeyHash, token: Token) {
        shard.touch(token);
        if self.heed > Heed::Mark {
            self.end_noted_hit(shard, hash, token);
        }
    }

    // A call: in line it would make all reads slower.
    #[inline(never)]
    fn end_noted_hit(&self, shard: Reader<'_, Shard<K, V, F>>, hash: KeyHash, token: Token) {
        shard.sample(hash);
        if self.heed == Heed::Order {
            self.end_ordered_hit(shard, hash, token);
        }
    }

    #[inline(never)]
    fn end_ordered_hit(&self, shard: Reader<'_, Shard<K, V, F>>, hash: KeyHash, token: Token) {
        self.note_use(&shard, shard.entry(token));
        let is_ordered = shard.is_ordered_by_use();
        drop(shard);
        if is_ordered {
            self.shard(hash).write().promote(hash, token);
        }
    }

    /// The fresh value and its version; counts nothing.
    pub(crate) fn peek<Q: Equivalent<K> + ?Sized>(
        &self,
        hash: KeyHash,
        key: &Q,
    ) -> Option<(V, Version)> {
        let shard = self.shard(hash).read();
        let entry = shard.find(hash, key)?;
        if self.clock.has_passed(entry.deadline()) {
            return None;
        }
        Some((entry.value.clone(), entry.version()))
    }

    /// Until when the value of this version is fresh; past if it is gone.
    #[cold]
    pub(crate) fn deadline<Q: Equivalent<K> + ?Sized>(
        &self,
        hash: KeyHash,
        key: &Q,
        version: Version,
    ) -> Tick {
        let shard = self.shard(hash).read();
        let entry = shard.find(hash, key).filter(|entry| entry.version() == version);
        entry.map_or(Tick::START, Entry::deadline)
    }

    /// How long the value is still fresh; `Duration::MAX` if it never expires.
    pub(crate) fn remaining<Q: Equivalent<K> + ?Sized>(
        &self,
        hash: KeyHash,
        key: &Q,
    ) -> Option<Duration> {
        let shard = self.shard(hash).read();
        let deadline = shard.find(hash, key)?.deadline();
        if deadline == Tick::NEVER {
            return Some(Duration::MAX);
        }
        let now = self.clock.now();
        (now < deadline).then(|| deadline.since(now))
    }

    pub(crate) fn contains<Q: Equivalent<K> + ?Sized>(&self, hash: KeyHash, key: &Q) -> bool {
        let shard = self.shard(hash).read();
        shard.find(hash, key).is_some_and(|entry| !self.clock.has_passed(entry.deadline()))
    }

    /// The fresh value, or what there is in place of it.
    #[inline]
    pub(crate) fn look<Q: Equivalent<K> + ?Sized, J>(
        &self,
        hash: KeyHash,
        key: &Q,
        join: impl FnOnce(&F) -> Option<J>,
    ) -> Look<V, J>
    where
        F: Handle,
    {
        let shard = self.shard(hash).read();
        let Some(entry) = shard.find(hash, key) else {
            return self.look_past(&shard, hash, key, None, join);
        };
        let deadline = entry.deadline();
        if self.clock.has_passed(deadline) {
            return self.look_past(&shard, hash, key, Some((entry, deadline)), join);
        }
        let is_due = self.freshness.watches_age() && self.is_due(&shard, hash, key, entry);
        let (value, version) = (entry.value.clone(), entry.version());
        if self.heed == Heed::Nothing {
            drop(shard);
        } else {
            let token = entry.token;
            self.end_hit(shard, hash, token);
        }
        if is_due { Look::Old(value, version) } else { Look::Hit(value) }
    }

    /// What there is in place of a fresh value; given the deadline that has passed, which another reader
    /// may have put off meanwhile.
    #[inline(never)]
    fn look_past<Q: Equivalent<K> + ?Sized, J>(
        &self,
        shard: &Shard<K, V, F>,
        hash: KeyHash,
        key: &Q,
        entry: Option<(&Entry<K, V>, Tick)>,
        join: impl FnOnce(&F) -> Option<J>,
    ) -> Look<V, J>
    where
        F: Handle,
    {
        let mut stand_in = None;
        if let Some((entry, deadline)) = entry {
            if !self.clock.has_passed(self.freshness.served_until(deadline)) {
                let due = self.may_renew(shard, hash, key).then_some(entry.version());
                return Look::Stale(entry.value.clone(), due);
            }
            stand_in = Some(entry.version()).filter(|_| self.freshness.has_stand_ins());
        }
        match shard.flights.find(hash, key, &self.clock) {
            Some(Found::Running(handle)) => {
                join(handle).map_or(Look::Absent(stand_in), |joined| Look::Flight(joined, stand_in))
            }
            Some(Found::Failed(failure)) => Look::Failed(Failure::clone(failure), stand_in),
            None => Look::Absent(stand_in),
        }
    }

    /// Whether a fresh value is to be renewed now.
    #[cold]
    fn is_due<Q: Equivalent<K> + ?Sized>(
        &self,
        shard: &Shard<K, V, F>,
        hash: KeyHash,
        key: &Q,
        entry: &Entry<K, V>,
    ) -> bool
    where
        F: Handle,
    {
        let (age, now) = (shard.notes.ages.of(entry.token), self.clock.reading().tick());
        self.freshness.is_due(age, shard.ttl_ends(entry), now, chance::draw)
            && self.may_renew(shard, hash, key)
    }

    fn may_renew<Q: Equivalent<K> + ?Sized>(
        &self,
        shard: &Shard<K, V, F>,
        hash: KeyHash,
        key: &Q,
    ) -> bool
    where
        F: Handle,
    {
        shard.flights.may_renew(hash, key, &self.clock)
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

/// Iteration.
impl<K: Clone, V: Clone, F> Store<K, V, F> {
    /// Copies a batch of entries. Returns where the next one begins.
    pub(crate) fn copy(&self, position: Position, copies: &mut Copies<K, V>) -> Option<Position> {
        let slot = self.shards.get(position.shard)?;
        let next = slot.0.read().copy(position.index, BATCH, copies);
        Some(match next {
            Some(index) => Position { shard: position.shard, index },
            None => Position { shard: position.shard + 1, index: 0 },
        })
    }
}

/// How far an iteration has come.
#[derive(Clone, Copy, Default)]
pub(crate) struct Position {
    shard: usize,
    index: usize,
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
