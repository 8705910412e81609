//! An f64 oracle in seven loops for the values; scalar chains in the documented order for the bits.

mod rounded;
mod winograd;

use crate::testing::{bits, centred_difference, same_on_every_cpu, sample};
use kernels::convolution::*;
use kernels::gemm::{Epilogue as Product, GemmShape, gemm, gemm_scratch};
use kernels::random::Stream;
use kernels::{Cpu, Error, Float, MatMut, MatRef, Window};

/// Numbers in [-0.5, 0.5).
fn draw<T: Float>(stream: u64, n: usize) -> Vec<T> {
    (0..n as u64).map(|i| T::from_f64(Stream::new(41, stream).uniform_f64(i) - 0.5)).collect()
}

/// `a * b + c` rounded once.
trait Fused: Float {
    fn fused(self, b: Self, c: Self) -> Self;
}
impl Fused for f32 {
    fn fused(self, b: Self, c: Self) -> Self {
        self.mul_add(b, c)
    }
}
impl Fused for f64 {
    fn fused(self, b: Self, c: Self) -> Self {
        self.mul_add(b, c)
    }
}

/// Geometry of one convolution.
#[derive(Clone, Copy, Debug)]
struct Case {
    x: [usize; 4],
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    dilation: [usize; 2],
    out: usize,
    groups: usize,
}

