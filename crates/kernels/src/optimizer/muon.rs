//! Muon: steps along the momentum of a matrix, made orthogonal.
//!
//! ```text
//! X = x / max(|x|, epsilon)          or its transpose: the one with no more rows than columns
//! repeat `iterations` times          the Newton-Schulz iteration with a quintic polynomial
//!     A = X X^T
//!     B = c A A + b A + a I
//!     X = B X
//! ```
//!
//! Each iteration takes every singular value s of X to a s + b s^3 + c s^5 and preserves the
//! singular vectors. The usual coefficients raise small values quickly; the values end between 0.68
//! and 1.14, not at 1.

use super::moment::mean;
use super::{Decay, Step, check_beta};
use crate::elementwise::{CHUNK, Elementwise, for_each_element};
use crate::error::{check_length, check_parameter};
use crate::gemm::{Epilogue, GemmShape, gemm, gemm_scratch};
use crate::math::sqrt;
use crate::norm::{Scaled, scaled_norm2};
use crate::simd::{Float, Simd};
use crate::{Cpu, Error, MatMut, MatRef};

/// The Newton-Schulz iteration of [`orthogonalise`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct NewtonSchulz {
    /// Coefficients a, b and c of the polynomial.
    pub coefficients: [f64; 3],
    /// Number of iterations.
    pub iterations: u32,
    /// Lower bound of the norm that divides, so that zeros stay zeros: above 0.
    pub epsilon: f64,
}

impl Default for NewtonSchulz {
    /// Five iterations of the quintic of Keller Jordan ("Muon: an optimizer for hidden layers in
    /// neural networks", 2024).
    fn default() -> Self {
        Self { coefficients: [3.4445, -4.7750, 2.0315], iterations: 5, epsilon: 1e-7 }
    }
}

impl NewtonSchulz {
    fn check(&self) -> Result<(), Error> {
        for (name, x) in ["a", "b", "c"].into_iter().zip(self.coefficients) {
            check_parameter(name, x, "finite", |_| true)?;
        }
        check_parameter("epsilon", self.epsilon, "finite and above 0", |x| x > 0.0)
    }
}

/// Elements of scratch that [`orthogonalise`] needs for a matrix `[rows, cols]` on an executor of
/// `threads` threads, on any instruction set that is compiled in.
pub const fn orthogonalise_scratch<T: Float>(threads: usize, [rows, cols]: [usize; 2]) -> usize {
    let (short, long) = if rows < cols { (rows, cols) } else { (cols, rows) };
    let squares = 2 * short * short;
    // The products are short x short over long, and short x long over short.
    let (gram, update) = (
        gemm_scratch::<T>(threads, GemmShape { m: short, n: short, k: long }),
        gemm_scratch::<T>(threads, GemmShape { m: short, n: long, k: short }),
    );
    rows * cols + squares + if gram > update { gram } else { update }
}

/// Writes to `y` approximately the orthogonal matrix nearest to `x`: U V^T of the singular value
/// decomposition U S V^T.
///
/// With the default `iteration`, singular values of `x` above about 1e-3 of its norm become values
/// between 0.68 and 1.14 instead of 1.
///
/// `x` and `y` are `[rows, cols]`, row-major; `scratch` has at least [`orthogonalise_scratch`]
/// elements. The products are those of [`gemm`], in its order; the norm is that of
/// [`norm2`](crate::norm::norm2). A NaN or an infinity in `x` makes all of `y` NaN.
///
/// ```
/// use kernels::Cpu;
/// use kernels::optimizer::{NewtonSchulz, orthogonalise, orthogonalise_scratch};
/// let x = [3.0, 0.0, 4.0, 0.0, 2.0, 0.0];
/// let (mut y, mut scratch) = ([0.0_f64; 6], [0.0; orthogonalise_scratch::<f64>(1, [2, 3])]);
/// orthogonalise(Cpu::detect(), NewtonSchulz::default(), &x, [2, 3], &mut y, &mut scratch)?;
/// // The singular values of `x` are 5 and 2.
/// let [first, second] = [y[0] * y[0] + y[2] * y[2], y[4] * y[4]].map(f64::sqrt);
/// assert!((0.68..1.14).contains(&first) && (0.68..1.14).contains(&second));
/// assert!((y[0] / y[2] - 0.75).abs() < 1e-12);
/// # Ok::<(), kernels::Error>(())
/// ```
///
/// # Errors
/// [`Error::Parameter`] if a number of `iteration` is out of range, [`Error::Length`] if `x` or `y`
/// is not `[rows, cols]`, [`Error::Scratch`] if `scratch` is too small. Nothing is written then.
#[inline(never)]
pub fn orthogonalise<T: Float>(
    cpu: Cpu<'_>,
    iteration: NewtonSchulz,
    x: &[T],
    [rows, cols]: [usize; 2],
    y: &mut [T],
    scratch: &mut [T],
) -> Result<(), Error> {
    iteration.check()?;
    check_length("x", rows.saturating_mul(cols), x.len())?;
    check_length("y", x.len(), y.len())?;
    let expected =
        if x.is_empty() { 0 } else { orthogonalise_scratch::<T>(cpu.threads(), [rows, cols]) };
    if scratch.len() < expected {
        return Err(Error::Scratch { expected, got: scratch.len() });
    }
    y.copy_from_slice(x);
    normalise(cpu, iteration.epsilon, y);
    newton_schulz(cpu, iteration, [rows, cols], y, scratch)
}

