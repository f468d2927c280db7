//! Table: what was measured of all contenders, under one title.

use serde::{Deserialize, Serialize};

use crate::samples::Samples;

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Unit {
    #[serde(rename = "ns")]
    Nanos,
    #[serde(rename = "µs")]
    Micros,
    #[serde(rename = "million calls/s")]
    MillionPerSecond,
    #[serde(rename = "bytes")]
    Bytes,
    #[serde(rename = "count")]
    Count,
    #[serde(rename = "×")]
    Times,
}

/// A title, and what the numbers under it count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Measure {
    pub(crate) title: &'static str,
    pub(crate) unit: Unit,
}

/// What was measured of all contenders.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) unit: Unit,
    pub(crate) rows: Vec<Row>,
}

/// What was measured of one contender.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) contender: String,
    pub(crate) samples: Samples,
}

/// All tables of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tables(Vec<Table>);

impl Unit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nanos => "ns",
            Self::Micros => "µs",
            Self::MillionPerSecond => "million calls/s",
            Self::Bytes => "bytes",
            Self::Count => "count",
            Self::Times => "×",
        }
    }

    pub(crate) fn is_better_when_higher(self) -> bool {
        self == Self::MillionPerSecond
    }
}

impl Measure {
    pub(crate) const fn new(title: &'static str, unit: Unit) -> Self {
        Self { title, unit }
    }

    pub(crate) fn table(self, rows: Vec<Row>) -> Table {
        Table { title: self.title.to_owned(), unit: self.unit, rows }
    }
}

impl Table {
    pub(crate) fn samples(&self, contender: &str) -> Option<&Samples> {
        self.rows.iter().find(|row| row.contender == contender).map(|row| &row.samples)
    }

    /// The rows, the best first.
    pub(crate) fn ranking(&self) -> Vec<&Row> {
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by(|one, other| one.samples.median().total_cmp(&other.samples.median()));
        if self.unit.is_better_when_higher() {
            rows.reverse();
        }
        rows
    }
}

impl Row {
    /// What was measured once, or comes out the same each time.
    pub(crate) fn single(contender: &str, value: f64) -> Self {
        Self { contender: contender.to_owned(), samples: Samples::new(vec![value]) }
    }
}

impl Tables {
    pub(crate) fn add(&mut self, tables: Vec<Table>) {
        self.0.extend(tables);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Table> {
        self.0.iter()
    }

    pub(crate) fn get(&self, title: &str) -> Option<&Table> {
        self.0.iter().find(|table| table.title == title)
    }

    pub(crate) fn samples(&self, title: &str, contender: &str) -> Option<&Samples> {
        self.get(title)?.samples(contender)
    }
}
