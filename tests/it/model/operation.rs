//! Operation: one step of a random run, and the settings of the cache that it is done to.

use std::time::Duration;

use fleeting::Policy;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::support::POLICIES;

pub(super) type Key = u8;

/// Few keys, so that operations meet.
pub(super) const KEYS: Key = 12;
pub(super) const YEAR: u64 = 365 * 24 * 3_600;

#[derive(Clone, Debug)]
pub(super) enum Operation {
    Get(Key),
    GetMany(Vec<Key>),
    Peek(Key),
    Contains(Key),
    Insert(Key, Draft),
    InsertByRef(Key, Draft),
    OrInsert(Key, Draft),
    /// Without a draft it removes.
    Update(Key, Option<Draft>),
    UpdateByRef(Key, Option<Draft>),
    Remove(Key),
    RemoveIf(Key, bool),
    /// Removes the values whose numbers leave this remainder.
    Retain(u64),
    /// Removes the entries, and fences off the computes, whose keys leave this remainder.
    RetainKeys(u32),
    SetTtl(Key, Duration),
    SetMaxSize(usize),
    Clear,
    Cleanup,
    Iterate,
    ResetStatistics,
    /// A compute that ends at once.
    Compute(Key, Option<Duration>, Ending),
    /// A compute call that is left waiting, whether it leads or joins.
    Call(Key, Option<Duration>),
    /// The compute that one of the waiting calls waits for ends.
    End(Index, Ending),
    /// One of the waiting calls is dropped.
    Abandon(Index),
    Advance(Duration),
    /// Moves the clock to a nanosecond before, at, or after one of the deadlines.
    AdvanceTo(Index, u8),
}

/// What a value is to be like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draft {
    pub(super) weight: u64,
    /// How long it lives if the cache asks the value itself.
    pub(super) life: Duration,
    /// How long it lives if the call says so.
    pub(super) ttl: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Ending {
    Value(Draft),
    Error,
    Panic,
}

fn key() -> impl Strategy<Value = Key> {
    0..KEYS
}

// Below, a number chooses: for alternatives, proptest takes more time than the cache.

fn duration() -> impl Strategy<Value = Duration> {
    const SLOT: u64 = 1 << 20;
    (0_u32..19, any::<u64>()).prop_map(|(kind, odd)| match kind {
        0..2 => Duration::ZERO,
        2..4 => Duration::from_nanos(1),
        4..8 => Duration::from_nanos((1 + odd % 199) * SLOT - 1 + (odd >> 32) % 3),
        8..12 => {
            let size = 1 << (6 + odd % 34);
            Duration::from_nanos(size + (odd >> 8) % size)
        }
        12..16 => Duration::from_nanos(1 + odd % 5_000_000_000),
        16..18 => Duration::from_secs(1 + odd % 100_000),
        _ => Duration::from_secs((1 + odd % 39) * YEAR) + Duration::from_nanos(odd >> 32),
    })
}

fn ttl() -> impl Strategy<Value = Duration> {
    (0_u32..11, duration()).prop_map(|(kind, duration)| match kind {
        0..8 => duration,
        8 => Duration::MAX,
        9 => Duration::from_nanos(u64::MAX),
        _ => Duration::from_secs(600 * YEAR),
    })
}

fn maybe_ttl() -> impl Strategy<Value = Option<Duration>> {
    (any::<bool>(), ttl()).prop_map(|(is_some, ttl)| is_some.then_some(ttl))
}

fn weight() -> impl Strategy<Value = u64> {
    (0_u32..22, any::<u64>()).prop_map(|(kind, odd)| match kind {
        0..4 => 0,
        4..16 => 1 + odd % 3,
        16..20 => 4 + odd % 12,
        20 => 16 + odd % 34,
        _ => u64::MAX - odd % 9,
    })
}

fn draft() -> impl Strategy<Value = Draft> {
    (weight(), ttl(), maybe_ttl()).prop_map(|(weight, life, ttl)| Draft { weight, life, ttl })
}

fn change() -> impl Strategy<Value = Option<Draft>> {
    (0_u32..5, draft()).prop_map(|(kind, draft)| (kind > 0).then_some(draft))
}

fn ending() -> impl Strategy<Value = Ending> {
    (0_u32..6, draft()).prop_map(|(kind, draft)| match kind {
        0..4 => Ending::Value(draft),
        4 => Ending::Error,
        _ => Ending::Panic,
    })
}

