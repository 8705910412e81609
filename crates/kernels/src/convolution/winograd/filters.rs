//! Transforms of the filters and of their gradient.
//!
//! Called by `winograd`.

use super::super::Convolution;
use super::SIDE;
use super::planes::{Planes, PlanesMut};
use super::transform::{A, B, N0, NP, NQ, P, Q, both, pair, plus, times, twice};
use crate::channels::Channels;
use crate::simd::{Float, Simd, WithSimd};

/// `u = G w G^T`, for each channel and filter.
pub(super) struct FilterTransform<'a, T> {
    pub(super) channels: usize,
    pub(super) filters: usize,
    pub(super) w: &'a [T],
    pub(super) u: &'a mut [T],
}

impl<T: Float> WithSimd for FilterTransform<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { channels, filters, w, u } = self;
        let mut planes = PlanesMut::<S, T>::new(u, channels, filters);
        for i in 0..channels {
            for (register, filters) in Channels::of::<S, T>(filters).enumerate() {
                let mut taps = [[T::splat(s, T::ZERO); 3]; 3];
                for (kh, row) in taps.iter_mut().enumerate() {
                    for (kw, tap) in row.iter_mut().enumerate() {
                        *tap = filters.get(s, w, (3 * kh + kw) * channels + i);
                    }
                }
                planes.put(
                    i,
                    register,
                    both(
                        taps,
                        #[inline(always)]
                        |w| filter_transform::<S, T>(s, w),
                    ),
                );
            }
        }
    }
}

/// `G x`.
#[inline(always)]
fn filter_transform<S: Simd, T: Float>(
    s: S,
    [first, second, third]: [T::V<S>; 3],
) -> [T::V<S>; SIDE] {
    let near = pair::<S, T>(s, P, plus::<S, T>(s, A, third, first), second);
    let far = pair::<S, T>(s, Q, plus::<S, T>(s, B, third, first), second);
    let (near, far) = (twice::<S, T>(s, NP, near), twice::<S, T>(s, NQ, far));
    [times::<S, T>(s, N0, first), near[0], near[1], far[0], far[1], third]
}

/// `dw = G^T du G`.
pub(super) struct FilterGradient<'a, T> {
    pub(super) c: &'a Convolution,
    pub(super) du: &'a [T],
    pub(super) dw: &'a mut [T],
}

impl<T: Float> WithSimd for FilterGradient<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { c, du, dw } = self;
        let planes = Planes::<S, T>::new(du, c.geometry.channels, c.out_channels);
        for i in 0..c.geometry.channels {
            for (register, filters) in Channels::of::<S, T>(c.out_channels).enumerate() {
                let taps = both(
                    planes.get(s, i, register),
                    #[inline(always)]
                    |du| filter_gradient_transform::<S, T>(s, du),
                );
                for (kh, row) in taps.iter().enumerate() {
                    for (kw, tap) in row.iter().enumerate() {
                        filters.put(s, dw, (3 * kh + kw) * c.geometry.channels + i, *tap);
                    }
                }
            }
        }
    }
}

/// `G^T x`.
#[inline(always)]
fn filter_gradient_transform<S: Simd, T: Float>(s: S, u: [T::V<S>; SIDE]) -> [T::V<S>; 3] {
    let [near, rise] = twice::<S, T>(s, NP, [T::add(s, u[1], u[2]), T::sub(s, u[1], u[2])]);
    let [far, climb] = twice::<S, T>(s, NQ, [T::add(s, u[3], u[4]), T::sub(s, u[3], u[4])]);
    [
        plus::<S, T>(s, N0, u[0], T::add(s, near, far)),
        plus::<S, T>(s, Q, climb, times::<S, T>(s, P, rise)),
        plus::<S, T>(s, B, far, plus::<S, T>(s, A, near, u[5])),
    ]
}
