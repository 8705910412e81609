//! GEMM against its oracle: the scalar loop of the bit contract. Bits are compared, not tolerances, for every
//! instruction set of this machine.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use kernels::gemm::{Epilogue, gemm, gemm_scratch};
use kernels::random::Stream;
use kernels::{Cpu, Error, Executor, Float, Isa, MatMut, MatRef};
use proptest::prelude::*;

/// What the oracle needs of f32 and f64 beyond the crate's public trait.
trait Scalar: Float {
    const BLOCK: usize;
    fn fma(self, b: Self, c: Self) -> Self;
    fn plus(self, b: Self) -> Self;
    fn times(self, b: Self) -> Self;
    /// Bits, with all NaNs made one.
    fn bits(self) -> u64;
    fn special(class: u32, value: f64) -> Self;
}

macro_rules! scalar {
    ($float:ident, $kb:literal) => {
        impl Scalar for $float {
            const BLOCK: usize = $kb;
            fn fma(self, b: Self, c: Self) -> Self {
                self.mul_add(b, c)
            }
            fn plus(self, b: Self) -> Self {
                self + b
            }
            fn times(self, b: Self) -> Self {
                self * b
            }
            fn bits(self) -> u64 {
                if self.is_nan() { u64::MAX } else { u64::from(self.to_bits()) }
            }
            fn special(class: u32, value: f64) -> Self {
                match class {
                    0 => $float::NAN,
                    1 => $float::INFINITY,
                    2 => $float::NEG_INFINITY,
                    3 => -0.0,
                    4 => 0.0,
                    5 => $float::from_bits(3),
                    6 => $float::MIN_POSITIVE / 4.0,
                    7 => $float::MAX,
                    _ => value as $float,
                }
            }
        }
    };
}
scalar!(f32, 512);
scalar!(f64, 256);

/// A matrix with any strides, in a buffer with room before, between and after its elements.
#[derive(Clone)]
struct Matrix<T> {
    data: Vec<T>,
    start: usize,
    rows: usize,
    cols: usize,
    strides: (usize, usize),
}

/// How a matrix lies in its buffer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Layout {
    RowMajor,
    ColMajor,
    /// Rows and columns both with gaps.
    Sparse,
}
const LAYOUTS: [Layout; 3] = [Layout::RowMajor, Layout::ColMajor, Layout::Sparse];

impl<T: Scalar> Matrix<T> {
    fn new(rows: usize, cols: usize, layout: Layout, fill: impl Fn(u64) -> T) -> Self {
        let (start, strides) = match layout {
            Layout::RowMajor => (3, (cols + 2, 1)),
            Layout::ColMajor => (1, (1, rows + 5)),
            Layout::Sparse => (2, (2 * cols + 3, 2)),
        };
        let len = start + rows * strides.0 + cols * strides.1 + 8;
        Self { data: (0..len as u64).map(fill).collect(), start, rows, cols, strides }
    }
    fn view(&self) -> MatRef<'_, T> {
        MatRef::strided(&self.data[self.start..], self.rows, self.cols, self.strides.0, self.strides.1)
            .unwrap()
    }
    fn view_mut(&mut self) -> MatMut<'_, T> {
        let (rows, cols) = (self.rows, self.cols);
        MatMut::strided(&mut self.data[self.start..], rows, cols, self.strides.0, self.strides.1).unwrap()
    }
    fn at(&self, i: usize, j: usize) -> T {
        self.view().get(i, j).unwrap()
    }
    fn set(&mut self, i: usize, j: usize, x: T) {
        self.data[self.start + i * self.strides.0 + j * self.strides.1] = x;
    }
}

/// What follows the sum.
#[derive(Clone, Copy, Debug, PartialEq)]
enum After {
    Nothing,
    Bias,
    BiasRelu,
    ReluGradient,
}
const AFTER: [After; 4] = [After::Nothing, After::Bias, After::BiasRelu, After::ReluGradient];

struct Case<T> {
    alpha: T,
    beta: T,
    a: Matrix<T>,
    b: Matrix<T>,
    c: Matrix<T>,
    bias: Vec<T>,
    y: Matrix<T>,
    after: After,
}

