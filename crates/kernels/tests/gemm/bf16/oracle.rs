//! The oracle of products of bf16: the scalar loop over pairs of k.

use half::bf16;
use kernels::gemm::{Bf16Result, Epilogue, GemmShape, gemm_bf16, gemm_bf16_scratch};
use kernels::random::Stream;
use kernels::{Cpu, Isa};

use super::exact::step;
use crate::matrix::{Bits, Layout, Matrix, assert_same};
use crate::oracle::After;

/// Elements of k in a summation block.
const BLOCK: usize = 1024;
/// Places before and after the column sums, which must stay as they are; likewise around the scratch.
const MARGIN: usize = 3;

/// A type of results.
pub(crate) trait Store: Bf16Result + Bits {
    fn wide(self) -> f32;
    fn rounded(x: f32) -> Self;
}
impl Store for f32 {
    fn wide(self) -> f32 {
        self
    }
    fn rounded(x: f32) -> Self {
        x
    }
}
impl Store for bf16 {
    fn wide(self) -> f32 {
        self.to_f32()
    }
    fn rounded(x: f32) -> Self {
        Self::from_f32(x)
    }
}

/// Uniform numbers from -1 to 1.
pub(crate) fn uniform(seed: u64, stream: u64) -> impl Fn(u64) -> bf16 {
    move |i| bf16::from_f64(Stream::new(seed, stream).uniform_f64(i) * 2.0 - 1.0)
}

/// A product with all that goes with it.
pub(crate) struct Case<O> {
    pub(crate) alpha: f32,
    pub(crate) beta: f32,
    pub(crate) a: Matrix<bf16>,
    pub(crate) b: Matrix<bf16>,
    bias: Vec<f32>,
    pub(crate) y: Matrix<O>,
    after: After,
    keeps: bool,
    sums_columns: bool,
    /// What C, z and the sums hold before.
    pub(crate) before: Results<O>,
}

/// What is written.
#[derive(Clone)]
pub(crate) struct Results<O> {
    pub(crate) c: Matrix<O>,
    pub(crate) z: Matrix<O>,
    /// With a margin on both sides.
    pub(crate) sums: Vec<f32>,
}

impl<O: Bits> Results<O> {
    pub(crate) fn assert_same(&self, got: &Self, case: impl Fn() -> String) {
        assert_same(&self.c.data, &got.c.data, "C", &case);
        assert_same(&self.z.data, &got.z.data, "z", &case);
        assert_same(&self.sums, &got.sums, "the column sums", &case);
    }
}

impl<O: Store> Case<O> {
    pub(crate) fn new(
        (m, n, k): (usize, usize, usize),
        layouts: [Layout; 3],
        after: After,
        seed: u64,
    ) -> Self {
        let wide = |stream| move |i| crate::oracle::uniform::<f32>(seed, stream)(i);
        let result = |stream| move |i| O::rounded(wide(stream)(i));
        Self {
            alpha: 1.25,
            beta: -0.75,
            a: Matrix::new(m, k, layouts[0], uniform(seed, 0)),
            b: Matrix::new(k, n, layouts[1], uniform(seed, 1)),
            bias: (0..n as u64).map(wide(3)).collect(),
            y: Matrix::new(m, n, layouts[0], result(4)),
            after,
            keeps: false,
            sums_columns: false,
            before: Results {
                c: Matrix::new(m, n, layouts[2], result(2)),
                z: Matrix::new(m, n, layouts[1], result(5)),
                sums: (0..(n + 2 * MARGIN) as u64).map(wide(6)).collect(),
            },
        }
    }

    /// Keeps the pre-activations, and sums B's columns, as the lowest bits of `choice` say.
    pub(crate) fn beside(self, choice: usize) -> Self {
        Self { keeps: choice & 1 != 0, sums_columns: choice & 2 != 0, ..self }
    }

