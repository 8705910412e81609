//! Mixup and CutMix: training on blends of two images, with the blend of their labels, which
//! improves generalisation and calibration.
//!
//! ```text
//! share ~ Beta(alpha, alpha), one for each batch; row i is mixed with row (i + shift) mod rows
//! mixup    x = share * x[i] + (1 - share) * x[j]                     y in the same shares
//! cutmix   x = x[i], but x[j] within a box of (1 - share) of the area     y by the areas
//! ```

use kernels::random::Stream;
use kernels::{Cpu, math};

use crate::error::{check_length, check_parameter};
use crate::{Error, Float, Shape};

/// Method that combines two images.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)
)]
#[non_exhaustive]
pub enum Mixing {
    /// Blends pixel by pixel (Zhang, Cisse, Dauphin, Lopez-Paz, ICLR 2018).
    Mixup {
        /// Both parameters of the beta distribution, above 0 and at most 4. Smaller values mix
        /// less. The paper uses 0.2 to 0.4, and 1.
        alpha: f64,
    },
    /// Pastes a box of one image into the other (Yun et al., ICCV 2019).
    CutMix {
        /// Both parameters of the beta distribution, above 0 and at most 4. The paper uses 1.
        alpha: f64,
    },
}

impl Mixing {
    /// Checks that `alpha` is in range.
    ///
    /// # Errors
    /// [`kernels::Error::Parameter`] if it is not.
    pub fn check(&self) -> Result<(), Error> {
        let (Self::Mixup { alpha: got } | Self::CutMix { alpha: got }) = *self;
        check_parameter("alpha", "above 0 and at most 4", got, got > 0.0 && got <= 4.0)
    }

    /// Mixes the rows of `inputs`, each of `shape`, into `mixed`, and their `labels` into class
    /// distributions in `targets`, `[rows, classes]`. A function of `stream` and the operands
    /// alone.
    ///
    /// # Errors
    /// [`Error::Length`] if the lengths do not fit; [`kernels::Error::Label`] for a label past the
    /// last class; any error of [`check`](Self::check).
    #[expect(clippy::too_many_arguments, reason = "inputs and labels, before and after")]
    pub fn mix<T: Float>(
        &self,
        cpu: Cpu<'_>,
        stream: Stream,
        shape: Shape,
        inputs: &[T],
        labels: &[u32],
        classes: usize,
        mixed: &mut [T],
        targets: &mut [T],
    ) -> Result<(), Error> {
        self.check()?;
        let (rows, width) = (labels.len(), shape.elements());
        check_length("inputs", rows * width, inputs.len())?;
        check_length("mixed", rows * width, mixed.len())?;
        check_length("targets", rows * classes, targets.len())?;
        for (row, &label) in labels.iter().enumerate() {
            if label as usize >= classes {
                return Err(kernels::Error::Label { row, classes, got: label as usize }.into());
            }
        }
        if rows == 0 {
            return Ok(());
        }
        let (Self::Mixup { alpha } | Self::CutMix { alpha }) = *self;
        let drawn = beta(cpu, stream, alpha);
        // A row is mixed with itself only in a batch of one.
        let shift = 1 + stream.below(0, rows.saturating_sub(1).max(1) as u32) as usize;
        let [height, across, channels] = match shape {
            Shape::Image { height, width, channels } => [height, width, channels],
            _ => [1, width, 1],
        };
        let cut = match self {
            Self::CutMix { .. } => Some(cut(cpu, stream, 1.0 - drawn, [height, across])),
            Self::Mixup { .. } => None,
        };
        let share = cut.as_ref().map_or(drawn, |(rows, cols)| {
            1.0 - (rows.len() * cols.len()) as f64 / (height * across) as f64
        });
        let (own, others) = (T::from_f64(share), T::from_f64(1.0 - share));
        for (i, (mixed, targets)) in
            mixed.chunks_exact_mut(width).zip(targets.chunks_exact_mut(classes)).enumerate()
        {
            let j = (i + shift) % rows;
            let (x, z) = (&inputs[i * width..][..width], &inputs[j * width..][..width]);
            mixed.copy_from_slice(x);
            match &cut {
                None => {
                    for (mixed, &z) in mixed.iter_mut().zip(z) {
                        let mut other = z;
                        other *= others;
                        *mixed *= own;
                        *mixed += other;
                    }
                }
                Some((rows, cols)) => {
                    for row in rows.clone() {
                        let piece = (row * across + cols.start) * channels
                            ..(row * across + cols.end) * channels;
                        mixed[piece.clone()].copy_from_slice(&z[piece]);
                    }
                }
            }
            targets.fill(T::ZERO);
            targets[labels[i] as usize] += own;
            targets[labels[j] as usize] += others;
        }
        Ok(())
    }
}

/// Rows and columns of a box of about `share` of the area, around a uniformly drawn centre, cut off
/// at the edges.
fn cut(
    cpu: Cpu<'_>,
    stream: Stream,
    share: f64,
    dims: [usize; 2],
) -> (core::ops::Range<usize>, core::ops::Range<usize>) {
    let side = math::sqrt(cpu, share);
    let along = |index: u64, len: usize| {
        let half = (side * len as f64) as usize / 2;
        let middle = stream.below(index, len as u32) as usize;
        middle.saturating_sub(half)..(middle + half).min(len)
    };
    (along(1, dims[0]), along(2, dims[1]))
}

/// A draw from Beta(`alpha`, `alpha`) by Jöhnk's method (1964).
///
/// With u and v uniform it is `u^(1/alpha)` over the sum of both such powers, once that sum is at
/// most 1. The largest `alpha` takes 70 attempts on average. For the smallest, where both powers
/// underflow f64, their ratio is computed from the logarithms.
fn beta(cpu: Cpu<'_>, stream: Stream, alpha: f64) -> f64 {
    let power = |x: f64| math::at(cpu, |cpu, x, y| math::pow_scalar(cpu, x, 1.0 / alpha, y), x);
    for attempt in 0..4096 {
        // Indices after those of the box and the shift.
        let uniform = |which: u64| stream.uniform_f64(16 + 2 * attempt + which);
        let (u, v) = (uniform(0), uniform(1));
        let (x, y) = (power(u), power(v));
        if x + y <= 1.0 && x + y > 0.0 {
            return x / (x + y);
        }
        let ln = |x: f64| math::at(cpu, math::ln, x);
        let difference = (ln(v) - ln(u)) / alpha;
        if x + y == 0.0 && !difference.is_nan() {
            return math::at(cpu, math::sigmoid, -difference);
        }
    }
    0.5
}
