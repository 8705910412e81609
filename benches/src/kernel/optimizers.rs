//! Optimizer steps, and one with its gradient's norm clipped.

use std::array;

use kernels::Cpu;
use kernels::clip::clip_factor;
use kernels::norm::norm2;
use kernels::optimizer::{
    Adam, AnyOptimizer, Lamb, Lion, MOST_MOMENTS, Optimizer, RmsProp, Sgd, Step,
};

use super::{Case, FITS, Kernel, L2_ELEMENTS, MEMORY, NETWORK, draw};
use crate::copy::Streams;

/// Norm that the gradient is clipped to, as in PyTorch's script.
const LIMIT: f64 = 1.0;

pub(super) fn all(cpu: Cpu<'static>) -> Vec<Kernel> {
    let adam: AnyOptimizer = Adam::default().into();
    let kernel = |name: &str, optimizer: AnyOptimizer| {
        Kernel::new(name, &[L2_ELEMENTS, NETWORK], move |n| case(cpu, optimizer, false, n))
    };
    vec![
        kernel("sgd momentum", Sgd { momentum: 0.9, ..Sgd::default() }.into()),
        Kernel::new("adam", &[L2_ELEMENTS, NETWORK, MEMORY], move |n| {
            case(cpu, adam, false, n).peer("adam", n, 0)
        }),
        Kernel::new("adam clipped", &[L2_ELEMENTS, NETWORK, MEMORY], move |n| {
            case(cpu, adam, true, n).peer("adam_clipped", n, 0)
        }),
        kernel("lion", Lion::default().into()),
        kernel("rmsprop", RmsProp::default().into()),
        kernel("lamb", Lamb::default().into()),
    ]
}

/// A step; the operands are parameters, gradient and moments. Clipping reads the gradient once
/// more; the step applies its scale.
fn case(cpu: Cpu<'static>, optimizer: AnyOptimizer, clipped: bool, n: usize) -> Case {
    let moments = optimizer.moments().len();
    let mut operands = vec![draw(0, n), draw(1, n)];
    operands.resize(2 + moments, vec![0.0; n]);
    let mut t = 0;
    Case::of_any(Streams::new(1, 1 + moments, n), operands, move |operands| {
        let [params, grads, moments @ ..] = operands else { unreachable!("two and the moments") };
        let count = moments.len();
        let mut moments = moments.iter_mut().map(|moment| &mut moment[..]);
        let mut moments: [_; MOST_MOMENTS] = array::from_fn(|_| moments.next().unwrap_or_default());
        t += 1;
        let mut step = Step::new(t, 1e-3);
        if clipped {
            step.scale = norm2(cpu, grads).and_then(|norm| clip_factor(norm, LIMIT)).expect(FITS);
        }
        optimizer.step(cpu, step, params, grads, &mut moments[..count]).expect(FITS);
    })
}
