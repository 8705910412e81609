//! Int8 matrix products, for quantised networks: `A B^T` of integers from -128 to 127, exact in 32
//! bits, with an epilogue: f32 with scales, bias and activation, or int8 again.
//!
//! ```text
//! for each strip of rows of C                                     in parallel
//!     for each block of 64 columns
//!         for each tile of 4 (registers of 64 bytes) or 2 rows and 4 columns
//!             for each register of k:  widen the bytes of A and B;  acc += products, in pairs
//!             add the lanes of each accumulator
//!         epilogue of the block's rows: unchanged, or scaled and rounded
//! ```
//!
//! Integer sums are exact in any order. A byte is widened when it is loaded, so no scratch is
//! needed: rows of A stay in L1, rows of B in L2. Called by inference of quantised networks.
//!
//! Quantisation is symmetric: `q = round(x / scale)`, ties to even, clamped to ±127; `x` is about
//! `q * scale`.

use pulp::bytemuck;

use crate::elementwise::CHUNK;
use crate::error::{check_length, check_parameter};
use crate::gemm::GemmShape;
use crate::simd::{Lanes, MOST_LANES, Simd, WithSimd};
use crate::{Cpu, Error};

/// Maximum k of a product: with one more, the sum of 2^17 products of -128 and -128 would be 2^31.
pub const MAX_K: usize = (1 << 17) - 1;

/// Columns of a register tile. 4 x 4 accumulators leave enough registers of AVX-512 for the
/// operands; 2 x 4 of AVX2.
const COLS: usize = 4;

/// Columns per epilogue.
const BLOCK: usize = 64;

/// Maximum number of rows of a register tile.
const MAX_ROWS: usize = 4;

/// Least number of products per task: some microseconds.
const TASK: usize = 1 << 18;

/// `C = A B^T`, exactly: `c[i, j] = sum over k of a[i, k] * b[j, k]`.
///
/// `a` is `[m, k]`, `b` is `[n, k]` (PyTorch's layout of weights: `[outputs, inputs]`), `c` is
/// `[m, n]`, all row-major.
///
/// ```
/// use kernels::{Cpu, gemm::GemmShape, quantised::gemm_i8};
/// let (shape, mut c) = (GemmShape { m: 1, n: 2, k: 3 }, [0; 2]);
/// gemm_i8(Cpu::detect(), shape, &[1, 2, 3], &[1, 0, -1, 100, 100, 100], &mut c)?;
/// assert_eq!(c, [-2, 600]);
/// # Ok::<(), kernels::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] if an operand does not match the shape; [`Error::Parameter`] if `k`
/// exceeds [`MAX_K`], with which sums could overflow. Nothing is written then.
pub fn gemm_i8(
    cpu: Cpu<'_>,
    shape: GemmShape,
    a: &[i8],
    b: &[i8],
    c: &mut [i32],
) -> Result<(), Error> {
    product(cpu, shape, a, b, &Unscaled, c)
}

/// Epilogue of integer sums: `act(sum * (scale_a * scale_b[j]) + bias[j])`.
///
/// The sum is converted to f32, each operation rounded to nearest, ties to even. A NaN or an
/// infinity in the bias is data.
#[derive(Clone, Copy, Debug)]
pub struct Dequantise<'a> {
    /// Scale of A: one, or `[m]`, one per row.
    pub scale_a: &'a [f32],
    /// Scale of B: one, or `[n]`, one per column of C.
    pub scale_b: &'a [f32],
    /// Bias, `[n]`.
    pub bias: Option<&'a [f32]>,
    /// `true` if ReLU follows: 0 where the value is at most 0; NaN stays.
    pub relu: bool,
}

