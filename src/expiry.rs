//! How long a value lives: the cache's rule, or that of one call.

use std::fmt;
use std::time::Duration;

use crate::chance;
use crate::clock::{Tick, clock_of};
use crate::runtime::{Instant, Runtime};
use crate::sync::Arc;

/// The cache's own rule.
pub(crate) struct Expiry<K, V> {
    pub(crate) ttl: Ttl,
    pub(crate) rule: Option<Rule<K, V>>,
    /// Each time to live is shortened by a random share of up to this much.
    pub(crate) jitter: f64,
}

/// The time to live from key and value.
pub(crate) type Rule<K, V> = Box<dyn Fn(&K, &V) -> Duration + Send + Sync>;

/// The moment of expiry from key, value and the time now.
pub(crate) type MomentRule<K, V> = Box<dyn Fn(&K, &V, Instant) -> Instant + Send + Sync>;

/// The user's rule, which may go by the moment of expiry.
pub(crate) enum UserRule<K, V> {
    Ttl(Rule<K, V>),
    Moment(MomentRule<K, V>),
}

impl<K: 'static, V: 'static> UserRule<K, V> {
    /// As a time to live, counted by the clock of a cache with this runtime.
    pub(crate) fn by_clock_of(self, runtime: Option<&Arc<dyn Runtime>>) -> Rule<K, V> {
        let expires_at = match self {
            Self::Ttl(rule) => return rule,
            Self::Moment(expires_at) => expires_at,
        };
        let read = clock_of(runtime);
        Box::new(move |key, value| {
            let now = read();
            expires_at(key, value, now).saturating_duration_since(now)
        })
    }
}

impl<K, V> Expiry<K, V> {
    /// How long a value lives. Runs the user's rule: not for use under a lock.
    #[inline]
    pub(crate) fn ttl(&self, key: &K, value: &V) -> Ttl {
        match &self.rule {
            None => self.ttl,
            Some(rule) => rule(key, value).into(),
        }
    }

    /// The time to live that a value is stored with, of the one that it should have.
    #[inline]
    pub(crate) fn jittered(&self, ttl: Ttl) -> Ttl {
        if self.jitter == 0.0 { ttl } else { ttl.shortened(self.jitter * chance::draw()) }
    }
}

/// A time to live, counted from the moment the value is stored; in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ttl(u64);

impl Ttl {
    /// Too long for the clock.
    pub(crate) const ENDLESS: Self = Self(u64::MAX);
    /// From here on some milliseconds less make no difference: see [`Clock::reading`].
    ///
    /// [`Clock::reading`]: crate::clock::Clock::reading
    const LONG: Self = Self(60 * 1_000_000_000);

    /// Whether what lives this long never expires.
    #[inline]
    pub(crate) fn is_endless(self) -> bool {
        self.0 == u64::MAX
    }

    /// Whether it is so long that it may end some milliseconds early.
    #[inline]
    pub(crate) fn is_long(self) -> bool {
        self.0 >= Self::LONG.0
    }

    /// Less this share of it, from 0.0 to 1.0. What never expires stays so.
    #[cold]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of it is as precise as a random number need be, and not negative"
    )]
    fn shortened(self, share: f64) -> Self {
        if self.is_endless() {
            return self;
        }
        Self(self.0 - ((self.0 as f64 * share) as u64).min(self.0))
    }

    /// From one moment to another; endless if that is "never".
    pub(crate) fn between(from: Tick, to: Tick) -> Self {
        if to == Tick::NEVER { Self::ENDLESS } else { to.since(from).into() }
    }

    #[inline]
    pub(crate) fn is_zero(self) -> bool {
        self.0 == 0
    }

    #[inline]
    pub(crate) fn deadline(self, now: Tick) -> Tick {
        now.after_nanos(self.0)
    }
}

impl fmt::Debug for Ttl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_endless() {
            return formatter.write_str("never");
        }
        Duration::from_nanos(self.0).fmt(formatter)
    }
}

impl From<Duration> for Ttl {
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}