impl Case {
    const fn new(x: [usize; 4], kernel: [usize; 2], out: usize) -> Self {
        Self { x, kernel, stride: [1, 1], padding: [0, 0], dilation: [1, 1], out, groups: 1 }
    }
    const fn group_channels(&self) -> usize {
        self.x[3] / self.groups
    }
    const fn group_filters(&self) -> usize {
        self.out / self.groups
    }
    /// `true` if operands are rounded to bf16 where [`Convolution::rounded`] permits it.
    const fn rounds(&self) -> bool {
        self.group_channels() > 1 && self.kernel[0] * self.kernel[1] * self.group_channels() > 16
    }
    const fn stride(self, stride: [usize; 2]) -> Self {
        Self { stride, ..self }
    }
    const fn padding(self, padding: [usize; 2]) -> Self {
        Self { padding, ..self }
    }
    const fn dilation(self, dilation: [usize; 2]) -> Self {
        Self { dilation, ..self }
    }
    const fn groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }
    fn convolution(self) -> Convolution {
        let window = Window::new(self.kernel)
            .stride(self.stride)
            .padding(self.padding)
            .dilation(self.dilation);
        Convolution::new(self.x, window, Filters::new(self.out).groups(self.groups)).unwrap()
    }

    /// For each window, out channel, tap and channel of the group, in this order of loops: the
    /// index in `y`, in `w`, and, unless it is in the padding, in `x`.
    fn each(self, mut f: impl FnMut(usize, usize, Option<usize>)) {
        let [batch, height, width, channels] = self.x;
        let [_, oh, ow, out] = self.convolution().output();
        let (own, filters) = (channels / self.groups, out / self.groups);
        for n in 0..batch {
            for y in 0..oh {
                for x in 0..ow {
                    for o in 0..out {
                        for ky in 0..self.kernel[0] {
                            for kx in 0..self.kernel[1] {
                                for i in 0..own {
                                    let iy = y * self.stride[0] + ky * self.dilation[0];
                                    let ix = x * self.stride[1] + kx * self.dilation[1];
                                    let pixel = iy
                                        .checked_sub(self.padding[0])
                                        .zip(ix.checked_sub(self.padding[1]))
                                        .filter(|&(iy, ix)| iy < height && ix < width);
                                    let at = pixel.map(|(iy, ix)| {
                                        ((n * height + iy) * width + ix) * channels
                                            + o / filters * own
                                            + i
                                    });
                                    let at_w = ((ky * self.kernel[1] + kx) * own + i) * out + o;
                                    f(((n * oh + y) * ow + x) * out + o, at_w, at);
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Every algorithm and every edge case, with few elements.
const CASES: [Case; 24] = [
    Case::new([2, 5, 7, 1], [3, 3], 6),
    Case::new([2, 6, 5, 1], [5, 5], 3).padding([2, 2]),
    Case::new([3, 7, 9, 3], [3, 5], 17).padding([1, 2]),
    Case::new([1, 11, 20, 3], [3, 3], 35).padding([1, 1]),
    Case::new([2, 9, 8, 16], [3, 3], 5).stride([2, 2]).padding([1, 1]),
    Case::new([1, 10, 11, 17], [4, 3], 33).stride([3, 2]).padding([2, 1]),
    Case::new([2, 8, 9, 3], [3, 3], 4).dilation([2, 3]).padding([2, 2]),
    Case::new([2, 9, 7, 2], [2, 2], 3).stride([3, 3]),
    // Longer than one summation block.
    Case::new([1, 6, 6, 33], [5, 5], 2).padding([2, 2]),
    Case::new([3, 16, 15, 1], [3, 3], 9),
    // The kernel is larger than the image.
    Case::new([2, 1, 2, 3], [5, 3], 4).padding([2, 2]),
    Case::new([1, 3, 1, 1], [3, 3], 1).padding([2, 2]).stride([2, 1]),
    // Nothing but padding.
    Case::new([2, 0, 3, 2], [2, 2], 3).padding([1, 1]),
    // 1 x 1.
    Case::new([2, 5, 3, 17], [1, 1], 16),
    Case::new([2, 5, 4, 16], [1, 1], 3).stride([2, 3]),
    Case::new([2, 3, 3, 6], [1, 1], 4).groups(2),
    Case::new([2, 3, 3, 4], [1, 1], 3).padding([1, 0]),
    // Groups.
    Case::new([2, 6, 5, 6], [3, 3], 4).groups(2).padding([1, 1]),
    Case::new([1, 7, 6, 6], [3, 2], 12).groups(3).stride([2, 1]).dilation([1, 2]),
    Case::new([2, 5, 6, 3], [3, 3], 6).groups(3).padding([1, 0]),
    // Depthwise.
    Case::new([2, 6, 7, 3], [3, 3], 3).groups(3).padding([1, 1]),
    Case::new([1, 9, 8, 17], [5, 3], 17).groups(17).stride([2, 3]).padding([2, 0]),
    Case::new([3, 14, 13, 16], [3, 3], 16).groups(16).dilation([2, 1]),
    Case::new([2, 5, 4, 1], [2, 3], 1),
];

/// A buffer of garbage between two canaries.
struct Guarded<T>(Vec<T>);

impl<T: Float> Guarded<T> {
    fn new(len: usize) -> Self {
        let mut all = vec![T::NAN; len + 10];
        all[..5].fill(T::from_f64(7.0));
        all[len + 5..].fill(T::from_f64(7.0));
        Self(all)
    }
    fn get(&mut self) -> &mut [T] {
        let len = self.0.len() - 10;
        &mut self.0[5..][..len]
    }
    fn take(self) -> Vec<T> {
        let len = self.0.len() - 10;
        let intact = |x: &[T]| x.iter().all(|&x| x == T::from_f64(7.0));
        assert!(intact(&self.0[..5]) && intact(&self.0[len + 5..]), "a canary was overwritten");
        self.0[5..][..len].to_vec()
    }
}

/// Returns `y`, `z`, `dx`, `dw` and `db` as computed on `cpu`.
fn run<T: Float>(c: &Convolution, cpu: Cpu<'_>, [x, w, bias, dy]: [&[T]; 4]) -> [Vec<T>; 5] {
    let threads = cpu.threads();
    let mut y = Guarded::new(c.y_len());
    let mut z = Guarded::new(c.y_len());
    let mut scratch = Guarded::new(c.forward_scratch::<T>(threads));
    let epilogue = Epilogue::bias(bias).save(z.get()).relu();
    c.forward(cpu, x, w, epilogue, y.get(), scratch.get()).unwrap();
    scratch.take();
    let mut dx = Guarded::new(c.x_len());
    let mut scratch = Guarded::new(c.dx_scratch::<T>(threads));
    c.dx(cpu, dy, w, dx.get(), scratch.get()).unwrap();
    scratch.take();
    let (mut dw, mut db) = (Guarded::new(c.w_len()), Guarded::new(bias.len()));
    let mut scratch = Guarded::new(c.dw_scratch::<T>(threads));
    c.dw(cpu, x, dy, dw.get(), Some(db.get()), scratch.get()).unwrap();
    scratch.take();
    let [dx, dw, db] = [dx, dw, db].map(Guarded::take);
    // `backward`, without and with ReLU's derivative.
    let masked = x
        .iter()
        .zip(&dx)
        .map(|(&x, &dx)| if x <= T::ZERO { T::ZERO } else { dx })
        .collect::<Vec<_>>();
    for (at_relu, dx) in [(false, &dx), (true, &masked)] {
        let got = backward(c, cpu, [x, w], OutputGradient { dy, argmax: None }, at_relu);
        for ((name, got), expected) in ["dx", "dw", "db"].iter().zip(&got).zip([dx, &dw, &db]) {
            let case = format!("{name} of {c:?} by `backward`, at_relu {at_relu}");
            assert!(bits(got) == bits(expected), "{case}");
        }
    }
    [y.take(), z.take(), dx, dw, db]
}

/// Returns `dx`, `dw` and `db` as computed by `Convolution::backward`.
fn backward<T: Float>(
    c: &Convolution,
    cpu: Cpu<'_>,
    [x, w]: [&[T]; 2],
    of: OutputGradient<'_, T>,
    at_relu: bool,
) -> [Vec<T>; 3] {
    let [mut dx, mut dw, mut db] = [c.x_len(), c.w_len(), c.output()[3]].map(Guarded::new);
    let mut scratch = Guarded::new(c.backward_scratch::<T>(cpu.threads()));
    let to = Gradients { dw: dw.get(), db: Some(db.get()), dx: Some(dx.get()), at_relu };
    c.backward(cpu, x, w, of, to, scratch.get()).unwrap();
    scratch.take();
    [dx, dw, db].map(Guarded::take)
}

/// The documented order, in scalars.
struct Ordered<T> {
    z: Vec<T>,
    dx: Vec<T>,
    dw: Vec<T>,
    db: Vec<T>,
}

/// A sum of products in blocks of `KB`.
#[derive(Clone, Copy)]
struct Sum<T> {
    total: T,
    block: T,
    terms: usize,
}

impl<T: Fused> Sum<T> {
    const ZERO: Self = Self { total: T::ZERO, block: T::ZERO, terms: 0 };
    fn add(&mut self, a: T, b: T) {
        if self.terms > 0 && self.terms.is_multiple_of(T::KB) {
            *self = Self { total: self.get(), block: T::ZERO, ..*self };
        }
        self.block = a.fused(b, self.block);
        self.terms += 1;
    }
    fn get(self) -> T {
        let mut sum = self.total;
        if self.terms <= T::KB {
            return self.block;
        }
        sum += self.block;
        sum
    }
}

fn ordered<T: Fused>(case: Case, [x, w, bias, dy]: [&[T]; 4]) -> Ordered<T> {
    let c = case.convolution();
    let mut z = vec![Sum::ZERO; c.y_len()];
    let mut dw = vec![Sum::ZERO; c.w_len()];
    let mut db = vec![Sum::ZERO; case.out];
    // For each pixel, by tap: the product of the filters with the window's gradient.
    let mut windows = vec![Vec::<(usize, Sum<T>)>::new(); c.x_len()];
    case.each(|at_y, at_w, at_x| {
        let x = at_x.map_or(T::ZERO, |at| x[at]);
        z[at_y].add(x, w[at_w]);
        dw[at_w].add(x, dy[at_y]);
        if let Some(at) = at_x {
            let tap = at_w / (case.group_channels() * case.out);
            let taps = &mut windows[at];
            match taps.iter_mut().find(|(t, _)| *t == tap) {
                Some((_, sum)) => sum.add(dy[at_y], w[at_w]),
                None => {
                    let mut sum = Sum::ZERO;
                    sum.add(dy[at_y], w[at_w]);
                    taps.push((tap, sum));
                }
            }
        }
    });
    for (at, &dy) in dy.iter().enumerate() {
        db[at % case.out].add(T::ONE, dy);
    }
    let z = z.into_iter().enumerate().map(|(at, sum)| {
        let mut z = sum.get();
        z += bias[at % case.out];
        z
    });
    let dx = windows.into_iter().map(|mut taps| {
        taps.sort_by_key(|(tap, _)| *tap);
        taps.iter().fold(T::ZERO, |mut sum, (_, tap)| {
            sum += tap.get();
            sum
        })
    });
    Ordered {
        z: z.collect(),
        dx: dx.collect(),
        dw: dw.into_iter().map(Sum::get).collect(),
        db: db.into_iter().map(Sum::get).collect(),
    }
}

fn has_the_bits_of_the_documented_order<T: Fused>(case: Case, spoil: impl Fn(&mut [T])) {
    let c = case.convolution();
    let [mut x, mut w, bias, mut dy] =
        [draw::<T>(1, c.x_len()), draw(2, c.w_len()), draw(3, case.out), draw(4, c.y_len())];
    for operand in [&mut x, &mut w, &mut dy] {
        spoil(operand);
    }
    let operands = [&*x, &w, &bias, &dy];
    let expected = ordered(case, operands);
    let y: Vec<T> = expected.z.iter().map(|&z| if z <= T::ZERO { T::ZERO } else { z }).collect();
    same_on_every_cpu(|cpu| {
        let got = run(&c, cpu, operands);
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
fn every_algorithm_has_the_bits_of_the_documented_order() {
    for case in sample(CASES) {
        has_the_bits_of_the_documented_order::<f32>(case, |_| {});
        has_the_bits_of_the_documented_order::<f64>(case, |_| {});
    }
}

/// NaN, infinities, both zeros, and products that underflow; in the padding too.
#[test]
fn special_values_flow_as_in_the_documented_order() {
    for case in sample(CASES) {
        has_the_bits_of_the_documented_order::<f32>(case, |x| {
            let special =
                [f32::NAN, f32::INFINITY, -f32::INFINITY, -0.0, 1e-30, -1e-30, f32::MIN_POSITIVE];
            for (x, special) in x.iter_mut().step_by(37).zip(special) {
                *x = special;
            }
        });
        has_the_bits_of_the_documented_order::<f64>(case, |x| {
            for (i, x) in x.iter_mut().enumerate() {
                *x = if i % 2 == 0 { 1e-200 } else { -1e-180 };
            }
        });
    }
}

/// Long enough for several blocks, strips, tasks and padded images.
#[test]
fn large_images_have_the_bits_of_the_documented_order() {
    for case in sample([
        Case::new([3, 40, 41, 2], [3, 3], 5).padding([1, 1]),
        Case::new([1, 130, 60, 9], [3, 3], 2).padding([1, 1]),
        Case::new([1, 190, 180, 2], [3, 2], 3).stride([2, 3]),
        Case::new([2, 40, 50, 8], [3, 3], 4).groups(2).padding([1, 1]),
        Case::new([2, 40, 30, 24], [3, 3], 24).groups(24).padding([1, 1]),
        Case::new([5, 30, 31, 5], [1, 1], 7),
    ]) {
        has_the_bits_of_the_documented_order::<f32>(case, |_| {});
    }
}

/// Values, compared with f64 sums in another order.
#[test]
fn values_match_seven_loops() {
    for case in sample(CASES) {
        let c = case.convolution();
        let [x, w, bias, dy] =
            [draw::<f64>(5, c.x_len()), draw(6, c.w_len()), draw(7, case.out), draw(8, c.y_len())];
        let mut z: Vec<f64> = (0..c.y_len()).map(|at| bias[at % case.out]).collect();
        let (mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; w.len()]);
        case.each(|at_y, at_w, at_x| {
            let Some(at) = at_x else { return };
            z[at_y] += x[at] * w[at_w];
            dx[at] += dy[at_y] * w[at_w];
            dw[at_w] += dy[at_y] * x[at];
        });
        let [_, got_z, got_dx, got_dw, _] = run(&c, Cpu::detect(), [&x, &w, &bias, &dy]);
        for (got, expected) in [(got_z, z), (got_dx, dx), (got_dw, dw)] {
            assert_eq!(got.len(), expected.len());
            assert!(got.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-12), "{case:?}");
        }
    }
}

#[test]
fn gradients_match_finite_differences() {
    let cpu = Cpu::detect();
    for case in sample(CASES) {
        let c = case.convolution();
        let [x, w, bias, weights] = [
            draw::<f64>(9, c.x_len()),
            draw(10, c.w_len()),
            draw(11, case.out),
            draw(12, c.y_len()),
        ];
        // The loss is sum(weights * y), which is linear in each operand.
        let loss = |x: &[f64], w: &[f64], bias: &[f64]| {
            let mut y = vec![0.0; c.y_len()];
            let mut scratch = vec![0.0; c.forward_scratch::<f64>(1)];
            c.forward(cpu, x, w, Epilogue::bias(bias), &mut y, &mut scratch).unwrap();
            y.iter().zip(&weights).map(|(y, weight)| y * weight).sum()
        };
        if c.y_len() * c.w_len() > 40_000 {
            continue;
        }
        let [_, _, dx, dw, db] = run(&c, cpu, [&x, &w, &bias, &weights]);
        centred_difference(&x, &dx, |x| loss(x, &w, &bias));
        // An image of nothing but padding has no influence, and no scale to measure an error by.
        if x.is_empty() {
            assert!(dw.iter().all(|&dw| dw == 0.0));
        } else {
            centred_difference(&w, &dw, |w| loss(&x, w, &bias));
        }
        centred_difference(&bias, &db, |bias| loss(&x, &w, bias));
    }
}

#[test]
fn im2col_and_col2im_are_gradients_of_each_other() {
    for case in sample(CASES) {
        let c = case.convolution();
        let [_, oh, ow, _] = c.output();
        let (x, d) = (draw::<f32>(13, c.x_len()), draw::<f32>(14, c.columns_len()));
        let (own, taps) = (case.group_channels(), case.kernel[0] * case.kernel[1]);
        let mut expected = vec![0.0; c.columns_len()];
        let mut expected_dx = vec![0.0; c.x_len()];
        // With as many filters as groups, each element of a window occurs once.
        if case.out == 0 {
            continue;
        }
        let mut terms = vec![Vec::new(); c.x_len()];
        case.each(|at_y, at_w, at_x| {
            let (o, k) = (at_y % case.out, at_w / case.out);
            let filters = case.out / case.groups;
            if o % filters == 0 {
                let row = o / filters * case.x[0] * oh * ow + at_y / case.out;
                let at = row * taps * own + k;
                expected[at] = at_x.map_or(0.0, |at| x[at]);
                at_x.into_iter().for_each(|at_x| terms[at_x].push((k, at)));
            }
        });
        for (dx, mut terms) in expected_dx.iter_mut().zip(terms) {
            terms.sort_unstable();
            terms.into_iter().for_each(|(_, at)| *dx += d[at]);
        }
        same_on_every_cpu(|cpu| {
            let (mut columns, mut dx) = (Guarded::new(c.columns_len()), Guarded::new(c.x_len()));
            c.im2col(cpu, &x, columns.get()).unwrap();
            c.col2im(cpu, &d, dx.get()).unwrap();
            assert_eq!(bits(&columns.take()), bits(&expected), "{case:?}");
            assert_eq!(bits(&dx.take()), bits(&expected_dx), "{case:?}");
        });
    }
}

/// Direct convolution has the bits of a product over the im2col matrix, at any alignment.
#[test]
fn alignment_and_the_algorithm_change_nothing() {
    let c = Case::new([3, 12, 13, 3], [3, 3], 20).padding([1, 1]).convolution();
    let cpu = Cpu::detect();
    let [x, w, bias, dy] =
        [draw::<f32>(15, c.x_len()), draw(16, c.w_len()), draw(17, 20), draw(18, c.y_len())];
    let expected = run(&c, cpu, [&x, &w, &bias, &dy]);
    for offset in 1..5 {
        let moved = |x: &[f32]| [&vec![0.0; offset], x].concat();
        let [x, w, bias, dy] = [&x, &w, &bias, &dy].map(|x| moved(x));
        let operands = [&x[offset..], &w[offset..], &bias[offset..], &dy[offset..]];
        assert_eq!(run(&c, cpu, operands), expected);
    }
    assert_eq!(c.algorithm::<f32>(), Algorithm::Direct);
    // The same convolution as products with the im2col matrix.
    let mut columns = vec![0.0; c.columns_len()];
    c.im2col(cpu, &x, &mut columns).unwrap();
    let (terms, windows) = (c.w_len() / 20, c.y_len() / 20);
    let columns = MatRef::row_major(&columns, windows, terms).unwrap();
    let w = MatRef::row_major(&w, terms, 20).unwrap();
    let dy = MatRef::row_major(&dy, windows, 20).unwrap();
    let mut scratch = vec![
        0.0;
        gemm_scratch::<f32>(1, GemmShape { m: windows, n: 20, k: terms }).max(
            gemm_scratch::<f32>(1, GemmShape { m: terms, n: 20, k: windows })
        )
    ];
    let (mut z, mut dw) = (vec![0.0; c.y_len()], vec![0.0; c.w_len()]);
    let target = MatMut::row_major(&mut z, windows, 20).unwrap();
    gemm(cpu, 1.0, columns, w, 0.0, target, Product::bias(&bias), &mut scratch).unwrap();
    let target = MatMut::row_major(&mut dw, terms, 20).unwrap();
    gemm(cpu, 1.0, columns.transpose(), dy, 0.0, target, Product::NONE, &mut scratch).unwrap();
    assert_eq!([z, dw], [&expected[1], &expected[3]].map(Clone::clone));
}

#[test]
fn an_empty_batch_has_gradients_of_zero() {
    for case in sample(CASES) {
        let case = Case { x: [0, case.x[1], case.x[2], case.x[3]], ..case };
        let c = case.convolution();
        let w = draw::<f32>(19, c.w_len());
        let [y, _, dx, dw, db] = run(&c, Cpu::detect(), [&[], &w, &vec![0.0; case.out], &[]]);
        assert!(y.is_empty() && dx.is_empty());
        assert_eq!((bits(&dw), bits(&db)), (vec![0; dw.len()], vec![0; db.len()]));
    }
}

#[test]
fn without_channels_sums_are_zero() {
    let c = Case::new([2, 3, 3, 0], [2, 2], 3).convolution();
    let bias = [1.0_f32, -2.0, 3.0];
    let dy = draw::<f32>(20, c.y_len());
    let [y, z, dx, dw, db] = run(&c, Cpu::detect(), [&[], &[], &bias, &dy]);
    assert_eq!(z, bias.repeat(8));
    assert_eq!(y, [1.0, 0.0, 3.0].repeat(8));
    assert!(dx.is_empty() && dw.is_empty());
    assert_eq!(
        bits(&db),
        bits(&ordered(Case::new([2, 3, 3, 0], [2, 2], 3), [&[], &[], &bias, &dy]).db)
    );

    let c = Case::new([2, 3, 3, 2], [2, 2], 0).convolution();
    let [y, _, dx, dw, db] = run::<f32>(&c, Cpu::detect(), [&[1.0; 36], &[], &[], &[]]);
    assert!(y.is_empty() && dw.is_empty() && db.is_empty());
    assert_eq!(bits(&dx), vec![0; 36]);
}

#[test]
fn misuse_is_refused_before_anything_is_written() {
    let window = Window::new([3, 3]);
    let parameter = |x, window, out, groups| match Convolution::new(
        x,
        window,
        Filters::new(out).groups(groups),
    ) {
        Err(Error::Parameter { name, .. }) => name,
        other => panic!("{other:?}"),
    };
    assert_eq!(parameter([1, 5, 5, 4], window, 6, 0), "groups");
    assert_eq!(parameter([1, 5, 5, 4], window, 6, 4), "groups");
    assert_eq!(parameter([1, 5, 5, 3], window, 4, 3), "groups");
    assert_eq!(parameter([1, 2, 5, 3], window, 4, 1), "kernel");
    assert_eq!(parameter([1, 5, 5, 3], window, usize::MAX / 5, 1), "y");
    assert_eq!(parameter([0, 5, 5, 3], window, usize::MAX / 5, 1), "y");

    let cpu = Cpu::detect();
    for case in [
        Case::new([1, 4, 4, 2], [3, 3], 3),
        Case::new([1, 4, 4, 2], [1, 1], 3),
        Case::new([1, 4, 4, 4], [3, 3], 6).groups(2),
        Case::new([1, 4, 4, 2], [3, 3], 2).groups(2),
    ] {
        let c = case.convolution();
        let [x, w, bias, y] =
            [c.x_len(), c.w_len(), case.out, c.y_len()].map(|len| vec![5.0_f32; len]);
        let scratch =
            vec![
                5.0;
                c.forward_scratch::<f32>(1).max(c.dx_scratch::<f32>(1)).max(c.dw_scratch::<f32>(1))
            ];
        let error = |operand, expected: &[f32], got: &[f32]| {
            Err(Error::Length { operand, expected: expected.len(), got: got.len() })
        };
        let one = [5.0];
        let (mut y_, mut z_, mut s_) = (y.clone(), y.clone(), scratch.clone());
        let none = Epilogue::NONE;
        assert_eq!(c.forward(cpu, &one, &w, none, &mut y_, &mut s_), error("x", &x, &one));
        assert_eq!(
            c.forward(cpu, &x, &one, Epilogue::NONE, &mut y_, &mut s_),
            error("w", &w, &one)
        );
        assert_eq!(
            c.forward(cpu, &x, &w, Epilogue::NONE, &mut y_[..1], &mut s_),
            error("y", &y, &one)
        );
        assert_eq!(
            c.forward(cpu, &x, &w, Epilogue::bias(&one), &mut y_, &mut s_),
            error("bias", &bias, &one)
        );
        let save = Epilogue::NONE.save(&mut z_[..1]);
        assert_eq!(c.forward(cpu, &x, &w, save, &mut y_, &mut s_), error("z", &y, &one));
        let (mut dx_, mut dw_, mut db_) = (x.clone(), w.clone(), bias.clone());
        assert_eq!(c.dx(cpu, &one, &w, &mut dx_, &mut s_), error("dy", &y, &one));
        assert_eq!(c.dx(cpu, &y, &one, &mut dx_, &mut s_), error("w", &w, &one));
        assert_eq!(c.dx(cpu, &y, &w, &mut dx_[..1], &mut s_), error("dx", &x, &one));
        assert_eq!(c.dw(cpu, &one, &y, &mut dw_, Some(&mut db_), &mut s_), error("x", &x, &one));
        assert_eq!(c.dw(cpu, &x, &one, &mut dw_, Some(&mut db_), &mut s_), error("dy", &y, &one));
        assert_eq!(
            c.dw(cpu, &x, &y, &mut dw_[..1], Some(&mut db_), &mut s_),
            error("dw", &w, &one)
        );
        assert_eq!(
            c.dw(cpu, &x, &y, &mut dw_, Some(&mut db_[..1]), &mut s_),
            error("db", &bias, &one)
        );
        let short = |expected: usize| Err(Error::Scratch { expected, got: expected - 1 });
        for (expected, got) in [
            (c.forward_scratch::<f32>(1), 0),
            (c.dx_scratch::<f32>(1), 1),
            (c.dw_scratch::<f32>(1), 2),
        ] {
            if expected > 0 {
                let s = &mut s_[..expected - 1];
                let result = match got {
                    0 => c.forward(cpu, &x, &w, Epilogue::NONE, &mut y_, s),
                    1 => c.dx(cpu, &y, &w, &mut dx_, s),
                    _ => c.dw(cpu, &x, &y, &mut dw_, None, s),
                };
                assert_eq!(result, short(expected));
            }
        }
        let mut columns = vec![5.0; c.columns_len()];
        assert_eq!(c.im2col(cpu, &one, &mut columns), error("x", &x, &one));
        assert_eq!(c.im2col(cpu, &x, &mut columns[..1]), error("columns", &columns, &one));
        assert_eq!(c.col2im(cpu, &one, &mut dx_), error("columns", &columns, &one));
        assert_eq!(c.col2im(cpu, &columns, &mut dx_[..1]), error("dx", &x, &one));
        assert!([y_, z_, s_, dx_, dw_, db_, columns].iter().all(|x| x.iter().all(|&x| x == 5.0)));
    }
}

proptest::proptest! {
    #![proptest_config(crate::testing::draws(60))]

    #[test]
    fn any_shape_has_the_bits_of_the_documented_order(
        (batch, height, width) in (1_usize..4, 1_usize..9, 1_usize..12),
        kernel in (1_usize..5, 1_usize..5),
        stride in (1_usize..4, 1_usize..4),
        padding in (0_usize..3, 0_usize..3),
        dilation in (1_usize..3, 1_usize..3),
        (own, filters, groups) in (1_usize..5, 1_usize..20, 1_usize..3),
    ) {
        let extent = |kernel: usize, dilation: usize| (kernel - 1) * dilation + 1;
        let height = height.max(extent(kernel.0, dilation.0).saturating_sub(2 * padding.0));
        let width = width.max(extent(kernel.1, dilation.1).saturating_sub(2 * padding.1));
        let case = Case {
            x: [batch, height, width, own * groups],
            kernel: kernel.into(),
            stride: stride.into(),
            padding: padding.into(),
            dilation: dilation.into(),
            out: filters * groups,
            groups,
        };
        has_the_bits_of_the_documented_order::<f32>(case, |_| {});
        rounded::rounded_has_the_bits_of_its_products(case, |_| {});
    }
}
