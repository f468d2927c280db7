//! `WeakCache`: a handle that keeps nothing alive.

use std::fmt;

use crate::cache::Cache;
use crate::engine::Engine;
use crate::hash::DefaultHashBuilder;
use crate::sync::{Arc, Weak};

/// A handle to a cache that does not keep it alive; made by [`Cache::downgrade`].
///
/// For a [listener](crate::CacheBuilder::on_removal), an expiry function or a background task that is to use its own
/// cache: with a strong handle there, the cache would never be freed.
///
/// ```
/// use std::sync::{Arc, OnceLock};
/// use fleeting::{Cache, WeakCache};
///
/// // Counts its own evictions in an entry of the cache.
/// let slot: Arc<OnceLock<WeakCache<&str, u32>>> = Arc::default();
/// let own = Arc::clone(&slot);
/// let cache = Cache::builder()
///     .max_size(2)
///     .on_removal(move |_, _, cause| {
///         let cache = own.get().and_then(WeakCache::upgrade);
///         if let Some(cache) = cache.filter(|_| cause.was_evicted()) {
///             cache.entry("evictions").update(|count| Some(count.unwrap_or(0) + 1));
///         }
///     })
///     .build()?;
/// slot.set(cache.downgrade()).expect("it is set once");
///
/// for key in ["evictions", "a", "b"] {
///     cache.insert(key, 0);
/// }
/// assert_eq!(cache.get("evictions"), Some(1));
/// # Ok::<(), fleeting::BuildError>(())
/// ```
pub struct WeakCache<K, V, S = DefaultHashBuilder> {
    engine: Weak<Engine<K, V, S>>,
}

impl<K, V, S> WeakCache<K, V, S> {
    pub(crate) fn new(engine: &Arc<Engine<K, V, S>>) -> Self {
        Self { engine: Arc::downgrade(engine) }
    }

    /// Makes a handle that keeps the cache alive; `None` if the last such handle is gone.
    #[must_use]
    pub fn upgrade(&self) -> Option<Cache<K, V, S>> {
        self.engine.upgrade().map(|engine| Cache { engine })
    }
}

impl<K, V, S> Clone for WeakCache<K, V, S> {
    fn clone(&self) -> Self {
        Self { engine: Weak::clone(&self.engine) }
    }
}

impl<K, V, S> fmt::Debug for WeakCache<K, V, S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.upgrade() {
            Some(cache) => formatter.debug_tuple("WeakCache").field(&cache).finish(),
            None => formatter.write_str("WeakCache(gone)"),
        }
    }
}
