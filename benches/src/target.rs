//! Targets: how fast and how small the cache has to be, against its peers on the same machine.
//!
//! A ratio is the median over rounds of the rounds' own ratios. Contenders take their turns within
//! a round, so that whatever slows a round down slows both sides of its ratio. That is a little
//! steadier than the ratio of two medians: resampling the rounds of a run on a shared machine, its
//! standard error was 8.7 % on average over 59 ratios, and that of the other 9.8 %.

use std::fmt;

use serde::Serialize;

use crate::contender::{
    ADAPTIVE, ETERNAL, FLEETING, FOYER_LRU, HASHBROWN, LRU, MOKA, QUICK_CACHE, REFRESHED,
    REMEMBERING, S3_FIFO, SIEVE, TINY_LFU,
};
use crate::number::number;
use crate::table::{Measure, Tables};
use crate::workload::expiry::AT_ONCE;
use crate::workload::footprint::{self, BYTES, FULL, LEFT};
use crate::workload::future_size::BEYOND;
use crate::workload::idle::{SWEEP, WAKE_UPS};
use crate::workload::waiters::{CALLERS, WAITERS};
use crate::workload::{
    COMPUTE_HIT, COMPUTE_MISS, EVICTION, HIT_LARGE, HIT_SMALL, MISS, MIX, OVERWRITE,
    POLICY_EVICTION, POLICY_HIT, growth, outage, refresh,
};

/// One row of the table.
pub(crate) struct Target {
    row: &'static str,
    limits: &'static [Limit],
}

/// What must hold.
struct Limit {
    quantity: Quantity,
    bound: Bound,
    /// What the bound is compared with, or what it counts.
    label: &'static str,
}

/// What of a contender is looked at: in the table of which title.
struct Place(&'static str, &'static str);

enum Quantity {
    Ratio(Place, Place),
    Median(Place),
    /// The least of the rounds, where more is the machine's doing.
    Least(Place),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Bound {
    /// So many times the other, at most.
    AtMost(f64),
    /// So many times the other, at least.
    AtLeast(f64),
    /// The other divided by so much, at most.
    Fraction(f64),
    /// A number with a unit, at most.
    Absolute(f64),
}

/// Whether limits hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mark {
    Met,
    /// What it is about was not measured.
    Unknown,
    Missed,
}

/// What has become of one target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Verdict {
    pub(crate) row: &'static str,
    pub(crate) findings: Vec<Finding>,
    pub(crate) mark: Mark,
}

/// What has become of one limit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Finding {
    pub(crate) measured: Option<f64>,
    pub(crate) text: String,
    pub(crate) limit: String,
    pub(crate) mark: Mark,
}

