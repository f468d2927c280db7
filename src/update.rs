//! Update: a value is replaced by what a closure makes of it, as one step, though no lock is held while
//! the closure runs.

use std::hash::{BuildHasher, Hash};

use hashbrown::Equivalent;

use crate::engine::Engine;
use crate::expiry::Ttl;
use crate::key::Source;
use crate::options::Options;
use crate::rules::Lease;
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

/// The TTL that the options give the value, if any; and whether it keeps that of the one it replaces.
type OwnTtl = (Option<Ttl>, bool);

/// What an attempt came to.
enum Attempt<V> {
    Done(Option<V>),
    /// This is to be stored in place of that of this version, or where nothing is.
    Store(V, Option<Version>),
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
        let value = self.attempts(engine, key);
        // The closures' destructors may panic: then the value is dropped, because it is still here.
        drop(self);
        value
    }

    fn attempts<K, S, P>(&mut self, engine: &Engine<K, V, S>, key: P) -> Option<V>
    where
        K: Hash + Eq,
        S: BuildHasher,
        P: Source<K, Lookup: Hash>,
    {
        let hash = engine.hash(key.lookup());
        let needs_key = engine.rules.need_key(None) || engine.store.has_listener();
        let mut key = if needs_key { Key::Owned(key.into_key()) } else { Key::Given(key) };
        loop {
            let attempt = match &key {
                Key::Given(key) => self.attempt(engine, hash, key.lookup()),
                Key::Owned(key) => self.attempt(engine, hash, key),
            };
            let (value, version) = match attempt {
                Attempt::Done(value) => return value,
                Attempt::Store(value, version) => (value, version),
                Attempt::Again => continue,
            };
            let own = (self.own_ttl(&value), self.options.keeps_ttl());
            if let (Key::Given(key), Some(version)) = (&key, version) {
                if replace(engine, hash, key.lookup(), version, value.clone(), own) {
                    return Some(value);
                }
                continue;
            }
            match store(engine, hash, key.into_owned(), version, value.clone(), own) {
                Ok(()) => return Some(value),
                Err(unused) => key = Key::Owned(unused),
            }
        }
    }

    fn attempt<K, S, Q>(&mut self, engine: &Engine<K, V, S>, hash: KeyHash, key: &Q) -> Attempt<V>
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
        Attempt::Store(value, version)
    }

    fn own_ttl(&mut self, value: &V) -> Option<Ttl> {
        if !std::mem::replace(&mut self.is_asked, true) {
            self.ttl = self.options.ttl(value);
        }
        self.ttl
    }
}

impl<P, K> Key<P, K> {
    fn into_owned(self) -> K
    where
        P: Source<K>,
    {
        match self {
            Self::Given(key) => key.into_key(),
            Self::Owned(key) => key,
        }
    }
}

/// Stores a value in place of that of this version, if it is still there, without a key to keep.
fn replace<K, V, S, Q>(
    engine: &Engine<K, V, S>,
    hash: KeyHash,
    key: &Q,
    version: Version,
    value: V,
    (own, keeps_ttl): OwnTtl,
) -> bool
where
    K: Hash + Eq,
    V: Clone,
    S: BuildHasher,
    Q: Equivalent<K> + ?Sized,
{
    let mut removed = engine.store.leftovers();
    let lease = Lease { keeps_ttl, ..engine.rules.lease_of_any(own) };
    let stored = engine.store.replace_version(hash, key, version, value, lease, &mut removed);
    stored.map(|alarm| engine.written(alarm)).is_ok()
}

/// Stores a value in place of that of this version, if it is still there, or where nothing is. Else gives
/// the key back.
fn store<K, V, S>(
    engine: &Engine<K, V, S>,
    hash: KeyHash,
    key: K,
    version: Option<Version>,
    value: V,
    (own, keeps_ttl): OwnTtl,
) -> Result<(), K>
where
    K: Hash + Eq,
    V: Clone,
    S: BuildHasher,
{
    let mut removed = engine.store.leftovers();
    let lease = Lease { keeps_ttl, ..engine.rules.lease(&key, &value, own) };
    let mut item = Item::new(hash, key, value);
    let stored = engine.store.insert_over(&mut item, version, lease, &mut removed);
    removed.clear();
    match stored {
        Some(alarm) => {
            engine.written(alarm);
            Ok(())
        }
        None => Err(item.take().0),
    }
}
