//! Make: the closures that computes are made by.

use std::future::Future;

/// What makes the compute of a call.
pub(crate) trait Make<V> {
    type Output;
    type Future: Future<Output = Self::Output> + Send + 'static;

    /// Whether it has a use for a value that is past its time to live.
    const WANTS_STALE: bool;

    fn make(self, stale: Option<V>) -> Self::Future;
}

/// A closure without arguments.
pub(crate) struct Anew<F>(pub(crate) F);

impl<V, F, Fut> Make<V> for Anew<F>
where
    F: FnOnce() -> Fut,
    Fut: Future + Send + 'static,
{
    type Output = Fut::Output;
    type Future = Fut;

    const WANTS_STALE: bool = false;

    #[inline]
    fn make(self, _: Option<V>) -> Fut {
        self.0()
    }
}

/// A closure that is given the value to be renewed.
pub(crate) struct Revalidating<F>(pub(crate) F);

impl<V, F, Fut> Make<V> for Revalidating<F>
where
    F: FnOnce(Option<V>) -> Fut,
    Fut: Future + Send + 'static,
{
    type Output = Fut::Output;
    type Future = Fut;

    const WANTS_STALE: bool = true;

    fn make(self, stale: Option<V>) -> Fut {
        self.0(stale)
    }
}
