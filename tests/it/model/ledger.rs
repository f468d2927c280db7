//! Ledger: which values were stored, and what the listener was told of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use fleeting::{CacheBuilder, RemovalCause};

use super::naive::{Notice, Value};
use super::operation::Key;

#[derive(Default)]
pub(super) struct Ledger {
    /// What the listener was told of since this was last read.
    news: Arc<Mutex<Vec<Notice>>>,
    /// By key, in order.
    stored: BTreeMap<Key, Vec<Value>>,
    told: BTreeMap<Key, Vec<Value>>,
}

impl Ledger {
    pub(super) fn listen(&self, builder: CacheBuilder<Key, Value>) -> CacheBuilder<Key, Value> {
        let news = Arc::clone(&self.news);
        builder.on_removal(move |key, value, cause| {
            news.lock().expect("no panic at the list").push((key, value, cause));
        })
    }

    pub(super) fn store(&mut self, key: Key, value: Value) {
        self.stored.entry(key).or_default().push(value);
    }

    /// Who was evicted since the last time, in order.
    pub(super) fn evicted(&self) -> Vec<(Key, Value)> {
        let news = self.news.lock().expect("no panic at the list");
        let evicted = news.iter().filter(|(_, _, cause)| *cause == RemovalCause::Evicted);
        evicted.map(|(key, value, _)| (*key, *value)).collect()
    }

    /// What is new since the last time, after a look at its order.
    pub(super) fn read(&mut self) -> Vec<Notice> {
        let news = std::mem::take(&mut *self.news.lock().expect("no panic at the list"));
        for (key, value, _) in &news {
            let told = self.told.entry(*key).or_default();
            assert!(told.last() < Some(value), "each is told once, in the order of its key");
            told.push(*value);
        }
        news
    }

    /// When nothing is left in the cache.
    pub(super) fn close(&self) {
        assert_eq!(self.stored, self.told, "all that was stored is told");
    }
}
