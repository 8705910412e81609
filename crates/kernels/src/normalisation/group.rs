//! Group normalisation: neighbouring channels of one image, over all its positions (Wu and He, ECCV
//! 2018; PyTorch's `GroupNorm`). With one channel per group it is instance normalisation.
//!
//! ```text
//! each channel of each image: mean and sum of squares         as batch norm of that image
//! each group: its channels' means and squares, merged in ascending order, in f64
//! ```
//!
//! Sums run down the positions as in `columns`.

use super::columns::{
    Backward, Normalise, Shape, WIDTH, for_each_row, gradient_sums, merge, moments, totals,
};
use super::{Affine, AffineGradient, InverseRoot, check_epsilon, check_scratch, split_mean};
use crate::elementwise::along;
use crate::error::{check_length, check_parameter};
use crate::simd::{Float, Simd, WithSimd};
use crate::{Cpu, Error};

/// Shape `[batch, positions, channels]` of `x`, where positions are height times width, and
/// `groups` equal groups of channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Groups {
    /// Number of images.
    pub batch: usize,
    /// Pixels per image.
    pub positions: usize,
    /// Channels per pixel.
    pub channels: usize,
    /// Groups of channels; a divisor of `channels`.
    pub groups: usize,
}

impl Groups {
    fn shape(self) -> Shape {
        Shape { samples: self.batch, positions: self.positions, channels: self.channels }
    }

    /// Scratch elements of [`group_norm`] and [`group_norm_backward`]: four per image and channel,
    /// and three more for each 128 positions.
    pub const fn scratch(self) -> usize {
        Shape { samples: self.batch, positions: self.positions, channels: self.channels }.scratch()
    }

    /// Checks the operands that both passes share.
    fn check<T>(
        self,
        x: &[T],
        mean: &[f64],
        rstd: &[f64],
        (operand, written): (&'static str, usize),
        scratch: &[T],
    ) -> Result<(), Error> {
        let Self { batch, positions, channels, groups } = self;
        check_parameter(
            "groups",
            groups as f64,
            "at least 1 and a divisor of the channels",
            |_| groups > 0 && channels.is_multiple_of(groups),
        )?;
        let len = batch.saturating_mul(positions).saturating_mul(channels);
        check_length("x", len, x.len())?;
        check_length(operand, len, written)?;
        let statistics = batch.saturating_mul(groups);
        check_length("mean", statistics, mean.len())?;
        check_length("rstd", statistics, rstd.len())?;
        check_scratch(self.scratch(), scratch.len())
    }
}

/// `y = (x - mean) / sqrt(var + epsilon) * gamma + beta`, with mean and (biased) variance of each
/// group of each image.
///
/// `x` and `y` are `[batch, positions, channels]`, gamma and beta `[channels]`. `mean` and `rstd`,
/// `[batch, groups]`, are saved for [`group_norm_backward`]: the mean, and
/// `1 / sqrt(var + epsilon)`.
///
/// A constant group becomes beta, exactly (NaN if epsilon is 0). A group with a NaN or an infinity
/// becomes NaN. Where `x` is empty, nothing is written.
///
/// ```
/// use kernels::normalisation::{Affine, group::{Groups, group_norm}};
/// let groups = Groups { batch: 1, positions: 1, channels: 4, groups: 2 };
/// let (x, mut y) = ([1.0_f32, 3.0, 10.0, 30.0], [0.0; 4]);
/// let (mut mean, mut rstd, mut scratch) = ([0.0; 2], [0.0; 2], [0.0; 28]);
/// assert_eq!(groups.scratch(), 28);
/// let cpu = kernels::Cpu::detect();
/// group_norm(cpu, groups, &x, Affine::NONE, 1e-12, &mut mean, &mut rstd, &mut y, &mut scratch)?;
/// assert_eq!((mean, y), ([2.0, 20.0], [-1.0, 1.0, -1.0, 1.0]));
/// # Ok::<(), kernels::Error>(())
/// ```
///
/// # Errors
/// [`Error::Parameter`] if the number of groups does not divide the channels, or for a negative
/// `epsilon`; [`Error::Length`] if lengths do not match; [`Error::Scratch`] if there is less than
/// [`Groups::scratch`]. Nothing is written then.
#[expect(clippy::too_many_arguments, reason = "inputs, saved statistics, outputs")]
#[inline(never)]
pub fn group_norm<T: Float>(
    cpu: Cpu<'_>,
    groups: Groups,
    x: &[T],
    affine: Affine<'_, T>,
    epsilon: f64,
    mean: &mut [f64],
    rstd: &mut [f64],
    y: &mut [T],
    scratch: &mut [T],
) -> Result<(), Error> {
    groups.check(x, mean, rstd, ("y", y.len()), scratch)?;
    affine.check(groups.channels)?;
    check_epsilon(epsilon)?;
    if x.is_empty() {
        return Ok(());
    }
    let shape = groups.shape();
    let (constants, partials) = scratch.split_at_mut(shape.samples * shape.constants());
    let partials = &mut partials[..shape.samples * shape.partials()];
    moments(cpu, shape, x, partials);
    let samples = (partials.chunks(shape.partials()).zip(constants.chunks_mut(shape.constants())))
        .zip(mean.chunks_mut(groups.groups).zip(rstd.chunks_mut(groups.groups)));
    cpu.for_each_item(samples, |((partials, constants), (mean, rstd))| {
        cpu.isa.run(Statistics { shape, partials, affine, epsilon, mean, rstd, constants });
    });
    let constants: &[T] = constants;
    for_each_row(cpu, shape, &Normalise, |sample| parts(constants, shape, sample), [x], y);
    Ok(())
}

/// Computes mean, `rstd`, and the constants of [`Normalise`], of one image.
struct Statistics<'a, T> {
    shape: Shape,
    partials: &'a [T],
    affine: Affine<'a, T>,
    epsilon: f64,
    mean: &'a mut [f64],
    rstd: &'a mut [f64],
    constants: &'a mut [T],
}

