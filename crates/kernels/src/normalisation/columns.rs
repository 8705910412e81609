//! Sums down the rows, one per channel, and operations with constants per channel. Shared by batch
//! and group normalisation.
//!
//! ```text
//! for each block of 128 rows of a sample                          in parallel
//!     shift = x[0] + (sum over the first 16 rows of x - x[0]) / rows     backward: the mean
//!     for each group of 4 rows, ascending: for each column
//!         a = x - shift  (backward: dy);  b = x - shift
//!         sum     += (a0 + a1) + (a2 + a3)
//!         product += (a0 b0 + a1 b1) + (a2 b2 + a3 b3)      each pair: a multiply, then an FMA
//!     the remaining rows, one by one:  sum += a;  product += a b, rounded
//! blocks are merged in ascending order, in f64 (Chan, Golub, LeVeque 1979)
//! ```
//!
//! The order depends on the number of rows alone. The shift is the mean of 1/8 of a block, so that
//! it lies within 3 deviations of the block's mean whatever the data. The loss in
//! `product - sum^2 / rows` is then at most 2^10 times the rounding of T, and negligible where the
//! first rows are like the others. A constant column has the variance 0.

use super::{Affine, at_least_zero, split_mean};
use crate::Cpu;
use crate::elementwise::CHUNK;
use crate::simd::{Float, Simd, WithSimd};

/// Rows per block. Part of the bit contract. The sums of a column are short chains (32 groups), and
/// the partial sums of a block are small compared with the block.
pub(super) const BLOCK: usize = 128;

/// Rows that are added up before they are added to a sum. Part of the bit contract. The sums of a
/// column are loaded and stored once per four rows, which takes less time than the additions.
pub(super) const GROUP: usize = 4;

/// Rows whose mean is the shift. Part of the bit contract.
const SHIFT_ROWS: usize = 16;

/// Channels whose blocks are merged at once, on the stack.
pub(super) const WIDTH: usize = 32;

/// `[samples, positions, channels]`; none is 0 where sums are computed.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) samples: usize,
    pub(super) positions: usize,
    pub(super) channels: usize,
}

impl Shape {
    /// Blocks per sample.
    pub(super) const fn blocks(self) -> usize {
        self.positions.div_ceil(BLOCK)
    }

    /// Elements per sample.
    pub(super) const fn sample(self) -> usize {
        self.positions * self.channels
    }

    /// Partial sums of a sample: up to three elements per block and channel.
    pub(super) const fn partials(self) -> usize {
        self.blocks().saturating_mul(3).saturating_mul(self.channels)
    }

    /// Constants of a sample: up to four elements per channel.
    pub(super) const fn constants(self) -> usize {
        self.channels.saturating_mul(4)
    }

    /// Partials and constants of all samples.
    pub(super) const fn scratch(self) -> usize {
        self.samples.saturating_mul(self.partials().saturating_add(self.constants()))
    }

    /// Blocks per task.
    fn task(self) -> usize {
        (CHUNK / (BLOCK * self.channels)).max(1)
    }
}

/// Computes for each block: the shift of each channel, the sums of the differences from it, and the
/// sums of their squares.
pub(super) fn moments<T: Float>(cpu: Cpu<'_>, shape: Shape, x: &[T], partials: &mut [T]) {
    let Shape { channels, .. } = shape;
    let blocks = shape.task();
    let samples = x.chunks(shape.sample()).zip(partials.chunks_mut(shape.partials()));
    let tasks = samples.flat_map(|(x, partials)| {
        x.chunks(blocks * BLOCK * channels).zip(partials.chunks_mut(blocks * 3 * channels))
    });
    cpu.for_each_item(tasks, |(x, partials)| cpu.isa.run(Moments { x, channels, partials }));
}

struct Moments<'a, T> {
    x: &'a [T],
    channels: usize,
    partials: &'a mut [T],
}

impl<T: Float> WithSimd for Moments<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { x, channels, partials } = self;
        for (x, partial) in x.chunks(BLOCK * channels).zip(partials.chunks_exact_mut(3 * channels))
        {
            let (shift, sums) = partial.split_at_mut(channels);
            mean_of_first_rows(x, shift);
            sums.fill(T::ZERO);
            add_block::<S, T, false>(s, x, x, shift, sums);
        }
    }
}

