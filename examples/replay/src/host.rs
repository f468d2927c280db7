//! Host: the runtime that was chosen, as the library sees it.

use std::sync::Arc;

use fleeting::runtime::{AsyncStd, Runtime, Smol, Tokio};

use crate::error::Failure;
use crate::options::RuntimeChoice;

/// A runtime that is running.
pub(crate) struct Host {
    runtime: Arc<dyn Runtime>,
    /// The one runtime here that is not global: it runs until this is dropped.
    _tokio: Option<tokio::runtime::Runtime>,
}

impl Host {
    /// Starts the runtime.
    pub(crate) fn start(choice: RuntimeChoice) -> Result<Self, Failure> {
        match choice {
            RuntimeChoice::Tokio => Self::start_tokio(),
            RuntimeChoice::Smol => Ok(Self { runtime: Arc::new(Smol), _tokio: None }),
            RuntimeChoice::AsyncStd => Ok(Self { runtime: Arc::new(AsyncStd), _tokio: None }),
        }
    }

    fn start_tokio() -> Result<Self, Failure> {
        let tokio = tokio::runtime::Builder::new_multi_thread().enable_time().build();
        let tokio = tokio.map_err(Failure::Runtime)?;
        let runtime = Arc::new(Tokio::from(tokio.handle().clone()));
        Ok(Self { runtime, _tokio: Some(tokio) })
    }

    /// What runs the tasks, and the cache's background work.
    pub(crate) fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::clone(&self.runtime)
    }
}
