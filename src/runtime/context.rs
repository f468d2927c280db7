//! Runtime context: the runtime that a compute finds, whoever polls it.

use crate::sync::{Arc, Weak};

use super::Runtime;

/// The runtime in which a compute was born, and is polled.
pub(crate) enum RuntimeContext {
    /// None that is known here: it is polled as its callers are.
    Unknown,
    /// That of its cache. Not kept alive: it may own the task that waits for the compute.
    Cache(Weak<dyn Runtime>),
    /// The one that its leader was in, where the cache has none.
    Leader(Box<dyn Runtime>),
}

impl RuntimeContext {
    /// That of a compute which begins on this thread, in a cache with or without a runtime.
    pub(crate) fn of(cache: Option<&Arc<dyn Runtime>>) -> Self {
        match cache {
            Some(runtime) => Self::Cache(Arc::downgrade(runtime)),
            None => current().map_or(Self::Unknown, Self::Leader),
        }
    }

    /// Runs `code` in this context.
    pub(crate) fn run<T>(&self, code: impl FnOnce() -> T) -> T {
        match self {
            Self::Unknown => code(),
            Self::Cache(runtime) => match runtime.upgrade() {
                Some(runtime) => run_within(&*runtime, code),
                None => code(),
            },
            Self::Leader(runtime) => run_within(&**runtime, code),
        }
    }
}

/// Runs `code` where it finds `runtime`.
#[inline(never)]
pub(crate) fn run_within<T>(runtime: &dyn Runtime, code: impl FnOnce() -> T) -> T {
    let (mut code, mut output) = (Some(code), None);
    runtime.within(&mut || {
        if let Some(code) = code.take() {
            output = Some(code());
        }
    });
    // An implementation that forgets to run it costs the context only.
    output.or_else(|| code.map(|code| code())).expect("`Spawner::within` passes panics on")
}

/// The runtime that this thread is in, if it is one that can be found.
#[cfg(all(feature = "tokio", not(all(target_family = "wasm", target_os = "unknown"))))]
fn current() -> Option<Box<dyn Runtime>> {
    super::Tokio::try_current().map(|runtime| -> Box<dyn Runtime> { Box::new(runtime) })
}

#[cfg(not(all(feature = "tokio", not(all(target_family = "wasm", target_os = "unknown")))))]
fn current() -> Option<Box<dyn Runtime>> {
    None
}
