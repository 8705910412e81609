//! Activations with their gradients, and dropout.

use kernels::Cpu;
use kernels::activation::{Activation, Saved};
use kernels::dropout::Dropout;
use kernels::random::Stream;

use super::{Case, FITS, Kernel, L2_ELEMENTS, MEMORY, NETWORK, draw};
use crate::copy::Streams;

const ACTIVATIONS: [(Activation, &str, &str); 5] = [
    (Activation::Relu, "relu", "relu_gradient"),
    (Activation::Sigmoid, "sigmoid", "sigmoid_gradient"),
    (Activation::Tanh, "tanh", "tanh_gradient"),
    (Activation::Gelu, "gelu", "gelu_gradient"),
    (Activation::Silu, "silu", "silu_gradient"),
];

pub(super) fn all(cpu: Cpu<'static>) -> Vec<Kernel> {
    let mut all = Vec::new();
    for (activation, name, gradient) in ACTIVATIONS {
        let sizes: &[usize] = match activation {
            Activation::Relu | Activation::Gelu => &[L2_ELEMENTS, NETWORK, MEMORY],
            _ => &[L2_ELEMENTS, NETWORK],
        };
        all.push(Kernel::new(name, sizes, move |n| {
            Case::new(Streams::new(1, 1, n), [draw(0, n), vec![0.0; n]], move |[x, y]| {
                activation.forward(cpu, x, y).expect(FITS);
            })
            .peer(name, n, 1)
        }));
        all.push(Kernel::new(gradient, sizes, move |n| {
            let mut saved = draw(0, n);
            if activation.saved() == Saved::Output {
                activation.forward_in_place(cpu, &mut saved).expect(FITS);
            }
            Case::new(Streams::new(1, 1, n), [saved, draw(1, n)], move |[saved, dy]| {
                activation.backward(cpu, saved, dy).expect(FITS);
            })
            .peer(gradient, n, 1)
            .shrinking(1)
        }));
    }
    all.push(Kernel::new("dropout", &[L2_ELEMENTS, NETWORK], move |n| {
        let dropout = Dropout { p: 0.5, stream: Stream::new(1, 0) };
        Case::new(Streams::new(1, 1, n), [draw(0, n), vec![0.0; n]], move |[x, y]| {
            dropout.forward(cpu, 0, x, y).expect(FITS);
        })
    }));
    all
}
