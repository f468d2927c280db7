//! Update: a value is replaced by what a closure makes of it, as one step, though no lock is held while
//! the closure runs.

use std::hash::{BuildHasher, Hash};

use hashbrown::Equivalent;

use crate::engine::Engine;
use crate::expiry::Ttl;
use crate::key::Source;
use crate::options::Options;
use crate::store::{Item, KeyHash, Version};

/// One call: tries until nobody else has written meanwhile.
pub(crate) struct Update<F, V> {
    make: F,
    options: Options<V>,
    /// What the options say of the time to live. They can be asked only once.
    ttl: Option<Ttl>,
    is_asked: bool,
}

/// The key: made owned when that is needed.
enum Key<P, K> {
    Given(P),
    Owned(K),
}

/// What an attempt came to.
enum Attempt<V> {
    Done(Option<V>),
    /// This is to be stored: in place of the value of this version, or where nothing is.
    Made(Option<Version>, V, Ttl),
    /// Somebody else has written.
    Again,
}

impl<F, V> Update<F, V>
where
    F: FnMut(Option<V>) -> Option<V>,
    V: Clone,
{
    pub(crate) fn new(make: F, options: Options<V>) -> Self {
        Self { make, options, ttl: None, is_asked: false }
    }

    /// Replaces the value of `key`, and returns the new one.
    pub(crate) fn run<K, S, P>(mut self, engine: &Engine<K, V, S>, key: P) -> Option<V>
    where
        K: Hash + Eq,
        S: BuildHasher,
        P: Source<K, Lookup: Hash>,
    {
        let (expiry, hash) = (&engine.expiry, engine.hash(key.lookup()));
        let needs_key = expiry.rule.is_some() || engine.store.has_listener();
        let mut key = if needs_key { Key::Owned(key.into_key()) } else { Key::Given(key) };
        loop {
            let attempt = match &key {
                Key::Given(key) => self.attempt(engine, hash, key.lookup(), |_| expiry.ttl),
                Key::Owned(key) => self.attempt(engine, hash, key, |value| expiry.ttl(key, value)),
            };
            let (version, value, ttl) = match attempt {
                Attempt::Done(value) => return value,
                Attempt::Made(version, value, ttl) => (version, value, ttl),
                Attempt::Again => continue,
            };
            match key.store(engine, hash, version, value.clone(), ttl) {
                Ok(()) => return Some(value),
                Err(unused) => key = unused,
            }
        }
    }

    fn attempt<K, S, Q>(
        &mut self,
        engine: &Engine<K, V, S>,
        hash: KeyHash,
        key: &Q,
        default: impl FnOnce(&V) -> Ttl,
    ) -> Attempt<V>
    where
        K: Eq,
        Q: Equivalent<K> + ?Sized,
    {
        let store = &engine.store;
        let mut removed = store.leftovers();
        let (present, version) = store.peek(hash, key).unzip();
        let Some(value) = (self.make)(present) else {
            let is_gone = match version {
                Some(version) => store.remove_version(hash, key, version, &mut removed).is_some(),
                None => store.leave_absent(hash, key, &mut removed),
            };
            return if is_gone { Attempt::Done(None) } else { Attempt::Again };
        };
        if !self.options.keeps(&value) {
            return Attempt::Done(Some(value));
        }
        if !std::mem::replace(&mut self.is_asked, true) {
            self.ttl = self.options.ttl(&value);
        }
        let ttl = engine.expiry.jittered(self.ttl.unwrap_or_else(|| default(&value)));
        Attempt::Made(version, value, ttl)
    }
}

impl<P, K> Key<P, K> {
    /// Stores a value in place of that of a version, or where nothing is. Gives the key back if somebody
    /// else has written.
    fn store<V, S>(
        self,
        engine: &Engine<K, V, S>,
        hash: KeyHash,
        version: Option<Version>,
        value: V,
        ttl: Ttl,
    ) -> Result<(), Self>
    where
        K: Hash + Eq,
        V: Clone,
        S: BuildHasher,
        P: Source<K, Lookup: Hash>,
    {
        let (store, mut removed) = (&engine.store, engine.store.leftovers());
        let key = match (self, version) {
            (Self::Given(key), Some(version)) => {
                let lookup = key.lookup();
                let replaced =
                    store.replace_version(hash, lookup, version, value, ttl, &mut removed);
                let replaced = replaced.map(|alarm| engine.written(alarm));
                return replaced.map_err(|_| Self::Given(key));
            }
            (Self::Given(key), None) => key.into_key(),
            (Self::Owned(key), _) => key,
        };
        let mut item = Item::new(hash, key, value);
        let stored = match version {
            Some(version) => store.replace_version_with(&mut item, version, ttl, &mut removed),
            None => store.insert_if_absent(&mut item, ttl, &mut removed).ok(),
        };
        let stored = stored.map(|alarm| engine.written(alarm));
        stored.ok_or_else(|| Self::Owned(item.take().0))
    }
}
