//! Multi-head self-attention.
//!
//! ```text
//! q k v = x W_in + b_in                     side by side, heads side by side in each
//! for each row and head:  p = softmax(q k^T / sqrt(width));  o = p v
//! y = o W_out + b_out
//! ```
//!
//! Backward runs the same products the other way round; what softmax gave is kept.

use alloc::vec::Vec;

use kernels::MatRef;
use kernels::gemm::{Batch, BatchMut, Epilogue, gemm_batch, gemm_scratch};
use kernels::math::sqrt;
use kernels::softmax::{softmax_backward, softmax_in_place};
use kernels::vector::scale;

use crate::init::Fans;
use crate::layer::dense::{Weight, product, product_backward};
use crate::layer::parts::{split, split_mut, split_mut_rest};
use crate::layer::{Backward, Describe, Float, Forward, Layer, Parameter, Start};
use crate::layout::Order;
use crate::{Compute, Error, Init, Precision, Shape};

/// Every step looks at every step (Vaswani et al., NIPS 2017). PyTorch: `MultiheadAttention` with `batch_first`, of x with
/// itself.
#[derive(Debug)]
pub(crate) struct Attention {
    steps: usize,
    features: usize,
    heads: usize,
    /// Whether a step looks at itself and earlier ones alone.
    causal: bool,
    init: Init,
    precision: Precision,
}

impl Attention {
    /// `heads` divides the features.
    pub(crate) fn new(
        steps: usize,
        features: usize,
        heads: usize,
        causal: bool,
        init: Init,
        precision: Precision,
    ) -> Self {
        Self { steps, features, heads, causal, init, precision }
    }

    /// A matrix of weights by the features.
    fn weight<'a, T>(&self, elements: &'a [T]) -> Weight<'a, T> {
        Weight::new(elements, self.features, Compute { precision: self.precision, sparse_inputs: false })
    }

    /// Features of a head.
    fn width(&self) -> usize {
        self.features / self.heads
    }

    /// Elements of a row: of q, k and v together; of the probabilities; of o.
    fn lengths(&self) -> [usize; 3] {
        let all = self.steps.saturating_mul(self.features);
        let probabilities = self.steps.saturating_mul(self.steps).saturating_mul(self.heads);
        [all.saturating_mul(3), probabilities, all]
    }

    fn tensors(&self) -> [usize; 4] {
        let features = self.features;
        [3 * features * features, 3 * features, features * features, features]
    }

    /// The heads of q (0), k (1) or v (2) in a row, each steps x width.
    fn heads<'a, T>(&self, row: &'a [T], which: usize) -> Result<Batch<'a, T>, kernels::Error> {
        let (steps, width) = (self.steps, self.width());
        Batch::strided(&row[which * self.features..], self.heads, width, |head| {
            MatRef::strided(head, steps, width, 3 * self.features, 1)
        })
    }

    /// The heads of o in a row, each steps x width.
    fn outputs<'a, T>(&self, row: &'a [T]) -> Result<Batch<'a, T>, kernels::Error> {
        let (steps, width) = (self.steps, self.width());
        Batch::strided(row, self.heads, width, |head| MatRef::strided(head, steps, width, self.features, 1))
    }

    /// The probabilities of each head in a row, each steps x steps.
    fn squares<'a, T>(&self, row: &'a [T]) -> Result<Batch<'a, T>, kernels::Error> {
        let steps = self.steps;
        Batch::strided(row, self.heads, steps * steps, |head| MatRef::row_major(head, steps, steps))
    }

    fn squares_mut<'a, T>(&self, row: &'a mut [T]) -> Result<BatchMut<'a, T>, kernels::Error> {
        let steps = self.steps;
        BatchMut::strided(row, self.heads, steps * steps, (steps, steps), (steps, 1))
    }

    fn heads_mut<'a, T>(
        &self,
        row: &'a mut [T],
        which: usize,
        across: usize,
    ) -> Result<BatchMut<'a, T>, kernels::Error> {
        let shape = (self.steps, self.width());
        BatchMut::strided(&mut row[which * self.features..], self.heads, self.width(), shape, (across, 1))
    }
}

impl Describe for Attention {
    fn output(&self) -> Shape {
        Shape::Steps { steps: self.steps, features: self.features }
    }

    fn parameters(&self) -> Vec<Parameter> {
        let features = self.features;
        let matrix = |name: &str, outputs, start| Parameter {
            name: name.into(),
            shape: Vec::from([features, outputs]),
            order: Order::Transposed,
            start,
        };
        let init = self.init;
        let fans = Fans::matrix(features, features);
        let (apart, one) =
            (Start::Draw { init, fans: Fans { parts: 3, ..fans } }, Start::Draw { init, fans });
        Vec::from([
            matrix("in_proj_weight", 3 * features, apart),
            Parameter::vector("in_proj_bias", 3 * features, 0.0),
            matrix("out_proj.weight", features, one),
            Parameter::vector("out_proj.bias", features, 0.0),
        ])
    }

    fn kept(&self, rows: usize) -> usize {
        let row = self.lengths().into_iter().fold(0, usize::saturating_add);
        rows.saturating_mul(row)
    }
}

