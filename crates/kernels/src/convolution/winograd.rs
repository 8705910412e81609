//! Convolution by 3 x 3 kernels in tiles of 4 x 4 windows, by the minimal filtering algorithm of Winograd: 36 multiplications for
//! what takes 144.
//!
//! ```text
//! filters   u[a, b][i, o] = (G w[.., i, o] G^T)[a, b]                              a, b: six places down, six across
//! pixels    v[a, b][t, i] = (B^T x[6 x 6 pixels of tile t, i] B)[a, b]             -- `transform` has the matrices
//! y         m[a, b] = v[a, b] u[a, b]: a product for each place                    -- `gemm`
//!           y[4 x 4 windows of tile t, o] = A^T m[.., ..][t, o] A, bias, activation
//! dx, dw    e[a, b][t, o] = (A dy[4 x 4 windows of tile t, o] A^T)[a, b]
//! dx        m[a, b] = e[a, b] u[a, b]^T
//!           dx[6 x 6 pixels of tile t, i] = B m[.., ..][t, i] B^T, added up where tiles overlap
//! dw        du[a, b] = v[a, b]^T e[a, b], summed over the tiles
//!           dw[.., i, o] = G^T du[.., ..][i, o] G
//! ```
//!
//! Each task takes rows of tiles, a strip of a few at a time. Gradients are had in slabs of rows, whose number the shape decides: `dw`
//! is summed within each, a strip being a summation block; `dx` is added up within each, and then where a slab reaches into the next.
//! No bit depends on threads.
//!
//! A. Lavin and S. Gray, "Fast algorithms for convolutional neural networks", 2016. Called by `convolution`.

mod filters;
mod pixels;
mod places;
mod results;
mod transform;

use core::ops::Range;

use super::greatest::POOL;
use super::product::certain;
use super::turned::exchange;
use super::{Convolution, Epilogue, OutputGradient};
use crate::gemm::terms::Single;
use crate::gemm::{self, gemm_terms, gemm_terms_scratch};
use crate::matrix::{MatMut, MatRef};
use crate::simd::{Float, MOST_LANES, Simd, WithSimd};
use crate::{Cpu, Isa};
use filters::{FilterGradient, Filters};
use pixels::{Carried, PixelGradients, PixelTarget, Pixels, carry_len, lines_len};
use results::{Gradients, Results};

/// Windows of a tile, down and across.
const OUT: usize = 4;

/// Pixels that they cover, and places of what is transformed, down and across.
const SIDE: usize = OUT + 2;

/// Places of a transformed tile.
const PLACES: usize = SIDE * SIDE;

/// Elements of a strip's transformed pixels and results, or less: 512 KiB of f32, half of a second-level cache.
const STRIP: usize = 1 << 17;

/// Channels times filters at most: the sums of a slab are then 512 KiB of f32.
const MOST_WEIGHTS: usize = 1 << 13;

/// Parts that the sum of `dw` has at most.
const SLABS: usize = 16;

/// Whether this is the fastest way.
pub(super) const fn wins(c: &Convolution) -> bool {
    let (down, across) = (c.sweep.down, c.sweep.across);
    let three = down.kernel == 3 && across.kernel == 3;
    let dense = down.stride * across.stride * down.dilation * across.dilation * c.groups == 1;
    let (channels, filters) = (c.sweep.channels, c.out_channels);
    let registers = channels > 0 && filters > 0 && (channels | filters).is_multiple_of(16);
    if !three || !dense || !registers || channels * filters > MOST_WEIGHTS {
        return false;
    }
    let tiles = Tiles::new(c);
    // Where tiles reach far beyond the last windows, there is too little to gain.
    tiles.row <= 2 * STRIP && 8 * tiles.down * tiles.across <= down.out * across.out
}

/// How an image, and a batch, is cut.
#[derive(Clone, Copy)]
struct Tiles {
    /// Tiles of an image.
    down: usize,
    across: usize,
    /// Elements of a row of tiles' transforms.
    row: usize,
    /// Rows of tiles of a batch, and of a strip.
    all: usize,
    strip: usize,
}

impl Tiles {
    const fn new(c: &Convolution) -> Self {
        let (down, across) = (c.sweep.down.out.div_ceil(OUT), c.sweep.across.out.div_ceil(OUT));
        let row = (PLACES * (c.sweep.channels + c.out_channels)).saturating_mul(across);
        let all = c.sweep.batch * down;
        let strip = STRIP / if row == 0 { 1 } else { row };
        let strip = if strip == 0 { 1 } else { strip };
        Self { down, across, row, all, strip: if strip < all { strip } else { all } }
    }

