//! Rounded operands: the bits of bf16 products over explicit matrices, and values close to the
//! unrounded ones.

use super::*;
use kernels::gemm::{self, Bf16Operand, GemmShape, gemm_bf16, gemm_bf16_scratch};
use kernels::{MatMut, MatRef};

/// A x B with operands rounded to bf16; A is m x k, B is k x n.
fn product([m, n, k]: [usize; 3], a: &[f32], b: &[f32]) -> Vec<f32> {
    let (mut c, mut scratch) =
        (vec![0.0; m * n], vec![0.0; gemm_bf16_scratch(1, GemmShape { m, n, k })]);
    let a = Bf16Operand::rounded(MatRef::row_major(a, m, k).unwrap());
    let b = Bf16Operand::rounded(MatRef::row_major(b, k, n).unwrap());
    let target = MatMut::row_major(&mut c, m, n).unwrap();
    gemm_bf16(Cpu::detect(), 1.0, a, b, 0.0, target, gemm::Epilogue::NONE, &mut scratch).unwrap();
    c
}

fn transposed(rows: usize, cols: usize, x: &[f32]) -> Vec<f32> {
    (0..rows * cols).map(|at| x[at % rows * cols + at / rows]).collect()
}

/// Explicit operands of one group's products.
struct Matrices {
    /// `[windows, terms of y]` and `[terms of y, filters]`.
    windows: Vec<f32>,
    filters: Vec<f32>,
    terms: usize,
    /// `[terms of dw, taps]` and `[terms of dw, filters]`: summed down the columns.
    pixels: Vec<f32>,
    gradients: Vec<f32>,
    summed: usize,
    /// Pixel, tap and window (as a row of `gradients`) of each term of `dx`.
    dx_terms: Vec<(usize, usize, usize)>,
}

/// Operands of `group`. For direct convolution, an odd number of channels, or of windows in a row,
/// is padded with zeros.
fn matrices(case: Case, group: usize, [x, w, dy]: [&[f32]; 3]) -> Matrices {
    let c = case.convolution();
    let even = |n: usize| if direct(case) { n.next_multiple_of(2) } else { n };
    let [batch, oh, ow, out] = c.output();
    let (own, filters, taps) =
        (case.group_channels(), case.group_filters(), case.kernel[0] * case.kernel[1]);
    let (terms, row) = (taps * even(own), even(ow));
    let (positions, summed) = (batch * oh * ow, batch * oh * row);
    let mut m = Matrices {
        windows: vec![0.0; positions * terms],
        filters: vec![0.0; terms * filters],
        terms,
        pixels: vec![0.0; summed * taps * own],
        gradients: vec![0.0; summed * filters],
        summed,
        dx_terms: Vec::new(),
    };
    case.each(|at_y, at_w, at_x| {
        let (window, o) = (at_y / out, at_y % out);
        if o / filters != group {
            return;
        }
        let (o, k) = (o % filters, at_w / out);
        let term = k / own * even(own) + k % own;
        let sum = window / ow * row + window % ow;
        m.windows[window * terms + term] = at_x.map_or(0.0, |at| x[at]);
        m.filters[term * filters + o] = w[at_w];
        m.pixels[sum * taps * own + k] = at_x.map_or(0.0, |at| x[at]);
        m.gradients[sum * filters + o] = dy[at_y];
        if let (0, Some(at)) = (o, at_x) {
            m.dx_terms.push((at, k, sum));
        }
    });
    m
}

