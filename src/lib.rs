//! An asynchronous in-memory cache with time-to-live, for any runtime.
//!
//! # Without a runtime
//!
//! Placeholder.

#![forbid(unsafe_code)]
#![warn(clippy::disallowed_methods, clippy::disallowed_types)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod builder;
mod cache;
mod clock;
mod compute;
mod engine;
mod entry;
mod expiry;
mod hash;
mod iter;
pub mod key;
pub mod runtime;
mod scope;
mod stats;
mod store;
mod sweeper;
mod sync;

pub use builder::{BuildError, CacheBuilder};
pub use cache::Cache;
pub use compute::error::ComputeError;
pub use entry::Entry;
pub use hash::DefaultHashBuilder;
pub use hashbrown::Equivalent;
pub use stats::Stats;
