//! Singular values of a small matrix.

/// Sweeps over all pairs of rows; a handful is enough.
const SWEEPS: usize = 30;

/// Singular values of `matrix`, with rows of `columns` elements, from the largest to the smallest.
/// There are as many as it has rows, or columns if these are fewer.
///
/// One-sided Jacobi: pairs of rows are rotated until all are orthogonal; their lengths are the
/// singular values, each with a small relative error (Demmel, Veselic, SIAM J. Matrix Anal. Appl.
/// 13, 1992). The same bits on every machine.
pub(crate) fn singular_values(matrix: &[f64], columns: usize) -> Vec<f64> {
    let mut rows: Vec<Vec<f64>> =
        matrix.chunks_exact(columns.max(1)).map(<[f64]>::to_vec).collect();
    if rows.len() > columns {
        rows = (0..columns).map(|column| rows.iter().map(|row| row[column]).collect()).collect();
    }
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for _ in 0..SWEEPS {
        let mut is_orthogonal = true;
        for second in 1..rows.len() {
            let (before, after) = rows.split_at_mut(second);
            let q = &mut after[0];
            for p in before {
                let (pp, qq, pq) = (dot(p, p), dot(q, q), dot(p, q));
                if pq.abs() <= 1e-15 * (pp * qq).sqrt() || !pq.is_finite() {
                    continue;
                }
                is_orthogonal = false;
                let zeta = (qq - pp) / (2.0 * pq);
                let tangent = zeta.signum() / (zeta.abs() + (1.0 + zeta * zeta).sqrt());
                let cosine = 1.0 / (1.0 + tangent * tangent).sqrt();
                let sine = cosine * tangent;
                for (a, b) in p.iter_mut().zip(q.iter_mut()) {
                    (*a, *b) = (cosine * *a - sine * *b, sine * *a + cosine * *b);
                }
            }
        }
        if is_orthogonal {
            break;
        }
    }
    let mut values: Vec<f64> = rows.iter().map(|row| dot(row, row).sqrt()).collect();
    values.sort_by(|a, b| b.total_cmp(a));
    values
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_matrices_have_their_singular_values() {
        // Singular values of [[3, 0], [4, 5]] are sqrt(45) and sqrt(5).
        let found = singular_values(&[3.0, 0.0, 4.0, 5.0], 2);
        assert!((found[0] - 45.0_f64.sqrt()).abs() < 1e-14, "{found:?}");
        assert!((found[1] - 5.0_f64.sqrt()).abs() < 1e-14, "{found:?}");
        // Rank 1, tall and wide.
        for columns in [2, 3] {
            let found = singular_values(&[1.0; 6], columns);
            assert!((found[0] - 6.0_f64.sqrt()).abs() < 1e-14, "{found:?}");
            assert!(found[1..].iter().all(|value| *value < 1e-14), "{found:?}");
        }
        assert!(singular_values(&[], 0).is_empty());
    }

    proptest! {
        /// Sum of squares: the Frobenius norm. Sum of fourth powers: that of the Gram matrix.
        #[test]
        fn power_sums_are_those_of_the_matrix(
            rows in 1_usize..7,
            columns in 1_usize..9,
            values in prop::collection::vec(-1.0_f64..1.0, 48),
        ) {
            let matrix = &values[..rows * columns];
            let found = singular_values(matrix, columns);
            prop_assert_eq!(found.len(), rows.min(columns));
            let row = |i: usize| &matrix[i * columns..(i + 1) * columns];
            let gram = |i: usize, j: usize| -> f64 {
                row(i).iter().zip(row(j)).map(|(a, b)| a * b).sum()
            };
            let squares: f64 = (0..rows).map(|i| gram(i, i)).sum();
            let fourth: f64 = (0..rows)
                .flat_map(|i| (0..rows).map(move |j| (i, j)))
                .map(|(i, j)| gram(i, j) * gram(i, j))
                .sum();
            let power = |n: f64| found.iter().map(|value| libm::pow(*value, n)).sum::<f64>();
            prop_assert!((power(2.0) - squares).abs() <= 1e-12 * squares);
            prop_assert!((power(4.0) - fourth).abs() <= 1e-12 * fourth);
        }
    }
}
