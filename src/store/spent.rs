//! Spent: storage of a shard that is no longer used.

use std::mem::{self, needs_drop};

use hashbrown::HashTable;

use crate::panic::Postponed;
use crate::policy::Policy;

use super::entry::Entry;
use super::flights::Flights;
use super::leftovers::drop_entries;
use super::notes::Notes;
use super::roster::Roster;
use super::shard::{SHRINK_LIMIT, Shard};

/// A table is made smaller when it holds fewer than one entry for this many places.
const SPARSE: usize = 8;

/// Storage that is no longer used. Freeing it can take long, and runs destructors: not under the
/// lock.
pub(super) struct Spent<K, V, F> {
    table: HashTable<Entry<K, V>>,
    #[expect(dead_code, reason = "held to be dropped")]
    roster: Roster,
    #[expect(dead_code, reason = "held to be dropped")]
    notes: Notes,
    flights: Flights<K, F>,
}

impl<K, V, F> Spent<K, V, F> {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// The entries, to be told of.
    pub(super) fn take_table(&mut self) -> HashTable<Entry<K, V>> {
        mem::take(&mut self.table)
    }

    /// Drops every key, value and failure, also when some of them panic.
    pub(super) fn drop_contents(&mut self, postponed: &mut Postponed) {
        self.flights.drop_contents(postponed);
        if needs_drop::<K>() || needs_drop::<V>() {
            let entries = self.take_table().into_iter();
            drop_entries(entries.map(|entry| (entry.key, entry.value)), postponed);
        }
    }
}

impl<K, V, F> Shard<K, V, F> {
    /// Storage to be freed, after entries were removed: all of it if none is left.
    pub(super) fn shrink(&mut self) -> Option<Spent<K, V, F>> {
        let (len, capacity) = (self.table.len(), self.table.capacity());
        let kept = self.initial_capacity.max(SHRINK_LIMIT);
        // The table may have become smaller while some were left, and the rest have not.
        if len == 0 && (capacity > kept || self.roster.index_bound() > kept + 1) {
            let spent = self.take_entries();
            if self.initial_capacity > 0 {
                // Else it grows again when it is needed.
                let _ = self.reserve(self.initial_capacity);
            }
            return Some(spent);
        }
        if capacity <= kept || len > capacity / SPARSE || len > SHRINK_LIMIT {
            return None;
        }
        let table = self.rebuild_table(self.initial_capacity.max(len * 2));
        let (roster, notes) = (Roster::new(Policy::Fifo), Notes::NONE);
        Some(Spent { table, roster, notes, flights: Flights::new(false) })
    }

    /// Takes everything out, flights included.
    pub(super) fn clear(&mut self) -> Spent<K, V, F> {
        Spent { flights: self.flights.take(), ..self.take_entries() }
    }

    fn take_entries(&mut self) -> Spent<K, V, F> {
        Spent {
            table: mem::take(&mut self.table),
            roster: self.roster.take(),
            notes: self.notes.take(),
            flights: Flights::new(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::expiry::Ttl;
    use crate::freshness::Freshness;
    use crate::store::Plan;

    use super::*;

    #[test]
    fn a_table_that_was_asked_for_is_not_made_smaller() {
        let plan = Plan {
            max_size: None,
            is_weighed: false,
            max_weight: None,
            policy: Policy::Fifo,
            initial_capacity: 10_000,
            freshness: Freshness::new(None, 0.0, Duration::ZERO, Duration::ZERO),
            tti: Ttl::ENDLESS,
            error_ttl: Ttl::from(Duration::ZERO),
            lends_keys: false,
        };
        let mut shard = Shard::<u64, u64, ()>::new(&plan);
        assert!(shard.shrink().is_none());
        assert!(shard.reserve(plan.initial_capacity), "there is that much memory");
        assert!(shard.shrink().is_none());
    }
}
