//! Random numbers of one image, each at a fixed offset. Called by all of [`digits`](super).
//!
//! An image owns 2^17 words of its stream, by its index. Most are never drawn, which costs nothing:
//! a counter-based generator computes each word from its offset. No draw depends on the draws
//! before it, so images can be drawn in any order.

use kernels::random::Stream;

/// Random numbers of one image: word `slot` of its 2^17.
#[derive(Clone, Copy)]
pub(super) struct Draws {
    stream: Stream,
    first: u64,
}

impl Draws {
    /// Slot of the digit.
    pub(super) const LABEL: u64 = 0;
    /// Slot of the digit's style.
    pub(super) const STYLE: u64 = 1;
    /// Slot of the width of the edge's ramp.
    pub(super) const EDGE: u64 = 2;
    /// Slot of the roughness of the edge.
    pub(super) const GRAIN: u64 = 3;
    /// Slot of the pen's radius.
    pub(super) const RADIUS: u64 = 4;
    /// Slot of the standard deviation of the points' jitter.
    pub(super) const JITTER: u64 = 5;
    /// Slot of the digit's width.
    pub(super) const WIDTH: u64 = 6;
    /// Slot of the digit's slant.
    pub(super) const SLANT: u64 = 7;
    /// Slot of the digit's rotation.
    pub(super) const ROTATION: u64 = 8;
    /// Slots of the digit's shift: x, y.
    pub(super) const SHIFT: u64 = 10;
    /// Slots of the bend's coefficients: 8 words for x, 8 for y.
    pub(super) const BEND: u64 = 16;
    /// Slots of the edge's roughness at each pixel: 784 words.
    pub(super) const PIXEL: u64 = 1024;
    /// Slots of the jitter at each position of the template's box, 4 words each: x, y, thickness,
    /// unused.
    const POINT: u64 = 1 << 16;

    /// Returns the draws of image `image` of `stream`.
    pub(super) fn new(stream: Stream, image: u64) -> Self {
        Self { stream, first: image << 17 }
    }

    /// Returns the first of the four slots for the jitter of a template's point.
    pub(super) fn point([x, y]: [u8; 2]) -> u64 {
        Self::POINT + 4 * (128 * u64::from(y) + u64::from(x))
    }

    /// Draws uniformly from `[0, 1)`.
    pub(super) fn uniform(self, slot: u64) -> f32 {
        self.stream.uniform_f32(self.first + slot)
    }

    /// Draws uniformly from `0..bound`; 0 if `bound` is 0. The bias is below `bound` * 2^-32.
    pub(super) fn below(self, slot: u64, bound: u32) -> u32 {
        ((u64::from(self.stream.bits(self.first + slot)) * u64::from(bound)) >> 32) as u32
    }

    /// Draws a near-normal number with mean 0 and variance 1, between -3.45 and 3.45: the sum of a
    /// word's four bytes. It needs no logarithm and no cosine, and has no outlier that would tear a
    /// digit apart.
    pub(super) fn normal(self, slot: u64) -> f32 {
        let [a, b, c, d] = self.stream.bits(self.first + slot).to_le_bytes().map(i16::from);
        // The sum has mean 4 * 255 / 2 and variance 4 * (256^2 - 1) / 12.
        f32::from(a + b + c + d - 510) / 147.801_2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_has_mean_0_and_variance_1() {
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
            [Draws::LABEL, Draws::STYLE, Draws::EDGE, Draws::GRAIN, Draws::RADIUS, Draws::JITTER];
        let mut used: Vec<_> =
            singles.into_iter().chain([Draws::WIDTH, Draws::SLANT, Draws::ROTATION]).collect();
        used.extend(Draws::SHIFT..Draws::SHIFT + 2);
        used.extend(Draws::BEND..Draws::BEND + 16);
        used.extend(Draws::PIXEL..Draws::PIXEL + 784);
        for (x, y) in (0..=100).flat_map(|y| (0..=100).map(move |x| (x, y))) {
            used.extend(Draws::point([x, y])..Draws::point([x, y]) + 4);
        }
        let count = used.len();
        used.sort_unstable();
        used.dedup();
        assert_eq!(used.len(), count);
        // The next image's words begin at 2^17.
        assert!(used.last() < Some(&(1 << 17)));
    }
}