impl<T: Scalar> Case<T> {
    fn new(m: usize, n: usize, k: usize, layouts: [Layout; 3], after: After, seed: u64) -> Self {
        let draw =
            |stream: u64| move |i: u64| T::from_f64(Stream::new(seed, stream).uniform_f64(i) * 2.0 - 1.0);
        Self {
            alpha: T::from_f64(1.25),
            beta: T::from_f64(-0.75),
            a: Matrix::new(m, k, layouts[0], draw(0)),
            b: Matrix::new(k, n, layouts[1], draw(1)),
            c: Matrix::new(m, n, layouts[2], draw(2)),
            bias: (0..n as u64).map(draw(3)).collect(),
            y: Matrix::new(m, n, layouts[0], draw(4)),
            after,
        }
    }

    /// The ten-line loop that defines every bit.
    fn expected(&self) -> Matrix<T> {
        let (m, n, k) = (self.c.rows, self.c.cols, self.a.cols);
        let mut c = self.c.clone();
        for i in 0..m {
            for j in 0..n {
                let mut r = (self.beta != T::ZERO).then(|| self.beta.times(c.at(i, j)));
                for block in (0..k).step_by(T::BLOCK) {
                    let mut p = T::ZERO;
                    for q in block..k.min(block + T::BLOCK) {
                        p = self.a.at(i, q).fma(self.b.at(q, j), p);
                    }
                    r = Some(r.map_or(self.alpha.times(p), |r| self.alpha.fma(p, r)));
                }
                let mut r = r.unwrap_or(T::ZERO);
                if matches!(self.after, After::Bias | After::BiasRelu) {
                    r = r.plus(self.bias[j]);
                }
                let off = match self.after {
                    After::BiasRelu => r <= T::ZERO,
                    After::ReluGradient => self.y.at(i, j) <= T::ZERO,
                    After::Nothing | After::Bias => false,
                };
                c.set(i, j, if off { T::ZERO } else { r });
            }
        }
        c
    }

    fn run(&self, cpu: Cpu<'_>, threads: usize) -> Matrix<T> {
        let (m, n, k) = (self.c.rows, self.c.cols, self.a.cols);
        let mut c = self.c.clone();
        // The scratch may hold anything.
        let mut scratch = vec![T::from_f64(f64::NAN); gemm_scratch::<T>(threads, m, n, k)];
        let epilogue = match self.after {
            After::Nothing => Epilogue::NONE,
            After::Bias => Epilogue::bias(&self.bias),
            After::BiasRelu => Epilogue::bias(&self.bias).relu(),
            After::ReluGradient => Epilogue::NONE.relu_gradient(self.y.view()),
        };
        gemm(cpu, self.alpha, self.a.view(), self.b.view(), self.beta, c.view_mut(), epilogue, &mut scratch)
            .unwrap();
        c
    }

    /// Compares whole buffers, so that a write outside the matrix shows as well.
    fn check(&self, isas: impl Iterator<Item = Isa>) {
        let expected = self.expected();
        for isa in isas {
            let got = self.run(Cpu::serial(isa), 1);
            for (place, (e, g)) in expected.data.iter().zip(&got.data).enumerate() {
                assert_eq!(
                    e.bits(),
                    g.bits(),
                    "{isa}, {} x {} x {}, strides {:?} {:?} {:?}, {:?}: place {place} is {g}, expected {e}",
                    self.c.rows,
                    self.c.cols,
                    self.a.cols,
                    self.a.strides,
                    self.b.strides,
                    self.c.strides,
                    self.after
                );
            }
        }
    }
}

/// An executor of real threads; the tests need no fast one.
struct Threads(usize);

impl Executor for Threads {
    fn threads(&self) -> usize {
        self.0
    }
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        std::thread::scope(|scope| {
            for i in 0..tasks {
                scope.spawn(move || task(i));
            }
        });
    }
}

/// Lengths at which a loop begins, ends or has a rest: 0, 1, and the neighbours of lanes, panels and tiles.
const EDGES: [usize; 14] = [0, 1, 2, 5, 6, 7, 13, 14, 15, 17, 31, 32, 33, 65];

