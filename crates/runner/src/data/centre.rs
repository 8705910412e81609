//! MNIST's preparation of a digit: cropped, scaled to one size, and centred by its mass.
//!
//! ```text
//! crop    to the bounding box of the ink, whatever the image's margins
//! scale   the longer side to 20/28 of the network's image; the aspect ratio is preserved
//! move    the centre of mass to the middle, by whole pixels
//! ```
//!
//! Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits", 1998: 20 x 20 in 28 x
//! 28. There the middle is the centre of pixel 14 of 0 to 27, half a pixel right of and below that
//! of the image. [`scan`](crate::data::scan) prepares images with this; [`are_centred`] detects a
//! data set whose images are prepared so.

use std::ops::Range;

use crate::data::Labelled;

/// Side of a digit relative to the side of the image.
const DIGIT_SIDE: f64 = 20.0 / 28.0;

/// Threshold of ink relative to the darkest pixel. Below it are camera noise and blur.
const THRESHOLD: f64 = 1.0 / 8.0;

/// Bounding box and centre of mass of the ink of an image.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ink {
    /// Columns of the box.
    pub(crate) x: Range<usize>,
    /// Rows of the box.
    pub(crate) y: Range<usize>,
    /// Centre of mass, in pixels right of and below the corner of the box.
    mass: [f64; 2],
}

impl Ink {
    /// Finds the ink of an image of `height` rows, read by `row`: 0 for paper, more for ink.
    /// `None` for an image without ink.
    pub(crate) fn find<I: Iterator<Item = f64>>(
        height: usize,
        row: impl Fn(usize) -> I,
    ) -> Option<Self> {
        let darkest = (0..height).flat_map(&row).fold(0.0, f64::max);
        let is_ink = |&(_, ink): &(usize, f64)| ink > THRESHOLD * darkest;
        let (mut x, mut y) = (None::<Range<usize>>, None::<Range<usize>>);
        let widen = |range: &mut Option<Range<usize>>, at: usize| {
            let Range { start, end } = range.take().unwrap_or(at..at);
            *range = Some(start.min(at)..end.max(at + 1));
        };
        let (mut sum, mut sum_x, mut sum_y) = (0.0, 0.0, 0.0);
        for at in 0..height {
            for (column, ink) in row(at).enumerate().filter(is_ink) {
                widen(&mut x, column);
                widen(&mut y, at);
                sum += ink;
                sum_x += ink * (column as f64 + 0.5);
                sum_y += ink * (at as f64 + 0.5);
            }
        }
        let (x, y) = x.zip(y)?;
        let mass = [sum_x / sum - x.start as f64, sum_y / sum - y.start as f64];
        Some(Self { x, y, mass })
    }

    /// Returns the scale of the ink in an image of `rows` x `cols`, and the x and y of its box's
    /// corner there.
    pub(crate) fn placement(&self, rows: usize, cols: usize) -> (f64, [f64; 2]) {
        let [width, height] = [self.x.len(), self.y.len()].map(|side| side as f64);
        let [rows, cols] = [rows, cols].map(|side| side as f64);
        let scale = (DIGIT_SIDE * cols / width).min(DIGIT_SIDE * rows / height);
        let corner = |side: f64, mass: f64| (middle(side) - scale * mass).round();
        (scale, [corner(cols, self.mass[0]), corner(rows, self.mass[1])])
    }
}

/// Returns the position of the centre of mass along a side.
fn middle(side: f64) -> f64 {
    (side / 2.0).floor() + 0.5
}

/// Number of images that [`are_centred`] examines.
const SAMPLE: usize = 1000;

/// `true` if nine in ten of the first images of `set` are prepared as this module does, to within
/// two pixels of 28 in size and one and a half in position.
pub(crate) fn are_centred(set: &Labelled) -> bool {
    let (rows, cols) = (set.rows(), set.cols());
    let [height, width] = [rows, cols].map(|side| side as f64);
    let is_centred = |image: &[u8]| {
        let row = |at: usize| image[at * cols..][..cols].iter().map(|&pixel| f64::from(pixel));
        let Some(Ink { x, y, mass }) = Ink::find(rows, row) else { return false };
        let near = |start: usize, mass: f64, side: f64| {
            (start as f64 + mass - middle(side)).abs() <= 1.5 / 28.0 * side
        };
        let size = (x.len() as f64 / width).max(y.len() as f64 / height);
        (size - DIGIT_SIDE).abs() <= 2.0 / 28.0 + 1e-9
            && near(x.start, mass[0], width)
            && near(y.start, mass[1], height)
    };
    let images = set.pixels().chunks_exact(set.image_len()).take(SAMPLE);
    let (count, centred) =
        images.fold((0, 0), |(all, some), image| (all + 1, some + usize::from(is_centred(image))));
    count > 0 && 10 * centred >= 9 * count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns an image of `side` x `side` with a bar of ink at `x`, `y`.
    fn bar(side: usize, x: Range<usize>, y: Range<usize>) -> Vec<u8> {
        let ink = |at: usize| x.contains(&(at % side)) && y.contains(&(at / side));
        (0..side * side).map(|at| if ink(at) { 200 } else { 10 }).collect()
    }

    #[test]
    fn box_and_centre_of_mass_ignore_the_margin() {
        let image = bar(12, 2..4, 5..11);
        let ink = Ink::find(12, |y| image[y * 12..][..12].iter().map(|&pixel| f64::from(pixel)))
            .expect("ink");
        assert_eq!(ink, Ink { x: 2..4, y: 5..11, mass: [1.0, 3.0] });
        // 20/28 of 28 rows from 6; the middle is 14.5.
        let (scale, corner) = ink.placement(28, 28);
        assert!((scale - 20.0 / 6.0).abs() < 1e-12);
        assert_eq!(corner, [11.0, 5.0]);
        assert_eq!(Ink::find(3, |_| [0.0; 3].into_iter()), None);
    }

    #[test]
    fn size_and_position_decide_whether_images_are_centred() {
        let set = |image: Vec<u8>| Labelled::new(image, vec![0], 28, 28).expect("an image");
        assert!(are_centred(&set(bar(28, 12..17, 4..24))));
        for (case, image) in [
            ("too large", bar(28, 2..27, 1..28)),
            ("too small", bar(28, 12..17, 9..20)),
            ("in a corner", bar(28, 0..5, 0..20)),
            ("empty", vec![0; 784]),
        ] {
            assert!(!are_centred(&set(image)), "{case}");
        }
    }
}
