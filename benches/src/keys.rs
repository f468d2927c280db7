//! Keys: prepared before anything is timed.

use std::sync::Arc;

use rand::SeedableRng;
use rand::distr::Distribution;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand_distr::Zipf;

/// The skew of the made-up popularity: the key of rank n is asked for n^0.99 times less often.
const SKEW: f64 = 0.99;

/// The seed of the order in which caches are filled.
const FILLING: u64 = 0x0F11;

/// The keys from `first` on, in a random order.
pub(crate) fn shuffled(first: usize, count: usize, seed: u64) -> Arc<[u64]> {
    let mut keys: Vec<u64> = (first..first + count).map(|key| key as u64).collect();
    keys.shuffle(&mut StdRng::seed_from_u64(seed));
    keys.into()
}

/// All items once, in an order that has nothing to do with that in which they stand.
///
/// A cache that is filled in the order in which it is read then has its entries side by side in memory,
/// where the processor fetches them in advance: no program is so lucky.
pub(crate) fn out_of_order<T>(items: &[T]) -> Vec<&T> {
    let mut items: Vec<&T> = items.iter().collect();
    items.shuffle(&mut StdRng::seed_from_u64(FILLING));
    items
}

/// So many draws of so many keys, of which few are popular.
pub(crate) fn zipf(draws: usize, keys: usize, seed: u64) -> Arc<[u64]> {
    #[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^52 keys")]
    let zipf = Zipf::new(keys as f64, SKEW).expect("there is a key, and the skew is a number");
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank is a whole number from 1 to the number of keys"
    )]
    zipf.sample_iter(StdRng::seed_from_u64(seed)).take(draws).map(|rank| rank as u64).collect()
}

/// A list that begins again when it ends, and goes on where it was left.
#[derive(Clone, Debug)]
pub(crate) struct Cycle<T> {
    items: Arc<[T]>,
    position: usize,
}

impl<T> Cycle<T> {
    /// Begins at `position`.
    pub(crate) fn new(items: Arc<[T]>, position: usize) -> Self {
        assert!(position < items.len(), "there are items, and this is the position of one");
        Self { items, position }
    }

    /// Visits the next so many.
    ///
    /// The inner loop runs over a slice: what it costs beside `visit` is next to nothing.
    #[inline]
    pub(crate) fn visit(&mut self, count: usize, mut visit: impl FnMut(&T)) {
        let mut left = count;
        while left > 0 {
            let end = self.items.len().min(self.position + left);
            self.items[self.position..end].iter().for_each(&mut visit);
            left -= end - self.position;
            self.position = end % self.items.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_goes_on_where_it_was_left() {
        let mut cycle = Cycle::new([1, 2, 3].into(), 1);
        let mut seen = Vec::new();
        cycle.visit(4, |&item| seen.push(item));
        cycle.visit(3, |&item| seen.push(item));
        assert_eq!(seen, [2, 3, 1, 2, 3, 1, 2]);
    }

    #[test]
    fn shuffled_keys_are_all_there() {
        let mut keys = shuffled(10, 100, 1).to_vec();
        assert!(!keys.is_sorted());
        keys.sort_unstable();
        assert!(keys.into_iter().eq(10..110));
    }

    #[test]
    fn all_items_are_seen_out_of_order() {
        let items: Vec<usize> = (0..1_000).collect();
        let mut seen: Vec<usize> = out_of_order(&items).into_iter().copied().collect();
        let in_step = seen.windows(2).filter(|pair| pair[0] + 1 == pair[1]).count();
        assert!(in_step < 10, "{in_step} follow each other");
        seen.sort_unstable();
        assert_eq!(seen, items);
    }

    #[test]
    fn a_seed_names_a_trace() {
        assert_eq!(zipf(100, 50, 1), zipf(100, 50, 1));
        assert_ne!(zipf(100, 50, 1), zipf(100, 50, 2));
        assert!(zipf(100, 50, 1).iter().all(|key| (1..=50).contains(key)));
    }
}
