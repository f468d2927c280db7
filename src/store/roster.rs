//! Roster: who is in a shard, in the order in which they came, and when each is due.

use crate::clock::Tick;
use crate::policy::Policy;

use super::arrivals::{Arrivals, Token};
use super::digest::Digest;
use super::policy::{Marks, Order};
use super::run::Run;
use super::wheel::Wheel;

/// How many entries of the run a look passes over, at most.
const PASSED_AT_ONCE: usize = 64;

/// Arrivals, who of them goes first, and two ways to know who is due: the run for those whose deadlines
/// came in order, and the wheel for the others.
pub(super) struct Roster {
    /// Who of them was used.
    marks: Marks,
    order: Order,
    arrivals: Arrivals,
    run: Run,
    wheel: Wheel,
}

/// When an entry's time is over, as the table has it.
pub(super) struct Due {
    pub(super) deadline: Tick,
    /// Whether the deadline has moved since the entry came.
    pub(super) was_moved: bool,
}

/// What a look at one entry that may be due came to.
pub(super) enum Examined {
    /// Its time is over; it is still on the roster.
    Over(Token),
    Alive,
}

impl Roster {
    pub(super) fn new(policy: Policy) -> Self {
        Self {
            marks: Marks::new(),
            order: Order::new(policy),
            arrivals: Arrivals::new(),
            run: Run::new(),
            wheel: Wheel::new(),
        }
    }

    /// Takes everything out, to be freed elsewhere.
    pub(super) fn take(&mut self) -> Self {
        let empty = Self { order: self.order.renewed(), ..Self::new(Policy::Fifo) };
        std::mem::replace(self, empty)
    }

    /// Sets room aside; false if there is not that much memory.
    pub(super) fn reserve(&mut self, capacity: usize) -> bool {
        self.arrivals.reserve(capacity)
    }

    #[inline(always)]
    pub(super) fn enter(&mut self, digest: Digest, deadline: Tick) -> Token {
        let token = self.arrivals.push(digest);
        if !self.order.is_fifo() {
            self.order.enter(token, digest, &self.arrivals, &mut self.marks);
        }
        if deadline != Tick::NEVER && !self.run.join(token, deadline) {
            self.wheel.arm(token, deadline);
        }
        token
    }

    #[inline(always)]
    pub(super) fn leave(&mut self, token: Token) {
        self.run.pass(token, &self.arrivals);
        self.wheel.disarm(token);
        if !self.order.is_fifo() {
            self.order.leave(token, &self.marks);
        }
        self.arrivals.remove(token);
    }

    /// Notes that an entry is due earlier than it was.
    pub(super) fn bring_forward(&mut self, token: Token, deadline: Tick) {
        self.wheel.arm(token, deadline);
    }

    /// Who is to be evicted.
    #[inline]
    pub(super) fn victim(&mut self) -> Option<Token> {
        if self.order.is_fifo() {
            return self.arrivals.first();
        }
        self.order.victim(&self.arrivals, &self.marks)
    }

    /// The same, but not this one.
    pub(super) fn victim_beside(&mut self, spared: Token) -> Option<Token> {
        // It is about to be used: by use, it is the last.
        self.order.promote(spared);
        let victim = self.victim()?;
        if victim != spared {
            return Some(victim);
        }
        // Who came first of the others: it is rare that one which has just been written is to go.
        let first = self.arrivals.first().filter(|first| *first != spared);
        first.or_else(|| self.arrivals.after(spared))
    }

    /// Notes a use, under the lock for reading.
    #[inline]
    pub(super) fn touch(&self, token: Token) {
        self.marks.touch(token);
    }

    /// Learns from a hit, under the lock for reading.
    #[inline]
    pub(super) fn sample(&self, digest: Digest) {
        self.order.sample(digest);
    }

    /// Whether an entry that is hit is to be [promoted](Self::promote).
    pub(super) fn is_ordered_by_use(&self) -> bool {
        self.order.is_lru()
    }

    /// Notes a use, under the lock for writing.
    #[inline]
    pub(super) fn promote(&mut self, token: Token) {
        if !self.order.is_fifo() {
            self.marks.touch(token);
            self.order.promote(token);
        }
    }

    #[inline]
    pub(super) fn digest(&self, token: Token) -> Digest {
        self.arrivals.digest(token)
    }

    /// Tokens' indices are below this.
    pub(super) fn index_bound(&self) -> usize {
        self.arrivals.index_bound()
    }

    /// The token at an index, if it is on the roster.
    pub(super) fn at(&self, index: usize) -> Option<Token> {
        self.arrivals.at(index)
    }