impl Dequantise<'_> {
    fn check(&self, GemmShape { m, n, .. }: GemmShape) -> Result<(), Error> {
        check_scales("scale_a", m, self.scale_a)?;
        check_scales("scale_b", n, self.scale_b)?;
        check_length("bias", n, self.bias.map_or(n, <[f32]>::len))
    }

    /// Converts `sums` of row `i`, from column `j` on, to `values`.
    #[inline(always)]
    fn apply(&self, i: usize, j: usize, sums: &[i32], values: &mut [f32]) {
        let of_row = self.scale_a[i.min(self.scale_a.len() - 1)];
        for (value, &sum) in values.iter_mut().zip(sums) {
            *value = sum as f32;
        }
        if let [scale] = self.scale_b {
            let scale = of_row * scale;
            values.iter_mut().for_each(|value| *value *= scale);
        } else {
            for (value, &scale) in values.iter_mut().zip(&self.scale_b[j..]) {
                *value *= of_row * scale;
            }
        }
        if let Some(bias) = self.bias {
            for (value, &bias) in values.iter_mut().zip(&bias[j..]) {
                *value += bias;
            }
        }
        if self.relu {
            for value in values {
                *value = if *value <= 0.0 { 0.0 } else { *value };
            }
        }
    }
}

/// [`gemm_i8`] with its result in f32: `c[i, j] = act(sum * (scale_a[i] * scale_b[j]) + bias[j])`.
///
/// # Errors
/// As [`gemm_i8`]; also [`Error::Length`] for scales that are neither one nor one per row (of A, of
/// B), and [`Error::Parameter`] for a scale that is not finite and above 0.
pub fn gemm_i8_dequantised(
    cpu: Cpu<'_>,
    shape: GemmShape,
    a: &[i8],
    b: &[i8],
    dequantise: Dequantise<'_>,
    c: &mut [f32],
) -> Result<(), Error> {
    dequantise.check(shape)?;
    product(cpu, shape, a, b, &dequantise, c)
}

/// [`gemm_i8_dequantised`] with its result quantised by `scale_c`, as in [`quantise`]: the input of
/// the next product.
///
/// # Errors
/// As [`gemm_i8_dequantised`]; also [`Error::Parameter`] for `scale_c`.
pub fn gemm_i8_requantised(
    cpu: Cpu<'_>,
    shape: GemmShape,
    a: &[i8],
    b: &[i8],
    dequantise: Dequantise<'_>,
    scale_c: f32,
    c: &mut [i8],
) -> Result<(), Error> {
    dequantise.check(shape)?;
    check_scales("scale_c", 1, &[scale_c])?;
    product(cpu, shape, a, b, &Requantise { dequantise, scale_c }, c)
}

/// Quantises: `q[i, j] = round(x[i, j] / scale[i])`, ties to even, clamped to ±127.
///
/// There is one scale, or one for each row of `x`; rows have equal length. NaN becomes 0, an
/// infinity ±127.
///
/// ```
/// use kernels::{Cpu, quantised::quantise};
/// let mut q = [0; 4];
/// quantise(Cpu::detect(), &[0.25, 0.75, -100.0, f32::NAN], &[0.5], &mut q)?;
/// assert_eq!(q, [0, 2, -127, 0]);
/// # Ok::<(), kernels::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] if `x` is not a whole number of rows or `q` differs from it in length;
/// [`Error::Parameter`] unless every scale is finite and above 0. Nothing is written then.
pub fn quantise(cpu: Cpu<'_>, x: &[f32], scales: &[f32], q: &mut [i8]) -> Result<(), Error> {
    let row = check_rows(x.len(), scales)?;
    check_length("q", x.len(), q.len())?;
    let tasks = x.chunks(row).zip(q.chunks_mut(row)).zip(scales).flat_map(|((x, q), &scale)| {
        x.chunks(CHUNK).zip(q.chunks_mut(CHUNK)).map(move |(x, q)| Quantise { x, scale, q })
    });
    cpu.for_each_item(tasks, |task| cpu.isa.run(task));
    Ok(())
}

