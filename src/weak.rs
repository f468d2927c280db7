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
/// // What is evicted takes its thumbnail along.
/// let slot: Arc<OnceLock<WeakCache<String, u32>>> = Arc::default();
/// let own = Arc::clone(&slot);
/// let images: Cache<String, u32> = Cache::builder()
///     .max_size(3)
///     .on_removal(move |name: String, _, _| {
///         if let Some(images) = own.get().and_then(WeakCache::upgrade) {
///             images.remove(&format!("{name}/thumbnail"));
///         }
///     })
///     .build()?;
/// slot.set(images.downgrade()).expect("it is set once");
///
/// for name in ["a", "a/thumbnail", "b", "b/thumbnail"] {
///     images.insert(name.to_owned(), 0);
/// }
/// assert_eq!(images.len(), 2);
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
