//! Entry: what a shard's table holds, and what is to become one.

use std::mem;
use std::time::Duration;

use crate::clock::{AtomicTick, Tick};
use crate::sync::{AtomicU32, Ordering};

use super::arrivals::Token;
use super::digest::KeyHash;
use super::roster::{Due, Roster};

/// The hot part of an entry: what a hit touches.
pub(super) struct Entry<K, V> {
    /// The end of its TTL or of its idle time, whichever comes first.
    deadline: AtomicTick,
    pub(super) token: Token,
    version: AtomicU32,
    pub(super) key: K,
    pub(super) value: V,
}

/// Which value of an entry this is: different for each that is stored in the shard, until the number
/// wraps. One bit tells whether the deadline has moved since the entry came; it makes no other value.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Version(u32);

impl PartialEq for Version {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.moved().0 == other.moved().0
    }
}

impl Eq for Version {}

impl Version {
    const MOVED: u32 = 1 << 31;

    #[inline]
    pub(super) fn next(&mut self) -> Self {
        self.0 = self.0.wrapping_add(1) & !Self::MOVED;
        *self
    }

    fn moved(self) -> Self {
        Self(self.0 | Self::MOVED)
    }

    fn was_moved(self) -> bool {
        self.0 & Self::MOVED != 0
    }
}

/// An entry that was taken out of its table.
pub(super) struct Removed<K, V> {
    pub(super) deadline: Tick,
    pub(super) token: Token,
    pub(super) key: K,
    pub(super) value: V,
}

impl<K, V> From<Entry<K, V>> for Removed<K, V> {
    #[inline]
    fn from(entry: Entry<K, V>) -> Self {
        let Entry { deadline, token, key, value, .. } = entry;
        Self { deadline: deadline.into_inner(), token, key, value }
    }
}

impl<K, V> Entry<K, V> {
    #[inline]
    pub(super) fn new(deadline: Tick, token: Token, version: Version, key: K, value: V) -> Self {
        let (deadline, version) = (AtomicTick::new(deadline), AtomicU32::new(version.0));
        Self { deadline, token, version, key, value }
    }

    #[inline]
    pub(super) fn deadline(&self) -> Tick {
        self.deadline.get()
    }

    #[inline]
    pub(super) fn version(&self) -> Version {
        Version(self.version.load(Ordering::Relaxed))
    }

    /// Puts another value in its place; returns the old one.
    #[inline]
    pub(super) fn overwrite(
        &mut self,
        value: V,
        deadline: Tick,
        version: Version,
        grace: u64,
        roster: &mut Roster,
    ) -> V {
        *self.version.get_mut() = version.0;
        self.set_deadline(deadline, grace, roster);
        mem::replace(&mut self.value, value)
    }

    /// Lets the value live until another moment than it was to.
    #[inline]
    pub(super) fn set_deadline(&mut self, deadline: Tick, grace: u64, roster: &mut Roster) {
        *self.version.get_mut() |= Version::MOVED;
        // No alarm is later than its deadline: if that only moves later, it is left for the alarm to
        // find, and nothing else is touched.
        if deadline < self.deadline.replace(deadline) {
            roster.bring_forward(self.token, deadline.after_nanos(grace));
        }
    }

    /// Lets the value live until a later moment, under the lock for reading. The alarm finds out.
    #[inline]
    pub(super) fn put_off(&self, deadline: Tick) {
        let version = self.version();
        if self.deadline.put_off(deadline) && !version.was_moved() {
            // Whoever else does so at the same time writes the same.
            self.version.store(version.moved().0, Ordering::Relaxed);
        }
    }

    /// When it is to be removed.
    #[inline]
    pub(super) fn lapse(&self, grace: u64) -> Tick {
        self.deadline().after_nanos(grace)
    }

    pub(super) fn due(&self, grace: u64) -> Due {
        Due { deadline: self.lapse(grace), was_moved: self.version().was_moved() }
    }
}

/// What is known of a value when it is stored.
#[derive(Clone, Copy)]
pub(super) struct Stamp {
    pub(super) deadline: Tick,
    /// How long it took to compute; zero if it was not.
    pub(super) cost: Duration,
    /// Zero where entries have no weights.
    pub(super) weight: u64,
}

impl Stamp {
    /// Of a value that was not computed.
    #[inline]
    pub(super) fn new(deadline: Tick, weight: u64) -> Self {
        Self { deadline, cost: Duration::ZERO, weight }
    }
}

/// What is to be stored. The caller keeps it until it is: if the user's `Eq` panics, key and value are
/// dropped when no lock is held.
pub(crate) struct Item<K, V> {
    pub(super) hash: KeyHash,
    pub(super) key: Option<K>,
    pub(super) value: Option<V>,
}

impl<K, V> Item<K, V> {
    #[inline]
    pub(crate) fn new(hash: KeyHash, key: K, value: V) -> Self {
        Self { hash, key: Some(key), value: Some(value) }
    }

    #[inline]
    pub(super) fn key(&self) -> &K {
        self.key.as_ref().expect("an item is stored once")
    }

    #[inline]
    pub(crate) fn take(&mut self) -> (K, V) {
        let item = self.key.take().zip(self.value.take());
        item.expect("an item is stored once")
    }
}
