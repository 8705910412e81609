//! Convolution by matrix products of its windows, copied into the caller's scratch a block at a time.
//!
//! ```text
//! y    each task its windows;   for each block of windows:  copy; y = windows * w
//! dx   each task its strips of images, a few rows or a few images each:
//!                               windows that cover the strip = dy * w^T;  each pixel adds up its taps
//! dw   each task its taps;      for each summation block of windows, or some:  copy; dw += windows^T * dy
//! ```
//!
//! Blocks and tasks change no bit: an element of `y` or of the windows' gradient is one product's, whatever the rows beside
//! it, and that of `dw` adds whole summation blocks in order, as the one product over all windows would. Called by
//! `convolution`.

use core::ops::Range;

use super::{BLOCK, Convolution, Epilogue, Gather, Part};
use crate::gemm::terms::Terms;
use crate::gemm::{self, gemm_terms, gemm_terms_scratch};
use crate::matrix::{MatMut, MatRef};
use crate::simd::{Float, Lanes};
use crate::{Cpu, Error};

/// Windows of a block of `y`.
const fn forward_block(c: &Convolution) -> usize {
    let depth = c.depth();
    least(most(BLOCK / most(depth, 1), 64), c.sweep.positions())
}

pub(super) const fn forward_task_len<K: Terms>(c: &Convolution) -> usize {
    let (block, depth) = (forward_block(c), c.depth());
    block * depth + gemm_terms_scratch::<K>(1, block, c.group_filters(), depth)
}

/// `y` has elements.
pub(super) fn forward<K: Terms>(
    c: &Convolution,
    cpu: Cpu<'_>,
    x: &[K::Sum],
    w: &[K::Sum],
    mut epilogue: Epilogue<'_, K::Sum>,
    mut y: &mut [K::Sum],
    scratch: &mut [K::Sum],
) {
    let (positions, task_len) = (c.sweep.positions(), forward_task_len::<K>(c));
    let tasks = c.tasks(cpu.threads(), positions).min(scratch.len() / task_len.max(1)).max(1);
    let mut slots = scratch.chunks_mut(task_len.max(1));
    let items = (0..tasks).map_while(|task| {
        let windows = positions * task / tasks..positions * (task + 1) / tasks;
        let len = windows.len() * c.out_channels;
        let y = y.split_off_mut(..len)?;
        Some((windows, epilogue.split_off(len), y, slots.next().unwrap_or_default()))
    });
    cpu.for_each_item(items, |(windows, mut epilogue, mut y, scratch)| {
        let cpu = Cpu::serial(cpu.isa);
        let (block, depth) = (forward_block(c), c.depth());
        let (columns, scratch) = scratch.split_at_mut(block * depth);
        for start in windows.clone().step_by(block) {
            let windows = start..windows.end.min(start + block);
            let len = windows.len() * c.out_channels;
            let (mut epilogue, Some(y)) = (epilogue.split_off(len), y.split_off_mut(..len)) else { return };
            for group in 0..c.groups {
                c.fill(x, &Part { group, taps: 0..c.sweep.taps() }, windows.clone(), columns);
                certain((|| {
                    let columns = MatRef::row_major(columns, windows.len(), depth)?;
                    let (w, y) = (filters(c, w, group)?, result(c, y, windows.len(), group)?);
                    let epilogue = of_group(c, &mut epilogue, windows.len(), group)?;
                    gemm_terms::<K>(cpu, [columns, w], Float::ZERO, y, epilogue, scratch)
                })());
            }
        }
    });
}

pub(super) fn forward_pointwise<K: Terms>(
    c: &Convolution,
    cpu: Cpu<'_>,
    x: &[K::Sum],
    w: &[K::Sum],
    mut epilogue: Epilogue<'_, K::Sum>,
    y: &mut [K::Sum],
    scratch: &mut [K::Sum],
) {
    let positions = c.sweep.positions();
    for group in 0..c.groups {
        certain((|| {
            let (x, w) = (pixels(c, x, group)?, filters(c, w, group)?);
            let y = result(c, y, positions, group)?;
            let epilogue = of_group(c, &mut epilogue, positions, group)?;
            gemm_terms::<K>(cpu, [x, w], Float::ZERO, y, epilogue, scratch)
        })());
    }
}

/// Scratch of a product whose windows are pixels, and of its gradient.
pub(super) const fn pointwise_len<K: Terms>(c: &Convolution, threads: usize) -> usize {
    let (positions, channels, filters) = (c.sweep.positions(), c.group_channels(), c.group_filters());
    let forward = gemm_terms_scratch::<K>(threads, positions, filters, channels);
    most(forward, gemm_terms_scratch::<K>(threads, channels, filters, positions))
}

