//! A port from moka: an object cache as table formats have them. Its size in bytes comes from a configuration and may
//! be 0, its keys are looked up as `&str`, and its loads fail with an error type of the program's own.
//!
//! moka's `max_capacity` with a `weigher` is `max_weight`; `try_get_with` is `try_get_or_compute`, which takes a
//! borrowed key by `entry_ref`; `Arc<E>` is inside a `ComputeError`, which also says when a load panicked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use fleeting::Cache;

/// The program's own error, which callers share.
#[derive(Clone, Debug, PartialEq)]
enum Error {
    NotFound(String),
    Unexpected(String),
}

/// Where objects come from.
#[derive(Default)]
struct Storage {
    reads: AtomicUsize,
}

impl Storage {
    async fn read(&self, path: &str) -> Result<Vec<u8>, Error> {
        self.reads.fetch_add(1, SeqCst);
        tokio::task::yield_now().await; // A request, say.
        let size = path.strip_prefix("objects/").ok_or_else(|| Error::NotFound(path.to_owned()))?;
        Ok(vec![0; size.parse().map_err(|_| Error::Unexpected(format!("no size: {size}")))?])
    }
}

struct ObjectCache {
    storage: Arc<Storage>,
    objects: Cache<String, Arc<Vec<u8>>>,
}

impl ObjectCache {
    /// With 0 bytes it is off: nothing is stored, and loads at the same time are still shared.
    fn new(storage: Arc<Storage>, max_bytes: u64) -> Self {
        let objects = Cache::builder()
            .max_weight(max_bytes)
            .weigher(|path: &String, object: &Arc<Vec<u8>>| (path.len() + object.len()) as u64)
            .build()
            .expect("there is a weigher");
        Self { storage, objects }
    }

    async fn get(&self, path: &str) -> Result<Arc<Vec<u8>>, Error> {
        let load = || {
            let (storage, path) = (Arc::clone(&self.storage), path.to_owned());
            async move { storage.read(&path).await.map(Arc::new) }
        };
        self.objects.entry_ref(path).try_get_or_compute(load).await.map_err(|error| {
            let failed = error.into_failed().map(|error| (*error).clone());
            failed.unwrap_or_else(|other| Error::Unexpected(other.to_string()))
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    for (max_bytes, reads) in [(100, 1), (0, 3)] {
        let storage = Arc::<Storage>::default();
        let cache = ObjectCache::new(Arc::clone(&storage), max_bytes);
        for _ in 0..3 {
            assert_eq!(cache.get("objects/50").await?.len(), 50);
        }
        assert_eq!(storage.reads.load(SeqCst), reads);
        println!("{max_bytes} bytes: {reads} reads for 3 gets; {}", cache.objects.stats());
        let missing = cache.get("manifest").await;
        assert_eq!(missing, Err(Error::NotFound("manifest".to_owned())));
    }
    Ok(())
}
