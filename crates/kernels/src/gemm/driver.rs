//! One product: arguments are checked, oriented, and split into tasks.
//!
//! ```text
//! check shapes and scratch
//! choose lanes along C's rows or along its columns        -- `orientation`
//! if k is long and C small, split k                       -- `split_k`
//! else split C into blocks, one task each                 -- `grid`, `macrokernel`
//! column sums that no task computes besides: a product of their own
//! ```
//!
//! Called by `gemm`, `gemm_bf16` and `gemm_batch`.

use super::arithmetic::Arithmetic;
use super::epilogue::{Activation, Epilogue};
use super::grid::Grid;
use super::macrokernel::{Task, task_len};
use super::operand::OperandView;
use super::orientation::is_faster_transposed;
use super::output::OutputType;
use super::product::Product;
use super::scratch::Slots;
use super::shape::GemmShape;
use super::split_k;
use super::view::Target;
use crate::error::check_length;
use crate::{Cpu, Error, Float, MatRef};

/// Arguments of a product.
pub(super) struct Call<'a, K: Arithmetic, O> {
    pub(super) cpu: Cpu<'a>,
    pub(super) alpha: K::Acc,
    /// `[m, k]` and `[k, n]`.
    pub(super) operands: [OperandView<'a, K::Acc>; 2],
    pub(super) beta: K::Acc,
    pub(super) c: Target<'a, O>,
    /// Storage of the accumulators between two summation blocks: C, or as large as C, or empty if
    /// there is one block.
    pub(super) partial: Target<'a, K::Acc>,
    pub(super) epilogue: Epilogue<'a, K::Acc, O>,
}

impl<K: Arithmetic, O: OutputType<K::Acc>> Call<'_, K, O> {
    /// Checks all arguments, then multiplies. `expected` is the length of `scratch`, which may also
    /// be empty.
    ///
    /// # Safety
    /// - `partial` has C's shape, unless k fits one summation block or C is empty.
    /// - Nothing else accesses C and `partial` meanwhile.
    pub(super) unsafe fn run(self, expected: usize, scratch: &mut [K::Acc]) -> Result<(), Error> {
        let Self { cpu, alpha, operands: [a, b], beta, c, partial, epilogue } = self;
        let (m, n, k) = (c.rows(), c.cols(), a.shape().cols);
        check_length("rows of a", m, a.shape().rows)?;
        check_length("rows of b", k, b.shape().rows)?;
        check_length("columns of b", n, b.width())?;
        // A bias is a matrix whose rows are all the same.
        let bias = match epilogue.bias {
            None => None,
            Some(bias) => {
                check_length("bias", n, bias.len())?;
                Some(MatRef::strided(bias, m, n, 0, 1)?)
            }
        };
        let mut z = epilogue.z;
        if let Some(z) = &z {
            check_length("rows of z", m, z.rows())?;
            check_length("columns of z", n, z.cols())?;
        }
        let (relu, y) = match epilogue.activation {
            Activation::Identity => (false, None),
            Activation::Relu => (true, None),
            Activation::ReluGradient(y) => {
                check_length("rows of y", m, y.rows())?;
                check_length("columns of y", n, y.cols())?;
                (false, Some(y))
            }
        };
        if let Some(sums) = &epilogue.column_sums {
            check_length("column sums", n, sums.len())?;
        }
        if scratch.len() < expected && !scratch.is_empty() {
            return Err(Error::Scratch { expected, got: scratch.len() });
        }

        let beta = (beta != <K::Acc as Float>::ZERO).then_some(beta);
        let z = z.as_mut().map(Target::new);
        let column_sums = epilogue.column_sums.map(Target::row);
        // SAFETY: the checks above have found that the shapes agree, bias, `z` and `y` included;
        // the conditions on `partial` and on other accesses are those of this function.
        let product = unsafe { Product::<K, O>::new(alpha, [a.transpose(), b], beta, c, partial) };
        let mut product = Product { bias, z, relu, y, ..product };
        let mut is_swapped = false;
        // Registers are stored along the rows of C. Where its columns are contiguous instead, its
        // transpose is computed.
        if c.col_stride() != 1 && c.row_stride() == 1 {
            product = product.swap_operands().transpose_output();
            is_swapped = true;
        }
        // Packed operands are read as B is. Where both are packed, the other one is read slowly.
        let swap = match (product.a.panels(), product.b.panels()) {
            (None, None) => is_faster_transposed(&product.a, &product.b, cpu.isa.lanes::<K::Acc>()),
            (packed, other) => packed.is_some() && other.is_none(),
        };
        if swap {
            product = product.swap_operands();
            is_swapped = !is_swapped;
        }
        // Where the columns of B run along the tiles' rows, or there are no tiles, the column sums
        // are a product of their own.
        let separate_sums = if is_swapped || m == 0 { column_sums } else { None };
        product.column_sums = if separate_sums.is_none() { column_sums } else { None };
        run_tasks(cpu, &product, scratch);
        let Some(sums) = separate_sums else { return Ok(()) };
        let ones = [K::ONE];
        let ones = OperandView::dense(MatRef::strided(&ones, b.depth(), 1, 0, 0)?);
        // SAFETY: `ones` is `[k, 1]`, and `sums`, which the epilogue borrows, has been checked to
        // be as long as B is wide.
        let product = unsafe { Product::<K, K::Acc>::new(alpha, [ones, b], beta, sums, sums) };
        run_tasks(cpu, &product, scratch);
        Ok(())
    }
}

/// Inverse of the assumed density of a sparse operand's columns. In images of digits one pixel in
/// five is nonzero.
const SPARSE_INVERSE_DENSITY: usize = 4;

/// Splits `product` into tasks and runs them.
fn run_tasks<K: Arithmetic, O: OutputType<K::Acc>>(
    cpu: Cpu<'_>,
    product: &Product<'_, K, O>,
    scratch: &mut [K::Acc],
) {
    let GemmShape { m, n, k } = product.shape();
    if m == 0 || n == 0 {
        return;
    }
    let tasks = split_k::tasks(product, cpu.threads(), scratch.len());
    if tasks > 1 {
        return split_k::split(cpu, product, tasks, scratch);
    }
    let slots = Slots::new(scratch, task_len::<K::Acc>(m.max(n), k));
    let nonzero = if product.a.is_sparse() { k / SPARSE_INVERSE_DENSITY } else { k };
    let grid = Grid::new(slots.count().min(cpu.threads()), (m, n), nonzero);
    cpu.for_each(grid.tasks(), &|task| {
        let (rows, cols) = grid.block(task);
        // SAFETY: the grid has at most as many tasks as there are slots, and `for_each` passes each
        // index once.
        let scratch = unsafe { slots.get(task) };
        // SAFETY: the blocks of the grid are disjoint and inside C, and `for_each` passes each
        // index once.
        K::run(cpu.isa, unsafe { Task::new(product, rows, cols, scratch) });
    });
}
