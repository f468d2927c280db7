//! `ComputeError`: why a compute call has no value.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Why a compute call has no value.
///
/// Every caller that waited for the same compute gets the same error, so the error of the compute
/// itself comes in an [`Arc`].
///
/// It is an [`Error`] if `E` is one. For an `E` that is none, such as `anyhow::Error`, pass the
/// message on: `.map_err(|error| anyhow::anyhow!("{error:#}"))`.
#[derive(Debug)]
#[non_exhaustive]
pub enum ComputeError<E> {
    /// The compute returned this error. It was not stored: the next call computes again.
    Failed(Arc<E>),
    /// The compute, its destructor, or the closure that makes it panicked with this message.
    Panicked(Arc<str>),
    /// The compute took longer than it was given.
    TimedOut,
    /// The compute of a key asked for that same key, directly or through the computes of other
    /// keys: waiting would never have ended.
    Recursive,
}

impl<E: PartialEq> PartialEq for ComputeError<E> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Failed(error), Self::Failed(other)) => error == other,
            (Self::Panicked(message), Self::Panicked(other)) => message == other,
            (Self::TimedOut, Self::TimedOut) | (Self::Recursive, Self::Recursive) => true,
            _ => false,
        }
    }
}

impl<E: Eq> Eq for ComputeError<E> {}

impl<E> ComputeError<E> {
    /// The error that the compute itself returned, if that is what happened.
    #[must_use]
    pub fn failed(&self) -> Option<&E> {
        match self {
            Self::Failed(error) => Some(error),
            _ => None,
        }
    }
}

impl<E> Clone for ComputeError<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Failed(error) => Self::Failed(Arc::clone(error)),
            Self::Panicked(message) => Self::Panicked(Arc::clone(message)),
            Self::TimedOut => Self::TimedOut,
            Self::Recursive => Self::Recursive,
        }
    }
}

impl<E: fmt::Display> fmt::Display for ComputeError<E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // With the caller's flags: `{:#}` means something to many errors.
            Self::Failed(error) => error.fmt(formatter),
            Self::Panicked(message) => write!(formatter, "the compute panicked: {message}"),
            Self::TimedOut => formatter.write_str("the compute took longer than it was given"),
            Self::Recursive => formatter.write_str("the compute of a key asked for that same key"),
        }
    }
}

impl<E: Error + 'static> Error for ComputeError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(error) => Some(&**error),
            _ => None,
        }
    }
}

/// What a call returns that has no error to return.
#[inline]
pub(crate) fn value_or_panic<T>(result: Result<T, ComputeError<Infallible>>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("the compute call has no value to return: {error}"),
    }
}
