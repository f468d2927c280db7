//! Rounds: in each, every contender takes one sample in its turn, so that drift hits all alike.

use std::hint::black_box;
use std::time::Duration;

use crate::samples::Samples;
use crate::table::{Measure, Row, Table};

/// Calls before a sample that are not timed, as a share of those that are.
const WARM_UP: usize = 8;

/// How many calls the first attempt at a sample takes.
const FIRST_CALLS: usize = 64;

/// One contender in one workload.
pub(crate) struct Entrant {
    name: &'static str,
    /// It has no more than this many rounds.
    most_rounds: usize,
    sample: Box<dyn FnMut() -> Sample>,
    samples: Vec<Sample>,
}

/// One value for each measure of the workload.
type Sample = Vec<f64>;

impl Entrant {
    pub(crate) fn new(name: &'static str, sample: impl FnMut() -> Sample + 'static) -> Self {
        Self { name, most_rounds: usize::MAX, sample: Box::new(sample), samples: Vec::new() }
    }

    /// Samples are nanoseconds a call.
    ///
    /// `measure` makes so many calls and returns their time. How many fill `time` is found out here.
    pub(crate) fn timed(
        name: &'static str,
        time: Duration,
        mut measure: impl FnMut(usize) -> Duration + 'static,
    ) -> Self {
        let calls = calibrate(time, &mut measure);
        Self::new(name, move || {
            let warm_up = calls / WARM_UP;
            if warm_up > 0 {
                black_box(measure(warm_up));
            }
            vec![nanos_each(measure(calls), calls)]
        })
    }

    /// Several samples as one, of the first one's contender: the values of the first, then the others'.
    pub(crate) fn joined(mut parts: Vec<Self>) -> Self {
        let name = parts.first().expect("there is a part").name;
        Self::new(name, move || parts.iter_mut().flat_map(Self::sample).collect())
    }

    pub(crate) fn with_at_most(mut self, rounds: usize) -> Self {
        self.most_rounds = rounds;
        self
    }

    /// What each sample becomes.
    pub(crate) fn map(self, mut then: impl FnMut(&[f64]) -> Sample + 'static) -> Self {
        let mut sample = self.sample;
        Self { sample: Box::new(move || then(&sample())), ..self }
    }

    pub(crate) fn sample(&mut self) -> Sample {
        (self.sample)()
    }

    fn take_turn(&mut self) {
        if self.samples.len() < self.most_rounds {
            let sample = self.sample();
            self.samples.push(sample);
        }
    }

    fn row(&self, measure: usize) -> Row {
        let samples = self.samples.iter().map(|sample| sample[measure]).collect();
        Row { contender: self.name.to_owned(), samples: Samples::new(samples) }
    }
}

/// Runs all rounds; one table for each measure.
pub(crate) fn run(rounds: usize, measures: &[Measure], mut entrants: Vec<Entrant>) -> Vec<Table> {
    for _ in 0..rounds {
        entrants.iter_mut().for_each(Entrant::take_turn);
        entrants.rotate_left(1);
    }
    // Back to the order in which they came.
    let turns = rounds % entrants.len();
    entrants.rotate_right(turns);
    let rows = |measure| entrants.iter().map(|entrant| entrant.row(measure)).collect();
    measures.iter().enumerate().map(|(index, measure)| measure.table(rows(index))).collect()
}

pub(crate) fn nanos_each(time: Duration, calls: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^52 calls")]
    let calls = calls as f64;
    time.as_secs_f64() * 1e9 / calls
}

/// How many calls fill `time`, found by doubling.
fn calibrate(time: Duration, measure: &mut impl FnMut(usize) -> Duration) -> usize {
    let mut calls = 1;
    if measure(calls) >= time {
        return calls;
    }
    calls = FIRST_CALLS;
    loop {
        let taken = measure(calls);
        if taken >= time / 2 {
            return scaled(calls, time.div_duration_f64(taken)).max(1);
        }
        calls *= 2;
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "neither is negative, and there are fewer than 2^52 calls"
)]
fn scaled(calls: usize, by: f64) -> usize {
    (calls as f64 * by) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Unit;

    use std::cell::RefCell;
    use std::rc::Rc;

    const MEASURE: Measure = Measure::new("test", Unit::Nanos);

    fn entrant(name: &'static str, log: &Rc<RefCell<Vec<&'static str>>>) -> Entrant {
        let log = Rc::clone(log);
        Entrant::new(name, move || {
            log.borrow_mut().push(name);
            vec![1.0]
        })
    }

    #[test]
    fn each_round_begins_with_another_contender() {
        let log = Rc::default();
        run(3, &[MEASURE], vec![entrant("a", &log), entrant("b", &log)]);
        assert_eq!(*log.borrow(), ["a", "b", "b", "a", "a", "b"]);
    }

    #[test]
    fn joined_samples_are_in_order() {
        let part = |value| Entrant::new("a", move || vec![value]);
        let mut joined = Entrant::joined(vec![part(1.0), part(2.0).map(|one| vec![one[0], 3.0])]);
        assert_eq!(joined.sample(), [1.0, 2.0, 3.0]);
    }

    #[test]
    fn an_entrant_may_leave_early() {
        let log = Rc::default();
        let entrants = vec![entrant("a", &log), entrant("b", &log).with_at_most(1)];
        run(2, &[MEASURE], entrants);
        assert_eq!(*log.borrow(), ["a", "b", "a"]);
    }

    #[test]
    fn samples_are_as_long_as_wanted() {
        let mut measure = |calls| Duration::from_nanos(10) * u32::try_from(calls).expect("few");
        assert_eq!(calibrate(Duration::from_micros(100), &mut measure), 10_000);
        assert_eq!(calibrate(Duration::from_nanos(5), &mut measure), 1);
    }
}
