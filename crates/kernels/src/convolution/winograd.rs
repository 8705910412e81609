//! The Winograd algorithm F(4 x 4, 3 x 3): 36 multiplications where 16 windows of a 3 x 3 kernel
//! take 144.
//!
//! ```text
//! t: tile; a, b: row and column in its 6 x 6; i: channel; o: filter       -- `transform`: matrices
//!
//! filters  u[a, b][i, o] = (G w[.., i, o] G^T)[a, b]
//! input    v[a, b][t, i] = (B^T x[6 x 6 pixels of t, i] B)[a, b]
//! y        m[a, b] = v[a, b] u[a, b]: 36 matrix products                   -- `gemm`
//!          y[4 x 4 windows of t, o] = A^T m[.., ..][t, o] A, epilogue
//! dx, dw   e[a, b][t, o] = (A dy[4 x 4 windows of t, o] A^T)[a, b]
//! dx       m[a, b] = e[a, b] u[a, b]^T
//!          dx[6 x 6 pixels of t, i] = B m[.., ..][t, i] B^T, added up where tiles overlap
//! dw       du[a, b] = v[a, b]^T e[a, b], summed over the tiles
//!          dw[.., i, o] = G^T du[.., ..][i, o] G
//! ```
//!
//! Each task takes rows of tiles, one strip of a few rows at a time. For the gradients, the rows
//! are cut into slices, whose number depends on the shape alone. `dw` is summed within each slice,
//! a strip being a summation block. `dx` is added up within each slice, and then where a slice
//! overlaps the next. No bit depends on the number of threads.
//!
//! A. Lavin and S. Gray, "Fast algorithms for convolutional neural networks", 2016. Called by
//! `convolution`.

mod filters;
mod input;
mod output;
mod planes;
mod transform;

use core::ops::Range;

use super::flipped::transpose;
use super::max_pool::POOL;
use super::product::debug_assert_ok;
use super::{Convolution, Epilogue, OutputGradient};
use crate::gemm::arithmetic::Single;
use crate::gemm::{self, GemmShape, gemm_with, gemm_with_scratch};
use crate::matrix::{MatMut, MatRef};
use crate::simd::{Float, MOST_LANES, Simd, WithSimd};
use crate::{Cpu, Isa};
use filters::{FilterGradient, FilterTransform};
use input::{AddCarry, DxTarget, InputGradient, InputTransform, carry_len, lines_len};
use output::{OutputGradientTransform, OutputTransform};

/// Side of an output tile, in windows: m of F(m x m, r x r).
const OUT: usize = 4;

/// Side of an input tile, in pixels, and of a transformed tile: m + r - 1.
const SIDE: usize = OUT + 2;

/// Elements of a transformed tile.
const TILE_ELEMENTS: usize = SIDE * SIDE;

/// Most elements of a strip's transformed input and output, unless one row has more: 512 KiB of
/// f32, half of L2.
const STRIP: usize = 1 << 17;

/// Most channels times filters: the sums of a slice are then 512 KiB of f32.
const MAX_WEIGHTS: usize = 1 << 13;

/// Most slices that `dw` is summed in.
const MAX_SLICES: usize = 16;

/// `true` if the Winograd algorithm is the fastest.
pub(super) const fn is_fastest(c: &Convolution) -> bool {
    let (down, across) = (c.geometry.down, c.geometry.across);
    let three = down.kernel == 3 && across.kernel == 3;
    let dense = down.stride * across.stride * down.dilation * across.dilation * c.groups == 1;
    let (channels, filters) = (c.geometry.channels, c.out_channels);
    let registers = channels > 0 && filters > 0 && (channels | filters).is_multiple_of(16);
    if !three || !dense || !registers || channels * filters > MAX_WEIGHTS {
        return false;
    }
    let tiles = Tiles::new(c);
    // Where tiles reach far beyond the last windows, the algorithm gains too little.
    tiles.row <= 2 * STRIP && 8 * tiles.down * tiles.across <= down.out * across.out
}

