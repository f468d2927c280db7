//! A hierarchical timing wheel over the entries of a shard: whose time has come.
//!
//! After Varghese and Lauck, "Hashed and hierarchical timing wheels", SOSP 1987. Each level has 64
//! slots, and a slot of one level spans a whole turn of the level below:
//!
//! | level | a slot spans | a turn spans |
//! |---|---|---|
//! | 0 | 1.05 ms | 67 ms |
//! | 1 | 67 ms | 4.3 s |
//! | 2 | 4.3 s | 4.6 min |
//! | 3 | 4.6 min | 4.9 h |
//! | 4 | 4.9 h | 13 days |
//! | 5 | 13 days | 2.3 years |
//! | 6 | 2.3 years | 146 years |
//! | 7 | 146 years | what is left of 584 |
//!
//! When a slot's time begins, its whole list moves to one list of staged entries, in one step. Staged
//! entries are taken out one at a time: those whose moment has come are due, the others are armed
//! again, in a finer slot. So no step's cost depends on how many entries share a slot, and what is
//! due is told to the nanosecond.

use crate::clock::Tick;

use super::arrivals::Token;
use super::ring::Rings;

/// A slot of the lowest level spans two to this many nanoseconds.
const SLOT_NANOS_BITS: u32 = 20;
/// A level has two to this many slots.
const LEVEL_BITS: u32 = 6;
const SLOTS: u32 = 1 << LEVEL_BITS;
const LEVELS: usize = 8;
/// The ring of entries whose slot's time has begun.
const STAGED: usize = 0;

pub(crate) struct Wheel {
    rings: Rings,
    /// By the token's index: when the wheel looks at the entry. The entry's own deadline may be later:
    /// it was moved, and the entry is armed anew only when its first moment comes.
    alarms: Vec<Tick>,
    /// For each ring, the earliest alarm that was set in it since it was last empty.
    earliest: Vec<Tick>,
    /// For each level, which slots hold entries.
    occupied: [u64; LEVELS],
    /// The slot of the lowest level, counted from the start, up to which all is staged.
    reached: u64,
    /// No occupied slot begins before this one.
    next_begins: u64,
    armed: usize,
}

/// A slot that holds entries, and the lowest-level slot at which its time begins.
struct Slot {
    level: usize,
    index: u32,
    begins: u64,
}

impl Slot {
    fn ring(&self) -> usize {
        1 + self.level * SLOTS as usize + self.index as usize
    }
}

/// The last slot of the lowest level whose time is over by `now`.
fn past_slot(now: Tick) -> u64 {
    (now.nanos() >> SLOT_NANOS_BITS).saturating_sub(1)
}

impl Wheel {
    pub(super) const fn new() -> Self {
        Self {
            rings: Rings::new(),
            alarms: Vec::new(),
            earliest: Vec::new(),
            occupied: [0; LEVELS],
            reached: 0,
            next_begins: 0,
            armed: 0,
        }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.armed == 0
    }

    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn armed(&self) -> usize {
        self.armed
    }

    /// Whether an alarm is set for the entry.
    #[inline]
    pub(super) fn is_armed(&self, token: Token) -> bool {
        self.rings.is_linked(token)
    }

    /// The alarm that is set for the entry, or was set last.
    pub(super) fn alarm(&self, token: Token) -> Tick {
        self.alarms[token.index()]
    }

    /// Sets the entry's alarm to `moment`; "never" unsets it.
    pub(super) fn arm(&mut self, token: Token, moment: Tick) {
        self.disarm(token);
        if moment == Tick::NEVER {
            return;
        }
        if self.alarms.len() <= token.index() {
            self.alarms.resize(token.index() + 1, Tick::NEVER);
        }
        self.alarms[token.index()] = moment;
        let slot = self.slot_of(moment);
        let ring = slot.ring();
        self.make_rings(slot.level);
        let earliest = &mut self.earliest[ring];
        let is_empty = self.rings.front(ring).is_none();
        *earliest = if is_empty { moment } else { moment.min(*earliest) };
        self.rings.push_back(ring, token);
        self.occupied[slot.level] |= 1 << slot.index;
        self.next_begins = self.next_begins.min(slot.begins);
        self.armed += 1;
    }

