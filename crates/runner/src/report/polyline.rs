//! Polyline of a curve: the `d` attribute of an SVG path, clipped at the top, and reduced to what a
//! column of pixels can show.
//!
//! ```text
//! points, None for a gap  ->  clip at the top edge  ->  at most four points per column  ->  M, L
//! ```
//!
//! A path has at most four points per column, however long the curve is.
//! [`Chart`](super::chart::Chart) draws its curves with it.

use std::fmt::{self, Display};

/// Point in SVG coordinates: x to the right, y downwards.
pub(crate) type Point = (f64, f64);

/// Columns per unit of width: half a unit is finer than a pixel of most screens.
const COLUMNS_PER_UNIT: f64 = 2.0;

/// Points that are joined by lines, with a gap at each `None`.
pub(crate) struct Polyline(pub(crate) Vec<Option<Point>>);

impl Polyline {
    /// Polyline of `points`, clipped where it crosses `top`: points above (smaller y) are gaps.
    pub(crate) fn clipped(points: &[Option<Point>], top: f64) -> Self {
        let mut clipped = Vec::with_capacity(points.len());
        let crossing =
            |(ax, ay): Point, (bx, by): Point| (ax + (bx - ax) * (top - ay) / (by - ay), top);
        let mut previous: Option<Point> = None;
        for &point in points {
            let is_inside = |point: Option<Point>| point.is_some_and(|(_, y)| y >= top);
            match (previous, point) {
                (Some(a), Some(b)) if is_inside(previous) != is_inside(point) => {
                    clipped.push(Some(crossing(a, b)));
                }
                _ => {}
            }
            clipped.push(point.filter(|_| is_inside(point)));
            previous = point;
        }
        Self(clipped)
    }

    /// The same line with the first, highest, lowest and last point of each column.
    pub(crate) fn reduced(self) -> Self {
        let Self(points) = self;
        let column =
            |point: &Option<Point>| point.map(|(x, _)| (x * COLUMNS_PER_UNIT).floor() as i64);
        let mut reduced = Vec::new();
        for points in points.chunk_by(|a, b| column(a) == column(b)) {
            // All points of a gap become one.
            let Some(ends) = points.first().zip(points.last()).filter(|(first, _)| first.is_some())
            else {
                reduced.push(None);
                continue;
            };
            let y = |index: &usize| points[*index].map_or(f64::NAN, |(_, y)| y);
            let by_y = |a: &usize, b: &usize| y(a).total_cmp(&y(b));
            let last = points.len() - 1;
            let highest = (0..=last).min_by(by_y).unwrap_or(0);
            let lowest = (0..=last).max_by(by_y).unwrap_or(0);
            let extremes = [highest.min(lowest), highest.max(lowest)];
            reduced.push(*ends.0);
            let inner = extremes.into_iter().filter(|index| (1..last).contains(index));
            reduced.extend(inner.map(|index| points[index]));
            if last > 0 {
                reduced.push(*ends.1);
            }
        }
        Self(reduced)
    }
}

impl Display for Polyline {
    /// Writes the path. A point between two gaps is a line of length 0: its round cap is a dot.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.0.split(Option::is_none) {
            for (index, (x, y)) in line.iter().flatten().enumerate() {
                write!(f, "{}{x:.1} {y:.1}", if index == 0 { 'M' } else { 'L' })?;
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
    fn a_line_is_clipped_where_it_crosses_the_top() {
        let points = [(0.0, 10.0), (1.0, -10.0), (2.0, -30.0), (3.0, 10.0)].map(Some);
        let clipped = |points: &[Option<Point>], top| Polyline::clipped(points, top).to_string();
        assert_eq!(clipped(&points, 0.0), "M0.0 10.0L0.5 0.0M2.8 0.0L3.0 10.0");
        assert_eq!(clipped(&points, -30.0), Polyline(points.to_vec()).to_string());
        assert_eq!(clipped(&[None, Some((1.0, 5.0)), None], 0.0), "M1.0 5.0h0");
        assert_eq!(clipped(&[Some((1.0, -5.0))], 0.0), "");
    }

    #[test]
    fn a_column_has_its_ends_and_its_extremes() {
        let y = |index: usize| match index {
            500_000 => 1.0,
            500_001 => 99.0,
            index => 40.0 + (index % 7) as f64,
        };
        let points = (0..1_000_000).map(|index| Some((index as f64 * 3e-4, y(index)))).collect();
        let Polyline(reduced) = Polyline(points).reduced();
        assert!((600..=4 * 601).contains(&reduced.len()), "{}", reduced.len());
        let heights = || reduced.iter().flatten().map(|(_, y)| *y);
        assert_eq!(
            (heights().fold(f64::MAX, f64::min), heights().fold(0.0, f64::max)),
            (1.0, 99.0)
        );
        assert!(reduced.iter().flatten().map(|(x, _)| x).is_sorted());
        let few = vec![Some((0.0, 1.0)), None, Some((0.1, 2.0)), Some((9.0, 3.0))];
        assert_eq!(Polyline(few.clone()).reduced().0, few);
    }
}