pub(super) fn dw_pointwise<K: Terms>(
    c: &Convolution,
    cpu: Cpu<'_>,
    x: &[K::Sum],
    dy: &[K::Sum],
    dw: &mut [K::Sum],
    mut db: Option<&mut [K::Sum]>,
    scratch: &mut [K::Sum],
) {
    for group in 0..c.groups {
        certain((|| {
            let x = pixels(c, x, group)?.transpose();
            let dy = gradient(c, dy, c.sweep.positions(), group)?;
            let dw = result(c, dw, c.depth(), group)?;
            gemm_terms::<K>(cpu, [x, dy], Float::ZERO, dw, sums(c, &mut db, group), scratch)
        })());
    }
}

/// Elements of scratch of [`sums`] alone.
pub(super) const fn sums_len<K: Terms>(c: &Convolution, threads: usize) -> usize {
    gemm_terms_scratch::<K>(threads, 1, c.out_channels, c.sweep.positions())
}

/// `db` alone, as a product.
pub(super) fn db<K: Terms>(
    c: &Convolution,
    cpu: Cpu<'_>,
    dy: &[K::Sum],
    db: &mut [K::Sum],
    scratch: &mut [K::Sum],
) {
    let positions = c.sweep.positions();
    certain((|| {
        let one = [Float::ONE];
        let ones = MatRef::strided(&one, 1, positions, 0, 0)?;
        let dy = MatRef::row_major(dy, positions, c.out_channels)?;
        let db = MatMut::row_major(db, 1, c.out_channels)?;
        gemm_terms::<K>(cpu, [ones, dy], Float::ZERO, db, gemm::Epilogue::NONE, scratch)
    })());
}

/// Taps whose windows are copied at a time for `dw`, and windows: whole summation blocks, so that products add up as one.
const fn dw_block<K: Terms>(c: &Convolution) -> (usize, usize) {
    let channels = most(c.group_channels(), 1);
    let summed = K::ELEMENTS * <K::Sum as Lanes>::KB;
    let taps = least(most(BLOCK / summed / channels, 1), c.sweep.taps());
    let blocks = most(BLOCK / summed / (taps * channels), 1);
    (taps, least(blocks * summed, c.sweep.positions()))
}

pub(super) const fn dw_task_len<K: Terms>(c: &Convolution) -> usize {
    let (taps, windows) = dw_block::<K>(c);
    let rows = taps * c.group_channels();
    windows * rows + gemm_terms_scratch::<K>(1, rows, c.group_filters(), windows)
}

pub(super) fn dw<K: Terms>(
    c: &Convolution,
    cpu: Cpu<'_>,
    x: &[K::Sum],
    dy: &[K::Sum],
    mut dw: &mut [K::Sum],
    mut db: Option<&mut [K::Sum]>,
    scratch: &mut [K::Sum],
) {
    let (taps, task_len) = (c.sweep.taps(), dw_task_len::<K>(c));
    let tasks = c.tasks(cpu.threads(), taps).min(scratch.len() / task_len.max(1)).max(1);
    let mut slots = scratch.chunks_mut(task_len.max(1));
    let items = (0..tasks).map_while(|task| {
        let own = taps * task / tasks..taps * (task + 1) / tasks;
        let dw = dw.split_off_mut(..own.len() * c.group_channels() * c.out_channels)?;
        // The first task has the sums of `dy`'s columns besides.
        Some((own, dw, db.take(), slots.next().unwrap_or_default()))
    });
    cpu.for_each_item(items, |(own, dw, mut db, scratch)| {
        let cpu = Cpu::serial(cpu.isa);
        let (taps, block) = dw_block::<K>(c);
        let (columns, scratch) = scratch.split_at_mut(block * taps * c.group_channels());
        let positions = c.sweep.positions();
        // One pass without windows too: the sums are 0 then.
        for start in (0..positions.max(1)).step_by(block.max(1)) {
            let windows = start..positions.min(start + block);
            let beta: K::Sum = if start == 0 { Float::ZERO } else { Float::ONE };
            for group in 0..c.groups {
                for first in own.clone().step_by(taps) {
                    let taps = first..own.end.min(first + taps);
                    let rows = taps.len() * c.group_channels();
                    let dw = &mut dw[(first - own.start) * c.group_channels() * c.out_channels..];
                    c.fill(x, &Part { group, taps }, windows.clone(), columns);
                    certain((|| {
                        let columns = MatRef::row_major(columns, windows.len(), rows)?.transpose();
                        let dy = gradient(c, &dy[start * c.out_channels..], windows.len(), group)?;
                        let sums =
                            if first == own.start { sums(c, &mut db, group) } else { gemm::Epilogue::NONE };
                        gemm_terms::<K>(cpu, [columns, dy], beta, result(c, dw, rows, group)?, sums, scratch)
                    })());
                }
            }
        }
    });
}

