//! The behaviours of the cache, through its public interface.

mod smoke;
