//! Whether lanes lie along C's rows or along its columns: whichever costs less. Both give the same bits.

use super::operand::Elements;
use crate::Float;

/// A register's worth of B that is turned while it is packed, in multiplications of registers. Benchmark `gemm`.
const TURN: usize = 10;
/// A register's worth of C that is turned before it is stored.
const TURN_C: usize = 8;
/// So few rows are as slow as this many: their sums wait for one another.
const FEW: usize = 4;

/// Whether the product is better computed as its transpose: `a` is k x m, `b` k x n, registers have `lanes` lanes.
pub(super) fn turns<T: Float>(a: &Elements<'_, T>, b: &Elements<'_, T>, lanes: usize) -> bool {
    let (m, n, k) = (a.shape().cols, b.shape().cols, a.depth());
    let registers = |width: usize| width.div_ceil(lanes);
    let product = |rows: usize, width: usize| {
        rows.max(FEW).saturating_mul(registers(width)).saturating_mul(k)
    };
    let packing = |b: &Elements<'_, T>| {
        // What is converted is converted in either place.
        if lanes == 1 || b.runs_across() {
            0
        } else {
            registers(b.shape().cols).saturating_mul(k).saturating_mul(TURN)
        }
    };
    let straight = product(m, n).saturating_add(packing(b));
    let turned = product(n, m)
        .saturating_add(packing(a))
        .saturating_add(m.saturating_mul(registers(n)).saturating_mul(TURN_C));
    turned < straight
}
