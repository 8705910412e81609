//! PReLU: a leaky ReLU with learned slopes, one per channel or one for all.
//!
//! ```text
//! for each block of ROWS rows                              in parallel
//!     sums = +0, one per channel
//!     for each row of the block, ascending:                registers of channels
//!         sums = fma(dy, x, sums) where not x > 0
//!         dy = slopes dy          where x <= 0
//! dslopes = +0 + the sums of the blocks, in ascending order
//! ```
//!
//! With one slope for all, a row is [`LANES`] elements (the last row may be shorter): element `i`
//! is summed in lane `i % LANES`, and the upper half of the lanes is added to the lower half until
//! one is left. Called by the layers of a network.

use crate::elementwise::{CHUNK, Elementwise, along};
use crate::error::check_length;
use crate::simd::{Float, Simd, WithSimd};
use crate::{Cpu, Error};

/// Rows per block, whose sums are one ascending chain. Part of the bit contract. 64 rows of 256
/// channels are a chunk of the element-wise operations, and the sums of the blocks take a 64th of
/// the memory of `x`.
const ROWS: usize = 64;

/// Virtual channels of a shared slope. Part of the bit contract. Eight registers of AVX-512: enough
/// additions in flight.
const LANES: usize = 128;

/// `y[r, c] = x[r, c]` where that is above 0, otherwise `slopes[c] x[r, c]` (He et al., ICCV 2015).
/// PyTorch: `PReLU`.
///
/// `x` and `y` are `[rows, slopes.len()]`, row-major. If `slopes` has one element, `x` and `y` have
/// any length. NaN gives NaN; a zero times its slope is a zero, and -Inf times a slope of 0 is NaN.
/// Slopes may be negative.
///
/// ```
/// use kernels::{Cpu, activation::prelu};
/// let mut y = [0.0_f32; 4];
/// prelu(Cpu::detect(), &[1.0, 2.0, -1.0, -2.0], &[0.5, 0.25], &mut y)?;
/// assert_eq!(y, [1.0, 2.0, -0.5, -0.5]);
/// # Ok::<(), kernels::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] if `x` is not a whole number of rows of `slopes`, or if `y` differs in length.
/// Nothing is written then.
#[inline(never)]
pub fn prelu<T: Float>(cpu: Cpu<'_>, x: &[T], slopes: &[T], y: &mut [T]) -> Result<(), Error> {
    check_rows(x, slopes)?;
    check_length("y", x.len(), y.len())?;
    let mut shared = [T::ZERO; LANES];
    let slopes = row_slopes(slopes, &mut shared);
    let task = (CHUNK / slopes.len().max(1)).max(1).saturating_mul(slopes.len().max(1));
    cpu.for_each_item(x.chunks(task).zip(y.chunks_mut(task)), |(x, y)| {
        cpu.isa.run(Forward { x, slopes, y });
    });
    Ok(())
}

/// The gradients of [`prelu`]: `dy` becomes the gradient with respect to `x`, `dslopes` the one
/// with respect to `slopes`.
///
/// ```text
/// dy[r, c]   = dy[r, c] where x[r, c] > 0, slopes[c] dy[r, c] elsewhere
/// dslopes[c] = sum over r, where not x[r, c] > 0, of dy[r, c] x[r, c]
/// ```
///
/// `x` is the input of [`prelu`], `dslopes` is as long as `slopes`, and `scratch` at least
/// [`prelu_scratch`] long. At 0, where the derivative does not exist, it is the slope. A NaN in `x`
/// leaves its `dy` unchanged and makes its slope's gradient NaN. The order of the sums is fixed by
/// the shape alone (see the head of this module).
///
/// # Errors
/// [`Error::Length`] if `x` is not a whole number of rows of `slopes`, or if `dy` or `dslopes`
/// differs in length from `x` or `slopes`; [`Error::Scratch`] if `scratch` is too small. Nothing is
/// written then.
#[inline(never)]
pub fn prelu_backward<T: Float>(
    cpu: Cpu<'_>,
    x: &[T],
    slopes: &[T],
    dy: &mut [T],
    dslopes: &mut [T],
    scratch: &mut [T],
) -> Result<(), Error> {
    check_rows(x, slopes)?;
    check_length("dy", x.len(), dy.len())?;
    check_length("dslopes", slopes.len(), dslopes.len())?;
    let expected = prelu_scratch(x.len(), slopes.len());
    let got = scratch.len();
    let sums = scratch.get_mut(..expected).ok_or(Error::Scratch { expected, got })?;
    let mut shared = [T::ZERO; LANES];
    let slopes = row_slopes(slopes, &mut shared);
    let row = slopes.len().max(1);
    let block = row.saturating_mul(ROWS);
    let blocks = (x.chunks(block).zip(dy.chunks_mut(block))).zip(sums.chunks_mut(row));
    cpu.for_each_item(blocks, |((x, dy), sums)| cpu.isa.run(Backward { x, slopes, dy, sums }));
    cpu.isa.run(AddBlocks { sums, dslopes });
    Ok(())
}

