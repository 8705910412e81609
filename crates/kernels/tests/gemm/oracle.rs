//! The oracle of products of f32 and f64: the scalar loop that defines every bit.

use kernels::gemm::{Epilogue, GemmShape, Operand, gemm, gemm_scratch};
use kernels::random::Stream;
use kernels::{Cpu, Float, Isa};

use crate::matrix::{Bits, LAYOUTS, Layout, Matrix, assert_same};

/// What the oracle needs of f32 and f64 beyond the crate's public trait.
pub(crate) trait Scalar: Float + Bits {
    const BLOCK: usize;
    fn fma(self, b: Self, c: Self) -> Self;
    fn plus(self, b: Self) -> Self;
    fn times(self, b: Self) -> Self;
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

/// What follows the sum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum After {
    Nothing,
    Bias,
    Relu,
    BiasRelu,
    ReluGradient,
}
pub(crate) const AFTER: [After; 5] =
    [After::Nothing, After::Bias, After::Relu, After::BiasRelu, After::ReluGradient];

impl After {
    pub(crate) fn biased(self) -> bool {
        matches!(self, Self::Bias | Self::BiasRelu)
    }
}

/// A factor of the product.
#[derive(Clone)]
pub(crate) enum Factor<T> {
    Numbers(Matrix<T>),
    Bytes(Matrix<u8>, T),
    Sparse(Matrix<T>),
}

impl<T: Scalar> Factor<T> {
    pub(crate) fn at(&self, i: usize, j: usize) -> T {
        match self {
            Self::Numbers(matrix) | Self::Sparse(matrix) => matrix.at(i, j),
            Self::Bytes(matrix, scale) => T::from_f64(f64::from(matrix.at(i, j))).times(*scale),
        }
    }

    fn operand(&self) -> Operand<'_, T> {
        match self {
            Self::Numbers(matrix) => matrix.view().into(),
            Self::Sparse(matrix) => Operand::sparse(matrix.view()),
            Self::Bytes(matrix, scale) => Operand::bytes(matrix.view(), *scale),
        }
    }

    fn layout(&self) -> Layout {
        match self {
            Self::Numbers(matrix) | Self::Sparse(matrix) => matrix.layout,
            Self::Bytes(matrix, _) => matrix.layout,
        }
    }
}

/// Places before and after the column sums, which must stay as they are; likewise around the scratch.
const MARGIN: usize = 3;

/// A product with all that goes with it.
pub(crate) struct Case<T> {
    pub(crate) alpha: T,
    pub(crate) beta: T,
    pub(crate) a: Factor<T>,
    pub(crate) b: Factor<T>,
    pub(crate) depth: usize,
    pub(crate) bias: Vec<T>,
    pub(crate) y: Matrix<T>,
    pub(crate) after: After,
    /// Whether the pre-activations are kept.
    pub(crate) keeps: bool,
    /// Whether B's columns are summed.
    pub(crate) sums_columns: bool,
    /// What C, z and the sums hold before.
    pub(crate) before: Results<T>,
}

/// What is written.
#[derive(Clone)]
pub(crate) struct Results<T> {
    pub(crate) c: Matrix<T>,
    pub(crate) z: Matrix<T>,
    /// With a margin on both sides.
    pub(crate) sums: Vec<T>,
}

impl<T: Bits> Results<T> {
    pub(crate) fn assert_same(&self, got: &Self, case: impl Fn() -> String) {
        assert_same(&self.c.data, &got.c.data, "C", &case);
        assert_same(&self.z.data, &got.z.data, "z", &case);
        assert_same(&self.sums, &got.sums, "the column sums", &case);
    }
}

/// Uniform numbers from -1 to 1.
pub(crate) fn uniform<T: Float>(seed: u64, stream: u64) -> impl Fn(u64) -> T {
    move |i| T::from_f64(Stream::new(seed, stream).uniform_f64(i) * 2.0 - 1.0)
}

impl<T: Scalar> Case<T> {
    pub(crate) fn new(
        (m, n, k): (usize, usize, usize),
        layouts: [Layout; 3],
        after: After,
        seed: u64,
    ) -> Self {
        Self {
            alpha: T::from_f64(1.25),
            beta: T::from_f64(-0.75),
            a: Factor::Numbers(Matrix::new(m, k, layouts[0], uniform(seed, 0))),
            b: Factor::Numbers(Matrix::new(k, n, layouts[1], uniform(seed, 1))),
            depth: k,
            bias: (0..n as u64).map(uniform(seed, 3)).collect(),
            y: Matrix::new(m, n, layouts[0], uniform(seed, 4)),
            after,
            keeps: false,
            sums_columns: false,
            before: Results {
                c: Matrix::new(m, n, layouts[2], uniform(seed, 2)),
                z: Matrix::new(m, n, layouts[1], uniform(seed, 5)),
                sums: (0..(n + 2 * MARGIN) as u64).map(uniform(seed, 6)).collect(),
            },
        }
    }

    /// Keeps the pre-activations, and sums B's columns, as the lowest bits of `choice` say.
    pub(crate) fn beside(self, choice: usize) -> Self {
        Self { keeps: choice & 1 != 0, sums_columns: choice & 2 != 0, ..self }
    }

