//! Segments: a window for newcomers, and a main part of two queues: on probation, and protected
//! (Einziger, Eytan, Friedman and Manes, "Adaptive Software Cache Management", Middleware 2018).
//!
//! Hits move nothing. An entry that was used moves when its turn comes to be looked at, as in CLOCK.

use crate::store::arrivals::Token;

use super::STEPS;
use super::marks::Marks;
use super::queues::{Queue, Queues};

/// How many entries leave a window that is too large, for each newcomer: more than one, or it would never
/// shrink.
const MOVES: usize = 4;
/// Up to so many fifths of the main part are protected: Caffeine's 80 %.
const PROTECTED_FIFTHS: usize = 4;

const WINDOW: Queue = Queue(0);
const PROBATION: Queue = Queue(1);
const PROTECTED: Queue = Queue(2);

/// The bits of a mark that name its entry's queue.
const QUEUE: u8 = 0b11;
/// Set in the mark of an entry that was used since it was last looked at.
const USED: u8 = 1 << 2;

/// A share of all entries.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(super) struct Share(pub(super) f32);

/// Who is in which segment, in what order.
pub(super) struct Segments {
    queues: Queues<3>,
    counts: [usize; 3],
    marks: Marks,
}

impl Segments {
    pub(super) const fn new() -> Self {
        Self { queues: Queues::new(), counts: [0; 3], marks: Marks::new() }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.counts.iter().sum()
    }

    /// Notes a use; tells whether it is the first since the entry was last looked at.
    #[inline]
    pub(super) fn touch(&self, token: Token) -> bool {
        let mark = self.marks.get(token);
        let is_first = mark & USED == 0;
        if is_first {
            self.marks.set(token, mark | USED);
        }
        is_first
    }

    /// Puts a newcomer in the window, which is to have such a share of all entries.
    pub(super) fn enter(&mut self, token: Token, window: Share) {
        self.marks.enter(token, 0);
        self.push(WINDOW, token);
        let mut steps = STEPS;
        for _ in 0..MOVES {
            if self.count(WINDOW) <= self.part(window) {
                return;
            }
            let Some(oldest) = self.idle(WINDOW, &mut steps) else { return };
            self.shift(PROBATION, oldest);
        }
    }

    pub(super) fn leave(&mut self, token: Token) {
        let queue = self.queue(token);
        self.counts[queue.0 as usize] -= 1;
        self.queues.remove(token);
    }

    /// Chooses whom to evict: of a window that has its share the oldest, unless `wins` says that it deserves
    /// the place of the first in the main part.
    pub(super) fn victim(
        &mut self,
        window: Share,
        wins: impl FnOnce(Token, Token) -> bool,
    ) -> Option<Token> {
        let mut steps = STEPS;
        if self.count(WINDOW) < self.part(window) {
            return self.idle_in_main(&mut steps).or_else(|| self.idle(WINDOW, &mut steps));
        }
        let Some(candidate) = self.idle(WINDOW, &mut steps) else {
            return self.idle_in_main(&mut steps);
        };
        let Some(rival) = self.idle_in_main(&mut steps) else { return Some(candidate) };
        if wins(candidate, rival) {
            self.shift(PROBATION, candidate);
            return Some(rival);
        }
        // Another is asked next time: one that was popular long ago would turn all others away.
        self.shift(PROBATION, rival);
        Some(candidate)
    }

    /// How many entries a share of all is.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share need not be exact, and is not negative"
    )]
    fn part(&self, share: Share) -> usize {
        ((self.len() as f32 * share.0) as usize).max(1)
    }

    fn idle_in_main(&mut self, steps: &mut usize) -> Option<Token> {
        self.idle(PROBATION, steps).or_else(|| self.idle(PROTECTED, steps))
    }

    /// The first of a queue that was not used, or with which the steps are used up. Those before it move: to
    /// the end, or from probation to the protected.
    fn idle(&mut self, queue: Queue, steps: &mut usize) -> Option<Token> {
        loop {
            let token = self.queues.first(queue)?;
            if *steps == 0 || self.marks.get(token) & USED == 0 {
                return Some(token);
            }
            *steps -= 1;
            if queue == PROBATION {
                self.protect(token, steps);
            } else {
                self.shift(queue, token);
            }
        }
    }

    /// Moves an entry to the protected, and if they are too many, another one back on probation.
    fn protect(&mut self, token: Token, steps: &mut usize) {
        self.shift(PROTECTED, token);
        let main = self.count(PROBATION) + self.count(PROTECTED);
        if self.count(PROTECTED) <= main * PROTECTED_FIFTHS / 5 {
            return;
        }
        if let Some(idle) = self.idle(PROTECTED, steps) {
            self.shift(PROBATION, idle);
        }
    }

    fn count(&self, queue: Queue) -> usize {
        self.counts[queue.0 as usize]
    }

    fn queue(&self, token: Token) -> Queue {
        Queue(u32::from(self.marks.get(token) & QUEUE))
    }

    #[expect(clippy::cast_possible_truncation, reason = "there are three queues")]
    fn push(&mut self, queue: Queue, token: Token) {
        self.queues.push(queue, token);
        self.counts[queue.0 as usize] += 1;
        self.marks.set(token, queue.0 as u8);
    }

    fn shift(&mut self, queue: Queue, token: Token) {
        self.leave(token);
        self.push(queue, token);
    }

    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn iter(&self) -> impl Iterator<Item = Token> {
        [WINDOW, PROBATION, PROTECTED].into_iter().flat_map(|queue| self.queues.iter(queue))
    }
}