/// Stores the mean of the first [`SHIFT_ROWS`] rows in `shift`.
#[inline(always)]
fn mean_of_first_rows<T: Float>(x: &[T], shift: &mut [T]) {
    let channels = shift.len();
    let (first, others) = x.split_at(channels);
    let others = &others[..others.len().min((SHIFT_ROWS - 1) * channels)];
    shift.fill(T::ZERO);
    for row in others.chunks_exact(channels) {
        for ((sum, &x), &first) in shift.iter_mut().zip(row).zip(first) {
            let mut difference = x;
            difference -= first;
            *sum += difference;
        }
    }
    let mut share = T::ONE;
    share /= T::from_f64((1 + others.len() / channels) as f64);
    for (sum, &first) in shift.iter_mut().zip(first) {
        *sum *= share;
        *sum += first;
    }
}

/// Computes for each block: the sums of `dy` of each channel, and those of `dy * (x - centre)`.
/// `centre` returns the centres of a sample.
pub(super) fn gradient_sums<'a, T: Float>(
    cpu: Cpu<'_>,
    shape: Shape,
    dy: &'a [T],
    x: &'a [T],
    centre: impl Fn(usize) -> &'a [T] + Sync,
    partials: &'a mut [T],
) {
    let Shape { channels, .. } = shape;
    let blocks = shape.task();
    let samples = (dy.chunks(shape.sample()).zip(x.chunks(shape.sample())))
        .zip(partials.chunks_mut(shape.blocks() * 2 * channels));
    let tasks = samples.enumerate().flat_map(|(sample, ((dy, x), partials))| {
        let centre = centre(sample);
        let rows = blocks * BLOCK * channels;
        dy.chunks(rows)
            .zip(x.chunks(rows))
            .zip(partials.chunks_mut(blocks * 2 * channels))
            .map(move |((dy, x), partials)| GradientSums { dy, x, centre, partials })
    });
    cpu.for_each_item(tasks, |task| cpu.isa.run(task));
}

struct GradientSums<'a, T> {
    dy: &'a [T],
    x: &'a [T],
    centre: &'a [T],
    partials: &'a mut [T],
}

impl<T: Float> WithSimd for GradientSums<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { dy, x, centre, partials } = self;
        let channels = centre.len();
        let blocks = dy.chunks(BLOCK * channels).zip(x.chunks(BLOCK * channels));
        for ((dy, x), sums) in blocks.zip(partials.chunks_exact_mut(2 * channels)) {
            sums.fill(T::ZERO);
            add_block::<S, T, true>(s, dy, x, centre, sums);
        }
    }
}

/// Adds a block of rows to the sums of `a`, and to the sums of `a * (x - centre)` after them. `a`
/// is `dy` if `BACKWARD`, otherwise `x - centre`.
#[inline(always)]
fn add_block<S: Simd, T: Float, const BACKWARD: bool>(
    s: S,
    dy: &[T],
    x: &[T],
    centre: &[T],
    sums: &mut [T],
) {
    let channels = centre.len();
    let whole = channels / T::lanes::<S>() * T::lanes::<S>();
    let (sums, products) = sums.split_at_mut(channels);
    let groups = x.len() / (GROUP * channels) * (GROUP * channels);
    let (dy, x) = (dy.split_at(groups), x.split_at(groups));
    if whole > 0 {
        for (dy, x) in dy.0.chunks_exact(GROUP * channels).zip(x.0.chunks_exact(GROUP * channels)) {
            add_rows::<S, T, BACKWARD, GROUP>(s, dy, x, centre, sums, products);
        }
        for (dy, x) in dy.1.chunks_exact(channels).zip(x.1.chunks_exact(channels)) {
            add_rows::<S, T, BACKWARD, 1>(s, dy, x, centre, sums, products);
        }
    }
    if whole < channels {
        // These sums stay in registers: a load after a masked store of the same bytes is slow.
        let centre = T::rest(s, &centre[whole..]);
        let mut both = (T::rest(s, &sums[whole..]), T::rest(s, &products[whole..]));
        for (dy, x) in dy.0.chunks_exact(GROUP * channels).zip(x.0.chunks_exact(GROUP * channels)) {
            both = add_rests::<S, T, BACKWARD, GROUP>(s, dy, x, (channels, whole), centre, both);
        }
        for (dy, x) in dy.1.chunks_exact(channels).zip(x.1.chunks_exact(channels)) {
            both = add_rests::<S, T, BACKWARD, 1>(s, dy, x, (channels, whole), centre, both);
        }
        T::put_rest(s, &mut sums[whole..], both.0);
        T::put_rest(s, &mut products[whole..], both.1);
    }
}