    /// The oracle's results in the rows `rows` of C and z; the other rows are as before.
    pub(crate) fn expected_in(&self, rows: impl Iterator<Item = usize>) -> Results<T> {
        let mut results = self.before.clone();
        let Results { c, z, sums } = &mut results;
        let columns: Vec<Vec<T>> =
            (0..c.cols).map(|j| (0..self.depth).map(|p| self.b.at(p, j)).collect()).collect();
        for i in rows {
            let row: Vec<T> = (0..self.depth).map(|p| self.a.at(i, p)).collect();
            for (j, column) in columns.iter().enumerate() {
                let mut r = self.sum(&row, column, c.at(i, j));
                if self.after.biased() {
                    r = r.plus(self.bias[j]);
                }
                if self.keeps {
                    z.set(i, j, r);
                }
                let off = match self.after {
                    After::Relu | After::BiasRelu => r <= T::ZERO,
                    After::ReluGradient => self.y.at(i, j) <= T::ZERO,
                    After::Nothing | After::Bias => false,
                };
                c.set(i, j, if off { T::ZERO } else { r });
            }
        }
        if self.sums_columns {
            let ones = vec![T::ONE; self.depth];
            for (sum, column) in sums[MARGIN..].iter_mut().zip(&columns) {
                *sum = self.sum(&ones, column, *sum);
            }
        }
        results
    }

    /// The loop that defines every bit.
    fn sum(&self, a: &[T], b: &[T], c: T) -> T {
        let mut r = (self.beta != T::ZERO).then(|| self.beta.times(c));
        for (a, b) in a.chunks(T::BLOCK).zip(b.chunks(T::BLOCK)) {
            let p = a.iter().zip(b).fold(T::ZERO, |p, (&a, &b)| a.fma(b, p));
            r = Some(r.map_or(self.alpha.times(p), |r| self.alpha.fma(p, r)));
        }
        r.unwrap_or(T::ZERO)
    }

    pub(crate) fn expected(&self) -> Results<T> {
        self.expected_in(0..self.before.c.rows)
    }

    /// On one thread of `isa`. `lends`: with scratch, else with none.
    pub(crate) fn run(&self, isa: Isa, lends: bool) -> Results<T> {
        self.run_on(Cpu::serial(isa), 1, lends)
    }

    pub(crate) fn run_on(&self, cpu: Cpu<'_>, threads: usize, lends: bool) -> Results<T> {
        let mut results = self.before.clone();
        let Results { c, z, sums } = &mut results;
        let n = c.cols;
        let len = if lends {
            gemm_scratch::<T>(threads, GemmShape { m: c.rows, n, k: self.depth })
        } else {
            0
        };
        // The scratch may hold anything.
        let mut scratch = vec![T::from_f64(f64::NAN); len + 2 * MARGIN];
        let mut epilogue =
            if self.after.biased() { Epilogue::bias(&self.bias) } else { Epilogue::NONE };
        if self.keeps {
            epilogue = epilogue.save(z.view_mut());
        }
        epilogue = match self.after {
            After::Nothing | After::Bias => epilogue,
            After::Relu | After::BiasRelu => epilogue.relu(),
            After::ReluGradient => epilogue.relu_gradient(self.y.view()),
        };
        if self.sums_columns {
            epilogue = epilogue.column_sums(&mut sums[MARGIN..MARGIN + n]);
        }
        let lent = &mut scratch[MARGIN..MARGIN + len];
        gemm(
            cpu,
            self.alpha,
            self.a.operand(),
            self.b.operand(),
            self.beta,
            c.view_mut(),
            epilogue,
            lent,
        )
        .unwrap();
        let margins = scratch[..MARGIN].iter().chain(&scratch[MARGIN + len..]);
        assert!(
            margins.into_iter().all(|x| x.to_f64().is_nan()),
            "{}: beside the scratch",
            self.name()
        );
        results
    }

    /// Compares every instruction set of this machine, with and without scratch, to the oracle.
    pub(crate) fn check(&self) {
        if !crate::sample::takes_case() {
            return;
        }
        let expected = self.expected();
        for isa in Isa::available() {
            for lends in [true, false] {
                let got = self.run(isa, lends);
                expected.assert_same(&got, || {
                    format!(
                        "{isa}, {}, {}",
                        if lends { "scratch" } else { "no scratch" },
                        self.name()
                    )
                });
            }
        }
    }

    pub(crate) fn name(&self) -> String {
        format!(
            "{} x {} x {}, {:?} {:?} {:?}, {:?}, keeps: {}, sums columns: {}",
            self.before.c.rows,
            self.before.c.cols,
            self.depth,
            self.a.layout(),
            self.b.layout(),
            self.before.c.layout,
            self.after,
            self.keeps,
            self.sums_columns,
        )
    }
}

/// Checks products with such a factor as a, as b and as both, in every layout.
pub(crate) fn every_layout<T: Scalar>(factor: impl Fn(usize, usize, Layout, u64) -> Factor<T>) {
    let mut turn = 0;
    for (m, n, k) in
        [(1, 1, 1), (15, 33, 20), (3, 257, 19), (70, 9, 40), (29, 300, 64), (33, 17, T::BLOCK + 5)]
    {
        for a in LAYOUTS {
            for b in LAYOUTS {
                for which in 1..=3 {
                    turn += 1;
                    let layouts = [a, b, LAYOUTS[turn % 3]];
                    let mut case = Case::<T>::new((m, n, k), layouts, AFTER[turn % 5], turn as u64)
                        .beside(turn / 2);
                    if which & 1 != 0 {
                        case.a = factor(m, k, a, 1);
                    }
                    if which & 2 != 0 {
                        case.b = factor(k, n, b, 2);
                    }
                    case.check();
                }
            }
        }
    }
}
