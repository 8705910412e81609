//! Activations, element by element, with their gradients.
//!
//! An [`Activation`] names the function. Each family has a file, in which a `Curve` computes one
//! register of the function and of its gradient. The activation is selected once per call.
//!
//! ```text
//! for each chunk                                        in parallel
//!     for each register of the chunk                    the last one masked
//!         y = act(x)        or        dy = dy act'(saved)
//! ```
//!
//! Element `i` of the result depends on element `i` of the operands alone, so that chunks, threads
//! and registers change no bit. Where the output determines the gradient, the gradient reads the
//! output ([`Activation::saved`]). A network then saves one buffer per layer and may activate in
//! place. Called by the layers of a network.
//!
//! [`prelu`] has learned slopes and functions of its own: its gradient includes a sum over the
//! rows.
//!
//! NaN flows through: x86's `max` would lose it, so these compare and select.

mod exponential;
mod gated;
mod normal;
mod piecewise;
mod prelu;
mod sigmoidal;

use exponential::{Elu, Exponential, Softplus};
use gated::{Gelu, GeluTanh, Mish, Silu};
use piecewise::{Clamp, HardSigmoid, LeakyRelu, Relu};
use sigmoidal::Softsign;

pub(crate) use normal::Normal;
pub use prelu::{prelu, prelu_backward, prelu_scratch};
pub(crate) use sigmoidal::{Sigmoid, Tanh};

use crate::elementwise::CHUNK;
use crate::error::{check_length, check_parameter};
use crate::simd::{Float, Lanes, MOST_LANES, Simd, WithSimd};
use crate::{Cpu, Element, Error};

