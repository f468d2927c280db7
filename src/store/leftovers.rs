//! What an operation took out of a shard, to be dropped when the shard's lock is released.

use std::any::Any;
use std::mem::{ManuallyDrop, needs_drop, take};

use crate::listener::RemovalCause;
use crate::panic::Postponed;
use crate::sync::Arc;

use super::notices::Notices;

/// The error of a compute that failed, which the store hands out again for a while.
pub(crate) type Failure = Arc<dyn Any + Send + Sync>;

/// Removed entries, spare keys and errors. Their destructors are the user's code, which runs under no lock.
///
/// If some of them panic, the others are dropped all the same, and then the first panic goes on. Where
/// there is a listener, entries go into its queue, and it is told when the rest is dropped.
pub(crate) struct Leftovers<'a, K, V> {
    /// The common case, one of each, needs no allocation.
    entry: Option<(K, V)>,
    key: Option<K>,
    /// Dropped by hand, where it is rare that there is anything to do.
    rare: ManuallyDrop<Option<Rare<'a, K, V>>>,
}

/// What most operations do without.
struct Rare<'a, K, V> {
    listener: Option<&'a Notices<K, V>>,
    more: Option<Box<More<K, V>>>,
}

struct More<K, V> {
    entries: Vec<(K, V)>,
    keys: Vec<K>,
    values: Vec<V>,
    failures: Vec<Failure>,
}

impl<'a, K, V> Leftovers<'a, K, V> {
    /// Whether anything happens when entries are dropped. If not, they need not be kept.
    const MATTER: bool = needs_drop::<K>() || needs_drop::<V>();

    /// For where there is no listener.
    #[inline]
    pub(crate) const fn new() -> Self {
        Self { entry: None, key: None, rare: ManuallyDrop::new(None) }
    }

    #[inline]
    pub(super) fn told(notices: &'a Notices<K, V>) -> Self {
        let rare = Rare { listener: Some(notices), more: None };
        Self { entry: None, key: None, rare: ManuallyDrop::new(Some(rare)) }
    }

    /// Whether there is a listener, which gets what leaves.
    #[inline]
    pub(super) fn are_told(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.listener.is_some())
    }

    /// Leaves an entry that was in the shard until now.
    #[inline]
    pub(super) fn entry(&mut self, key: K, value: V, cause: RemovalCause) {
        if self.rare.is_some() || self.entry.is_some() {
            self.another_entry(key, value, cause);
        } else if Self::MATTER {
            self.entry = Some((key, value));
        }
    }

    #[inline(never)]
    fn another_entry(&mut self, key: K, value: V, cause: RemovalCause) {
        if let Some(Rare { listener: Some(notices), .. }) = &*self.rare {
            notices.push(key, value, cause);
        } else if Self::MATTER {
            self.more().entries.push((key, value));
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

    /// Leaves a value that no listener is told of.
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
        let rare = self.rare.get_or_insert(Rare { listener: None, more: None });
        rare.more.get_or_insert_with(|| Box::new(new()))
    }

    /// Whether there is nothing to drop, and nobody to tell.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        let is_rare = |rare: &Rare<K, V>| {
            rare.more.is_some() || rare.listener.is_some_and(Notices::are_waiting)
        };
        self.entry.is_none() && self.key.is_none() && !self.rare.as_ref().is_some_and(is_rare)
    }

    /// Drops what is held and keeps the room for more; tells the listener.
    ///
    /// Who returns a value does so before: one that is on its way is lost where a variable's destructor
    /// panics.
    #[inline]
    pub(crate) fn clear(&mut self) {
        if !self.is_empty() {
            self.clear_all();
        }
    }

    fn clear_all(&mut self) {
        let mut postponed = Postponed::default();
        let key = take(&mut self.key);
        postponed.run(|| drop(key));
        drop_entries(take(&mut self.entry).into_iter(), &mut postponed);
        let Some(Rare { listener, more }) = &mut *self.rare else { return };
        if let Some(more) = more {
            more.clear(&mut postponed);
        }
        if let Some(notices) = listener {
            notices.deliver();
        }
    }

    #[cold]
    fn drop_all(&mut self) {
        let mut postponed = Postponed::default();
        postponed.run(|| self.clear());
        postponed.run(|| drop(take(&mut *self.rare)));
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

impl<K, V> Drop for Leftovers<'_, K, V> {
    #[inline]
    fn drop(&mut self) {
        if self.rare.is_some() {
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