/// Dequantises: `x[i, j] = q[i, j] * scale[i]`, rounded. The error of [`quantise`] remains, at most
/// half a scale.
///
/// # Errors
/// As [`quantise`].
pub fn dequantise(cpu: Cpu<'_>, q: &[i8], scales: &[f32], x: &mut [f32]) -> Result<(), Error> {
    let row = check_rows(x.len(), scales)?;
    check_length("q", x.len(), q.len())?;
    let tasks = q.chunks(row).zip(x.chunks_mut(row)).zip(scales).flat_map(|((q, x), &scale)| {
        q.chunks(CHUNK).zip(x.chunks_mut(CHUNK)).map(move |(q, x)| Widen { q, scale, x })
    });
    cpu.for_each_item(tasks, |task| cpu.isa.run(task));
    Ok(())
}

/// Computes the smallest scales that saturate nothing:
/// `scales[i] = (largest absolute value of row i of x) / 127`, rounded.
///
/// `x` has one row per scale: one scale for a whole tensor. A row of zeros, or whose scale would
/// round to 0, gets the scale 1, with which all of it becomes 0.
///
/// # Errors
/// [`Error::Length`] if `x` is not a whole number of rows; [`Error::NonFinite`] with the index of
/// the first NaN or infinity. Nothing is written then.
pub fn choose_scales(x: &[f32], scales: &mut [f32]) -> Result<(), Error> {
    let row = row(x.len(), scales.len())?;
    if let Some(index) = x.iter().position(|x| !x.is_finite()) {
        return Err(Error::NonFinite { index });
    }
    scales.fill(1.0);
    for (x, scale) in x.chunks(row).zip(scales) {
        let max = x.iter().fold(0.0, |max: f32, x| if x.abs() > max { x.abs() } else { max });
        if max / 127.0 > 0.0 {
            *scale = max / 127.0;
        }
    }
    Ok(())
}

/// Elements per row, at least 1, of `len` elements in `rows` rows.
fn row(len: usize, rows: usize) -> Result<usize, Error> {
    let row = len / rows.max(1);
    check_length("x", row * rows, len)?;
    Ok(row.max(1))
}

/// [`row`] with one row per scale. Each scale must be finite and above 0.
fn check_rows(len: usize, scales: &[f32]) -> Result<usize, Error> {
    check_scales("scales", scales.len(), scales)?;
    row(len, scales.len())
}

/// Checks that there is one scale, or one for each of `count` rows, each finite and above 0.
fn check_scales(operand: &'static str, count: usize, scales: &[f32]) -> Result<(), Error> {
    if scales.len() != 1 {
        check_length(operand, count, scales.len())?;
    }
    let check =
        |&scale| check_parameter(operand, f64::from(scale), "finite and above 0", |x| x > 0.0);
    scales.iter().try_for_each(check)
}

/// `x / scale`, rounded to an integer, ties to even, clamped to ±127; 0 for NaN.
#[inline(always)]
fn round(x: f32, scale: f32) -> i8 {
    /// 1.5 * 2^23: a small number added to it has no fraction bits left.
    const ROUND: f32 = 12_582_912.0;
    let x = x / scale;
    let x = if x > 127.0 { 127.0 } else { x };
    let x = if x < -127.0 { -127.0 } else { x };
    ((x + ROUND) - ROUND) as i8
}

/// [`quantise`] of a chunk with one scale.
struct Quantise<'a> {
    x: &'a [f32],
    scale: f32,
    q: &'a mut [i8],
}

impl WithSimd for Quantise<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (q, &x) in self.q.iter_mut().zip(self.x) {
            *q = round(x, self.scale);
        }
    }
}

/// [`dequantise`] of a chunk with one scale.
struct Widen<'a> {
    q: &'a [i8],
    scale: f32,
    x: &'a mut [f32],
}

impl WithSimd for Widen<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (x, &q) in self.x.iter_mut().zip(self.q) {
            *x = f32::from(q) * self.scale;
        }
    }
}

/// Epilogue of integer sums.
trait Epilogue<O>: Sync {
    /// Computes the elements of row `i` from column `j` on.
    fn store(&self, i: usize, j: usize, sums: &[i32], c: &mut [O]);
}

/// Stores the sums unchanged.
struct Unscaled;