/// Adds the whole registers of a group of rows, or of one row.
#[inline(always)]
fn add_rows<S: Simd, T: Float, const BACKWARD: bool, const ROWS: usize>(
    s: S,
    dy: &[T],
    x: &[T],
    centre: &[T],
    sums: &mut [T],
    products: &mut [T],
) {
    let channels = centre.len();
    let (dy, x): ([_; ROWS], [_; ROWS]) = (rows(dy, channels), rows(x, channels));
    let zero = T::splat(s, T::ZERO);
    let (mut a, mut b) = ([zero; ROWS], [zero; ROWS]);
    for i in 0..channels / T::lanes::<S>() {
        let centre = T::register(s, centre, i);
        for r in 0..ROWS {
            b[r] = T::sub(s, T::register(s, x[r], i), centre);
            a[r] = if BACKWARD { T::register(s, dy[r], i) } else { b[r] };
        }
        let old = (T::register(s, sums, i), T::register(s, products, i));
        let (sum, product) = add_terms::<S, T, ROWS>(s, a, b, old);
        T::put_register(s, sums, i, sum);
        T::put_register(s, products, i, product);
    }
}

/// Adds the partial last register of each row, after [`add_rows`].
#[inline(always)]
fn add_rests<S: Simd, T: Float, const BACKWARD: bool, const ROWS: usize>(
    s: S,
    dy: &[T],
    x: &[T],
    (channels, whole): (usize, usize),
    centre: T::V<S>,
    sums: (T::V<S>, T::V<S>),
) -> (T::V<S>, T::V<S>) {
    let (dy, x): ([_; ROWS], [_; ROWS]) = (rows(dy, channels), rows(x, channels));
    let (mut a, mut b) = ([centre; ROWS], [centre; ROWS]);
    for r in 0..ROWS {
        b[r] = T::sub(s, T::rest(s, &x[r][whole..]), centre);
        a[r] = if BACKWARD { T::rest(s, &dy[r][whole..]) } else { b[r] };
    }
    add_terms::<S, T, ROWS>(s, a, b, sums)
}

/// The first `ROWS` rows.
#[inline(always)]
pub(super) fn rows<T, const ROWS: usize>(x: &[T], channels: usize) -> [&[T]; ROWS] {
    core::array::from_fn(|r| &x[r * channels..][..channels])
}

/// The first `ROWS` rows, for writing.
#[inline(always)]
pub(super) fn rows_mut<T, const ROWS: usize>(x: &mut [T], channels: usize) -> [&mut [T]; ROWS] {
    let mut rows = x.chunks_exact_mut(channels);
    core::array::from_fn(|_| rows.next().unwrap_or_default())
}

/// Adds the terms of a group of rows, or of one row, to the sums of `a` and of `a * b`.
#[inline(always)]
pub(super) fn add_terms<S: Simd, T: Float, const ROWS: usize>(
    s: S,
    a: [T::V<S>; ROWS],
    b: [T::V<S>; ROWS],
    (sum, product): (T::V<S>, T::V<S>),
) -> (T::V<S>, T::V<S>) {
    // Odd indices hold pairs.
    let (mut sums, mut products) = (a, a);
    for r in 0..ROWS {
        if r % 2 == 0 {
            products[r] = T::mul(s, a[r], b[r]);
        } else {
            sums[r] = T::add(s, a[r - 1], a[r]);
            products[r] = T::mul_add(s, a[r], b[r], products[r - 1]);
        }
    }
    let (mut terms, mut product_terms) = (sums[ROWS - 1], products[ROWS - 1]);
    if ROWS == GROUP {
        terms = T::add(s, sums[ROWS / 2 - 1], terms);
        product_terms = T::add(s, products[ROWS / 2 - 1], product_terms);
    }
    (T::add(s, sum, terms), T::add(s, product, product_terms))
}