/// An activation: a function of one number, applied to each element. NaN gives NaN.
///
/// Gradients are `dy` times the derivative. On flat pieces (of ReLU, capped ReLU, hard tanh and
/// hard sigmoid) they are +0 even if `dy` is NaN or infinite, as that unit has no influence;
/// elsewhere NaN and infinities in `dy` propagate as in multiplication. Where the derivative does
/// not exist, PyTorch's value is used. If the saved element is NaN, the gradient of a piecewise
/// function is the one above the kink, and any other gradient is NaN.
///
/// Limits of the output (`cap`, `alpha`, SELU's `scale alpha`) are rounded to the element type, so
/// that the gradient can compare with them; `slope` is rounded to the type of the computation.
///
/// Exhaustive, so that a format that stores activations fails to compile when one is added.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// `max(x, 0)` (Nair and Hinton, ICML 2010). PyTorch: `ReLU`.
    ///
    /// ±0 and -Inf give +0, Inf gives Inf. The derivative at 0 is 0.
    Relu,
    /// `min(max(x, 0), cap)`; with a cap of 6, ReLU6 (Krizhevsky, 2010). PyTorch: `ReLU6`.
    ///
    /// ±0 and -Inf give +0, Inf gives the cap. The derivative at 0 and wherever the output is the
    /// cap is 0.
    CappedRelu {
        /// The largest output: above 0.
        cap: f64,
    },
    /// `x` above 0, `slope x` elsewhere (Maas, Hannun, Ng, 2013). PyTorch: `LeakyReLU`.
    ///
    /// A zero keeps its sign; ±Inf give ±Inf, but -Inf gives NaN if the slope is 0. The
    /// derivative at 0 is `slope`.
    LeakyRelu {
        /// Slope below 0: at least 0.
        slope: f64,
    },
    /// `x` above 0, `alpha (e^x - 1)` elsewhere (Clevert, Unterthiner, Hochreiter, ICLR 2016).
    /// PyTorch: `ELU`.
    ///
    /// A zero keeps its sign; Inf gives Inf, -Inf gives `-alpha`. The derivative at 0 is `alpha`.
    Elu {
        /// Magnitude of the lower limit of the output: at least 0.
        alpha: f64,
    },
    /// `scale x` above 0, `scale alpha (e^x - 1)` elsewhere. `scale` = 1.0507 and `alpha` = 1.6733
    /// preserve mean 0 and variance 1 (Klambauer et al., NIPS 2017). PyTorch: `SELU`.
    ///
    /// A zero keeps its sign; Inf gives Inf, -Inf gives `-scale alpha`. The derivative at 0 is
    /// `scale alpha`.
    Selu,
    /// `x Phi(x)`, where Phi is the normal CDF (Hendrycks and Gimpel, 2016). PyTorch: `GELU`.
    ///
    /// A zero keeps its sign; Inf gives Inf, -Inf gives its limit, -0. The derivative at ±Inf is 1
    /// and 0.
    Gelu,
    /// `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`, near [`Gelu`](Self::Gelu) (the same
    /// paper). PyTorch: `GELU(approximate="tanh")`.
    ///
    /// A zero keeps its sign; Inf gives Inf, -Inf gives its limit, -0. The derivative at ±Inf is 1
    /// and 0.
    GeluTanh,
    /// `x sigmoid(x)`, also called swish (Elfwing, Uchibe, Doya, 2018). PyTorch: `SiLU`.
    ///
    /// A zero keeps its sign; Inf gives Inf, -Inf gives its limit, -0. The derivative at ±Inf is 1
    /// and 0.
    Silu,
    /// `x tanh(ln(1 + e^x))` (Misra, BMVC 2020). PyTorch: `Mish`.
    ///
    /// A zero keeps its sign; Inf gives Inf, -Inf gives its limit, -0. The derivative at ±Inf is 1
    /// and 0.
    Mish,
    /// `1 / (1 + e^-x)`. PyTorch: `Sigmoid`.
    ///
    /// -Inf gives 0, Inf gives 1; there the derivative is 0.
    Sigmoid,
    /// `min(max(x + 3, 0), 6) / 6` (Howard et al., ICCV 2019). PyTorch: `Hardsigmoid`.
    ///
    /// -Inf gives 0, Inf gives 1. The derivative is 0 wherever the output is 0 or 1, and at ±3.
    HardSigmoid,
    /// The hyperbolic tangent. PyTorch: `Tanh`.
    ///
    /// A zero keeps its sign; ±Inf give ±1, where the derivative is 0.
    Tanh,
    /// `min(max(x, -1), 1)`. PyTorch: `Hardtanh`.
    ///
    /// A zero keeps its sign; ±Inf give ±1. The derivative at ±1 and beyond is 0.
    HardTanh,
    /// `ln(1 + e^x)` (Dugas et al., NIPS 2000). PyTorch: `Softplus` with its defaults, but exact
    /// above its threshold too.
    ///
    /// -Inf gives 0, Inf gives Inf. The derivative at ±Inf is 1 and 0.
    Softplus,
    /// `x / (1 + |x|)` (Bergstra et al., 2009). PyTorch: `Softsign`.
    ///
    /// A zero keeps its sign; ±Inf give ±1, where the derivative is 0.
    Softsign,
    /// `e^x`. PyTorch: `torch.exp`; Keras: `exponential`.
    ///
    /// -Inf gives 0, Inf gives Inf, and so does any `x` whose result is above the largest finite
    /// number. The derivative is the output.
    Exponential,
}

/// The tensor that [`Activation::backward`] reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// `x`, the input of the activation.
    Input,
    /// `y`, its output. The activation may run in place.
    Output,
}

/// Runs `$run` with the `Curve` of `$activation`, whose constants are in the float type of
/// `$element`.
macro_rules! with_curve {
    ($activation:expr, $element:ident, |$curve:ident| $run:expr) => {{
        let number = <$element::Float as Float>::from_f64;
        // A limit must be representable in the element type, so that the gradient can compare with
        // it.
        let limit = |x| $element::from_float(number(x)).to_float();
        macro_rules! run {
            ($chosen:expr) => {{
                let $curve = $chosen;
                $run
            }};
        }
        match $activation {
            Self::Relu => run!(Relu),
            Self::CappedRelu { cap } => run!(Clamp { low: number(0.0), high: limit(cap) }),
            Self::LeakyRelu { slope } => run!(LeakyRelu { slope: number(slope) }),
            Self::Elu { alpha } => run!(Elu { above: number(1.0), below: limit(alpha) }),
            Self::Selu => {
                run!(Elu { above: number(SELU_SCALE), below: limit(SELU_SCALE * SELU_ALPHA) })
            }
            Self::Gelu => run!(Gelu),
            Self::GeluTanh => run!(GeluTanh),
            Self::Silu => run!(Silu),
            Self::Mish => run!(Mish),
            Self::Sigmoid => run!(Sigmoid),
            Self::HardSigmoid => run!(HardSigmoid),
            Self::Tanh => run!(Tanh),
            Self::HardTanh => run!(Clamp { low: number(-1.0), high: number(1.0) }),
            Self::Softplus => run!(Softplus),
            Self::Softsign => run!(Softsign),
            Self::Exponential => run!(Exponential),
        }
    }};
}