impl<T: Float> Layer<T> for Attention {
    fn scratch(&self, rows: usize, threads: usize) -> usize {
        let (all, features, steps) = (rows.saturating_mul(self.steps), self.features, self.steps);
        let product = |m, n, k| T::product_scratch(self.precision, threads, m, n, k);
        let square = |m, n, k| gemm_scratch::<T>(threads, m, n, k);
        let products = [
            product(all, 3 * features, features),
            product(all, features, 3 * features),
            product(features, 3 * features, all),
            product(features, features, all),
            square(steps, steps, self.width()),
            square(steps, self.width(), steps),
        ];
        // Backward: the gradients of q, k and v, of o, and of one row's probabilities.
        let [qkv, probabilities, o] = self.lengths();
        let gradients = rows.saturating_mul(qkv.saturating_add(o)).saturating_add(probabilities);
        products.into_iter().max().unwrap_or(0).saturating_add(gradients)
    }

    fn forward(&self, pass: Forward<'_, T>) -> Result<(), Error> {
        let Forward { cpu, rows, params, x, y, kept, scratch, .. } = pass;
        let (steps, features) = (self.steps, self.features);
        let [w_in, b_in, w_out, b_out] = split(params, self.tensors());
        let [qkv_len, p_len, o_len] = self.lengths();
        let [qkv, p, o] = split_mut(kept, [rows * qkv_len, rows * p_len, rows * o_len]);

        let (w_in, w_out) = (self.weight(w_in), self.weight(w_out));
        product(cpu, x, w_in, Epilogue::bias(b_in), qkv, scratch)?;
        let (one, zero) = (T::ONE, T::ZERO);
        let size = T::from_f64(1.0 / sqrt(cpu, self.width() as f64));
        for row in 0..rows {
            let qkv = &qkv[row * qkv_len..][..qkv_len];
            let p = &mut p[row * p_len..][..p_len];
            let (q, k, v) = (self.heads(qkv, 0)?, self.heads(qkv, 1)?, self.heads(qkv, 2)?);
            gemm_batch(cpu, size, q, k.transpose(), zero, self.squares_mut(p)?, scratch)?;
            if self.causal {
                for head in p.chunks_exact_mut(steps * steps) {
                    for (step, scores) in head.chunks_exact_mut(steps).enumerate() {
                        scores[step + 1..].fill(-T::INFINITY);
                    }
                }
            }
            softmax_in_place(cpu, p, steps)?;
            let o = self.heads_mut(&mut o[row * o_len..][..o_len], 0, features)?;
            gemm_batch(cpu, one, self.squares(p)?, v, zero, o, scratch)?;
        }
        product(cpu, o, w_out, Epilogue::bias(b_out), y, scratch)
    }

    fn backward(&self, pass: Backward<'_, T>) -> Result<(), Error> {
        let Backward { cpu, rows, params, x, kept, dy, dx, grads, scratch, .. } = pass;
        let (steps, features) = (self.steps, self.features);
        let [w_in, _, w_out, _] = split(params, self.tensors());
        let [qkv_len, p_len, o_len] = self.lengths();
        let [qkv, p, o] = split_mut(kept, [rows * qkv_len, rows * p_len, rows * o_len]);
        let ([dqkv, d_o, dp], scratch) = split_mut_rest(scratch, [rows * qkv_len, rows * o_len, p_len]);
        let [dw_in, db_in, dw_out, db_out] = split_mut(grads, self.tensors());
        let (w_in, w_out) = (self.weight(w_in), self.weight(w_out));

        product_backward(cpu, o, w_out, dy, (dw_out, Some(db_out)), Some((&mut *d_o, false)), scratch)?;
        let (one, zero) = (T::ONE, T::ZERO);
        let size = T::from_f64(1.0 / sqrt(cpu, self.width() as f64));
        for row in 0..rows {
            let qkv = &qkv[row * qkv_len..][..qkv_len];
            let dqkv = &mut dqkv[row * qkv_len..][..qkv_len];
            let p = &p[row * p_len..][..p_len];
            let d_o = self.outputs(&d_o[row * o_len..][..o_len])?;
            let (q, k, v) = (self.heads(qkv, 0)?, self.heads(qkv, 1)?, self.heads(qkv, 2)?);
            let across = 3 * features;
            gemm_batch(
                cpu,
                one,
                self.squares(p)?.transpose(),
                d_o,
                zero,
                self.heads_mut(dqkv, 2, across)?,
                scratch,
            )?;
            gemm_batch(cpu, one, d_o, v.transpose(), zero, self.squares_mut(dp)?, scratch)?;
            softmax_backward(cpu, p, steps, dp)?;
            scale(cpu, size, dp);
            let dscores = self.squares(dp)?;
            gemm_batch(cpu, one, dscores, k, zero, self.heads_mut(dqkv, 0, across)?, scratch)?;
            gemm_batch(cpu, one, dscores.transpose(), q, zero, self.heads_mut(dqkv, 1, across)?, scratch)?;
        }
        product_backward(cpu, x, w_in, dqkv, (dw_in, Some(db_in)), dx.map(|dx| (dx, false)), scratch)
    }
}
