//! Stochastic gradient descent: plain, with momentum, with Nesterov's.
//!
//! One pass over the flat buffers reads and writes each once; the elements are independent, so that chunks and threads
//! change no bit. The formulas and defaults are those of PyTorch's `torch.optim.SGD` (without dampening). Called by the
//! optimizers of a network.

use crate::decay::Decay;
use crate::elementwise::{Elementwise, for_each_element};
use crate::error::{check_length, check_parameter};
use crate::settle::settle;
use crate::simd::{Float, Simd};
use crate::{Cpu, Error};

/// Hyper-parameters of stochastic gradient descent (Sutskever, Martens, Dahl, Hinton, ICML 2013, in PyTorch's form).
///
/// ```text
/// g = scale * g + l2 * p
/// v = momentum * v + g                          0 where that is less than 2^-100 (f32), 2^-996 (f64)
/// p = keep * p - lr * (g + momentum * v   with Nesterov's momentum, else v)
/// ```
///
/// `l2` and `keep` are what [`Decay`] makes of `p`: the decay and 1, or 0 and `1 - lr * decay`, or 0 and 1. Each
/// product that is added to something is one fused multiply-add.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Learning rate: at least 0.
    pub lr: f64,
    /// How much of the velocity stays: in `[0, 1)`, 0 for plain descent.
    pub momentum: f64,
    /// Steps from where the velocity leads, not from where the parameters are. It needs a momentum.
    pub nesterov: bool,
    /// Weight decay.
    pub decay: Decay,
}

impl Default for Sgd {
    /// PyTorch's: learning rate 1e-3 and nothing else.
    fn default() -> Self {
        Self { lr: 1e-3, momentum: 0.0, nesterov: false, decay: Decay::None }
    }
}

impl Sgd {
    /// Whether all is in range.
    ///
    /// # Errors
    /// [`Error::Parameter`] for the first that is not.
    pub fn check(&self) -> Result<(), Error> {
        check_parameter("lr", self.lr, "finite and at least 0", |x| x >= 0.0)?;
        check_parameter("momentum", self.momentum, "in [0, 1)", |x| (0.0..1.0).contains(&x))?;
        if self.nesterov {
            check_parameter("momentum", self.momentum, "above 0 with nesterov", |x| x > 0.0)?;
        }
        self.decay.check()
    }

    /// One step: `params` follow `scale * grads`.
    ///
    /// `params` and `grads` have one length. So has `velocity`, which is zero before the first step; without momentum
    /// it is empty. `scale` is what clipping asks for, or 1. NaN and infinities spread to the elements they belong to.
    ///
    /// ```
    /// use kernels::{Cpu, sgd::Sgd};
    /// let sgd = Sgd { lr: 0.5, ..Sgd::default() };
    /// let mut params = [1.0_f32, 2.0];
    /// sgd.step(Cpu::detect(), 1.0, &mut params, &[2.0, -2.0], &mut [])?;
    /// assert_eq!(params, [0.0, 3.0]);
    /// # Ok::<(), kernels::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Parameter`] if [`check`](Self::check) says so or `scale` is not finite, [`Error::Length`] if the
    /// lengths do not fit. Nothing has been changed then.
    pub fn step<T: Float>(
        &self,
        cpu: Cpu<'_>,
        scale: f64,
        params: &mut [T],
        grads: &[T],
        velocity: &mut [T],
    ) -> Result<(), Error> {
        self.check()?;
        check_parameter("scale", scale, "finite", |_| true)?;
        let (l2, keep) = self.decay.factors(self.lr);
        let [scale, l2, keep, momentum, step] = [scale, l2, keep, self.momentum, -self.lr].map(T::from_f64);
        let descent = Descent { scale, l2, keep, step };
        let grads = [("grads", grads)];
        if self.momentum == 0.0 {
            check_length("velocity", 0, velocity.len())?;
            for_each_element(cpu, &descent, grads, [("params", params)])
        } else {
            let operands = [("params", params), ("velocity", velocity)];
            for_each_element(cpu, &Momentum { descent, momentum, nesterov: self.nesterov }, grads, operands)
        }
    }
}

/// Plain descent.
struct Descent<T> {
    scale: T,
    l2: T,
    keep: T,
    step: T,
}

impl<T: Float> Descent<T> {
    /// The gradient with its scale and its decay.
    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, p: T::V<S>, g: T::V<S>) -> T::V<S> {
        T::mul_add(s, T::splat(s, self.l2), p, T::mul(s, T::splat(s, self.scale), g))
    }

    /// The parameters after a step along `direction`.
    #[inline(always)]
    fn descend<S: Simd>(&self, s: S, p: T::V<S>, direction: T::V<S>) -> T::V<S> {
        T::mul_add(s, T::splat(s, self.step), direction, T::mul(s, T::splat(s, self.keep), p))
    }
}

impl<T: Float> Elementwise<T, 1, 1> for Descent<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [g]: [T::V<S>; 1], [p]: [T::V<S>; 1]) -> [T::V<S>; 1] {
        [self.descend(s, p, self.gradient(s, p, g))]
    }
}

/// Descent along a velocity.
struct Momentum<T> {
    descent: Descent<T>,
    momentum: T,
    nesterov: bool,
}