    /// Parts of the sum of `dw`.
    const fn slabs(self) -> usize {
        let strips = self.all.div_ceil(if self.strip == 0 { 1 } else { self.strip });
        if strips < SLABS { strips } else { SLABS }
    }

    /// The strips of these rows.
    fn strips(self, rows: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        rows.clone().step_by(self.strip.max(1)).map(move |start| start..rows.end.min(start + self.strip))
    }

    /// The first of a slab's rows.
    fn slab(self, slab: usize) -> usize {
        self.all * slab / self.slabs().max(1)
    }

    /// The pixels that these rows of tiles are the last to add to.
    fn pixels(self, c: &Convolution, rows: Range<usize>) -> Range<usize> {
        let down = c.sweep.down;
        let start = |row: usize| {
            let line = (OUT * (row % self.down)).saturating_sub(down.padding).min(down.len);
            (row / self.down * down.len + line) * c.sweep.across.len
        };
        start(rows.start)..start(rows.end)
    }

    /// The windows in these rows.
    fn windows(self, c: &Convolution, rows: Range<usize>) -> Range<usize> {
        let start = |row: usize| {
            let (image, row) = (row / self.down, row % self.down);
            (image * c.sweep.down.out + OUT * row) * c.sweep.across.out
        };
        start(rows.start)..start(rows.end)
    }
}

/// The transformed filters.
const fn filters_len(c: &Convolution) -> usize {
    PLACES * c.sweep.channels * c.out_channels
}

/// A strip's transformed pixels, and its results or their gradients.
const fn strip_lens(c: &Convolution) -> (usize, usize) {
    let tiles = Tiles::new(c);
    let places = PLACES * tiles.strip * tiles.across;
    (places * c.sweep.channels, places * c.out_channels)
}

/// A strip, and what its products take.
const fn task_len<T: Float>(c: &Convolution) -> usize {
    let (tiles, (pixels, results)) = (Tiles::new(c), strip_lens(c));
    let (rows, channels, filters) = (tiles.strip * tiles.across, c.sweep.channels, c.out_channels);
    let forward = gemm_terms_scratch::<Single<T>>(1, rows, filters, channels);
    let [dw, dx] = [[channels, filters, rows], [rows, channels, filters]];
    let [dw, dx] = [
        gemm_terms_scratch::<Single<T>>(1, dw[0], dw[1], dw[2]),
        gemm_terms_scratch::<Single<T>>(1, dx[0], dx[1], dx[2]),
    ];
    let backward = if dw > dx { dw } else { dx };
    lines_len(c, tiles) + pixels + results + if forward > backward { forward } else { backward }
}

/// The product of each place, m x n over k: of planes of A, k x m if it is `transposed`, and of planes of B, on top of `beta` times C.
fn products<T: Float>(
    isa: Isa,
    [m, n, k]: [usize; 3],
    transposed: bool,
    [a, b]: [&[T]; 2],
    beta: T,
    c: &mut [T],
    scratch: &mut [T],
) {
    let factors = a.chunks_exact(m * k).zip(b.chunks_exact(k * n));
    for ((a, b), c) in factors.zip(c.chunks_exact_mut(m * n)).take(PLACES) {
        certain((|| {
            let a = if transposed {
                MatRef::row_major(a, k, m)?.transpose()
            } else {
                MatRef::row_major(a, m, k)?
            };
            let (b, c) = (MatRef::row_major(b, k, n)?, MatMut::row_major(c, m, n)?);
            gemm_terms::<Single<T>>(Cpu::serial(isa), [a, b], beta, c, gemm::Epilogue::NONE, scratch)
        })());
    }
}

pub(super) const fn forward_len<T: Float>(c: &Convolution, threads: usize) -> usize {
    threads.saturating_mul(task_len::<T>(c)).saturating_add(filters_len(c))
}