/// Scratch elements that [`prelu_backward`] needs for `len` elements of `x` and `slopes` slopes.
pub const fn prelu_scratch(len: usize, slopes: usize) -> usize {
    match row_length(slopes) {
        0 => 0,
        row => len.div_ceil(row).div_ceil(ROWS).saturating_mul(row),
    }
}

/// Elements that count as a row.
const fn row_length(slopes: usize) -> usize {
    if slopes == 1 { LANES } else { slopes }
}

/// The slopes of a row's elements.
fn row_slopes<'a, T: Float>(slopes: &'a [T], shared: &'a mut [T; LANES]) -> &'a [T] {
    let &[slope] = slopes else { return slopes };
    *shared = [slope; LANES];
    shared
}

/// Checks that `x` is a whole number of rows.
fn check_rows<T>(x: &[T], slopes: &[T]) -> Result<(), Error> {
    check_length("x", x.len() / slopes.len().max(1) * slopes.len(), x.len())
}

/// [`prelu`] of some rows.
struct Forward<'a, T> {
    x: &'a [T],
    slopes: &'a [T],
    y: &'a mut [T],
}

impl<T: Float> WithSimd for Forward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let row = self.slopes.len();
        for (x, y) in self.x.chunks(row).zip(self.y.chunks_mut(row)) {
            along(s, &Value, [x, self.slopes], [y]);
        }
    }
}

/// [`prelu_backward`] of a block of rows.
struct Backward<'a, T> {
    x: &'a [T],
    slopes: &'a [T],
    dy: &'a mut [T],
    sums: &'a mut [T],
}

impl<T: Float> WithSimd for Backward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let row = self.slopes.len();
        self.sums.fill(T::ZERO);
        for (x, dy) in self.x.chunks(row).zip(self.dy.chunks_mut(row)) {
            along(s, &Gradient, [x, self.slopes], [dy, &mut *self.sums]);
        }
    }
}

/// Adds the sums of the blocks to the gradient of the slopes.
struct AddBlocks<'a, T> {
    sums: &'a mut [T],
    dslopes: &'a mut [T],
}

impl<T: Float> WithSimd for AddBlocks<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { sums, dslopes } = self;
        let mut shared = [T::ZERO; LANES];
        if let [dslope] = dslopes {
            sums.chunks(LANES).for_each(|sums| along(s, &Add, [sums], [&mut shared]));
            *dslope = fold(shared);
        } else {
            dslopes.fill(T::ZERO);
            sums.chunks(dslopes.len().max(1))
                .for_each(|sums| along(s, &Add, [sums], [&mut *dslopes]));
        }
    }
}

/// Adds the upper half of the lanes to the lower half until one is left.
#[inline(always)]
fn fold<T: Float>(mut lanes: [T; LANES]) -> T {
    let mut half = LANES / 2;
    while half > 0 {
        let (lower, upper) = lanes.split_at_mut(half);
        for (lower, &upper) in lower.iter_mut().zip(&*upper) {
            *lower += upper;
        }
        half /= 2;
    }
    lanes[0]
}

/// `slope x` where `x` is at most 0, otherwise `x`; NaN is NaN.
struct Value;

impl<T: Float> Elementwise<T, 2, 1> for Value {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [x, slope]: [T::V<S>; 2], _: [T::V<S>; 1]) -> [T::V<S>; 1] {
        let below = T::less_or_equal(s, x, T::splat(s, T::ZERO));
        [T::select(s, below, T::mul(s, slope, x), x)]
    }
}

/// `dy` becomes `dx`; the terms of the slope's gradient are added to `sum`.
struct Gradient;

impl<T: Float> Elementwise<T, 2, 2> for Gradient {
    #[inline(always)]
    fn apply<S: Simd>(
        &self,
        s: S,
        [x, slope]: [T::V<S>; 2],
        [dy, sum]: [T::V<S>; 2],
    ) -> [T::V<S>; 2] {
        let zero = T::splat(s, T::ZERO);
        let dx = T::select(s, T::less_or_equal(s, x, zero), T::mul(s, slope, dy), dy);
        let sum = T::select(s, T::less(s, zero, x), sum, T::mul_add(s, dy, x, sum));
        [dx, sum]
    }
}

/// `sum + x`, in place of `sum`.
struct Add;

impl<T: Float> Elementwise<T, 1, 1> for Add {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [x]: [T::V<S>; 1], [sum]: [T::V<S>; 1]) -> [T::V<S>; 1] {
        [T::add(s, sum, x)]
    }
}
