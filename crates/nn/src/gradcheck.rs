//! Proof of a network's gradients by finite differences in f64: what the loss really does when a number moves.
//!
//! ```text
//! numeric[i] = (8 (f(x + h) - f(x - h)) - (f(x + 2h) - f(x - 2h))) / 12h           fourth order, h = STEP
//! error[i]   = |analytic - numeric| / max(|analytic|, |numeric|, 1e-3 max |analytic|)
//! ```
//!
//! Where an activation has a kink within reach of the differences, these are no derivative: the same differences with half the step
//! disagree with them then, whatever the analytic gradient is, and the element is counted apart.

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use kernels::Cpu;

use crate::{Batch, Error, Mode, Network, Weights, Workspace};

/// The step of the differences: the formula's error, h^4, meets that of rounding, 1e-16 / h.
const STEP: f64 = 1e-3;

/// Differences with a step and with half of it that are further apart than this, relatively, stand at a kink.
const KINK: f64 = 1e-6;

/// What was found for one tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// The tensor's name, or `inputs`.
    pub tensor: String,
    /// How many elements were compared.
    pub elements: usize,
    /// How many stand at a kink, and were not.
    pub kinks: usize,
    /// The largest relative error.
    pub max_rel_error: f64,
    /// The element that has it, counted within the tensor.
    pub worst: usize,
}

/// Compares the gradient of `network` by each parameter and by the inputs with finite differences, at `weights` and `batch`, and
/// `mode`, in which what is drawn is the same each time. Tensors without elements are left out.
///
/// # Errors
/// What a pass of the network refuses.
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
        // Running statistics would go on from step to step.
        let mut buffers = buffers.to_vec();
        let (weights, batch) = (Weights { params, buffers: &mut buffers }, Batch { inputs, ..batch });
        let score = match gradient {
            Some((grads, dinputs)) => {
                network.gradients(cpu, mode, weights, batch, &mut workspace, grads, Some(dinputs))?
            }
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

/// The check of the elements `range` of `gradient`, the derivative of `f` at `x`.
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
        // NaN is as wrong as can be.
        if a == b { 0.0 } else { Some((a - b).abs() / size).filter(|e| !e.is_nan()).unwrap_or(f64::INFINITY) }
    };
    let mut check = Check { tensor: tensor.to_string(), elements: 0, kinks: 0, max_rel_error: 0.0, worst: 0 };
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
