//! The behaviours of the cache, through its public interface: a module a behaviour.

mod support;

#[cfg(feature = "test-util")]
mod attacks;
#[cfg(feature = "test-util")]
mod background;
mod bounds;
#[cfg(feature = "test-util")]
mod bulk_removals;
#[cfg(feature = "test-util")]
mod capacity;
#[cfg(feature = "test-util")]
mod changes;
mod circles;
mod close;
#[cfg(feature = "tokio")]
mod contexts;
mod conversions;
#[cfg(feature = "test-util")]
mod corners;
#[cfg(feature = "test-util")]
mod deadlines;
#[cfg(feature = "test-util")]
mod detached;
#[cfg(feature = "test-util")]
mod each_key;
#[cfg(feature = "test-util")]
mod early_refresh;
#[cfg(feature = "test-util")]
mod edges;
mod ending_threads;
#[cfg(feature = "test-util")]
mod expiry;
#[cfg(feature = "test-util")]
mod expiry_rule;
#[cfg(feature = "test-util")]
mod failures_remembered;
mod flights;
mod flights_cancelled;
mod flights_recursive;
mod flights_written_over;
mod footprint;
#[cfg(feature = "test-util")]
mod freshness;
mod handles;
mod hostile_code;
#[cfg(feature = "test-util")]
mod idle;
#[cfg(feature = "test-util")]
mod keeping;
#[cfg(feature = "test-util")]
mod keeping_ttl;
mod late_timers;
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
#[cfg(feature = "test-util")]
mod moments;
mod operations;
#[cfg(feature = "test-util")]
mod panicking_code;
mod permits;
#[cfg(feature = "test-util")]
mod policies;
mod refreshes;
#[cfg(feature = "test-util")]
mod refreshes_cancelled;
#[cfg(feature = "test-util")]
mod refreshes_written_over;
#[cfg(feature = "test-util")]
mod removals;
#[cfg(feature = "test-util")]
mod removals_hostile;
mod runtimes;
mod settings;
#[cfg(feature = "test-util")]
mod slow_computes;
#[cfg(feature = "test-util")]
mod spawned;
#[cfg(feature = "test-util")]
mod stale_values;
mod statistics;
#[cfg(feature = "test-util")]
mod statistics_sums;
#[cfg(feature = "test-util")]
mod sweeper;
#[cfg(feature = "test-util")]
mod timers;
mod types;
#[cfg(feature = "test-util")]
mod void_values;
#[cfg(feature = "test-util")]
mod weights;