impl Epilogue<i32> for Unscaled {
    #[inline(always)]
    fn store(&self, _: usize, _: usize, sums: &[i32], c: &mut [i32]) {
        c.copy_from_slice(sums);
    }
}

impl Epilogue<f32> for Dequantise<'_> {
    #[inline(always)]
    fn store(&self, i: usize, j: usize, sums: &[i32], c: &mut [f32]) {
        self.apply(i, j, sums, c);
    }
}

struct Requantise<'a> {
    dequantise: Dequantise<'a>,
    scale_c: f32,
}

impl Epilogue<i8> for Requantise<'_> {
    #[inline(always)]
    fn store(&self, i: usize, j: usize, sums: &[i32], c: &mut [i8]) {
        let mut values = [0.0; BLOCK];
        let values = &mut values[..c.len()];
        self.dequantise.apply(i, j, sums, values);
        for (c, &value) in c.iter_mut().zip(&*values) {
            *c = round(value, self.scale_c);
        }
    }
}

/// Checks the operands and splits the rows of C among tasks.
fn product<O: Send>(
    cpu: Cpu<'_>,
    GemmShape { m, n, k }: GemmShape,
    a: &[i8],
    b: &[i8],
    epilogue: &impl Epilogue<O>,
    c: &mut [O],
) -> Result<(), Error> {
    check_parameter("k", k as f64, "at most 131071", |_| k <= MAX_K)?;
    check_length("a", m.saturating_mul(k), a.len())?;
    check_length("b", n.saturating_mul(k), b.len())?;
    check_length("c", m.saturating_mul(n), c.len())?;
    if c.is_empty() {
        return Ok(());
    }
    let rows = (TASK / n.saturating_mul(k).max(1)).next_multiple_of(MAX_ROWS).max(MAX_ROWS);
    let strips = c.chunks_mut(rows.saturating_mul(n)).enumerate();
    cpu.for_each_item(strips, |(strip, c)| {
        cpu.isa.run(Strip { first: strip * rows, n, k, a, b, epilogue, c });
    });
    Ok(())
}

/// Some rows of C.
struct Strip<'a, F, O> {
    /// First row.
    first: usize,
    n: usize,
    k: usize,
    a: &'a [i8],
    b: &'a [i8],
    epilogue: &'a F,
    c: &'a mut [O],
}

impl<F: Epilogue<O>, O> WithSimd for Strip<'_, F, O> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { first, n, k, a, b, epilogue, c } = self;
        // Sixteen accumulators and the operands need more than sixteen registers.
        let rows = if f32::lanes::<S>() == 16 { 4 } else { 2 };
        let mut c = c;
        let mut i = first;
        while !c.is_empty() {
            let here = if c.len() >= rows * n { rows } else { 1 };
            let (strip, below) = c.split_at_mut(here * n);
            let a = &a[i * k..][..here * k];
            match here {
                4 => strip_of_rows::<S, F, O, 4>(s, i, [n, k], a, b, epilogue, strip),
                2 => strip_of_rows::<S, F, O, 2>(s, i, [n, k], a, b, epilogue, strip),
                _ => strip_of_rows::<S, F, O, 1>(s, i, [n, k], a, b, epilogue, strip),
            }
            (c, i) = (below, i + here);
        }
    }
}

