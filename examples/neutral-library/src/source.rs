//! Where answers come from.

use std::error::Error;
use std::future::Future;

use crate::Answer;

/// Answers questions about names, at some cost.
///
/// Every `Fn(String) -> Future` with the right outcome is a source.
pub trait Source: Send + Sync + 'static {
    /// Why there is no answer.
    type Error: Error + Send + Sync + 'static;

    /// Finds out where the service called `name` is.
    fn look_up(&self, name: String) -> impl Future<Output = Result<Answer, Self::Error>> + Send;
}

impl<F, Answering, E> Source for F
where
    F: Fn(String) -> Answering + Send + Sync + 'static,
    Answering: Future<Output = Result<Answer, E>> + Send,
    E: Error + Send + Sync + 'static,
{
    type Error = E;

    fn look_up(&self, name: String) -> impl Future<Output = Result<Answer, E>> + Send {
        self(name)
    }
}
