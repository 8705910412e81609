//! Convolution by 3 x 3 kernels in tiles of 4 x 4 windows, by the minimal filtering algorithm of Winograd: 36 multiplications for
//! what takes 144.
//!
//! ```text
//! filters   u[a, b][i, o] = (G w[.., i, o] G^T)[a, b]                              a, b: six places down, six across
//! pixels    v[a, b][t, i] = (B^T x[6 x 6 pixels of tile t, i] B)[a, b]             -- `transform` has the matrices
//! y         m[a, b] = v[a, b] u[a, b]: a product for each place                    -- `gemm`
//!           y[4 x 4 windows of tile t, o] = A^T m[.., ..][t, o] A, bias, activation
//! dx        y of dy, with the filters turned
//! dw        e[a, b][t, o] = (A dy[4 x 4 windows of tile t, o] A^T)[a, b]
//!           du[a, b] = v[a, b]^T e[a, b], summed over the tiles
//!           dw[.., i, o] = G^T du[.., ..][i, o] G
//! ```
//!
//! Each task takes rows of tiles, a strip of a few at a time. The tiles of `dw` are summed in slabs, whose number the shape decides,
//! a strip being a summation block: no bit depends on threads.
//!
//! A. Lavin and S. Gray, "Fast algorithms for convolutional neural networks", 2016. Called by `convolution`.

mod transform;

use core::ops::Range;

use super::product::certain;
use super::{Convolution, Epilogue, turned as turning};
use crate::Cpu;
use crate::gemm::terms::Single;
use crate::gemm::{self, gemm_whole, gemm_whole_scratch};
use crate::matrix::{MatMut, MatRef};
use crate::simd::{Float, MOST_LANES, Simd, WithSimd};
use transform::{FilterGradient, Filters, Gradients, Pixels, Results};

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

/// Whether this is the fastest way, of exact factors.
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
    let forward = gemm_whole_scratch::<Single<T>>(1, rows, filters, channels);
    let backward = gemm_whole_scratch::<Single<T>>(1, channels, filters, rows);
    transform::lines_len(c, tiles) + pixels + results + if forward > backward { forward } else { backward }
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
    cpu.isa.run(Filters { c, w, u: &mut *u });
    let u = &*u;
    let tasks = c.tasks(cpu.threads(), tiles.all).min(scratch.len() / task_len).max(1);
    let mut slots = scratch.chunks_mut(task_len);
    let items = (0..tasks).map_while(|task| {
        let rows = tiles.all * task / tasks..tiles.all * (task + 1) / tasks;
        let len = tiles.windows(c, rows.clone()).len() * c.out_channels;
        Some((rows, epilogue.split_off(len), y.split_off_mut(..len)?, slots.next()?))
    });
    cpu.for_each_item(items, |(rows, mut epilogue, mut y, scratch)| {
        let (pixels, results) = strip_lens(c);
        let (lines, rest) = scratch.split_at_mut(transform::lines_len(c, tiles));
        let (v, rest) = rest.split_at_mut(pixels);
        let (m, scratch) = rest.split_at_mut(results);
        for rows in tiles.strips(rows) {
            let len = tiles.windows(c, rows.clone()).len() * c.out_channels;
            let (epilogue, Some(y)) = (epilogue.split_off(len), y.split_off_mut(..len)) else { return };
            cpu.isa.run(Pixels { c, tiles, x, rows: rows.clone(), lines: &mut *lines, v: &mut *v });
            let (count, channels, filters) = (rows.len() * tiles.across, c.sweep.channels, c.out_channels);
            let m_planes = m.chunks_exact_mut(count * filters);
            let factors = v.chunks_exact(count * channels).zip(u.chunks_exact(channels * filters));
            for ((v, u), m) in factors.zip(m_planes).take(PLACES) {
                certain((|| {
                    let v = MatRef::strided(v, count, channels, channels, 1)?;
                    let u = MatRef::strided(u, channels, filters, filters, 1)?;
                    let m = MatMut::strided(m, count, filters, filters, 1)?;
                    let serial = Cpu::serial(cpu.isa);
                    gemm_whole::<Single<T>>(serial, [v, u], T::ZERO, m, gemm::Epilogue::NONE, scratch)
                })());
            }
            cpu.isa.run(Results { c, tiles, rows, m: &*m, epilogue, y });
        }
    });
}

