//! Sweep: goes over all shards, a batch at a time, and frees what has expired.

use crate::clock::Tick;

use super::leftovers::Leftovers;
use super::{BATCH, Store};

/// A sweep over all shards, a batch at a time.
#[derive(Default)]
pub(crate) struct Sweep {
    shard: usize,
    begun: bool,
    /// How many entries were removed so far.
    pub(crate) removed: usize,
}

impl<K, V, F> Store<K, V, F> {
    /// Looks at the next batch of what may be due. Returns false when the sweep is at its end.
    pub(crate) fn sweep(&self, sweep: &mut Sweep, removed: &mut Leftovers<K, V>) -> bool {
        let Some(slot) = self.shards.get(sweep.shard) else { return false };
        let mut shard = slot.0.write();
        let now = self.clock.now();
        if !sweep.begun {
            sweep.begun = true;
            shard.advance(now);
        }
        let swept = shard.expire_due(now, BATCH, removed);
        self.settle(&mut shard, swept.expired);
        sweep.removed += swept.expired;
        if swept.examined == BATCH {
            return true;
        }
        *sweep = Sweep { shard: sweep.shard + 1, begun: false, removed: sweep.removed };
        let spent = shard.shrink();
        drop(shard);
        drop(spent);
        sweep.shard < self.shards.len()
    }

    /// A moment before which nothing is due in any shard.
    pub(crate) fn next_alarm(&self) -> Option<Tick> {
        self.shards.iter().filter_map(|slot| slot.0.read().next_alarm()).min()
    }
}
