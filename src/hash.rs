//! The hasher of a cache that was given no other.

use std::fmt;
use std::hash::{BuildHasher, RandomState};

use foldhash::SharedSeed;
use foldhash::fast::{FoldHasher, SeedableRandomState};

use crate::sync::OnceLock;

/// The default hasher: [foldhash](https://docs.rs/foldhash), keyed at random for each cache.
///
/// The keys come from the operating system's source of randomness, so nobody can prepare a flood of
/// colliding keys in advance. An attacker who can time single calls well enough to learn the keys
/// is another matter: against that, pass the slower [`std::hash::RandomState`] to
/// [`CacheBuilder::hasher`](crate::CacheBuilder::hasher).
#[derive(Clone)]
pub struct DefaultHashBuilder(SeedableRandomState);

impl Default for DefaultHashBuilder {
    fn default() -> Self {
        static SHARED: OnceLock<SharedSeed> = OnceLock::new();
        let shared = SHARED.get_or_init(|| SharedSeed::from_u64(random()));
        Self(SeedableRandomState::with_seed(random(), shared))
    }
}

impl BuildHasher for DefaultHashBuilder {
    type Hasher = FoldHasher<'static>;

    #[inline]
    fn build_hasher(&self) -> Self::Hasher {
        self.0.build_hasher()
    }
}

impl fmt::Debug for DefaultHashBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Its keys are secret.
        formatter.debug_struct("DefaultHashBuilder").finish_non_exhaustive()
    }
}

/// A number that cannot be foretold: std's hasher has its keys from the operating system.
fn random() -> u64 {
    RandomState::new().hash_one(0_u8)
}