    /// Whether anybody may ever be due.
    #[inline]
    pub(super) fn has_alarms(&self) -> bool {
        !self.wheel.is_empty() || self.run.next_alarm() != Tick::NEVER
    }

    /// A moment before which nobody is due. Somebody is due then, unless who was to be first has
    /// gone, or lives longer now.
    pub(super) fn next_alarm(&self) -> Option<Tick> {
        let of_run = Some(self.run.next_alarm()).filter(|alarm| *alarm != Tick::NEVER);
        self.wheel.next_alarm().into_iter().chain(of_run).min()
    }

    /// Whether somebody may be due.
    #[inline]
    pub(super) fn has_due(&self, now: Tick) -> bool {
        self.run.due(now).is_some() || self.wheel.has_begun(now)
    }

    /// Whether nobody was due before the present slot of the wheel began.
    #[inline]
    pub(super) fn is_tidy(&self, now: Tick) -> bool {
        self.run.due(now).is_none() && self.wheel.is_tidy(now)
    }

    /// Stages all who may be due by `now`, to be [examined](Self::examine).
    pub(super) fn advance(&mut self, now: Tick) {
        self.wheel.advance(now);
    }

    /// Stages all who were due before the present slot of the wheel began.
    pub(super) fn advance_over_past(&mut self, now: Tick) {
        self.wheel.advance_over_past(now);
    }

    /// Looks at one entry that may be due; `None` if there is none left.
    pub(super) fn examine(
        &mut self,
        now: Tick,
        look: impl FnOnce(Token, Digest) -> Due,
    ) -> Option<Examined> {
        self.pass_armed(now);
        if let Some(token) = self.run.due(now) {
            return Some(self.examine_first_of_run(token, now, look));
        }
        let token = self.wheel.take_staged()?;
        let alarm = self.wheel.alarm(token);
        let deadline =
            if alarm > now { alarm } else { look(token, self.arrivals.digest(token)).deadline };
        if deadline <= now {
            return Some(Examined::Over(token));
        }
        self.wheel.arm(token, deadline);
        Some(Examined::Alive)
    }

    /// Passes over the first of the run that the wheel cares for, and that are not due: that is cheaper
    /// than to look at them.
    fn pass_armed(&mut self, now: Tick) {
        for _ in 0..PASSED_AT_ONCE {
            let Some(token) = self.run.due(now) else { return };
            if !self.wheel.is_armed(token) || self.wheel.alarm(token) <= now {
                return;
            }
            self.run.pass(token, &self.arrivals);
        }
    }

    fn examine_first_of_run(
        &mut self,
        token: Token,
        now: Tick,
        look: impl FnOnce(Token, Digest) -> Due,
    ) -> Examined {
        let Due { deadline, was_moved } = look(token, self.arrivals.digest(token));
        if deadline <= now {
            return Examined::Over(token);
        }
        if self.wheel.is_armed(token) {
            self.run.pass(token, &self.arrivals);
        } else if was_moved || deadline == Tick::NEVER {
            self.run.pass(token, &self.arrivals);
            self.wheel.arm(token, deadline);
        } else {
            self.run.postpone(deadline);
        }
        Examined::Alive
    }
}

#[cfg(any(test, feature = "test-util"))]
impl Roster {
    /// Panics unless the parts agree with each other, and with what the table has. Returns how many
    /// entries there are.
    pub(super) fn validate(&self, look: impl Fn(Token, Digest) -> Due) -> usize {
        let arrived: Vec<Token> = self.arrivals.iter().collect();
        let known = (0..self.index_bound()).filter_map(|index| self.at(index)).count();
        assert_eq!(known, arrived.len(), "what is free is not in the list");
        self.order.validate(&self.arrivals);
        let first = self.run.first();
        let begin = first.map(|first| arrived.iter().position(|token| *token == first));
        let begin = begin.map(|begin| begin.expect("the first of the run has arrived"));
        let (mut armed, mut due) = (0, self.run.next_alarm());
        for (position, &token) in arrived.iter().enumerate() {
            let Due { deadline, was_moved } = look(token, self.digest(token));
            if self.wheel.is_armed(token) {
                armed += 1;
                assert!(self.wheel.alarm(token) <= deadline, "no alarm is after the deadline");
                assert!(deadline != Tick::NEVER || was_moved, "what never expires has no alarm");
            } else if deadline != Tick::NEVER {
                assert!(begin.is_some_and(|begin| begin <= position), "what expires has an alarm");
                assert!(deadline >= due, "a run is in order");
                due = if was_moved { due } else { deadline };
            }
        }
        assert_eq!(armed, self.wheel.armed(), "the wheel holds who is here, and only them");
        self.wheel.validate();
        arrived.len()
    }
}