/// Constants of [`Activation::Selu`], solutions of the paper's equation 5.
const SELU_SCALE: f64 = 1.050_700_987_355_480_5;
const SELU_ALPHA: f64 = 1.673_263_242_354_377_3;

impl Activation {
    /// The tensor that [`backward`](Self::backward) reads: the output where it determines the
    /// gradient.
    pub const fn saved(self) -> Saved {
        match self {
            Self::Gelu | Self::GeluTanh | Self::Silu | Self::Mish => Saved::Input,
            _ => Saved::Output,
        }
    }

    /// Checks that the parameter is in range.
    ///
    /// # Errors
    /// [`Error::Parameter`] if it is not.
    pub fn check(self) -> Result<(), Error> {
        match self {
            Self::CappedRelu { cap } => {
                check_parameter("cap", cap, "finite and above 0", |x| x > 0.0)
            }
            Self::LeakyRelu { slope } => {
                check_parameter("slope", slope, "finite and at least 0", |x| x >= 0.0)
            }
            Self::Elu { alpha } => {
                check_parameter("alpha", alpha, "finite and at least 0", |x| x >= 0.0)
            }
            _ => Ok(()),
        }
    }

    /// `y[i]` is the activation of `x[i]`.
    ///
    /// ```
    /// use kernels::{Cpu, activation::Activation};
    /// let mut y = [0.0_f32; 3];
    /// Activation::Relu.forward(Cpu::detect(), &[-1.0, 0.5, f32::NAN], &mut y)?;
    /// assert!(y[0] == 0.0 && y[1] == 0.5 && y[2].is_nan());
    /// # Ok::<(), kernels::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Parameter`] if [`check`](Self::check) fails; [`Error::Length`] if `x` and `y`
    /// differ in length. Nothing is written then.
    #[inline(never)]
    pub fn forward<E: Element>(self, cpu: Cpu<'_>, x: &[E], y: &mut [E]) -> Result<(), Error> {
        self.check()?;
        with_curve!(self, E, |curve| along(cpu, Forward(curve), "x", Some(x), y))
    }

    /// [`forward`](Self::forward) with `y` in place of `x`: the same bits.
    ///
    /// # Errors
    /// [`Error::Parameter`] if [`check`](Self::check) fails. Nothing is written then.
    #[inline(never)]
    pub fn forward_in_place<E: Element>(self, cpu: Cpu<'_>, x: &mut [E]) -> Result<(), Error> {
        self.check()?;
        with_curve!(self, E, |curve| along(cpu, Forward(curve), "x", None, x))
    }

    /// The gradient with respect to the input, in place of the gradient with respect to the output:
    /// `dy[i]` becomes `dx[i] = dy[i] act'(x[i])`.
    ///
    /// `saved` is the input or the output of [`forward`](Self::forward), as [`saved`](Self::saved)
    /// returns.
    ///
    /// ```
    /// use kernels::{Cpu, activation::{Activation, Saved}};
    /// let (cpu, tanh) = (Cpu::detect(), Activation::Tanh);
    /// let (mut y, mut dy) = ([0.0_f32, 20.0], [3.0, 3.0]);
    /// tanh.forward_in_place(cpu, &mut y)?;
    /// assert_eq!(tanh.saved(), Saved::Output);
    /// tanh.backward(cpu, &y, &mut dy)?;
    /// assert_eq!(dy, [3.0, 0.0]);
    /// # Ok::<(), kernels::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Parameter`] if [`check`](Self::check) fails; [`Error::Length`] if `saved` and `dy`
    /// differ in length. Nothing is written then.
    #[inline(never)]
    pub fn backward<E: Element>(
        self,
        cpu: Cpu<'_>,
        saved: &[E],
        dy: &mut [E],
    ) -> Result<(), Error> {
        self.check()?;
        with_curve!(self, E, |curve| along(cpu, Backward(curve), "saved", Some(saved), dy))
    }
}