/// Mean and sum of squared differences from the mean, of up to [`WIDTH`] channels.
pub(super) struct Merged {
    /// Shift of the first block, to which means are relative while they are merged.
    pub(super) base: [f64; WIDTH],
    /// Mean minus base.
    pub(super) mean: [f64; WIDTH],
    /// Sum of squared differences from the mean.
    pub(super) squares: [f64; WIDTH],
}

/// Merges the blocks of one sample, as [`moments`] computed them, for the channels from `first` on.
#[inline(always)]
pub(super) fn merge<T: Float>(shape: Shape, partials: &[T], first: usize) -> Merged {
    let Shape { positions, channels, .. } = shape;
    let mut merged = Merged { base: [0.0; WIDTH], mean: [0.0; WIDTH], squares: [0.0; WIDTH] };
    let Merged { base, mean, squares } = &mut merged;
    let width = WIDTH.min(channels - first);
    for (b, &shift) in base.iter_mut().zip(&partials[first..][..width]) {
        *b = shift.to_f64();
    }
    let mut before = 0.0;
    for (block, partial) in partials.chunks_exact(3 * channels).enumerate() {
        let rows = BLOCK.min(positions - block * BLOCK) as f64;
        let total = before + rows;
        let (share, weight) = (rows / total, before * rows / total);
        let shifts = &partial[first..][..width];
        let sums = &partial[channels + first..][..width];
        let products = &partial[2 * channels + first..][..width];
        for j in 0..width {
            let sum = sums[j].to_f64();
            let offset = sum / rows;
            let here = at_least_zero(products[j].to_f64() - sum * offset);
            let difference = (shifts[j].to_f64() - base[j]) + offset - mean[j];
            mean[j] += difference * share;
            squares[j] += here + difference * difference * weight;
        }
        before = total;
    }
    merged
}

/// The two sums of one sample, as [`gradient_sums`] computed them, for the channels from `first`
/// on.
#[inline(always)]
pub(super) fn totals<T: Float>(channels: usize, partials: &[T], first: usize) -> [[f64; WIDTH]; 2] {
    let mut totals = [[0.0; WIDTH]; 2];
    let width = WIDTH.min(channels - first);
    for partial in partials.chunks_exact(2 * channels) {
        for (totals, partial) in totals.iter_mut().zip(partial.chunks_exact(channels)) {
            for (total, x) in totals.iter_mut().zip(&partial[first..][..width]) {
                *total += x.to_f64();
            }
        }
    }
    totals
}

/// An operation on one register of a row, with constants per channel.
pub(super) trait PerChannel<T: Float, const CONSTANTS: usize, const READ: usize>:
    Sync
{
    /// The new value of the written operand. Mark it `#[inline(always)]`.
    fn apply<S: Simd>(
        &self,
        s: S,
        constants: [T::V<S>; CONSTANTS],
        read: [T::V<S>; READ],
        write: T::V<S>,
    ) -> T::V<S>;
}

