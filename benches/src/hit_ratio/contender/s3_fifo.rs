//! S3-FIFO exactly as in the paper (Yang et al., SOSP 2023): three queues, and two bits an entry.

use std::collections::{HashMap, VecDeque};

use ahash::RandomState;

use super::{Cache, hasher};

/// What is new waits in a small queue, and moves on to the main one if it is used again; what was
/// refused goes straight there when it comes back soon.
pub(super) struct S3Fifo {
    capacity: usize,
    entries: HashMap<u64, Entry, RandomState>,
    small: VecDeque<u64>,
    main: VecDeque<u64>,
    ghosts: Ghosts,
}

struct Entry {
    value: u64,
    uses: u8,
}

/// The keys that went from the small queue last, as many as the main queue has room for.
struct Ghosts {
    capacity: usize,
    /// For each key, which refusal was its last.
    refusals: HashMap<u64, u64, RandomState>,
    order: VecDeque<(u64, u64)>,
    refused: u64,
}

/// One of how many entries the small queue has room for.
const SMALL: usize = 10;

/// What two bits can count.
const MOST_USES: u8 = 3;

/// From so many uses on, an entry moves to the main queue.
const USES_TO_STAY: u8 = 2;

impl S3Fifo {
    pub(super) fn new(capacity: usize) -> Self {
        let (small, main) = (VecDeque::new(), VecDeque::new());
        let ghosts = Ghosts::new(capacity - small_room(capacity));
        Self { capacity, entries: HashMap::with_hasher(hasher()), small, main, ghosts }
    }

    fn make_room(&mut self) {
        if self.small.len() >= small_room(self.capacity) || self.main.is_empty() {
            self.evict_small();
        } else {
            self.evict_main();
        }
    }

    /// Moves on what was used, up to the first entry that was not, or that the main queue has no room
    /// for: there, one goes.
    fn evict_small(&mut self) {
        while let Some(key) = self.small.pop_front() {
            let entry = self.entries.get_mut(&key).expect("what is in a queue is there");
            if entry.uses < USES_TO_STAY {
                self.entries.remove(&key);
                return self.ghosts.push(key);
            }
            entry.uses = 0;
            self.main.push_back(key);
            if self.main.len() > self.capacity - small_room(self.capacity) {
                return self.evict_main();
            }
        }
    }

    /// The first goes that was not used since its last turn.
    fn evict_main(&mut self) {
        while let Some(key) = self.main.pop_front() {
            let entry = self.entries.get_mut(&key).expect("what is in a queue is there");
            if entry.uses == 0 {
                self.entries.remove(&key);
                return;
            }
            entry.uses -= 1;
            self.main.push_back(key);
        }
    }
}

impl Cache for S3Fifo {
    fn get(&mut self, key: u64) -> Option<u64> {
        let entry = self.entries.get_mut(&key)?;
        entry.uses = MOST_USES.min(entry.uses + 1);
        Some(entry.value)
    }

    fn insert(&mut self, key: u64, value: u64) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.value = value;
            return;
        }
        let was_refused = self.ghosts.take(key);
        while self.entries.len() >= self.capacity {
            self.make_room();
        }
        self.entries.insert(key, Entry { value, uses: 0 });
        let queue = if was_refused { &mut self.main } else { &mut self.small };
        queue.push_back(key);
    }
}

impl Ghosts {
    fn new(capacity: usize) -> Self {
        let refusals = HashMap::with_hasher(hasher());
        Self { capacity, refusals, order: VecDeque::new(), refused: 0 }
    }

    fn push(&mut self, key: u64) {
        self.refused += 1;
        self.refusals.insert(key, self.refused);
        self.order.push_back((key, self.refused));
        while self.refusals.len() > self.capacity {
            let (oldest, refusal) = self.order.pop_front().expect("each key is in the order");
            // Those that came back have left the map alone, and may be in it anew.
            if self.refusals.get(&oldest) == Some(&refusal) {
                self.refusals.remove(&oldest);
            }
        }
    }

    /// Takes out a key, and tells whether it was there.
    fn take(&mut self, key: u64) -> bool {
        self.refusals.remove(&key).is_some()
    }
}

fn small_room(capacity: usize) -> usize {
    (capacity / SMALL).max(1)
}
