//! Multi-head self-attention.
//!
//! ```text
//! q k v = x W_in + b_in                     q, k and v side by side, and the heads within each
//! for each row and head:  p = softmax(q k^T / sqrt(width));  o = p v
//! y = o W_out + b_out
//! ```
//!
//! Backward runs the transposed products, with the saved softmax outputs. Rows are independent:
//! each pass is a parallel region over blocks of rows.

use alloc::boxed::Box;
use alloc::vec::Vec;

use kernels::gemm::{Batch, BatchMut, Epilogue, GemmShape, gemm_batch, gemm_scratch};
use kernels::math::sqrt;
use kernels::softmax::{softmax_backward, softmax_in_place};
use kernels::vector::scale;
use kernels::{Cpu, MatRef};

use crate::init::Fans;
use crate::layer::dense::{Weight, product, product_backward};
use crate::layer::split::{for_each, split, split_mut, split_mut_rest};
use crate::layer::{AnyLayer, Backward, Describe, Float, Forward, Layer};
use crate::parameter::{Order, Parameter, Start};
use crate::registry::{Build, BuildContext};
use crate::{Compute, Error, Init, Precision, Shape};

/// Multi-head self-attention: every step attends to every step (Vaswani et al., NIPS 2017).
/// PyTorch: `MultiheadAttention` with `batch_first`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
pub struct Attention {
    /// Number of heads, a divisor of the features.
    pub heads: usize,
    /// `true` if a step attends only to itself and earlier steps.
    #[cfg_attr(feature = "serde", serde(default))]
    pub causal: bool,
    /// Initialiser of the projections.
    #[cfg_attr(feature = "serde", serde(default = "crate::keys::glorot_uniform"))]
    pub init: Init,
}

impl Build for Attention {
    fn build(&self, input: Shape, context: &BuildContext<'_>) -> Result<Box<dyn AnyLayer>, Error> {
        let Self { heads, causal, init } = *self;
        context.check_divisor(("heads", heads), ("features", input.features()))?;
        let (steps, features) = context.steps(input)?;
        let precision = context.compute.precision;
        Ok(Box::new(AttentionLayer { steps, features, heads, causal, init, precision }))
    }
}

/// [`Attention`] over sequences of a known shape.
#[derive(Debug)]
struct AttentionLayer {
    steps: usize,
    features: usize,
    /// A divisor of `features`.
    heads: usize,
    causal: bool,
    init: Init,
    precision: Precision,
}

impl AttentionLayer {
    /// A weight matrix over the features.
    fn weight<'a, T>(&self, elements: &'a [T]) -> Weight<'a, T> {
        Weight::new(
            elements,
            self.features,
            Compute { precision: self.precision, sparse_inputs: false },
        )
    }

    /// Features per head.
    fn width(&self) -> usize {
        self.features / self.heads
    }

    /// Elements per row: of q, k and v together; of the probabilities; of o.
    fn lengths(&self) -> [usize; 3] {
        let all = self.steps.saturating_mul(self.features);
        let probabilities = self.steps.saturating_mul(self.steps).saturating_mul(self.heads);
        [all.saturating_mul(3), probabilities, all]
    }

    fn tensors(&self) -> [usize; 4] {
        let features = self.features;
        [3 * features * features, 3 * features, features * features, features]
    }

    /// The heads of q (0), k (1) or v (2) of a row, each `[steps, width]`.
    fn heads<'a, T>(&self, row: &'a [T], which: usize) -> Result<Batch<'a, T>, kernels::Error> {
        let (steps, width) = (self.steps, self.width());
        Batch::strided(&row[which * self.features..], self.heads, width, |head| {
            MatRef::strided(head, steps, width, 3 * self.features, 1)
        })
    }

    /// The heads of o of a row, each `[steps, width]`.
    fn outputs<'a, T>(&self, row: &'a [T]) -> Result<Batch<'a, T>, kernels::Error> {
        let (steps, width) = (self.steps, self.width());
        Batch::strided(row, self.heads, width, |head| {
            MatRef::strided(head, steps, width, self.features, 1)
        })
    }

    /// The probabilities of each head of a row, each `[steps, steps]`.
    fn probabilities<'a, T>(&self, row: &'a [T]) -> Result<Batch<'a, T>, kernels::Error> {
        let steps = self.steps;
        Batch::strided(row, self.heads, steps * steps, |head| MatRef::row_major(head, steps, steps))
    }

    fn probabilities_mut<'a, T>(
        &self,
        row: &'a mut [T],
    ) -> Result<BatchMut<'a, T>, kernels::Error> {
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
        BatchMut::strided(
            &mut row[which * self.features..],
            self.heads,
            self.width(),
            shape,
            (across, 1),
        )
    }
}

