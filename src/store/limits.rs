//! Limits: when the TTL and the idle time of each value of a shard end, in caches that have both.

use crate::clock::{AtomicTick, Reading, Tick};
use crate::expiry::Ttl;

use super::arrivals::Token;

/// By the entry's index, as far as there are any whose TTL ends at all. The entry's own deadline is the
/// earlier end.
pub(super) struct Limits {
    /// How long a value is fresh since it was last used. If that is endless, nothing is kept.
    tti: Ttl,
    /// That of the value to be stored next.
    ttl: Ttl,
    ends: Vec<Ends>,
}

struct Ends {
    ttl: Tick,
    /// Kept up to date only while it is after the end of the TTL. Else the deadline tells it, and this is
    /// not later.
    idle: AtomicTick,
}

impl Ends {
    fn unknown() -> Self {
        Self { ttl: Tick::NEVER, idle: AtomicTick::new(Tick::START) }
    }
}

impl Limits {
    pub(super) const fn new(tti: Ttl) -> Self {
        Self { tti, ttl: Ttl::ENDLESS, ends: Vec::new() }
    }

    pub(super) fn are_kept(&self) -> bool {
        !self.tti.is_endless()
    }

    /// Takes the TTL of the value to be stored next, under this very lock. Returns how long it lives if
    /// nobody uses it.
    #[cold]
    pub(super) fn expect(&mut self, ttl: Ttl) -> Ttl {
        self.ttl = ttl;
        ttl.min(self.tti)
    }

    /// Notes when the life of the expected value ends, which is stored now.
    pub(super) fn note(&mut self, token: Token, now: &Reading<'_>) {
        if self.are_kept() {
            self.set(token, self.ttl.deadline(now.tick()), self.tti.deadline(now.tick()));
        }
    }

    /// Gives a value another TTL, from now on. Returns its new deadline, given the present one.
    pub(super) fn set_ttl(
        &mut self,
        token: Token,
        deadline: Tick,
        ttl: Ttl,
        now: &Reading<'_>,
    ) -> Tick {
        let ttl_ends = ttl.deadline(now.tick());
        if !self.are_kept() {
            return ttl_ends;
        }
        let idle = self.ends.get(token.index()).map_or(deadline, |ends| ends.idle.get());
        let idle = idle.max(deadline);
        self.set(token, ttl_ends, idle);
        ttl_ends.min(idle)
    }

    fn set(&mut self, token: Token, ttl: Tick, idle: Tick) {
        if self.ends.len() <= token.index() {
            if ttl == Tick::NEVER {
                return;
            }
            self.ends.resize_with(token.index() + 1, Ends::unknown);
        }
        self.ends[token.index()] = Ends { ttl, idle: AtomicTick::new(idle) };
    }

    /// Notes that a value is used now, under the lock for reading. Returns its new deadline.
    #[inline]
    pub(super) fn note_use(&self, token: Token, now: &Reading<'_>) -> Tick {
        let idle = self.tti.deadline(now.tick());
        match self.ends.get(token.index()) {
            Some(ends) if ends.ttl < idle => {
                ends.idle.put_off(idle);
                ends.ttl
            }
            _ => idle,
        }
    }

    /// When the TTL of a value ends; `None` if the deadline tells that.
    pub(super) fn ttl_ends(&self, token: Token) -> Option<Tick> {
        let ends = self.ends.get(token.index());
        self.are_kept().then(|| ends.map_or(Tick::NEVER, |ends| ends.ttl))
    }

    /// Takes everything out, to be freed elsewhere.
    pub(super) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::new(self.tti))
    }
}
