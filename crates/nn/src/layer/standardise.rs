//! Standardisation of the input by the statistics of a training set, which are saved with the network.

use alloc::vec::Vec;

use kernels::Cpu;
use kernels::math::sqrt;

use crate::layer::{Backward, Describe, Float, Forward, Layer, Parameter, Start};
use crate::layout::Order;
use crate::{Error, Shape};

/// `y = (x - mean) / std`, element by element of a row. `mean` and `std` are buffers, 0 and 1 until
/// [`Network::fit`](crate::Network::fit) sets them.
#[derive(Debug)]
pub(crate) struct Standardise {
    shape: Shape,
}

impl Standardise {
    pub(crate) fn new(shape: Shape) -> Self {
        Self { shape }
    }
}

impl Describe for Standardise {
    fn output(&self) -> Shape {
        self.shape
    }

    fn buffers(&self) -> Vec<Parameter> {
        let tensor = |name: &str, start| Parameter {
            name: name.into(),
            shape: Vec::from([self.shape.elements()]),
            order: match self.shape {
                Shape::Image { height, width, channels } if channels > 1 => {
                    Order::Image { places: height * width, channels }
                }
                _ => Order::Same,
            },
            start: Start::Constant(start),
        };
        Vec::from([tensor("mean", 0.0), tensor("std", 1.0)])
    }

    fn fit(&self, cpu: Cpu<'_>, next: &mut dyn FnMut(&mut [f64]) -> bool, buffers: &mut [f64]) -> bool {
        let (mean, deviation) = buffers.split_at_mut(self.shape.elements());
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
            // A constant column stays 0. One whose deviation is that of the mean's rounding is constant, whatever its unit.
            *squares = if std <= f64::EPSILON * mean.abs() { 1.0 } else { std };
        }
        true
    }
}

impl<T: Float> Layer<T> for Standardise {
    fn forward(&self, pass: Forward<'_, T>) -> Result<(), Error> {
        let width = self.shape.elements();
        let (mean, std) = pass.buffers.split_at(width);
        for (x, y) in pass.x.chunks_exact(width).zip(pass.y.chunks_exact_mut(width)) {
            for (((y, &x), &mean), &std) in y.iter_mut().zip(x).zip(mean).zip(std) {
                *y = x;
                *y -= mean;
                *y /= std;
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
                *dx /= std;
            }
        }
        Ok(())
    }
}