/// Per-row computations, without the projections.
impl AttentionLayer {
    /// Elements of scratch per task: of the products of a row, and the gradients of its
    /// probabilities.
    fn task_len<T: Float>(&self) -> usize {
        let (steps, width) = (self.steps, self.width());
        let products = gemm_scratch::<T>(1, GemmShape { m: steps, n: steps, k: width })
            .max(gemm_scratch::<T>(1, GemmShape { m: steps, n: width, k: steps }));
        products.saturating_add(self.lengths()[1])
    }

    /// Rows per task: one task per thread, as far as the scratch allows.
    fn block<T: Float>(&self, cpu: Cpu<'_>, rows: usize, scratch: &[T]) -> usize {
        let tasks = (scratch.len() / self.task_len::<T>().max(1)).min(cpu.executor.threads());
        rows.div_ceil(tasks.max(1))
    }

    /// Computes the probabilities and o of a row.
    fn row<T: Float>(
        &self,
        cpu: Cpu<'_>,
        qkv: &[T],
        p: &mut [T],
        o: &mut [T],
        scratch: &mut [T],
    ) -> Result<(), kernels::Error> {
        let (steps, features) = (self.steps, self.features);
        let scale = T::from_f64(1.0 / sqrt(cpu, self.width() as f64));
        let (q, k, v) = (self.heads(qkv, 0)?, self.heads(qkv, 1)?, self.heads(qkv, 2)?);
        gemm_batch(cpu, scale, q, k.transpose(), T::ZERO, self.probabilities_mut(p)?, scratch)?;
        if self.causal {
            for head in p.chunks_exact_mut(steps * steps) {
                for (step, scores) in head.chunks_exact_mut(steps).enumerate() {
                    scores[step + 1..].fill(-T::INFINITY);
                }
            }
        }
        softmax_in_place(cpu, p, steps)?;
        gemm_batch(
            cpu,
            T::ONE,
            self.probabilities(p)?,
            v,
            T::ZERO,
            self.heads_mut(o, 0, features)?,
            scratch,
        )
    }

    /// Computes the gradients of q, k and v of a row.
    fn row_backward<T: Float>(
        &self,
        cpu: Cpu<'_>,
        qkv: &[T],
        p: &[T],
        d_o: &[T],
        dqkv: &mut [T],
        scratch: &mut [T],
    ) -> Result<(), kernels::Error> {
        let (dp, scratch) = scratch.split_at_mut(self.lengths()[1]);
        let (one, zero, across) = (T::ONE, T::ZERO, 3 * self.features);
        let (d_o, p_t) = (self.outputs(d_o)?, self.probabilities(p)?.transpose());
        let (q, k, v) = (self.heads(qkv, 0)?, self.heads(qkv, 1)?, self.heads(qkv, 2)?);
        gemm_batch(cpu, one, p_t, d_o, zero, self.heads_mut(dqkv, 2, across)?, scratch)?;
        gemm_batch(cpu, one, d_o, v.transpose(), zero, self.probabilities_mut(dp)?, scratch)?;
        softmax_backward(cpu, p, self.steps, dp)?;
        scale(cpu, T::from_f64(1.0 / sqrt(cpu, self.width() as f64)), dp);
        let dscores = self.probabilities(dp)?;
        gemm_batch(cpu, one, dscores, k, zero, self.heads_mut(dqkv, 0, across)?, scratch)?;
        gemm_batch(
            cpu,
            one,
            dscores.transpose(),
            q,
            zero,
            self.heads_mut(dqkv, 1, across)?,
            scratch,
        )
    }
}

impl Describe for AttentionLayer {
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
        let (separate, one) =
            (Start::Draw { init, fans: Fans { parts: 3, ..fans } }, Start::Draw { init, fans });
        Vec::from([
            matrix("in_proj_weight", 3 * features, separate),
            Parameter::vector("in_proj_bias", 3 * features, 0.0),
            matrix("out_proj.weight", features, one),
            Parameter::vector("out_proj.bias", features, 0.0),
        ])
    }

    fn saved(&self, rows: usize) -> usize {
        let row = self.lengths().into_iter().fold(0, usize::saturating_add);
        rows.saturating_mul(row)
    }
}