/// The documented order of a convolution that rounds.
fn ordered_rounded(case: Case, [x, w, bias, dy]: [&[f32]; 4]) -> Ordered<f32> {
    let c = case.convolution();
    let (own, filters, out) = (case.group_channels(), case.group_filters(), case.out);
    let depth = case.kernel[0] * case.kernel[1] * own;
    let positions = c.y_len() / out;
    let [mut z, mut dx, mut dw, mut db] =
        [c.y_len(), c.x_len(), c.w_len(), out].map(|len| vec![0.0; len]);
    for group in 0..case.groups {
        let m = matrices(case, group, [x, w, dy]);
        let to = |at: usize| at / filters * out + group * filters + at % filters;
        for (at, sum) in
            product([positions, filters, m.terms], &m.windows, &m.filters).iter().enumerate()
        {
            z[to(at)] = sum + bias[to(at) % out];
        }
        let pixels = transposed(m.summed, depth, &m.pixels);
        for (at, sum) in
            product([depth, filters, m.summed], &pixels, &m.gradients).iter().enumerate()
        {
            dw[to(at)] = *sum;
        }
        let sums = product([1, filters, m.summed], &vec![1.0; m.summed], &m.gradients);
        db[group * filters..][..filters].copy_from_slice(&sums);
        let transposed: Vec<f32> = (0..filters * depth)
            .map(|at| w[at % depth * out + group * filters + at / depth])
            .collect();
        let windows = product([m.summed, depth, filters], &m.gradients, &transposed);
        let mut terms = m.dx_terms;
        terms.sort_unstable();
        for (at, k, sum) in terms {
            dx[at] += windows[sum * depth + k];
        }
    }
    if let Some(flipped) = flipped(case) {
        let [kernel, channels] = [case.kernel[0] * case.kernel[1], case.x[3]];
        let mut filters = vec![0.0; w.len()];
        for (at, w) in w.iter().enumerate() {
            let (tap, i, o) = (at / out / channels, at / out % channels, at % out);
            filters[((kernel - 1 - tap) * out + o) * channels + i] = *w;
        }
        let m = matrices(flipped, 0, [dy, &filters, x]);
        dx = product([c.x_len() / channels, channels, m.terms], &m.windows, &m.filters);
    }
    Ordered { z, dx, dw, db }
}

/// `true` if `case` is computed by direct convolution.
fn direct(case: Case) -> bool {
    case.convolution().rounded().algorithm::<f32>() == Algorithm::Direct
}

/// The convolution of `dy` that direct convolution computes `dx` by, if the stride is 1.
fn flipped(case: Case) -> Option<Case> {
    let [batch, oh, ow, out] = case.convolution().output();
    let reach = [0, 1].map(|axis| (case.kernel[axis] - 1) * case.dilation[axis]);
    let possible = case.stride == [1, 1] && (0..2).all(|axis| case.padding[axis] <= reach[axis]);
    let padding = [0, 1].map(|axis| reach[axis] - case.padding[axis].min(reach[axis]));
    let flipped = Case { x: [batch, oh, ow, out], out: case.x[3], padding, ..case };
    (possible && direct(case) && direct(flipped)).then_some(flipped)
}

pub(super) fn rounded_has_the_bits_of_its_products(case: Case, spoil: impl Fn(&mut [f32])) {
    let c = case.convolution();
    let [mut x, mut w, bias, mut dy] =
        [draw::<f32>(1, c.x_len()), draw(2, c.w_len()), draw(3, case.out), draw(4, c.y_len())];
    for operand in [&mut x, &mut w, &mut dy] {
        spoil(operand);
    }
    let operands = [&*x, &w, &bias, &dy];
    let expected =
        if case.rounds() { ordered_rounded(case, operands) } else { ordered(case, operands) };
    let y: Vec<f32> = expected.z.iter().map(|&z| if z <= 0.0 { 0.0 } else { z }).collect();
    same_on_every_cpu(|cpu| {
        let got = run(&c.rounded(), cpu, operands);
        let expected = [&y, &expected.z, &expected.dx, &expected.dw, &expected.db];
        for ((name, got), expected) in ["y", "z", "dx", "dw", "db"].iter().zip(&got).zip(expected) {
            assert!(
                bits(got) == bits(expected),
                "{name} of {case:?} on {cpu:?}: {got:?} not {expected:?}"
            );
        }
    });
}

