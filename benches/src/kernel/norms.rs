//! Norms, clipping, and what a tensor looks like.

use std::hint::black_box;

use kernels::Cpu;
use kernels::clip::clip_norm;
use kernels::norm::norm2;
use kernels::statistics::{histogram, statistics};

use super::{Case, FITS, Kernel, L2_ELEMENTS, MEMORY, NETWORK, draw};
use crate::copy::Streams;

pub(super) fn all(cpu: Cpu<'static>) -> Vec<Kernel> {
    vec![
        Kernel::new("norm", &[L2_ELEMENTS, NETWORK, MEMORY], move |n| {
            Case::new(Streams::new(1, 0, n), [draw(0, n)], move |[x]| {
                black_box(norm2(cpu, x).expect(FITS));
            })
        }),
        Kernel::new("clip by norm", &[L2_ELEMENTS, NETWORK, MEMORY], move |n| {
            let mut limit = 1.0;
            Case::new(Streams::new(0, 1, n), [draw(0, n)], move |[g]| {
                clip_norm(cpu, g, limit).expect(FITS);
                // There is always something to clip.
                limit *= 0.9999;
            })
            .peer("clip", n, 0)
        }),
        Kernel::new("statistics", &[L2_ELEMENTS, NETWORK], move |n| {
            Case::new(Streams::new(1, 0, n), [draw(0, n)], move |[x]| {
                black_box(statistics(cpu, x));
            })
        }),
        Kernel::new("histogram", &[L2_ELEMENTS, NETWORK], move |n| {
            Case::new(Streams::new(1, 0, n), [draw(0, n)], move |[x]| {
                black_box(histogram(cpu, x));
            })
        }),
    ]
}
