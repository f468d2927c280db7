//! Groups: which tables are shown together, and how they are drawn.

use crate::table::{Measure, Table, Tables};
use crate::workload::expiry::{AT_ONCE, SPREAD};
use crate::workload::footprint::{self, BYTES, FULL, LEFT};
use crate::workload::future_size::BEYOND;
use crate::workload::idle::{SWEEP, WAKE_UPS};
use crate::workload::waiters::SETTINGS;
use crate::workload::{
    COMPUTE_HIT, COMPUTE_MISS, EVICTION, HIT_LARGE, HIT_SMALL, HIT_TEXT, MISS, MIX, OVERWRITE,
    OWN_TTL, REMOVAL, growth, lifetime,
};

/// Tables that are shown as the columns of one.
pub(crate) struct Group {
    pub(crate) title: &'static str,
    measures: &'static [Measure],
    /// The name of the chart's file, without its extension.
    pub(crate) chart: Option<&'static str>,
    pub(crate) form: Form,
}

/// How a group is drawn.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    /// A panel for each table, with a bar for each contender.
    Bars,
    /// Panels with a line for each contender.
    Lines(&'static [Panel]),
}

/// Tables that are points along lines.
pub(crate) struct Panel {
    pub(crate) title: &'static str,
    pub(crate) points: &'static [(&'static str, Measure)],
}

pub(crate) const GROUPS: &[Group] = &[
    Group::bars("Reads", "reads", &[HIT_SMALL, HIT_LARGE, MISS, HIT_TEXT]),
    Group::bars("Writes", "writes", &[EVICTION, OVERWRITE, REMOVAL, OWN_TTL]),
    Group {
        title: "Zipf 0.99, get or insert, room for a tenth of the keys",
        measures: &[MIX[0].1, MIX[1].1, MIX[2].1, MIX[3].1],
        chart: Some("zipf"),
        form: Form::Lines(&[Panel {
            title: "million calls a second, by threads",
            points: &[("1", MIX[0].1), ("2", MIX[1].1), ("4", MIX[2].1), ("8", MIX[3].1)],
        }]),
    },
    Group::bars("Computes", "computes", &[COMPUTE_HIT, COMPUTE_MISS]),
    Group {
        title: "Waiters for one compute",
        measures: &[
            SETTINGS[0].measures[1],
            SETTINGS[1].measures[1],
            SETTINGS[2].measures[1],
            SETTINGS[3].measures[1],
            SETTINGS[4].measures[1],
            SETTINGS[5].measures[1],
        ],
        chart: Some("waiters"),
        form: Form::Lines(&[
            Panel {
                title: "compute of 1 await: ns a waiter, by waiters",
                points: &[
                    ("100", SETTINGS[0].measures[1]),
                    ("10 k", SETTINGS[2].measures[1]),
                    ("100 k", SETTINGS[4].measures[1]),
                ],
            },
            Panel {
                title: "compute of 20 awaits: ns a waiter, by waiters",
                points: &[
                    ("100", SETTINGS[1].measures[1]),
                    ("10 k", SETTINGS[3].measures[1]),
                    ("100 k", SETTINGS[5].measures[1]),
                ],
            },
        ]),
    },
    Group::table(
        "Waiters for one compute, in all",
        &[
            SETTINGS[0].measures[0],
            SETTINGS[1].measures[0],
            SETTINGS[2].measures[0],
            SETTINGS[3].measures[0],
            SETTINGS[4].measures[0],
            SETTINGS[5].measures[0],
        ],
    ),
    Group::table("Expiry", &[AT_ONCE[0], AT_ONCE[1], SPREAD[0], SPREAD[1]]),
    Group::table("Nothing due", &[SWEEP, WAKE_UPS]),
    Group::bars("Lifetime", "lifetime", &lifetime::MEASURES),
    Group::table("Growth", &growth::MEASURES),
    Group::bars("Memory", "memory", &[BYTES]),
    Group::table("Allocations on hits", &[footprint::HIT, footprint::COMPUTE_HIT, BEYOND]),
    Group::table("Memory after expiry", &[FULL, LEFT]),
];

impl Group {
    const fn bars(title: &'static str, chart: &'static str, measures: &'static [Measure]) -> Self {
        Self { title, measures, chart: Some(chart), form: Form::Bars }
    }

    const fn table(title: &'static str, measures: &'static [Measure]) -> Self {
        Self { title, measures, chart: None, form: Form::Bars }
    }

    /// Those of its tables that there are.
    pub(crate) fn tables<'a>(&self, tables: &'a Tables) -> Vec<&'a Table> {
        self.measures.iter().filter_map(|measure| tables.get(measure.title)).collect()
    }
}
