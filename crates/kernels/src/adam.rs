//! Adam and AdamW: steps that are scaled, element by element, by running moments of the gradient.
//!
//! One pass over the flat buffers reads and writes each once; the elements are independent, so that chunks and threads
//! change no bit. The formulas and defaults are those of PyTorch's `torch.optim.Adam` and `AdamW`. Called by the
//! optimizers of a network.

use crate::decay::Decay;
use crate::elementwise::{Elementwise, for_each_element};
use crate::error::check_parameter;
use crate::math::sqrt;
use crate::settle::settle;
use crate::simd::{Float, Simd};
use crate::{Cpu, Error};

/// Hyper-parameters of Adam (Kingma, Ba, ICLR 2015); with [`Decay::Decoupled`], of AdamW.
///
/// ```text
/// g = scale * g + l2 * p
/// m = m + (1 - beta1) * (g - m)                    m and v are 0 where they are less than
/// v = beta2 * v + (1 - beta2) * g * g              2^-100 (f32), 2^-996 (f64)
/// p = keep * p - lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon)
/// ```
///
/// `l2` and `keep` are what [`Decay`] makes of `p`: the decay and 1, or 0 and `1 - lr * decay`, or 0 and 1. What does
/// not depend on the element is computed in f64 and rounded once. Each product that is added to something is one fused
/// multiply-add, and `(1 - beta2) * g` is rounded before `g` multiplies it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// Learning rate: at least 0.
    pub lr: f64,
    /// How much of the mean of the gradient stays: in `[0, 1)`.
    pub beta1: f64,
    /// How much of the mean of its square stays: in `[0, 1)`.
    pub beta2: f64,
    /// Keeps the quotient finite: at least 0.
    pub epsilon: f64,
    /// Weight decay.
    pub decay: Decay,
}

impl Default for Adam {
    /// PyTorch's Adam: 1e-3, betas 0.9 and 0.999, epsilon 1e-8, no decay.
    fn default() -> Self {
        Self { lr: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decay: Decay::None }
    }
}

impl Adam {
    /// PyTorch's AdamW: [`default`](Self::default) with a decoupled decay of 1e-2.
    pub fn decoupled() -> Self {
        Self { decay: Decay::Decoupled(1e-2), ..Self::default() }
    }

    /// Whether all is in range.
    ///
    /// # Errors
    /// [`Error::Parameter`] for the first that is not.
    pub fn check(&self) -> Result<(), Error> {
        check_parameter("lr", self.lr, "finite and at least 0", |x| x >= 0.0)?;
        check_parameter("beta1", self.beta1, "in [0, 1)", |x| (0.0..1.0).contains(&x))?;
        check_parameter("beta2", self.beta2, "in [0, 1)", |x| (0.0..1.0).contains(&x))?;
        check_parameter("epsilon", self.epsilon, "finite and at least 0", |x| x >= 0.0)?;
        self.decay.check()
    }

    /// Step number `t`, counted from 1: `params` follow `scale * grads`.
    ///
    /// `params`, `grads` and the moments `m` and `v` have one length; the moments are zero before the first step.
    /// `scale` is what clipping asks for, or 1. NaN and infinities spread to the elements they belong to.
    ///
    /// ```
    /// use kernels::{Cpu, adam::Adam};
    /// let (mut params, mut m, mut v) = ([1.0_f32], [0.0], [0.0]);
    /// Adam::default().step(Cpu::detect(), 1, 1.0, &mut params, &[123.0], &mut m, &mut v)?;
    /// // The first step is as long as the learning rate, whatever the gradient.
    /// assert!((params[0] - 0.999).abs() < 1e-6);
    /// # Ok::<(), kernels::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Parameter`] if [`check`](Self::check) says so, `scale` is not finite or `t` is 0, [`Error::Length`] if
    /// the lengths differ. Nothing has been changed then.
    #[expect(clippy::too_many_arguments, reason = "four buffers and what is known only at the step")]
    pub fn step<T: Float>(
        &self,
        cpu: Cpu<'_>,
        t: u64,
        scale: f64,
        params: &mut [T],
        grads: &[T],
        m: &mut [T],
        v: &mut [T],
    ) -> Result<(), Error> {
        self.check()?;
        check_parameter("scale", scale, "finite", |_| true)?;
        check_parameter("t", t as f64, "at least 1", |t| t >= 1.0)?;
        let (l2, keep) = self.decay.factors(self.lr);
        let step = Step {
            scale: T::from_f64(scale),
            l2: T::from_f64(l2),
            keep: T::from_f64(keep),
            new1: T::from_f64(1.0 - self.beta1),
            beta2: T::from_f64(self.beta2),
            new2: T::from_f64(1.0 - self.beta2),
            unbias: T::from_f64(1.0 / sqrt(cpu, 1.0 - power(self.beta2, t))),
            epsilon: T::from_f64(self.epsilon),
            step: T::from_f64(-self.lr / (1.0 - power(self.beta1, t))),
        };
        for_each_element(cpu, &step, [("grads", grads)], [("params", params), ("m", m), ("v", v)])
    }
}