const TARGETS: &[Target] = &[
    Target {
        row: HIT_SMALL.title,
        limits: &[
            of_quick_cache(HIT_SMALL, 1.1),
            eternal_of_quick_cache(HIT_SMALL, 0.9),
            fraction_of_moka(HIT_SMALL, 7.0),
        ],
    },
    Target {
        row: HIT_LARGE.title,
        limits: &[of_quick_cache(HIT_LARGE, 1.0), eternal_of_quick_cache(HIT_LARGE, 0.8)],
    },
    Target { row: MISS.title, limits: &[of_quick_cache(MISS, 1.0)] },
    Target { row: OVERWRITE.title, limits: &[of_quick_cache(OVERWRITE, 1.0)] },
    Target {
        row: EVICTION.title,
        limits: &[of_quick_cache(EVICTION, 1.0), fraction_of_moka(EVICTION, 15.0)],
    },
    Target {
        row: MIX[0].1.title,
        limits: &[at_least(MIX[0].1, QUICK_CACHE, 1.0), at_least(MIX[0].1, MOKA, 10.0)],
    },
    Target {
        row: MIX[1].1.title,
        limits: &[at_least(MIX[1].1, QUICK_CACHE, 1.0), at_least(MIX[1].1, MOKA, 10.0)],
    },
    Target {
        row: "more threads than cores (4, 8)",
        limits: &[of_two_threads(MIX[2].1), of_two_threads(MIX[3].1)],
    },
    Target { row: "LRU: hit", limits: &[part_of(POLICY_HIT, LRU, FOYER_LRU, 2.0)] },
    Target {
        row: "SIEVE: hit, then insert + evict",
        limits: &[of_fifo(POLICY_HIT, SIEVE, 1.05), of_fifo(POLICY_EVICTION, SIEVE, 1.2)],
    },
    Target {
        row: "S3-FIFO: hit, then insert + evict",
        limits: &[of_fifo(POLICY_HIT, S3_FIFO, 1.05), of_fifo(POLICY_EVICTION, S3_FIFO, 1.2)],
    },
    Target {
        row: "TinyLFU: hit",
        limits: &[of_fifo(POLICY_HIT, TINY_LFU, 1.3), part_of(POLICY_HIT, TINY_LFU, MOKA, 5.0)],
    },
    Target {
        row: "adaptive: hit, then bytes an entry",
        limits: &[of_fifo(POLICY_HIT, ADAPTIVE, 1.5), of_fifo(BYTES, ADAPTIVE, 1.25)],
    },
    Target {
        row: COMPUTE_HIT.title,
        limits: &[of_quick_cache(COMPUTE_HIT, 1.0), fraction_of_moka(COMPUTE_HIT, 10.0)],
    },
    Target {
        row: COMPUTE_MISS.title,
        limits: &[of_quick_cache(COMPUTE_MISS, 1.6), fraction_of_moka(COMPUTE_MISS, 10.0)],
    },
    Target {
        row: "10 k waiters, then 10 k callers, compute of 1 await",
        limits: &[
            of_quick_cache(WAITERS[2].each(), 1.0),
            of_moka(WAITERS[2].each(), 1.0),
            of_quick_cache(CALLERS[2].each(), 1.0),
            of_moka(CALLERS[2].each(), 1.0),
        ],
    },
    Target {
        row: "10 k waiters, then 10 k callers, compute of 20 awaits",
        limits: &[
            of_quick_cache(WAITERS[3].each(), 1.0),
            of_moka(WAITERS[3].each(), 1.0),
            of_quick_cache(CALLERS[3].each(), 1.0),
            of_moka(CALLERS[3].each(), 1.0),
        ],
    },
    Target {
        row: "100 k waiters (1 and 20 awaits), then 100 k callers, each",
        limits: &[
            of_fewer(WAITERS[4].each(), WAITERS[2].each()),
            of_fewer(WAITERS[5].each(), WAITERS[3].each()),
            of_fewer(CALLERS[4].each(), CALLERS[2].each()),
            of_fewer(CALLERS[5].each(), CALLERS[3].each()),
        ],
    },
    Target {
        row: refresh::MEASURES[0].title,
        limits: &[Limit {
            quantity: Quantity::Ratio(
                Place(refresh::MEASURES[0].title, REFRESHED),
                ours(refresh::MEASURES[0]),
            ),
            bound: Bound::AtMost(2.0),
            label: "our own without refresh",
        }],
    },
    Target {
        row: "10 k callers in an outage, in turn, then at once",
        limits: &[remembered(outage::MEASURES[1]), remembered(outage::MEASURES[3])],
    },
    Target {
        row: "1 M entries expiring at once",
        limits: &[
            Limit {
                quantity: Quantity::Median(ours(AT_ONCE[0])),
                bound: Bound::Absolute(150.0),
                label: "ns an entry",
            },
            Limit {
                quantity: Quantity::Least(ours(AT_ONCE[1])),
                bound: Bound::Absolute(100.0),
                label: "µs a poll",
            },
            Limit {
                quantity: Quantity::Ratio(ours(LEFT), ours(FULL)),
                bound: Bound::AtMost(0.01),
                label: "their memory left",
            },
        ],
    },
    Target {
        row: SWEEP.title,
        limits: &[
            Limit {
                quantity: Quantity::Median(ours(SWEEP)),
                bound: Bound::Absolute(10.0),
                label: "µs",
            },
            Limit {
                quantity: Quantity::Median(Place(WAKE_UPS.title, ETERNAL)),
                bound: Bound::Absolute(0.0),
                label: "wake-ups when nothing can expire",
            },
        ],
    },
    Target {
        row: BYTES.title,
        limits: &[Limit {
            quantity: Quantity::Median(ours(BYTES)),
            bound: Bound::Absolute(72.0),
            label: "bytes",
        }],
    },
    Target {
        row: growth::MEASURES[2].title,
        limits: &[Limit {
            quantity: Quantity::Ratio(
                ours(growth::MEASURES[2]),
                Place(growth::MEASURES[2].title, HASHBROWN),
            ),
            bound: Bound::AtMost(1.3),
            label: "hashbrown's",
        }],
    },
    Target {
        row: "future of get_or_compute",
        limits: &[
            Limit {
                quantity: Quantity::Median(ours(BEYOND)),
                bound: Bound::Absolute(256.0),
                label: "bytes beyond the user's",
            },
            Limit {
                quantity: Quantity::Median(ours(footprint::COMPUTE_HIT)),
                bound: Bound::Absolute(0.0),
                label: "allocations on a hit",
            },
        ],
    },
];

