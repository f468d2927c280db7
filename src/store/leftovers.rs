//! What an operation took out of a shard, to be dropped when the shard's lock is released.

use std::mem::{needs_drop, take};

use crate::panic::Postponed;

/// Removed entries and spare keys. Their destructors are the user's code, which runs under no lock.
///
/// If some of them panic, the others are dropped all the same, and then the first panic goes on.
pub(crate) struct Leftovers<K, V> {
    /// The common case, one of each, needs no allocation.
    entry: Option<(K, V)>,
    key: Option<K>,
    entries: Vec<(K, V)>,
    keys: Vec<K>,
}

impl<K, V> Leftovers<K, V> {
    /// Whether anything happens when they are dropped. If not, they need not be kept.
    const MATTER: bool = needs_drop::<K>() || needs_drop::<V>();

    #[inline]
    pub(crate) const fn new() -> Self {
        Self { entry: None, key: None, entries: Vec::new(), keys: Vec::new() }
    }

    #[inline]
    pub(super) fn entry(&mut self, key: K, value: V) {
        if !Self::MATTER {
            return;
        }
        match self.entry {
            None => self.entry = Some((key, value)),
            Some(_) => self.entries.push((key, value)),
        }
    }

    #[inline]
    pub(super) fn key(&mut self, key: K) {
        if !Self::MATTER {
            return;
        }
        match self.key {
            None => self.key = Some(key),
            Some(_) => self.keys.push(key),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entry.is_none() && self.key.is_none()
    }

    /// Drops what is held and keeps the room for more.
    pub(crate) fn clear(&mut self) {
        let mut postponed = Postponed::default();
        let keys = take(&mut self.key).into_iter().chain(self.keys.drain(..));
        keys.for_each(|key| postponed.run(|| drop(key)));
        let entries = take(&mut self.entry).into_iter().chain(self.entries.drain(..));
        drop_entries(entries, &mut postponed);
    }
}

impl<K, V> Drop for Leftovers<K, V> {
    #[inline]
    fn drop(&mut self) {
        if Self::MATTER {
            self.clear();
        }
    }
}

/// Drops every key and every value, also when some of them panic.
pub(super) fn drop_entries<K, V>(entries: impl Iterator<Item = (K, V)>, postponed: &mut Postponed) {
    for (key, value) in entries {
        postponed.run(|| drop(key));
        postponed.run(|| drop(value));
    }
}
