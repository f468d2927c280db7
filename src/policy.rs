//! `Policy`: which entry makes way for a new one.

/// Which entry of a full cache makes way for a new one; set by
/// [`CacheBuilder::policy`](crate::CacheBuilder::policy).
///
/// A hit never waits for another hit, except with [`Lru`](Self::Lru). A cache with a bound of up to 2,047
/// entries (or up to 2,047 in weight) is one shard, and the policy sees all of it; above, each shard keeps its
/// own order, and a newcomer takes the room of others in its shard, as long as there are any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Policy {
    /// The one that was stored first. The cheapest, and the only one of which reads know nothing.
    #[default]
    Fifo,
    /// The one that was used least recently, exactly. A hit takes its shard's lock for writing.
    Lru,
    /// The oldest that was not used since it was last looked at: SIEVE ([Zhang et al., NSDI
    /// 2024](https://www.usenix.org/conference/nsdi24/presentation/zhang-yazhuo)).
    ///
    /// Nearly as cheap as FIFO. It keeps what is popular, and does not suit what is used a few times in a row and
    /// then never again, or read in loops.
    Sieve,
    /// What is new and not used again soon goes first, and what comes back soon after it went stays longer:
    /// S3-FIFO ([Yang et al., SOSP 2023](https://dl.acm.org/doi/10.1145/3600006.3613147)).
    ///
    /// Better than FIFO and LRU on most traffic. An insert that evicts costs a third more than FIFO's.
    S3Fifo,
    /// Who was used less often of a newcomer, after some time in a window, and the one that was unused for
    /// longest; the window climbs to the size that suits: W-TinyLFU ([Einziger et al., ACM TOS
    /// 2017](https://dl.acm.org/doi/10.1145/3149371), [Middleware
    /// 2018](https://dl.acm.org/doi/10.1145/3274808.3274816)).
    ///
    /// For traffic in which the same things are popular for long, and for loops that are larger than the
    /// cache.
    TinyLfu,
    /// Finds out what suits the traffic: of four caches in miniature, each of which holds the digests of a
    /// sample of the keys and tries another window of W-TinyLFU, it follows those that hit most.
    ///
    /// The best hit ratio of all, on average and on most recorded traces, at some nanoseconds for a hit and
    /// two tenths of a microsecond for an insert that evicts.
    Adaptive,
}
