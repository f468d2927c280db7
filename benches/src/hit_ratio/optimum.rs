//! Optimum: how many requests the best of all policies finds, which knows the future.
//!
//! Belady's policy with bypass: of the entries of a full cache and the new one, that goes which is
//! asked for last. None that keeps to its capacity finds more. Where entries expire, one that will
//! have expired when it is asked for next is as good as never asked for.

use std::collections::BinaryHeap;

use super::trace::{Life, Trace};

/// Returns the hits of a cache with room for so many entries.
pub(crate) fn replay(trace: &Trace, entries: usize) -> u64 {
    let mut cache = Clairvoyant::new(trace, entries);
    let mut hits = 0;
    for (position, &next) in trace.next_uses().iter().enumerate() {
        let life = trace.request(position).life;
        let held = cache.take(position);
        hits += u64::from(held.is_some());
        cache.hold(next, held.unwrap_or(life.expiry()));
    }
    hits
}

/// A cache whose entries are known by when they are asked for next.
struct Clairvoyant<'a> {
    trace: &'a Trace,
    capacity: usize,
    len: usize,
    /// For each position, when the entry expires that is held until then, or [`ABSENT`].
    expiries: Vec<u64>,
    /// Until when entries are held. Those before the present position have been taken: as all others
    /// are greater, they do not come up.
    held: BinaryHeap<u32>,
}

/// There is no entry. No entry expires then: it would not have been stored.
const ABSENT: u64 = 0;

impl<'a> Clairvoyant<'a> {
    fn new(trace: &'a Trace, capacity: usize) -> Self {
        let expiries = vec![ABSENT; trace.len()];
        Self { trace, capacity, len: 0, expiries, held: BinaryHeap::new() }
    }

    /// Takes out the entry that was held until now, and returns when it expires.
    fn take(&mut self, position: usize) -> Option<u64> {
        let expiry = self.expiries[position];
        self.len -= usize::from(expiry != ABSENT);
        (expiry != ABSENT).then_some(expiry)
    }

    /// Holds an entry until it is asked for next, if it will be there then.
    fn hold(&mut self, next: u32, expiry: u64) {
        if next == Trace::NEVER || self.life_at(next).now >= expiry {
            return;
        }
        self.expiries[index(next)] = expiry;
        self.held.push(next);
        self.len += 1;
        if self.len > self.capacity {
            let last = self.held.pop().expect("the cache is full");
            self.expiries[index(last)] = ABSENT;
            self.len -= 1;
        }
    }

    fn life_at(&self, position: u32) -> Life {
        self.trace.request(index(position)).life
    }
}

fn index(position: u32) -> usize {
    position as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeSet;

    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use crate::hit_ratio::trace::Requests;

    fn trace(keys: &[u64], lives: Option<Vec<Life>>) -> Trace {
        Trace::new("test", Requests { keys: keys.to_vec(), lives })
    }

    /// The most hits there can be: everything that a cache could do is tried.
    fn most_hits(keys: &[u64], held: &BTreeSet<u64>, capacity: usize) -> u64 {
        let Some((key, rest)) = keys.split_first() else { return 0 };
        if held.contains(key) {
            return 1 + most_hits(rest, held, capacity);
        }
        let mut full = held.clone();
        full.insert(*key);
        if full.len() <= capacity {
            return most_hits(rest, &full, capacity);
        }
        let without = |victim: &u64| full.iter().copied().filter(|key| key != victim).collect();
        full.iter().map(|victim| most_hits(rest, &without(victim), capacity)).max().unwrap_or(0)
    }

    #[test]
    fn nothing_is_better() {
        let mut random = StdRng::seed_from_u64(1);
        for _ in 0..300 {
            let keys: Vec<u64> = (0..10).map(|_| random.random_range(0..5)).collect();
            for capacity in 1..4 {
                let most = most_hits(&keys, &BTreeSet::new(), capacity);
                assert_eq!(replay(&trace(&keys, None), capacity), most, "{keys:?}, {capacity}");
            }
        }
    }

    #[test]
    fn of_a_loop_a_part_is_kept() {
        let keys: Vec<u64> = (0..10).cycle().take(100).collect();
        assert_eq!(replay(&trace(&keys, None), 3), 3 * 9);
    }

    #[test]
    fn what_has_expired_is_no_hit() {
        let lives = |times: &[u64], ttl| times.iter().map(|&now| Life { now, ttl }).collect();
        let hits = |ttl| replay(&trace(&[1, 1, 1, 1], Some(lives(&[0, 4, 5, 9], ttl))), 1);
        // A hit does not renew.
        assert_eq!(hits(5), 2);
        assert_eq!(hits(6), 2);
        assert_eq!(hits(9), 2);
        assert_eq!(hits(10), 3);
        assert_eq!(hits(0), 0);
    }
}
