//! How long a value lives: the cache's rule, or that of one call.

use std::time::Duration;

use crate::clock::Tick;

/// How long the value of one call lives.
pub(crate) enum Lifetime<V> {
    /// As the cache says.
    Default,
    Fixed(Duration),
    FromValue(Box<dyn FnOnce(&V) -> Duration + Send>),
}

/// The cache's own rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expiry {
    /// `Duration::MAX` is for ever.
    pub(crate) ttl: Duration,
}

impl Expiry {
    /// How long `value` lives. Runs the caller's closure: not for use under a lock.
    pub(crate) fn ttl<V>(self, lifetime: Lifetime<V>, value: &V) -> Ttl {
        Ttl(match lifetime {
            Lifetime::Default => self.ttl,
            Lifetime::Fixed(ttl) => ttl,
            Lifetime::FromValue(ttl) => ttl(value),
        })
    }
}

/// A time to live, counted from the moment the value is stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ttl(Duration);

impl Ttl {
    pub(crate) const ENDLESS: Self = Self(Duration::MAX);

    /// Whether what lives this long never expires.
    pub(crate) fn is_endless(self) -> bool {
        self.0 == Duration::MAX
    }

    pub(crate) fn deadline(self, now: Tick) -> Tick {
        now.after(self.0)
    }
}
