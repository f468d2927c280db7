//! Driver: a task that alone polls a compute, while its callers only wait.
//!
//! It does not keep the compute going: when the last caller leaves, that is dropped, and the task ends. If the
//! runtime drops the task, the callers poll again.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::panic::contain;
use crate::sync::Arc;

use super::recursion::{Polling, apart};
use super::share::Stage;
use super::signal::Signal;

/// A compute's task.
pub(super) struct Driver<V> {
    signal: Arc<Signal<Stage<V>>>,
}

impl<V> Driver<V> {
    /// Of a compute that was not polled yet. From here on no caller polls it.
    pub(super) fn new(signal: &Arc<Signal<Stage<V>>>) -> Self {
        signal.spawn();
        Self { signal: Arc::clone(signal) }
    }
}

impl<V: Clone + Send + Sync + 'static> Driver<V> {
    /// Polls the compute, if it wants that. Ready when there is no more to do.
    fn drive(&self, context: &Context<'_>) -> Poll<()> {
        let (signal, stage) = (&self.signal, &self.signal.content);
        if signal.is_task_due(context.waker()) {
            let Some(mut share) = stage.join() else { return Poll::Ready(()) };
            let polling = Polling::begin(Arc::<Signal<Stage<V>>>::clone(signal));
            let polled = contain(|| share.poll(stage));
            drop(polling);
            // Perhaps the last caller has left meanwhile: then the compute is dropped here.
            let _ = contain(|| drop((polled, share)));
        }
        if signal.is_done() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl<V: Clone + Send + Sync + 'static> Future for Driver<V> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // Also where the runtime polls it inside another compute, which does not wait for it.
        apart(|| self.drive(context))
    }
}

impl<V> Drop for Driver<V> {
    fn drop(&mut self) {
        self.signal.unspawn();
    }
}