/// Tiling of an image and of a batch.
#[derive(Clone, Copy)]
struct Tiles {
    /// Rows and columns of tiles in an image.
    down: usize,
    across: usize,
    /// Elements of the transformed tiles of one row.
    row: usize,
    /// Rows of tiles in a batch, and in a strip.
    all: usize,
    strip: usize,
}

impl Tiles {
    const fn new(c: &Convolution) -> Self {
        let (down, across) =
            (c.geometry.down.out.div_ceil(OUT), c.geometry.across.out.div_ceil(OUT));
        let row = (TILE_ELEMENTS * (c.geometry.channels + c.out_channels)).saturating_mul(across);
        let all = c.geometry.batch * down;
        let strip = STRIP / if row == 0 { 1 } else { row };
        let strip = if strip == 0 { 1 } else { strip };
        Self { down, across, row, all, strip: if strip < all { strip } else { all } }
    }

    /// Number of slices that `dw` is summed in.
    const fn slices(self) -> usize {
        let strips = self.all.div_ceil(if self.strip == 0 { 1 } else { self.strip });
        if strips < MAX_SLICES { strips } else { MAX_SLICES }
    }

    /// The strips of the rows of tiles `rows`.
    fn strips(self, rows: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        rows.clone()
            .step_by(self.strip.max(1))
            .map(move |start| start..rows.end.min(start + self.strip))
    }

    /// First row of tiles of a slice.
    fn slice(self, slice: usize) -> usize {
        self.all * slice / self.slices().max(1)
    }

    /// The pixels whose sums these rows of tiles complete.
    fn pixels(self, c: &Convolution, rows: Range<usize>) -> Range<usize> {
        let down = c.geometry.down;
        let start = |row: usize| {
            let line = (OUT * (row % self.down)).saturating_sub(down.padding).min(down.len);
            (row / self.down * down.len + line) * c.geometry.across.len
        };
        start(rows.start)..start(rows.end)
    }

    /// The windows of these rows of tiles.
    fn windows(self, c: &Convolution, rows: Range<usize>) -> Range<usize> {
        let start = |row: usize| {
            let (image, row) = (row / self.down, row % self.down);
            (image * c.geometry.down.out + OUT * row) * c.geometry.across.out
        };
        start(rows.start)..start(rows.end)
    }
}

/// Elements of the transformed filters.
const fn filters_len(c: &Convolution) -> usize {
    TILE_ELEMENTS * c.geometry.channels * c.out_channels
}

/// Elements of a strip's transformed input, and of its transformed output or output gradient.
const fn strip_lens(c: &Convolution) -> (usize, usize) {
    let tiles = Tiles::new(c);
    let elements = TILE_ELEMENTS * tiles.strip * tiles.across;
    (elements * c.geometry.channels, elements * c.out_channels)
}

/// Scratch elements of a task: one strip, and the scratch of its products.
const fn task_len<T: Float>(c: &Convolution) -> usize {
    let (tiles, (pixels, results)) = (Tiles::new(c), strip_lens(c));
    let (rows, channels, filters) =
        (tiles.strip * tiles.across, c.geometry.channels, c.out_channels);
    let forward = gemm_with_scratch::<Single<T>>(1, GemmShape { m: rows, n: filters, k: channels });
    let [dw, dx] = [[channels, filters, rows], [rows, channels, filters]];
    let [dw, dx] = [
        gemm_with_scratch::<Single<T>>(1, GemmShape { m: dw[0], n: dw[1], k: dw[2] }),
        gemm_with_scratch::<Single<T>>(1, GemmShape { m: dx[0], n: dx[1], k: dx[2] }),
    ];
    let backward = if dw > dx { dw } else { dx };
    lines_len(c, tiles) + pixels + results + if forward > backward { forward } else { backward }
}

