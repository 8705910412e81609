//! The transform matrices, and products of their entries and registers whose lanes are channels.
//!
//! ```text
//! p = 5/8            q = 3/2                  a = p p                  b = q q
//! n0 = 1 / (a b)     np = 1 / (2 a (a - b))   nq = 1 / (2 b (b - a))
//!
//!       | a b   0   -a-b  0    1  0 |         | n0     0     0    |         | 1   0    0    0   |
//!       | 0   -p b   -b   p    1  0 |         | np    np p  np a  |         | 1   p    a   p a  |
//! B^T = | 0    p b   -b  -p    1  0 |     G = | np   -np p  np a  |     A = | 1  -p    a  -p a  |
//!       | 0   -q a   -a   q    1  0 |         | nq    nq q  nq b  |         | 1   q    b   q b  |
//!       | 0    q a   -a  -q    1  0 |         | nq   -nq q  nq b  |         | 1  -q    b  -q b  |
//!       | 0    a b   0   -a-b  0  1 |         | 0      0     1    |         | 0   0    0    1   |
//! ```
//!
//! The product of two polynomials, of three and of four coefficients, is determined by its values
//! at 0, p, -p, q and -q, and by its leading coefficient. Points near 1 in magnitude keep rounding
//! errors small: these leave half the error of the usual 1 and 2.
//!
//! Input outside the image counts as +0; gradients outside it are dropped. Called by `filters`,
//! `input` and `output`.

use pulp::bytemuck::Pod;

use crate::simd::{Float, Simd, prefetch};

pub(super) const P: f64 = 5.0 / 8.0;
pub(super) const Q: f64 = 3.0 / 2.0;
pub(super) const A: f64 = P * P;
pub(super) const B: f64 = Q * Q;
pub(super) const N0: f64 = 1.0 / (A * B);
pub(super) const NP: f64 = 1.0 / (2.0 * A * (A - B));
pub(super) const NQ: f64 = 1.0 / (2.0 * B * (B - A));

/// `x` in all lanes, rounded to `T`.
#[inline(always)]
fn all<S: Simd, T: Float>(s: S, x: f64) -> T::V<S> {
    T::splat(s, T::from_f64(x))
}

/// `coefficient * x`.
#[inline(always)]
pub(super) fn times<S: Simd, T: Float>(s: S, coefficient: f64, x: T::V<S>) -> T::V<S> {
    T::mul(s, all::<S, T>(s, coefficient), x)
}

/// `coefficient * x + to`, rounded once.
#[inline(always)]
pub(super) fn plus<S: Simd, T: Float>(s: S, coefficient: f64, x: T::V<S>, to: T::V<S>) -> T::V<S> {
    T::mul_add(s, all::<S, T>(s, coefficient), x, to)
}

/// `coefficient * x`, of two.
#[inline(always)]
pub(super) fn twice<S: Simd, T: Float>(
    s: S,
    coefficient: f64,
    [first, second]: [T::V<S>; 2],
) -> [T::V<S>; 2] {
    [times::<S, T>(s, coefficient, first), times::<S, T>(s, coefficient, second)]
}

/// `even + point * odd` and `even - point * odd`.
#[inline(always)]
pub(super) fn pair<S: Simd, T: Float>(
    s: S,
    point: f64,
    even: T::V<S>,
    odd: T::V<S>,
) -> [T::V<S>; 2] {
    [plus::<S, T>(s, point, odd, even), plus::<S, T>(s, -point, odd, even)]
}

/// Applies `f` to each column of `x`, then to each row of the result.
#[inline(always)]
pub(super) fn both<V: Pod, const M: usize, const N: usize>(
    x: [[V; M]; M],
    f: impl Fn([V; M]) -> [V; N],
) -> [[V; N]; N] {
    let mut between = [[V::zeroed(); M]; N];
    for b in 0..M {
        let mut column = [V::zeroed(); M];
        for (to, row) in column.iter_mut().zip(&x) {
            *to = row[b];
        }
        for (row, element) in between.iter_mut().zip(f(column)) {
            row[b] = element;
        }
    }
    let mut y = [[V::zeroed(); N]; N];
    for (to, row) in y.iter_mut().zip(between) {
        *to = f(row);
    }
    y
}

/// Prefetches `len` elements from index `start` on. They may lie outside of `x`.
#[inline(always)]
pub(super) fn prefetch_range<V>(x: &[V], start: usize, len: usize) {
    let line = (64 / size_of::<V>()).max(1);
    (start..start + len)
        .step_by(line)
        .for_each(|at| prefetch::<_, true>(x.as_ptr().wrapping_add(at)));
}