impl<T: Float> WithSimd for Statistics<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { shape, partials, affine, epsilon, mean, rstd, constants } = self;
        let Shape { positions, channels, .. } = shape;
        let size = channels / mean.len();
        // The first channel's shift is the base of its group, to which means are relative while
        // they are merged.
        let mut base = 0.0;
        for first in (0..channels).step_by(WIDTH) {
            let merged = merge(shape, partials, first);
            for (i, j) in (first..channels).take(WIDTH).enumerate() {
                let (group, before) = (j / size, (j % size) as f64);
                if before == 0.0 {
                    base = merged.base[i];
                    (mean[group], rstd[group]) = (merged.mean[i], merged.squares[i]);
                } else {
                    let difference = (merged.base[i] - base) + merged.mean[i] - mean[group];
                    mean[group] += difference / (before + 1.0);
                    let weight = positions as f64 * before / (before + 1.0);
                    rstd[group] += merged.squares[i] + difference * difference * weight;
                }
                if j % size == size - 1 {
                    mean[group] += base;
                    rstd[group] /= (positions * size) as f64;
                }
            }
        }
        along(s, &InverseRoot { epsilon }, [], [&mut *rstd]);
        let constants = &mut constants[..3 * channels];
        Normalise::constants(affine, |j| (mean[j / size], rstd[j / size]), constants);
    }
}

/// The gradients of [`group_norm`]: `dy` becomes `dx`.
///
/// ```text
/// xhat = (x - mean) * rstd
/// dgamma = sum of dy * xhat,  dbeta = sum of dy,  over all images and positions
/// dx = rstd * (g - mean of g - xhat * mean of (g * xhat)),  over the group;  g = dy * gamma
/// ```
///
/// `x`, `gamma` (1 if there is none), `mean` and `rstd` are those of the forward pass. A NaN or an
/// infinity in `x` or `dy` leaves no finite `dx` in its group, and no finite gradient of gamma in
/// its channel. Where `x` is empty, the gradients of gamma and beta are 0.
///
/// # Errors
/// As [`group_norm`], except `epsilon`.
#[expect(clippy::too_many_arguments, reason = "inputs, saved statistics, outputs")]
#[inline(never)]
pub fn group_norm_backward<T: Float>(
    cpu: Cpu<'_>,
    groups: Groups,
    x: &[T],
    gamma: Option<&[T]>,
    mean: &[f64],
    rstd: &[f64],
    dy: &mut [T],
    mut gradient: AffineGradient<'_, T>,
    scratch: &mut [T],
) -> Result<(), Error> {
    groups.check(x, mean, rstd, ("dy", dy.len()), scratch)?;
    Affine { gamma, beta: None }.check(groups.channels)?;
    gradient.check(groups.channels)?;
    let shape = groups.shape();
    let Shape { samples, channels, .. } = shape;
    let (constants, partials) = scratch.split_at_mut(samples * shape.constants());
    let partials_len = 2 * shape.blocks() * channels;
    let partials = &mut partials[..samples * partials_len];
    if x.is_empty() {
        (0..channels).for_each(|j| gradient.put(j, 0.0, 0.0));
        return Ok(());
    }
    let size = channels / groups.groups;
    for (constants, mean) in constants.chunks_mut(shape.constants()).zip(mean.chunks(groups.groups))
    {
        for (j, centre) in constants[..channels].iter_mut().enumerate() {
            *centre = T::from_f64(mean[j / size]);
        }
    }
    let read: &[T] = constants;
    let centre = |sample| {
        let [centre] = parts(read, shape, sample);
        centre
    };
    gradient_sums(cpu, shape, dy, x, centre, partials);
    let tasks = (partials.chunks(partials_len).zip(constants.chunks_mut(shape.constants())))
        .zip(mean.chunks(groups.groups).zip(rstd.chunks(groups.groups)));
    cpu.for_each_item(tasks, |((partials, constants), (mean, rstd))| {
        cpu.isa.run(Slopes { shape, partials, gamma, mean, rstd, constants });
    });
    cpu.isa.run(Gradients { shape, partials, mean, rstd, gradient });
    let constants: &[T] = constants;
    for_each_row(cpu, shape, &Backward, |sample| parts(constants, shape, sample), [x], dy);
    Ok(())
}

