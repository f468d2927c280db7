//! The plain operations: reading, writing, removing, iterating.

use fleeting::Cache;

use crate::support::{check, on_every_runtime};

#[test]
fn a_value_is_read_back_until_it_is_removed() {
    on_every_runtime(async |host| {
        let cache: Cache<String, u32> = host.builder().build().expect("valid settings");
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
