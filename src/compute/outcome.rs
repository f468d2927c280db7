//! Outcome: what a compute comes to.

use std::mem;

use crate::panic::contain;
use crate::store::Failure;
use crate::sync::Arc;

/// How a compute ended, whatever its callers' error types.
///
/// All but a single value lies behind a thin pointer, so that where the value is a word, the outcome is
/// two, which are handed on in registers.
#[derive(Clone)]
pub(crate) enum Outcome<V> {
    Value(V),
    /// Those of several keys, by the order of their tickets.
    Values(Arc<Vec<Option<V>>>),
    Fault(Box<Fault>),
}

/// How a compute went wrong.
#[derive(Clone)]
pub(crate) enum Fault {
    Failed(Failure),
    Panicked(Arc<str>),
}

impl<V> Outcome<V> {
    /// No value for any key.
    pub(super) fn nothing() -> Self {
        Self::Values(Arc::default())
    }

    pub(crate) fn failed(failure: Failure) -> Self {
        Self::Fault(Box::new(Fault::Failed(failure)))
    }

    pub(super) fn panicked(message: Arc<str>) -> Self {
        Self::Fault(Box::new(Fault::Panicked(message)))
    }

    #[inline]
    pub(super) fn brings_values(&self) -> bool {
        !matches!(self, Self::Fault(_))
    }

    /// The user's destructors may panic once more: nobody is told of that.
    #[cold]
    pub(super) fn replace_by_panic(&mut self, message: Arc<str>) {
        let replaced = mem::replace(self, Self::panicked(message));
        let _ = contain(|| drop(replaced));
    }
}