impl<T: Float> Elementwise<T, 1, 2> for Momentum<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [g]: [T::V<S>; 1], [p, v]: [T::V<S>; 2]) -> [T::V<S>; 2] {
        let g = self.descent.gradient(s, p, g);
        let momentum = T::splat(s, self.momentum);
        let v = settle::<S, T>(s, T::mul_add(s, momentum, v, g));
        let direction = if self.nesterov { T::mul_add(s, momentum, v, g) } else { v };
        [self.descent.descend(s, p, direction), v]
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{vec, vec::Vec};

    use super::*;
    use crate::random::Stream;
    use crate::testing::{bits, same_on_every_cpu};

    fn draw<T: Float>(stream: u64, n: usize) -> Vec<T> {
        (0..n as u64).map(|i| T::from_f64(Stream::new(21, stream).uniform_f64(i) - 0.5)).collect()
    }

    /// The formula in scalars, for a type with its own `mul_add`.
    macro_rules! scalar_step {
        ($float:ident, $sgd:expr, $scale:expr, $p:expr, $g:expr, $v:expr) => {
            for ((p, g), v) in $p.iter_mut().zip($g).zip($v.iter_mut()) {
                let (l2, keep) = match $sgd.decay {
                    Decay::None => (0.0, 1.0),
                    Decay::L2(decay) => (decay, 1.0),
                    Decay::Decoupled(decay) => (0.0, 1.0 - $sgd.lr * decay),
                };
                let g = (l2 as $float).mul_add(*p, $scale as $float * g);
                *v = ($sgd.momentum as $float).mul_add(*v, g);
                let direction = if $sgd.nesterov { ($sgd.momentum as $float).mul_add(*v, g) } else { *v };
                *p = (-$sgd.lr as $float).mul_add(direction, keep as $float * *p);
            }
        };
    }

    macro_rules! fifty_steps {
        ($name:ident, $float:ident) => {
            #[test]
            fn $name() {
                // More than a chunk, and a rest.
                let n = 16_384 + 70;
                for (momentum, nesterov) in [(0.0, false), (0.9, false), (0.9, true)] {
                    for decay in [Decay::None, Decay::L2(1e-2), Decay::Decoupled(1e-2)] {
                        let sgd = Sgd { lr: 0.1, momentum, nesterov, decay };
                        let start = draw::<$float>(0, n);
                        let (mut p, mut v) = (start.clone(), vec![0.0; n]);
                        for t in 1..=50 {
                            scalar_step!($float, sgd, 0.7, p, &draw::<$float>(t, n), v);
                        }
                        same_on_every_cpu(|cpu| {
                            let mut params = start.clone();
                            let mut velocity = vec![0.0; if momentum == 0.0 { 0 } else { n }];
                            for t in 1..=50 {
                                let grads = draw::<$float>(t, n);
                                sgd.step(cpu, 0.7, &mut params, &grads, &mut velocity).unwrap();
                            }
                            assert!(bits(&params) == bits(&p), "{sgd:?} on {cpu:?}");
                            assert!(momentum == 0.0 || bits(&velocity) == bits(&v), "{sgd:?} on {cpu:?}");
                        });
                    }
                }
            }
        };
    }
    fifty_steps!(fifty_steps_are_those_of_the_scalar_loop_f32, f32);
    fifty_steps!(fifty_steps_are_those_of_the_scalar_loop_f64, f64);

    #[test]
    fn misuse_is_refused_before_anything_is_changed() {
        let mut p = [1.0_f32; 3];
        let mut v = [1.0_f32; 3];
        let cpu = Cpu::detect();
        let good = Sgd { momentum: 0.9, ..Sgd::default() };
        let length = |operand, expected, got| Err(Error::Length { operand, expected, got });
        assert_eq!(good.step(cpu, 1.0, &mut p, &[1.0; 2], &mut v), length("grads", 3, 2));
        assert_eq!(good.step(cpu, 1.0, &mut p, &[1.0; 3], &mut v[..1]), length("velocity", 3, 1));
        assert_eq!(Sgd::default().step(cpu, 1.0, &mut p, &[1.0; 3], &mut v), length("velocity", 0, 3));
        for (name, sgd, scale) in [
            ("lr", Sgd { lr: -1.0, ..good }, 1.0),
            ("lr", Sgd { lr: f64::NAN, ..good }, 1.0),
            ("lr", Sgd { lr: f64::INFINITY, ..good }, 1.0),
            ("momentum", Sgd { momentum: 1.0, ..good }, 1.0),
            ("momentum", Sgd { momentum: -0.1, ..good }, 1.0),
            ("momentum", Sgd { momentum: 0.0, nesterov: true, ..good }, 1.0),
            ("decay", Sgd { decay: Decay::L2(-1.0), ..good }, 1.0),
            ("decay", Sgd { decay: Decay::Decoupled(f64::NAN), ..good }, 1.0),
            ("scale", good, f64::NAN),
        ] {
            let error = sgd.step(cpu, scale, &mut p, &[1.0; 3], &mut v).unwrap_err();
            assert!(matches!(error, Error::Parameter { name: n, .. } if n == name), "{name}: {error}");
        }
        assert_eq!((p, v), ([1.0; 3], [1.0; 3]));
    }
}