fn every_edge<T: Scalar>() {
    let mut turn = 0;
    for m in EDGES {
        for n in EDGES {
            for k in [0, 1, 2, 17] {
                // Each triple meets one combination; over all triples each combination comes many times.
                turn += 1;
                let layouts = [LAYOUTS[turn % 3], LAYOUTS[turn / 3 % 3], LAYOUTS[turn / 9 % 3]];
                Case::<T>::new(m, n, k, layouts, AFTER[turn % 4], turn as u64).check(Isa::available());
            }
        }
    }
}

#[test]
fn f32_has_the_oracles_bits_at_every_edge() {
    every_edge::<f32>();
}

#[test]
fn f64_has_the_oracles_bits_at_every_edge() {
    every_edge::<f64>();
}

fn summation_blocks<T: Scalar>() {
    for k in [T::BLOCK - 1, T::BLOCK, T::BLOCK + 1, 2 * T::BLOCK + 3] {
        for (i, &layout) in LAYOUTS.iter().enumerate() {
            for after in AFTER {
                Case::<T>::new(15, 33, k, [layout, LAYOUTS[(i + 1) % 3], LAYOUTS[(i + 2) % 3]], after, 7)
                    .check(Isa::available());
            }
        }
    }
}

#[test]
fn f32_sums_in_blocks_of_512() {
    summation_blocks::<f32>();
}

#[test]
fn f64_sums_in_blocks_of_256() {
    summation_blocks::<f64>();
}

/// More columns than are packed at a time, more rows than tiles of one pass, B packed and in place.
#[test]
fn cache_blocks_change_no_bit() {
    for (m, n, k) in [(9, 300, 40), (300, 9, 40), (200, 260, 70), (40, 513, 600)] {
        for layouts in [
            [Layout::RowMajor; 3],
            [Layout::ColMajor; 3],
            [Layout::RowMajor, Layout::ColMajor, Layout::RowMajor],
        ] {
            Case::<f32>::new(m, n, k, layouts, After::BiasRelu, 11).check(Isa::available());
            Case::<f64>::new(m, n, k, layouts, After::ReluGradient, 12).check(Isa::available());
        }
    }
    // Rows of B 4 KiB apart are packed.
    Case::<f32>::new(30, 1022, 520, [Layout::RowMajor; 3], After::Bias, 13).check(Isa::available());
}

#[test]
fn threads_change_no_bit() {
    for (m, n, k) in [(128, 512, 300), (700, 40, 300), (300, 300, 130), (2000, 10, 600)] {
        let case = Case::<f32>::new(m, n, k, [Layout::RowMajor; 3], After::BiasRelu, 3);
        let one = case.run(Cpu::serial(Isa::detect()), 1);
        for threads in 2..=5 {
            let many = case.run(Cpu::new(Isa::detect(), &Threads(threads)), threads);
            let same = one.data.iter().zip(&many.data).all(|(a, b)| a.bits() == b.bits());
            assert!(same, "{m} x {n} x {k} on {threads} threads");
        }
    }
}

#[test]
fn beta_zero_never_reads_c() {
    for after in AFTER {
        for layout in LAYOUTS {
            let mut case =
                Case::<f32>::new(20, 37, 9, [Layout::RowMajor, Layout::RowMajor, layout], after, 5);
            case.beta = 0.0;
            case.c.data.fill(f32::NAN);
            case.check(Isa::available());
            let got = case.run(Cpu::detect(), 1);
            assert!((0..20).all(|i| (0..37).all(|j| !got.at(i, j).is_nan())));
        }
    }
}

#[test]
fn small_integers_are_exact() {
    let integers = |stream: u64| move |i: u64| Stream::new(1, stream).below(i, 17) as f32 - 8.0;
    let mut case = Case::<f32>::new(
        33,
        47,
        700,
        [Layout::RowMajor, Layout::ColMajor, Layout::RowMajor],
        After::Nothing,
        0,
    );
    (case.alpha, case.beta) = (1.0, 0.0);
    case.a = Matrix::new(33, 700, Layout::RowMajor, integers(1));
    case.b = Matrix::new(700, 47, Layout::ColMajor, integers(2));
    let got = case.run(Cpu::detect(), 1);
    for i in 0..33 {
        for j in 0..47 {
            let exact: i64 = (0..700).map(|p| case.a.at(i, p) as i64 * case.b.at(p, j) as i64).sum();
            assert_eq!(got.at(i, j), exact as f32);
        }
    }
}

