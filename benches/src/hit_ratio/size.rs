//! Size: for how many entries a cache has room, and why for so many.

use std::fmt;

/// Of the distinct keys of a trace, by a thousand.
pub(crate) const SHARES: [usize; 3] = [1, 10, 100];

/// Below that, chance decides. From the number of distinct keys on, nobody evicts.
const FEWEST_ENTRIES: usize = 16;

/// For how many entries a cache has room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) entries: usize,
    pub(crate) choice: Choice,
}

/// Why for so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// A share of the distinct keys, by a thousand.
    Share(usize),
    /// Earlier work looked at the trace at this size.
    Literature,
}

/// All sizes at which a trace is replayed, ascending.
pub(crate) fn sizes(distinct: usize, literature: &[usize]) -> Vec<Size> {
    let shares = SHARES.map(|share| Size::new(part(distinct, share), Choice::Share(share)));
    let literature = literature.iter().map(|&entries| Size::new(entries, Choice::Literature));
    let mut sizes: Vec<_> = shares.into_iter().chain(literature).collect();
    sizes.retain(|size| (FEWEST_ENTRIES..distinct).contains(&size.entries));
    // Stable: of two that are the same, the share stays.
    sizes.sort_by_key(|size| size.entries);
    sizes.dedup_by_key(|size| size.entries);
    sizes
}

/// So many thousandths, rounded.
fn part(whole: usize, thousandths: usize) -> usize {
    (whole * thousandths + 500) / 1000
}

impl Size {
    fn new(entries: usize, choice: Choice) -> Self {
        Self { entries, choice }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share(1) => formatter.write_str("0.1%"),
            Self::Share(thousandths) => write!(formatter, "{}%", thousandths / 10),
            Self::Literature => formatter.write_str("lit"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(distinct: usize, literature: &[usize]) -> Vec<usize> {
        sizes(distinct, literature).into_iter().map(|size| size.entries).collect()
    }

    #[test]
    fn shares_are_rounded_and_small_ones_left_out() {
        assert_eq!(entries(36_815, &[]), [37, 368, 3682]);
        assert_eq!(entries(1_409, &[]), [141]);
        assert!(entries(100, &[]).is_empty());
    }

    #[test]
    fn sizes_of_the_literature_come_between() {
        assert_eq!(entries(20_484, &[300, 3_000, 30_000]), [20, 205, 300, 2_048, 3_000]);
        let both = sizes(1_000, &[100]);
        assert_eq!(both, [Size::new(100, Choice::Share(100))]);
    }

    #[test]
    fn choices_have_names() {
        let names = SHARES.map(|share| Choice::Share(share).to_string());
        assert_eq!(names, ["0.1%", "1%", "10%"]);
    }
}
