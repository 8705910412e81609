//! Direct convolution: each image is copied into a buffer with its zero padding, where the pixels
//! under a kernel row are contiguous. A window is then a few contiguous runs, and the next window
//! is the same runs one stride further on.
//!
//! The padded image holds packed elements: single elements, or pairs rounded to bf16. A pair is two
//! channels of a pixel for `y`, and the same element of two neighbouring windows for `dw`.
//!
//! ```text
//! y    each task its images:  pad the image                                    -- `forward`
//!        for each two registers of filters, each row of windows, each ROWS windows in it:
//!          for each run, each element p of it:  acc[window][..] += padded[window][p] * w[p][..]
//! dx   of pairs, with stride 1: y of dy, with flipped filters
//! dw   each task its rows of dw:                                               -- `gradient`
//!        for each KB packed windows, for each image among them:  pad the image
//!          for each ROWS elements p of a run, each two registers of filters:
//!            for each window:                   acc[p][..] += padded[window][p] * dy[window][..]
//! ```
//!
//! The sums are those of the product with the im2col matrix, term by term. Called by `convolution`.

mod forward;
mod gradient;
mod padded;

use super::packing::Packing;
use super::{BLOCK, Convolution};
use crate::simd::MOST_LANES;
use crate::window::{Axis, Geometry};
pub(super) use forward::{dx, dx_len, forward, forward_len};
pub(super) use gradient::{dw, dw_len};

/// Rows of accumulators in registers, two registers each where there are 32: sixteen accumulators,
/// two for the operand that is in lanes.
const ROWS: usize = 8;

/// `true` if direct convolution is compiled for elements of type `T`.
///
/// f64 uses the product algorithm, with the same bits: its tiles are not worth their compile time.
pub(super) const fn compiled<T>() -> bool {
    size_of::<T>() == size_of::<f32>()
}

/// `true` if direct convolution is the fastest algorithm.
pub(super) const fn is_fastest<T>(c: &Convolution) -> bool {
    let pixels = c.geometry.down.len * c.geometry.across.len;
    compiled::<T>() && c.groups == 1 && pixels * c.depth() > 0 && padded_len(c) <= BLOCK
}

/// The convolution over packed channels. An odd number of channels is padded with +0.
const fn of_channels<K: Packing>(c: &Convolution) -> Convolution {
    let channels = c.geometry.channels.div_ceil(K::K_PER_ELEMENT);
    Convolution { geometry: Geometry { channels, ..c.geometry }, ..*c }
}

/// The convolution over packed windows. An odd number of windows in a row is padded with +0.
const fn of_windows<K: Packing>(c: &Convolution) -> Convolution {
    let across = c.geometry.across;
    let (out, stride) =
        (across.out.div_ceil(K::K_PER_ELEMENT), across.stride.saturating_mul(K::K_PER_ELEMENT));
    Convolution {
        geometry: Geometry { across: Axis { out, stride, ..across }, ..c.geometry },
        ..*c
    }
}

/// Packed elements of an image with its padding.
const fn padded_len(c: &Convolution) -> usize {
    let (down, across) = (c.geometry.down, c.geometry.across);
    (down.len + 2 * down.padding) * (across.len + 2 * across.padding) * c.geometry.channels
}

/// Out channels rounded up to whole registers of the widest instruction set.
const fn width(c: &Convolution) -> usize {
    c.out_channels.next_multiple_of(MOST_LANES)
}
