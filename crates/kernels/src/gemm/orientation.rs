//! Choice between a product and its transpose: register lanes run along C's rows or along its
//! columns, whichever costs less. Both give the same bits. Called by `driver`.

use super::operand::OperandView;
use crate::Float;

/// Cost of transposing a register of B while it is packed, in multiplications of registers.
/// Benchmark `gemm`.
const TRANSPOSE_B: usize = 10;

/// Cost of transposing a register of C before it is stored.
const TRANSPOSE_C: usize = 8;

/// Fewer rows take as long as this many: their accumulators wait for one another.
const MIN_ROWS: usize = 4;

/// `true` if the transposed product is faster: `a` is `[k, m]`, `b` is `[k, n]`, registers have
/// `lanes` lanes.
pub(super) fn is_faster_transposed<T: Float>(
    a: &OperandView<'_, T>,
    b: &OperandView<'_, T>,
    lanes: usize,
) -> bool {
    let (m, n, k) = (a.width(), b.width(), a.depth());
    let registers = |width: usize| width.div_ceil(lanes);
    let product = |rows: usize, width: usize| {
        rows.max(MIN_ROWS).saturating_mul(registers(width)).saturating_mul(k)
    };
    let packing = |b: &OperandView<'_, T>| {
        // Conversion costs the same for either operand.
        if lanes == 1 || b.has_contiguous_rows() {
            0
        } else {
            registers(b.width()).saturating_mul(k).saturating_mul(TRANSPOSE_B)
        }
    };
    let straight = product(m, n).saturating_add(packing(b));
    let transposed = product(n, m)
        .saturating_add(packing(a))
        .saturating_add(m.saturating_mul(registers(n)).saturating_mul(TRANSPOSE_C));
    transposed < straight
}