/// What is frequent comes first: proptest keeps all that come before at hand.
pub(super) fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        10 => (key(), draft()).prop_map(|(key, draft)| Operation::Insert(key, draft)),
        8 => key().prop_map(Operation::Get),
        6 => (any::<Index>(), 0_u8..3).prop_map(|(which, off)| Operation::AdvanceTo(which, off)),
        5 => (key(), maybe_ttl(), ending())
            .prop_map(|(key, ttl, ending)| Operation::Compute(key, ttl, ending)),
        4 => (key(), maybe_ttl()).prop_map(|(key, ttl)| Operation::Call(key, ttl)),
        4 => duration().prop_map(Operation::Advance),
        4 => (key(), change(), any::<bool>()).prop_map(|(key, draft, by_ref)| {
            let operation = if by_ref { Operation::UpdateByRef } else { Operation::Update };
            operation(key, draft)
        }),
        3 => (any::<Index>(), ending()).prop_map(|(call, ending)| Operation::End(call, ending)),
        3 => (key(), draft()).prop_map(|(key, draft)| Operation::OrInsert(key, draft)),
        3 => (key(), ttl()).prop_map(|(key, ttl)| Operation::SetTtl(key, ttl)),
        3 => key().prop_map(Operation::Remove),
        2 => (key(), draft()).prop_map(|(key, draft)| Operation::InsertByRef(key, draft)),
        2 => (key(), any::<bool>()).prop_map(|(key, holds)| Operation::RemoveIf(key, holds)),
        2 => prop::collection::vec(key(), 0..5).prop_map(Operation::GetMany),
        2 => any::<Index>().prop_map(Operation::Abandon),
        2 => Just(Operation::Cleanup),
        1 => key().prop_map(Operation::Peek),
        1 => key().prop_map(Operation::Contains),
        1 => (0_u64..3).prop_map(Operation::Retain),
        1 => (0_u32..3).prop_map(Operation::RetainKeys),
        1 => select(vec![1, 2, 4, 8, 100]).prop_map(Operation::SetMaxSize),
        1 => Just(Operation::Clear),
        1 => Just(Operation::Iterate),
        1 => Just(Operation::ResetStatistics),
    ]
}

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) policy: Policy,
    pub(super) max_size: Option<usize>,
    pub(super) weights: Weights,
    pub(super) ttl: Duration,
    pub(super) tti: Duration,
    /// Whether each value says how long it lives.
    pub(super) is_ruled: bool,
    /// Whether expired entries are freed in the background, too.
    pub(super) sweeps: bool,
    /// Whether a listener is told of what leaves.
    pub(super) listens: bool,
}

/// Whether entries have weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weights {
    None,
    Counted,
    Bounded(u64),
}

impl Settings {
    pub(super) fn is_weighed(&self) -> bool {
        self.weights != Weights::None
    }

    pub(super) fn max_weight(&self) -> u64 {
        match self.weights {
            Weights::Bounded(most) => most,
            // A sum that is no number any more is a bound too.
            Weights::None | Weights::Counted => u64::MAX,
        }
    }

    /// Whether the policy sees all entries: else each shard evicts for itself.
    pub(super) fn is_one_shard(&self) -> bool {
        self.max_size.is_some() || matches!(self.weights, Weights::Bounded(_))
    }
}

pub(super) fn settings() -> impl Strategy<Value = Settings> {
    let max_size = select(vec![Some(1), Some(2), Some(3), Some(5), Some(8), Some(100), None]);
    let weights = prop_oneof![
        4 => Just(Weights::None),
        1 => Just(Weights::Counted),
        5 => select(vec![1, 5, 12, 30, 1_000]).prop_map(Weights::Bounded),
    ];
    let ttl = prop_oneof![Just(Duration::MAX), ttl()];
    let tti = prop_oneof![2 => Just(Duration::MAX), 1 => duration()];
    let switches = (prop::bool::weighted(0.3), any::<bool>(), any::<bool>());
    (select(POLICIES.to_vec()), max_size, weights, ttl, tti, switches).prop_map(
        |(policy, max_size, weights, ttl, tti, (is_ruled, sweeps, listens))| Settings {
            policy,
            max_size,
            weights,
            ttl,
            tti,
            is_ruled,
            sweeps,
            listens,
        },
    )
}
