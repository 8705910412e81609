//! Products of matrices of bytes, for networks that were quantised: `A B^T` of integers from -128 to 127, exact in 32
//! bits, and what becomes of it: f32 with scales, bias and activation, or bytes again.
//!
//! ```text
//! for each strip of rows of C                                     on any thread
//!     for each block of 64 columns
//!         for each tile of 4 (registers of 64 bytes) or 2 rows and 4 columns
//!             for each register of k:  widen the bytes of A and B;  sums += products, in pairs
//!             the lanes of each sum are added
//!         finish the block's rows: as they are, or scaled and rounded
//! ```
//!
//! Integers are exact in any order, so that there is no order to promise. A byte is widened on its way into a register,
//! and no scratch is needed: rows of A stay in the first-level cache, rows of B in the second. Called by whoever runs a
//! trained network.
//!
//! Quantisation is symmetric: `q = round(x / scale)`, ties to even, no further than ±127, and `x` is about `q * scale`.

use pulp::bytemuck;

use crate::elementwise::CHUNK;
use crate::error::{check_length, check_parameter};
use crate::simd::{Lanes, MOST_LANES, Simd, WithSimd};
use crate::{Cpu, Error};

/// The most k of a product: one more, and the sum of 2^17 products of -128 and -128 would be 2^31.
pub const MOST_K: usize = (1 << 17) - 1;

/// Columns of a tile. Four rows of four sums are as many registers of AVX-512 as leave room for the operands; two rows,
/// of AVX2.
const COLS: usize = 4;

/// Columns that are finished together.
const BLOCK: usize = 64;

/// The most rows of a tile.
const MOST_ROWS: usize = 4;

/// Products that a task should have at least: some microseconds' worth.
const TASK: usize = 1 << 18;

/// `C = A B^T`, exactly: `c[i, j] = sum over k of a[i, k] * b[j, k]`.
///
/// `a` is `[m, k]`, `b` is `[n, k]` (as PyTorch keeps weights: `[outputs, inputs]`), `c` is `[m, n]`, each row after
/// row.
///
/// ```
/// use kernels::{Cpu, quantised::gemm_i8};
/// let mut c = [0; 2];
/// gemm_i8(Cpu::detect(), 1, 2, 3, &[1, 2, 3], &[1, 0, -1, 100, 100, 100], &mut c)?;
/// assert_eq!(c, [-2, 600]);
/// # Ok::<(), kernels::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] if an operand does not fit `m`, `n` and `k`, [`Error::Parameter`] if `k` is more than [`MOST_K`]:
/// sums could overflow. Nothing has been written then.
pub fn gemm_i8(
    cpu: Cpu<'_>,
    m: usize,
    n: usize,
    k: usize,
    a: &[i8],
    b: &[i8],
    c: &mut [i32],
) -> Result<(), Error> {
    product(cpu, [m, n, k], a, b, &Sums, c)
}

/// What becomes of integer sums: `act(sum * (scale_a * scale_b[j]) + bias[j])`.
///
/// The sum is converted to f32, each operation rounded to nearest, ties to even. A NaN or an infinity in the bias is
/// data.
#[derive(Clone, Copy, Debug)]
pub struct Dequantise<'a> {
    /// What A was quantised with: one scale, or `[m]`, one a row.
    pub scale_a: &'a [f32],
    /// What B was quantised with: one scale, or `[n]`, one a column of C.
    pub scale_b: &'a [f32],
    /// `[n]`, if there is one.
    pub bias: Option<&'a [f32]>,
    /// Whether ReLU follows: 0 where the value is at most 0; NaN stays.
    pub relu: bool,
}

impl Dequantise<'_> {
    fn check(&self, m: usize, n: usize) -> Result<(), Error> {
        check_scales("scale_a", m, self.scale_a)?;
        check_scales("scale_b", n, self.scale_b)?;
        check_length("bias", n, self.bias.map_or(n, <[f32]>::len))
    }

    /// The values of columns `j` and after, of row `i`, in place of `values`, which hold the sums.
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
/// As [`gemm_i8`]; [`Error::Length`] for scales that are neither one nor one a row (of A, of B), [`Error::Parameter`]
/// for a scale that is not finite and above 0.
#[expect(clippy::too_many_arguments, reason = "a product of matrices and what becomes of it")]
pub fn gemm_i8_dequantised(
    cpu: Cpu<'_>,
    m: usize,
    n: usize,
    k: usize,
    a: &[i8],
    b: &[i8],
    dequantise: Dequantise<'_>,
    c: &mut [f32],
) -> Result<(), Error> {
    dequantise.check(m, n)?;
    product(cpu, [m, n, k], a, b, &dequantise, c)
}

