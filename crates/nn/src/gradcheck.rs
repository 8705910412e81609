//! Gradient check: a network's gradients against finite differences of its loss, in f64.
//!
//! ```text
//! numeric[i] = (8 (f(x + h) - f(x - h)) - (f(x + 2h) - f(x - 2h))) / 12h   fourth order, h = STEP
//! error[i]   = |analytic - numeric| / max(|analytic|, |numeric|, 1e-3 max |analytic|)
//! ```
//!
//! Near a kink of an activation, such as ReLU's at 0, finite differences are no derivative:
//! differences with half the step then disagree with them, whatever the analytic gradient is. Right
//! at it they agree, but the slopes above and below differ. Such elements are counted separately.

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use kernels::Cpu;

use crate::{Batch, Error, Mode, Network, Weights, Workspace};

/// Step of the differences: balances the truncation error, h^4, with the rounding error, 1e-16 / h.
const STEP: f64 = 1e-3;

/// Relative difference between the results of a step and of half of it above which an element is at
/// a kink.
const KINK: f64 = 1e-6;

/// Errors are relative to at least this fraction of a tensor's largest gradient.
const FLOOR: f64 = 1e-3;

/// Same of the largest gradient of all, where a few elements are checked.
const OVERALL_FLOOR: f64 = 1e-5;

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
    let mut pass = Pass::new(cpu, network, mode, weights.buffers, batch)?;
    let params = weights.params;
    let (grads, dinputs) = pass.gradients(params)?;
    let mut checks = Vec::new();
    let mut moved = params.to_vec();
    for tensor in network.layout().tensors() {
        let range = tensor.range.clone();
        if range.is_empty() {
            continue;
        }
        let floor = FLOOR * largest(&grads[range.clone()]);
        let part = Part { name: &tensor.name, start: range.start, floor };
        checks.push(compare(part, range, &grads, &mut moved, |params| {
            pass.loss(params, batch.inputs)
        })?);
    }
    let mut moved = batch.inputs.to_vec();
    let part = Part { name: "inputs", start: 0, floor: FLOOR * largest(&dinputs) };
    checks.push(compare(part, 0..moved.len(), &dinputs, &mut moved, |inputs| {
        pass.loss(params, inputs)
    })?);
    Ok(checks)
}

/// Compares the gradient with respect to `elements` parameters alone: those with the largest
/// gradients of as many tensors, evenly spaced over the network. Takes about four passes for each.
/// Otherwise as [`gradcheck`], but errors are relative to at least a hundred-thousandth of the
/// largest gradient of all: a bias before a batch norm has none but rounding.
///
/// # Errors
/// Any error of a pass of the network.
pub fn gradcheck_largest(
    cpu: Cpu<'_>,
    network: &Network,
    mode: Mode,
    weights: Weights<'_, f64>,
    batch: Batch<'_, f64>,
    elements: usize,
) -> Result<Vec<Check>, Error> {
    let mut pass = Pass::new(cpu, network, mode, weights.buffers, batch)?;
    let mut params = weights.params.to_vec();
    let (grads, _) = pass.gradients(&params)?;
    let mut tensors = network.layout().tensors().to_vec();
    tensors.retain(|tensor| !tensor.range.is_empty());
    let count = tensors.len();
    let floor = OVERALL_FLOOR * largest(&grads);
    let mut checks = Vec::new();
    for (index, tensor) in tensors.iter().enumerate() {
        // Elements of this tensor, so that they are `elements` in all.
        let share = (index + 1) * elements / count - index * elements / count;
        if share == 0 {
            continue;
        }
        let mut chosen: Vec<usize> = tensor.range.clone().collect();
        let share = share.min(chosen.len());
        chosen
            .select_nth_unstable_by(share - 1, |&a, &b| grads[b].abs().total_cmp(&grads[a].abs()));
        chosen.truncate(share);
        let part = Part { name: &tensor.name, start: tensor.range.start, floor };
        checks.push(compare(part, chosen, &grads, &mut params, |params| {
            pass.loss(params, batch.inputs)
        })?);
    }
    Ok(checks)
}

