//! Landing: how a flight begins, and how its value is stored unless a write came first.

use std::mem;
use std::time::Duration;

use crate::clock::{Clock, Reading, Tick};
use crate::panic::contain;
use crate::rules::Lease;
use crate::sync::Arc;

use super::entry::{Entry, Item, Stamp, Version};
use super::flights::Found;
use super::leftovers::{Failure, Leftovers};
use super::shard::Put;
use super::{Handle, KeyHash, Store};

/// Names a flight: stored under its generation, a late outcome finds nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    hash: KeyHash,
    generation: u64,
    begun: Begin,
    /// The value that is to be renewed.
    renews: Option<Version>,
    /// Whether it stands for its compute in the statistics: one of several tickets does.
    is_counted: bool,
}

/// When a compute began.
///
/// By the coarse clock at first, which saves a compute that ends at once two readings of the exact one: in
/// the mean over many, the same time comes out.
#[derive(Clone, Copy, Debug)]
struct Begin {
    tick: Tick,
    is_exact: bool,
}

impl Begin {
    /// By which reading the time since then is told.
    #[inline]
    fn elapsed(self, now: &Reading<'_>, clock: &Clock) -> Duration {
        let now =
            if now.is_exact() && !self.is_exact { clock.reading().tick() } else { now.tick() };
        now.since(self.tick)
    }
}

impl Ticket {
    /// When the compute began; exact if the request was timed.
    pub(crate) fn begun(&self) -> Tick {
        self.begun.tick
    }

    /// From here on the exact clock counts: the compute has to wait for something.
    #[inline]
    pub(crate) fn settle_in(&mut self, clock: &Clock) {
        if !self.begun.is_exact {
            let now = clock.exact_reading();
            let elapsed = self.begun.elapsed(&now, clock);
            self.begun = Begin { tick: now.tick().before(elapsed), is_exact: true };
        }
    }

    /// Lets another ticket of the same compute stand for it in the statistics.
    pub(crate) fn hand_over(&mut self, other: &mut Self) {
        other.is_counted |= mem::take(&mut self.is_counted);
        other.begun = self.begun;
    }
}

/// A request that begins a flight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) hash: KeyHash,
    pub(crate) wanted: Wanted,
    /// False for all but the first of several keys with one compute.
    pub(crate) is_counted: bool,
    /// Whether somebody will give the compute up after some time.
    pub(crate) is_timed: bool,
}

/// What a request wants that begins a flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The value: one that is there now will do.
    Value,
    /// The same, and a failure that is remembered will not do.
    Retried,
    /// A newer value than the one of this version, if nobody else is at it.
    Newer(Version),
    /// A value that is computed now.
    Recomputed,
}

/// How a request began.
pub(crate) enum Begun<K, V, J> {
    /// A value had arrived meanwhile.
    Found(V),
    /// Another flight is under way; the key is given back.
    Joined(J, K),
    /// The compute has failed lately; the key is given back.
    Failed(Failure, K),
    /// Somebody else renews the value, or has just tried to.
    NotNeeded,
    Leads,
}

/// How a flight ended that brings no value to store.
pub(crate) enum Ending {
    /// Its callers have left, or it brought nothing for this key.
    Dropped,
    /// It took too long.
    GivenUp,
    /// Its value is not to be stored.
    Unkept,
    /// It failed, with an error that may be remembered.
    Failed(Option<Failure>),
}

impl<K: Eq, V: Clone, F: Handle> Store<K, V, F> {
    /// Looks again, now as a writer: the value, or the running flight, or else a new one. Whoever leads
    /// that may be given the handle of one that has landed.
    ///
    /// What is to be dropped is in `removed`: the caller does so when others can drive its compute.
    #[inline]
    pub(crate) fn begin<J>(
        &self,
        request: Request,
        key: K,
        join: impl FnOnce(&F) -> Option<J>,
        lead: impl FnOnce(Ticket, Option<F>) -> F,
        removed: &mut Leftovers<K, V>,
    ) -> Begun<K, V, J> {
        let Request { hash, wanted, is_counted, is_timed } = request;
        let mut shard = self.shard(hash).write();
        let now = if is_timed { self.clock.exact_reading() } else { self.clock.reading() };
        let present = shard.find(hash, &key);
        let renews = present.filter(|entry| !shard.is_over(entry, &now)).map(Entry::version);
        let flights = &shard.flights;
        match wanted {
            Wanted::Value | Wanted::Retried => {
                if let Some(entry) = present.filter(|entry| !now.has_passed(entry.deadline())) {
                    self.note_use(&shard, entry);
                    return Begun::Found(entry.value.clone());
                }
                match flights.find(hash, &key, &self.clock) {
                    Some(Found::Running(handle)) => {
                        if let Some(joined) = join(handle) {
                            return Begun::Joined(joined, key);
                        }
                    }
                    Some(Found::Failed(failure)) if wanted == Wanted::Value => {
                        return Begun::Failed(Failure::clone(failure), key);
                    }
                    _ => {}
                }
            }
            Wanted::Newer(version) => {
                let may_renew = flights.may_renew(hash, &key, &self.clock);
                if renews != Some(version) || !may_renew {
                    removed.key(key);
                    return Begun::NotNeeded;
                }
            }
            Wanted::Recomputed => {
                if let Some(Found::Running(handle)) = flights.find(hash, &key, &self.clock) {
                    if let Some(joined) = join(handle) {
                        return Begun::Joined(joined, key);
                    }
                }
            }
        }
        let renews_early = match wanted {
            Wanted::Value | Wanted::Retried => false,
            Wanted::Newer(_) => true,
            Wanted::Recomputed => present.is_some_and(|entry| {
                !now.has_passed(self.freshness.served_until(entry.deadline()))
            }),
        };
        self.tidy(&mut shard, now.tick(), removed);
        self.remove_if_expired(&mut shard, hash, &key, &now, removed);
        // One that all callers have just left, or that has failed.
        let is_overdue = |handle: &F| handle.overdue_since(&self.clock).is_some();
        let failures = shard.flights.supersede(hash, &key, is_overdue, removed);
        shard.stats.computes += u64::from(is_counted);
        shard.stats.refreshes += u64::from(is_counted && renews_early);
        let begun = Begin { tick: now.tick(), is_exact: now.is_exact() };
        let ticket = |generation| Ticket { hash, generation, begun, renews, is_counted };
        let lead = |generation, spare| lead(ticket(generation), spare);
        shard.flights.begin(hash, key, failures, lead);
        Begun::Leads
    }

