//! The plain operations: reading, writing, removing, iterating.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use fleeting::Cache;

use crate::support::{Host, check, on_every_runtime};

/// A cache on this host, with no settings but the defaults.
fn plain<K, V>(host: &Host) -> Cache<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    host.builder().build().expect("valid settings")
}

/// Runs `work` on several threads that begin at the same time, and returns their results.
fn at_once<T: Send>(threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(threads);
    let begin = |number| {
        barrier.wait();
        work(number)
    };
    thread::scope(|scope| {
        let begin = &begin;
        let workers: Vec<_> =
            (0..threads).map(|number| scope.spawn(move || begin(number))).collect();
        workers.into_iter().map(|worker| worker.join().expect("no thread panics")).collect()
    })
}

#[test]
fn a_value_is_read_back_until_it_is_removed() {
    on_every_runtime(async |host| {
        let cache: Cache<String, u32> = plain(&host);
        assert_eq!(cache.insert("one".to_owned(), 1), None);
        assert_eq!(cache.get("one"), Some(1));
        assert_eq!(cache.insert("one".to_owned(), 2), Some(1));
        assert_eq!(cache.peek("one"), Some(2));
        assert_eq!(cache.remove("one"), Some(2));
        assert_eq!(cache.get("one"), None);
        assert_eq!(cache.len(), 0);
        check(&cache, 0);
    });
}

#[test]
fn what_was_never_stored_is_absent_whoever_asks() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = plain(&host);
        assert_eq!(cache.get(&1), None);
        assert_eq!(cache.peek(&1), None);
        assert!(!cache.contains_key(&1));
        assert_eq!(cache.remove(&1), None);
        assert_eq!(cache.remove_if(&1, |_| unreachable!("there is no value to ask about")), None);
        assert_eq!(cache.iter().next(), None);
        assert_eq!(cache.cleanup(), 0);
        cache.clear();
        assert!(cache.is_empty());
        check(&cache, 0);
    });
}

#[test]
fn a_key_is_found_by_anything_equivalent_to_it() {
    #[derive(PartialEq, Eq, Hash)]
    struct Pair(String, u32);
    #[derive(Hash)]
    struct Borrowed<'a>(&'a str, u32);
    impl hashbrown::Equivalent<Pair> for Borrowed<'_> {
        fn equivalent(&self, pair: &Pair) -> bool {
            (self.0, self.1) == (pair.0.as_str(), pair.1)
        }
    }
    on_every_runtime(async |host| {
        let cache: Cache<Pair, u32> = plain(&host);
        cache.insert(Pair("one".to_owned(), 1), 11);
        assert_eq!(cache.get(&Borrowed("one", 1)), Some(11));
        assert_eq!(cache.get(&Borrowed("one", 2)), None);
        assert!(cache.contains_key(&Borrowed("one", 1)));
        assert_eq!(cache.remove_if(&Borrowed("one", 1), |_| true), Some(11));

        let cache: Cache<Arc<[u8]>, u32> = plain(&host);
        cache.insert(Arc::from([1, 2]), 12);
        assert_eq!(cache.get([1, 2].as_slice()), Some(12));
        assert_eq!(cache.remove([1, 2].as_slice()), Some(12));
    });
}

#[test]
fn keys_and_values_may_be_of_no_size() {
    on_every_runtime(async |host| {
        let cache: Cache<(), ()> = plain(&host);
        assert_eq!(cache.insert((), ()), None);
        assert_eq!(cache.insert((), ()), Some(()));
        assert_eq!(cache.len(), 1);
        assert_eq!(cache.iter().count(), 1);
        assert_eq!(cache.remove(&()), Some(()));
        check(&cache, 0);
    });
}

/// A key with a part that does not make it another.
#[derive(Clone, Debug)]
struct Labelled(u32, &'static str);

impl PartialEq for Labelled {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Labelled {}

impl Hash for Labelled {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

#[test]
fn overwriting_keeps_the_first_key() {
    on_every_runtime(async |host| {
        let cache: Cache<Labelled, u32> = plain(&host);
        cache.insert(Labelled(1, "first"), 1);
        cache.insert(Labelled(1, "second"), 2);
        let items: Vec<_> = cache.iter().map(|(key, value)| (key.1, value)).collect();
        assert_eq!(items, [("first", 2)]);
        check(&cache, 0);
    });
}

#[test]
fn peeking_and_writing_are_not_counted_as_requests() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = plain(&host);
        cache.insert(1, 1);
        cache.peek(&1);
        cache.peek(&2);
        cache.contains_key(&1);
        cache.contains_key(&2);
        cache.entry(1).or_insert(2);
        cache.entry(3).or_insert(2);
        cache.iter().count();
        cache.remove_if(&1, |_| false);
        cache.remove(&1);
        assert_eq!(cache.stats().requests(), 0);
        assert_eq!(cache.stats().inserts, 2);
        cache.get(&3);
        cache.get(&4);
        assert_eq!((cache.stats().hits, cache.stats().misses), (1, 1));
    });
}