/// `base^exponent` by repeated squaring: std's `powi` may differ between targets.
fn power(mut base: f64, mut exponent: u64) -> f64 {
    let mut result = 1.0;
    while exponent > 0 {
        if exponent % 2 == 1 {
            result *= base;
        }
        base *= base;
        exponent /= 2;
    }
    result
}

/// One step, its factors at hand.
struct Step<T> {
    scale: T,
    l2: T,
    keep: T,
    /// 1 - beta1.
    new1: T,
    beta2: T,
    /// 1 - beta2.
    new2: T,
    /// 1 / sqrt(1 - beta2^t).
    unbias: T,
    epsilon: T,
    /// -lr / (1 - beta1^t).
    step: T,
}

impl<T: Float> Elementwise<T, 1, 3> for Step<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [g]: [T::V<S>; 1], [p, m, v]: [T::V<S>; 3]) -> [T::V<S>; 3] {
        let constant = |c| T::splat(s, c);
        let g = T::mul_add(s, constant(self.l2), p, T::mul(s, constant(self.scale), g));
        let m = T::mul_add(s, constant(self.new1), T::sub(s, g, m), m);
        let v = T::mul_add(s, T::mul(s, constant(self.new2), g), g, T::mul(s, constant(self.beta2), v));
        let (m, v) = (settle::<S, T>(s, m), settle::<S, T>(s, v));
        let size = T::mul_add(s, T::sqrt(s, v), constant(self.unbias), constant(self.epsilon));
        let p = T::mul_add(s, constant(self.step), T::div(s, m, size), T::mul(s, constant(self.keep), p));
        [p, m, v]
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
        (0..n as u64).map(|i| T::from_f64(Stream::new(22, stream).uniform_f64(i) - 0.5)).collect()
    }

    /// The formula in scalars, with its own powers, for a type with its own `mul_add` and `sqrt`.
    macro_rules! fifty_steps {
        ($name:ident, $float:ident) => {
            #[test]
            fn $name() {
                // More than a chunk, and a rest.
                let n = 16_384 + 70;
                for adam in [
                    Adam::default(),
                    Adam::decoupled(),
                    Adam { decay: Decay::L2(1e-2), beta1: 0.5, beta2: 0.875, lr: 0.1, ..Adam::default() },
                ] {
                    let start = draw::<$float>(0, n);
                    let (mut p, mut m, mut v) = (start.clone(), vec![0.0; n], vec![0.0; n]);
                    for t in 1..=50_u64 {
                        let (l2, keep) = match adam.decay {
                            Decay::None => (0.0, 1.0),
                            Decay::L2(decay) => (decay, 1.0),
                            Decay::Decoupled(decay) => (0.0, 1.0 - adam.lr * decay),
                        };
                        let unbias = 1.0 / (1.0 - power(adam.beta2, t)).sqrt();
                        let step = -adam.lr / (1.0 - power(adam.beta1, t));
                        for (i, g) in draw::<$float>(t, n).into_iter().enumerate() {
                            let g = (l2 as $float).mul_add(p[i], 0.7 * g);
                            m[i] = ((1.0 - adam.beta1) as $float).mul_add(g - m[i], m[i]);
                            let kept = adam.beta2 as $float * v[i];
                            v[i] = ((1.0 - adam.beta2) as $float * g).mul_add(g, kept);
                            let size = v[i].sqrt().mul_add(unbias as $float, adam.epsilon as $float);
                            p[i] = (step as $float).mul_add(m[i] / size, keep as $float * p[i]);
                        }
                    }
                    same_on_every_cpu(|cpu| {
                        let mut params = start.clone();
                        let (mut m1, mut m2) = (vec![0.0; n], vec![0.0; n]);
                        for t in 1..=50 {
                            let grads = draw::<$float>(t, n);
                            adam.step(cpu, t, 0.7, &mut params, &grads, &mut m1, &mut m2).unwrap();
                        }
                        let all = [bits(&params), bits(&m1), bits(&m2)];
                        assert!(all == [bits(&p), bits(&m), bits(&v)], "{adam:?} on {cpu:?}");
                    });
                }
            }
        };
    }
    fifty_steps!(fifty_steps_are_those_of_the_scalar_loop_f32, f32);
    fifty_steps!(fifty_steps_are_those_of_the_scalar_loop_f64, f64);

    /// `p`, `m` and `v` after three steps of `torch.optim.AdamW([p], lr=0.1, weight_decay=0.1)` in f64, with the
    /// gradients 1, -2 and 0.5, worked out from its documented algorithm as written there.
    #[test]
    fn three_steps_are_those_of_the_documented_algorithm() {
        let adam = Adam { lr: 0.1, decay: Decay::Decoupled(0.1), ..Adam::default() };
        let (mut p, mut m, mut v) = ([1.0_f64], [0.0], [0.0]);
        let (mut theta, mut m_t, mut v_t) = (1.0_f64, 0.0, 0.0);
        let (mut beta1_t, mut beta2_t) = (1.0, 1.0);
        for (t, g) in [(1, 1.0), (2, -2.0), (3, 0.5)] {
            adam.step(Cpu::detect(), t, 1.0, &mut p, &[g], &mut m, &mut v).unwrap();
            (beta1_t, beta2_t) = (beta1_t * 0.9, beta2_t * 0.999);
            theta -= 0.1 * 0.1 * theta;
            m_t = 0.9 * m_t + (1.0 - 0.9) * g;
            v_t = 0.999 * v_t + (1.0 - 0.999) * g * g;
            let (m_hat, v_hat) = (m_t / (1.0 - beta1_t), v_t / (1.0 - beta2_t));
            theta -= 0.1 * m_hat / (v_hat.sqrt() + 1e-8);
        }
        for (got, expected) in [(p[0], theta), (m[0], m_t), (v[0], v_t)] {
            assert!((got - expected).abs() < 1e-15, "{got} not {expected}");
        }
    }

    /// Without a gradient, moments fade; none of them may linger among the subnormal numbers.
    #[test]
    fn fading_moments_come_to_rest_at_zero() {
        let (mut p, mut m, mut v) = ([1.0_f32; 40], [1e-3; 40], [1e-20; 40]);
        for t in 1..=40_000 {
            let adam = Adam { beta2: 0.99, ..Adam::default() };
            adam.step(Cpu::detect(), t, 1.0, &mut p, &[0.0; 40], &mut m, &mut v).unwrap();
            assert!(m.iter().chain(&v).all(|x| *x == 0.0 || x.is_normal()));
        }
        assert_eq!((m, v), ([0.0; 40], [0.0; 40]));
    }

    #[test]
    fn powers_are_right_for_any_step_number() {
        assert_eq!(power(0.9, 0), 1.0);
        assert_eq!(power(0.5, 10), 1.0 / 1024.0);
        assert_eq!(power(0.0, 3), 0.0);
        assert_eq!(power(0.999, u64::MAX), 0.0);
        let product = (0..1000).fold(1.0, |p, _| p * 0.999);
        assert!((power(0.999, 1000) / product - 1.0).abs() < 1e-13);
    }

    #[test]
    fn misuse_is_refused_before_anything_is_changed() {
        let (mut p, mut m, mut v) = ([1.0_f32; 3], [1.0; 3], [1.0; 3]);
        let cpu = Cpu::detect();
        let good = Adam::default();
        let length = |operand, got| Err(Error::Length { operand, expected: 3, got });
        assert_eq!(good.step(cpu, 1, 1.0, &mut p, &[1.0; 4], &mut m, &mut v), length("grads", 4));
        assert_eq!(good.step(cpu, 1, 1.0, &mut p, &[1.0; 3], &mut m[..2], &mut v), length("m", 2));
        assert_eq!(good.step(cpu, 1, 1.0, &mut p, &[1.0; 3], &mut m, &mut []), length("v", 0));
        for (name, adam, t, scale) in [
            ("lr", Adam { lr: -1.0, ..good }, 1, 1.0),
            ("beta1", Adam { beta1: 1.0, ..good }, 1, 1.0),
            ("beta2", Adam { beta2: -0.5, ..good }, 1, 1.0),
            ("epsilon", Adam { epsilon: f64::NAN, ..good }, 1, 1.0),
            ("decay", Adam { decay: Decay::L2(f64::INFINITY), ..good }, 1, 1.0),
            ("scale", good, 1, f64::INFINITY),
            ("t", good, 0, 1.0),
        ] {
            let error = adam.step(cpu, t, scale, &mut p, &[1.0; 3], &mut m, &mut v).unwrap_err();
            assert!(matches!(error, Error::Parameter { name: n, .. } if n == name), "{name}: {error}");
        }
        assert_eq!((p, m, v), ([1.0; 3], [1.0; 3], [1.0; 3]));
    }
}
