//! A curve on paper: the `d` of an SVG path, cut off at the top and thinned to what a column of
//! pixels shows.
//!
//! ```text
//! points, None for a gap  ->  cut at the top edge  ->  at most four points per column  ->  M, L
//! ```
//!
//! A path has at most four points a column, however long the curve is.
//! [`Chart`](super::chart::Chart) draws with this.

use std::fmt::{self, Display};

/// A point on paper: x to the right, y downwards.
pub(crate) type Place = (f64, f64);

/// Columns per unit of width: half a unit is finer than a pixel of most screens.
const COLUMNS_PER_UNIT: f64 = 2.0;

/// Points that are joined by lines, with a gap at each `None`.
pub(crate) struct Polyline(pub(crate) Vec<Option<Place>>);

impl Polyline {
    /// `points` with what lies above `top` (a smaller y) cut off where the line crosses it.
    pub(crate) fn below(points: &[Option<Place>], top: f64) -> Self {
        let mut cut = Vec::with_capacity(points.len());
        let crossing =
            |(ax, ay): Place, (bx, by): Place| (ax + (bx - ax) * (top - ay) / (by - ay), top);
        let mut before: Option<Place> = None;
        for &point in points {
            let is_inside = |point: Option<Place>| point.is_some_and(|(_, y)| y >= top);
            match (before, point) {
                (Some(a), Some(b)) if is_inside(before) != is_inside(point) => {
                    cut.push(Some(crossing(a, b)));
                }
                _ => {}
            }
            cut.push(point.filter(|_| is_inside(point)));
            before = point;
        }
        Self(cut)
    }

    /// The same line with the first, the highest, the lowest and the last point of each column.
    pub(crate) fn thinned(self) -> Self {
        let Self(points) = self;
        let column =
            |point: &Option<Place>| point.map(|(x, _)| (x * COLUMNS_PER_UNIT).floor() as i64);
        let mut thin = Vec::new();
        for together in points.chunk_by(|a, b| column(a) == column(b)) {
            // A gap is as wide as it may be.
            let Some(ends) =
                together.first().zip(together.last()).filter(|(first, _)| first.is_some())
            else {
                thin.push(None);
                continue;
            };
            let height = |at: &usize| together[*at].map_or(f64::NAN, |(_, y)| y);
            let by_height = |a: &usize, b: &usize| height(a).total_cmp(&height(b));
            let last = together.len() - 1;
            let highest = (0..=last).min_by(by_height).unwrap_or(0);
            let lowest = (0..=last).max_by(by_height).unwrap_or(0);
            let (first, second) = (highest.min(lowest), highest.max(lowest));
            thin.push(*ends.0);
            thin.extend(
                [first, second]
                    .into_iter()
                    .filter(|at| (1..last).contains(at))
                    .map(|at| together[at]),
            );
            if last > 0 {
                thin.push(*ends.1);
            }
        }
        Self(thin)
    }
}

impl Display for Polyline {
    /// The path. A point between two gaps is a line of no length, which a round cap makes a dot.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.0.split(Option::is_none) {
            for (at, (x, y)) in line.iter().flatten().enumerate() {
                write!(f, "{}{x:.1} {y:.1}", if at == 0 { 'M' } else { 'L' })?;
            }
            if line.len() == 1 {
                f.write_str("h0")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_where_it_crosses_the_top() {
        let points = [(0.0, 10.0), (1.0, -10.0), (2.0, -30.0), (3.0, 10.0)].map(Some);
        assert_eq!(Polyline::below(&points, 0.0).to_string(), "M0.0 10.0L0.5 0.0M2.8 0.0L3.0 10.0");
        assert_eq!(
            Polyline::below(&points, -30.0).to_string(),
            Polyline(points.to_vec()).to_string()
        );
        assert_eq!(Polyline::below(&[None, Some((1.0, 5.0)), None], 0.0).to_string(), "M1.0 5.0h0");
        assert_eq!(Polyline::below(&[Some((1.0, -5.0))], 0.0).to_string(), "");
    }

    #[test]
    fn a_column_keeps_its_ends_and_its_extremes() {
        let y = |at: usize| match at {
            500_000 => 1.0,
            500_001 => 99.0,
            at => 40.0 + (at % 7) as f64,
        };
        let points = (0..1_000_000).map(|at| Some((at as f64 * 3e-4, y(at)))).collect();
        let Polyline(thin) = Polyline(points).thinned();
        assert!((600..=4 * 601).contains(&thin.len()), "{}", thin.len());
        let heights = || thin.iter().flatten().map(|(_, y)| *y);
        assert_eq!(
            (heights().fold(f64::MAX, f64::min), heights().fold(0.0, f64::max)),
            (1.0, 99.0)
        );
        assert!(thin.iter().flatten().map(|(x, _)| x).is_sorted());
        let few = vec![Some((0.0, 1.0)), None, Some((0.1, 2.0)), Some((9.0, 3.0))];
        assert_eq!(Polyline(few.clone()).thinned().0, few);
    }
}
