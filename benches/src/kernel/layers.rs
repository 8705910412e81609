//! Kernels of layers: normalisation, convolution, pooling, products of bytes; and the products of a
//! training step.

use kernels::convolution::{Convolution, Epilogue, Filters};
use kernels::gemm::GemmShape;
use kernels::normalisation::batch::{batch_norm, batch_norm_backward, batch_norm_scratch};
use kernels::normalisation::layer::{layer_norm, layer_norm_backward, layer_norm_backward_scratch};
use kernels::normalisation::{Affine, AffineGradient};
use kernels::pooling::Pooling;
use kernels::quantised::gemm_i8;
use kernels::{Cpu, Isa, Window};

use super::{Case, FITS, Kernel, draw};
use crate::copy::Streams;
use crate::peers::{Implementation, Ours, operands};
use crate::shape::Shape;

/// Images per step.
const BATCH: usize = 128;
/// Units of a hidden layer.
const CHANNELS: usize = 512;
const EPSILON: f64 = 1e-5;
/// Activations between the convolutions of a small network: images, height, width, channels.
const IMAGES: [usize; 4] = [32, 28, 28, 32];
/// Filters.
const FILTERS: usize = 64;
/// m, n, k of a product of bytes.
const BYTES: [usize; 3] = [128, 512, 784];
/// The products of 784-512-10 at batch 128, without the gradient of the inputs, which no step
/// needs.
const STEP: [&str; 5] = [
    "fwd 128,512,784",
    "head 128,10,512",
    "dW-head 512,10,128",
    "dX-head 128,512,10",
    "dW 784,512,128",
];

const PIXELS: usize = IMAGES[0] * IMAGES[1] * IMAGES[2] * IMAGES[3];

pub(super) fn all(cpu: Cpu<'static>) -> Vec<Kernel> {
    vec![
        Kernel::new("layer norm", &[BATCH * CHANNELS], move |n| layer(cpu, n)),
        Kernel::new("layer norm, gradients", &[BATCH * CHANNELS], move |n| layer_gradients(cpu, n)),
        Kernel::new("batch norm", &[BATCH * CHANNELS], move |n| batch(cpu, n)),
        Kernel::new("batch norm, gradients", &[BATCH * CHANNELS], move |n| batch_gradients(cpu, n)),
        Kernel::new("conv 3x3", &[PIXELS], move |_| convolution(cpu, false)),
        Kernel::new("conv 3x3, rounded to bf16", &[PIXELS], move |_| convolution(cpu, true)),
        Kernel::new("max pooling 2x2", &[PIXELS], move |n| pooling(cpu, n)),
        Kernel::new("product of bytes 128,512,784", &[BYTES[0] * BYTES[1]], move |n| bytes(cpu, n)),
        Kernel::new("products of a training step", &[1], |_| step()),
    ]
}

fn layer(cpu: Cpu<'static>, n: usize) -> Case {
    let (gamma, beta) = (draw(1, CHANNELS), draw(2, CHANNELS));
    let (mut mean, mut rstd) = (vec![0.0; BATCH], vec![0.0; BATCH]);
    Case::new(Streams::new(1, 1, n), [draw(0, n), vec![0.0; n]], move |[x, y]| {
        let affine = Affine::new(&gamma, &beta);
        layer_norm(cpu, x, CHANNELS, affine, EPSILON, &mut mean, &mut rstd, y).expect(FITS);
    })
}

fn layer_gradients(cpu: Cpu<'static>, n: usize) -> Case {
    let gamma = draw(1, CHANNELS);
    let (mean, rstd) = (vec![0.0; BATCH], vec![0.5; BATCH]);
    let (mut dgamma, mut dbeta) = (vec![0.0; CHANNELS], vec![0.0; CHANNELS]);
    let mut scratch = vec![0.0; layer_norm_backward_scratch(BATCH, CHANNELS)];
    Case::new(Streams::new(1, 1, n), [draw(0, n), draw(3, n)], move |[x, dy]| {
        let gradient = AffineGradient::new(&mut dgamma, &mut dbeta);
        layer_norm_backward(
            cpu,
            x,
            CHANNELS,
            Some(&gamma),
            &mean,
            &rstd,
            dy,
            gradient,
            &mut scratch,
        )
        .expect(FITS);
    })
    .shrinking(1)
}

