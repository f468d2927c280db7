//! The cache does what simple models of it do.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt::Write;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::program::{Program, gzip, lines, number};

pub(crate) const ZEEK: &str = include_str!("../data/zeek-dns-a.txt");

/// What becomes of a TTL trace.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Fate {
    pub(crate) hits: u64,
    expirations: u64,
    most_entries: usize,
}

/// A map from keys to deadlines, searched from end to end whenever the time has changed.
pub(crate) fn model(trace: &str) -> Fate {
    let mut deadlines: HashMap<u64, u64> = HashMap::new();
    let mut fate = Fate::default();
    for line in trace.lines().skip(1) {
        let fields: Vec<_> = line.split(' ').collect();
        let field = |index: usize| fields[index].parse::<u64>().expect("it is a number");
        let (now, key, ttl) = (field(0), field(1), field(3));
        let before = deadlines.len();
        deadlines.retain(|_, deadline| *deadline > now);
        fate.expirations += (before - deadlines.len()) as u64;
        match deadlines.entry(key) {
            Entry::Occupied(_) => fate.hits += 1,
            Entry::Vacant(_) if ttl == 0 => {}
            Entry::Vacant(vacant) => {
                vacant.insert(now + ttl);
            }
        }
        fate.most_entries = fate.most_entries.max(deadlines.len());
    }
    fate
}

fn replay(trace: &str) -> Fate {
    let program = Program::new();
    program.write("trace.gz", gzip(trace));
    let report = program.report("--trace trace.gz --virtual");
    Fate {
        hits: number(&report, "hits"),
        expirations: number(&report, "expirations"),
        most_entries: usize::try_from(number(&report, "peak_entries")).expect("it fits"),
    }
}

/// Requests at times that do not move, move a little, or far.
fn random_trace(seed: u64) -> String {
    let mut random = StdRng::seed_from_u64(seed);
    let mut trace = "# timestamp_s key size_bytes ttl_s op\n".to_owned();
    let mut now = random.random_range(0..2_000_000_000_u64);
    for _ in 0..2_000 {
        now += match random.random_range(0..100) {
            0 => random.random_range(0..100_000),
            1..40 => random.random_range(0..5),
            _ => 0,
        };
        let key = random.random_range(0..150_u64);
        let longest = [1, 4, 60, 1_000, 100_000][random.random_range(0..5)];
        let ttl = random.random_range(0..=longest);
        writeln!(trace, "{now} {key} 1 {ttl} get").expect("text can be appended to");
    }
    trace
}

#[test]
fn a_recorded_ttl_trace() {
    let model = model(ZEEK);
    assert!(model.hits > 0 && model.expirations > 0, "the trace has something to check");
    assert_eq!(replay(ZEEK), model);
}

#[test]
fn random_ttl_traces() {
    for seed in 0..20 {
        let trace = random_trace(seed);
        let model = model(&trace);
        assert!(model.hits > 0 && model.expirations > 0, "the trace has something to check");
        assert_eq!(replay(&trace), model, "seed {seed}");
    }
}

/// Hits and evictions of a queue of so many keys.
pub(crate) fn fifo(keys: &[u64], max_size: usize) -> (u64, u64) {
    let (mut queue, mut held) = (VecDeque::new(), HashSet::new());
    let (mut hits, mut evictions) = (0, 0);
    for &key in keys {
        if held.contains(&key) {
            hits += 1;
            continue;
        }
        if queue.len() == max_size {
            held.remove(&queue.pop_front().expect("a full queue is not empty"));
            evictions += 1;
        }
        queue.push_back(key);
        held.insert(key);
    }
    (hits, evictions)
}

#[test]
fn a_small_cache_gives_up_what_came_first() {
    let mut random = StdRng::seed_from_u64(1);
    let keys: Vec<u64> = (0..5_000).map(|_| random.random_range(0..100_u64).pow(2)).collect();
    let program = Program::new();
    program.write("keys", lines(keys.iter().copied()));
    for max_size in [1, 30, 99, 100] {
        let report = program.report(&format!("--trace keys --concurrency 1 --max-size {max_size}"));
        let (hits, evictions) = fifo(&keys, max_size);
        assert_eq!(number(&report, "hits"), hits, "{max_size}");
        assert_eq!(number(&report, "evictions"), evictions, "{max_size}");
        assert_eq!(number(&report, "peak_entries"), max_size as u64);
    }
}
