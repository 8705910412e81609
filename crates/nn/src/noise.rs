//! Gradient noise, which helps a training out of poor local minima.

use kernels::random::{Stream, fill_normal};
use kernels::{Cpu, math, vector};

use crate::error::check_parameter;
use crate::{Error, Float};

/// Gaussian noise added to gradients, with variance `scale / (1 + step)^decay` (Neelakantan et al.
/// 2015, "Adding gradient noise improves learning for very deep networks").
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
pub struct Noise {
    /// Variance at step 0, at least 0. The paper tries 0.01, 0.3 and 1.
    pub scale: f64,
    /// Exponent of the decay, at least 0. The paper uses 0.55.
    #[cfg_attr(feature = "serde", serde(default = "decay"))]
    pub decay: f64,
}

#[cfg(feature = "serde")]
fn decay() -> f64 {
    0.55
}

/// Block size: elements of noise drawn per call.
const BLOCK: usize = 1024;

impl Noise {
    /// Checks that `scale` and `decay` are in range.
    ///
    /// # Errors
    /// [`kernels::Error::Parameter`] for the first that is not.
    pub fn check(&self) -> Result<(), Error> {
        let check = |name, x: f64| {
            check_parameter(name, "finite and at least 0", x, x >= 0.0 && x.is_finite())
        };
        check("scale", self.scale)?;
        check("decay", self.decay)
    }

    /// Adds the noise of step `step` of a run to `grads`: a function of (`seed`, `step`, index).
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn add<T: Float>(
        &self,
        cpu: Cpu<'_>,
        seed: u64,
        step: u64,
        grads: &mut [T],
    ) -> Result<(), Error> {
        self.check()?;
        let fall =
            |cpu: Cpu<'_>, x: &[f64], y: &mut [f64]| math::pow_scalar(cpu, x, -self.decay, y);
        let variance = self.scale * math::at(cpu, fall, (1 + step) as f64);
        let deviation = T::from_f64(math::sqrt(cpu, variance));
        // Streams from 2^62 to 2^63 belong to no layer and no initial weight.
        let stream = Stream::new(seed, 1 << 62 | (step & 0xFFFF_FFFF) << 24);
        let mut noise = [T::ZERO; BLOCK];
        for (block, grads) in (0..).zip(grads.chunks_mut(BLOCK)) {
            let noise = &mut noise[..grads.len()];
            fill_normal(cpu, stream.beyond(block), T::ZERO, deviation, noise)?;
            vector::accumulate(cpu, noise, grads)?;
        }
        Ok(())
    }
}
