//! Scope: closes a cache when a piece of code is over, however it ends.

use std::hash::{BuildHasher, Hash};
use std::panic::{AssertUnwindSafe, resume_unwind};

use futures_util::FutureExt;

use crate::cache::Cache;

/// Until it is closed, dropping it stops the background work without waiting.
pub(crate) struct Scope<'a, K, V, S> {
    cache: &'a Cache<K, V, S>,
}

impl<'a, K, V, S> Scope<'a, K, V, S>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
{
    pub(crate) fn new(cache: &'a Cache<K, V, S>) -> Self {
        Self { cache }
    }

    pub(crate) async fn run<T, F>(self, run: F) -> T
    where
        F: AsyncFnOnce(&Cache<K, V, S>) -> T,
    {
        // What the code was working on is not looked at again after a panic. In a block, because
        // `run` may panic before it makes a future.
        let outcome = AssertUnwindSafe(async { run(self.cache).await }).catch_unwind().await;
        self.cache.close().await;
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl<K, V, S> Drop for Scope<'_, K, V, S> {
    fn drop(&mut self) {
        self.cache.engine.stop();
    }
}