#[test]
fn wrong_shapes_and_little_scratch_are_errors_and_change_nothing() {
    let b = [1.0_f32; 12];
    let mut c = [7.0_f32; 8];
    let mut call = |a: (usize, usize), b_shape: (usize, usize), bias: &[f32], scratch: usize| {
        let result = gemm(
            Cpu::detect(),
            1.0,
            MatRef::row_major(&[1.0; 9], a.0, a.1).unwrap(),
            MatRef::row_major(&b, b_shape.0, b_shape.1).unwrap(),
            0.0,
            MatMut::row_major(&mut c, 2, 4).unwrap(),
            Epilogue::bias(bias),
            &mut vec![0.0; scratch],
        );
        assert_eq!(c, [7.0; 8]);
        result.unwrap_err()
    };
    let enough = gemm_scratch::<f32>(1, 2, 4, 3);
    let length = |operand, expected, got| Error::Length { operand, expected, got };
    assert_eq!(call((3, 3), (3, 4), &[0.0; 4], enough), length("rows of a", 2, 3));
    assert_eq!(call((2, 2), (3, 4), &[0.0; 4], enough), length("rows of b", 2, 3));
    assert_eq!(call((2, 3), (3, 3), &[0.0; 4], enough), length("columns of b", 4, 3));
    assert_eq!(call((2, 3), (3, 4), &[0.0; 3], enough), length("bias", 4, 3));
    assert_eq!(
        call((2, 3), (3, 4), &[0.0; 4], enough - 1),
        Error::Scratch { expected: enough, got: enough - 1 }
    );
}

/// Random data against f64: the bound that the documentation of `gemm` states.
#[test]
fn the_error_stays_below_the_documented_bound() {
    let (m, n, k) = (17, 19, 1500);
    let mut case = Case::<f32>::new(m, n, k, [Layout::RowMajor; 3], After::Nothing, 21);
    (case.alpha, case.beta) = (1.0, 0.0);
    for isa in Isa::available() {
        let got = case.run(Cpu::serial(isa), 1);
        for i in 0..m {
            for j in 0..n {
                let terms = (0..k).map(|p| f64::from(case.a.at(i, p)) * f64::from(case.b.at(p, j)));
                let (exact, size) = terms.fold((0.0, 0.0), |(sum, size), t| (sum + t, size + t.abs()));
                let bound = (512.0 + 3.0) * 0.5 * f64::from(f32::EPSILON) * size;
                let error = (f64::from(got.at(i, j)) - exact).abs();
                assert!(error <= bound, "{error} > {bound}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// NaN, infinities, both zeros, subnormals and the largest numbers flow as in the scalar loop.
    #[test]
    fn specials_flow_as_in_the_oracle(
        m in 1_usize..20, n in 1_usize..40, k in 1_usize..30, after in 0_usize..4, beta in 0_u32..3, seed: u64,
    ) {
        let mut case = Case::<f32>::new(m, n, k, [Layout::RowMajor; 3], AFTER[after], seed);
        case.beta = [0.0, 1.0, -0.5][beta as usize];
        let draw = |stream: u64| move |i: u64| {
            let s = Stream::new(seed, 10 + stream);
            // About one element in twelve is special.
            f32::special(s.below(i, 96), s.uniform_f64(i) - 0.5)
        };
        case.a = Matrix::new(m, k, Layout::RowMajor, draw(0));
        case.b = Matrix::new(k, n, Layout::ColMajor, draw(1));
        case.c = Matrix::new(m, n, Layout::RowMajor, draw(2));
        case.y = Matrix::new(m, n, Layout::RowMajor, draw(3));
        case.bias = (0..n as u64).map(draw(4)).collect();
        case.check(Isa::available());
    }
}