/// `C = A B + beta C` for each element of a transformed tile. A plane of A is m x k, or k x m if
/// `transposed`.
fn products<T: Float>(
    isa: Isa,
    [m, n, k]: [usize; 3],
    transposed: bool,
    [a, b]: [&[T]; 2],
    beta: T,
    c: &mut [T],
    scratch: &mut [T],
) {
    let operands = a.chunks_exact(m * k).zip(b.chunks_exact(k * n));
    for ((a, b), c) in operands.zip(c.chunks_exact_mut(m * n)).take(TILE_ELEMENTS) {
        debug_assert_ok((|| {
            let a = if transposed {
                MatRef::row_major(a, k, m)?.transpose()
            } else {
                MatRef::row_major(a, m, k)?
            };
            let (b, c) = (MatRef::row_major(b, k, n)?, MatMut::row_major(c, m, n)?);
            gemm_with::<Single<T>>(Cpu::serial(isa), [a, b], beta, c, gemm::Epilogue::NONE, scratch)
        })());
    }
}

pub(super) const fn forward_len<T: Float>(c: &Convolution, threads: usize) -> usize {
    threads.saturating_mul(task_len::<T>(c)).saturating_add(filters_len(c))
}

/// `y` is not empty.
pub(super) fn forward<T: Float>(
    c: &Convolution,
    cpu: Cpu<'_>,
    x: &[T],
    w: &[T],
    mut epilogue: Epilogue<'_, T>,
    mut y: &mut [T],
    scratch: &mut [T],
) {
    let (tiles, task_len) = (Tiles::new(c), task_len::<T>(c));
    let (u, scratch) = scratch.split_at_mut(filters_len(c));
    cpu.isa.run(FilterTransform {
        channels: c.geometry.channels,
        filters: c.out_channels,
        w,
        u: &mut *u,
    });
    let u = &*u;
    // Windows per stored element.
    let pool = if epilogue.argmax.is_some() { POOL } else { 1 };
    let len = |rows| tiles.windows(c, rows).len() * c.out_channels;
    let tasks = c.tasks(cpu.threads(), tiles.all).min(scratch.len() / task_len).max(1);
    let mut slots = scratch.chunks_mut(task_len);
    let items = (0..tasks).map_while(|task| {
        let rows = tiles.all * task / tasks..tiles.all * (task + 1) / tasks;
        let len = len(rows.clone());
        Some((rows, epilogue.split_off(len), y.split_off_mut(..len / pool)?, slots.next()?))
    });
    cpu.for_each_item(items, |(rows, mut epilogue, mut y, scratch)| {
        let (pixels, results) = strip_lens(c);
        let (lines, rest) = scratch.split_at_mut(lines_len(c, tiles));
        let (v, rest) = rest.split_at_mut(pixels);
        let (m, scratch) = rest.split_at_mut(results);
        for rows in tiles.strips(rows) {
            let len = len(rows.clone());
            let (epilogue, Some(y)) = (epilogue.split_off(len), y.split_off_mut(..len / pool))
            else {
                return;
            };
            cpu.isa.run(InputTransform {
                c,
                tiles,
                x,
                rows: rows.clone(),
                lines: &mut *lines,
                v: &mut *v,
            });
            let (count, channels, filters) =
                (rows.len() * tiles.across, c.geometry.channels, c.out_channels);
            products(cpu.isa, [count, filters, channels], false, [v, u], T::ZERO, m, scratch);
            cpu.isa.run(OutputTransform { c, tiles, rows, m: &*m, epilogue, y });
        }
    });
}

/// Operands of the weight gradient.
pub(super) struct BackwardFilter<'a, T> {
    pub(super) x: &'a [T],
    pub(super) dw: &'a mut [T],
    pub(super) db: Option<&'a mut [T]>,
}

/// Operands of the input gradient.
pub(super) struct BackwardData<'a, T> {
    pub(super) w: &'a [T],
    /// ReLU's output, if `dx` includes that ReLU's derivative.
    pub(super) relu: Option<&'a [T]>,
    pub(super) dx: &'a mut [T],
}

/// Scratch elements of a slice that outlive its task.
#[derive(Clone, Copy)]
struct SliceLen {
    /// Sums of the transformed filters' gradient, then of `db`.
    sums: usize,
    /// Lines of `dx` that overlap the next slice.
    carry: usize,
}