#[test]
fn every_algorithm_has_the_bits_of_its_products() {
    for case in sample(CASES) {
        rounded_has_the_bits_of_its_products(case, |_| {});
    }
}

#[test]
fn special_values_flow_as_in_products() {
    for case in sample(CASES) {
        rounded_has_the_bits_of_its_products(case, |x| {
            let special =
                [f32::NAN, f32::INFINITY, -f32::INFINITY, -0.0, 1e-39, -1e-30, f32::MIN_POSITIVE];
            for (x, special) in x.iter_mut().step_by(37).zip(special) {
                *x = special;
            }
        });
    }
}

/// Long enough for several summation blocks, tasks and padded images.
#[test]
fn large_images_have_the_bits_of_their_products() {
    for case in sample([
        Case::new([3, 30, 41, 2], [3, 3], 5).padding([1, 1]).stride([2, 2]),
        Case::new([5, 23, 21, 5], [3, 3], 18).padding([1, 1]),
        Case::new([1, 10, 12, 120], [3, 3], 6),
        Case::new([2, 40, 50, 8], [3, 3], 4).groups(2).padding([1, 1]),
        Case::new([5, 30, 31, 5], [1, 1], 7),
        Case::new([1, 130, 60, 9], [3, 3], 2).padding([1, 1]),
    ]) {
        rounded_has_the_bits_of_its_products(case, |_| {});
    }
}

#[test]
fn empty_operands_have_gradients_of_zero() {
    for case in sample(CASES) {
        let [_, height, width, channels] = case.x;
        let none = Case { x: [0, height, width, channels], ..case };
        let [y, _, dx, dw, db] = run(
            &none.convolution().rounded(),
            Cpu::detect(),
            [&[], &draw::<f32>(1, none.convolution().w_len()), &vec![0.0; case.out], &[]],
        );
        assert!(y.is_empty() && dx.is_empty());
        assert_eq!((bits(&dw), bits(&db)), (vec![0; dw.len()], vec![0; db.len()]));
        let none = Case { out: 0, ..case }.convolution().rounded();
        let [.., dx, dw, _] =
            run::<f32>(&none, Cpu::detect(), [&vec![1.0; none.x_len()], &[], &[], &[]]);
        assert_eq!((bits(&dx), dw.len()), (vec![0; none.x_len()], 0));
    }
}

#[test]
fn in_f64_nothing_is_rounded() {
    for case in sample(CASES) {
        let c = case.convolution();
        let [x, w, bias, dy] =
            [draw::<f64>(1, c.x_len()), draw(2, c.w_len()), draw(3, case.out), draw(4, c.y_len())];
        let operands = [&*x, &w, &bias, &dy];
        assert_eq!(run(&c, Cpu::detect(), operands), run(&c.rounded(), Cpu::detect(), operands));
    }
}

/// Each operand is off by 2^-8 of itself at most, and each product by about 2^-7.
#[test]
fn values_are_within_the_rounding_of_the_operands() {
    for case in sample(CASES) {
        let c = case.convolution();
        let [x, w, dy] = [draw::<f32>(5, c.x_len()), draw(6, c.w_len()), draw(8, c.y_len())];
        let bias = vec![0.0; case.out];
        let cpu = Cpu::detect();
        let exact = run(&c, cpu, [&x, &w, &bias, &dy]);
        let rounded = run(&c.rounded(), cpu, [&x, &w, &bias, &dy]);
        let [x, w, dy] = [x, w, dy].map(|x| x.iter().map(|x| x.abs()).collect::<Vec<_>>());
        let sums = run(&c, cpu, [&x, &w, &bias, &dy]);
        for ((exact, rounded), sums) in exact.iter().zip(&rounded).zip(&sums).skip(1) {
            for ((exact, rounded), sum) in exact.iter().zip(rounded).zip(sums) {
                assert!(
                    (exact - rounded).abs() <= 1.01 / 128.0 * sum,
                    "{exact} {rounded} {case:?}"
                );
            }
        }
    }
}
