//! Spectral norm of a matrix, its largest singular value, by power iteration; and weights clipped
//! to it.
//!
//! ```text
//! repeat:  v = W^T u / |W^T u|                    each element one ascending chain down the rows
//!          u = W v;  sigma = |u|;  u = u / sigma  each element a dot product in the lanes and
//!                                                 chunks of `norm`
//! ```
//!
//! `u` persists between calls: while weights change little, one iteration per step follows them
//! (Miyato, Kataoka, Koyama, Yoshida, ICLR 2018; PyTorch `spectral_norm`). All arithmetic is in
//! f64. Called by the constraints of a network.

use crate::clip::{check_limit, rescale};
use crate::error::{check_length, check_parameter, check_shape};
use crate::norm::{CHUNK, COLUMNS, LANES, Sum, join_lanes, norm2};
use crate::simd::{Float, Simd, WithSimd};
use crate::{Cpu, Error};

/// Estimates the spectral norm of `w`, rows of `cols` elements, by `iterations` of power iteration.
/// The estimate never exceeds the norm, except by rounding.
///
/// `u` has one element per row and is the result of the previous call; initially any non-zero
/// vector, best a random one. It becomes a unit vector near the left singular vector of the largest
/// singular value. `v` has one element per column; it is scratch, and becomes the right singular
/// vector. If `w` is empty or all zeros, the norm is 0 and `u` is only normalised. For f64 near
/// `f64::MAX` the norm may be Inf; `u` is then unusable.
///
/// ```
/// use kernels::{Cpu, spectral::spectral_norm};
/// let (mut u, mut v) = ([1.0, 1.0], [0.0; 2]);
/// let sigma = spectral_norm(Cpu::detect(), &[3.0_f32, 0.0, 0.0, -1.0], 2, 20, &mut u, &mut v)?;
/// assert!((sigma - 3.0).abs() < 1e-15);
/// # Ok::<(), kernels::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] if `w`, `u` and `v` do not match; [`Error::Parameter`] if `iterations` is 0 or
/// `u` is zero or non-finite; [`Error::NonFinite`] with the index of the first NaN or infinity in
/// `w`. `u` is at most normalised then.
pub fn spectral_norm<T: Float>(
    cpu: Cpu<'_>,
    w: &[T],
    cols: usize,
    iterations: u32,
    u: &mut [f64],
    v: &mut [f64],
) -> Result<f64, Error> {
    check_length("u", check_shape("w", w.len(), cols)?, u.len())?;
    check_length("v", cols, v.len())?;
    check_parameter("iterations", iterations.into(), "at least 1", |n| n >= 1.0)?;
    if w.is_empty() {
        return Ok(0.0);
    }
    let norm = norm2(cpu, u).unwrap_or(f64::NAN);
    check_parameter("u", norm, "finite and not 0", |norm| norm > 0.0)?;
    divide(u, norm);
    let mut sigma = 0.0;
    for _ in 0..iterations {
        let tasks = v.chunks_mut(COLUMNS).enumerate();
        cpu.for_each_item(tasks, |(task, sums)| {
            cpu.isa.run(Down { w, cols, u, first: task * COLUMNS, sums });
        });
        let norm = norm2(cpu, v).unwrap_or(f64::INFINITY);
        if norm == 0.0 {
            return Ok(0.0);
        }
        if norm == f64::INFINITY {
            // A NaN or an infinity shows in every product, even with 0.
            let first = w.iter().position(|w| !w.to_f64().is_finite());
            return first.map_or(Ok(norm), |index| Err(Error::NonFinite { index }));
        }
        divide(v, norm);
        let rows = (CHUNK / cols).max(1);
        let tasks = w.chunks(rows * cols).zip(u.chunks_mut(rows));
        cpu.for_each_item(tasks, |(w, dots)| cpu.isa.run(Across { w, cols, v, dots }));
        sigma = norm2(cpu, u).unwrap_or(f64::INFINITY);
        divide(u, sigma);
    }
    Ok(sigma)
}

/// Scales `w` by `limit / sigma` where its [`spectral_norm`] `sigma` exceeds `limit`; otherwise `w`
/// is unchanged. Returns the norm before clipping.
///
/// Each element is scaled in f64 and rounded once. If the norm is infinite, which f32 cannot have,
/// it is returned and `w` is unchanged.
///
/// # Errors
/// As [`spectral_norm`]; also [`Error::Parameter`] unless `limit` is finite and above 0. `w` is
/// unchanged then.
pub fn clip_spectral_norm<T: Float>(
    cpu: Cpu<'_>,
    w: &mut [T],
    cols: usize,
    limit: f64,
    iterations: u32,
    u: &mut [f64],
    v: &mut [f64],
) -> Result<f64, Error> {
    check_limit(limit)?;
    let before = spectral_norm(cpu, w, cols, iterations, u, v)?;
    if before > limit && before.is_finite() {
        rescale(cpu, w, 1.0, limit / before);
    }
    Ok(before)
}

fn divide(x: &mut [f64], by: f64) {
    x.iter_mut().for_each(|x| *x /= by);
}

/// Computes elements of `W^T u`, from column `first` on.
struct Down<'a, T> {
    w: &'a [T],
    cols: usize,
    u: &'a [f64],
    first: usize,
    sums: &'a mut [f64],
}

impl<T: Float> WithSimd for Down<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { w, cols, u, first, sums } = self;
        sums.fill(0.0);
        for (w, &u) in w.chunks(cols).zip(u) {
            for (sum, w) in sums.iter_mut().zip(&w[first..]) {
                *sum += w.to_f64() * u;
            }
        }
    }
}

/// Computes elements of `W v`, each the dot product of a row and `v`.
struct Across<'a, T> {
    w: &'a [T],
    cols: usize,
    v: &'a [f64],
    dots: &'a mut [f64],
}

impl<T: Float> WithSimd for Across<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { w, cols, v, dots } = self;
        for (w, dot) in w.chunks(cols).zip(dots) {
            *dot = 0.0;
            for (w, v) in w.chunks(CHUNK).zip(v.chunks(CHUNK)) {
                *dot += dot_chunk(w, v);
            }
        }
    }
}

#[inline(always)]
fn dot_chunk<T: Float>(w: &[T], v: &[f64]) -> f64 {
    let mut lanes = [0.0; LANES];
    let ((ws, w_rest), (vs, v_rest)) = (w.as_chunks::<LANES>(), v.as_chunks::<LANES>());
    for (w, v) in ws.iter().zip(vs) {
        for l in 0..LANES {
            lanes[l] += w[l].to_f64() * v[l];
        }
    }
    for ((lane, w), v) in lanes.iter_mut().zip(w_rest).zip(v_rest) {
        *lane += w.to_f64() * v;
    }
    join_lanes(Sum, lanes)
}
