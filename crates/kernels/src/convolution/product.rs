//! Convolution by matrix products over im2col blocks in the caller's scratch.
//!
//! ```text
//! y    each task its windows:   for each block of windows:  im2col; y = windows * w
//! dx   each task its strips of images, a few rows or a few images each:
//!                               windows that cover the strip = dy * w^T;  col2im
//! dw   each task its taps:      for each group of summation blocks:  im2col; dw += windows^T * dy
//! ```
//!
//! Blocks and tasks change no bit. An element of `y` or of the windows' gradient belongs to one
//! product and does not depend on the other rows. An element of `dw` adds whole summation blocks in
//! order, as the one product over all windows would. Called by `convolution`.

use core::ops::Range;

use super::{BLOCK, Col2im, Columns, Convolution, Epilogue};
use crate::gemm::arithmetic::Arithmetic;
use crate::gemm::{self, GemmShape, gemm_with, gemm_with_scratch};
use crate::matrix::{MatMut, MatRef};
use crate::simd::{Float, Lanes};
use crate::{Cpu, Error};

/// Number of windows per block of `y`.
const fn forward_block(c: &Convolution) -> usize {
    let depth = c.depth();
    min(max(BLOCK / max(depth, 1), 64), c.geometry.positions())
}

pub(super) const fn forward_task_len<K: Arithmetic>(c: &Convolution) -> usize {
    let (block, depth) = (forward_block(c), c.depth());
    block * depth
        + gemm_with_scratch::<K>(1, GemmShape { m: block, n: c.group_filters(), k: depth })
}

/// `y` is not empty.
pub(super) fn forward<K: Arithmetic>(
    c: &Convolution,
    cpu: Cpu<'_>,
    x: &[K::Acc],
    w: &[K::Acc],
    mut epilogue: Epilogue<'_, K::Acc>,
    mut y: &mut [K::Acc],
    scratch: &mut [K::Acc],
) {
    let (positions, task_len) = (c.geometry.positions(), forward_task_len::<K>(c));
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
            let (mut epilogue, Some(y)) = (epilogue.split_off(len), y.split_off_mut(..len)) else {
                return;
            };
            for group in 0..c.groups {
                let part = Columns { group, taps: 0..c.geometry.taps() };
                c.fill_columns(x, &part, windows.clone(), columns);
                debug_assert_ok((|| {
                    let columns = MatRef::row_major(columns, windows.len(), depth)?;
                    let (w, y) =
                        (filters(c, w, group)?, group_columns_mut(c, y, windows.len(), group)?);
                    let epilogue = group_epilogue(c, &mut epilogue, windows.len(), group)?;
                    gemm_with::<K>(cpu, [columns, w], Float::ZERO, y, epilogue, scratch)
                })());
            }
        }
    });
}

pub(super) fn forward_pointwise<K: Arithmetic>(
    c: &Convolution,
    cpu: Cpu<'_>,
    x: &[K::Acc],
    w: &[K::Acc],
    mut epilogue: Epilogue<'_, K::Acc>,
    y: &mut [K::Acc],
    scratch: &mut [K::Acc],
) {
    let positions = c.geometry.positions();
    for group in 0..c.groups {
        debug_assert_ok((|| {
            let (x, w) = (pixels(c, x, group)?, filters(c, w, group)?);
            let y = group_columns_mut(c, y, positions, group)?;
            let epilogue = group_epilogue(c, &mut epilogue, positions, group)?;
            gemm_with::<K>(cpu, [x, w], Float::ZERO, y, epilogue, scratch)
        })());
    }
}

/// Scratch of the pointwise algorithm, forward and backward.
pub(super) const fn pointwise_len<K: Arithmetic>(c: &Convolution, threads: usize) -> usize {
    let (positions, channels, filters) =
        (c.geometry.positions(), c.group_channels(), c.group_filters());
    let forward =
        gemm_with_scratch::<K>(threads, GemmShape { m: positions, n: filters, k: channels });
    max(
        forward,
        gemm_with_scratch::<K>(threads, GemmShape { m: channels, n: filters, k: positions }),
    )
}