/// An activation and its gradient, of one register.
pub(crate) trait Curve<T: Float>: Sync {
    /// The activation of `x`. Mark it `#[inline(always)]`.
    fn value<S: Simd>(&self, s: S, x: T::V<S>) -> T::V<S>;
    /// `dy` times the derivative, from the tensor that [`Activation::saved`] names. Mark it
    /// `#[inline(always)]`.
    fn gradient<S: Simd>(&self, s: S, saved: T::V<S>, dy: T::V<S>) -> T::V<S>;
}

/// Runs `step` on `read` and `write`, or in place if `read` is `None`.
///
/// # Errors
/// [`Error::Length`] if the two differ in length; `operand` is the name of `read`.
fn along<E: Element>(
    cpu: Cpu<'_>,
    step: impl Step<E::Float>,
    operand: &'static str,
    read: Option<&[E]>,
    write: &mut [E],
) -> Result<(), Error> {
    check_length(operand, write.len(), read.map_or(write.len(), <[E]>::len))?;
    // A chunk of `read` for each chunk of `write`; `None` without end if there is no `read`.
    let mut pieces = read.map(|x| x.chunks(CHUNK));
    let read = core::iter::from_fn(|| Some(pieces.as_mut().and_then(Iterator::next)));
    cpu.for_each_item(write.chunks_mut(CHUNK).zip(read), |(write, read)| {
        cpu.isa.run(Kernel { step: &step, read, write });
    });
    Ok(())
}

/// An operation on one register of `read` and of `write`.
trait Step<T: Float>: Sync {
    fn apply<S: Simd>(&self, s: S, read: T::V<S>, write: T::V<S>) -> T::V<S>;
}

/// [`Curve::value`].
struct Forward<C>(C);

impl<T: Float, C: Curve<T>> Step<T> for Forward<C> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, x: T::V<S>, _: T::V<S>) -> T::V<S> {
        self.0.value(s, x)
    }
}

/// [`Curve::gradient`].
struct Backward<C>(C);

impl<T: Float, C: Curve<T>> Step<T> for Backward<C> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, saved: T::V<S>, dy: T::V<S>) -> T::V<S> {
        self.0.gradient(s, saved, dy)
    }
}

/// One chunk.
struct Kernel<'a, P, E> {
    step: &'a P,
    read: Option<&'a [E]>,
    write: &'a mut [E],
}

impl<E: Element, P: Step<E::Float>> WithSimd for Kernel<'_, P, E> {
    type Output = ();
    /// The whole registers first; then the remaining elements, in buffers of one register. The step
    /// appears once, since some steps are long: it would otherwise be compiled for both passes, and
    /// for separate slices and in place.
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { step, read, write } = self;
        let lanes = E::Float::lanes::<S>();
        let (whole, rest) = write.split_at_mut(write.len() / lanes * lanes);
        let (mut last_read, mut last) = ([E::default(); MOST_LANES], [E::default(); MOST_LANES]);
        last[..rest.len()].copy_from_slice(rest);
        if let Some(x) = read {
            last_read[..rest.len()].copy_from_slice(&x[whole.len()..]);
        }
        let registers_of_rest = rest.len().div_ceil(lanes);
        let passes =
            [(read, whole), (read.map(|_| &last_read[..]), &mut last[..registers_of_rest * lanes])];
        for (read, write) in passes {
            let read = read.map(|x| &x[..write.len()]);
            for i in 0..write.len() / lanes {
                let v = E::register(s, write, i);
                let x = match read {
                    Some(x) => E::register(s, x, i),
                    None => v,
                };
                E::put_register(s, write, i, step.apply(s, x, v));
            }
        }
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

/// `max(x, low)`; NaN stays NaN.
#[inline(always)]
fn at_least<S: Simd, T: Float>(s: S, x: T::V<S>, low: T) -> T::V<S> {
    let low = T::splat(s, low);
    T::select(s, T::less_or_equal(s, x, low), low, x)
}

/// `min(x, high)`; NaN stays NaN.
#[inline(always)]
fn at_most<S: Simd, T: Float>(s: S, x: T::V<S>, high: T) -> T::V<S> {
    let high = T::splat(s, high);
    T::select(s, T::less_or_equal(s, high, x), high, x)
}
