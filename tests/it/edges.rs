//! Where settings and operations meet at their edges.

use std::time::Duration;

use fleeting::Cache;

use crate::support::{check, in_virtual_time};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_value_that_stands_in_for_ever_is_not_taken_for_fresh() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> = time
            .builder()
            .ttl(SECOND)
            .stale_if_error(Duration::MAX)
            .build()
            .expect("the settings are valid");
        for key in 0..3 {
            cache.insert(key, key);
        }
        time.advance(2 * SECOND).await;
        assert_eq!(cache.remove(&0), None);
        assert_eq!(cache.entry(1).ttl(Duration::MAX).insert(10), None);
        assert_eq!(cache.entry_ref(&2).ttl(Duration::MAX).insert(20), None);
        check(&cache, 0);
    });
}

#[test]
fn retain_is_not_shown_what_has_expired() {
    let time = fleeting::runtime::Manual::new();
    let cache: Cache<u32, u32> =
        Cache::builder().ttl(SECOND).runtime(time.clone()).build().expect("the settings are valid");
    time.block_on(cache.close());
    cache.insert(1, 1);
    time.advance(SECOND);
    cache.insert(2, 2);
    let mut asked = Vec::new();
    let removed = cache.retain(|key, _| {
        asked.push(*key);
        false
    });
    assert_eq!((removed, asked), (1, vec![2]));
    check(&cache, 0);
}

#[test]
fn an_update_to_none_leaves_no_value_to_stand_in() {
    in_virtual_time(async |time| {
        let cache: Cache<u32, u32> = time
            .builder()
            .ttl(SECOND)
            .stale_if_error(60 * SECOND)
            .build()
            .expect("the settings are valid");
        cache.insert(1, 1);
        time.advance(2 * SECOND).await;
        assert_eq!(cache.entry(1).update(|present| present), None);
        let failed = cache.try_get_or_compute(1, || async { Err::<u32, _>("down") }).await;
        assert!(failed.is_err(), "{failed:?}");
        assert!(cache.is_empty());
        check(&cache, 0);
    });
}
