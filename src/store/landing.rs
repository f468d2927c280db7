//! Landing: how a flight begins, and how its value is stored unless a write came first.

use crate::clock::Tick;
use crate::expiry::Ttl;

use super::entry::Item;
use super::leftovers::Leftovers;
use super::shard::Put;
use super::{KeyHash, Store};

/// Names a flight: stored under its generation, a late outcome finds nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    hash: KeyHash,
    generation: u64,
    begun: Tick,
}

/// How a request that found nothing began.
pub(crate) enum Begun<K, V, J, L> {
    /// A value had arrived meanwhile.
    Found(V),
    /// Another flight had begun meanwhile; the key is given back.
    Joined(J, K),
    Leads(L),
}

impl<K: Eq, V: Clone, F> Store<K, V, F> {
    /// Looks again, now as a writer: the value, or the running flight, or else a new one.
    #[inline]
    pub(crate) fn begin<J, L>(
        &self,
        hash: KeyHash,
        key: K,
        join: impl FnOnce(&F) -> Option<J>,
        lead: impl FnOnce(Ticket) -> (F, L),
        removed: &mut Leftovers<K, V>,
    ) -> Begun<K, V, J, L> {
        let mut shard = self.shard(hash).write();
        let now = self.clock.exact_reading();
        if let Some(entry) = shard.find(hash, &key).filter(|entry| !now.has_passed(entry.deadline))
        {
            return Begun::Found(entry.value.clone());
        }
        if let Some(joined) = shard.flights.find(hash, &key).and_then(join) {
            return Begun::Joined(joined, key);
        }
        self.bound.release(shard.tidy(now.tick(), removed));
        self.bound.release(usize::from(shard.remove_expired(hash, &key, &now, removed)));
        // One that all callers have just left.
        shard.flights.fence(hash, &key, removed);
        let mut leader = None;
        shard.stats.computes += 1;
        shard.flights.begin(hash, key, |generation| {
            let (handle, leads) = lead(Ticket { hash, generation, begun: now.tick() });
            leader = Some(leads);
            handle
        });
        Begun::Leads(leader.expect("a flight that begins calls its leader"))
    }

    /// Stores the value of a flight, unless a write came first. Returns the deadline if it did.
    #[inline]
    pub(crate) fn land(
        &self,
        ticket: Ticket,
        value: V,
        ttl: Ttl,
        removed: &mut Leftovers<K, V>,
    ) -> Option<Tick> {
        let Ticket { hash, generation, begun } = ticket;
        let (mut value, mut place) = (Some(value), None);
        loop {
            // Declared first, so dropped last: under no lock.
            let mut item;
            let mut shard = self.shard(hash).write();
            let now = self.clock.exact_reading();
            self.bound.release(shard.tidy(now.tick(), removed));
            let Some((key, handle)) = shard.flights.end(hash, generation) else {
                shard.stats.compute_time += now.tick().since(begun);
                return None;
            };
            item = Item::new(hash, key, value.take().expect("a value is stored once"));
            // By the clock that other writes of such a TTL go by, so that deadlines come in order.
            let stored = if ttl.is_long() { self.clock.reading().tick() } else { now.tick() };
            let deadline = ttl.deadline(stored);
            match self.put(&mut shard, &mut item, deadline, &now, place.take(), removed) {
                Put::Stored | Put::Replaced(_) => {
                    shard.stats.compute_time += now.tick().since(begun);
                    return Some(deadline);
                }
                Put::Full => {
                    let (key, unused) = item.take();
                    value = Some(unused);
                    shard.flights.resume(hash, generation, (key, handle));
                }
            }
            drop(shard);
            place = self.room_elsewhere(hash, removed);
        }
    }

    /// Ends a flight that brings no value: it failed, or was dropped.
    pub(crate) fn ground(&self, ticket: Ticket, failed: bool) {
        let Ticket { hash, generation, begun } = ticket;
        let mut shard = self.shard(hash).write();
        let ended = shard.flights.end(hash, generation);
        shard.stats.compute_failures += u64::from(failed);
        shard.stats.compute_time += self.clock.now().since(begun);
        drop(shard);
        drop(ended);
    }
}