    #[inline]
    pub(super) fn disarm(&mut self, token: Token) {
        if self.rings.is_linked(token) {
            self.take_out(token);
        }
    }

    fn take_out(&mut self, token: Token) {
        self.armed -= 1;
        if let Some(ring @ 1..) = self.rings.unlink(token) {
            let slot = ring - 1;
            self.occupied[slot / SLOTS as usize] &= !(1 << (slot % SLOTS as usize));
        }
    }

    /// Stages every slot whose time has begun by `now`. The slot of `now` itself is among them, so
    /// what is taken from there may not be due yet.
    pub(super) fn advance(&mut self, now: Tick) {
        self.stage_through(now.nanos() >> SLOT_NANOS_BITS);
    }

    /// Stages every slot whose time is over by `now`.
    pub(super) fn advance_over_past(&mut self, now: Tick) {
        self.stage_through(past_slot(now));
    }

    /// Whether nothing is staged, and no slot's time was over by `now` when this was last not so.
    #[inline]
    pub(super) fn is_tidy(&self, now: Tick) -> bool {
        self.armed == 0 || past_slot(now) <= self.reached && self.rings.front(STAGED).is_none()
    }

    /// Whether anything is staged, or in a slot whose time has begun by `now`.
    #[inline]
    pub(super) fn has_begun(&self, now: Tick) -> bool {
        self.armed != 0
            && (self.next_begins <= now.nanos() >> SLOT_NANOS_BITS
                || self.rings.front(STAGED).is_some())
    }

    /// Takes out a staged entry. Unless its moment has come, the caller arms it again.
    pub(super) fn take_staged(&mut self) -> Option<Token> {
        let token = self.rings.front(STAGED)?;
        self.rings.unlink(token);
        self.armed -= 1;
        Some(token)
    }

    /// A moment before which nothing is due. Something is due then, unless the entry that was to be
    /// first has gone.
    pub(super) fn next_alarm(&self) -> Option<Tick> {
        if self.rings.front(STAGED).is_some() {
            return Some(Tick::START);
        }
        self.first_slot().map(|slot| self.earliest[slot.ring()])
    }

    /// Makes the rings up to those of a level; few caches need more than four levels.
    fn make_rings(&mut self, level: usize) {
        let count = 1 + (level + 1) * SLOTS as usize;
        if self.earliest.len() < count {
            self.rings.ensure(count);
            self.earliest.resize(count, Tick::NEVER);
        }
    }

    fn stage_through(&mut self, limit: u64) {
        while self.next_begins <= limit {
            let Some(slot) = self.first_slot() else {
                self.next_begins = u64::MAX;
                break;
            };
            self.next_begins = slot.begins;
            if slot.begins > limit {
                break;
            }
            self.reached = self.reached.max(slot.begins);
            self.rings.append(slot.ring(), STAGED);
            self.occupied[slot.level] &= !(1 << slot.index);
        }
        self.reached = self.reached.max(limit);
    }

    /// The slot for a moment: on the level of the highest digit in which it differs from `reached`.
    fn slot_of(&self, moment: Tick) -> Slot {
        let moment = (moment.nanos() >> SLOT_NANOS_BITS).max(self.reached);
        let differing = u64::BITS - (moment ^ self.reached).leading_zeros();
        let level = differing.saturating_sub(1) / LEVEL_BITS;
        let shift = level * LEVEL_BITS;
        let index = u32::try_from(moment >> shift & u64::from(SLOTS - 1));
        let index = index.expect("a digit has six bits");
        Slot { level: level as usize, index, begins: moment >> shift << shift }
    }

    /// The occupied slot whose time begins first. It is on the lowest occupied level, because an
    /// entry is above that only if its moment is past the level's present turn.
    fn first_slot(&self) -> Option<Slot> {
        let level = self.occupied.iter().position(|slots| *slots != 0)?;
        let index = self.occupied[level].trailing_zeros();
        let shift = u32::try_from(level).expect("levels are few") * LEVEL_BITS;
        let turn = self.reached >> shift >> LEVEL_BITS << LEVEL_BITS << shift;
        Some(Slot { level, index, begins: turn | u64::from(index) << shift })
    }

