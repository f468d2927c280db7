//! Chance: numbers that are random enough to spread work in time. Not for secrets.

use std::cell::Cell;
use std::hash::BuildHasher;

use crate::hash::DefaultHashBuilder;

thread_local! {
    static DRAWS: Cell<u64> = const { Cell::new(0) };
    static HASHER: DefaultHashBuilder = DefaultHashBuilder::default();
}

/// A number from 0 up to, but not including, 1.
#[expect(clippy::cast_precision_loss, reason = "as many bits as fit are left")]
pub(crate) fn draw() -> f64 {
    const BITS: u32 = f64::MANTISSA_DIGITS;
    let draw = DRAWS.get();
    DRAWS.set(draw.wrapping_add(1));
    // While the thread ends there is no hasher, and no chance.
    let hash = HASHER.try_with(|hasher| hasher.hash_one(draw)).unwrap_or(u64::MAX);
    (hash >> (u64::BITS - BITS)) as f64 / (1_u64 << BITS) as f64
}

#[cfg(test)]
mod tests {
    #[test]
    fn draws_are_spread_evenly() {
        let draws: Vec<f64> = std::iter::repeat_with(super::draw).take(10_000).collect();
        assert!(draws.iter().all(|draw| (0.0..1.0).contains(draw)));
        for tenth in 0..10_u8 {
            let (from, to) = (f64::from(tenth) / 10.0, f64::from(tenth + 1) / 10.0);
            let count = draws.iter().filter(|draw| (from..to).contains(*draw)).count();
            assert!((800..1_200).contains(&count), "{count} of 10,000 from {from} on");
        }
    }
}
