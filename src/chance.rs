//! Chance: numbers that are random enough to spread work in time. Not for secrets.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

thread_local! {
    /// Seeded by the operating system.
    static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0_u8));
}

/// A number from 0 up to, but not including, 1.
pub(crate) fn draw() -> f64 {
    // While the thread ends there is no state, and no chance.
    let state = STATE.try_with(|state| {
        state.set(step(state.get()));
        state.get()
    });
    fraction(mix(state.unwrap_or_default()))
}

/// `SplitMix64` (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).
fn step(state: u64) -> u64 {
    state.wrapping_add(0x9E37_79B9_7F4A_7C15)
}

fn mix(state: u64) -> u64 {
    let mixed = (state ^ state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

#[expect(clippy::cast_precision_loss, reason = "as many bits as fit are left")]
fn fraction(bits: u64) -> f64 {
    const BITS: u32 = f64::MANTISSA_DIGITS;
    (bits >> (u64::BITS - BITS)) as f64 / (1_u64 << BITS) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_spread_evenly_whatever_the_seed() {
        for seed in 0..200 {
            let states = std::iter::successors(Some(seed), |state| Some(step(*state)));
            let draws: Vec<f64> = states.map(|state| fraction(mix(state))).take(1_000).collect();
            assert!(draws.iter().all(|draw| (0.0..1.0).contains(draw)));
            for tenth in 0..10_u8 {
                let (from, to) = (f64::from(tenth) / 10.0, f64::from(tenth + 1) / 10.0);
                let count = draws.iter().filter(|draw| (from..to).contains(*draw)).count();
                // 100, give or take five times the standard deviation.
                assert!(
                    (52..=148).contains(&count),
                    "{count} of 1,000 from {from} on, seed {seed}"
                );
            }
        }
    }

    #[test]
    fn draws_differ() {
        let draws: std::collections::BTreeSet<u64> =
            std::iter::repeat_with(|| draw().to_bits()).take(1_000).collect();
        assert_eq!(draws.len(), 1_000);
    }
}
