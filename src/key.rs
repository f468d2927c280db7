//! The two ways in which a call is given its key.
//!
//! [`Cache::entry`](crate::Cache::entry) takes a key by value and
//! [`Cache::entry_ref`](crate::Cache::entry_ref) borrows one; an [`Entry`](crate::Entry) says which
//! in its last type parameter.

use std::fmt;

use hashbrown::Equivalent;

/// A key that was given away.
#[derive(Clone, Copy, Debug)]
pub struct Owned<K>(pub(crate) K);

/// A key that was lent, and is made owned only to be stored.
#[derive(Debug)]
pub struct Borrowed<'q, Q: ?Sized>(pub(crate) &'q Q);

/// A key that was lent, and is made owned by a closure, only to be stored.
pub struct BorrowedWith<'q, Q: ?Sized, F>(pub(crate) &'q Q, pub(crate) F);

impl<Q: fmt::Debug + ?Sized, F> fmt::Debug for BorrowedWith<'_, Q, F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("BorrowedWith").field(&self.0).finish()
    }
}

/// A key as it was given: [`Owned`], [`Borrowed`] or [`BorrowedWith`].
pub trait Source<K>: sealed::Sealed {
    /// What the key is looked up by.
    type Lookup: Equivalent<K> + ?Sized;

    /// Whether the key to store is there already.
    #[doc(hidden)]
    const IS_OWNED: bool;

    /// The key to look up.
    fn lookup(&self) -> &Self::Lookup;

    /// The key to store.
    fn into_key(self) -> K;
}

impl<K: Eq> Source<K> for Owned<K> {
    type Lookup = K;

    const IS_OWNED: bool = true;

    #[inline]
    fn lookup(&self) -> &K {
        &self.0
    }

    #[inline]
    fn into_key(self) -> K {
        self.0
    }
}

impl<K, Q> Source<K> for Borrowed<'_, Q>
where
    Q: Equivalent<K> + ToOwned<Owned = K> + ?Sized,
{
    type Lookup = Q;

    const IS_OWNED: bool = false;

    #[inline]
    fn lookup(&self) -> &Q {
        self.0
    }

    #[inline]
    fn into_key(self) -> K {
        self.0.to_owned()
    }
}

impl<K, Q, F> Source<K> for BorrowedWith<'_, Q, F>
where
    Q: Equivalent<K> + ?Sized,
    F: FnOnce(&Q) -> K,
{
    type Lookup = Q;

    const IS_OWNED: bool = false;

    #[inline]
    fn lookup(&self) -> &Q {
        self.0
    }

    #[inline]
    fn into_key(self) -> K {
        (self.1)(self.0)
    }
}

mod sealed {
    /// Keeps [`Source`](super::Source) closed, so that it can grow.
    pub trait Sealed {}

    impl<K> Sealed for super::Owned<K> {}

    impl<Q: ?Sized> Sealed for super::Borrowed<'_, Q> {}

    impl<Q: ?Sized, F> Sealed for super::BorrowedWith<'_, Q, F> {}
}