pub(super) fn dw_pointwise<K: Arithmetic>(
    c: &Convolution,
    cpu: Cpu<'_>,
    x: &[K::Acc],
    dy: &[K::Acc],
    dw: &mut [K::Acc],
    mut db: Option<&mut [K::Acc]>,
    scratch: &mut [K::Acc],
) {
    for group in 0..c.groups {
        debug_assert_ok((|| {
            let x = pixels(c, x, group)?.transpose();
            let dy = group_columns(c, dy, c.geometry.positions(), group)?;
            let dw = group_columns_mut(c, dw, c.depth(), group)?;
            gemm_with::<K>(cpu, [x, dy], Float::ZERO, dw, sums(c, &mut db, group), scratch)
        })());
    }
}

/// Scratch elements of [`db`].
pub(super) const fn db_len<K: Arithmetic>(c: &Convolution, threads: usize) -> usize {
    gemm_with_scratch::<K>(
        threads,
        GemmShape { m: 1, n: c.out_channels, k: c.geometry.positions() },
    )
}

/// `db` alone, as a product.
pub(super) fn db<K: Arithmetic>(
    c: &Convolution,
    cpu: Cpu<'_>,
    dy: &[K::Acc],
    db: &mut [K::Acc],
    scratch: &mut [K::Acc],
) {
    let positions = c.geometry.positions();
    debug_assert_ok((|| {
        let one = [Float::ONE];
        let ones = MatRef::strided(&one, 1, positions, 0, 0)?;
        let dy = MatRef::row_major(dy, positions, c.out_channels)?;
        let db = MatMut::row_major(db, 1, c.out_channels)?;
        gemm_with::<K>(cpu, [ones, dy], Float::ZERO, db, gemm::Epilogue::NONE, scratch)
    })());
}

/// Taps and windows per block of `dw`. Blocks are whole summation blocks, so that their products
/// add up to the bits of one product.
const fn dw_block<K: Arithmetic>(c: &Convolution) -> (usize, usize) {
    let channels = max(c.group_channels(), 1);
    let summed = K::K_PER_ELEMENT * <K::Acc as Lanes>::KB;
    let taps = min(max(BLOCK / summed / channels, 1), c.geometry.taps());
    let blocks = max(BLOCK / summed / (taps * channels), 1);
    (taps, min(blocks * summed, c.geometry.positions()))
}

pub(super) const fn dw_task_len<K: Arithmetic>(c: &Convolution) -> usize {
    let (taps, windows) = dw_block::<K>(c);
    let rows = taps * c.group_channels();
    windows * rows
        + gemm_with_scratch::<K>(1, GemmShape { m: rows, n: c.group_filters(), k: windows })
}

pub(super) fn dw<K: Arithmetic>(
    c: &Convolution,
    cpu: Cpu<'_>,
    x: &[K::Acc],
    dy: &[K::Acc],
    mut dw: &mut [K::Acc],
    mut db: Option<&mut [K::Acc]>,
    scratch: &mut [K::Acc],
) {
    let (taps, task_len) = (c.geometry.taps(), dw_task_len::<K>(c));
    let tasks = c.tasks(cpu.threads(), taps).min(scratch.len() / task_len.max(1)).max(1);
    let mut slots = scratch.chunks_mut(task_len.max(1));
    let items = (0..tasks).map_while(|task| {
        let own = taps * task / tasks..taps * (task + 1) / tasks;
        let dw = dw.split_off_mut(..own.len() * c.group_channels() * c.out_channels)?;
        // The first task also sums `dy`'s columns.
        Some((own, dw, db.take(), slots.next().unwrap_or_default()))
    });
    cpu.for_each_item(items, |(own, dw, mut db, scratch)| {
        let cpu = Cpu::serial(cpu.isa);
        let (taps, block) = dw_block::<K>(c);
        let (columns, scratch) = scratch.split_at_mut(block * taps * c.group_channels());
        let positions = c.geometry.positions();
        // Without windows, one pass still zeroes the gradients.
        for start in (0..positions.max(1)).step_by(block.max(1)) {
            let windows = start..positions.min(start + block);
            let beta: K::Acc = if start == 0 { Float::ZERO } else { Float::ONE };
            for group in 0..c.groups {
                for first in own.clone().step_by(taps) {
                    let taps = first..own.end.min(first + taps);
                    let rows = taps.len() * c.group_channels();
                    let dw = &mut dw[(first - own.start) * c.group_channels() * c.out_channels..];
                    c.fill_columns(x, &Columns { group, taps }, windows.clone(), columns);
                    debug_assert_ok((|| {
                        let columns = MatRef::row_major(columns, windows.len(), rows)?.transpose();
                        let dy =
                            group_columns(c, &dy[start * c.out_channels..], windows.len(), group)?;
                        let sums = if first == own.start {
                            sums(c, &mut db, group)
                        } else {
                            gemm::Epilogue::NONE
                        };
                        gemm_with::<K>(
                            cpu,
                            [columns, dy],
                            beta,
                            group_columns_mut(c, dw, rows, group)?,
                            sums,
                            scratch,
                        )
                    })());
                }
            }
        }
    });
}

