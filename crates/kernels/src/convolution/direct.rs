//! Convolution in place: each image is copied into a frame of zeros, where the pixels that a row of a window covers are
//! neighbours. A window is then a few runs of the frame, and the windows beside it are the same runs a little further on.
//!
//! The frame holds words: elements, or pairs of them that are rounded to bf16. A pair is made of two channels of a pixel for `y`; of
//! the same element of two windows beside each other for `dw`.
//!
//! ```text
//! y    each task its images:  fill the frame                                                       -- `forward`
//!        for each two registers of filters, each row of windows, each ROWS windows beside each other:
//!          for each run, each word of it:      sums[window][..] += frame[window][word] * w[word][..]
//! dx   of pairs, where windows move by one pixel: y of dy, with the filters turned
//! dw   each task its rows of dw:                                                                   -- `gradient`
//!        for each KB words of windows, for each image among them:  fill the frame
//!          for each ROWS words of a run, each two registers of filters:
//!            for each window:                  sums[word][..] += frame[window][word] * dy[window][..]
//! ```
//!
//! The sums are those of the products with the windows' matrix, term by term. Called by `convolution`.

mod forward;
mod frame;
mod gradient;

use super::words::Words;
use super::{BLOCK, Convolution};
use crate::simd::{MOST_LANES, Simd, WithSimd};
use crate::window::{Axis, Sweep};
pub(super) use forward::{dx, dx_len, forward, forward_len};
pub(super) use gradient::{dw, dw_len};

/// Rows of sums that are kept in registers, two each where there are 32: sixteen for sums, two for the factor that is in lanes.
const ROWS: usize = 8;

/// `true` if direct convolution is compiled for elements of type `T`.
///
/// f64 uses the product algorithm, with the same bits: its tiles are not worth their compile time.
pub(super) const fn compiled<T>() -> bool {
    size_of::<T>() == size_of::<f32>()
}

/// Whether this is the fastest way.
pub(super) const fn wins<T>(c: &Convolution) -> bool {
    let pixels = c.sweep.down.len * c.sweep.across.len;
    compiled::<T>() && c.groups == 1 && pixels * c.depth() > 0 && frame_len(c) <= BLOCK
}

/// The convolution with words of channels in the place of channels; those of an odd number end with +0.
const fn of_channels<K: Words>(c: &Convolution) -> Convolution {
    let channels = c.sweep.channels.div_ceil(K::ELEMENTS);
    Convolution { sweep: Sweep { channels, ..c.sweep }, ..*c }
}

/// The convolution with words of windows in the place of windows; those of a row of an odd number end with +0.
const fn of_windows<K: Words>(c: &Convolution) -> Convolution {
    let across = c.sweep.across;
    let (out, stride) = (across.out.div_ceil(K::ELEMENTS), across.stride.saturating_mul(K::ELEMENTS));
    Convolution { sweep: Sweep { across: Axis { out, stride, ..across }, ..c.sweep }, ..*c }
}

/// Words of the frame: an image with its padding.
const fn frame_len(c: &Convolution) -> usize {
    let (down, across) = (c.sweep.down, c.sweep.across);
    (down.len + 2 * down.padding) * (across.len + 2 * across.padding) * c.sweep.channels
}

/// Out channels as whole registers, or more.
const fn width(c: &Convolution) -> usize {
    c.out_channels.next_multiple_of(MOST_LANES)
}

/// Runs a tile in a function of its own, so that all registers are its own.
#[inline(never)]
fn apart<S: Simd, Op: WithSimd>(s: S, op: Op) -> Op::Output {
    s.vectorize(op)
}
