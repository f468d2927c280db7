//! The settings of a resolver.

use std::fmt;
use std::time::Duration;

use fleeting::{Cache, CacheBuilder};

use crate::{Answer, BuildError, Resolver, Runtime, Source};

/// Remembering one name takes room; this many do no harm anywhere.
const MAX_NAMES: usize = 1000;

/// A day: longer than anyone should wait for a change to be seen (RFC 8767 has seven).
const MAX_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// Makes a [`Resolver`]; see [`Resolver::builder`].
#[must_use = "a builder does nothing until `build` is called"]
pub struct ResolverBuilder<S> {
    source: S,
    cache: CacheBuilder<String, Answer>,
    max_ttl: Duration,
}

impl<S: Source> ResolverBuilder<S> {
    pub(crate) fn new(source: S) -> Self {
        let cache = Cache::builder().max_size(MAX_NAMES);
        Self { source, cache, max_ttl: MAX_TTL }
    }

    /// Sets how many names are remembered, 1000 by default; those known longest go first.
    pub fn max_names(mut self, max_names: usize) -> Self {
        self.cache = self.cache.max_size(max_names);
        self
    }

    /// Sets how long an answer is remembered at most, a day by default, whatever it says itself.
    pub fn max_ttl(mut self, max_ttl: Duration) -> Self {
        self.max_ttl = max_ttl;
        self
    }

    /// Makes the resolver, which runs its background work on `runtime`.
    ///
    /// # Errors
    ///
    /// If a setting makes no sense, such as a maximum of no names.
    pub fn build(self, runtime: impl Runtime) -> Result<Resolver<S>, BuildError> {
        let cache = self.cache.runtime(runtime).build()?;
        Ok(Resolver::new(cache, self.source, self.max_ttl))
    }
}

// Derived, this would ask the same of the source, and a closure is not.
impl<S> fmt::Debug for ResolverBuilder<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ResolverBuilder")
            .field("cache", &self.cache)
            .field("max_ttl", &self.max_ttl)
            .finish_non_exhaustive()
    }
}