#[test]
fn clear_removes_everything_and_keeps_the_statistics() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = plain(&host);
        for key in 0..1_000 {
            cache.insert(key, key);
        }
        cache.get(&1);
        let before = cache.stats();
        cache.clear();
        assert_eq!(cache.len(), 0);
        assert_eq!(cache.iter().count(), 0);
        assert_eq!(cache.stats(), before);
        check(&cache, 0);
        cache.insert(1, 2);
        assert_eq!((cache.get(&1), cache.len()), (Some(2), 1));
        check(&cache, 0);
    });
}

#[test]
fn handles_share_one_cache() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = plain(&host);
        let other = cache.clone();
        cache.insert(1, 1);
        drop(cache);
        assert_eq!(other.get(&1), Some(1));
        check(&other, 0);
    });
}

#[test]
fn values_are_freed_as_soon_as_nothing_can_return_them() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, Arc<u32>> = plain(&host);
        let value = Arc::new(1);
        for key in 0..10 {
            cache.insert(key, Arc::clone(&value));
        }
        drop((cache.get(&0), cache.peek(&0), cache.iter().count()));
        cache.entry(0).or_insert(Arc::clone(&value));
        assert_eq!(Arc::strong_count(&value), 11);
        cache.remove(&0);
        cache.remove_if(&1, |_| true);
        cache.insert(2, Arc::new(2));
        cache.entry(3).ttl(Duration::ZERO).insert(Arc::new(3));
        assert_eq!(Arc::strong_count(&value), 7);
        cache.clear();
        assert_eq!(Arc::strong_count(&value), 1);
    });
}

#[test]
fn a_condition_decides_what_is_removed() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = plain(&host);
        cache.insert(1, 10);
        let calls = Cell::new(0);
        let is = |wanted| {
            let calls = &calls;
            move |value: &u32| {
                calls.set(calls.get() + 1);
                *value == wanted
            }
        };
        assert_eq!(cache.remove_if(&1, is(11)), None);
        assert_eq!(cache.get(&1), Some(10));
        assert_eq!(cache.remove_if(&1, is(10)), Some(10));
        assert_eq!(cache.get(&1), None);
        assert_eq!(calls.get(), 2, "the condition is asked once a call");
        check(&cache, 0);
    });
}

#[test]
fn a_value_that_arrives_while_another_is_judged_is_not_removed() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = plain(&host);
        let meanwhile: [&dyn Fn(); 4] = [
            &|| {
                cache.insert(1, 20);
            },
            // The same value again is still not the one that was judged.
            &|| {
                cache.insert(1, 10);
            },
            &|| {
                cache.remove(&1);
                cache.insert(1, 10);
            },
            &|| {
                cache.clear();
                cache.entry(1).or_insert(10);
            },
        ];
        for replace in meanwhile {
            cache.insert(1, 10);
            let judge = |_: &u32| {
                replace();
                true
            };
            assert_eq!(cache.remove_if(&1, judge), None);
            assert!(cache.contains_key(&1));
        }
        cache.insert(1, 10);
        assert_eq!(cache.remove_if(&1, |_| cache.remove(&1).is_some()), None);
        check(&cache, 0);
    });
}

#[test]
fn of_many_who_remove_one_value_one_gets_it() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = plain(&host);
        for round in 0..200 {
            cache.insert(1, round);
            let removed = at_once(4, |number| match number % 2 {
                0 => cache.remove(&1),
                _ => cache.remove_if(&1, |value| *value == round),
            });
            assert_eq!(removed.into_iter().flatten().collect::<Vec<_>>(), [round]);
        }
        check(&cache, 0);
    });
}