impl SliceLen {
    const fn new(c: &Convolution, weights: bool, pixels: bool) -> Self {
        let sums = if weights { filters_len(c) + c.out_channels } else { 0 };
        Self { sums, carry: if pixels { carry_len(c, Tiles::new(c)) } else { 0 } }
    }
}

/// Scratch elements of the gradients with respect to the weights, the input, or both.
pub(super) const fn backward_len<T: Float>(
    c: &Convolution,
    threads: usize,
    weights: bool,
    pixels: bool,
) -> usize {
    let SliceLen { sums, carry } = SliceLen::new(c, weights, pixels);
    let filters = if pixels { filters_len(c) + c.w_len() } else { 0 };
    threads
        .saturating_mul(task_len::<T>(c))
        .saturating_add(Tiles::new(c).slices() * (sums + carry) + filters)
}

/// Transforms the filters with channels and filters exchanged. Also returns the rest of `scratch`.
fn filters_by_channels<'a, T: Float>(
    c: &Convolution,
    cpu: Cpu<'_>,
    w: &[T],
    scratch: &'a mut [T],
) -> (&'a [T], &'a mut [T]) {
    let (channels, filters) = (c.geometry.channels, c.out_channels);
    let (u, scratch) = scratch.split_at_mut(filters_len(c));
    let (transposed, scratch) = scratch.split_at_mut(c.w_len());
    for (to, from) in
        transposed.chunks_exact_mut(channels * filters).zip(w.chunks_exact(channels * filters))
    {
        transpose(channels, filters, from, to);
    }
    cpu.isa.run(FilterTransform {
        channels: filters,
        filters: channels,
        w: transposed,
        u: &mut *u,
    });
    (u, scratch)
}

