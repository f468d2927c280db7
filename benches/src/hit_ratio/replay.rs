//! Replay: a trace goes through a cache.

use super::contender::Cache;
use super::trace::Trace;

/// Returns how many requests a cache answers.
///
/// Values are the times at which they expire: caches have no clock in common that could be set.
pub(crate) fn replay(trace: &Trace, mut cache: impl Cache) -> u64 {
    let mut hits = 0;
    for request in trace.requests() {
        let now = request.life.now;
        if cache.get(request.key).is_some_and(|expiry| now < expiry) {
            hits += 1;
            continue;
        }
        let expiry = request.life.expiry();
        if now < expiry {
            cache.insert(request.key, expiry);
        }
    }
    hits
}
