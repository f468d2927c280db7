//! Advice: which of the settings to take, and by what rule.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::options::Ttl;
use crate::table::percent;

use super::curve::Curve;
use super::estimate::Estimate;
use super::grid::Cell;
use super::miniature::Setting;

/// So much of the hit rate is given away for what is smaller or cheaper: one point of a hundred,
/// and of a low hit rate a tenth.
const POINT: f64 = 0.01;
const TENTH: f64 = 0.1;

/// A TTL that was not tried with each size is to keep so much of the hit rate that there is without.
pub(crate) const KEPT: f64 = 0.99;

/// What the recommendation is to keep to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish {
    pub(crate) max_size: Option<usize>,
    pub(crate) target: Option<f64>,
}

/// A hit rate that is wished for, and that no setting reaches.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, thiserror::Error)]
#[error("--target: no setting tried reaches {}; the best has {}", percent(*target), percent(*best))]
pub(crate) struct MissedTarget {
    pub(crate) target: f64,
    pub(crate) best: f64,
}

impl MissedTarget {
    /// The target, if no cell within the other wishes reaches it.
    pub(crate) fn new(cells: &[Cell], wish: Wish) -> Option<Self> {
        let most = wish.max_size.unwrap_or(usize::MAX);
        let cells = cells.iter().filter(|cell| cell.setting.max_size <= most);
        let best = cells.map(|cell| cell.estimate.hit_rate).fold(0.0, f64::max);
        let missed = wish.target.filter(|target| *target > best);
        missed.map(|target| Self { target, best })
    }
}

/// The setting to take.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Advice {
    #[serde(flatten)]
    pub(crate) setting: Setting,
    #[serde(flatten)]
    pub(crate) estimate: Estimate,
    pub(crate) rule: Rule,
    pub(crate) ttl_rule: TtlRule,
    /// The setting in Rust.
    pub(crate) builder: String,
}

/// What the size of a setting was chosen by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Rule {
    /// The smallest that reaches the target.
    Target { hit_rate: f64 },
    /// As good as the best up to a bound; with a target that none reaches.
    MissedTarget { hit_rate: f64 },
    /// As good as the best up to a bound.
    MaxSize { entries: usize },
    /// As good as the best up to the knee.
    Knee { entries: usize },
}

/// What the TTL of a setting was chosen by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TtlRule {
    /// The rule of the size.
    OfSize,
    /// The shortest of round times that keeps most of the hit rate without a TTL.
    Keeps {
        without_ttl: Estimate,
        /// The time from the first request to the last, if the TTL is longer.
        #[serde(skip)]
        shorter_span: Option<Duration>,
    },
    /// None: the source says nothing of times.
    Timeless,
}

impl Advice {
    /// The shortest TTL, with it the smallest size, and there the cheapest policy that will do.
    /// `None` if nothing hits.
    pub(crate) fn new(cells: &[Cell], wish: Wish) -> Option<Self> {
        let most = wish.max_size.unwrap_or(usize::MAX);
        let curves: Vec<_> =
            ttls(cells).into_iter().map(|ttl| (ttl, Curve::new(cells, ttl, most))).collect();
        let best = curves.iter().map(|(_, curve)| curve.best()).fold(0.0, f64::max);
        let enough = match wish.target {
            Some(target) if target <= best => target,
            _ => nearly(best),
        };
        let (ttl, curve) = curves.iter().find(|(_, curve)| curve.best() >= enough)?;
        let rule = Rule::new(wish, curve)?;
        let goal = rule.goal(curve);
        let size = curve.reaches(goal)?;
        let suits = |cell: &&Cell| {
            let setting = cell.setting;
            setting.ttl == *ttl && setting.max_size == size && cell.estimate.hit_rate >= goal
        };
        let Cell { setting, estimate } = *cells.iter().find(suits)?;
        let is_of_use = estimate.hit_rate > 0.0;
        let (ttl_rule, builder) = (TtlRule::OfSize, builder(setting));
        is_of_use.then_some(Self { setting, estimate, rule, ttl_rule, builder })
    }

    /// The same of a source that says nothing of times.
    pub(crate) fn timeless(self) -> Self {
        Self { ttl_rule: TtlRule::Timeless, ..self }
    }

    /// The same with the first TTL of some cells that keeps most of the hit rate, and the target;
    /// with none if there is no such TTL. The cells have the same size and policy.
    pub(crate) fn with_ttl_of(self, cells: &[Cell], span: Duration) -> Self {
        let least = self.rule.least().max(KEPT * self.estimate.hit_rate);
        let Some(cell) = cells.iter().find(|cell| cell.estimate.hit_rate >= least) else {
            return self;
        };
        let Cell { setting, estimate } = *cell;
        let is_shorter = matches!(setting.ttl, Ttl::Fixed(Some(ttl)) if span < ttl);
        let shorter_span = is_shorter.then_some(span);
        let ttl_rule = TtlRule::Keeps { without_ttl: self.estimate, shorter_span };
        Self { setting, estimate, ttl_rule, builder: builder(setting), ..self }
    }

    /// The cell of the grid that was chosen; its TTL may have been chosen later.
    pub(crate) fn cell(&self) -> Cell {
        let Self { setting, estimate, ttl_rule, .. } = *self;
        match ttl_rule {
            TtlRule::Keeps { without_ttl, .. } => Cell {
                setting: Setting { ttl: Ttl::Fixed(None), ..setting },
                estimate: without_ttl,
            },
            TtlRule::OfSize | TtlRule::Timeless => Cell { setting, estimate },
        }
    }
}

