//! The random numbers of one image, each with its fixed place. Called by all of [`digits`](super).
//!
//! An image owns 2^17 words of its stream, by its index. Most are never drawn, which costs nothing where a draw is
//! a function of its place; and since no draw depends on how many came before it, images need no order.

use kernels::random::Stream;

/// The random numbers of one image: word `slot` of its own 2^17.
#[derive(Clone, Copy)]
pub(super) struct Draws {
    stream: Stream,
    first: u64,
}

impl Draws {
    /// Which digit.
    pub(super) const LABEL: u64 = 0;
    /// Which of the digit's styles.
    pub(super) const STYLE: u64 = 1;
    /// How wide the edge's ramp is.
    pub(super) const EDGE: u64 = 2;
    /// How rough the edge is.
    pub(super) const GRAIN: u64 = 3;
    /// How thick the pen is.
    pub(super) const RADIUS: u64 = 4;
    /// How carelessly the points are placed.
    pub(super) const CARE: u64 = 5;
    /// How wide the digit is.
    pub(super) const WIDTH: u64 = 6;
    /// How far the digit leans.
    pub(super) const LEAN: u64 = 7;
    /// How far the digit is turned.
    pub(super) const TURN: u64 = 8;
    /// How far the digit is moved: x, y.
    pub(super) const MOVE: u64 = 10;
    /// The bend's coefficients: 8 words for x, 8 for y.
    pub(super) const BEND: u64 = 16;
    /// The edge's roughness at each pixel: 784 words.
    pub(super) const PIXEL: u64 = 1024;
    /// The shake of each place in the template's box, 4 words each: x, y, thickness, none.
    const SHAKE: u64 = 1 << 16;

    /// The draws of image `image` of `stream`.
    pub(super) fn new(stream: Stream, image: u64) -> Self {
        Self { stream, first: image << 17 }
    }

    /// The first of the four slots for the shake of a template's point.
    pub(super) fn shake([x, y]: [u8; 2]) -> u64 {
        Self::SHAKE + 4 * (128 * u64::from(y) + u64::from(x))
    }

    /// Uniform on `[0, 1)`.
    pub(super) fn uniform(self, slot: u64) -> f32 {
        self.stream.uniform_f32(self.first + slot)
    }

    /// Uniform on `0..bound`; 0 if `bound` is 0. The bias is below `bound` * 2^-32.
    pub(super) fn below(self, slot: u64, bound: u32) -> u32 {
        ((u64::from(self.stream.bits(self.first + slot)) * u64::from(bound)) >> 32) as u32
    }

    /// Near-normal, with mean 0 and variance 1, between -3.45 and 3.45: the sum of a word's four bytes. No
    /// logarithm, no cosine, and no outlier that would tear a digit apart.
    pub(super) fn normal(self, slot: u64) -> f32 {
        let [a, b, c, d] = self.stream.bits(self.first + slot).to_le_bytes().map(i16::from);
        // Four bytes have mean 4 * 255 / 2 and variance 4 * (256^2 - 1) / 12.
        f32::from(a + b + c + d - 510) / 147.801_2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_has_the_moments_of_the_normal() {
        let draws = Draws::new(Stream::new(11, 0), 3);
        let n = 100_000;
        let (mut sum, mut squares) = (0.0, 0.0);
        for slot in 0..n {
            let x = f64::from(draws.normal(slot));
            assert!(x.abs() <= 3.451);
            sum += x;
            squares += x * x;
        }
        // Five standard errors: 1/sqrt(n) for the mean, below sqrt(2/n) for the variance.
        assert!((sum / n as f64).abs() < 5.0 / 316.0);
        assert!((squares / n as f64 - 1.0).abs() < 5.0 * 1.415 / 316.0);
    }

    #[test]
    fn no_word_is_drawn_for_two_purposes() {
        let singles =
            [Draws::LABEL, Draws::STYLE, Draws::EDGE, Draws::GRAIN, Draws::RADIUS, Draws::CARE];
        let mut used: Vec<_> =
            singles.into_iter().chain([Draws::WIDTH, Draws::LEAN, Draws::TURN]).collect();
        used.extend(Draws::MOVE..Draws::MOVE + 2);
        used.extend(Draws::BEND..Draws::BEND + 16);
        used.extend(Draws::PIXEL..Draws::PIXEL + 784);
        for (x, y) in (0..=100).flat_map(|y| (0..=100).map(move |x| (x, y))) {
            used.extend(Draws::shake([x, y])..Draws::shake([x, y]) + 4);
        }
        let count = used.len();
        used.sort_unstable();
        used.dedup();
        assert_eq!(used.len(), count);
        // Those of the next image begin behind them.
        assert!(used.last() < Some(&(1 << 17)));
    }
}