/// Most elements of a strip's windows: 2 MiB of f32. Where strips meet, the windows that reach into
/// both are computed twice, which costs more than a strip that leaves L2.
const STRIP: usize = 8 * BLOCK;

/// Partition of the images into strips. The gradients of a strip's windows are in scratch at once.
#[derive(Clone, Copy)]
struct Strips {
    /// Images per strip; 1 where a strip is a part of an image.
    images: usize,
    /// Rows per image.
    rows: usize,
    /// Most rows of windows per image that reach those rows.
    windows: usize,
}

impl Strips {
    const fn new(c: &Convolution) -> Self {
        let down = c.geometry.down;
        let row = max(c.geometry.across.out * c.depth(), 1);
        let of_image = max(down.out * row, 1);
        if of_image <= STRIP || down.out == 0 {
            let images = min(max(BLOCK / of_image, 1), c.geometry.batch);
            return Self { images, rows: down.len, windows: down.out };
        }
        // `rows` pixels are reached by at most (rows + reach) / stride windows, rounded up.
        let reach = (down.kernel - 1) * down.dilation;
        let budget = STRIP / row * down.stride;
        let rows = min(max(budget.saturating_sub(reach), max(reach, down.stride)), down.len);
        Self { images: 1, rows, windows: min((rows + reach).div_ceil(down.stride), down.out) }
    }

    /// Strips per image, or per group of `images` images.
    fn of_image(self, c: &Convolution) -> usize {
        c.geometry.down.len.div_ceil(self.rows.max(1))
    }

    fn count(self, c: &Convolution) -> usize {
        c.geometry.batch.div_ceil(self.images) * self.of_image(c)
    }

    /// Images and rows of a strip.
    fn get(self, c: &Convolution, strip: usize) -> (Range<usize>, Range<usize>) {
        let (first, row) =
            (strip / self.of_image(c) * self.images, strip % self.of_image(c) * self.rows);
        (
            first..c.geometry.batch.min(first + self.images),
            row..c.geometry.down.len.min(row + self.rows),
        )
    }

    const fn task_len<K: Arithmetic>(self, c: &Convolution) -> usize {
        let windows = self.images * self.windows * c.geometry.across.out;
        windows * c.depth()
            + gemm_with_scratch::<K>(
                1,
                GemmShape { m: windows, n: c.depth(), k: c.group_filters() },
            )
    }
}

/// The transposed filters, and a slot for each task.
pub(super) const fn dx_len<K: Arithmetic>(c: &Convolution, threads: usize) -> usize {
    threads.saturating_mul(Strips::new(c).task_len::<K>(c)).saturating_add(c.w_len())
}

