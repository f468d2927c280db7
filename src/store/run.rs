//! Run: the entries whose deadlines came in order, as the last stretch of the arrivals.
//!
//! Where all entries live equally long, who came first expires first. So an entry whose deadline is
//! not before those that have joined the run needs no timer: the first of the run tells when there is
//! something to do, and what breaks the order goes to the wheel instead.

use crate::clock::Tick;

use super::arrivals::{Arrivals, Token};

/// Where the run begins, and until when nothing in it is due.
///
/// From the first on, each entry that has a deadline is armed in the wheel, or has a deadline not
/// before its predecessors' when it came, and the mark of having been prolonged if that moved since.
pub(super) struct Run {
    first: Option<Token>,
    /// Nothing in the run is due before this moment.
    due: Tick,
    /// The latest deadline of those that joined.
    last: Tick,
}

impl Run {
    pub(super) const fn new() -> Self {
        Self { first: None, due: Tick::NEVER, last: Tick::START }
    }

    /// Takes in an entry that has just arrived. False if its deadline is out of order.
    #[inline]
    pub(super) fn join(&mut self, token: Token, deadline: Tick) -> bool {
        if self.first.is_none() {
            self.first = Some(token);
            self.due = deadline;
        } else if deadline < self.last {
            return false;
        }
        self.last = deadline;
        true
    }

    /// Lets go of an entry that leaves, or that the wheel cares for from now on.
    #[inline]
    pub(super) fn pass(&mut self, token: Token, arrivals: &Arrivals) {
        if self.first == Some(token) {
            self.first = arrivals.after(token);
            if self.first.is_none() {
                self.due = Tick::NEVER;
            }
        }
    }

    /// Tells when the first is due, once that is known.
    #[inline]
    pub(super) fn postpone(&mut self, due: Tick) {
        self.due = due;
    }

    /// The first, if it may be due.
    #[inline]
    pub(super) fn due(&self, now: Tick) -> Option<Token> {
        self.first.filter(|_| self.due <= now)
    }

    /// A moment before which nothing is due; "never" if nothing is in the run.
    #[inline]
    pub(super) fn next_alarm(&self) -> Tick {
        self.due
    }

    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn first(&self) -> Option<Token> {
        self.first
    }
}
