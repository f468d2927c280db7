//! `ComputeError`: why a compute call has no value.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Why a compute call has no value.
///
/// Every caller that waited for the same compute gets the same error, so the error of the compute
/// itself comes in an [`Arc`].
///
/// It is an [`Error`] if `E` is one: then `?` turns it into an `anyhow::Error` or a `Box<dyn Error + Send + Sync>`.
/// For an `E` that is no error itself, such as just these two, [`into_error`](Self::into_error) makes one of it. It
/// passes the message of `E` on, and its source is that of `E`, so a report of the chain has each message once.
///
/// ```
/// use fleeting::{Cache, ComputeError};
///
/// type Anything = Box<dyn std::error::Error + Send + Sync>;
///
/// # futures::executor::block_on(async {
/// async fn rate() -> Result<f64, Anything> { Err("no route to host".into()) }
///
/// async fn cached_rate(cache: &Cache<&'static str, f64>) -> Result<f64, Anything> {
///     Ok(cache.try_get_or_compute("EUR", rate).await.map_err(ComputeError::into_error)?)
/// }
///
/// let error = cached_rate(&Cache::new(10)).await.unwrap_err();
/// assert_eq!(error.to_string(), "no route to host");
/// # });
/// ```
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

    /// Returns the error of the compute itself, or else why there is none.
    ///
    /// # Errors
    ///
    /// All variants but [`Failed`](Self::Failed), with an error type that says so.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use fleeting::ComputeError;
    /// let failed = ComputeError::Failed(Arc::new("no route"));
    /// assert_eq!(failed.into_failed(), Ok(Arc::new("no route")));
    /// assert_eq!(ComputeError::<&str>::TimedOut.into_failed(), Err(ComputeError::TimedOut));
    /// ```
    pub fn into_failed(self) -> Result<Arc<E>, ComputeError<Infallible>> {
        match self {
            Self::Failed(error) => Ok(error),
            Self::Panicked(message) => Err(ComputeError::Panicked(message)),
            Self::TimedOut => Err(ComputeError::TimedOut),
            Self::Recursive => Err(ComputeError::Recursive),
        }
    }

    /// Makes another error of the compute's own; the other variants stay.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use fleeting::ComputeError;
    /// let error = ComputeError::Failed(Arc::new(404));
    /// let error = error.map_failed(|status| format!("HTTP {status}"));
    /// assert_eq!(error.to_string(), "HTTP 404");
    /// ```
    #[must_use]
    pub fn map_failed<F>(self, map: impl FnOnce(Arc<E>) -> F) -> ComputeError<F> {
        match self.into_failed() {
            Ok(error) => ComputeError::Failed(Arc::new(map(error))),
            Err(ComputeError::Panicked(message)) => ComputeError::Panicked(message),
            Err(ComputeError::TimedOut) => ComputeError::TimedOut,
            Err(ComputeError::Recursive) => ComputeError::Recursive,
            Err(ComputeError::Failed(never)) => match *never {},
        }
    }
}

impl<E> ComputeError<E>
where
    E: AsRef<dyn Error + Send + Sync>,
{
    /// Makes it a real [`Error`], which keeps the chain: for an `E` such as `anyhow::Error` or `Box<dyn Error + Send +
    /// Sync>`, which are none. Then `?` turns it into either of them.
    ///
    /// The error itself can still be had, to be downcast: by [`failed`](Self::failed).
    #[must_use]
    pub fn into_error(self) -> ComputeError<SharedError<E>> {
        self.map_failed(SharedError)
    }
}

/// An error that callers share, as a real [`Error`]; made by [`ComputeError::into_error`].
///
/// It displays what the error does, and has its source. The error is behind a [`Deref`].
pub struct SharedError<E>(Arc<E>);

impl<E> SharedError<E> {
    /// Returns the error that is shared.
    #[must_use]
    pub fn into_inner(self) -> Arc<E> {
        self.0
    }
}

impl<E> Deref for SharedError<E> {
    type Target = E;

    fn deref(&self) -> &E {
        &self.0
    }
}

impl<E> Clone for SharedError<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E: AsRef<dyn Error + Send + Sync>> fmt::Debug for SharedError<E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt((*self.0).as_ref(), formatter)
    }
}

impl<E: AsRef<dyn Error + Send + Sync>> fmt::Display for SharedError<E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt((*self.0).as_ref(), formatter)
    }
}

impl<E: AsRef<dyn Error + Send + Sync>> Error for SharedError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        (*self.0).as_ref().source()
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
            // The error's own message is this one's.
            Self::Failed(error) => error.source(),
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
