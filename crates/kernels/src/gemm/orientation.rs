//! Whether lanes lie along C's rows or along its columns: whichever costs less. Both give the same bits.

use super::operand::Elements;
use crate::Float;

/// A register's worth of B that is turned while it is packed, in multiplications of registers. Benchmark `gemm`.
const TURN: usize = 10;
/// A register's worth of B that is converted.
const CONVERT: usize = 2;
/// A register's worth of C that is turned before it is stored.
const TURN_C: usize = 8;
/// So few rows are as slow as this many: their sums wait for one another.
const FEW: usize = 4;

/// Whether the product is better computed as its transpose: `a` is k x m, `b` k x n, registers have `lanes` lanes.
pub(super) fn turns<T: Float>(a: &Elements<'_, T>, b: &Elements<'_, T>, lanes: usize) -> bool {
    let (m, n, k) = (a.shape().cols, b.shape().cols, a.depth());
    let registers = |width: usize| width.div_ceil(lanes);
    let product = |rows: usize, width: usize| rows.max(FEW).saturating_mul(registers(width)).saturating_mul(k);
    let packing = |b: &Elements<'_, T>| {
        let each = match (lanes, b.runs_across(), b.in_place()) {
            (1, ..) | (_, true, Some(_)) => 0,
            (_, true, None) => CONVERT,
            (_, false, _) => TURN,
        };
        registers(b.shape().cols).saturating_mul(k).saturating_mul(each)
    };
    let straight = product(m, n).saturating_add(packing(b));
    let turned = product(n, m)
        .saturating_add(packing(a))
        .saturating_add(m.saturating_mul(registers(n)).saturating_mul(TURN_C));
    turned < straight
}