/// `x / max(|x|, epsilon)`, in f64, rounded once; NaN if `x` has a non-finite element.
fn normalise<T: Float>(cpu: Cpu<'_>, epsilon: f64, x: &mut [T]) {
    let [scale, inverse] = match scaled_norm2(cpu, x) {
        Ok(Scaled { norm, scale }) if norm / scale > epsilon => [scale, 1.0 / norm],
        Ok(_) => [1.0, 1.0 / epsilon],
        Err(_) => [f64::NAN; 2],
    };
    cpu.for_each_item(x.chunks_mut(CHUNK), |x| {
        for x in x {
            *x = T::from_f64(x.to_f64() * scale * inverse);
        }
    });
}

/// Iterates on `x` in place. The caller has checked all lengths.
fn newton_schulz<T: Float>(
    cpu: Cpu<'_>,
    NewtonSchulz { coefficients, iterations, .. }: NewtonSchulz,
    [rows, cols]: [usize; 2],
    x: &mut [T],
    scratch: &mut [T],
) -> Result<(), Error> {
    if x.is_empty() {
        return Ok(());
    }
    let short = rows.min(cols);
    let [a, b, c] = coefficients.map(T::from_f64);
    let (next, scratch) = scratch.split_at_mut(x.len());
    let (gram, scratch) = scratch.split_at_mut(short * short);
    let (quintic, scratch) = scratch.split_at_mut(short * short);
    // A matrix that is taller than wide is seen as its transpose.
    let (mut from, mut to) = (&mut *x, next);
    for _ in 0..iterations {
        let x = MatRef::row_major(from, rows, cols)?;
        let x = if rows > cols { x.transpose() } else { x };
        let square = MatMut::row_major(gram, short, short)?;
        gemm(cpu, T::ONE, x, x.transpose(), T::ZERO, square, Epilogue::NONE, scratch)?;

        quintic.copy_from_slice(gram);
        let gram = MatRef::row_major(gram, short, short)?;
        let square = MatMut::row_major(quintic, short, short)?;
        gemm(cpu, c, gram, gram, b, square, Epilogue::NONE, scratch)?;
        quintic.iter_mut().step_by(short + 1).for_each(|diagonal| *diagonal += a);

        let quintic = MatRef::row_major(quintic, short, short)?;
        let product = MatMut::row_major(to, rows, cols)?;
        let product = if rows > cols { product.transpose() } else { product };
        gemm(cpu, T::ONE, quintic, x, T::ZERO, product, Epilogue::NONE, scratch)?;
        core::mem::swap(&mut from, &mut to);
    }
    if !iterations.is_multiple_of(2) {
        to.copy_from_slice(from);
    }
    Ok(())
}

/// Muon (Jordan, 2024; `torch.optim.Muon`, here in the precision of the parameters), for the weight
/// matrix of a hidden layer. Other parameters need another optimizer.
///
/// ```text
/// g = scale * grads
/// m = m + (1 - momentum) * (g - m)
/// u = g + momentum * (m - g) with Nesterov's momentum, else m
/// p = (1 - lr * decay) * p - lr * sqrt(max(1, rows / cols)) * orthogonalise(u)
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Muon {
    /// Coefficient of the running mean of the gradient: in `[0, 1)`.
    pub momentum: f64,
    /// Nesterov's momentum: steps from the point to which the mean leads.
    pub nesterov: bool,
    /// The iteration that makes the step orthogonal.
    pub newton_schulz: NewtonSchulz,
    /// Decoupled weight decay.
    pub decay: f64,
}