impl<T: Float> Layer<T> for AttentionLayer {
    fn scratch(&self, rows: usize, threads: usize) -> usize {
        let (all, features) = (rows.saturating_mul(self.steps), self.features);
        let product = |m, n, k| T::product_scratch(self.precision, threads, m, n, k);
        let products = [
            product(all, 3 * features, features),
            product(all, features, 3 * features),
            product(features, 3 * features, all),
            product(features, features, all),
            threads.saturating_mul(self.task_len::<T>()),
        ];
        // Backward: the gradients of q, k and v, and of o.
        let [qkv, _, o] = self.lengths();
        let gradients = rows.saturating_mul(qkv.saturating_add(o));
        products.into_iter().max().unwrap_or(0).saturating_add(gradients)
    }

    fn forward(&self, pass: Forward<'_, T>) -> Result<(), Error> {
        let Forward { cpu, rows, params, x, y, saved, scratch, .. } = pass;
        let [w_in, b_in, w_out, b_out] = split(params, self.tensors());
        let [qkv_len, p_len, o_len] = self.lengths();
        let [qkv, p, o] = split_mut(saved, [rows * qkv_len, rows * p_len, rows * o_len]);

        let (w_in, w_out) = (self.weight(w_in), self.weight(w_out));
        product(cpu, x, w_in, Epilogue::bias(b_in), qkv, scratch)?;
        let block = self.block(cpu, rows, scratch);
        let blocks = qkv
            .chunks(block * qkv_len)
            .zip(p.chunks_mut(block * p_len))
            .zip(o.chunks_mut(block * o_len));
        for_each(
            cpu,
            blocks.zip(scratch.chunks_mut(self.task_len::<T>())),
            |cpu, (((qkv, p), o), scratch)| {
                let mut rows =
                    qkv.chunks(qkv_len).zip(p.chunks_mut(p_len)).zip(o.chunks_mut(o_len));
                rows.try_for_each(|((qkv, p), o)| self.row(cpu, qkv, p, o, scratch))
            },
        )?;
        product(cpu, o, w_out, Epilogue::bias(b_out), y, scratch)
    }

    fn backward(&self, pass: Backward<'_, T>) -> Result<(), Error> {
        let Backward { cpu, rows, params, x, saved, dy, dx, grads, scratch, .. } = pass;
        let [w_in, _, w_out, _] = split(params, self.tensors());
        let [qkv_len, p_len, o_len] = self.lengths();
        let [qkv, p, o] = split_mut(saved, [rows * qkv_len, rows * p_len, rows * o_len]);
        let ([dqkv, d_o], scratch) = split_mut_rest(scratch, [rows * qkv_len, rows * o_len]);
        let [dw_in, db_in, dw_out, db_out] = split_mut(grads, self.tensors());
        let (w_in, w_out) = (self.weight(w_in), self.weight(w_out));

        product_backward(
            cpu,
            o,
            w_out,
            dy,
            (dw_out, Some(db_out)),
            Some((&mut *d_o, false)),
            scratch,
        )?;
        let block = self.block(cpu, rows, scratch);
        let blocks = qkv.chunks(block * qkv_len).zip(p.chunks(block * p_len));
        let blocks = blocks.zip(d_o.chunks(block * o_len)).zip(dqkv.chunks_mut(block * qkv_len));
        let tasks = blocks.zip(scratch.chunks_mut(self.task_len::<T>()));
        for_each(cpu, tasks, |cpu, ((((qkv, p), d_o), dqkv), scratch)| {
            let rows = qkv.chunks(qkv_len).zip(p.chunks(p_len)).zip(d_o.chunks(o_len));
            rows.zip(dqkv.chunks_mut(qkv_len)).try_for_each(|(((qkv, p), d_o), dqkv)| {
                self.row_backward(cpu, qkv, p, d_o, dqkv, scratch)
            })
        })?;
        product_backward(
            cpu,
            x,
            w_in,
            dqkv,
            (dw_in, Some(db_in)),
            dx.map(|dx| (dx, false)),
            scratch,
        )
    }
}
