//! Groups: which tables are shown together, and how they are drawn.

use crate::table::{Measure, Table, Tables};
use crate::workload::bulk::BULK;
use crate::workload::expiry::{AT_ONCE, SPREAD};
use crate::workload::footprint::{self, BYTES, FULL, FULL_BYTES, LEFT};
use crate::workload::future_size::BEYOND;
use crate::workload::idle::{SWEEP, WAKE_UPS};
use crate::workload::idle_time::IDLE_TIME;
use crate::workload::surcharge::SURCHARGE;
use crate::workload::waiters::{CALLERS, WAITERS};
use crate::workload::{
    COMPUTE_HIT, COMPUTE_MISS, EVICTION, HIT_LARGE, HIT_SMALL, HIT_TEXT, MISS, MIX, OVERWRITE,
    OWN_TTL, POLICY_EVICTION, POLICY_HIT, POLICY_MIX, REMOVAL, growth, lifetime, outage, refresh,
    resize,
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
    Group::bars(
        "Policies",
        "policies",
        &[POLICY_HIT, POLICY_EVICTION, POLICY_MIX[0].1, POLICY_MIX[1].1],
    ),
    Group::table("Idle time", &[IDLE_TIME]),
    Group::table("Listener and weights", &[SURCHARGE]),
    Group::bars("Computes", "computes", &[COMPUTE_HIT, COMPUTE_MISS]),
    Group {
        title: "Waiters for one compute, which goes on when all are there",
        measures: &[
            WAITERS[0].each(),
            WAITERS[1].each(),
            WAITERS[2].each(),
            WAITERS[3].each(),
            WAITERS[4].each(),
            WAITERS[5].each(),
        ],
        chart: Some("waiters"),
        form: Form::Lines(&[
            Panel {
                title: "compute of 1 await: ns each, by waiters",
                points: &[
                    ("100", WAITERS[0].each()),
                    ("10 k", WAITERS[2].each()),
                    ("100 k", WAITERS[4].each()),
                ],
            },
            Panel {
                title: "compute of 20 awaits: ns each, by waiters",
                points: &[
                    ("100", WAITERS[1].each()),
                    ("10 k", WAITERS[3].each()),
                    ("100 k", WAITERS[5].each()),
                ],
            },
        ]),
    },
    Group::table(
        "Waiters for one compute, which goes on when all are there: in all",
        &[
            WAITERS[0].whole(),
            WAITERS[1].whole(),
            WAITERS[2].whole(),
            WAITERS[3].whole(),
            WAITERS[4].whole(),
            WAITERS[5].whole(),
        ],
    ),
    Group {
        title: "Callers of one compute, as they come",
        measures: &[
            CALLERS[0].each(),
            CALLERS[1].each(),
            CALLERS[2].each(),
            CALLERS[3].each(),
            CALLERS[4].each(),
            CALLERS[5].each(),
        ],
        chart: Some("callers"),
        form: Form::Lines(&[
            Panel {
                title: "compute of 1 await: ns each, by callers",
                points: &[
                    ("100", CALLERS[0].each()),
                    ("10 k", CALLERS[2].each()),
                    ("100 k", CALLERS[4].each()),
                ],
            },
            Panel {
                title: "compute of 20 awaits: ns each, by callers",
                points: &[
                    ("100", CALLERS[1].each()),
                    ("10 k", CALLERS[3].each()),
                    ("100 k", CALLERS[5].each()),
                ],
            },
        ]),
    },
    Group::table(
        "Callers of one compute, as they come: in all",
        &[
            CALLERS[0].whole(),
            CALLERS[1].whole(),
            CALLERS[2].whole(),
            CALLERS[3].whole(),
            CALLERS[4].whole(),
            CALLERS[5].whole(),
        ],
    ),
    Group::table("Missing keys in bulk", &[BULK]),
    Group::table("A hot key that is refreshed in the background", &refresh::MEASURES),
    Group::table("An outage: each compute fails", &outage::MEASURES),
    Group::table("Expiry", &[AT_ONCE[0], AT_ONCE[1], SPREAD[0], SPREAD[1]]),
    Group::table("Nothing due", &[SWEEP, WAKE_UPS]),
    Group::bars("Lifetime", "lifetime", &lifetime::MEASURES),
    Group::table("Another capacity, while others read", &resize::MEASURES),
    Group::table("Growth", &growth::MEASURES),
    Group::bars("Memory", "memory", &[BYTES]),
    Group::table("Memory of full caches", &[FULL_BYTES]),
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
