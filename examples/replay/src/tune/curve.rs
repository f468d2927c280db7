//! Curve: the best hit rate at each size, whatever the policy, and where it bends.

use crate::options::Ttl;

use super::grid::Cell;

/// The best hit rate at each size, the smallest first.
#[derive(Debug)]
pub(crate) struct Curve(Vec<Point>);

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    pub(crate) size: usize,
    pub(crate) hit_rate: f64,
}

impl Curve {
    /// Of the cells that have a TTL, and up to so many entries.
    pub(crate) fn new(cells: &[Cell], ttl: Ttl, most: usize) -> Self {
        let of_ttl = || cells.iter().filter(|cell| cell.setting.ttl == ttl);
        let mut sizes: Vec<_> = of_ttl().map(|cell| cell.setting.max_size).collect();
        sizes.retain(|size| *size <= most);
        sizes.sort_unstable();
        sizes.dedup();
        let point = |size| {
            let of_size = of_ttl().filter(|cell| cell.setting.max_size == size);
            let hit_rate = of_size.map(|cell| cell.estimate.hit_rate).fold(0.0, f64::max);
            Point { size, hit_rate }
        };
        Self(sizes.into_iter().map(point).collect())
    }

    /// The best hit rate of all.
    pub(crate) fn best(&self) -> f64 {
        self.0.iter().map(|point| point.hit_rate).fold(0.0, f64::max)
    }

    /// The part up to a size.
    pub(crate) fn up_to(&self, size: usize) -> Self {
        Self(self.0.iter().copied().filter(|point| point.size <= size).collect())
    }

    /// The smallest size that has a hit rate.
    pub(crate) fn reaches(&self, hit_rate: f64) -> Option<usize> {
        self.0.iter().find(|point| point.hit_rate >= hit_rate).map(|point| point.size)
    }

    /// The size that is furthest above the straight line from no cache to the largest: as of the
    /// knee of Satopää et al., "Finding a Kneedle in a Haystack", ICDCSW 2011. `None` of no points.
    #[expect(clippy::cast_precision_loss, reason = "shares are rounded")]
    pub(crate) fn knee(&self) -> Option<usize> {
        let most = self.0.last()?.size as f64;
        let best = self.best().max(f64::MIN_POSITIVE);
        let above = |point: &Point| point.hit_rate / best - point.size as f64 / most;
        let knee = self.0.iter().max_by(|one, other| above(one).total_cmp(&above(other)));
        knee.map(|point| point.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(points: &[(usize, f64)]) -> Curve {
        Curve(points.iter().map(|&(size, hit_rate)| Point { size, hit_rate }).collect())
    }

    #[test]
    fn a_curve_bends_at_its_knee() {
        let curve = curve(&[(1, 0.1), (10, 0.6), (20, 0.7), (100, 0.8)]);
        assert_eq!(curve.knee(), Some(20));
        assert!((curve.up_to(10).best() - 0.6).abs() < 1e-9);
        assert_eq!(curve.reaches(0.65), Some(20));
        assert_eq!(curve.reaches(0.81), None);
    }

    #[test]
    fn a_loop_has_its_knee_at_the_end() {
        assert_eq!(curve(&[(1, 0.0), (10, 0.0), (100, 0.99)]).knee(), Some(100));
        assert_eq!(curve(&[]).knee(), None);
    }
}
