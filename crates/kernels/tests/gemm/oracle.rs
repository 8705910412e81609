//! The oracle: the scalar loop that defines every bit of a product, and the comparison with it.
//!
//! A [`Case`] has the operands, the epilogue and the buffers of one product. Its [`Problem`] is the
//! kind of product: [`Single`] of f32 and f64, or `bf16::oracle::Pairs`. Used by all tests here.

use kernels::gemm::{Epilogue, GemmShape, Operand, gemm, gemm_scratch};
use kernels::random::Stream;
use kernels::{Cpu, Error, Float, Isa, MatMut};

use crate::matrix::{Bits, LAYOUTS, Layout, Matrix, assert_same};

/// Operations on f32 and f64 that the crate's public trait lacks.
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

/// Bias and activation of a case.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum EpilogueKind {
    Identity,
    Bias,
    Relu,
    BiasRelu,
    ReluGradient,
}
pub(crate) const EPILOGUES: [EpilogueKind; 5] = [
    EpilogueKind::Identity,
    EpilogueKind::Bias,
    EpilogueKind::Relu,
    EpilogueKind::BiasRelu,
    EpilogueKind::ReluGradient,
];

impl EpilogueKind {
    fn has_bias(self) -> bool {
        matches!(self, Self::Bias | Self::BiasRelu)
    }
}

/// Element type of C for accumulators of type `T`.
pub(crate) trait Output<T>: Bits {
    fn load(self) -> T;
    fn store(x: T) -> Self;
}
impl<T: Scalar> Output<T> for T {
    fn load(self) -> T {
        self
    }
    fn store(x: T) -> Self {
        x
    }
}

/// A kind of product: its types, its operands, its sum, and the function under test.
pub(crate) trait Problem {
    /// Type of the accumulators.
    type Acc: Scalar;
    /// Type of C.
    type Out: Output<Self::Acc>;
    type Operand;
    /// Element of an operand.
    type Element: Copy;
    /// The element 1.
    const ONE: Self::Element;
    /// An operand of uniform numbers from -1 to 1.
    fn operand(rows: usize, cols: usize, layout: Layout, seed: u64, stream: u64) -> Self::Operand;
    fn layout(operand: &Self::Operand) -> Layout;
    fn at(operand: &Self::Operand, i: usize, j: usize) -> Self::Element;
    /// The loop that defines every bit: alpha times the sum of `a[p] b[p]`, plus beta times `c`.
    fn sum(
        alpha: Self::Acc,
        beta: Self::Acc,
        a: &[Self::Element],
        b: &[Self::Element],
        c: Self::Acc,
    ) -> Self::Acc;
    fn scratch(threads: usize, shape: GemmShape) -> usize;
    /// `true` if the product of this shape is an error without scratch.
    fn needs_scratch(shape: GemmShape) -> bool;
    #[expect(clippy::too_many_arguments, reason = "the arguments of `gemm`")]
    fn gemm(
        cpu: Cpu<'_>,
        alpha: Self::Acc,
        a: &Self::Operand,
        b: &Self::Operand,
        beta: Self::Acc,
        c: MatMut<'_, Self::Out>,
        epilogue: Epilogue<'_, Self::Acc, Self::Out>,
        scratch: &mut [Self::Acc],
    ) -> Result<(), Error>;
}

/// Elements before and after the column sums and the scratch, which must stay unchanged.
const MARGIN: usize = 3;

/// A product with its epilogue and its buffers.
pub(crate) struct ProblemCase<P: Problem> {
    pub(crate) alpha: P::Acc,
    pub(crate) beta: P::Acc,
    pub(crate) a: P::Operand,
    pub(crate) b: P::Operand,
    pub(crate) k: usize,
    pub(crate) bias: Vec<P::Acc>,
    pub(crate) y: Matrix<P::Out>,
    pub(crate) epilogue: EpilogueKind,
    /// `true` if the elements before the activation are saved to z.
    saves_z: bool,
    /// `true` if B's columns are summed.
    sums_columns: bool,
    /// Contents of C, z and the sums before the call.
    pub(crate) before: Results<P::Out, P::Acc>,
}

/// Products of f32 or f64.
pub(crate) struct Single<T>(core::marker::PhantomData<T>);

/// A case of f32 or f64.
pub(crate) type Case<T> = ProblemCase<Single<T>>;

/// The outputs of a product.
#[derive(Clone)]
pub(crate) struct Results<O, T = O> {
    pub(crate) c: Matrix<O>,
    pub(crate) z: Matrix<O>,
    /// With a margin on both sides.
    pub(crate) sums: Vec<T>,
}

