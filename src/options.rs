//! Options: what one call asks for in place of the cache's rules.

use std::mem::{self, ManuallyDrop};
use std::time::Duration;

use crate::expiry::Ttl;

/// The options of one call. Most calls have none, so whatever is rare is kept elsewhere.
pub(crate) struct Options<V> {
    ttl: Option<Duration>,
    /// If there are any, the time to live is there. Dropped by hand, because it is rare.
    special: ManuallyDrop<Option<Box<Special<V>>>>,
}

/// All that a call can ask for.
pub(crate) struct Special<V> {
    pub(crate) lifetime: Lifetime<V>,
    pub(crate) keep_if: Option<KeepIf<V>>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) stale_if_slow: Option<Duration>,
    pub(crate) is_detached: bool,
    pub(crate) is_spawned: bool,
    /// Whether a value in place of a fresh one lives only for as long as that would have.
    pub(crate) keeps_ttl: bool,
    /// No option: the value that the call has found, while it renews it itself.
    pub(crate) found: Option<V>,
}

/// How long the value of one call lives.
pub(crate) enum Lifetime<V> {
    /// As the cache says.
    Default,
    Fixed(Duration),
    FromValue(Box<dyn FnOnce(&V) -> Duration + Send>),
}

type KeepIf<V> = Box<dyn FnOnce(&V) -> bool + Send>;

impl<V> Options<V> {
    /// As the cache says.
    pub(crate) const DEFAULT: Self = Self { ttl: None, special: ManuallyDrop::new(None) };

    pub(crate) fn set_ttl(&mut self, ttl: Duration) {
        match &mut *self.special {
            Some(special) => special.lifetime = Lifetime::Fixed(ttl),
            None => self.ttl = Some(ttl),
        }
    }

    /// All options, to be changed.
    pub(crate) fn special(&mut self) -> &mut Special<V> {
        let ttl = self.ttl;
        self.special.get_or_insert_with(|| {
            let lifetime = ttl.map_or(Lifetime::Default, Lifetime::Fixed);
            Box::new(Special {
                lifetime,
                keep_if: None,
                timeout: None,
                stale_if_slow: None,
                is_detached: false,
                is_spawned: false,
                keeps_ttl: false,
                found: None,
            })
        })
    }

    /// Drops what the caller has made: not for use under a lock.
    #[inline]
    pub(crate) fn clear(&mut self) {
        if self.special.is_some() {
            self.drop_special();
        }
    }

    #[inline]
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.special.as_ref().and_then(|special| special.timeout)
    }

    #[inline]
    pub(crate) fn is_detached(&self) -> bool {
        self.special.as_ref().is_some_and(|special| special.is_detached)
    }

    /// All options, if there are any but a TTL.
    #[inline]
    pub(crate) fn get_special(&self) -> Option<&Special<V>> {
        self.special.as_deref()
    }

    #[inline]
    pub(crate) fn keeps_ttl(&self) -> bool {
        self.special.as_ref().is_some_and(|special| special.keeps_ttl)
    }

    pub(crate) fn found(&self) -> Option<&V> {
        self.special.as_ref()?.found.as_ref()
    }

    /// Takes them out: they go where there is a value to store.
    #[inline]
    pub(crate) fn take(&mut self) -> Self {
        mem::replace(self, Self::DEFAULT)
    }

    /// Whether the value is to be stored at all. Asked once; runs the caller's closure: not for use
    /// under a lock.
    #[inline]
    pub(crate) fn keeps(&mut self, value: &V) -> bool {
        let keep_if = self.special.as_mut().and_then(|special| special.keep_if.take());
        keep_if.is_none_or(|keep_if| keep_if(value))
    }

    /// How long the value lives; `None` if that is left to the cache. Asked once; runs the caller's
    /// closure: not for use under a lock.
    #[inline]
    pub(crate) fn ttl(&mut self, value: &V) -> Option<Ttl> {
        let Some(special) = &mut *self.special else { return self.ttl.map(Ttl::from) };
        match mem::replace(&mut special.lifetime, Lifetime::Default) {
            Lifetime::Default => None,
            Lifetime::Fixed(ttl) => Some(ttl.into()),
            Lifetime::FromValue(ttl) => Some(ttl(value).into()),
        }
    }

    #[cold]
    fn drop_special(&mut self) {
        drop(mem::take(&mut *self.special));
    }
}

impl<V> Drop for Options<V> {
    #[inline]
    fn drop(&mut self) {
        self.clear();
    }
}