/// [`gemm_i8_dequantised`] with its result quantised with `scale_c`, as [`quantise`] does: the input of the next
/// product.
///
/// # Errors
/// As [`gemm_i8_dequantised`], and [`Error::Parameter`] for `scale_c`.
#[expect(clippy::too_many_arguments, reason = "a product of matrices and what becomes of it")]
pub fn gemm_i8_requantised(
    cpu: Cpu<'_>,
    m: usize,
    n: usize,
    k: usize,
    a: &[i8],
    b: &[i8],
    dequantise: Dequantise<'_>,
    scale_c: f32,
    c: &mut [i8],
) -> Result<(), Error> {
    dequantise.check(m, n)?;
    check_scales("scale_c", 1, &[scale_c])?;
    product(cpu, [m, n, k], a, b, &Requantise { dequantise, scale_c }, c)
}

/// `q[i, j] = round(x[i, j] / scale[i])`, ties to even, no further than ±127.
///
/// `scales` are one, or one for each row of `x`, which is as long as `x` by the number of scales. NaN becomes 0, an
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
/// [`Error::Length`] if `x` is no whole number of rows or `q` differs from it in length, [`Error::Parameter`] for a
/// scale that is not finite and above 0. Nothing has been written then.
pub fn quantise(cpu: Cpu<'_>, x: &[f32], scales: &[f32], q: &mut [i8]) -> Result<(), Error> {
    let row = check_rows(x.len(), scales)?;
    check_length("q", x.len(), q.len())?;
    let tasks = x.chunks(row).zip(q.chunks_mut(row)).zip(scales).flat_map(|((x, q), &scale)| {
        x.chunks(CHUNK).zip(q.chunks_mut(CHUNK)).map(move |(x, q)| Quantise { x, scale, q })
    });
    cpu.for_each_item(tasks, |task| cpu.isa.run(task));
    Ok(())
}

/// `x[i, j] = q[i, j] * scale[i]`, rounded: what [`quantise`] lost stays lost, at most half a scale.
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

/// The least scales that saturate nothing: `scales[i] = (greatest absolute value of row i of x) / 127`, rounded.
///
/// `x` is as many rows as there are scales: one for a whole tensor. A row of zeros, or of numbers whose scale would
/// round to 0, gets the scale 1, with which all of it becomes 0.
///
/// # Errors
/// [`Error::Length`] if `x` is no whole number of rows, [`Error::NonFinite`] with the index of the first NaN or
/// infinity. Nothing has been written then.
pub fn choose_scales(x: &[f32], scales: &mut [f32]) -> Result<(), Error> {
    let row = row(x.len(), scales.len())?;
    if let Some(index) = x.iter().position(|x| !x.is_finite()) {
        return Err(Error::NonFinite { index });
    }
    scales.fill(1.0);
    for (x, scale) in x.chunks(row).zip(scales) {
        let greatest =
            x.iter().fold(0.0, |greatest: f32, x| if x.abs() > greatest { x.abs() } else { greatest });
        if greatest / 127.0 > 0.0 {
            *scale = greatest / 127.0;
        }
    }
    Ok(())
}

/// Elements of a row, at least 1, of `len` elements in `rows` rows.
fn row(len: usize, rows: usize) -> Result<usize, Error> {
    let row = len / rows.max(1);
    check_length("x", row * rows, len)?;
    Ok(row.max(1))
}

/// [`row`], of as many rows as there are scales, each of which is finite and above 0.
fn check_rows(len: usize, scales: &[f32]) -> Result<usize, Error> {
    check_scales("scales", scales.len(), scales)?;
    row(len, scales.len())
}

/// Whether there is one scale, or one for each of `count` rows, each finite and above 0.
fn check_scales(operand: &'static str, count: usize, scales: &[f32]) -> Result<(), Error> {
    if scales.len() != 1 {
        check_length(operand, count, scales.len())?;
    }
    let check = |&scale| check_parameter(operand, f64::from(scale), "finite and above 0", |x| x > 0.0);
    scales.iter().try_for_each(check)
}

/// `x / scale`, rounded to an integer, ties to even, no further than ±127; 0 for NaN.
#[inline(always)]
fn round(x: f32, scale: f32) -> i8 {
    /// 1.5 * 2^23: added to a small number, it leaves no room for a fraction.
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

/// What becomes of the sums of a part of a row.
trait Finish<O>: Sync {
    /// The elements of row `i` from column `j` on.
    fn finish(&self, i: usize, j: usize, sums: &[i32], c: &mut [O]);
}

/// As they are.
struct Sums;

impl Finish<i32> for Sums {
    #[inline(always)]
    fn finish(&self, _: usize, _: usize, sums: &[i32], c: &mut [i32]) {
        c.copy_from_slice(sums);
    }
}

impl Finish<f32> for Dequantise<'_> {
    #[inline(always)]
    fn finish(&self, i: usize, j: usize, sums: &[i32], c: &mut [f32]) {
        self.apply(i, j, sums, c);
    }
}

struct Requantise<'a> {
    dequantise: Dequantise<'a>,
    scale_c: f32,
}

impl Finish<i8> for Requantise<'_> {
    #[inline(always)]
    fn finish(&self, i: usize, j: usize, sums: &[i32], c: &mut [i8]) {
        let mut values = [0.0; BLOCK];
        let values = &mut values[..c.len()];
        self.dequantise.apply(i, j, sums, values);
        for (c, &value) in c.iter_mut().zip(&*values) {
            *c = round(value, self.scale_c);
        }
    }
}