    pub(crate) fn expected(&self) -> Results<O> {
        let mut results = self.before.clone();
        let Results { c, z, sums } = &mut results;
        let k = self.a.cols;
        let columns: Vec<Vec<bf16>> =
            (0..c.cols).map(|j| (0..k).map(|p| self.b.at(p, j)).collect()).collect();
        for i in 0..c.rows {
            let row: Vec<bf16> = (0..k).map(|p| self.a.at(i, p)).collect();
            for (j, column) in columns.iter().enumerate() {
                let mut r = self.sum(&row, column, c.at(i, j).wide());
                if self.after.biased() {
                    r += self.bias[j];
                }
                if self.keeps {
                    z.set(i, j, O::rounded(r));
                }
                let off = match self.after {
                    After::Relu | After::BiasRelu => r <= 0.0,
                    After::ReluGradient => self.y.at(i, j).wide() <= 0.0,
                    After::Nothing | After::Bias => false,
                };
                c.set(i, j, O::rounded(if off { 0.0 } else { r }));
            }
        }
        if self.sums_columns {
            let ones = vec![bf16::ONE; k];
            for (sum, column) in sums[MARGIN..].iter_mut().zip(&columns) {
                *sum = self.sum(&ones, column, *sum);
            }
        }
        results
    }

    /// The loop that defines every bit.
    fn sum(&self, a: &[bf16], b: &[bf16], c: f32) -> f32 {
        let mut r = (self.beta != 0.0).then_some(self.beta * c);
        for (a, b) in a.chunks(BLOCK).zip(b.chunks(BLOCK)) {
            let mut p = 0.0;
            for (a, b) in a.chunks(2).zip(b.chunks(2)) {
                // Where k is odd, the last pair's odd elements are +0.
                let odd = |pair: &[bf16]| pair.get(1).copied().unwrap_or(bf16::ZERO);
                p = step(odd(a), odd(b), p);
                p = step(a[0], b[0], p);
            }
            r = Some(r.map_or(self.alpha * p, |r| self.alpha.mul_add(p, r)));
        }
        r.unwrap_or(0.0)
    }

    /// On one thread of `isa`. `lends`: with scratch, else with none.
    pub(crate) fn run(&self, isa: Isa, lends: bool) -> Results<O> {
        self.run_on(Cpu::serial(isa), 1, lends)
    }

    pub(crate) fn run_on(&self, cpu: Cpu<'_>, threads: usize, lends: bool) -> Results<O> {
        let mut results = self.before.clone();
        let Results { c, z, sums } = &mut results;
        let n = c.cols;
        let len = if lends {
            gemm_bf16_scratch(threads, GemmShape { m: c.rows, n, k: self.a.cols })
        } else {
            0
        };
        // The scratch may hold anything.
        let mut scratch = vec![f32::NAN; len + 2 * MARGIN];
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
        let (a, b, c) = (self.a.view(), self.b.view(), c.view_mut());
        gemm_bf16(cpu, self.alpha, a, b, self.beta, c, epilogue, lent).unwrap();
        let margins = scratch[..MARGIN].iter().chain(&scratch[MARGIN + len..]);
        assert!(margins.into_iter().all(|x| x.is_nan()), "{}: beside the scratch", self.name());
        results
    }

    /// Compares every instruction set of this machine to the oracle, with scratch, and without where that is allowed.
    pub(crate) fn check(&self) {
        if !crate::sample::takes_case() {
            return;
        }
        let expected = self.expected();
        let sums_are_kept_in_c = size_of::<O>() == size_of::<f32>();
        for isa in Isa::available() {
            for lends in [true, false] {
                if lends
                    || sums_are_kept_in_c
                    || self.a.cols <= BLOCK
                    || self.before.c.data.is_empty()
                {
                    let got = self.run(isa, lends);
                    expected.assert_same(&got, || {
                        let bf16 = if isa.multiplies_bf16() { " with bf16" } else { "" };
                        let scratch = if lends { "scratch" } else { "no scratch" };
                        format!("{isa}{bf16}, {scratch}, {}", self.name())
                    });
                }
            }
        }
    }

    pub(crate) fn name(&self) -> String {
        format!(
            "{} x {} x {}, {:?} {:?} {:?}, {:?}, alpha {}, beta {}, keeps: {}, sums columns: {}",
            self.before.c.rows,
            self.before.c.cols,
            self.a.cols,
            self.a.layout,
            self.b.layout,
            self.before.c.layout,
            self.after,
            self.alpha,
            self.beta,
            self.keeps,
            self.sums_columns,
        )
    }
}
