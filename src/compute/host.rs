//! Host: what a cache's computes run on, and by which rules; and the terms of one call.

use std::time::Duration;

use crate::background::Background;
use crate::clock::{Clock, Tick};
use crate::options::Options;
use crate::runtime::{Runtime, run_within};
use crate::sync::Arc;

use super::patience::{Allowance, Patience};
use super::permits::Permits;
use super::term::Term;

/// What is the same for all computes of a cache.
pub(crate) struct Host {
    /// `None` without a runtime.
    pub(crate) background: Option<Background>,
    pub(crate) compute_timeout: Option<Duration>,
    pub(crate) stale_if_slow: Option<Duration>,
    pub(crate) spawns_computes: bool,
    pub(crate) permits: Option<Permits>,
}

impl Host {
    /// Where computes can go on beside their callers; `None` without a runtime, or when that is gone
    /// or the cache closed.
    pub(super) fn open_background(&self) -> Option<&Background> {
        self.background.as_ref().filter(|background| background.is_open())
    }

    #[inline]
    fn runtime(&self) -> Option<&Arc<dyn Runtime>> {
        self.background.as_ref().map(Background::runtime)
    }

    /// The terms of a call with these options.
    #[inline]
    pub(super) fn terms<'a, V>(&'a self, options: &Options<V>, clock: &'a Clock) -> Terms<'a> {
        let allowance = Allowance::new(options.timeout(), self.compute_timeout, self.runtime());
        let (stale_if_slow, is_spawned) = (self.stale_if_slow, self.spawns_computes);
        let mut terms = Terms { host: self, clock, allowance, stale_if_slow, is_spawned };
        if let Some(special) = options.get_special() {
            terms.stale_if_slow = special.stale_if_slow.or(stale_if_slow);
            terms.is_spawned |= special.is_spawned;
        }
        terms
    }
}

/// On which terms a caller computes and waits.
pub(super) struct Terms<'a> {
    pub(super) host: &'a Host,
    pub(super) clock: &'a Clock,
    pub(super) allowance: Allowance,
    /// How long the caller waits before it rather takes a stale value.
    stale_if_slow: Option<Duration>,
    is_spawned: bool,
}

impl<'a> Terms<'a> {
    pub(super) fn runtime(&self) -> Option<&'a Arc<dyn Runtime>> {
        self.host.runtime()
    }

    #[inline]
    pub(super) fn permits(&self) -> Option<&'a Permits> {
        self.host.permits.as_ref()
    }

    /// Where the compute is to run as a task, if it is.
    #[inline]
    pub(super) fn task_runner(&self) -> Option<&'a Background> {
        if self.is_spawned { self.host.open_background() } else { None }
    }

    /// Whether the compute may be given up.
    #[inline]
    pub(super) fn are_timed(&self) -> bool {
        !matches!(self.allowance, Allowance::Endless)
    }

    /// Runs what is part of a compute: where it finds the runtime of its cache.
    #[inline]
    pub(super) fn within<T>(&self, code: impl FnOnce() -> T) -> T {
        match self.runtime() {
            None => code(),
            Some(runtime) => run_within(&**runtime, code),
        }
    }

    /// From when on a caller that begins to wait now rather takes a stale value.
    #[inline]
    pub(super) fn slow_from(&self) -> Tick {
        self.stale_if_slow.map_or(Tick::NEVER, |wait| self.clock.now().after(wait))
    }

    /// The patience of a caller that has until `deadline`; `None` if it waits for as long as it takes.
    #[inline]
    pub(super) fn patience(
        &self,
        deadline: Tick,
        slow_from: Tick,
        term: &Term,
    ) -> Option<Box<Patience>> {
        let is_endless = !self.are_timed() && slow_from == Tick::NEVER;
        let runtime = self.runtime().filter(|_| !is_endless)?;
        Some(Box::new(Patience::until(deadline, slow_from, term.limit(), self.clock, runtime)))
    }
}
