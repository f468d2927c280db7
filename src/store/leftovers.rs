//! What an operation took out of a shard, to be dropped when the shard's lock is released.

use std::any::Any;
use std::mem::{ManuallyDrop, needs_drop, take};

use crate::panic::Postponed;
use crate::sync::Arc;

/// The error of a compute that failed, which the store hands out again for a while.
pub(crate) type Failure = Arc<dyn Any + Send + Sync>;

/// Removed entries, spare keys and errors. Their destructors are the user's code, which runs under no lock.
///
/// If some of them panic, the others are dropped all the same, and then the first panic goes on.
pub(crate) struct Leftovers<K, V> {
    /// The common case, one of each, needs no allocation.
    entry: Option<(K, V)>,
    key: Option<K>,
    /// Dropped by hand, where it is rare that there is anything to do.
    more: ManuallyDrop<Option<Box<More<K, V>>>>,
}

struct More<K, V> {
    entries: Vec<(K, V)>,
    keys: Vec<K>,
    values: Vec<V>,
    failures: Vec<Failure>,
}

impl<K, V> Leftovers<K, V> {
    /// Whether anything happens when entries are dropped. If not, they need not be kept.
    const MATTER: bool = needs_drop::<K>() || needs_drop::<V>();

    #[inline]
    pub(crate) const fn new() -> Self {
        Self { entry: None, key: None, more: ManuallyDrop::new(None) }
    }

    #[inline]
    pub(super) fn entry(&mut self, key: K, value: V) {
        if !Self::MATTER {
            return;
        }
        match self.entry {
            None => self.entry = Some((key, value)),
            Some(_) => self.more().entries.push((key, value)),
        }
    }

    #[inline]
    pub(super) fn key(&mut self, key: K) {
        if !Self::MATTER {
            return;
        }
        match self.key {
            None => self.key = Some(key),
            Some(_) => self.more().keys.push(key),
        }
    }

    #[cold]
    pub(super) fn value(&mut self, value: V) {
        if Self::MATTER {
            self.more().values.push(value);
        }
    }

    #[cold]
    pub(super) fn failure(&mut self, failure: Failure) {
        self.more().failures.push(failure);
    }

    fn more(&mut self) -> &mut More<K, V> {
        let new = || More {
            entries: Vec::new(),
            keys: Vec::new(),
            values: Vec::new(),
            failures: Vec::new(),
        };
        self.more.get_or_insert_with(|| Box::new(new()))
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.entry.is_none() && self.key.is_none() && self.more.is_none()
    }

    /// Drops what is held and keeps the room for more.
    pub(crate) fn clear(&mut self) {
        let mut postponed = Postponed::default();
        let key = take(&mut self.key);
        postponed.run(|| drop(key));
        drop_entries(take(&mut self.entry).into_iter(), &mut postponed);
        if let Some(more) = &mut *self.more {
            more.clear(&mut postponed);
        }
    }

    #[cold]
    fn drop_all(&mut self) {
        let more = take(&mut *self.more);
        let mut postponed = Postponed::default();
        postponed.run(|| self.clear());
        if let Some(mut more) = more {
            more.clear(&mut postponed);
        }
    }
}

impl<K, V> More<K, V> {
    fn clear(&mut self, postponed: &mut Postponed) {
        self.keys.drain(..).for_each(|key| postponed.run(|| drop(key)));
        drop_entries(self.entries.drain(..), postponed);
        self.values.drain(..).for_each(|value| postponed.run(|| drop(value)));
        self.failures.drain(..).for_each(|failure| postponed.run(|| drop(failure)));
    }
}

impl<K, V> Drop for Leftovers<K, V> {
    #[inline]
    fn drop(&mut self) {
        if self.more.is_some() {
            self.drop_all();
        } else if Self::MATTER {
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