    /// Every entry that has an alarm set, in no order.
    #[cfg(any(test, feature = "test-util"))]
    fn iter(&self) -> impl Iterator<Item = Token> {
        (0..=LEVELS * SLOTS as usize).flat_map(move |ring| self.ring(ring))
    }

    #[cfg(any(test, feature = "test-util"))]
    fn ring(&self, ring: usize) -> impl Iterator<Item = Token> {
        std::iter::successors(self.rings.front(ring), |token| self.rings.next(*token))
    }

    /// Panics unless every armed entry is in the slot that its alarm asks for.
    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn validate(&self) {
        let mut armed = self.iter().count();
        assert_eq!(armed, self.armed, "the wheel counts what it holds");
        armed -= self.ring(STAGED).count();
        assert!(self.first_slot().is_none_or(|slot| self.next_begins <= slot.begins));
        for (level, index) in (0..LEVELS).flat_map(|level| (0..SLOTS).map(move |i| (level, i))) {
            let ring = Slot { level, index, begins: 0 }.ring();
            let is_occupied = self.occupied[level] & (1 << index) != 0;
            assert_eq!(is_occupied, self.rings.front(ring).is_some(), "occupancy is true");
            for token in self.ring(ring) {
                let right = self.slot_of(self.alarm(token));
                assert_eq!((right.level, right.index), (level, index), "each is in its slot");
                armed -= 1;
            }
        }
        assert_eq!(armed, 0, "every armed entry is in a slot");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Arm { node: usize, in_nanos: u64 },
        Disarm { node: usize },
        Advance { nanos: u64 },
    }

    const NODES: usize = 12;

    /// Spans of every size, and those at the borders of slots and turns.
    fn nanos() -> impl Strategy<Value = u64> {
        let any_size = (0..64_u32, any::<u64>()).prop_map(|(bits, random)| random >> bits);
        let border = (20..64_u32, 0..3_u64).prop_map(|(bits, off)| (1 << bits) - 1 + off);
        prop_oneof![any_size, border, Just(0)]
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (0..NODES, nanos()).prop_map(|(node, in_nanos)| Step::Arm { node, in_nanos }),
            1 => (0..NODES).prop_map(|node| Step::Disarm { node }),
            2 => nanos().prop_map(|nanos| Step::Advance { nanos }),
        ];
        prop::collection::vec(step, 1..60)
    }

    /// Takes out what is due, and arms the rest again, as a shard does.
    fn expire(wheel: &mut Wheel, now: Tick) -> Vec<usize> {
        let mut due = Vec::new();
        wheel.advance(now);
        while let Some(token) = wheel.take_staged() {
            let alarm = wheel.alarm(token);
            if alarm > now {
                wheel.arm(token, alarm);
            } else {
                due.push(token.index() - 1);
            }
        }
        due.sort_unstable();
        due
    }

    proptest! {
        #[test]
        fn nodes_are_due_at_their_moment_and_not_before(steps in steps()) {
            let tokens: Vec<Token> =
                (1..).map_while(Token::from_number).take(NODES).collect();
            let (mut wheel, mut now) = (Wheel::new(), Tick::START);
            let mut model: BTreeMap<usize, Tick> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Arm { node, in_nanos } => {
                        let moment = Tick::from_nanos(now.nanos().saturating_add(in_nanos));
                        wheel.arm(tokens[node], moment);
                        model.remove(&node);
                        if moment != Tick::NEVER {
                            model.insert(node, moment);
                        }
                    }
                    Step::Disarm { node } => {
                        wheel.disarm(tokens[node]);
                        model.remove(&node);
                    }
                    Step::Advance { nanos } => {
                        let later = now.nanos().saturating_add(nanos).min(u64::MAX - 1);
                        now = Tick::from_nanos(later);
                        let due = expire(&mut wheel, now);
                        let expected: Vec<usize> =
                            model.iter().filter(|(_, at)| **at <= now).map(|(node, _)| *node).collect();
                        prop_assert_eq!(due, expected);
                        model.retain(|_, at| *at > now);
                    }
                }
                wheel.validate();
                let next = wheel.next_alarm();
                prop_assert_eq!(next.is_some(), !model.is_empty());
                prop_assert!(next <= model.values().min().copied());
            }
        }
    }
}
