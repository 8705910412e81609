//! The documented order of sums, down columns and along rows.

use super::*;

/// Mean and `rstd` of the columns, in the documented order.
fn ordered_columns(x: &[f32], channels: usize) -> Vec<(f64, f64)> {
    let rows = x.len() / channels;
    let column = |j: usize| {
        let column: Vec<f32> = (0..rows).map(|i| x[i * channels + j]).collect();
        let (mut base, mut mean, mut squares, mut before) = (None, 0.0, 0.0, 0.0);
        for block in column.chunks(128) {
            let pilot = &block[..block.len().min(16)];
            let share = 1.0 / pilot.len() as f32;
            let shift = pilot.iter().fold(0.0, |sum, x| sum + (x - block[0])) * share + block[0];
            let d: Vec<f32> = block.iter().map(|x| x - shift).collect();
            let (mut sum, mut product) = (0.0_f32, 0.0_f32);
            let (groups, left) = d.as_chunks::<4>();
            for [a, b, c, d] in groups {
                sum += (a + b) + (c + d);
                product += b.mul_add(*b, a * a) + d.mul_add(*d, c * c);
            }
            for d in left {
                sum += d;
                product += d * d;
            }
            let rows = block.len() as f64;
            let offset = f64::from(sum) / rows;
            let here = (f64::from(product) - f64::from(sum) * offset).max(0.0);
            let base = *base.get_or_insert(f64::from(shift));
            let difference = (f64::from(shift) - base) + offset - mean;
            let total = before + rows;
            mean += difference * (rows / total);
            squares += here + difference * difference * (before * rows / total);
            before = total;
        }
        (base.unwrap_or(0.0) + mean, 1.0 / (squares / rows as f64 + EPSILON).sqrt())
    };
    (0..channels).map(column).collect()
}

#[test]
fn columns_are_summed_in_the_documented_order() {
    for (rows, channels) in [(2, 1), (3, 5), (17, 33), (131, 20), (258, 70)] {
        let x = draw::<f32>(8, rows * channels);
        let (gamma, beta) = (draw::<f32>(9, channels), draw::<f32>(10, channels));
        let (mean, rstd, y) =
            Batch { rows, channels }.forward(Cpu::detect(), &x, Affine::new(&gamma, &beta));
        for (j, expected) in ordered_columns(&x, channels).into_iter().enumerate() {
            assert_eq!((mean[j], rstd[j]), expected, "channel {j} of {rows} x {channels}");
            let near = mean[j] as f32;
            let scale = f64::from(gamma[j]) * rstd[j];
            let shift = (f64::from(beta[j]) - (mean[j] - f64::from(near)) * scale) as f32;
            for i in 0..rows {
                let expected = (x[i * channels + j] - near).mul_add(scale as f32, shift);
                assert_eq!(y[i * channels + j].to_bits(), expected.to_bits());
            }
        }
    }
}

/// The sums of `a` and `a b` along a row, in the documented order.
fn ordered_row(terms: impl Iterator<Item = (f32, f32)>) -> (f64, f64) {
    let (mut a_lanes, mut ab_lanes) = ([0.0_f32; 32], [0.0_f32; 32]);
    for (j, (a, b)) in terms.enumerate() {
        a_lanes[j % 32] += a;
        ab_lanes[j % 32] = a.mul_add(b, ab_lanes[j % 32]);
    }
    let fold = |mut lanes: [f32; 32]| {
        for half in [16, 8, 4, 2, 1] {
            (0..half).for_each(|l| lanes[l] += lanes[l + half]);
        }
        lanes[0]
    };
    (f64::from(fold(a_lanes)), f64::from(fold(ab_lanes)))
}

#[test]
fn rows_are_summed_in_the_documented_order() {
    for channels in [1, 2, 5, 16, 31, 32, 33, 50, 64, 100, 777] {
        let x = draw::<f32>(11, channels);
        let (gamma, beta) = (draw::<f32>(12, channels), draw::<f32>(13, channels));
        let n = channels as f64;
        let (sum, _) = ordered_row(x.iter().map(|other| (other - x[0], 0.0)));
        let (mean, rstd, y) =
            Layer { rows: 1, channels }.forward(Cpu::detect(), &x, Affine::new(&gamma, &beta));
        let shift = sum as f32 / channels as f32 + x[0];
        let (sum, squares) = ordered_row(x.iter().map(|x| (x - shift, x - shift)));
        let missed = sum / n;
        let var = (squares - sum * missed).max(0.0) / n;
        assert_eq!((mean[0], rstd[0]), (f64::from(shift) + missed, 1.0 / (var + EPSILON).sqrt()));
        let near = mean[0] as f32;
        let offset = (-(mean[0] - f64::from(near)) * rstd[0]) as f32;
        for j in 0..channels {
            let expected = (x[j] - near).mul_add(rstd[0] as f32, offset).mul_add(gamma[j], beta[j]);
            assert_eq!(y[j].to_bits(), expected.to_bits(), "element {j} of {channels}");
        }
        let (_, rstd, y) = Rms { rows: 1, channels }.forward(Cpu::detect(), &x, Affine::NONE);
        let (_, squares) = ordered_row(x.iter().map(|&x| (x, x)));
        assert_eq!(rstd[0], 1.0 / (squares / n + EPSILON).sqrt());
        assert!(y.iter().zip(&x).all(|(y, x)| *y == x * rstd[0] as f32));
    }
}
