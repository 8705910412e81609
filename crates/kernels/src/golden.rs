//! Fixed problems whose results are hashed: products of f32, f64 and bf16 in every layout, three
//! steps of training, and in `others` all other kernels. A hash is the same on every machine, or
//! the bit contract is broken.
//!
//! Without std and without a heap: `tests/no_std` runs them on bare metal. Called by the test
//! `golden`, by `tests/no_std` and by `evenkeel verify`; no part of the API.

mod others;

use crate::clip::clip_norm;
use crate::gemm::{
    Bf16Result, Epilogue, GemmShape, Operand, gemm, gemm_bf16, gemm_bf16_scratch, gemm_scratch,
};
use crate::loss::{CrossEntropy, Targets};
use crate::optimizer::{Adam, Decay, Optimizer, Sgd, Step};
use crate::random::{Stream, fill_normal, fill_uniform};
use crate::softmax::softmax;
use crate::{Cpu, Error, Float, MatMut, MatRef};
use half::bf16;

/// Hashes of the results of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashes {
    /// Hash of `products`.
    pub gemm: u64,
    /// Hash of `training`.
    pub training: u64,
    /// Hash of `epilogues`.
    pub epilogues: u64,
    /// Hash of `others::functions`.
    pub functions: u64,
    /// Hash of `others::rows`.
    pub rows: u64,
    /// Hash of `others::images`.
    pub images: u64,
    /// Hash of `others::optimizers`.
    pub optimizers: u64,
    /// Hash of `others::likelihoods`.
    pub likelihoods: u64,
}

