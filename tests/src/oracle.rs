//! A sequential network in its textbook form: nested loops in f64, std's mathematics, nothing
//! fused, nothing reused.
#![expect(
    clippy::disallowed_methods,
    reason = "an oracle must not use the code under test; nothing here reaches a run"
)]

use nn::{Activation, Dense, LayerSpec};

/// Result of [`run`].
#[derive(Debug)]
pub struct Found {
    /// Mean softmax cross-entropy over the batch.
    pub loss: f64,
    /// dloss/dparams, in the order of the parameters.
    pub grads: Vec<f64>,
    /// dloss/dinput, `[rows, inputs]`.
    pub dinput: Vec<f64>,
    /// Smallest distance to a kink: the minimum of |x| over all inputs of a ReLU.
    pub nearest_kink: f64,
}

/// Loss and gradients of a network of these layers. `params` has, for each dense layer in order,
/// its weight, `[inputs, units]`, and its bias.
pub fn run(
    layers: &[LayerSpec],
    inputs: usize,
    params: &[f64],
    input: &[f64],
    labels: &[u32],
) -> Found {
    let rows = labels.len();
    let mut found = Found {
        loss: 0.0,
        grads: vec![0.0; params.len()],
        dinput: vec![0.0; input.len()],
        nearest_kink: f64::INFINITY,
    };
    for row in 0..rows {
        // Forward, one row at a time; every layer's input is saved.
        let mut saved = vec![input[row * inputs..(row + 1) * inputs].to_vec()];
        let mut offset = 0;
        for layer in layers {
            let x = saved.last().expect("the input is saved first");
            let y = match layer {
                LayerSpec::Dense(Dense { units, .. }) => {
                    let (weight, bias) = (&params[offset..], &params[offset + x.len() * units..]);
                    offset += (x.len() + 1) * units;
                    (0..*units)
                        .map(|j| {
                            bias[j]
                                + x.iter()
                                    .enumerate()
                                    .map(|(i, x)| x * weight[i * units + j])
                                    .sum::<f64>()
                        })
                        .collect()
                }
                LayerSpec::Activation(Activation::Relu) => {
                    let nearest = x.iter().fold(f64::INFINITY, |min, x| min.min(x.abs()));
                    found.nearest_kink = found.nearest_kink.min(nearest);
                    x.iter().map(|x| if *x > 0.0 { *x } else { 0.0 }).collect()
                }
                other => unreachable!("the oracle does not know {other:?}"),
            };
            saved.push(y);
        }
        let logits = saved.pop().expect("the logits are saved last");
        let label = labels[row] as usize;
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = logits.iter().map(|z| (z - largest).exp()).sum();
        found.loss += (total.ln() + largest - logits[label]) / rows as f64;

        // Backward: the gradient of softmax cross-entropy, p - y, then the layers in reverse.
        let probability = |z: &f64| (z - largest).exp() / total;
        let mut dy: Vec<f64> = logits.iter().map(probability).collect();
        dy[label] -= 1.0;
        dy.iter_mut().for_each(|d| *d /= rows as f64);
        for layer in layers.iter().rev() {
            let x = saved.pop().expect("one input for each layer");
            dy = match layer {
                LayerSpec::Dense(Dense { units, .. }) => {
                    offset -= (x.len() + 1) * units;
                    for (j, dy) in dy.iter().enumerate() {
                        for (i, x) in x.iter().enumerate() {
                            found.grads[offset + i * units + j] += x * dy;
                        }
                        found.grads[offset + x.len() * units + j] += dy;
                    }
                    let weight = &params[offset..];
                    (0..x.len())
                        .map(|i| (0..*units).map(|j| dy[j] * weight[i * units + j]).sum())
                        .collect()
                }
                LayerSpec::Activation(Activation::Relu) => {
                    x.iter().zip(dy).map(|(x, d)| if *x > 0.0 { d } else { 0.0 }).collect()
                }
                other => unreachable!("the oracle does not know {other:?}"),
            };
        }
        found.dinput[row * inputs..(row + 1) * inputs].copy_from_slice(&dy);
    }
    found
}
