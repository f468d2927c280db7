//! What an operation took out of a shard, to be dropped when the shard's lock is released.

/// Removed entries and keys. Their destructors are the user's code, which runs under no lock.
pub(crate) struct Leftovers<K, V> {
    /// The common case, one entry, needs no allocation.
    first: Option<(K, V)>,
    rest: Vec<(K, V)>,
    keys: Vec<K>,
}

impl<K, V> Leftovers<K, V> {
    pub(crate) const fn new() -> Self {
        Self { first: None, rest: Vec::new(), keys: Vec::new() }
    }

    pub(super) fn entry(&mut self, key: K, value: V) {
        match self.first {
            None => self.first = Some((key, value)),
            Some(_) => self.rest.push((key, value)),
        }
    }

    pub(super) fn key(&mut self, key: K) {
        self.keys.push(key);
    }

    /// Drops what is held and keeps the room for more.
    pub(crate) fn clear(&mut self) {
        self.first = None;
        self.rest.clear();
        self.keys.clear();
    }
}
