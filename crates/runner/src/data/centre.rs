//! MNIST's preparation of a digit: cut out, scaled to one size, and put by its centre of mass.
//!
//! ```text
//! box     the smallest that holds the ink          any image, of any margin
//! scale   its longer side becomes 20/28 of the network's image; the aspect ratio stays
//! place   the centre of mass in the middle, by whole pixels
//! ```
//!
//! Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits", 1998: 20 x 20 in 28 x
//! 28. There the middle is the centre of pixel 14 of 0 to 27, half a pixel right of and below that
//! of the image. [`scan`](crate::data::scan) prepares images so; [`are_centred`] tells whether a data
//! set's are.

use std::ops::Range;

use crate::data::Labelled;

/// The share of the image's side that a digit takes.
const SHARE: f64 = 20.0 / 28.0;

/// Ink below this share of the darkest counts as paper: noise of cameras, the blur of strokes.
const FAINT: f64 = 1.0 / 8.0;

/// Bounding box and centre of mass of the ink of an image.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ink {
    /// Columns of the box.
    pub(crate) x: Range<usize>,
    /// Rows of the box.
    pub(crate) y: Range<usize>,
    /// Centre of mass: pixels right of and below the corner of the box.
    mass: [f64; 2],
}

impl Ink {
    /// Returns the ink of an image of `height` rows, read by `row`: 0 for paper, more for ink.
    /// `None` for an image without ink.
    pub(crate) fn of<I: Iterator<Item = f64>>(
        height: usize,
        row: impl Fn(usize) -> I,
    ) -> Option<Self> {
        let most = (0..height).flat_map(&row).fold(0.0, f64::max);
        let is_ink = |&(_, ink): &(usize, f64)| ink > FAINT * most;
        let (mut x, mut y) = (None::<Range<usize>>, None::<Range<usize>>);
        let widen = |range: &mut Option<Range<usize>>, at: usize| {
            let Range { start, end } = range.take().unwrap_or(at..at);
            *range = Some(start.min(at)..end.max(at + 1));
        };
        let (mut sum, mut across, mut down) = (0.0, 0.0, 0.0);
        for at in 0..height {
            for (column, ink) in row(at).enumerate().filter(is_ink) {
                widen(&mut x, column);
                widen(&mut y, at);
                sum += ink;
                across += ink * (column as f64 + 0.5);
                down += ink * (at as f64 + 0.5);
            }
        }
        let (x, y) = x.zip(y)?;
        let mass = [across / sum - x.start as f64, down / sum - y.start as f64];
        Some(Self { x, y, mass })
    }

    /// How much larger it is drawn in an image of `rows` x `cols`, and where the corner of its box
    /// comes: across and down.
    pub(crate) fn placed(&self, rows: usize, cols: usize) -> (f64, [f64; 2]) {
        let [width, height] = [self.x.len(), self.y.len()].map(|side| side as f64);
        let [rows, cols] = [rows, cols].map(|side| side as f64);
        let scale = (SHARE * cols / width).min(SHARE * rows / height);
        let corner = |side: f64, mass: f64| (middle(side) - scale * mass).round();
        (scale, [corner(cols, self.mass[0]), corner(rows, self.mass[1])])
    }
}

/// Where the centre of mass belongs along a side.
fn middle(side: f64) -> f64 {
    (side / 2.0).floor() + 0.5
}

/// Images that are looked at.
const SOME: usize = 1000;

/// `true` if nine in ten of the first images of `set` are prepared as this module does it, to
/// within two pixels of 28 in size and one and a half in place.
pub(crate) fn are_centred(set: &Labelled) -> bool {
    let (rows, cols) = (set.rows(), set.cols());
    let [height, width] = [rows, cols].map(|side| side as f64);
    let is_centred = |image: &[u8]| {
        let row = |at: usize| image[at * cols..][..cols].iter().map(|&pixel| f64::from(pixel));
        let Some(Ink { x, y, mass }) = Ink::of(rows, row) else { return false };
        let near = |start: usize, mass: f64, side: f64| {
            (start as f64 + mass - middle(side)).abs() <= 1.5 / 28.0 * side
        };
        let share = (x.len() as f64 / width).max(y.len() as f64 / height);
        (share - SHARE).abs() <= 2.0 / 28.0 + 1e-9
            && near(x.start, mass[0], width)
            && near(y.start, mass[1], height)
    };
    let images = set.pixels().chunks_exact(set.image_len()).take(SOME);
    let (looked, centred) =
        images.fold((0, 0), |(all, some), image| (all + 1, some + usize::from(is_centred(image))));
    looked > 0 && 10 * centred >= 9 * looked
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bar of ink at `x`, `y` of an image of `side` x `side`.
    fn bar(side: usize, x: Range<usize>, y: Range<usize>) -> Vec<u8> {
        let ink = |at: usize| x.contains(&(at % side)) && y.contains(&(at / side));
        (0..side * side).map(|at| if ink(at) { 200 } else { 10 }).collect()
    }

    #[test]
    fn the_box_and_the_centre_of_mass_are_those_of_the_ink() {
        let image = bar(12, 2..4, 5..11);
        let ink = Ink::of(12, |y| image[y * 12..][..12].iter().map(|&pixel| f64::from(pixel)))
            .expect("ink");
        assert_eq!(ink, Ink { x: 2..4, y: 5..11, mass: [1.0, 3.0] });
        // 20/28 of 28 rows from 6; the middle is 14.5.
        let (scale, corner) = ink.placed(28, 28);
        assert!((scale - 20.0 / 6.0).abs() < 1e-12);
        assert_eq!(corner, [11.0, 5.0]);
        assert_eq!(Ink::of(3, |_| [0.0; 3].into_iter()), None);
    }

    #[test]
    fn images_are_centred_in_size_and_in_place() {
        let set = |image: Vec<u8>| Labelled::new(image, vec![0], 28, 28).expect("an image");
        assert!(are_centred(&set(bar(28, 12..17, 4..24))));
        for (what, image) in [
            ("too large", bar(28, 2..27, 1..28)),
            ("too small", bar(28, 12..17, 9..20)),
            ("in a corner", bar(28, 0..5, 0..20)),
            ("empty", vec![0; 784]),
        ] {
            assert!(!are_centred(&set(image)), "{what}");
        }
    }
}