    /// The key of a flight, if keys are lent and no write came first.
    pub(crate) fn flight_key(&self, ticket: Ticket) -> Option<Arc<K>> {
        self.shard(ticket.hash).read().flights.lend_key(ticket.hash, ticket.generation)
    }

    /// Stores the value of a flight, unless a write came first. Returns when the sweeper is needed if
    /// it did.
    #[inline]
    pub(crate) fn land(
        &self,
        ticket: Ticket,
        value: V,
        lease: Lease,
        removed: &mut Leftovers<K, V>,
    ) -> Option<Tick> {
        let Ticket { hash, generation, begun, is_counted, .. } = ticket;
        let Lease { ttl, weight, keeps_ttl } = lease;
        let (mut value, mut room) = (Some(value), self.room());
        loop {
            // Declared first, so dropped last: under no lock.
            let mut item;
            let mut shard = self.shard(hash).write();
            let life = self.life(&mut shard, ttl);
            let is_coarse = life.is_long() && !begun.is_exact;
            let now = if is_coarse { self.clock.reading() } else { self.clock.exact_reading() };
            let cost = begun.elapsed(&now, &self.clock);
            self.tidy(&mut shard, now.tick(), removed);
            let Some(flight) = shard.flights.end(hash, generation) else {
                if let Some(value) = value {
                    removed.value(value);
                }
                shard.stats.compute_time += if is_counted { cost } else { Duration::ZERO };
                return None;
            };
            let (key, flight) = flight.split();
            item = Item::new(hash, key, value.take().expect("a value is stored once"));
            // By the clock that other writes of such a TTL go by, so that deadlines come in order.
            let stored =
                if life.is_long() && !is_coarse { self.clock.reading().tick() } else { now.tick() };
            let kept = self.kept(keeps_ttl, &mut shard, hash, item.key(), &now);
            let deadline = kept.unwrap_or_else(|| life.deadline(stored));
            let stamp = Stamp { deadline, cost, weight };
            let put = if !life.is_long() && life.is_zero() {
                self.put_if_it_lives(&mut shard, &mut item, stamp, &now, &mut room, removed)
            } else {
                self.put(&mut shard, &mut item, stamp, &now, &mut room, removed)
            };
            let lack = match put {
                Put::Lacking(lack) => {
                    let (key, unused) = item.take();
                    value = Some(unused);
                    shard.flights.resume(key, flight);
                    lack
                }
                stored => {
                    stored.leave(removed);
                    shard.flights.retire(flight);
                    shard.stats.compute_time += if is_counted { cost } else { Duration::ZERO };
                    return Some(self.lapse(deadline));
                }
            };
            drop(shard);
            self.make_room(lack, hash, &mut room, removed);
        }
    }

    /// Ends a flight that brings no value to store. Returns when the sweeper is needed, if it is.
    pub(crate) fn ground(
        &self,
        ticket: Ticket,
        ending: Ending,
        removed: &mut Leftovers<K, V>,
    ) -> Option<Tick> {
        let Ticket { hash, generation, begun, renews, is_counted } = ticket;
        // Under no lock: if the runtime's clock panics, the flight is over all the same.
        let now = contain(|| self.clock.exact_reading());
        let mut shard = self.shard(hash).write();
        let ended = shard.flights.end(hash, generation);
        let Ok(now) = now else {
            if let Some(flight) = ended {
                flight.leave(removed);
            }
            return None;
        };
        if is_counted {
            shard.stats.compute_failures += u64::from(matches!(ending, Ending::Failed(_)));
            shard.stats.timeouts += u64::from(matches!(ending, Ending::GivenUp));
            shard.stats.compute_time += begun.elapsed(&now, &self.clock);
        }
        let now = now.tick();
        let flight = ended?;
        let failure = match ending {
            Ending::Failed(failure) => failure,
            Ending::GivenUp | Ending::Unkept => None,
            Ending::Dropped => {
                flight.leave(removed);
                return None;
            }
        };
        let failure = failure.filter(|_| !self.error_ttl.is_zero());
        let failure = failure.map(|failure| (failure, self.error_ttl.deadline(now)));
        // What is to be renewed may be gone by now, or replaced.
        let renews = renews.is_some_and(|version| shard.find_version(hash, version).is_some());
        if failure.is_none() && !renews {
            flight.leave(removed);
            return None;
        }
        Some(shard.flights.rest(flight, failure, renews.then_some(now), removed))
    }

    /// The value of this version, while it may stand in for the outcome of a compute that failed; if
    /// `is_served`, also while it is served to all.
    pub(crate) fn stand_in(&self, hash: KeyHash, version: Version, is_served: bool) -> Option<V> {
        let shard = self.shard(hash).read();
        let entry = shard.find_version(hash, version)?;
        let until = self.freshness.stands_in_until(entry.deadline());
        let until = if is_served {
            until.max(self.freshness.served_until(entry.deadline()))
        } else {
            until
        };
        (!self.clock.has_passed(until)).then(|| entry.value.clone())
    }
}