/// Applies `op` to every row. `constants` returns the constants of a sample.
pub(super) fn for_each_row<'a, T: Float, const CONSTANTS: usize, const READ: usize>(
    cpu: Cpu<'_>,
    shape: Shape,
    op: &impl PerChannel<T, CONSTANTS, READ>,
    constants: impl Fn(usize) -> [&'a [T]; CONSTANTS] + Sync,
    read: [&'a [T]; READ],
    write: &'a mut [T],
) {
    let task = (CHUNK / shape.channels).max(1) * shape.channels;
    let tasks = write.chunks_mut(shape.sample()).enumerate().flat_map(|(sample, write)| {
        let constants = constants(sample);
        write.chunks_mut(task).enumerate().map(move |(i, write)| {
            let start = sample * shape.sample() + i * task;
            let mut here = read;
            for x in &mut here {
                *x = &x[start..][..write.len()];
            }
            (constants, here, write)
        })
    });
    cpu.for_each_item(tasks, |(constants, read, write)| {
        cpu.isa.run(Rows { op, channels: shape.channels, constants, read, write });
    });
}

struct Rows<'a, Op, T, const CONSTANTS: usize, const READ: usize> {
    op: &'a Op,
    channels: usize,
    constants: [&'a [T]; CONSTANTS],
    read: [&'a [T]; READ],
    write: &'a mut [T],
}

impl<T: Float, Op: PerChannel<T, CONSTANTS, READ>, const CONSTANTS: usize, const READ: usize>
    WithSimd for Rows<'_, Op, T, CONSTANTS, READ>
{
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { op, channels, constants, mut read, mut write } = self;
        while !write.is_empty() {
            let rows = if write.len() >= GROUP * channels { GROUP } else { 1 };
            let (here, rest) = write.split_at_mut(rows * channels);
            if rows == GROUP {
                apply_rows::<S, T, CONSTANTS, READ, GROUP>(s, op, constants, read, here);
            } else {
                apply_rows::<S, T, CONSTANTS, READ, 1>(s, op, constants, read, here);
            }
            for x in &mut read {
                *x = &x[rows * channels..];
            }
            write = rest;
        }
    }
}

/// Applies `op` to the first `ROWS` rows, whose constants are loaded once.
#[inline(always)]
fn apply_rows<S: Simd, T: Float, const CONSTANTS: usize, const READ: usize, const ROWS: usize>(
    s: S,
    op: &impl PerChannel<T, CONSTANTS, READ>,
    mut constants: [&[T]; CONSTANTS],
    read: [&[T]; READ],
    write: &mut [T],
) {
    let channels = write.len() / ROWS;
    let lanes = T::lanes::<S>();
    let whole = channels / lanes * lanes;
    for x in &mut constants {
        *x = &x[..channels];
    }
    let read = read.map(|x| rows::<T, ROWS>(x, channels));
    let write = rows_mut::<T, ROWS>(write, channels);

    let zero = T::splat(s, T::ZERO);
    let (mut values, mut inputs) = ([zero; CONSTANTS], [zero; READ]);
    for i in 0..channels / lanes {
        for (v, constant) in values.iter_mut().zip(constants) {
            *v = T::register(s, constant, i);
        }
        for r in 0..ROWS {
            for (v, x) in inputs.iter_mut().zip(&read) {
                *v = T::register(s, x[r], i);
            }
            let v = op.apply(s, values, inputs, T::register(s, write[r], i));
            T::put_register(s, write[r], i, v);
        }
    }
    if whole < channels {
        for (v, constant) in values.iter_mut().zip(constants) {
            *v = T::rest(s, &constant[whole..]);
        }
        for r in 0..ROWS {
            for (v, x) in inputs.iter_mut().zip(&read) {
                *v = T::rest(s, &x[r][whole..]);
            }
            let v = op.apply(s, values, inputs, T::rest(s, &write[r][whole..]));
            T::put_rest(s, &mut write[r][whole..], v);
        }
    }
}

/// `(x - centre) * scale + shift`, with constants centre, scale and shift.
pub(super) struct Normalise;

impl Normalise {
    /// Computes the `constants`, `[3, channels]`. `statistics` returns the mean and `rstd` of a
    /// channel.
    #[inline(always)]
    pub(super) fn constants<T: Float>(
        affine: Affine<'_, T>,
        statistics: impl Fn(usize) -> (f64, f64),
        constants: &mut [T],
    ) {
        let channels = constants.len() / 3;
        for j in 0..channels {
            let (gamma, beta) = affine.at(j);
            let (mean, rstd) = statistics(j);
            let (near, rest) = split_mean::<T>(mean);
            let scale = gamma * rstd;
            constants[j] = near;
            constants[channels + j] = T::from_f64(scale);
            constants[2 * channels + j] = T::from_f64(beta - rest * scale);
        }
    }
}

impl<T: Float> PerChannel<T, 3, 1> for Normalise {
    #[inline(always)]
    fn apply<S: Simd>(
        &self,
        s: S,
        [centre, scale, shift]: [T::V<S>; 3],
        [x]: [T::V<S>; 1],
        _: T::V<S>,
    ) -> T::V<S> {
        T::mul_add(s, T::sub(s, x, centre), scale, shift)
    }
}

/// `scale * dy + (slope * (x - centre) + shift)`, in place of `dy`, with constants centre, scale,
/// slope and shift.
pub(super) struct Backward;

impl<T: Float> PerChannel<T, 4, 1> for Backward {
    #[inline(always)]
    fn apply<S: Simd>(
        &self,
        s: S,
        [centre, scale, slope, shift]: [T::V<S>; 4],
        [x]: [T::V<S>; 1],
        dy: T::V<S>,
    ) -> T::V<S> {
        let pull = T::mul_add(s, slope, T::sub(s, x, centre), shift);
        T::mul_add(s, scale, dy, pull)
    }
}