/// The filters turned, and what the convolution with them takes.
pub(super) const fn dx_len<T: Float>(turned: &Convolution, threads: usize) -> usize {
    forward_len::<T>(turned, threads).saturating_add(turned.w_len())
}

/// The convolution of `dy` with the filters turned. `dx` has elements.
pub(super) fn dx<T: Float>(
    turned: &Convolution,
    cpu: Cpu<'_>,
    dy: &[T],
    w: &[T],
    epilogue: Epilogue<'_, T>,
    dx: &mut [T],
    scratch: &mut [T],
) {
    let (filters, scratch) = scratch.split_at_mut(turned.w_len());
    turning::filters(turned, w, filters);
    forward(turned, cpu, dy, filters, epilogue, dx, scratch);
}

/// The sums of a slab: those of the transformed filters' gradient, then of `db`.
const fn slab_len(c: &Convolution) -> usize {
    filters_len(c) + c.out_channels
}

pub(super) const fn dw_len<T: Float>(c: &Convolution, threads: usize) -> usize {
    let slabs = Tiles::new(c).slabs() * slab_len(c);
    threads.saturating_mul(task_len::<T>(c)).saturating_add(slabs)
}

pub(super) fn dw<T: Float>(
    c: &Convolution,
    cpu: Cpu<'_>,
    x: &[T],
    dy: &[T],
    dw: &mut [T],
    db: Option<&mut [T]>,
    scratch: &mut [T],
) {
    let (tiles, task_len) = (Tiles::new(c), task_len::<T>(c));
    let slabs = tiles.slabs();
    if slabs == 0 {
        dw.fill(T::ZERO);
        db.into_iter().for_each(|db| db.fill(T::ZERO));
        return;
    }
    let (sums, scratch) = scratch.split_at_mut(slabs * slab_len(c));
    let tasks = c.tasks(cpu.threads(), slabs).min(scratch.len() / task_len).max(1);
    let (mut slots, mut rest) = (scratch.chunks_mut(task_len), &mut *sums);
    let items = (0..tasks).map_while(|task| {
        let own = slabs * task / tasks..slabs * (task + 1) / tasks;
        let sums = rest.split_off_mut(..own.len() * slab_len(c))?;
        Some((own, sums, slots.next()?))
    });
    cpu.for_each_item(items, |(own, sums, scratch)| {
        let (pixels, gradients) = strip_lens(c);
        let (lines, rest) = scratch.split_at_mut(transform::lines_len(c, tiles));
        let (v, rest) = rest.split_at_mut(pixels);
        let (e, scratch) = rest.split_at_mut(gradients);
        let (channels, filters) = (c.sweep.channels, c.out_channels);
        for (slab, sums) in own.zip(sums.chunks_exact_mut(slab_len(c))) {
            let rows = tiles.all * slab / slabs..tiles.all * (slab + 1) / slabs;
            let (du, db) = sums.split_at_mut(filters_len(c));
            let db = &mut db[..filters];
            db.fill(T::ZERO);
            let mut beta = T::ZERO;
            for rows in tiles.strips(rows) {
                cpu.isa.run(Pixels { c, tiles, x, rows: rows.clone(), lines: &mut *lines, v: &mut *v });
                cpu.isa.run(Gradients { c, tiles, dy, rows: rows.clone(), e: &mut *e, sums: &mut *db });
                let count = rows.len() * tiles.across;
                let factors = v.chunks_exact(count * channels).zip(e.chunks_exact(count * filters));
                for ((v, e), du) in factors.zip(du.chunks_exact_mut(channels * filters)) {
                    certain((|| {
                        let v = MatRef::strided(v, count, channels, channels, 1)?.transpose();
                        let e = MatRef::strided(e, count, filters, filters, 1)?;
                        let du = MatMut::strided(du, channels, filters, filters, 1)?;
                        let serial = Cpu::serial(cpu.isa);
                        gemm_whole::<Single<T>>(serial, [v, e], beta, du, gemm::Epilogue::NONE, scratch)
                    })());
                }
                beta = T::ONE;
            }
        }
    });
    let (total, others) = sums.split_at_mut(slab_len(c));
    let others = &*others;
    let chunk = slab_len(c).div_ceil(tasks).next_multiple_of(MOST_LANES);
    cpu.for_each_item(total.chunks_mut(chunk).enumerate(), |(task, total)| {
        let own = task * chunk..task * chunk + total.len();
        for slab in others.chunks_exact(slab_len(c)) {
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