impl<O: Bits, T: Bits> Results<O, T> {
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

impl<P: Problem> ProblemCase<P> {
    /// A case of shape (m, n, k). `layouts` are those of A, B and C.
    pub(crate) fn new(
        (m, n, k): (usize, usize, usize),
        layouts: [Layout; 3],
        epilogue: EpilogueKind,
        seed: u64,
    ) -> Self {
        let output = |stream| move |i| P::Out::store(uniform(seed, stream)(i));
        Self {
            alpha: P::Acc::from_f64(1.25),
            beta: P::Acc::from_f64(-0.75),
            a: P::operand(m, k, layouts[0], seed, 0),
            b: P::operand(k, n, layouts[1], seed, 1),
            k,
            bias: (0..n as u64).map(uniform(seed, 3)).collect(),
            y: Matrix::new(m, n, layouts[0], output(4)),
            epilogue,
            saves_z: false,
            sums_columns: false,
            before: Results {
                c: Matrix::new(m, n, layouts[2], output(2)),
                z: Matrix::new(m, n, layouts[1], output(5)),
                sums: (0..(n + 2 * MARGIN) as u64).map(uniform(seed, 6)).collect(),
            },
        }
    }

    /// The case with the further outputs that the lowest bits of `choice` name: z (bit 0) and the
    /// column sums (bit 1).
    pub(crate) fn with_outputs(self, choice: usize) -> Self {
        Self { saves_z: choice & 1 != 0, sums_columns: choice & 2 != 0, ..self }
    }

    fn shape(&self) -> GemmShape {
        GemmShape { m: self.before.c.rows, n: self.before.c.cols, k: self.k }
    }

    /// The oracle's results.
    pub(crate) fn expected(&self) -> Results<P::Out, P::Acc> {
        self.expected_in(0..self.before.c.rows)
    }

    /// The oracle's results in the rows `rows` of C and z; the other rows are as before.
    pub(crate) fn expected_in(&self, rows: impl Iterator<Item = usize>) -> Results<P::Out, P::Acc> {
        let mut results = self.before.clone();
        let Results { c, z, sums } = &mut results;
        let zero = P::Acc::ZERO;
        let sum = |a: &[_], b: &[_], c| P::sum(self.alpha, self.beta, a, b, c);
        let columns: Vec<Vec<_>> =
            (0..c.cols).map(|j| (0..self.k).map(|p| P::at(&self.b, p, j)).collect()).collect();
        for i in rows {
            let row: Vec<_> = (0..self.k).map(|p| P::at(&self.a, i, p)).collect();
            for (j, column) in columns.iter().enumerate() {
                let mut r = sum(&row, column, c.at(i, j).load());
                if self.epilogue.has_bias() {
                    r = r.plus(self.bias[j]);
                }
                if self.saves_z {
                    z.set(i, j, P::Out::store(r));
                }
                let is_off = match self.epilogue {
                    EpilogueKind::Relu | EpilogueKind::BiasRelu => r <= zero,
                    EpilogueKind::ReluGradient => self.y.at(i, j).load() <= zero,
                    EpilogueKind::Identity | EpilogueKind::Bias => false,
                };
                c.set(i, j, P::Out::store(if is_off { zero } else { r }));
            }
        }
        if self.sums_columns {
            let ones = vec![P::ONE; self.k];
            for (result, column) in sums[MARGIN..].iter_mut().zip(&columns) {
                *result = sum(&ones, column, *result);
            }
        }
        results
    }

    /// Results on one thread of `isa`, with or without scratch.
    pub(crate) fn run(&self, isa: Isa, has_scratch: bool) -> Results<P::Out, P::Acc> {
        self.run_on(Cpu::serial(isa), 1, has_scratch)
    }

    pub(crate) fn run_on(
        &self,
        cpu: Cpu<'_>,
        threads: usize,
        has_scratch: bool,
    ) -> Results<P::Out, P::Acc> {
        let mut results = self.before.clone();
        let Results { c, z, sums } = &mut results;
        let n = c.cols;
        let len = if has_scratch { P::scratch(threads, self.shape()) } else { 0 };
        // The scratch may hold anything.
        let mut scratch = vec![P::Acc::NAN; len + 2 * MARGIN];
        let mut epilogue =
            if self.epilogue.has_bias() { Epilogue::bias(&self.bias) } else { Epilogue::NONE };
        if self.saves_z {
            epilogue = epilogue.save(z.view_mut());
        }
        epilogue = match self.epilogue {
            EpilogueKind::Identity | EpilogueKind::Bias => epilogue,
            EpilogueKind::Relu | EpilogueKind::BiasRelu => epilogue.relu(),
            EpilogueKind::ReluGradient => epilogue.relu_gradient(self.y.view()),
        };
        if self.sums_columns {
            epilogue = epilogue.column_sums(&mut sums[MARGIN..MARGIN + n]);
        }
        let inner = &mut scratch[MARGIN..MARGIN + len];
        P::gemm(cpu, self.alpha, &self.a, &self.b, self.beta, c.view_mut(), epilogue, inner)
            .unwrap();
        let margins = scratch[..MARGIN].iter().chain(&scratch[MARGIN + len..]);
        assert!(
            margins.into_iter().all(|x| x.to_f64().is_nan()),
            "{}: written outside the scratch",
            self.name()
        );
        results
    }

