//! The cache's rules for what is stored: how long it lives, and how much it weighs.

use crate::expiry::{Expiry, Ttl};

pub(crate) struct Rules<K, V> {
    pub(crate) expiry: Expiry<K, V>,
    pub(crate) weigher: Option<Weigher<K, V>>,
}

/// The weight from key and value.
pub(crate) type Weigher<K, V> = Box<dyn Fn(&K, &V) -> u64 + Send + Sync>;

/// What a value is stored with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    pub(crate) ttl: Ttl,
    pub(crate) weight: u64,
    /// In place of a fresh value, it lives only for as long as that would have.
    pub(crate) keeps_ttl: bool,
}

impl<K, V> Rules<K, V> {
    /// Whether a key is needed to tell with what a value is stored that has a TTL of its own, or not.
    #[inline]
    pub(crate) fn need_key(&self, own: Option<Ttl>) -> bool {
        self.weigher.is_some() || own.is_none() && self.expiry.rule.is_some()
    }

    /// With what a value is stored; `own` is its own TTL. Runs the user's rules: not for use under a lock.
    #[inline]
    pub(crate) fn lease(&self, key: &K, value: &V, own: Option<Ttl>) -> Lease {
        let ttl = own.unwrap_or_else(|| self.expiry.ttl(key, value));
        let weight = self.weigher.as_ref().map_or(0, |weigher| weigher(key, value));
        Lease { ttl: self.expiry.jittered(ttl), weight, keeps_ttl: false }
    }

    /// The same, where no key is [needed](Self::need_key).
    #[inline]
    pub(crate) fn lease_of_any(&self, own: Option<Ttl>) -> Lease {
        let ttl = self.expiry.jittered(own.unwrap_or(self.expiry.ttl));
        Lease { ttl, weight: 0, keeps_ttl: false }
    }
}