/// Computes `ROWS` rows of C, from row `i` on.
#[inline(always)]
fn strip_of_rows<S: Simd, F: Epilogue<O>, O, const ROWS: usize>(
    s: S,
    i: usize,
    [n, k]: [usize; 2],
    a: &[i8],
    b: &[i8],
    epilogue: &F,
    c: &mut [O],
) {
    let a: [&[i8]; ROWS] = core::array::from_fn(|r| &a[r * k..][..k]);
    for j in (0..n).step_by(BLOCK) {
        let width = BLOCK.min(n - j);
        let mut sums = [[0; BLOCK]; ROWS];
        for t in (0..width).step_by(COLS) {
            // Past the last column, the last one is computed again.
            let b: [&[i8]; COLS] = core::array::from_fn(|l| &b[(j + t + l).min(n - 1) * k..][..k]);
            let tile = tile::<S, ROWS>(s, a, b, k);
            for (sums, tile) in sums.iter_mut().zip(tile) {
                sums[t..t + COLS].copy_from_slice(&tile);
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            epilogue.store(i + r, j, &sums[..width], &mut c[r * n + j..][..width]);
        }
    }
}

/// Computes a register tile: the products of `ROWS` rows of A and [`COLS`] rows of B, each `k`
/// long.
#[inline(always)]
fn tile<S: Simd, const ROWS: usize>(
    s: S,
    a: [&[i8]; ROWS],
    b: [&[i8]; COLS],
    k: usize,
) -> [[i32; COLS]; ROWS] {
    // Bytes per register after widening.
    let step = 2 * f32::lanes::<S>();
    let whole = k / step * step;
    let zero = f32::splat(s, 0.0);
    let mut sums = [[zero; COLS]; ROWS];
    let mut rows = [zero; ROWS];
    for start in (0..whole).step_by(step) {
        for (row, a) in rows.iter_mut().zip(a) {
            *row = s.widen_bytes(&a[start..start + step]);
        }
        sums = add_products::<S, ROWS>(s, rows, b.map(|b| &b[start..start + step]), sums);
    }
    if whole < k {
        // The last register of bytes, with bytes before `whole` as zeros: a partial load is slow.
        let start = k.saturating_sub(step);
        for (row, a) in rows.iter_mut().zip(a) {
            let mut bytes = [0; MAX_BYTES];
            let mask = &MASK[MAX_BYTES - (whole - start)..];
            for ((to, &byte), &mask) in bytes.iter_mut().zip(&a[start..k]).zip(mask) {
                *to = byte & mask;
            }
            *row = s.widen_bytes(&bytes[..step]);
        }
        sums = add_products::<S, ROWS>(s, rows, b.map(|b| &b[start..k]), sums);
    }

    // After a transpose, the lanes of an accumulator are in as many registers, so that all
    // accumulators are summed at once.
    let lanes = f32::lanes::<S>();
    let mut tile = [[0; COLS]; ROWS];
    let totals = tile.as_flattened_mut();
    for first in (0..ROWS * COLS).step_by(lanes) {
        let mut block = [zero; MOST_LANES];
        for l in 0..lanes.min(ROWS * COLS - first) {
            block[l] = sums[(first + l) / COLS][(first + l) % COLS];
        }
        let block = f32::transpose(s, block);
        let mut total = block[0];
        for &lane in &block[1..lanes] {
            total = s.add_integers(total, lane);
        }
        let total = bytemuck::cast_slice::<_, i32>(core::slice::from_ref(&total));
        for (to, &total) in totals[first..].iter_mut().zip(total) {
            *to = total;
        }
    }
    tile
}

/// Maximum number of bytes per register after widening.
const MAX_BYTES: usize = 2 * MOST_LANES;

/// Masks: from index `MAX_BYTES - n` on, they clear `n` bytes and pass those that follow.
const MASK: [i8; 2 * MAX_BYTES] = {
    let mut masks = [0; 2 * MAX_BYTES];
    let mut i = MAX_BYTES;
    while i < masks.len() {
        masks[i] = -1;
        i += 1;
    }
    masks
};

/// Adds the products of up to a register of bytes to `sums`.
#[inline(always)]
fn add_products<S: Simd, const ROWS: usize>(
    s: S,
    rows: [<f32 as Lanes>::V<S>; ROWS],
    b: [&[i8]; COLS],
    sums: [[<f32 as Lanes>::V<S>; COLS]; ROWS],
) -> [[<f32 as Lanes>::V<S>; COLS]; ROWS] {
    let mut added = sums;
    let mut columns = sums[0];
    for (column, b) in columns.iter_mut().zip(b) {
        *column = s.widen_bytes(b);
    }
    for r in 0..ROWS {
        for l in 0..COLS {
            added[r][l] = s.add_integers(sums[r][l], s.mul_integers(rows[r], columns[l]));
        }
    }
    added
}