/// `y` has elements.
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
    cpu.isa.run(Filters { channels: c.sweep.channels, filters: c.out_channels, w, u: &mut *u });
    let u = &*u;
    // Elements of what is stored.
    let pools = if epilogue.which.is_some() { POOL } else { 1 };
    let len = |rows| tiles.windows(c, rows).len() * c.out_channels;
    let tasks = c.tasks(cpu.threads(), tiles.all).min(scratch.len() / task_len).max(1);
    let mut slots = scratch.chunks_mut(task_len);
    let items = (0..tasks).map_while(|task| {
        let rows = tiles.all * task / tasks..tiles.all * (task + 1) / tasks;
        let len = len(rows.clone());
        Some((rows, epilogue.split_off(len), y.split_off_mut(..len / pools)?, slots.next()?))
    });
    cpu.for_each_item(items, |(rows, mut epilogue, mut y, scratch)| {
        let (pixels, results) = strip_lens(c);
        let (lines, rest) = scratch.split_at_mut(lines_len(c, tiles));
        let (v, rest) = rest.split_at_mut(pixels);
        let (m, scratch) = rest.split_at_mut(results);
        for rows in tiles.strips(rows) {
            let len = len(rows.clone());
            let (epilogue, Some(y)) = (epilogue.split_off(len), y.split_off_mut(..len / pools)) else {
                return;
            };
            cpu.isa.run(Pixels { c, tiles, x, rows: rows.clone(), lines: &mut *lines, v: &mut *v });
            let (count, channels, filters) = (rows.len() * tiles.across, c.sweep.channels, c.out_channels);
            products(cpu.isa, [count, filters, channels], false, [v, u], T::ZERO, m, scratch);
            cpu.isa.run(Results { c, tiles, rows, m: &*m, epilogue, y });
        }
    });
}

/// What the gradient by the filters is of, and where it goes.
pub(super) struct ByWeights<'a, T> {
    pub(super) x: &'a [T],
    pub(super) dw: &'a mut [T],
    pub(super) db: Option<&'a mut [T]>,
}

/// What the gradient by the pixels is of, and where it goes.
pub(super) struct ByPixels<'a, T> {
    pub(super) w: &'a [T],
    /// Where ReLU's gradient is taken.
    pub(super) relu: Option<&'a [T]>,
    pub(super) dx: &'a mut [T],
}

/// What a slab leaves for after all slabs.
#[derive(Clone, Copy)]
struct Left {
    /// The sums of the transformed filters' gradient, then of `db`.
    sums: usize,
    /// What is carried to the next slab.
    carry: usize,
}

impl Left {
    const fn new(c: &Convolution, weights: bool, pixels: bool) -> Self {
        let sums = if weights { filters_len(c) + c.out_channels } else { 0 };
        Self { sums, carry: if pixels { carry_len(c, Tiles::new(c)) } else { 0 } }
    }
}

/// For the gradients by the weights, by the pixels, or both.
pub(super) const fn backward_len<T: Float>(
    c: &Convolution,
    threads: usize,
    weights: bool,
    pixels: bool,
) -> usize {
    let Left { sums, carry } = Left::new(c, weights, pixels);
    let filters = if pixels { filters_len(c) + c.w_len() } else { 0 };
    threads.saturating_mul(task_len::<T>(c)).saturating_add(Tiles::new(c).slabs() * (sums + carry) + filters)
}

/// The filters with channels in the place of filters, transformed: `scratch` without them.
fn filters_by_channels<'a, T: Float>(
    c: &Convolution,
    cpu: Cpu<'_>,
    w: &[T],
    scratch: &'a mut [T],
) -> (&'a [T], &'a mut [T]) {
    let (channels, filters) = (c.sweep.channels, c.out_channels);
    let (u, scratch) = scratch.split_at_mut(filters_len(c));
    let (turned, scratch) = scratch.split_at_mut(c.w_len());
    for (to, from) in turned.chunks_exact_mut(channels * filters).zip(w.chunks_exact(channels * filters)) {
        exchange(channels, filters, from, to);
    }
    cpu.isa.run(Filters { channels: filters, filters: channels, w: turned, u: &mut *u });
    (u, scratch)
}

