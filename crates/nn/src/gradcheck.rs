//! Gradient check: a network's gradients against finite differences of its loss, in f64.
//!
//! ```text
//! numeric[i] = (8 (f(x + h) - f(x - h)) - (f(x + 2h) - f(x - 2h))) / 12h   fourth order, h = STEP
//! error[i]   = |analytic - numeric| / max(|analytic|, |numeric|, 1e-3 max |analytic|)
//! ```
//!
//! Near a kink of an activation, such as ReLU's at 0, finite differences are no derivative:
//! differences with half the step then disagree with them, whatever the analytic gradient is. Such
//! elements are counted separately.

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use kernels::Cpu;

use crate::{Batch, Error, Mode, Network, Weights, Workspace};

/// Step of the differences: balances the truncation error, h^4, with the rounding error, 1e-16 / h.
const STEP: f64 = 1e-3;

/// Relative difference between the results of a step and of half of it above which an element is at
/// a kink.
const KINK: f64 = 1e-6;

/// Result for one tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// Name of the tensor, or `inputs`.
    pub tensor: String,
    /// Number of elements compared.
    pub elements: usize,
    /// Number of elements at a kink, which are not compared.
    pub kinks: usize,
    /// Largest relative error.
    pub max_rel_error: f64,
    /// Index, within the tensor, of the element with the largest relative error.
    pub worst: usize,
}

/// Compares the gradients of `network` with respect to its parameters and inputs with finite
/// differences, at `weights`, `batch` and `mode`. Every pass of a [`Mode::Train`] draws the same
/// random numbers. Tensors without elements are left out.
///
/// # Errors
/// Any error of a pass of the network.
pub fn gradcheck(
    cpu: Cpu<'_>,
    network: &Network,
    mode: Mode,
    weights: Weights<'_, f64>,
    batch: Batch<'_, f64>,
) -> Result<Vec<Check>, Error> {
    let rows = batch.inputs.len() / network.inputs().max(1);
    let mut workspace = Workspace::new(network, cpu, rows)?;
    let Weights { params, buffers } = weights;
    let (mut grads, mut dinputs) = (vec![0.0; params.len()], vec![0.0; batch.inputs.len()]);
    let mut loss = |params: &[f64], inputs: &[f64], gradient: Option<(&mut [f64], &mut [f64])>| {
        // Every pass starts from the same running statistics.
        let mut buffers = buffers.to_vec();
        let (weights, batch) =
            (Weights { params, buffers: &mut buffers }, Batch { inputs, ..batch });
        let score = match gradient {
            Some((grads, dinputs)) => network.gradients(
                cpu,
                mode,
                weights,
                batch,
                &mut workspace,
                grads,
                Some(dinputs),
            )?,
            None => network.score(cpu, mode, weights, batch, &mut workspace)?,
        };
        Ok::<f64, Error>(score.mean_loss())
    };
    loss(params, batch.inputs, Some((&mut grads, &mut dinputs)))?;

    let mut checks = Vec::new();
    let mut moved = params.to_vec();
    for tensor in network.layout().tensors() {
        let range = tensor.range.clone();
        checks.extend(compare(&tensor.name, range, &grads, &mut moved, |params| {
            loss(params, batch.inputs, None)
        })?);
    }
    let mut moved = batch.inputs.to_vec();
    checks.extend(compare("inputs", 0..moved.len(), &dinputs, &mut moved, |inputs| {
        loss(params, inputs, None)
    })?);
    Ok(checks)
}

/// Checks the elements `range` of `gradient`, the derivative of `f` at `x`.
fn compare(
    tensor: &str,
    range: Range<usize>,
    gradient: &[f64],
    x: &mut [f64],
    mut f: impl FnMut(&[f64]) -> Result<f64, Error>,
) -> Result<Option<Check>, Error> {
    if range.is_empty() {
        return Ok(None);
    }
    let start = range.start;
    let largest = gradient[range.clone()].iter().fold(0.0_f64, |most, g| most.max(g.abs()));
    let apart = |a: f64, b: f64| {
        let size = a.abs().max(b.abs()).max(1e-3 * largest);
        // NaN counts as an infinite error.
        if a == b {
            0.0
        } else {
            Some((a - b).abs() / size).filter(|e| !e.is_nan()).unwrap_or(f64::INFINITY)
        }
    };
    let mut check =
        Check { tensor: tensor.to_string(), elements: 0, kinks: 0, max_rel_error: 0.0, worst: 0 };
    for i in range {
        let at = x[i];
        let mut difference = |step: f64| {
            let mut shifted = |steps: f64| {
                x[i] = at + steps * step;
                let value = f(x);
                x[i] = at;
                value
            };
            let (near, far) = (shifted(1.0)? - shifted(-1.0)?, shifted(2.0)? - shifted(-2.0)?);
            Ok::<f64, Error>((8.0 * near - far) / (12.0 * step))
        };
        let numeric = difference(STEP)?;
        let error = apart(gradient[i], numeric);
        if error > KINK && apart(numeric, difference(0.5 * STEP)?) > KINK {
            check.kinks += 1;
            continue;
        }
        check.elements += 1;
        if error > check.max_rel_error {
            (check.max_rel_error, check.worst) = (error, i - start);
        }
    }
    Ok(Some(check))
}
