//! Standardisation of the input by the mean and standard deviation of a training set, and its
//! inverse for outputs that are values. The statistics are saved with the network.

use alloc::boxed::Box;
use alloc::vec::Vec;

use kernels::Cpu;
use kernels::math::sqrt;

use crate::layer::{AnyLayer, Backward, Describe, Float, Forward, Layer};
use crate::parameter::{Order, Parameter, Start};
use crate::registry::{Build, BuildContext};
use crate::{Error, Shape};

/// Standardisation of the input by the statistics of the training set: `y = (x - mean) / std`, per
/// element of a row. `mean` and `std` are buffers, 0 and 1 until
/// [`Network::fit`](crate::Network::fit) sets them before training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
pub struct Standardise {}

impl Build for Standardise {
    fn build(&self, input: Shape, _: &BuildContext<'_>) -> Result<Box<dyn AnyLayer>, Error> {
        Ok(Box::new(StandardiseLayer { shape: input }))
    }
}

/// [`Standardise`] of rows of a known shape.
#[derive(Debug)]
struct StandardiseLayer {
    shape: Shape,
}

impl Describe for StandardiseLayer {
    fn output(&self) -> Shape {
        self.shape
    }

    fn buffers(&self) -> Vec<Parameter> {
        statistics(self.shape)
    }

    fn fit(
        &self,
        cpu: Cpu<'_>,
        next: &mut dyn FnMut(&mut [f64]) -> bool,
        buffers: &mut [f64],
    ) -> bool {
        measure(cpu, next, buffers);
        true
    }
}

/// The tensors `mean` and `std` of rows of `shape`.
fn statistics(shape: Shape) -> Vec<Parameter> {
    let tensor = |name: &str, start| Parameter {
        name: name.into(),
        shape: Vec::from([shape.elements()]),
        order: match shape {
            Shape::Image { height, width, channels } if channels > 1 => {
                Order::Image { positions: height * width, channels }
            }
            _ => Order::Same,
        },
        start: Start::Constant(start),
    };
    Vec::from([tensor("mean", 0.0), tensor("std", 1.0)])
}

/// Computes mean and standard deviation of each column of the rows that `next` writes, and writes
/// them to `statistics`: `[mean | std]`. `next` returns `false` at the end.
pub(crate) fn measure(
    cpu: Cpu<'_>,
    next: &mut dyn FnMut(&mut [f64]) -> bool,
    statistics: &mut [f64],
) {
    let (mean, deviation) = statistics.split_at_mut(statistics.len() / 2);
    let (mut row, mut count) = (mean.to_vec(), 0.0);
    mean.fill(0.0);
    deviation.fill(0.0);
    while next(&mut row) {
        count += 1.0;
        for ((mean, squares), &x) in mean.iter_mut().zip(&mut *deviation).zip(&row) {
            let before = x - *mean;
            *mean += before / count;
            *squares += before * (x - *mean);
        }
    }
    for (squares, mean) in deviation.iter_mut().zip(mean) {
        let std = sqrt(cpu, *squares / f64::max(count, 1.0));
        // A constant column stays 0. A deviation within the rounding error of the mean is that
        // of a constant.
        *squares = if std <= f64::EPSILON * mean.abs() { 1.0 } else { std };
    }
}

/// `y = (x - mean) / std`, per element of a row. `x` and `y` are `[rows, mean.len()]`.
pub(crate) fn apply<T: Float>(mean: &[T], std: &[T], x: &[T], y: &mut [T]) {
    for (x, y) in x.chunks_exact(mean.len()).zip(y.chunks_exact_mut(mean.len())) {
        for (((y, &x), &mean), &std) in y.iter_mut().zip(x).zip(mean).zip(std) {
            *y = x;
            *y -= mean;
            *y /= std;
        }
    }
}

/// `x /= std`, per element of a row: the backward pass of [`apply`]. `x` is `[rows, std.len()]`.
pub(crate) fn divide<T: Float>(std: &[T], x: &mut [T]) {
    for x in x.chunks_exact_mut(std.len()) {
        x.iter_mut().zip(std).for_each(|(x, &std)| *x /= std);
    }
}

impl<T: Float> Layer<T> for StandardiseLayer {
    fn forward(&self, pass: Forward<'_, T>) -> Result<(), Error> {
        let (mean, std) = pass.buffers.split_at(self.shape.elements());
        apply(mean, std, pass.x, pass.y);
        Ok(())
    }

    fn backward(&self, pass: Backward<'_, T>) -> Result<(), Error> {
        let Some(dx) = pass.dx else { return Ok(()) };
        dx.copy_from_slice(pass.dy);
        divide(&pass.buffers[self.shape.elements()..], dx);
        Ok(())
    }
}

/// Inverse of [`Standardise`], for outputs that are values: `y = x std + mean`, per element of a
/// row.
///
/// As the last layer, it is fitted to the targets of the training set by
/// [`Network::fit_targets`](crate::Network::fit_targets), and regression losses compare its
/// outputs, standardised again, with standardised targets:
/// [`Network::standardises_targets`](crate::Network::standardises_targets). The round trip costs
/// about u |mean| / std of each output. `mean` and `std` are buffers, 0 and 1 until then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
pub struct Unstandardise {}

impl Build for Unstandardise {
    fn build(&self, input: Shape, _: &BuildContext<'_>) -> Result<Box<dyn AnyLayer>, Error> {
        Ok(Box::new(UnstandardiseLayer { shape: input }))
    }
}

/// [`Unstandardise`] of rows of a known shape.
#[derive(Debug)]
struct UnstandardiseLayer {
    shape: Shape,
}

impl Describe for UnstandardiseLayer {
    fn output(&self) -> Shape {
        self.shape
    }

    fn buffers(&self) -> Vec<Parameter> {
        statistics(self.shape)
    }
}

impl<T: Float> Layer<T> for UnstandardiseLayer {
    fn forward(&self, pass: Forward<'_, T>) -> Result<(), Error> {
        let width = self.shape.elements();
        let (mean, std) = pass.buffers.split_at(width);
        for (x, y) in pass.x.chunks_exact(width).zip(pass.y.chunks_exact_mut(width)) {
            for (((y, &x), &mean), &std) in y.iter_mut().zip(x).zip(mean).zip(std) {
                *y = x;
                *y *= std;
                *y += mean;
            }
        }
        Ok(())
    }

    fn backward(&self, pass: Backward<'_, T>) -> Result<(), Error> {
        let Some(dx) = pass.dx else { return Ok(()) };
        let width = self.shape.elements();
        let std = &pass.buffers[width..];
        for (dx, dy) in dx.chunks_exact_mut(width).zip(pass.dy.chunks_exact(width)) {
            for ((dx, &dy), &std) in dx.iter_mut().zip(dy).zip(std) {
                *dx = dy;
                *dx *= std;
            }
        }
        Ok(())
    }
}
