//! A sequential network as a textbook writes it: nested loops in f64, std's maths, nothing fused, nothing reused.
#![expect(
    clippy::disallowed_methods,
    reason = "an oracle must not use what it judges; nothing here reaches a run"
)]

use nn::{Activation, LayerSpec};

/// What [`run`] found.
#[derive(Debug)]
pub struct Found {
    /// Mean softmax cross-entropy over the batch.
    pub loss: f64,
    /// dloss/dparams, in the order of the parameters.
    pub grads: Vec<f64>,
    /// dloss/dinput, rows x inputs.
    pub dinput: Vec<f64>,
    /// The distance of the nearest number to a kink: the least |x| that entered a ReLU.
    pub nearest_kink: f64,
}

/// Loss and gradients of a network of these layers. `params` holds, for each dense layer in turn, its weight
/// (inputs x units, row after row) and its bias.
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
        // Forward, one row at a time; every layer's input is kept.
        let mut kept = vec![input[row * inputs..(row + 1) * inputs].to_vec()];
        let mut offset = 0;
        for layer in layers {
            let x = kept.last().expect("the input is kept first");
            let y = match layer {
                LayerSpec::Dense { units, .. } => {
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
                    let least = x.iter().fold(f64::INFINITY, |least, x| least.min(x.abs()));
                    found.nearest_kink = found.nearest_kink.min(least);
                    x.iter().map(|x| if *x > 0.0 { *x } else { 0.0 }).collect()
                }
                other => unreachable!("the oracle does not know {other:?}"),
            };
            kept.push(y);
        }
        let logits = kept.pop().expect("the logits are kept last");
        let label = labels[row] as usize;
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = logits.iter().map(|z| (z - largest).exp()).sum();
        found.loss += (total.ln() + largest - logits[label]) / rows as f64;

        // Backward: the gradient of softmax cross-entropy is p - y, and then layer by layer down.
        let probability = |z: &f64| (z - largest).exp() / total;
        let mut dy: Vec<f64> = logits.iter().map(probability).collect();
        dy[label] -= 1.0;
        dy.iter_mut().for_each(|d| *d /= rows as f64);
        for layer in layers.iter().rev() {
            let x = kept.pop().expect("one input for each layer");
            dy = match layer {
                LayerSpec::Dense { units, .. } => {
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