#[test]
fn only_judged_values_are_removed_while_others_write() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u64> = plain(&host);
        let removed_odd = AtomicBool::new(false);
        at_once(3, |number| {
            for round in 0..2_000_u64 {
                match number {
                    0 => drop(cache.insert(1, round)),
                    1 => drop(cache.remove_if(&1, |value| value % 2 == 0)),
                    _ => {
                        let removed = cache.remove_if(&1, |value| value % 2 == 0);
                        if removed.is_some_and(|value| value % 2 != 0) {
                            removed_odd.store(true, Ordering::SeqCst);
                        }
                    }
                }
            }
        });
        assert!(!removed_odd.load(Ordering::SeqCst));
        assert_eq!(cache.get(&1), Some(1_999), "the last value is odd, and nobody may remove it");
        check(&cache, 0);
    });
}

#[test]
fn an_entry_knows_its_key_and_stores_under_it() {
    on_every_runtime(async |host| {
        let cache: Cache<String, u32> = plain(&host);
        let entry = cache.entry("one".to_owned());
        assert_eq!(entry.key(), "one");
        assert_eq!(entry.insert(1), None);
        let entry = cache.entry_ref("one");
        assert_eq!(entry.key(), "one");
        assert_eq!(entry.insert(2), Some(1));
        assert_eq!(cache.get("one"), Some(2));
        check(&cache, 0);
    });
}

#[test]
fn an_entry_that_is_dropped_does_nothing() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = plain(&host);
        drop(cache.entry(1).ttl(Duration::from_secs(1)));
        drop(cache.entry_ref(&1).ttl_with(|_| unreachable!("there is no value")));
        assert_eq!(cache.len(), 0);
        assert_eq!(cache.stats(), fleeting::Stats::default());
        check(&cache, 0);
    });
}

#[test]
fn or_insert_keeps_what_is_there() {
    on_every_runtime(async |host| {
        let cache: Cache<String, u32> = plain(&host);
        assert_eq!(cache.entry("one".to_owned()).or_insert(1), 1);
        assert_eq!(cache.entry("one".to_owned()).or_insert(2), 1);
        assert_eq!(cache.entry_ref("one").ttl(Duration::ZERO).or_insert(3), 1);
        assert_eq!(cache.get("one"), Some(1));
        assert_eq!(cache.entry_ref("two").or_insert(4), 4);
        assert_eq!(cache.stats().inserts, 2);
        check(&cache, 0);
    });
}

#[test]
fn of_many_who_insert_unless_present_all_get_one_value() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, usize> = plain(&host);
        for key in 0..200 {
            let stored = at_once(4, |number| cache.entry(key).or_insert(number));
            let first = stored[0];
            assert!(stored.iter().all(|value| *value == first), "{stored:?}");
            assert_eq!(cache.get(&key), Some(first));
        }
        assert_eq!(cache.stats().inserts, 200);
        check(&cache, 0);
    });
}

#[test]
fn the_ttl_closure_sees_the_value_once_if_it_is_stored() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = plain(&host);
        let seen = Arc::new(AtomicUsize::new(0));
        let note = || {
            let seen = Arc::clone(&seen);
            move |value: &u32| {
                seen.fetch_add(*value as usize, Ordering::SeqCst);
                Duration::from_secs(60)
            }
        };
        cache.entry(1).ttl_with(note()).insert(1);
        cache.entry(2).ttl_with(note()).or_insert(10);
        cache.entry(3).ttl_with(note()).get_or_compute(async || 100).await;
        assert_eq!(seen.load(Ordering::SeqCst), 111);
        cache.entry(2).ttl_with(note()).or_insert(20);
        cache.entry(3).ttl_with(note()).get_or_compute(async || 200).await;
        assert_eq!(seen.load(Ordering::SeqCst), 111, "a value that is there is not judged again");
        check(&cache, 0);
    });
}

/// A key that counts how often it is made owned.
#[derive(PartialEq, Eq, Hash)]
struct Counted(u32);

thread_local! {
    static MADE: Cell<u32> = const { Cell::new(0) };
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        MADE.set(MADE.get() + 1);
        Self(self.0)
    }
}

#[test]
fn a_lent_key_is_made_owned_only_to_store_it() {
    let cache: Cache<Counted, u32> = Cache::builder().build().expect("valid settings");
    let key = &Counted(1);
    assert_eq!(cache.entry_ref(key).or_insert(1), 1);
    assert_eq!(MADE.get(), 1, "it was stored");
    assert_eq!(cache.entry_ref(key).or_insert(2), 1);
    let computed = cache.entry_ref(key).get_or_compute(async || 3);
    assert_eq!(futures::executor::block_on(computed), 1);
    assert_eq!(cache.get(key), Some(1));
    assert_eq!(MADE.get(), 1);
    check(&cache, 0);
}

