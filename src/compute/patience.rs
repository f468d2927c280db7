//! Patience: how long a caller waits for a compute.

use std::mem;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::clock::{Clock, Tick, Timeline};
use crate::panic::contain;
use crate::runtime::{Runtime, Task};
use crate::sync::{Arc, Weak};

use super::term::Term;

/// How much time a caller gives a compute.
#[derive(Clone, Copy, Debug)]
pub(super) enum Allowance {
    Endless,
    /// So long from when it asks.
    OfCall(Duration),
    /// So long from when the compute begins.
    OfCompute(Duration),
}

impl Allowance {
    /// Without a runtime nobody would notice that the time is up.
    pub(super) fn new(
        of_call: Option<Duration>,
        of_compute: Option<Duration>,
        runtime: Option<&Arc<dyn Runtime>>,
    ) -> Self {
        match (runtime, of_call, of_compute) {
            (Some(_), Some(timeout), _) => Self::OfCall(timeout),
            (Some(_), None, Some(timeout)) => Self::OfCompute(timeout),
            _ => Self::Endless,
        }
    }

    /// Until when a compute that began then may run for this caller's sake.
    pub(super) fn limit(self, begun: Tick) -> Tick {
        match self {
            Self::Endless => Tick::NEVER,
            Self::OfCall(timeout) | Self::OfCompute(timeout) => begun.after(timeout),
        }
    }
}

/// A caller's patience with one compute, and what wakes it at the end of it, or of the compute's time.
pub(super) struct Patience {
    /// When the caller's own is at its end.
    deadline: Tick,
    alarm: Alarm,
    timeline: Timeline,
    /// Not kept alive: it may own the task that waits here.
    runtime: Weak<dyn Runtime>,
}

/// Whose time is up.
pub(super) enum Lapse {
    /// The caller's.
    OfCaller,
    /// The compute's, but the caller has until then.
    OfCompute(Tick),
}

struct Alarm {
    moment: Tick,
    /// Made when it is first polled: that is the user's code, which must not run under a lock.
    timer: Option<Task>,
}

impl Alarm {
    fn at(moment: Tick) -> Self {
        Self { moment, timer: None }
    }
}

impl Patience {
    /// Until `deadline`, with a compute whose time is up at `limit`.
    pub(super) fn until(
        deadline: Tick,
        limit: Tick,
        clock: &Clock,
        runtime: &Arc<dyn Runtime>,
    ) -> Self {
        let alarm = Alarm::at(deadline.min(limit));
        Self { deadline, alarm, timeline: clock.timeline(), runtime: Arc::downgrade(runtime) }
    }

    /// From now on, it lasts as long as the compute's time.
    pub(super) fn last(&mut self) {
        self.deadline = Tick::NEVER;
    }

    /// Ready when a time is up. Where the runtime is gone, none ever is.
    pub(super) fn poll(&mut self, term: &Term, context: &mut Context<'_>) -> Poll<Lapse> {
        loop {
            ready!(self.poll_alarm(context));
            let moment = self.alarm.moment;
            if moment >= self.deadline {
                term.time_out(moment);
                return Poll::Ready(Lapse::OfCaller);
            }
            if term.time_out(moment) {
                return Poll::Ready(Lapse::OfCompute(self.deadline));
            }
            // Somebody has given the compute more time since.
            self.alarm = Alarm::at(self.deadline.min(term.limit()));
        }
    }

    fn poll_alarm(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(moment) = self.timeline.instant(self.alarm.moment) else { return Poll::Pending };
        let Some(runtime) = self.runtime.upgrade() else { return Poll::Pending };
        let timer = &mut self.alarm.timer;
        let polled = contain(|| {
            timer.get_or_insert_with(|| runtime.sleep_until(moment)).as_mut().poll(context)
        });
        polled.unwrap_or_else(|_| {
            // As where the runtime is gone, which it may be. Asked again, it would panic each time.
            let broken = mem::replace(&mut self.alarm, Alarm::at(Tick::NEVER));
            let _ = contain(|| drop(broken));
            Poll::Pending
        })
    }
}
