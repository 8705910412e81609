//! `dx` as a convolution of `dy`: with flipped filters, channels and filters exchanged, and the
//! complementary padding (kernel reach minus padding).
//!
//! Called by `direct` and `winograd`.

use super::Convolution;
use crate::window::{Axis, Geometry};

/// The convolution of `dy` that gives `dx`, if the stride is 1 and the padding does not exceed the
/// kernel's reach.
pub(super) const fn flipped(c: &Convolution) -> Option<Convolution> {
    let Geometry { batch, channels, down, across } = c.geometry;
    let (Some(down), Some(across)) = (axis(down), axis(across)) else { return None };
    let geometry = Geometry { batch, channels: c.out_channels, down, across };
    Some(Convolution { geometry, out_channels: channels, ..*c })
}

const fn axis(axis: Axis) -> Option<Axis> {
    let Axis { len, kernel, stride, padding, dilation, out } = axis;
    let reach = (kernel - 1) * dilation;
    if stride > 1 || padding > reach {
        return None;
    }
    Some(Axis { len: out, kernel, stride, padding: reach - padding, dilation, out: len })
}

/// Writes the filters of the flipped convolution.
pub(super) fn filters<T: Copy>(flipped: &Convolution, w: &[T], filters: &mut [T]) {
    let (channels, out_channels) = (flipped.out_channels, flipped.geometry.channels);
    let of_tap = channels * out_channels;
    for (to, from) in filters.chunks_exact_mut(of_tap).rev().zip(w.chunks_exact(of_tap)) {
        transpose(channels, out_channels, from, to);
    }
}

/// Transposes the weights of a tap: `[channels, filters]` to `[filters, channels]`.
pub(super) fn transpose<T: Copy>(channels: usize, filters: usize, from: &[T], to: &mut [T]) {
    for (o, to) in to.chunks_exact_mut(channels).enumerate() {
        for (to, from) in to.iter_mut().zip(from.chunks_exact(filters)) {
            *to = from[o];
        }
    }
}