/// Elements of the windows of a strip that is a part of an image or a whole one: 2 MiB of f32. Where strips meet, the windows that
/// reach into both are computed twice, which costs more than a cache further away does.
const STRIP: usize = 8 * BLOCK;

/// How the images are cut into strips whose windows' gradients are in scratch at a time.
#[derive(Clone, Copy)]
struct Strips {
    /// Images of a strip; 1 where a strip is a part of an image.
    images: usize,
    /// Rows of each of the images.
    rows: usize,
    /// Windows of each of the images that reach those rows, at most.
    windows: usize,
}

impl Strips {
    const fn new(c: &Convolution) -> Self {
        let down = c.sweep.down;
        let row = most(c.sweep.across.out * c.depth(), 1);
        let of_image = most(down.out * row, 1);
        if of_image <= STRIP || down.out == 0 {
            let images = least(most(BLOCK / of_image, 1), c.sweep.batch);
            return Self { images, rows: down.len, windows: down.out };
        }
        // `rows` pixels are reached by at most (rows + reach) / stride windows, rounded up.
        let reach = (down.kernel - 1) * down.dilation;
        let budget = STRIP / row * down.stride;
        let rows = least(most(budget.saturating_sub(reach), most(reach, down.stride)), down.len);
        Self { images: 1, rows, windows: least((rows + reach).div_ceil(down.stride), down.out) }
    }

    /// How many strips there are to an image, or to as many images as a strip has.
    fn of_image(self, c: &Convolution) -> usize {
        c.sweep.down.len.div_ceil(self.rows.max(1))
    }

    fn count(self, c: &Convolution) -> usize {
        c.sweep.batch.div_ceil(self.images) * self.of_image(c)
    }

    /// Images and rows of a strip.
    fn get(self, c: &Convolution, strip: usize) -> (Range<usize>, Range<usize>) {
        let (first, row) = (strip / self.of_image(c) * self.images, strip % self.of_image(c) * self.rows);
        (first..c.sweep.batch.min(first + self.images), row..c.sweep.down.len.min(row + self.rows))
    }

    const fn task_len<K: Terms>(self, c: &Convolution) -> usize {
        let windows = self.images * self.windows * c.sweep.across.out;
        windows * c.depth() + gemm_terms_scratch::<K>(1, windows, c.depth(), c.group_filters())
    }
}

/// The turned filters, and a slot for each task.
pub(super) const fn dx_len<K: Terms>(c: &Convolution, threads: usize) -> usize {
    threads.saturating_mul(Strips::new(c).task_len::<K>(c)).saturating_add(c.w_len())
}