/// Computes the constants of [`Backward`], of one image.
struct Slopes<'a, T> {
    shape: Shape,
    partials: &'a [T],
    gamma: Option<&'a [T]>,
    mean: &'a [f64],
    rstd: &'a [f64],
    constants: &'a mut [T],
}

impl<T: Float> WithSimd for Slopes<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self {
            shape: Shape { positions, channels, .. },
            partials,
            gamma,
            mean,
            rstd,
            constants,
        } = self;
        let affine = Affine { gamma, beta: None };
        let size = channels / mean.len();
        let count = (positions * size) as f64;
        let (mut sum, mut product) = (0.0, 0.0);
        for first in (0..channels).step_by(WIDTH) {
            let [sums, products] = totals(channels, partials, first);
            for (i, j) in (first..channels).take(WIDTH).enumerate() {
                let (gamma, _) = affine.at(j);
                sum += gamma * sums[i];
                product += gamma * products[i];
                if j % size < size - 1 {
                    continue;
                }
                let (_, rest) = split_mean::<T>(mean[j / size]);
                let rstd = rstd[j / size];
                let slope = -rstd * rstd * (rstd * (product - rest * sum)) / count;
                let shift = -rstd * sum / count - slope * rest;
                for j in j + 1 - size..=j {
                    let (gamma, _) = affine.at(j);
                    constants[channels + j] = T::from_f64(gamma * rstd);
                    constants[2 * channels + j] = T::from_f64(slope);
                    constants[3 * channels + j] = T::from_f64(shift);
                }
                (sum, product) = (0.0, 0.0);
            }
        }
    }
}

/// Computes the gradients of gamma and beta: the sum over the images, in ascending order.
struct Gradients<'a, T> {
    shape: Shape,
    partials: &'a [T],
    mean: &'a [f64],
    rstd: &'a [f64],
    gradient: AffineGradient<'a, T>,
}

impl<T: Float> WithSimd for Gradients<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { shape: Shape { samples, channels, .. }, partials, mean, rstd, mut gradient } =
            self;
        let groups = mean.len() / samples;
        let size = channels / groups;
        for first in (0..channels).step_by(WIDTH) {
            let (mut dgamma, mut dbeta) = ([0.0; WIDTH], [0.0; WIDTH]);
            for (sample, partials) in partials.chunks(partials.len() / samples).enumerate() {
                let [sums, products] = totals(channels, partials, first);
                for (i, j) in (first..channels).take(WIDTH).enumerate() {
                    let at = sample * groups + j / size;
                    let (_, rest) = split_mean::<T>(mean[at]);
                    dgamma[i] += rstd[at] * (products[i] - rest * sums[i]);
                    dbeta[i] += sums[i];
                }
            }
            for (i, j) in (first..channels).take(WIDTH).enumerate() {
                gradient.put(j, dgamma[i], dbeta[i]);
            }
        }
    }
}

/// The first `N` constants of an image, `channels` elements each.
fn parts<T, const N: usize>(constants: &[T], shape: Shape, sample: usize) -> [&[T]; N] {
    let constants = &constants[sample * shape.constants()..];
    core::array::from_fn(|i| &constants[i * shape.channels..][..shape.channels])
}