pub(super) fn backward<T: Float>(
    c: &Convolution,
    cpu: Cpu<'_>,
    of: OutputGradient<'_, T>,
    weights: Option<ByWeights<'_, T>>,
    pixels: Option<ByPixels<'_, T>>,
    scratch: &mut [T],
) {
    let (tiles, task_len) = (Tiles::new(c), task_len::<T>(c));
    let (slabs, left) = (tiles.slabs(), Left::new(c, weights.is_some(), pixels.is_some()));
    let (u, scratch) = match &pixels {
        Some(pixels) => filters_by_channels(c, cpu, pixels.w, scratch),
        None => (&[][..], scratch),
    };
    let relu = pixels.as_ref().and_then(|pixels| pixels.relu);
    let x = weights.as_ref().map(|weights| weights.x);
    let mut dx = pixels.map(|pixels| pixels.dx);
    let (sums, scratch) = scratch.split_at_mut(slabs * left.sums);
    let (carries, scratch) = scratch.split_at_mut(slabs * left.carry);
    let tasks = c.tasks(cpu.threads(), slabs).min(scratch.len() / task_len).max(1);
    let mut slots = scratch.chunks_mut(task_len);
    let (mut all_sums, mut all_carries, mut all_dx) = (&mut *sums, &mut *carries, dx.as_deref_mut());
    let items = (0..tasks).map_while(|task| {
        let own = slabs * task / tasks..slabs * (task + 1) / tasks;
        let sums = all_sums.split_off_mut(..own.len() * left.sums)?;
        let carries = all_carries.split_off_mut(..own.len() * left.carry)?;
        let pixels = tiles.pixels(c, tiles.slab(own.start)..tiles.slab(own.end));
        let len = pixels.len() * c.sweep.channels;
        let dx = all_dx.as_mut().and_then(|dx| dx.split_off_mut(..len));
        let to = dx.map(|dx| PixelTarget { relu, first: pixels.start, dx });
        Some((own, sums, carries, to, slots.next()?))
    });
    cpu.for_each_item(items, |(own, mut sums, mut carries, mut to, scratch)| {
        let (pixels, gradients) = strip_lens(c);
        let (lines, rest) = scratch.split_at_mut(lines_len(c, tiles));
        let (v, rest) = rest.split_at_mut(pixels);
        let (e, scratch) = rest.split_at_mut(gradients);
        let (channels, filters) = (c.sweep.channels, c.out_channels);
        for slab in own {
            let (Some(sums), Some(carry)) =
                (sums.split_off_mut(..left.sums), carries.split_off_mut(..left.carry))
            else {
                return;
            };
            let (du, db) = sums.split_at_mut(left.sums.saturating_sub(filters));
            db.fill(T::ZERO);
            let mut beta = T::ZERO;
            for rows in tiles.strips(tiles.slab(slab)..tiles.slab(slab + 1)) {
                let count = rows.len() * tiles.across;
                cpu.isa.run(Gradients { c, tiles, of, rows: rows.clone(), e: &mut *e, sums: &mut *db });
                if let Some(x) = x {
                    cpu.isa.run(Pixels { c, tiles, x, rows: rows.clone(), lines: &mut *lines, v: &mut *v });
                    let shape = [channels, filters, count];
                    products(cpu.isa, shape, true, [v, e], beta, du, scratch);
                }
                if let Some(to) = &mut to {
                    // The transformed pixels have had their use.
                    let m = &mut *v;
                    let shape = [count, channels, filters];
                    products(cpu.isa, shape, false, [e, u], T::ZERO, m, scratch);
                    let carried = rows.start > tiles.slab(slab);
                    cpu.isa.run(PixelGradients { c, tiles, rows, carried, m, to, carry: &mut *carry });
                }
                beta = T::ONE;
            }
        }
    });
    if let Some(dx) = dx {
        for (slab, carry) in (1..slabs).zip(carries.chunks_exact(left.carry)) {
            let row = tiles.slab(slab);
            if !row.is_multiple_of(tiles.down) {
                cpu.isa.run(Carried {
                    c,
                    tiles,
                    row,
                    carry,
                    to: &mut PixelTarget { relu, first: 0, dx: &mut *dx },
                });
            }
        }
    }
    if let Some(ByWeights { dw, db, .. }) = weights {
        filter_gradient(c, cpu, tasks, sums, dw, db);
    }
}

/// The filters' gradient of the sums of all slabs.
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
        // No image.
        dw.fill(T::ZERO);
        db.into_iter().for_each(|db| db.fill(T::ZERO));
        return;
    };
    let others = &*others;
    let chunk = len.div_ceil(tasks).next_multiple_of(MOST_LANES);
    cpu.for_each_item(total.chunks_mut(chunk).enumerate(), |(task, total)| {
        let own = task * chunk..task * chunk + total.len();
        for slab in others.chunks_exact(len) {
            cpu.isa.run(AddTo { total: &mut *total, slab: &slab[own.clone()] });
        }
    });
    let (du, sums) = total.split_at(filters_len(c));
    cpu.isa.run(FilterGradient { c, du, dw });
    if let Some(db) = db {
        db.copy_from_slice(&sums[..c.out_channels]);
    }
}

/// Adds a slab's sums to those of the slabs before it: both are whole registers.
struct AddTo<'a, T> {
    total: &'a mut [T],
    slab: &'a [T],
}

impl<T: Float> WithSimd for AddTo<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        for (total, slab) in T::split_mut::<S>(self.total).0.iter_mut().zip(T::split::<S>(self.slab).0) {
            *total = T::add(s, *total, *slab);
        }
    }
}
