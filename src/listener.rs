//! Listener: who is told of each value that leaves the cache, and why it left.

use std::fmt;

/// Told of each value that leaves.
pub(crate) type Listener<K, V> = Box<dyn Fn(K, V, RemovalCause) + Send + Sync>;

/// Why a value left the cache; told to the listener of
/// [`CacheBuilder::on_removal`](crate::CacheBuilder::on_removal).
///
/// ```
/// use fleeting::RemovalCause;
///
/// assert!(RemovalCause::Evicted.was_evicted());
/// assert!(!RemovalCause::Removed.was_evicted());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RemovalCause {
    /// Its time to live was over, by whatever call it was found so: one that is removed or replaced
    /// past its deadline is told as this.
    Expired,
    /// The bound on the size was reached. Also of a value past its deadline that was held to stand in, as
    /// in [`Stats::evictions`](crate::Stats::evictions).
    Evicted,
    /// It was removed: by [`remove`](crate::Cache::remove), [`remove_if`](crate::Cache::remove_if),
    /// [`retain`](crate::Cache::retain), [`clear`](crate::Cache::clear), or an
    /// [`update`](crate::Entry::update) that returned `None`.
    Removed,
    /// Another value was stored in its place: by a write, or by a compute that renewed it.
    Replaced,
}

impl RemovalCause {
    /// Whether the cache let it go by itself, with nobody asking for that: true for `Expired` and
    /// `Evicted`.
    #[must_use]
    pub fn was_evicted(self) -> bool {
        matches!(self, Self::Expired | Self::Evicted)
    }
}

/// In a word, for a log: "expired".
impl fmt::Display for RemovalCause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Expired => "expired",
            Self::Evicted => "evicted",
            Self::Removed => "removed",
            Self::Replaced => "replaced",
        })
    }
}