/// `dx` has elements.
pub(super) fn dx<K: Terms>(
    c: &Convolution,
    cpu: Cpu<'_>,
    dy: &[K::Sum],
    w: &[K::Sum],
    mut dx: &mut [K::Sum],
    scratch: &mut [K::Sum],
) {
    let (depth, filters, down) = (c.depth(), c.group_filters(), c.sweep.down);
    // All products read the same filters: turned once, they are read where they stand.
    let (turned, scratch) = scratch.split_at_mut(c.w_len());
    for (o, turned) in turned.chunks_exact_mut(depth).enumerate() {
        for (turned, w) in turned.iter_mut().zip(w.chunks_exact(c.out_channels)) {
            *turned = w[o];
        }
    }
    let turned = &*turned;

    let strips = Strips::new(c);
    let task_len = strips.task_len::<K>(c).max(1);
    let line = c.sweep.across.len * c.sweep.channels;
    let count = strips.count(c);
    let tasks = c.tasks(cpu.threads(), count).min(scratch.len() / task_len).max(1);
    let mut slots = scratch.chunks_mut(task_len);
    let items = (0..tasks).map_while(|task| {
        let own = count * task / tasks..count * (task + 1) / tasks;
        let lines = |(images, rows): (Range<usize>, Range<usize>)| images.len() * rows.len();
        let lines: usize = own.clone().map(|strip| lines(strips.get(c, strip))).sum();
        Some((own, dx.split_off_mut(..lines * line)?, slots.next().unwrap_or_default()))
    });
    cpu.for_each_item(items, |(own, mut dx, scratch)| {
        let serial = Cpu::serial(cpu.isa);
        for (images, pixels) in own.map(|strip| strips.get(c, strip)) {
            let Some(dx) = dx.split_off_mut(..images.len() * pixels.len() * line) else { return };
            dx.fill(Float::ZERO);
            // Of several images a strip has all windows, also those on nothing but padding, so that they are neighbours.
            let windows = if images.len() == 1 { down.windows(&pixels) } else { 0..down.out };
            let start = (images.start * down.out + windows.start) * c.sweep.across.out;
            let rows = images.len() * windows.len() * c.sweep.across.out;
            let (columns, scratch) = scratch.split_at_mut(rows * depth);
            for group in 0..c.groups {
                certain((|| {
                    let dy = gradient(c, &dy[start * c.out_channels..], rows, group)?;
                    let w = MatRef::row_major(&turned[group * filters * depth..], filters, depth)?;
                    let columns = MatMut::row_major(columns, rows, depth)?;
                    gemm_terms::<K>(serial, [dy, w], Float::ZERO, columns, gemm::Epilogue::NONE, scratch)
                })());
                let (columns, windows, pixels) = (&*columns, windows.clone(), pixels.clone());
                cpu.isa.run(Gather { convolution: c, group, columns, windows, dx: &mut *dx, pixels });
            }
        }
    });
}

/// The channels of a group, a row for each pixel.
fn pixels<'a, T>(c: &Convolution, x: &'a [T], group: usize) -> Result<MatRef<'a, T>, Error> {
    let own = c.group_channels();
    MatRef::strided(behind(x, group * own), c.sweep.positions(), own, c.sweep.channels, 1)
}

/// The filters of a group, a column each.
fn filters<'a, T>(c: &Convolution, w: &'a [T], group: usize) -> Result<MatRef<'a, T>, Error> {
    gradient(c, w, c.depth(), group)
}

/// The columns of a group, of `rows` rows with a column for each filter.
fn gradient<'a, T>(c: &Convolution, dy: &'a [T], rows: usize, group: usize) -> Result<MatRef<'a, T>, Error> {
    let own = c.group_filters();
    MatRef::strided(behind(dy, group * own), rows, own, c.out_channels, 1)
}

/// The same, to be written.
fn result<'a, T>(c: &Convolution, y: &'a mut [T], rows: usize, group: usize) -> Result<MatMut<'a, T>, Error> {
    let own = c.group_filters();
    MatMut::strided(y.get_mut(group * own..).unwrap_or_default(), rows, own, c.out_channels, 1)
}

/// What lies behind; nothing, if the matrix has no elements.
fn behind<T>(x: &[T], start: usize) -> &[T] {
    x.get(start..).unwrap_or_default()
}

/// The epilogue of a group, for so many windows.
fn of_group<'a, T>(
    c: &Convolution,
    epilogue: &'a mut Epilogue<'_, T>,
    windows: usize,
    group: usize,
) -> Result<gemm::Epilogue<'a, T>, Error> {
    let own = c.group_filters();
    let mut of_group = match epilogue.bias {
        Some(bias) => gemm::Epilogue::bias(&bias[group * own..][..own]),
        None => gemm::Epilogue::NONE,
    };
    if let Some(z) = &mut epilogue.keep {
        of_group = of_group.keep(result(c, z, windows, group)?);
    }
    Ok(if epilogue.relu { of_group.relu() } else { of_group })
}

/// The sums of a group's columns, if they are wanted.
fn sums<'a, T>(c: &Convolution, db: &'a mut Option<&mut [T]>, group: usize) -> gemm::Epilogue<'a, T> {
    let own = c.group_filters();
    match db {
        Some(db) => gemm::Epilogue::NONE.column_sums(&mut db[group * own..][..own]),
        None => gemm::Epilogue::NONE,
    }
}

/// The shapes of these products have been checked by the constructor and by the caller.
pub(super) fn certain(done: Result<(), Error>) {
    debug_assert!(done.is_ok(), "{done:?}");
}

const fn least(a: usize, b: usize) -> usize {
    if a < b { a } else { b }
}

const fn most(a: usize, b: usize) -> usize {
    if a > b { a } else { b }
}