/// Checks the operands and shares out the rows of C.
fn product<O: Send>(
    cpu: Cpu<'_>,
    [m, n, k]: [usize; 3],
    a: &[i8],
    b: &[i8],
    finish: &impl Finish<O>,
    c: &mut [O],
) -> Result<(), Error> {
    check_parameter("k", k as f64, "at most 131071", |_| k <= MOST_K)?;
    check_length("a", m.saturating_mul(k), a.len())?;
    check_length("b", n.saturating_mul(k), b.len())?;
    check_length("c", m.saturating_mul(n), c.len())?;
    if c.is_empty() {
        return Ok(());
    }
    let rows = (TASK / n.saturating_mul(k).max(1)).next_multiple_of(MOST_ROWS).max(MOST_ROWS);
    let strips = c.chunks_mut(rows.saturating_mul(n)).enumerate();
    cpu.for_each_item(strips, |(strip, c)| {
        cpu.isa.run(Strip { first: strip * rows, n, k, a, b, finish, c });
    });
    Ok(())
}

/// Some rows of C.
struct Strip<'a, F, O> {
    /// The first of them.
    first: usize,
    n: usize,
    k: usize,
    a: &'a [i8],
    b: &'a [i8],
    finish: &'a F,
    c: &'a mut [O],
}

impl<F: Finish<O>, O> WithSimd for Strip<'_, F, O> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { first, n, k, a, b, finish, c } = self;
        // Sixteen sums and the operands need more than sixteen registers.
        let rows = if f32::lanes::<S>() == 16 { 4 } else { 2 };
        let mut c = c;
        let mut i = first;
        while !c.is_empty() {
            let here = if c.len() >= rows * n { rows } else { 1 };
            let (strip, below) = c.split_at_mut(here * n);
            let a = &a[i * k..][..here * k];
            match here {
                4 => strip_of_rows::<S, F, O, 4>(s, i, [n, k], a, b, finish, strip),
                2 => strip_of_rows::<S, F, O, 2>(s, i, [n, k], a, b, finish, strip),
                _ => strip_of_rows::<S, F, O, 1>(s, i, [n, k], a, b, finish, strip),
            }
            (c, i) = (below, i + here);
        }
    }
}

/// `ROWS` rows of C, from row `i` on.
#[inline(always)]
fn strip_of_rows<S: Simd, F: Finish<O>, O, const ROWS: usize>(
    s: S,
    i: usize,
    [n, k]: [usize; 2],
    a: &[i8],
    b: &[i8],
    finish: &F,
    c: &mut [O],
) {
    let a: [&[i8]; ROWS] = core::array::from_fn(|r| &a[r * k..][..k]);
    for j in (0..n).step_by(BLOCK) {
        let width = BLOCK.min(n - j);
        let mut sums = [[0; BLOCK]; ROWS];
        for t in (0..width).step_by(COLS) {
            // Past the last column, it is computed again.
            let b: [&[i8]; COLS] = core::array::from_fn(|l| &b[(j + t + l).min(n - 1) * k..][..k]);
            let tile = tile::<S, ROWS>(s, a, b, k);
            for (sums, tile) in sums.iter_mut().zip(tile) {
                sums[t..t + COLS].copy_from_slice(&tile);
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            finish.finish(i + r, j, &sums[..width], &mut c[r * n + j..][..width]);
        }
    }
}

/// The products of `ROWS` rows of A with [`COLS`] of B, each `k` long.
#[inline(always)]
fn tile<S: Simd, const ROWS: usize>(
    s: S,
    a: [&[i8]; ROWS],
    b: [&[i8]; COLS],
    k: usize,
) -> [[i32; COLS]; ROWS] {
    // Bytes that fill a register when they are widened.
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
        // The last register of bytes, those that were there before as zeros: part of a register is slow to fill.
        let start = k.saturating_sub(step);
        for (row, a) in rows.iter_mut().zip(a) {
            let mut bytes = [0; MOST_BYTES];
            let keep = &KEEP[MOST_BYTES - (whole - start)..];
            for ((to, &byte), &keep) in bytes.iter_mut().zip(&a[start..k]).zip(keep) {
                *to = byte & keep;
            }
            *row = s.widen_bytes(&bytes[..step]);
        }
        sums = add_products::<S, ROWS>(s, rows, b.map(|b| &b[start..k]), sums);
    }

    // Turned around, the lanes of a sum stand in as many registers, and all sums are added up at once.
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

/// The most bytes that fill a register when they are widened.
const MOST_BYTES: usize = 2 * MOST_LANES;

/// Masks: the last `n` of the first half, and then the second, drop `n` bytes and keep those that follow.
const KEEP: [i8; 2 * MOST_BYTES] = {
    let mut masks = [0; 2 * MOST_BYTES];
    let mut i = MOST_BYTES;
    while i < masks.len() {
        masks[i] = -1;
        i += 1;
    }
    masks
};

/// `sums` with the products of up to a register of bytes added.
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
