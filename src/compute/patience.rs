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
    /// From when on the caller rather takes a stale value; "never" once it has been asked.
    slow_from: Tick,
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
    /// Nobody's, but it has taken so long that a stale value will do.
    Slow,
}

struct Alarm {
    moment: Tick,
    timer: AlarmTimer,
}

enum AlarmTimer {
    /// Made when it is first polled: that is the user's code, which must not run under a lock.
    Unset,
    Set(Task),
    Rung,
    /// It panicked, and would do so again each time.
    Broken,
}

impl Alarm {
    fn at(moment: Tick) -> Self {
        Self { moment, timer: AlarmTimer::Unset }
    }
}

impl Patience {
    /// Until `deadline`, with a compute whose time is up at `limit`.
    pub(super) fn until(
        deadline: Tick,
        slow_from: Tick,
        limit: Tick,
        clock: &Clock,
        runtime: &Arc<dyn Runtime>,
    ) -> Self {
        let alarm = Alarm::at(deadline.min(slow_from).min(limit));
        let (timeline, runtime) = (clock.timeline(), Arc::downgrade(runtime));
        Self { deadline, slow_from, alarm, timeline, runtime }
    }

    /// From now on, it lasts as long as the compute's time.
    pub(super) fn last(&mut self) {
        (self.deadline, self.slow_from) = (Tick::NEVER, Tick::NEVER);
    }

    /// Whose time is up by the clock while the timer is late: its runtime may be gone, and nobody woken in time. Asked
    /// before the compute is polled once more, which may come to its end only then.
    ///
    /// Where the timer works, a compute that is at its end when the time is up still counts.
    pub(super) fn overdue(&mut self, term: &Term, context: &mut Context<'_>) -> Option<Lapse> {
        while self.has_passed() && self.poll_alarm(context).is_pending() {
            if let Some(lapse) = self.lapse(term) {
                return Some(lapse);
            }
        }
        None
    }

    /// Whether the moment of the alarm is past by the clock. That is the user's, and may panic.
    fn has_passed(&self) -> bool {
        let (moment, runtime) = (self.timeline.instant(self.alarm.moment), self.runtime.upgrade());
        let Some((moment, runtime)) = moment.zip(runtime) else { return false };
        contain(move || moment <= runtime.now()).unwrap_or(false)
    }

    /// Ready when a time is up.
    pub(super) fn poll(&mut self, term: &Term, context: &mut Context<'_>) -> Poll<Lapse> {
        loop {
            ready!(self.poll_alarm(context));
            if let Some(lapse) = self.lapse(term) {
                return Poll::Ready(lapse);
            }
        }
    }

    /// What the alarm was for. If nothing came of it, it is set anew.
    fn lapse(&mut self, term: &Term) -> Option<Lapse> {
        let moment = self.alarm.moment;
        if moment >= self.deadline {
            term.time_out(moment);
            return Some(Lapse::OfCaller);
        }
        let is_slow = moment >= self.slow_from;
        if is_slow {
            self.slow_from = Tick::NEVER;
        } else if term.time_out(moment) {
            return Some(Lapse::OfCompute(self.deadline));
        }
        // Somebody may have given the compute more time since.
        self.set_alarm(self.deadline.min(self.slow_from).min(term.limit()));
        is_slow.then_some(Lapse::Slow)
    }

    fn poll_alarm(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(moment) = self.timeline.instant(self.alarm.moment) else { return Poll::Pending };
        let Some(runtime) = self.runtime.upgrade() else { return Poll::Pending };
        let polled = contain(|| self.alarm.timer.poll(|| runtime.sleep_until(moment), context));
        polled.unwrap_or_else(|_| {
            // As where the runtime is gone, which it may be.
            self.set_alarm(self.alarm.moment);
            self.alarm.timer = AlarmTimer::Broken;
            Poll::Pending
        })
    }

    /// The timer that was set is the user's, and its destructor may panic.
    fn set_alarm(&mut self, moment: Tick) {
        let replaced = mem::replace(&mut self.alarm, Alarm::at(moment));
        let _ = contain(|| drop(replaced));
    }
}

impl AlarmTimer {
    fn poll(&mut self, set: impl FnOnce() -> Task, context: &mut Context<'_>) -> Poll<()> {
        if let Self::Unset = self {
            *self = Self::Set(set());
        }
        match self {
            Self::Unset | Self::Broken => Poll::Pending,
            Self::Rung => Poll::Ready(()),
            Self::Set(timer) => {
                ready!(timer.as_mut().poll(context));
                *self = Self::Rung;
                Poll::Ready(())
            }
        }
    }
}