const fn ours(measure: Measure) -> Place {
    Place(measure.title, FLEETING)
}

const fn ratio(measure: Measure, other: &'static str, bound: Bound) -> Limit {
    let quantity = Quantity::Ratio(ours(measure), Place(measure.title, other));
    Limit { quantity, bound, label: other }
}

const fn of_quick_cache(measure: Measure, at_most: f64) -> Limit {
    ratio(measure, QUICK_CACHE, Bound::AtMost(at_most))
}

const fn of_moka(measure: Measure, at_most: f64) -> Limit {
    ratio(measure, MOKA, Bound::AtMost(at_most))
}

const fn fraction_of_moka(measure: Measure, divisor: f64) -> Limit {
    ratio(measure, MOKA, Bound::Fraction(divisor))
}

const fn at_least(measure: Measure, other: &'static str, times: f64) -> Limit {
    ratio(measure, other, Bound::AtLeast(times))
}

const fn eternal_of_quick_cache(measure: Measure, at_most: f64) -> Limit {
    let (eternal, other) = (Place(measure.title, ETERNAL), Place(measure.title, QUICK_CACHE));
    let bound = Bound::AtMost(at_most);
    Limit { quantity: Quantity::Ratio(eternal, other), bound, label: "quick_cache without TTL" }
}

const fn of_fifo(measure: Measure, policy: &'static str, at_most: f64) -> Limit {
    let quantity = Quantity::Ratio(Place(measure.title, policy), ours(measure));
    Limit { quantity, bound: Bound::AtMost(at_most), label: "our own FIFO" }
}

const fn part_of(
    measure: Measure,
    policy: &'static str,
    other: &'static str,
    divisor: f64,
) -> Limit {
    let quantity = Quantity::Ratio(Place(measure.title, policy), Place(measure.title, other));
    Limit { quantity, bound: Bound::Fraction(divisor), label: other }
}

const fn of_two_threads(measure: Measure) -> Limit {
    let quantity = Quantity::Ratio(ours(measure), ours(MIX[1].1));
    Limit { quantity, bound: Bound::AtLeast(0.9), label: "our own at 2" }
}

const fn of_fewer(measure: Measure, fewer: Measure) -> Limit {
    let quantity = Quantity::Ratio(ours(measure), ours(fewer));
    Limit { quantity, bound: Bound::AtMost(1.0), label: "our own at 10 k" }
}

const fn remembered(measure: Measure) -> Limit {
    let quantity = Quantity::Median(Place(measure.title, REMEMBERING));
    Limit { quantity, bound: Bound::Absolute(1.0), label: "compute with error_ttl" }
}

/// What has become of all targets.
pub(crate) fn verdicts(tables: &Tables) -> Vec<Verdict> {
    TARGETS.iter().map(|target| target.verdict(tables)).collect()
}

impl Target {
    fn verdict(&self, tables: &Tables) -> Verdict {
        let findings: Vec<_> = self.limits.iter().map(|limit| limit.finding(tables)).collect();
        let mark = findings.iter().map(|finding| finding.mark).max().unwrap_or(Mark::Unknown);
        Verdict { row: self.row, findings, mark }
    }
}

impl Verdict {
    /// Whether any of it was measured.
    pub(crate) fn is_known(&self) -> bool {
        self.findings.iter().any(|finding| finding.measured.is_some())
    }
}

impl Limit {
    fn finding(&self, tables: &Tables) -> Finding {
        let measured = self.quantity.of(tables);
        let mark = measured.map_or(Mark::Unknown, |value| self.bound.mark(value));
        let text = measured.map_or_else(|| mark.to_string(), |value| self.text(value));
        Finding { measured, text, limit: self.limit(), mark }
    }

    fn text(&self, value: f64) -> String {
        match self.bound {
            Bound::AtMost(_) | Bound::AtLeast(_) => format!("{value:.2} × {}", self.label),
            Bound::Fraction(_) => format!("{} / {:.1}", self.label, 1.0 / value),
            Bound::Absolute(_) => format!("{} {}", number(value), self.label),
        }
    }