    /// Compares every instruction set of this machine with the oracle, with scratch, and without
    /// where that is allowed.
    pub(crate) fn check(&self) {
        if !crate::sample::takes_case() {
            return;
        }
        let expected = self.expected();
        for isa in Isa::available() {
            for has_scratch in [true, false] {
                if has_scratch || !P::needs_scratch(self.shape()) {
                    let got = self.run(isa, has_scratch);
                    expected.assert_same(&got, || {
                        let bf16 = if isa.multiplies_bf16() { " with bf16" } else { "" };
                        let scratch = if has_scratch { "scratch" } else { "no scratch" };
                        format!("{isa}{bf16}, {scratch}, {}", self.name())
                    });
                }
            }
        }
    }

    pub(crate) fn name(&self) -> String {
        let GemmShape { m, n, k } = self.shape();
        format!(
            "{m} x {n} x {k}, {:?} {:?} {:?}, {:?}, alpha {}, beta {}, saves z: {}, sums columns: \
             {}",
            P::layout(&self.a),
            P::layout(&self.b),
            self.before.c.layout,
            self.epilogue,
            self.alpha,
            self.beta,
            self.saves_z,
            self.sums_columns,
        )
    }
}

/// An operand of f32 or f64.
#[derive(Clone)]
pub(crate) enum TestOperand<T> {
    Dense(Matrix<T>),
    Bytes(Matrix<u8>, T),
    Sparse(Matrix<T>),
}

impl<T: Scalar> TestOperand<T> {
    pub(crate) fn at(&self, i: usize, j: usize) -> T {
        match self {
            Self::Dense(matrix) | Self::Sparse(matrix) => matrix.at(i, j),
            Self::Bytes(matrix, scale) => T::from_f64(f64::from(matrix.at(i, j))).times(*scale),
        }
    }

    fn operand(&self) -> Operand<'_, T> {
        match self {
            Self::Dense(matrix) => matrix.view().into(),
            Self::Sparse(matrix) => Operand::sparse(matrix.view()),
            Self::Bytes(matrix, scale) => Operand::bytes(matrix.view(), *scale),
        }
    }
}

impl<T: Scalar> Problem for Single<T> {
    type Acc = T;
    type Out = T;
    type Operand = TestOperand<T>;
    type Element = T;
    const ONE: T = T::ONE;
    fn operand(rows: usize, cols: usize, layout: Layout, seed: u64, stream: u64) -> TestOperand<T> {
        TestOperand::Dense(Matrix::new(rows, cols, layout, uniform(seed, stream)))
    }
    fn layout(operand: &TestOperand<T>) -> Layout {
        match operand {
            TestOperand::Dense(matrix) | TestOperand::Sparse(matrix) => matrix.layout,
            TestOperand::Bytes(matrix, _) => matrix.layout,
        }
    }
    fn at(operand: &TestOperand<T>, i: usize, j: usize) -> T {
        operand.at(i, j)
    }
    fn sum(alpha: T, beta: T, a: &[T], b: &[T], c: T) -> T {
        let mut r = (beta != T::ZERO).then(|| beta.times(c));
        for (a, b) in a.chunks(T::BLOCK).zip(b.chunks(T::BLOCK)) {
            let p = a.iter().zip(b).fold(T::ZERO, |p, (&a, &b)| a.fma(b, p));
            r = Some(r.map_or(alpha.times(p), |r| alpha.fma(p, r)));
        }
        r.unwrap_or(T::ZERO)
    }
    fn scratch(threads: usize, shape: GemmShape) -> usize {
        gemm_scratch::<T>(threads, shape)
    }
    fn needs_scratch(_: GemmShape) -> bool {
        false
    }
    fn gemm(
        cpu: Cpu<'_>,
        alpha: T,
        a: &TestOperand<T>,
        b: &TestOperand<T>,
        beta: T,
        c: MatMut<'_, T>,
        epilogue: Epilogue<'_, T>,
        scratch: &mut [T],
    ) -> Result<(), Error> {
        gemm(cpu, alpha, a.operand(), b.operand(), beta, c, epilogue, scratch)
    }
}

/// Checks products with such an operand as A, as B and as both, in every layout.
pub(crate) fn every_layout<T: Scalar>(
    operand: impl Fn(usize, usize, Layout, u64) -> TestOperand<T>,
) {
    let mut index = 0;
    for (m, n, k) in
        [(1, 1, 1), (15, 33, 20), (3, 257, 19), (70, 9, 40), (29, 300, 64), (33, 17, T::BLOCK + 5)]
    {
        for a in LAYOUTS {
            for b in LAYOUTS {
                for which in 1..=3 {
                    index += 1;
                    let layouts = [a, b, LAYOUTS[index % 3]];
                    let epilogue = EPILOGUES[index % 5];
                    let mut case = Case::<T>::new((m, n, k), layouts, epilogue, index as u64)
                        .with_outputs(index / 2);
                    if which & 1 != 0 {
                        case.a = operand(m, k, a, 1);
                    }
                    if which & 2 != 0 {
                        case.b = operand(k, n, b, 2);
                    }
                    case.check();
                }
            }
        }
    }
}

/// Layouts of A, B and C, a different combination for each `index` below 27.
pub(crate) fn layouts_of(index: usize) -> [Layout; 3] {
    [LAYOUTS[index % 3], LAYOUTS[index / 3 % 3], LAYOUTS[index / 9 % 3]]
}
