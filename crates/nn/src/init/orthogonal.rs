//! Orthogonal matrices, uniformly distributed: the Q of a Gaussian matrix's QR decomposition, by
//! Householder reflections.
//!
//! ```text
//! A = standard normal, tall
//! for each column j:  v = A[j.., j], with
//! v
//! added to
//! v[0]
//! ;  A[j..] -= 2 v (v^T A[j..]) /
//! v
//! ^2
//! Q = the reflections, the last first, applied to the identity; column j times the sign of R[j, j]
//! ```
//!
//! The signs make Q uniform (Mezzadri, Notices of the AMS 54, 2007): plain QR is biased. All
//! operations are f64 kernels on whole rows, so that the bits are the same everywhere.

use alloc::vec;
use alloc::vec::Vec;

use kernels::random::{Stream, fill_normal};
use kernels::vector::axpy;
use kernels::{Cpu, math};

use crate::Error;

/// A row-major `[rows, cols]` matrix with orthonormal columns; with orthonormal rows if `rows <
/// cols`.
pub(super) fn orthogonal(
    cpu: Cpu<'_>,
    stream: Stream,
    rows: usize,
    cols: usize,
) -> Result<Vec<f64>, Error> {
    if rows < cols {
        let tall = orthogonal(cpu, stream, cols, rows)?;
        return Ok((0..rows)
            .flat_map(|i| (0..cols).map(|j| tall[j * rows + i]).collect::<Vec<_>>())
            .collect());
    }
    let mut a = vec![0.0; rows * cols];
    fill_normal(cpu, stream, 0.0, 1.0, &mut a)?;
    let mut reflections = Vec::with_capacity(cols);
    for j in 0..cols {
        let mut v: Vec<f64> = (j..rows).map(|i| a[i * cols + j]).collect();
        let length = math::sqrt(cpu, v.iter().fold(0.0, |sum, v| sum + v * v));
        // The sign of v[0] avoids cancellation.
        let signed = if v[0] < 0.0 { -length } else { length };
        v[0] += signed;
        let size = v.iter().fold(0.0, |sum, v| sum + v * v);
        reflect(cpu, &v, size, &mut a[j * cols..], cols)?;
        // R[j, j] has the opposite sign.
        reflections.push((v, size, -signed));
    }
    let mut q = vec![0.0; rows * cols];
    for j in 0..cols {
        q[j * cols + j] = 1.0;
    }
    for (j, (v, size, _)) in reflections.iter().enumerate().rev() {
        reflect(cpu, v, *size, &mut q[j * cols..], cols)?;
    }
    for row in q.chunks_exact_mut(cols.max(1)) {
        for (q, (.., diagonal)) in row.iter_mut().zip(&reflections) {
            if *diagonal < 0.0 {
                *q = -*q;
            }
        }
    }
    Ok(q)
}

/// `a -= 2 v (v^T a) / size` for the rows of `a`, where `size` is `v^T v`. No-op if `size` is 0.
fn reflect(cpu: Cpu<'_>, v: &[f64], size: f64, a: &mut [f64], cols: usize) -> Result<(), Error> {
    if size == 0.0 {
        return Ok(());
    }
    let mut products = vec![0.0; cols];
    for (v, row) in v.iter().zip(a.chunks_exact(cols)) {
        axpy(cpu, *v, row, &mut products)?;
    }
    for (v, row) in v.iter().zip(a.chunks_exact_mut(cols)) {
        axpy(cpu, -2.0 * v / size, &products, row)?;
    }
    Ok(())
}