impl Default for Muon {
    /// PyTorch's: Nesterov's momentum of 0.95, decay 0.1. Its learning rate is 1e-3.
    fn default() -> Self {
        Self { momentum: 0.95, nesterov: true, newton_schulz: NewtonSchulz::default(), decay: 0.1 }
    }
}

impl Muon {
    /// Checks that all hyper-parameters are in range.
    ///
    /// # Errors
    /// [`Error::Parameter`] for the first that is not.
    pub fn check(&self) -> Result<(), Error> {
        check_beta("momentum", self.momentum)?;
        self.newton_schulz.check()?;
        Decay::decoupled(self.decay).check()
    }

    /// Elements of scratch that a step needs for parameters `[rows, cols]` on an executor of
    /// `threads` threads.
    pub const fn scratch<T: Float>(threads: usize, [rows, cols]: [usize; 2]) -> usize {
        rows * cols + orthogonalise_scratch::<T>(threads, [rows, cols])
    }

    /// Updates `params` and `m` by one step along the gradient `grads`.
    ///
    /// `params`, `grads` and the moment `m`, PyTorch's `momentum_buffer`, are `[rows, cols]`,
    /// row-major; rows are the outputs of the layer. `m` is zero before the first step. `scratch`
    /// has at least [`scratch`](Self::scratch) elements. A NaN or an infinity makes all of `params`
    /// NaN.
    ///
    /// # Errors
    /// [`Error::Parameter`] if [`check`](Self::check) fails or `step` is out of range,
    /// [`Error::Length`] if an operand is not `[rows, cols]`, [`Error::Scratch`] if `scratch` is
    /// too small. Nothing is written then.
    #[expect(
        clippy::too_many_arguments,
        reason = "the arguments of the other optimizers, the shape and the scratch"
    )]
    #[inline(never)]
    pub fn step<T: Float>(
        &self,
        cpu: Cpu<'_>,
        step: Step,
        params: &mut [T],
        grads: &[T],
        [rows, cols]: [usize; 2],
        m: &mut [T],
        scratch: &mut [T],
    ) -> Result<(), Error> {
        self.check()?;
        step.check()?;
        let len = params.len();
        check_length("params", rows.saturating_mul(cols), len)?;
        check_length("grads", len, grads.len())?;
        check_length("momentum_buffer", len, m.len())?;
        let expected = if len == 0 { 0 } else { Self::scratch::<T>(cpu.threads(), [rows, cols]) };
        if scratch.len() < expected {
            return Err(Error::Scratch { expected, got: scratch.len() });
        }
        let (u, scratch) = scratch.split_at_mut(len);
        let [scale, momentum, new] =
            [step.scale, self.momentum, 1.0 - self.momentum].map(T::from_f64);
        let momentum = Momentum { scale, momentum, new, nesterov: self.nesterov };
        for_each_element(
            cpu,
            &momentum,
            [("grads", grads)],
            [("momentum_buffer", m), ("u", &mut *u)],
        )?;
        normalise(cpu, self.newton_schulz.epsilon, u);
        newton_schulz(cpu, self.newton_schulz, [rows, cols], u, scratch)?;

        let stretch = if rows > cols { sqrt(cpu, rows as f64 / cols as f64) } else { 1.0 };
        let [shrink, rate] = [1.0 - step.lr * self.decay, -step.lr * stretch].map(T::from_f64);
        for_each_element(cpu, &Descend { shrink, rate }, [("u", u)], [("params", params)])
    }
}

struct Momentum<T> {
    scale: T,
    momentum: T,
    /// 1 - momentum.
    new: T,
    nesterov: bool,
}

impl<T: Float> Elementwise<T, 1, 2> for Momentum<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [g]: [T::V<S>; 1], [m, _]: [T::V<S>; 2]) -> [T::V<S>; 2] {
        let g = T::mul(s, T::splat(s, self.scale), g);
        let m = mean::<S, T>(s, self.new, m, g);
        [
            m,
            if self.nesterov {
                T::mul_add(s, T::splat(s, self.momentum), T::sub(s, m, g), g)
            } else {
                m
            },
        ]
    }
}

struct Descend<T> {
    /// 1 - lr * decay.
    shrink: T,
    /// -lr * sqrt(max(1, rows / cols)).
    rate: T,
}

impl<T: Float> Elementwise<T, 1, 1> for Descend<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [u]: [T::V<S>; 1], [p]: [T::V<S>; 1]) -> [T::V<S>; 1] {
        [T::mul_add(s, T::splat(s, self.rate), u, T::mul(s, T::splat(s, self.shrink), p))]
    }
}
