//! Jacobian of a network: the derivatives of its outputs with respect to its inputs.

use alloc::vec::Vec;

use kernels::Cpu;

use crate::layer::{Backward, Layer};
use crate::{Error, Float, Mode, Network, Weights, Workspace, zeros};

/// Jacobian of `network` for the example `input`, in evaluation mode: `[outputs, inputs]`.
///
/// One backward pass for a batch of as many copies of the example as there are outputs, so that it
/// needs the memory of a workspace of so many rows.
///
/// # Errors
/// [`Error::Length`] if a buffer does not fit the network; [`Error::Memory`] if there is not enough
/// memory.
pub fn jacobian<'a, T: Float>(
    cpu: Cpu<'_>,
    network: &Network,
    weights: impl Into<Weights<'a, T>>,
    input: &[T],
) -> Result<Vec<T>, Error> {
    let mut weights = weights.into();
    let (rows, mode) = (network.outputs(), Mode::Eval);
    let mut workspace = Workspace::new(network, cpu, rows)?;
    let mut grads = zeros(network.layout().len())?;
    let mut jacobian = zeros(rows * input.len())?;
    let inputs = input.repeat(rows);
    network.run(cpu, mode, true, &mut weights, &inputs, &mut workspace)?;
    let parts = workspace.parts();
    let len = rows * rows;
    let (y, dy) = (&parts.outputs[..len], &mut parts.doutputs[..len]);
    dy.fill(T::from_f64(0.0));
    dy.iter_mut().step_by(rows + 1).for_each(|diagonal| *diagonal = T::from_f64(1.0));
    network.sequence().backward(Backward {
        cpu,
        mode,
        rows,
        params: weights.params,
        buffers: weights.buffers,
        x: &inputs,
        y,
        saved: parts.saved,
        statistics: parts.statistics,
        dy,
        relu_applied: false,
        dx: Some(&mut jacobian),
        apply_relu: false,
        grads: &mut grads,
        scratch: parts.scratch,
    })?;
    Ok(jacobian)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use kernels::Isa;

    use super::*;
    use crate::{Activation, Init, LayerSpec};

    #[test]
    fn rows_are_the_gradients_of_the_outputs() {
        let layers = [
            LayerSpec::dense(4, Init::LecunNormal),
            Activation::Tanh.into(),
            LayerSpec::dense(3, Init::LecunNormal),
        ];
        let cpu = Cpu::serial(Isa::detect());
        let network = Network::new(5, &layers).expect("a network");
        let mut params = vec![0.0_f64; network.layout().len()];
        network.init(cpu, 1, &mut params).expect("parameters");
        let input = [0.3, -0.2, 0.9, 0.1, -0.7];
        let found = jacobian(cpu, &network, &params[..], &input).expect("a Jacobian");
        let mut workspace = Workspace::inference(&network, cpu, 1).expect("memory");
        let mut outputs = |i: usize, step: f64| {
            let mut moved = input;
            moved[i] += step;
            network.forward(cpu, &params[..], &moved, &mut workspace).expect("outputs").to_vec()
        };
        for i in 0..input.len() {
            let (above, below) = (outputs(i, 1e-5), outputs(i, -1e-5));
            for j in 0..3 {
                let expected = (above[j] - below[j]) / 2e-5;
                let got = found[j * input.len() + i];
                assert!((got - expected).abs() < 1e-9, "{j}, {i}: {got}, not {expected}");
            }
        }
    }
}