impl Rule {
    fn new(wish: Wish, curve: &Curve) -> Option<Self> {
        Some(match (wish.target, wish.max_size) {
            (Some(hit_rate), _) if curve.best() >= hit_rate => Self::Target { hit_rate },
            (Some(hit_rate), _) => Self::MissedTarget { hit_rate },
            (None, Some(entries)) => Self::MaxSize { entries },
            (None, None) => Self::Knee { entries: curve.knee()? },
        })
    }

    /// The hit rate that may not be given away.
    fn least(self) -> f64 {
        match self {
            Self::Target { hit_rate } => hit_rate,
            _ => 0.0,
        }
    }

    /// The hit rate to reach.
    fn goal(self, curve: &Curve) -> f64 {
        match self {
            Self::Target { hit_rate } => hit_rate,
            Self::MissedTarget { .. } | Self::MaxSize { .. } => nearly(curve.best()),
            Self::Knee { entries } => nearly(curve.up_to(entries).best()),
        }
    }
}

/// What is as good as the best.
fn nearly(best: f64) -> f64 {
    best - POINT.min(best * TENTH)
}

/// The TTLs of the cells, in their order.
fn ttls(cells: &[Cell]) -> Vec<Ttl> {
    let mut ttls: Vec<_> = cells.iter().map(|cell| cell.setting.ttl).collect();
    ttls.dedup();
    ttls
}

/// A setting in Rust.
fn builder(setting: Setting) -> String {
    let Setting { ttl, policy, max_size } = setting;
    let size = grouped(max_size);
    let ttl = match ttl {
        Ttl::Fixed(Some(ttl)) => format!(".ttl({})", Rust(ttl)),
        Ttl::Fixed(None) | Ttl::OfRequest => String::new(),
    };
    format!("Cache::builder().max_size({size}).policy(Policy::{policy}){ttl}")
}

/// A time in Rust.
struct Rust(Duration);

impl fmt::Display for Rust {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.0.as_secs(), self.0.subsec_nanos());
        match nanos {
            0 => write!(formatter, "Duration::from_secs({seconds})"),
            _ if nanos % 1_000_000 == 0 => {
                write!(formatter, "Duration::from_millis({})", self.0.as_millis())
            }
            _ => write!(formatter, "Duration::new({seconds}, {nanos})"),
        }
    }
}

/// A number as Rust may write it, its digits in groups of three.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push('_');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tune::policy::PolicyChoice::Fifo;

    const MINUTE: Ttl = Ttl::Fixed(Some(Duration::from_secs(60)));
    const NEVER: Ttl = Ttl::Fixed(None);

    fn cell(ttl: Ttl, max_size: usize, hit_rate: f64) -> Cell {
        let setting = Setting { ttl, policy: Fifo, max_size };
        Cell { setting, estimate: Estimate { hit_rate, error: 0.0 } }
    }

    fn advice(cells: &[Cell], max_size: Option<usize>, target: Option<f64>) -> String {
        let advice = Advice::new(cells, Wish { max_size, target }).expect("something hits");
        advice.builder
    }

    #[test]
    fn a_builder_is_written_as_in_rust() {
        let with = |ttl, max_size| builder(Setting { ttl, policy: Fifo, max_size });
        assert_eq!(
            with(NEVER, 1_234_567),
            "Cache::builder().max_size(1_234_567).policy(Policy::Fifo)"
        );
        assert!(
            with(MINUTE, 123).ends_with("(123).policy(Policy::Fifo).ttl(Duration::from_secs(60))")
        );
        assert_eq!(Rust(Duration::from_millis(1_500)).to_string(), "Duration::from_millis(1500)");
        assert_eq!(Rust(Duration::from_nanos(1_500)).to_string(), "Duration::new(0, 1500)");
    }

    #[test]
    fn a_shorter_ttl_comes_before_a_smaller_size() {
        let cells = [
            cell(MINUTE, 10, 0.1),
            cell(MINUTE, 20, 0.595),
            cell(NEVER, 10, 0.595),
            cell(NEVER, 20, 0.6),
        ];
        assert!(advice(&cells, None, None).contains("max_size(20).policy(Policy::Fifo).ttl"));
        assert!(advice(&cells[2..], None, None).contains("max_size(10)"));
        assert!(advice(&cells, Some(10), None).ends_with("max_size(10).policy(Policy::Fifo)"));
        assert!(advice(&cells, None, Some(0.6)).ends_with("max_size(20).policy(Policy::Fifo)"));
    }

    #[test]
    fn a_target_may_be_out_of_reach() {
        let cells = [cell(NEVER, 10, 0.1), cell(NEVER, 20, 0.595), cell(NEVER, 30, 0.6)];
        let advice = Advice::new(&cells, Wish { max_size: None, target: Some(0.7) });
        let advice = advice.expect("something hits");
        assert_eq!(advice.rule, Rule::MissedTarget { hit_rate: 0.7 });
        assert_eq!(advice.setting.max_size, 20);
    }

    #[test]
    fn where_nothing_hits_nothing_is_recommended() {
        assert!(Advice::new(&[cell(NEVER, 10, 0.0)], Wish::default()).is_none());
        assert!(Advice::new(&[], Wish::default()).is_none());
    }
}
