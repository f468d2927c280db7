//! Database: a SQLite file with a row for every key, and the threads that read it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender};
use futures::channel::oneshot;
use rusqlite::{Connection, OpenFlags};

use crate::interrupt::Interrupt;
use crate::key::Key;
use crate::progress;
use crate::stream::KeyId;

/// The size of a row's payload.
pub(crate) const PAYLOAD_BYTES: usize = 512;

/// How many rows are written between two looks at the world.
const TURN: usize = 1 << 12;

const QUERY: &str = "SELECT payload FROM object WHERE key = ?1";

/// The payload of one row, shared by all who read it from the cache.
#[derive(Clone, Debug)]
pub(crate) struct Row(Arc<[u8]>);

impl Row {
    /// Whether this is the row of a key.
    pub(crate) fn belongs_to(&self, key: KeyId) -> bool {
        self.0.starts_with(&key.to_bytes())
    }
}

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QueryError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error("its threads have ended")]
    Closed,
}

/// The open database. SQLite makes its callers wait, so threads of its own do that: no executor's
/// thread is ever blocked, whichever runtime it belongs to.
pub(crate) struct Database {
    client: Client,
    threads: Vec<JoinHandle<()>>,
}

/// Asks the database.
#[derive(Clone)]
pub(crate) struct Client {
    jobs: Sender<Job>,
    queries: Arc<AtomicU64>,
}

struct Job {
    key: KeyId,
    reply: oneshot::Sender<Result<Row, QueryError>>,
}

impl Database {
    /// Makes a database in `folder` with a row for each key, and starts `threads` to read it.
    pub(crate) fn create(
        folder: &Path,
        keys: &Arc<[Key]>,
        threads: usize,
        interrupt: &Interrupt,
    ) -> rusqlite::Result<Self> {
        let path = folder.join("replay.sqlite");
        fill(&path, keys, interrupt)?;
        let (jobs, receiver) = crossbeam_channel::unbounded();
        let client = Client { jobs, queries: Arc::default() };
        let start = |_| {
            let connection = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            let reader = Reader {
                jobs: receiver.clone(),
                keys: Arc::clone(keys),
                queries: Arc::clone(&client.queries),
            };
            Ok(thread::spawn(move || reader.run(&connection)))
        };
        let threads = (0..threads).map(start).collect::<rusqlite::Result<_>>()?;
        Ok(Self { client, threads })
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    pub(crate) fn thread_count(&self) -> usize {
        self.threads.len()
    }

    /// How many queries were made so far.
    pub(crate) fn queries(&self) -> u64 {
        self.client.queries.load(Ordering::Relaxed)
    }

    /// Waits until all jobs are done. No client may be left.
    pub(crate) fn close(self) {
        drop(self.client);
        for thread in self.threads {
            thread.join().expect("a database thread answers with errors, it does not panic");
        }
    }
}

impl Client {
    /// Reads the row of a key.
    pub(crate) async fn read(self, key: KeyId) -> Result<Row, QueryError> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Job { key, reply }).map_err(|_| QueryError::Closed)?;
        answer.await.unwrap_or(Err(QueryError::Closed))
    }
}

/// One thread that reads.
struct Reader {
    jobs: Receiver<Job>,
    keys: Arc<[Key]>,
    queries: Arc<AtomicU64>,
}

impl Reader {
    fn run(self, connection: &Connection) {
        for Job { key, reply } in &self.jobs {
            let row = query(connection, &self.keys[key.index()]);
            self.queries.fetch_add(1, Ordering::Relaxed);
            // Who asked may have gone.
            let _ = reply.send(row.map_err(QueryError::from));
        }
    }
}

fn query(connection: &Connection, key: &Key) -> rusqlite::Result<Row> {
    let mut statement = connection.prepare_cached(QUERY)?;
    statement.query_row([key], |row| Ok(Row(row.get_ref(0)?.as_blob()?.into())))
}

/// Writes a row for each key, in one transaction.
fn fill(path: &Path, keys: &[Key], interrupt: &Interrupt) -> rusqlite::Result<()> {
    let mut connection = Connection::open(path)?;
    // The file does not outlive the program: nothing is gained by making it safe.
    connection.pragma_update(None, "journal_mode", "OFF")?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    let key_type = match keys.first() {
        Some(Key::Text(_)) => "TEXT",
        _ => "INTEGER",
    };
    let table = format!("CREATE TABLE object (key {key_type} PRIMARY KEY, payload BLOB NOT NULL)");
    connection.execute(&table, [])?;
    let transaction = connection.transaction()?;
    insert(&transaction, keys, interrupt)?;
    transaction.commit()
}

fn insert(connection: &Connection, keys: &[Key], interrupt: &Interrupt) -> rusqlite::Result<()> {
    let bar = progress::bar("filling the database", keys.len());
    let mut statement = connection.prepare("INSERT INTO object (key, payload) VALUES (?1, ?2)")?;
    let mut payload = [0_u8; PAYLOAD_BYTES];
    for (position, id) in in_order(keys).into_iter().enumerate() {
        if position % TURN == 0 {
            bar.set(position);
            if interrupt.is_raised() {
                break;
            }
        }
        let mark = id.to_bytes();
        payload[..mark.len()].copy_from_slice(&mark);
        statement.execute((&keys[id.index()], &payload))?;
    }
    Ok(())
}

/// The ids of all keys, those of small keys first: a tree that is filled in order is filled fast.
fn in_order(keys: &[Key]) -> Vec<KeyId> {
    let mut ids: Vec<_> = KeyId::up_to(keys.len()).collect();
    ids.sort_unstable_by_key(|id| &keys[id.index()]);
    ids
}
