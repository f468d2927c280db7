//! Leaving: who goes from a shard, because its time is over or because room is needed.

use hashbrown::Equivalent;

use crate::clock::{Reading, Tick};
use crate::listener::RemovalCause;

use super::arrivals::Token;
use super::digest::KeyHash;
use super::leftovers::Leftovers;
use super::roster::Examined;
use super::shard::{Shard, find};

/// How many entries that may be due an insert looks at for one that has expired, before it evicts.
const ROOM_BUDGET: usize = 32;
/// How many entries that may be due each write looks at, so that a cache without a runtime stays
/// clean.
const WRITE_BUDGET: usize = 4;

/// What a look at entries that may be due came to.
pub(super) struct Swept {
    pub(super) examined: usize,
    pub(super) expired: usize,
}

impl<K, V, F> Shard<K, V, F> {
    /// Removes what stands under the key if its time is over.
    #[inline]
    pub(super) fn remove_expired<Q: Equivalent<K> + ?Sized>(
        &mut self,
        hash: KeyHash,
        key: &Q,
        now: &Reading<'_>,
        removed: &mut Leftovers<K, V>,
    ) -> bool {
        let found = self.find(hash, key).filter(|entry| self.is_over(entry, now));
        let Some(token) = found.map(|entry| entry.token) else { return false };
        self.expire(token, removed);
        true
    }

    /// Removes an entry whose time is over, if one is soon found.
    #[inline]
    pub(super) fn expire_any(&mut self, now: Tick, removed: &mut Leftovers<K, V>) -> bool {
        self.roster.has_due(now) && self.expire_first(now, removed)
    }

    #[cold]
    fn expire_first(&mut self, now: Tick, removed: &mut Leftovers<K, V>) -> bool {
        self.advance(now);
        let looks = std::iter::from_fn(|| self.expire_one(now, removed));
        looks.take(ROOM_BUDGET).any(|expired| expired)
    }

    /// Evicts an entry; false if there is none.
    pub(super) fn evict_any(&mut self, now: &Reading<'_>, removed: &mut Leftovers<K, V>) -> bool {
        let victim = self.roster.victim();
        victim.map(|victim| self.evict(victim, now, removed)).is_some()
    }

    /// Evicts an entry, but not this one; false if there is no other.
    pub(super) fn evict_beside(
        &mut self,
        spared: Option<Token>,
        now: &Reading<'_>,
        removed: &mut Leftovers<K, V>,
    ) -> bool {
        let victim = match spared {
            None => self.roster.victim(),
            Some(spared) => self.roster.victim_beside(spared),
        };
        victim.map(|victim| self.evict(victim, now, removed)).is_some()
    }

    #[inline(always)]
    pub(super) fn evict(
        &mut self,
        victim: Token,
        now: &Reading<'_>,
        removed: &mut Leftovers<K, V>,
    ) {
        let entry = self.take(victim);
        let has_expired = now.has_passed(entry.deadline.after_nanos(self.grace));
        let cause = if has_expired { RemovalCause::Expired } else { RemovalCause::Evicted };
        removed.entry(entry.key, entry.value, cause);
        self.stats.evictions += u64::from(!has_expired);
        self.stats.expirations += u64::from(has_expired);
    }

    /// The share of cleaning that each write does. Returns how many entries it removed.
    #[inline]
    pub(super) fn tidy(&mut self, now: Tick, removed: &mut Leftovers<K, V>) -> usize {
        let is_tidy = self.roster.is_tidy(now) && now < self.flights.next_alarm();
        if is_tidy { 0 } else { self.tidy_up(now, removed) }
    }

    #[cold]
    fn tidy_up(&mut self, now: Tick, removed: &mut Leftovers<K, V>) -> usize {
        self.roster.advance_over_past(now);
        self.expire_due(now, WRITE_BUDGET, removed).expired
    }

    /// Begins a sweep: stages what may be due by `now`.
    pub(super) fn advance(&mut self, now: Tick) {
        self.roster.advance(now);
    }

    /// Looks at up to `budget` entries that may be due and removes those whose time is over. When it
    /// examines fewer, the sweep is at its end.
    pub(super) fn expire_due(
        &mut self,
        now: Tick,
        budget: usize,
        removed: &mut Leftovers<K, V>,
    ) -> Swept {
        let mut swept = Swept { examined: self.flights.forget(now, budget, removed), expired: 0 };
        while swept.examined < budget {
            let Some(expired) = self.expire_one(now, removed) else { break };
            swept.examined += 1;
            swept.expired += usize::from(expired);
        }
        swept
    }

    /// Looks at one entry that may be due: was it? `None` if there is none left.
    fn expire_one(&mut self, now: Tick, removed: &mut Leftovers<K, V>) -> Option<bool> {
        let table = &self.table;
        let look = |token, digest| find(table, token, digest).due(self.grace);
        match self.roster.examine(now, look)? {
            Examined::Alive => Some(false),
            Examined::Over(token) => {
                self.expire(token, removed);
                Some(true)
            }
        }
    }

    pub(super) fn expire(&mut self, token: Token, removed: &mut Leftovers<K, V>) {
        let entry = self.take(token);
        removed.entry(entry.key, entry.value, RemovalCause::Expired);
        self.stats.expirations += 1;
    }
}
