//! The behaviours of the cache, through its public interface: a module a behaviour.

mod support;

#[cfg(feature = "test-util")]
mod capacity;
mod close;
#[cfg(feature = "test-util")]
mod corners;
#[cfg(feature = "test-util")]
mod expiry;
mod flights;
mod flights_cancelled;
mod flights_recursive;
mod flights_written_over;
mod footprint;
#[cfg(feature = "test-util")]
mod freshness;
mod hostile_code;
#[cfg(feature = "test-util")]
mod manual;
mod many;
#[cfg(feature = "test-util")]
mod many_hostile;
mod many_keys;
#[cfg(feature = "test-util")]
mod many_stale;
mod many_written_over;
#[cfg(feature = "test-util")]
mod model;
mod operations;
#[cfg(feature = "test-util")]
mod panicking_code;
mod runtimes;
mod settings;
mod statistics;
#[cfg(feature = "test-util")]
mod statistics_sums;
#[cfg(feature = "test-util")]
mod sweeper;
mod types;