pub(super) fn backward<T: Float>(
    c: &Convolution,
    cpu: Cpu<'_>,
    of: OutputGradient<'_, T>,
    weights: Option<BackwardFilter<'_, T>>,
    pixels: Option<BackwardData<'_, T>>,
    scratch: &mut [T],
) {
    let (tiles, task_len) = (Tiles::new(c), task_len::<T>(c));
    let (slices, len_of) = (tiles.slices(), SliceLen::new(c, weights.is_some(), pixels.is_some()));
    let (u, scratch) = match &pixels {
        Some(pixels) => filters_by_channels(c, cpu, pixels.w, scratch),
        None => (&[][..], scratch),
    };
    let relu = pixels.as_ref().and_then(|pixels| pixels.relu);
    let x = weights.as_ref().map(|weights| weights.x);
    let mut dx = pixels.map(|pixels| pixels.dx);
    let (sums, scratch) = scratch.split_at_mut(slices * len_of.sums);
    let (carries, scratch) = scratch.split_at_mut(slices * len_of.carry);
    let tasks = c.tasks(cpu.threads(), slices).min(scratch.len() / task_len).max(1);
    let mut slots = scratch.chunks_mut(task_len);
    let (mut all_sums, mut all_carries, mut all_dx) =
        (&mut *sums, &mut *carries, dx.as_deref_mut());
    let items = (0..tasks).map_while(|task| {
        let own = slices * task / tasks..slices * (task + 1) / tasks;
        let sums = all_sums.split_off_mut(..own.len() * len_of.sums)?;
        let carries = all_carries.split_off_mut(..own.len() * len_of.carry)?;
        let pixels = tiles.pixels(c, tiles.slice(own.start)..tiles.slice(own.end));
        let len = pixels.len() * c.geometry.channels;
        let dx = all_dx.as_mut().and_then(|dx| dx.split_off_mut(..len));
        let to = dx.map(|dx| DxTarget { relu, first: pixels.start, dx });
        Some((own, sums, carries, to, slots.next()?))
    });
    cpu.for_each_item(items, |(own, mut sums, mut carries, mut to, scratch)| {
        let (pixels, gradients) = strip_lens(c);
        let (lines, rest) = scratch.split_at_mut(lines_len(c, tiles));
        let (v, rest) = rest.split_at_mut(pixels);
        let (e, scratch) = rest.split_at_mut(gradients);
        let (channels, filters) = (c.geometry.channels, c.out_channels);
        for slice in own {
            let (Some(sums), Some(carry)) =
                (sums.split_off_mut(..len_of.sums), carries.split_off_mut(..len_of.carry))
            else {
                return;
            };
            let (du, db) = sums.split_at_mut(len_of.sums.saturating_sub(filters));
            db.fill(T::ZERO);
            let mut beta = T::ZERO;
            for rows in tiles.strips(tiles.slice(slice)..tiles.slice(slice + 1)) {
                let count = rows.len() * tiles.across;
                cpu.isa.run(OutputGradientTransform {
                    c,
                    tiles,
                    of,
                    rows: rows.clone(),
                    e: &mut *e,
                    sums: &mut *db,
                });
                if let Some(x) = x {
                    cpu.isa.run(InputTransform {
                        c,
                        tiles,
                        x,
                        rows: rows.clone(),
                        lines: &mut *lines,
                        v: &mut *v,
                    });
                    let shape = [channels, filters, count];
                    products(cpu.isa, shape, true, [v, e], beta, du, scratch);
                }
                if let Some(to) = &mut to {
                    // The transformed input is no longer needed.
                    let m = &mut *v;
                    let shape = [count, channels, filters];
                    products(cpu.isa, shape, false, [e, u], T::ZERO, m, scratch);
                    let carried = rows.start > tiles.slice(slice);
                    cpu.isa.run(InputGradient {
                        c,
                        tiles,
                        rows,
                        carried,
                        m,
                        to,
                        carry: &mut *carry,
                    });
                }
                beta = T::ONE;
            }
        }
    });
    if let Some(dx) = dx {
        for (slice, carry) in (1..slices).zip(carries.chunks_exact(len_of.carry)) {
            let row = tiles.slice(slice);
            if !row.is_multiple_of(tiles.down) {
                cpu.isa.run(AddCarry {
                    c,
                    tiles,
                    row,
                    carry,
                    to: &mut DxTarget { relu, first: 0, dx: &mut *dx },
                });
            }
        }
    }
    if let Some(BackwardFilter { dw, db, .. }) = weights {
        filter_gradient(c, cpu, tasks, sums, dw, db);
    }
}

/// Adds up the slices' sums and transforms them to the filters' gradient.
fn filter_gradient<T: Float>(
    c: &Convolution,
    cpu: Cpu<'_>,
    tasks: usize,
    sums: &mut [T],
    dw: &mut [T],
    db: Option<&mut [T]>,
) {
    let len = filters_len(c) + c.out_channels;
    let Some((total, others)) = sums.split_at_mut_checked(len) else {
        // The batch is empty.
        dw.fill(T::ZERO);
        db.into_iter().for_each(|db| db.fill(T::ZERO));
        return;
    };
    let others = &*others;
    let chunk = len.div_ceil(tasks).next_multiple_of(MOST_LANES);
    cpu.for_each_item(total.chunks_mut(chunk).enumerate(), |(task, total)| {
        let own = task * chunk..task * chunk + total.len();
        for slice in others.chunks_exact(len) {
            cpu.isa.run(AddSlice { total: &mut *total, slice: &slice[own.clone()] });
        }
    });
    let (du, sums) = total.split_at(filters_len(c));
    cpu.isa.run(FilterGradient { c, du, dw });
    if let Some(db) = db {
        db.copy_from_slice(&sums[..c.out_channels]);
    }
}

/// Adds a slice's sums to those of the slices before it. Both are whole registers.
struct AddSlice<'a, T> {
    total: &'a mut [T],
    slice: &'a [T],
}

impl<T: Float> WithSimd for AddSlice<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        for (total, slice) in
            T::split_mut::<S>(self.total).0.iter_mut().zip(T::split::<S>(self.slice).0)
        {
            *total = T::add(s, *total, *slice);
        }
    }
}