    fn limit(&self) -> String {
        match self.bound {
            Bound::AtMost(times) => format!("≤ {times} × {}", self.label),
            Bound::AtLeast(times) => format!("≥ {times} × {}", self.label),
            Bound::Fraction(divisor) => format!("≤ {} / {divisor}", self.label),
            Bound::Absolute(value) => format!("≤ {value} {}", self.label),
        }
    }
}

impl Quantity {
    fn of(&self, tables: &Tables) -> Option<f64> {
        let samples = |place: &Place| tables.samples(place.0, place.1);
        match self {
            Self::Ratio(one, other) => Some(samples(one)?.ratio(samples(other)?)),
            Self::Median(place) => Some(samples(place)?.median()),
            Self::Least(place) => Some(samples(place)?.least()),
        }
    }
}

impl Bound {
    fn mark(self, value: f64) -> Mark {
        let is_met = match self {
            Self::AtMost(most) | Self::Absolute(most) => value <= most,
            Self::AtLeast(least) => value >= least,
            Self::Fraction(divisor) => value * divisor <= 1.0,
        };
        if is_met { Mark::Met } else { Mark::Missed }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Met => "✓",
            Self::Unknown => "–",
            Self::Missed => "✗",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Row, Unit};

    const MEASURE: Measure = Measure::new("test", Unit::Nanos);

    fn tables(rows: &[(&str, f64)]) -> Tables {
        let rows = rows.iter().map(|&(name, value)| Row::single(name, value)).collect();
        let mut tables = Tables::default();
        tables.add(vec![MEASURE.table(rows)]);
        tables
    }

    fn finding(limit: &Limit, ours: f64, quick_cache: f64, moka: f64) -> Finding {
        limit.finding(&tables(&[(FLEETING, ours), (QUICK_CACHE, quick_cache), (MOKA, moka)]))
    }

    #[test]
    fn a_limit_is_met_up_to_itself() {
        let limit = of_quick_cache(MEASURE, 1.5);
        assert_eq!(finding(&limit, 15.0, 10.0, 0.0).mark, Mark::Met);
        let missed = finding(&limit, 15.1, 10.0, 0.0);
        assert_eq!(missed.mark, Mark::Missed);
        assert_eq!(missed.text, "1.51 × quick_cache");
        assert_eq!(missed.limit, "≤ 1.5 × quick_cache");
    }

    #[test]
    fn a_fraction_divides_the_other() {
        let limit = fraction_of_moka(MEASURE, 8.0);
        let met = finding(&limit, 10.0, 0.0, 80.0);
        assert_eq!((met.mark, met.text.as_str()), (Mark::Met, "moka / 8.0"));
        assert_eq!(finding(&limit, 10.0, 0.0, 79.0).mark, Mark::Missed);
    }

    #[test]
    fn throughput_has_to_be_higher() {
        let limit = at_least(MEASURE, QUICK_CACHE, 1.0);
        assert_eq!(finding(&limit, 10.0, 10.0, 0.0).mark, Mark::Met);
        assert_eq!(finding(&limit, 9.9, 10.0, 0.0).mark, Mark::Missed);
    }

    #[test]
    fn a_number_of_its_own_has_a_limit_of_its_own() {
        let limit = Limit {
            quantity: Quantity::Least(ours(MEASURE)),
            bound: Bound::Absolute(0.0),
            label: "ns",
        };
        assert_eq!(finding(&limit, 0.0, 0.0, 0.0).mark, Mark::Met);
        assert_eq!(finding(&limit, 1.0, 0.0, 0.0).mark, Mark::Missed);
    }

    #[test]
    fn what_was_not_measured_is_unknown() {
        let finding = of_quick_cache(MEASURE, 1.0).finding(&tables(&[(FLEETING, 1.0)]));
        assert_eq!((finding.mark, finding.measured), (Mark::Unknown, None));
    }

    #[test]
    fn a_row_is_as_good_as_its_worst_limit() {
        const LIMITS: &[Limit] =
            &[at_least(MEASURE, QUICK_CACHE, 1.0), at_least(MEASURE, MOKA, 1.0)];
        let target = Target { row: "test", limits: LIMITS };
        let mark = |rows: &[_]| target.verdict(&tables(rows)).mark;
        assert_eq!(mark(&[(FLEETING, 3.0), (QUICK_CACHE, 2.0), (MOKA, 1.0)]), Mark::Met);
        assert_eq!(mark(&[(FLEETING, 3.0), (QUICK_CACHE, 2.0)]), Mark::Unknown);
        assert_eq!(mark(&[(FLEETING, 1.0), (QUICK_CACHE, 2.0)]), Mark::Missed);
    }
}