/// Passes of a network with the same buffers, batch and random numbers.
struct Pass<'a> {
    cpu: Cpu<'a>,
    network: &'a Network,
    mode: Mode,
    buffers: &'a [f64],
    batch: Batch<'a, f64>,
    workspace: Workspace<f64>,
}

impl<'a> Pass<'a> {
    fn new(
        cpu: Cpu<'a>,
        network: &'a Network,
        mode: Mode,
        buffers: &'a [f64],
        batch: Batch<'a, f64>,
    ) -> Result<Self, Error> {
        let rows = batch.inputs.len() / network.inputs().max(1);
        let workspace = Workspace::new(network, cpu, rows)?;
        Ok(Self { cpu, network, mode, buffers, batch, workspace })
    }

    /// Mean loss.
    fn loss(&mut self, params: &[f64], inputs: &[f64]) -> Result<f64, Error> {
        let Self { cpu, network, mode, buffers, batch, workspace } = self;
        // Every pass starts from the same running statistics.
        let weights = Weights { params, buffers: &mut buffers.to_vec() };
        let batch = Batch { inputs, ..*batch };
        Ok(network.score(*cpu, *mode, weights, batch, workspace)?.mean_loss())
    }

    /// Gradients of the mean loss with respect to parameters and inputs.
    fn gradients(&mut self, params: &[f64]) -> Result<(Vec<f64>, Vec<f64>), Error> {
        let Self { cpu, network, mode, buffers, batch, workspace } = self;
        let (mut grads, mut dinputs) = (vec![0.0; params.len()], vec![0.0; batch.inputs.len()]);
        let weights = Weights { params, buffers: &mut buffers.to_vec() };
        let into = Some(&mut dinputs[..]);
        network.gradients(*cpu, *mode, weights, *batch, workspace, &mut grads, into)?;
        Ok((grads, dinputs))
    }
}

/// Largest magnitude of `values`.
fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0_f64, |most, value| most.max(value.abs()))
}

/// A tensor that is checked.
struct Part<'a> {
    name: &'a str,
    /// Index of its first element.
    start: usize,
    /// Magnitude that errors are relative to, at least.
    floor: f64,
}

/// Checks `elements` of `gradient`, the derivative of `f` at `x`. They are of the tensor `part`.
fn compare(
    part: Part<'_>,
    elements: impl IntoIterator<Item = usize>,
    gradient: &[f64],
    x: &mut [f64],
    mut f: impl FnMut(&[f64]) -> Result<f64, Error>,
) -> Result<Check, Error> {
    let Part { name, start, floor } = part;
    let apart = |a: f64, b: f64| {
        let size = a.abs().max(b.abs()).max(floor);
        // NaN counts as an infinite error.
        if a == b {
            0.0
        } else {
            Some((a - b).abs() / size).filter(|e| !e.is_nan()).unwrap_or(f64::INFINITY)
        }
    };
    let mut check =
        Check { tensor: name.to_string(), elements: 0, kinks: 0, max_rel_error: 0.0, worst: 0 };
    for i in elements {
        let at = x[i];
        let mut shifted = |by: f64| {
            x[i] = at + by;
            let value = f(x);
            x[i] = at;
            value
        };
        let mut difference = |step: f64| {
            let (near, far) =
                (shifted(step)? - shifted(-step)?, shifted(2.0 * step)? - shifted(-2.0 * step)?);
            Ok::<f64, Error>((8.0 * near - far) / (12.0 * step))
        };
        let numeric = difference(STEP)?;
        let error = apart(gradient[i], numeric);
        if error > KINK {
            let disagrees = apart(numeric, difference(0.5 * STEP)?) > KINK;
            // Slope above less slope below: that of a smooth function halves with the step.
            let here = shifted(0.0)?;
            let mut jump = |step: f64| {
                Ok::<f64, Error>((shifted(step)? - 2.0 * here + shifted(-step)?).abs() / step)
            };
            let (coarse, fine) = (jump(STEP)?, jump(0.5 * STEP)?);
            if disagrees || (fine > 0.75 * coarse && fine >= (gradient[i] - numeric).abs()) {
                check.kinks += 1;
                continue;
            }
        }
        check.elements += 1;
        if error > check.max_rel_error {
            (check.max_rel_error, check.worst) = (error, i - start);
        }
    }
    Ok(check)
}
