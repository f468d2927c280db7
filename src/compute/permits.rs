//! Permits: how many computes of one cache may run at once.
//!
//! Those that wait take turns: the next one waits for a permit, and the others for their turn. A
//! compute that is asked for by another of the same cache needs no permit of its own: the other, which
//! has one, waits for it.
//!
//! Locks of `async-lock` call wakers while they hold a lock of their own. Here a waker only goes on a
//! list, and is called when they have let go.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use async_lock::{Mutex as TurnLock, Semaphore, SemaphoreGuardArc};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::task::{ArcWake, waker};

use crate::panic::{Postponed, contain};
use crate::sync::{Arc, Mutex};

use super::flight::{Compute, Outcome};
use super::recursion::apart;
use super::signal::AnySignal;

/// The permits of one cache.
#[derive(Clone)]
pub(crate) struct Permits(Arc<Desk>);

struct Desk {
    permits: Arc<Semaphore>,
    turn: Arc<TurnLock<()>>,
    called: Mutex<Vec<Waker>>,
}

impl Permits {
    pub(crate) fn new(count: usize) -> Self {
        Self(Arc::new(Desk {
            permits: Arc::new(Semaphore::new(count)),
            turn: Arc::default(),
            called: Mutex::default(),
        }))
    }

    /// The compute, which runs when there is a permit for it.
    pub(super) fn admit<V>(&self, compute: Compute<V>, signal: Arc<AnySignal>) -> Admission<V> {
        let desk = Arc::clone(&self.0);
        let (turn, permits) = (Arc::clone(&desk.turn), Arc::clone(&desk.permits));
        let waiting = async move {
            let _turn = turn.lock_arc().await;
            permits.acquire_arc().await
        };
        let standing = Standing::Waits(waiting.boxed());
        Admission { standing, desk, signal, compute: Some(compute) }
    }
}

impl Desk {
    /// Wakes who was called.
    fn call_out(&self) {
        let called = std::mem::take(&mut *self.called.lock());
        if called.is_empty() {
            return;
        }
        // A waker may poll on the spot: what it polls is no part of the compute that leaves.
        apart(|| {
            for waker in called {
                let _ = contain(|| waker.wake());
            }
        });
    }
}

/// A waker that is called later.
struct Call {
    desk: Arc<Desk>,
    waker: Waker,
}

impl ArcWake for Call {
    fn wake_by_ref(call: &Arc<Self>) {
        call.desk.called.lock().push(call.waker.clone());
    }
}

/// A compute that needs a permit.
pub(super) struct Admission<V> {
    standing: Standing,
    desk: Arc<Desk>,
    /// Tells whether somebody waits for it who has a permit.
    signal: Arc<AnySignal>,
    /// `None` when it is over.
    compute: Option<Compute<V>>,
}

enum Standing {
    Waits(BoxFuture<'static, SemaphoreGuardArc>),
    /// With a permit, or under that of a compute which waits for it.
    Runs(#[expect(dead_code, reason = "held until the compute ends")] Option<SemaphoreGuardArc>),
}

impl<V> Admission<V> {
    fn poll_permit(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Standing::Waits(waiting) = &mut self.standing else { return Poll::Ready(()) };
        let permit = if self.signal.is_lent() {
            None
        } else {
            let desk = Arc::clone(&self.desk);
            let waker = waker(Arc::new(Call { desk, waker: context.waker().clone() }));
            Some(ready!(waiting.poll_unpin(&mut Context::from_waker(&waker))))
        };
        self.standing = Standing::Runs(permit);
        Poll::Ready(())
    }
}

impl<V> Future for Admission<V> {
    type Output = Outcome<V>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome<V>> {
        let permit = self.poll_permit(context);
        self.desk.call_out();
        ready!(permit);
        let compute = self.compute.as_mut().expect("a compute is not polled after its end");
        compute.poll_unpin(context)
    }
}

impl<V> Drop for Admission<V> {
    fn drop(&mut self) {
        // First the compute, whose destructor may panic, and then its permit.
        let mut postponed = Postponed::default();
        postponed.run(|| drop(self.compute.take()));
        self.standing = Standing::Runs(None);
        self.desk.call_out();
    }
}