/// `dx` is not empty.
pub(super) fn dx<K: Arithmetic>(
    c: &Convolution,
    cpu: Cpu<'_>,
    dy: &[K::Acc],
    w: &[K::Acc],
    mut dx: &mut [K::Acc],
    scratch: &mut [K::Acc],
) {
    let (depth, filters, down) = (c.depth(), c.group_filters(), c.geometry.down);
    // All products read the same filters: transposed once, they are read unpacked.
    let (transposed, scratch) = scratch.split_at_mut(c.w_len());
    for (o, transposed) in transposed.chunks_exact_mut(depth).enumerate() {
        for (transposed, w) in transposed.iter_mut().zip(w.chunks_exact(c.out_channels)) {
            *transposed = w[o];
        }
    }
    let transposed = &*transposed;

    let strips = Strips::new(c);
    let task_len = strips.task_len::<K>(c).max(1);
    let line = c.geometry.across.len * c.geometry.channels;
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
            // A strip of several images has all windows, even those in the padding, so that they
            // are contiguous.
            let windows = if images.len() == 1 { down.windows(&pixels) } else { 0..down.out };
            let start = (images.start * down.out + windows.start) * c.geometry.across.out;
            let rows = images.len() * windows.len() * c.geometry.across.out;
            let (columns, scratch) = scratch.split_at_mut(rows * depth);
            for group in 0..c.groups {
                debug_assert_ok((|| {
                    let dy = group_columns(c, &dy[start * c.out_channels..], rows, group)?;
                    let w =
                        MatRef::row_major(&transposed[group * filters * depth..], filters, depth)?;
                    let columns = MatMut::row_major(columns, rows, depth)?;
                    gemm_with::<K>(
                        serial,
                        [dy, w],
                        Float::ZERO,
                        columns,
                        gemm::Epilogue::NONE,
                        scratch,
                    )
                })());
                let (columns, windows, pixels) = (&*columns, windows.clone(), pixels.clone());
                cpu.isa.run(Col2im {
                    convolution: c,
                    group,
                    columns,
                    windows,
                    dx: &mut *dx,
                    pixels,
                });
            }
        }
    });
}

/// The channels of a group, `[pixels, group channels]`.
fn pixels<'a, T>(c: &Convolution, x: &'a [T], group: usize) -> Result<MatRef<'a, T>, Error> {
    let own = c.group_channels();
    MatRef::strided(tail(x, group * own), c.geometry.positions(), own, c.geometry.channels, 1)
}

/// The filters of a group, `[depth, group filters]`.
fn filters<'a, T>(c: &Convolution, w: &'a [T], group: usize) -> Result<MatRef<'a, T>, Error> {
    group_columns(c, w, c.depth(), group)
}

/// The columns of a group, `[rows, group filters]`.
fn group_columns<'a, T>(
    c: &Convolution,
    dy: &'a [T],
    rows: usize,
    group: usize,
) -> Result<MatRef<'a, T>, Error> {
    let own = c.group_filters();
    MatRef::strided(tail(dy, group * own), rows, own, c.out_channels, 1)
}

/// The columns of a group, `[rows, group filters]`, for writing.
fn group_columns_mut<'a, T>(
    c: &Convolution,
    y: &'a mut [T],
    rows: usize,
    group: usize,
) -> Result<MatMut<'a, T>, Error> {
    let own = c.group_filters();
    MatMut::strided(y.get_mut(group * own..).unwrap_or_default(), rows, own, c.out_channels, 1)
}

/// `x[start..]`, or nothing if the matrix is empty.
fn tail<T>(x: &[T], start: usize) -> &[T] {
    x.get(start..).unwrap_or_default()
}

/// The epilogue of a group, for `windows` windows.
fn group_epilogue<'a, T>(
    c: &Convolution,
    epilogue: &'a mut Epilogue<'_, T>,
    windows: usize,
    group: usize,
) -> Result<gemm::Epilogue<'a, T>, Error> {
    let own = c.group_filters();
    let mut group_epilogue = match epilogue.bias {
        Some(bias) => gemm::Epilogue::bias(&bias[group * own..][..own]),
        None => gemm::Epilogue::NONE,
    };
    if let Some(z) = &mut epilogue.save {
        group_epilogue = group_epilogue.save(group_columns_mut(c, z, windows, group)?);
    }
    Ok(if epilogue.relu { group_epilogue.relu() } else { group_epilogue })
}

/// The epilogue that sums a group's columns into `db`, if requested.
fn sums<'a, T>(
    c: &Convolution,
    db: &'a mut Option<&mut [T]>,
    group: usize,
) -> gemm::Epilogue<'a, T> {
    let own = c.group_filters();
    match db {
        Some(db) => gemm::Epilogue::NONE.column_sums(&mut db[group * own..][..own]),
        None => gemm::Epilogue::NONE,
    }
}

/// Asserts success in debug builds: the constructor and the caller have checked the shapes of these
/// products.
pub(super) fn debug_assert_ok(done: Result<(), Error>) {
    debug_assert!(done.is_ok(), "{done:?}");
}

const fn min(a: usize, b: usize) -> usize {
    if a < b { a } else { b }
}

const fn max(a: usize, b: usize) -> usize {
    if a > b { a } else { b }
}
