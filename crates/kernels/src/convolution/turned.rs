//! `dx` as a convolution: of `dy`, with the taps of the filters in reverse, their channels and filters exchanged, and as much padding
//! as the first lacks.
//!
//! Called by the ways that exchange channels and filters.

use super::Convolution;
use crate::window::{Axis, Sweep};

/// The convolution that `dx` is of `dy`, if windows move by one pixel and padding is no wider than the kernel's reach.
pub(super) const fn turned(c: &Convolution) -> Option<Convolution> {
    let Sweep { batch, channels, down, across } = c.sweep;
    let (Some(down), Some(across)) = (axis(down), axis(across)) else { return None };
    let sweep = Sweep { batch, channels: c.out_channels, down, across };
    Some(Convolution { sweep, out_channels: channels, ..*c })
}

const fn axis(axis: Axis) -> Option<Axis> {
    let Axis { len, kernel, stride, padding, dilation, out } = axis;
    let reach = (kernel - 1) * dilation;
    if stride > 1 || padding > reach {
        return None;
    }
    Some(Axis { len: out, kernel, stride, padding: reach - padding, dilation, out: len })
}

/// The filters of the turned convolution.
pub(super) fn filters<T: Copy>(turned: &Convolution, w: &[T], filters: &mut [T]) {
    let (channels, out_channels) = (turned.out_channels, turned.sweep.channels);
    let of_tap = channels * out_channels;
    for (to, from) in filters.chunks_exact_mut(of_tap).rev().zip(w.chunks_exact(of_tap)) {
        exchange(channels, out_channels, from, to);
    }
}

/// The weights of a tap with channels and filters exchanged.
pub(super) fn exchange<T: Copy>(channels: usize, filters: usize, from: &[T], to: &mut [T]) {
    for (o, to) in to.chunks_exact_mut(channels).enumerate() {
        for (to, from) in to.iter_mut().zip(from.chunks_exact(filters)) {
            *to = from[o];
        }
    }
}