impl Hashes {
    /// Each with the name of its problems.
    pub fn named(self) -> [(&'static str, u64); 8] {
        [
            ("products", self.gemm),
            ("products' epilogues", self.epilogues),
            ("training", self.training),
            ("functions", self.functions),
            ("losses, norms", self.rows),
            ("convolution, pooling", self.images),
            ("optimizers", self.optimizers),
            ("likelihoods", self.likelihoods),
        ]
    }
}

/// The hashes of f32 on every machine.
pub const F32: Hashes = Hashes {
    gemm: 0xefda_0816_be88_18f4,
    training: 0x670a_b23a_619f_b36d,
    epilogues: 0x44e6_5ec8_1ac9_0f24,
    functions: 0x83ef_14a6_c259_ba5e,
    rows: 0x750a_e6ab_7b7b_2f12,
    images: 0x1687_3628_7810_8dee,
    optimizers: 0xe604_b7e7_11d0_323c,
    likelihoods: 0xee52_1111_68a2_c843,
};
/// The hashes of f64 on every machine.
pub const F64: Hashes = Hashes {
    gemm: 0xa739_1ba8_c6a9_3fe4,
    training: 0x3f74_a6fe_6b36_29cd,
    epilogues: 0x5b44_064b_cee3_6c20,
    functions: 0x4fb4_8917_c580_0ee4,
    rows: 0x1b2e_c0c3_7bab_5986,
    images: 0x2c9a_9b11_4b7f_cb57,
    optimizers: 0xf84b_7978_f035_6c84,
    likelihoods: 0xab24_1ec1_d61e_001d,
};
/// The hash of [`bf16_products`] on every machine.
pub const BF16: u64 = 0x57c7_e67e_19c5_7c11;

/// Solves all problems in `T` on `cpu`.
pub fn hashes<T: Float>(cpu: Cpu<'_>) -> Result<Hashes, Error> {
    Ok(Hashes {
        gemm: products::<T>(cpu)?,
        training: training::<T>(cpu)?,
        epilogues: epilogues::<T>(cpu)?,
        functions: others::functions::<T>(cpu)?,
        rows: others::rows::<T>(cpu)?,
        images: others::images::<T>(cpu)?,
        optimizers: others::optimizers::<T>(cpu)?,
        likelihoods: others::likelihoods::<T>(cpu)?,
    })
}

/// FNV-1a (Fowler, Noll, Vo) with 64 bits.
struct Fnv(u64);

impl Fnv {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Appends each element's value as the eight bytes of an f64, the lowest first. All NaNs count
    /// as the same.
    fn add<T: Float>(&mut self, x: &[T]) {
        for x in x.iter().map(|x| x.to_f64()) {
            let bits = if x.is_nan() { u64::MAX } else { x.to_bits() };
            for byte in bits.to_le_bytes() {
                self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
    }
}

/// C <- act(alpha A B + beta C + bias), each operand in both layouts, with every epilogue.
///
/// The shape has a remainder in every direction, for registers of any width, and k ends within a
/// summation block that is not the first. Among the elements are an infinity, a NaN and a
/// subnormal; the last products are subnormal.
fn products<T: Float>(cpu: Cpu<'_>) -> Result<u64, Error> {
    const M: usize = 13;
    const N: usize = 37;
    const K: usize = 600;
    let tiny = if size_of::<T>() == 4 { f64::from(f32::MIN_POSITIVE) } else { f64::MIN_POSITIVE };
    let (mut a, mut b, mut y) = ([T::ZERO; M * K], [T::ZERO; K * N], [T::ZERO; M * N]);
    let (mut start, mut bias) = (y, [T::ZERO; N]);
    for (number, operand) in
        [&mut a[..], &mut b, &mut y, &mut start, &mut bias].into_iter().enumerate()
    {
        fill_uniform(cpu, Stream::new(1, number as u64), T::from_f64(-1.0), T::ONE, operand)?;
    }
    a[0] = T::INFINITY;
    a[1] = T::from_f64(tiny / 4.0);
    b[1] = T::NAN;

    let mut hash = Fnv::new();
    // Larger in elements than for f64, whose registers and summation blocks hold half as many.
    let mut scratch = [T::ZERO; gemm_scratch::<f32>(1, GemmShape { m: M, n: N, k: K })];
    for round in 0..8 {
        let mut c = start;
        let (a, b) = (view(&a, M, K, round & 1 != 0)?, view(&b, K, N, round & 2 != 0)?);
        let y = view(&y, M, N, round & 1 != 0)?;
        let alpha = T::from_f64(if round < 6 { 1.25 } else { tiny / 64.0 });
        let beta = T::from_f64([0.0, -0.75][round / 2 % 2]);
        let epilogue = match round % 4 {
            0 => Epilogue::NONE,
            1 => Epilogue::bias(&bias),
            2 => Epilogue::NONE.relu_gradient(y),
            _ => Epilogue::bias(&bias).relu(),
        };
        let target = if round & 4 == 0 {
            MatMut::row_major(&mut c, M, N)?
        } else {
            MatMut::row_major(&mut c, N, M)?.transpose()
        };
        gemm(cpu, alpha, a, b, beta, target, epilogue, &mut scratch)?;
        hash.add(&c);
    }
    Ok(hash.0)
}

/// Further outputs of a product, with bytes as either operand, in both layouts: elements saved
/// before the activation, and column sums.
fn epilogues<T: Float>(cpu: Cpu<'_>) -> Result<u64, Error> {
    const M: usize = 11;
    const N: usize = 19;
    const K: usize = 530;
    let (mut a, mut b) = ([T::ZERO; M * K], [T::ZERO; K * N]);
    fill_uniform(cpu, Stream::new(3, 0), T::from_f64(-1.0), T::ONE, &mut a)?;
    fill_uniform(cpu, Stream::new(3, 1), T::from_f64(-1.0), T::ONE, &mut b)?;
    let mut bytes = [0; K * N];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = Stream::new(3, 2).below(i as u64, 256) as u8;
    }
    let scale = T::from_f64(1.0 / 255.0);

    let mut hash = Fnv::new();
    let mut scratch = [T::ZERO; gemm_scratch::<f32>(1, GemmShape { m: M, n: N, k: K })];
    let (mut c, mut z, mut sums) = ([T::ZERO; M * N], [T::ZERO; M * N], [T::ZERO; N]);
    for round in 0..8 {
        let transposed = (round & 1 != 0, round & 2 != 0);
        let (a, b): (Operand<'_, T>, Operand<'_, T>) = if round & 4 == 0 {
            (
                Operand::bytes(view(&bytes[..M * K], M, K, transposed.0)?, scale),
                view(&b, K, N, transposed.1)?.into(),
            )
        } else {
            (
                view(&a, M, K, transposed.0)?.into(),
                Operand::bytes(view(&bytes, K, N, transposed.1)?, scale),
            )
        };
        // From the second product on, the old values are added.
        let beta = T::from_f64(if round == 0 { 0.0 } else { 0.5 });
        // Some products have no scratch, and the same bits.
        let scratch_of = if round % 3 == 2 { &mut [] } else { &mut scratch[..] };
        let epilogue = Epilogue::NONE
            .save(MatMut::row_major(&mut z, N, M)?.transpose())
            .relu()
            .column_sums(&mut sums);
        gemm(
            cpu,
            T::from_f64(0.25),
            a,
            b,
            beta,
            MatMut::row_major(&mut c, M, N)?,
            epilogue,
            scratch_of,
        )?;
        hash.add(&c);
        hash.add(&z);
        hash.add(&sums);
    }
    Ok(hash.0)
}

/// The hash of products of bf16 with results of both types, with numbers of every kind, over more
/// than one summation block and an odd k.
pub fn bf16_products(cpu: Cpu<'_>) -> Result<u64, Error> {
    let mut hash = Fnv::new();
    products_of_pairs::<f32>(cpu, 0.0, f64::from, &mut hash)?;
    products_of_pairs::<bf16>(cpu, bf16::ZERO, bf16::to_f64, &mut hash)?;
    Ok(hash.0)
}

/// `wide` converts a result to f64.
fn products_of_pairs<O: Bf16Result>(
    cpu: Cpu<'_>,
    zero: O,
    wide: fn(O) -> f64,
    hash: &mut Fnv,
) -> Result<(), Error> {
    const M: usize = 5;
    const N: usize = 19;
    const K: usize = 1037;
    let (mut a, mut b, mut bias) = ([bf16::ZERO; M * K], [bf16::ZERO; K * N], [0.0; N]);
    fill_uniform(cpu, Stream::new(4, 0), -1.0, 1.0, &mut bias)?;
    bias[0] = 0.0;
    // Exponents from -8 to -1; in the first row and column so low that sums of their products are
    // flushed.
    let element = |stream: u64, i: usize, low: bool| {
        let bits = Stream::new(4, stream).bits(i as u64);
        let exponent = if low { 127 - 69 + (bits >> 8) % 8 } else { 127 - 8 + (bits >> 8) % 8 };
        bf16::from_bits(((bits & 1) << 15 | exponent << 7 | bits >> 16 & 0x7F) as u16)
    };
    for (i, x) in a.iter_mut().enumerate() {
        *x = element(1, i, i < K);
    }
    for (i, x) in b.iter_mut().enumerate() {
        *x = element(2, i, i % N == 0);
    }
    // Infinity, NaN, subnormals, the negative zero and the largest number.
    for (i, bits) in [0x7F80, 0x7FC0, 0x0001, 0x807F, 0x8000, 0x7F7F].into_iter().enumerate() {
        a[(i % 3 + 1) * K + 2 + i] = bf16::from_bits(bits);
        b[(40 + i) * N + 3 + i] = bf16::from_bits(bits);
    }

    let mut scratch = [0.0; gemm_bf16_scratch(1, GemmShape { m: M, n: N, k: K })];
    let (mut c, mut z, mut sums) = ([zero; M * N], [zero; M * N], [0.0; N]);
    for round in 0..4 {
        let (alpha, beta) = if round == 0 { (1.0, 0.0) } else { (0.25, -0.5) };
        let (a, b) = (view(&a, M, K, round & 1 != 0)?, view(&b, K, N, round & 2 != 0)?);
        let epilogue =
            Epilogue::bias(&bias).save(MatMut::row_major(&mut z, M, N)?).column_sums(&mut sums);
        let epilogue = if round == 3 { epilogue.relu() } else { epilogue };
        let target = MatMut::row_major(&mut c, M, N)?;
        gemm_bf16(cpu, alpha, a, b, beta, target, epilogue, &mut scratch)?;
        for x in c.iter().chain(&z) {
            hash.add(&[wide(*x)]);
        }
        hash.add(&sums);
    }
    Ok(())
}

/// `data` as `rows` x `cols` elements, row-major or, if `transposed`, column-major.
fn view<T>(data: &[T], rows: usize, cols: usize, transposed: bool) -> Result<MatRef<'_, T>, Error> {
    if transposed {
        Ok(MatRef::row_major(data, cols, rows)?.transpose())
    } else {
        MatRef::row_major(data, rows, cols)
    }
}

/// Training steps of a perceptron with one hidden layer: random numbers, dense layers, softmax
/// cross-entropy, clipping, and both optimizers.
fn training<T: Float>(cpu: Cpu<'_>) -> Result<u64, Error> {
    const ROWS: usize = 9;
    const INPUTS: usize = 19;
    const HIDDEN: usize = 35;
    const CLASSES: usize = 10;
    const PARAMS: usize = INPUTS * HIDDEN + HIDDEN + HIDDEN * CLASSES + CLASSES;

    let (mut x, mut labels) = ([T::ZERO; ROWS * INPUTS], [0; ROWS]);
    fill_normal(cpu, Stream::new(2, 0), T::ZERO, T::ONE, &mut x)?;
    for (row, label) in labels.iter_mut().enumerate() {
        *label = Stream::new(2, 1).below(row as u64, CLASSES as u32);
    }
    let mut params = [T::ZERO; PARAMS];
    fill_uniform(cpu, Stream::new(2, 2), T::from_f64(-0.5), T::from_f64(0.5), &mut params)?;
    let (mut velocity, mut m, mut v) = ([T::ZERO; PARAMS], [T::ZERO; PARAMS], [T::ZERO; PARAMS]);

    let x = MatRef::row_major(&x, ROWS, INPUTS)?;
    let one = [T::ONE];
    let ones = MatRef::strided(&one, 1, ROWS, 0, 0)?;
    let sgd = Sgd { momentum: 0.9, nesterov: true, decay: Decay::l2(1e-3) };
    let mut scratch =
        [T::ZERO; gemm_scratch::<f32>(1, GemmShape { m: HIDDEN, n: HIDDEN, k: HIDDEN })];
    let mut product =
        |a: MatRef<'_, T>, b: MatRef<'_, T>, c: &mut [T], epilogue: Epilogue<'_, T>| {
            let c = MatMut::row_major(c, a.rows(), b.cols())?;
            gemm(cpu, T::ONE, a, b, T::ZERO, c, epilogue, &mut scratch)
        };
    let mut hash = Fnv::new();
    for t in 1..=3 {
        let (w1, rest) = params.split_at(INPUTS * HIDDEN);
        let (b1, rest) = rest.split_at(HIDDEN);
        let (w2, b2) = rest.split_at(HIDDEN * CLASSES);
        let w1 = MatRef::row_major(w1, INPUTS, HIDDEN)?;
        let w2 = MatRef::row_major(w2, HIDDEN, CLASSES)?;

        let (mut h, mut z) = ([T::ZERO; ROWS * HIDDEN], [T::ZERO; ROWS * CLASSES]);
        product(x, w1, &mut h, Epilogue::bias(b1).relu())?;
        let h = MatRef::row_major(&h, ROWS, HIDDEN)?;
        product(h, w2, &mut z, Epilogue::bias(b2))?;

        let (mut losses, mut dz, mut shares) = ([T::ZERO; ROWS], z, z);
        let scale = T::from_f64(1.0 / ROWS as f64);
        let targets = Targets::Labels(&labels);
        CrossEntropy::default().gradient(cpu, &z, CLASSES, targets, scale, &mut losses, &mut dz)?;
        softmax(cpu, &z, CLASSES, &mut shares)?;
        hash.add(&losses);
        hash.add(&shares);

        let mut grads = [T::ZERO; PARAMS];
        let (dw1, rest) = grads.split_at_mut(INPUTS * HIDDEN);
        let (db1, rest) = rest.split_at_mut(HIDDEN);
        let (dw2, db2) = rest.split_at_mut(HIDDEN * CLASSES);
        let dz = MatRef::row_major(&dz, ROWS, CLASSES)?;
        let mut dh = [T::ZERO; ROWS * HIDDEN];
        product(h.transpose(), dz, dw2, Epilogue::NONE)?;
        product(ones, dz, db2, Epilogue::NONE)?;
        product(dz, w2.transpose(), &mut dh, Epilogue::NONE.relu_gradient(h))?;
        let dh = MatRef::row_major(&dh, ROWS, HIDDEN)?;
        product(x.transpose(), dh, dw1, Epilogue::NONE)?;
        product(ones, dh, db1, Epilogue::NONE)?;
        hash.add(&grads);

        let norm = clip_norm(cpu, &mut grads, 0.25)?;
        hash.add(&[norm]);
        sgd.step(cpu, Step::new(t, 0.1), &mut params, &grads, &mut [&mut velocity])?;
        Adam::decoupled().step(
            cpu,
            Step::new(t, 1e-3),
            &mut params,
            &grads,
            &mut [&mut m, &mut v],
        )?;
        hash.add(&params);
    }
    Ok(hash.0)
}
