//! Reads the authors of a hundred posts with one query, not with one for each: the N + 1 problem.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

use fleeting::Cache;
use rusqlite::Connection;

/// A hundred posts by 30 authors.
const TABLES: &str = "
    CREATE TABLE author (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
    CREATE TABLE post (id INTEGER PRIMARY KEY, author INTEGER NOT NULL);
    WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 100)
    INSERT INTO post SELECT i, i % 30 FROM n;
    INSERT INTO author SELECT DISTINCT author, 'author ' || author FROM post;";
const NAMES: &str = "SELECT id, name FROM author WHERE id IN (SELECT value FROM json_each(?1))";
type Names = HashMap<u32, String>;

static QUERIES: AtomicUsize = AtomicUsize::new(0);

/// Makes one query for all of these authors, on a thread where nobody else waits for it.
async fn query(database: Arc<Mutex<Connection>>, authors: Vec<u32>) -> rusqlite::Result<Names> {
    QUERIES.fetch_add(1, SeqCst);
    smol::unblock(move || {
        let database = database.lock().unwrap_or_else(PoisonError::into_inner);
        let mut statement = database.prepare_cached(NAMES)?;
        // JSON writes a list of numbers as Rust does.
        statement.query_map([format!("{authors:?}")], |row| row.try_into())?.collect()
    })
    .await
}

fn main() -> anyhow::Result<()> {
    let database = Connection::open_in_memory()?;
    database.execute_batch(TABLES)?;
    let authors = database
        .prepare("SELECT author FROM post ORDER BY id")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<Vec<u32>, _>>()?;
    let database = Arc::new(Mutex::new(database));
    let cache: Cache<u32, String> = Cache::builder().max_size(1000).build()?;
    smol::block_on(async {
        // A page with some of the posts, one with all, and that one again.
        for (posts, expected) in [(20, [20, 1]), (100, [100, 1]), (100, [100, 0])] {
            let mut one_by_one = Names::new();
            for &author in &authors[..posts] {
                one_by_one.extend(query(Arc::clone(&database), vec![author]).await?);
            }
            let without = QUERIES.swap(0, SeqCst);
            let query = |missing| query(Arc::clone(&database), missing);
            let names = cache.try_get_or_compute_many(authors[..posts].to_vec(), query).await?;
            let with = QUERIES.swap(0, SeqCst);
            println!("authors of {posts} posts: {without} queries, with the cache {with}");
            assert_eq!((names, [without, with]), (one_by_one, expected));
        }
        Ok(())
    })
}
