//! Compares how many requests of a trace each eviction policy finds in its cache.
//!
//! ```sh
//! cargo run --release --package benches --bin hit-ratio
//! ```
//!
//! The rules, for all alike:
//!
//! 1. One thread, one pass, cold start; every request of the trace counts.
//! 2. Each request is a `get`, and if it misses, an `insert`. The hit ratio is hits by requests.
//! 3. Keys and values are `u64`, every entry weighs 1, and a cache has room for so many entries.
//! 4. Sizes are 0.1, 1 and 10 % of the distinct keys, from 16 entries on, and those at which earlier
//!    work looked at the trace.
//! 5. Policies have their default parameters, and peers one shard where they let one choose.
//!    fleeting is as its users have it: with several shards above some thousand entries.
//! 6. Where a trace has times to live, the value is the time at which the entry expires: an expired
//!    one is a miss and stored anew, a hit renews nothing, and what lives no time is not stored.
//! 7. Hashes are the same in each run. Who cannot have that runs several times, and the mean counts.

mod average;
mod check;
mod comparison;
mod contender;
mod optimum;
mod options;
mod replay;
mod report;
mod session;
mod size;
mod trace;

pub(crate) use self::options::Options;
pub(crate) use self::session::run;
pub(crate) use self::trace::TraceError;
