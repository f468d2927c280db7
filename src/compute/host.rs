//! Host: what a cache's computes run on, and by which rules.

use std::time::Duration;

use crate::background::Background;
use crate::clock::Clock;
use crate::options::Options;
use crate::runtime::Runtime;
use crate::sync::Arc;

use super::patience::Allowance;
use super::permits::Permits;
use super::waiter::{Terms, Waiter};

/// What is the same for all computes of a cache.
pub(crate) struct Host {
    /// `None` without a runtime.
    pub(crate) background: Option<Background>,
    pub(crate) compute_timeout: Option<Duration>,
    pub(crate) permits: Option<Permits>,
}

impl Host {
    /// Where computes can go on beside their callers; `None` without a runtime, or when that is gone
    /// or the cache closed.
    pub(super) fn open_background(&self) -> Option<&Background> {
        self.background.as_ref().filter(|background| background.is_open())
    }

    fn runtime(&self) -> Option<&Arc<dyn Runtime>> {
        self.background.as_ref().map(Background::runtime)
    }

    /// The terms of a call with these options.
    #[inline]
    pub(super) fn terms<'a, V>(&'a self, options: &Options<V>, clock: &'a Clock) -> Terms<'a> {
        let runtime = self.runtime();
        let allowance = Allowance::new(options.timeout(), self.compute_timeout, runtime);
        Terms { allowance, clock, runtime, permits: self.permits.as_ref() }
    }

    /// Lets a compute go on when its callers have left, if there is something to run it on.
    pub(super) fn detach<V>(&self, waiter: &Waiter<V>, terms: Terms<'_>)
    where
        V: Clone + Send + Sync + 'static,
    {
        let Some(background) = self.open_background() else { return };
        if !waiter.drive() {
            return;
        }
        if let Some(driver) = waiter.accompany(terms) {
            background.spawn(driver.driven());
        }
    }
}
