//! The resolver: a source with a memory.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fleeting::Cache;

use crate::{Answer, ComputeError, ResolverBuilder, Source, Stats};

/// Resolves names by asking a [`Source`], and remembers the answers.
///
/// A handle: clones share their memory.
pub struct Resolver<S> {
    cache: Cache<String, Answer>,
    source: Arc<S>,
    max_ttl: Duration,
}

impl<S: Source> Resolver<S> {
    /// Returns a builder of a resolver that asks `source`.
    pub fn builder(source: S) -> ResolverBuilder<S> {
        ResolverBuilder::new(source)
    }

    pub(crate) fn new(cache: Cache<String, Answer>, source: S, max_ttl: Duration) -> Self {
        Self { cache, source: Arc::new(source), max_ttl }
    }

    /// Returns the addresses of the service called `name`.
    ///
    /// # Errors
    ///
    /// If the source has no answer, panics, or asks this resolver for the same name. All who wait for the same answer get
    /// the same error.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future disturbs no one else who waits for the same name.
    pub async fn resolve(&self, name: &str) -> Result<Arc<[SocketAddr]>, ComputeError<S::Error>> {
        let max_ttl = self.max_ttl;
        let entry = self.cache.entry_ref(name).ttl_with(move |answer| answer.ttl.min(max_ttl));
        let answer = entry.try_get_or_compute(|| self.ask(name)).await?;
        Ok(answer.addresses)
    }

    /// Asks the source, in a future that owns all it needs.
    fn ask(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<Answer, S::Error>> + Send + 'static + use<S> {
        let (source, name) = (Arc::clone(&self.source), name.to_owned());
        async move { source.look_up(name).await }
    }

    /// Forgets what is known of `name`: the next caller has it looked up.
    pub fn forget(&self, name: &str) {
        self.cache.remove(name);
    }

    /// Returns how often the memory had the answer, and what finding the others cost.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.cache.stats()
    }

    /// Ends the background work and waits for its end. The resolver goes on without it.
    pub async fn close(&self) {
        self.cache.close().await;
    }
}

// Derived, these would ask the same of the source, and a closure is neither.

impl<S> Clone for Resolver<S> {
    fn clone(&self) -> Self {
        let Self { cache, source, max_ttl } = self;
        Self { cache: cache.clone(), source: Arc::clone(source), max_ttl: *max_ttl }
    }
}

impl<S> fmt::Debug for Resolver<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Resolver").field("cache", &self.cache).finish_non_exhaustive()
    }
}
