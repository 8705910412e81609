//! Softmax cross-entropy with its gradient.

use kernels::Cpu;
use kernels::loss::{CrossEntropy, Targets};

use super::{Case, FITS, Kernel, draw};
use crate::copy::Streams;

/// Images a step.
const ROWS: usize = 128;

/// By the number of classes. PyTorch's peer is what its users write, or the same without autograd.
pub(super) fn all(cpu: Cpu<'static>) -> Vec<Kernel> {
    let mut all = Vec::new();
    for (classes, sizes) in [(10, &[ROWS * 10]), (1000, &[ROWS * 1000])] {
        for (name, peer) in [
            ("cross-entropy", "cross_entropy"),
            ("cross-entropy, no autograd", "cross_entropy_calls"),
        ] {
            all.push(Kernel::new(format!("{name} {ROWS}x{classes}"), sizes, move |n| {
                let labels: Vec<u32> = (0..ROWS).map(|i| (i % classes) as u32).collect();
                let operands = [draw(0, n), vec![0.0; ROWS], vec![0.0; n]];
                Case::new(Streams::new(1, 1, n), operands, move |[logits, losses, dlogits]| {
                    let (loss, labels) = (CrossEntropy::default(), Targets::Labels(&labels));
                    let mean = 1.0 / ROWS as f32;
                    loss.gradient(cpu, logits, classes, labels, mean, losses, dlogits).expect(FITS);
                })
                .peer(peer, classes, 2)
            }));
        }
    }
    all
}