fn batch(cpu: Cpu<'static>, n: usize) -> Case {
    let (gamma, beta) = (draw(1, CHANNELS), draw(2, CHANNELS));
    let (mut mean, mut rstd) = (vec![0.0; CHANNELS], vec![0.0; CHANNELS]);
    let mut scratch = vec![0.0; batch_norm_scratch(BATCH, CHANNELS)];
    Case::new(Streams::new(1, 1, n), [draw(0, n), vec![0.0; n]], move |[x, y]| {
        let affine = Affine::new(&gamma, &beta);
        batch_norm(cpu, x, affine, EPSILON, None, &mut mean, &mut rstd, y, &mut scratch)
            .expect(FITS);
    })
}

fn batch_gradients(cpu: Cpu<'static>, n: usize) -> Case {
    let gamma = draw(1, CHANNELS);
    let (mean, rstd) = (vec![0.0; CHANNELS], vec![0.5; CHANNELS]);
    let (mut dgamma, mut dbeta) = (vec![0.0; CHANNELS], vec![0.0; CHANNELS]);
    let mut scratch = vec![0.0; batch_norm_scratch(BATCH, CHANNELS)];
    Case::new(Streams::new(1, 1, n), [draw(0, n), draw(3, n)], move |[x, dy]| {
        let gradient = AffineGradient::new(&mut dgamma, &mut dbeta);
        batch_norm_backward(cpu, x, Some(&gamma), &mean, &rstd, dy, gradient, &mut scratch)
            .expect(FITS);
    })
    .shrinking(1)
}

fn convolution(cpu: Cpu<'static>, rounded: bool) -> Case {
    let window = Window::new([3, 3]).padding([1, 1]);
    let convolution = Convolution::new(IMAGES, window, Filters::new(FILTERS)).expect(FITS);
    let convolution = if rounded { convolution.rounded().in_order() } else { convolution };
    let (w, bias) = (draw(1, convolution.w_len()), draw(2, FILTERS));
    let mut scratch = vec![0.0; convolution.forward_scratch::<f32>(1)];
    let operands = [draw(0, convolution.x_len()), vec![0.0; convolution.y_len()]];
    Case::new(Streams::default(), operands, move |[x, y]| {
        convolution.forward(cpu, x, &w, Epilogue::bias(&bias), y, &mut scratch).expect(FITS);
    })
}

fn pooling(cpu: Cpu<'static>, n: usize) -> Case {
    let pooling = Pooling::new(IMAGES, Window::new([2, 2]).stride([2, 2])).expect(FITS);
    let streams = Streams { read: vec![n], written: vec![n / 4] };
    Case::new(streams, [draw(0, n), vec![0.0; n / 4]], move |[x, y]| {
        pooling.max(cpu, x, y).expect(FITS);
    })
}

fn bytes(cpu: Cpu<'static>, n: usize) -> Case {
    let [m, n_cols, k] = BYTES;
    let draw_bytes =
        |stream, len| draw(stream, len).iter().map(|x| (x * 30.0) as i8).collect::<Vec<i8>>();
    let (a, b, mut c) = (draw_bytes(0, m * k), draw_bytes(1, k * n_cols), vec![0; n]);
    Case::new(Streams::default(), [], move |[]| {
        gemm_i8(cpu, GemmShape { m, n: n_cols, k }, &a, &b, &mut c).expect(FITS);
    })
}

fn step() -> Case {
    let shapes = Shape::all().into_iter().filter(|shape| STEP.contains(&&shape.to_string()[..]));
    let mut products: Vec<_> = shapes.map(|shape| (operands::<f32>(&shape), shape)).collect();
    let mut ours = Ours::new(1, Isa::detect());
    Case::new(Streams::default(), [], move |[]| {
        for ((a, b, c), shape) in &mut products {
            ours.multiply(shape, a, b, c);
        }
    })
}