#[test]
fn iteration_yields_each_entry_once() {
    on_every_runtime(async |host| {
        for count in [0, 1, 127, 128, 129, 3_000_u32] {
            let cache: Cache<u32, u32> = plain(&host);
            for key in 0..count * 2 {
                cache.insert(key, key + 1);
            }
            // With gaps.
            for key in 0..count {
                cache.remove(&(key * 2));
            }
            let mut items: Vec<_> = cache.iter().collect();
            items.sort_unstable();
            let expected: Vec<_> = (0..count).map(|key| (key * 2 + 1, key * 2 + 2)).collect();
            assert_eq!(items, expected);
        }
    });
}

#[test]
fn iteration_holds_no_lock_between_items() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = plain(&host);
        for key in 0..500 {
            cache.insert(key, key);
        }
        for (key, value) in &cache {
            assert_eq!(cache.remove(&key), Some(value));
            cache.insert(key + 1_000, value);
            cache.remove(&(key + 1_000));
        }
        assert_eq!(cache.len(), 0);
        for key in 0..500 {
            cache.insert(key, key);
        }
        let mut items = cache.iter();
        assert!(items.next().is_some());
        cache.clear();
        assert!(items.count() < 500, "what is copied ahead is bounded");
        check(&cache, 0);
    });
}

#[test]
fn an_iterator_outlives_the_handle_it_came_from() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = plain(&host);
        cache.insert(1, 1);
        let items = cache.iter();
        drop(cache);
        assert_eq!(items.collect::<Vec<_>>(), [(1, 1)]);
    });
}

#[test]
fn iteration_sees_once_what_stays_and_never_what_was_gone_before() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = plain(&host);
        for key in 0..1_000 {
            cache.insert(key, key);
        }
        cache.remove(&0);
        let running = AtomicBool::new(true);
        at_once(3, |number| {
            if number > 0 {
                // Other keys come and go, and values are overwritten.
                let mut key = 1;
                while running.load(Ordering::SeqCst) {
                    key = key % 999 + 1;
                    cache.insert(key, key + 10_000);
                    cache.insert(key + 1_000, 0);
                    cache.remove(&(key + 1_000));
                }
                return;
            }
            for _ in 0..20 {
                let mut seen = HashMap::new();
                for (key, value) in cache.iter().filter(|(key, _)| *key < 1_000) {
                    assert!(value == key || value == key + 10_000);
                    assert_eq!(seen.insert(key, value), None, "seen twice");
                }
                assert_eq!(seen.len(), 999);
                assert!(!seen.contains_key(&0));
            }
            running.store(false, Ordering::SeqCst);
        });
        check(&cache, 0);
    });
}

#[test]
fn reads_on_many_threads_see_whole_values() {
    on_every_runtime(async |host| {
        let cache: Cache<u32, [u64; 8]> = plain(&host);
        cache.insert(1, [0; 8]);
        at_once(4, |number| {
            for round in 0..2_000 {
                if number == 0 {
                    cache.insert(1, [round; 8]);
                } else {
                    let value = cache.get(&1).expect("it is only overwritten");
                    assert!(value.iter().all(|part| *part == value[0]));
                }
            }
        });
        assert_eq!(cache.stats().hits, 6_000);
    });
}

#[test]
fn plain_methods_work_while_a_thread_ends() {
    thread_local! {
        static AT_EXIT: Cell<Option<InsertOnDrop>> = const { Cell::new(None) };
    }
    struct InsertOnDrop(Cache<u32, u32>);
    impl Drop for InsertOnDrop {
        fn drop(&mut self) {
            self.0.insert(1, self.0.get(&0).map_or(0, |value| value + 1));
        }
    }
    on_every_runtime(async |host| {
        let cache: Cache<u32, u32> = plain(&host);
        cache.entry(0).ttl(Duration::from_secs(60)).insert(5);
        let handle = cache.clone();
        let thread = thread::spawn(move || AT_EXIT.set(Some(InsertOnDrop(handle))));
        thread.join().expect("the thread ends well");
        assert_eq!(cache.get(&1), Some(6));
        check(&cache, 0);
    });
}
