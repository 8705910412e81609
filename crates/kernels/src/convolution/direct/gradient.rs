//! `dw` and `db` of direct convolution: neighbouring elements of a window by two registers of
//! filters.

use core::ops::Range;

use super::super::Convolution;
use super::super::packing::Packing;
use super::padded::PaddedLayout;
use super::{ROWS, of_windows, padded_len, width};
use crate::Cpu;
use crate::simd::{Float, Lanes, Simd, WithSimd, outlined};
use crate::window::Run;

/// Packed `dy`, for pairs; a padded image and accumulators for each task.
pub(in super::super) const fn dw_len<K: Packing>(c: &Convolution, threads: usize) -> usize {
    let sums = (c.depth().div_ceil(threads) + 1) * width(c);
    threads.saturating_mul(padded_len(c) + sums).saturating_add(packed_dy_len::<K>(c))
}

/// Packed elements of `dy`, for pairs.
const fn packed_dy_len<K: Packing>(c: &Convolution) -> usize {
    if K::K_PER_ELEMENT > 1 { of_windows::<K>(c).y_len() } else { 0 }
}

pub(in super::super) fn dw<K: Packing>(
    c: &Convolution,
    cpu: Cpu<'_>,
    x: &[K::Acc],
    dy: &[K::Acc],
    mut dw: &mut [K::Acc],
    mut db: Option<&mut [K::Acc]>,
    scratch: &mut [K::Acc],
) {
    if dy.is_empty() {
        dw.fill(Float::ZERO);
        db.into_iter().for_each(|db| db.fill(Float::ZERO));
        return;
    }
    let packed = &of_windows::<K>(c);
    let (made, scratch) = scratch.split_at_mut(packed_dy_len::<K>(c));
    let dy = if K::K_PER_ELEMENT > 1 {
        pack_dy::<K>(c, cpu, dy, made);
        made
    } else {
        dy
    };
    let depth = c.depth();
    let slot = |tasks: usize| padded_len(c) + (depth.div_ceil(tasks) + 1) * width(c);
    // The scratch bounds the tasks too: an executor may return another thread count on each call.
    let mut tasks = c.tasks(cpu.threads(), depth);
    while tasks > 1 && tasks * slot(tasks) > scratch.len() {
        tasks -= 1;
    }
    let mut slots = scratch.chunks_mut(slot(tasks).max(1));
    let items = (0..tasks).map_while(|task| {
        let rows = depth * task / tasks..depth * (task + 1) / tasks;
        let dw = dw.split_off_mut(..rows.len() * c.out_channels)?;
        // The first task also sums `dy`'s columns.
        Some((rows, dw, db.take(), slots.next().unwrap_or_default()))
    });
    cpu.for_each_item(items, |(rows, dw, db, scratch)| {
        let (padded, sums) = scratch.split_at_mut(padded_len(c));
        K::run(cpu.isa, Dw::<K> { c, packed, x, dy, rows, dw, db, padded, sums });
    });
}

/// Packs neighbouring windows of each row of `dy`.
fn pack_dy<K: Packing>(c: &Convolution, cpu: Cpu<'_>, dy: &[K::Acc], mut packed: &mut [K::Acc]) {
    let (rows, width) = (c.geometry.batch * c.geometry.down.out, c.out_channels);
    let (row, packed_row) =
        (c.geometry.across.out * width, of_windows::<K>(c).geometry.across.out * width);
    let tasks = c.tasks(cpu.threads(), rows);
    let items = (0..tasks).map_while(|task| {
        let (start, end) = (rows * task / tasks, rows * (task + 1) / tasks);
        Some((&dy[start * row..end * row], packed.split_off_mut(..(end - start) * packed_row)?))
    });
    cpu.for_each_item(items, |(dy, packed)| {
        K::run(cpu.isa, PackDy::<K> { dy, packed, row, packed_row, width });
    });
}

struct PackDy<'a, K: Packing> {
    dy: &'a [K::Acc],
    packed: &'a mut [K::Acc],
    /// Elements and packed elements of a row of windows, and elements of a window.
    row: usize,
    packed_row: usize,
    width: usize,
}

impl<K: Packing> WithSimd for PackDy<'_, K> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { dy, packed, row, packed_row, width } = self;
        for (dy, packed) in dy.chunks_exact(row).zip(packed.chunks_exact_mut(packed_row)) {
            for (windows, packed) in
                dy.chunks(K::K_PER_ELEMENT * width).zip(packed.chunks_exact_mut(width))
            {
                let (first, second) = windows.split_at(width);
                K::pack_rows(s, first, second, packed);
            }
        }
    }
}

struct Dw<'a, K: Packing> {
    c: &'a Convolution,
    /// The convolution over packed windows.
    packed: &'a Convolution,
    x: &'a [K::Acc],
    /// Packed.
    dy: &'a [K::Acc],
    /// Rows of `dw` that this task computes.
    rows: Range<usize>,
    dw: &'a mut [K::Acc],
    db: Option<&'a mut [K::Acc]>,
    padded: &'a mut [K::Acc],
    /// Accumulators of a summation block: of `dw`, then of `db`.
    sums: &'a mut [K::Acc],
}

impl<T: Float, K: Packing<Acc = T>> WithSimd for Dw<'_, K> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { c: of, packed: c, x, dy, rows, dw, mut db, padded, sums } = self;
        let layout = PaddedLayout::new(c);
        let (positions, of_image) =
            (c.geometry.positions(), c.geometry.down.out * c.geometry.across.out);
        let lanes = T::lanes::<S>();
        let registers = c.out_channels.div_ceil(lanes);
        let most = ROWS.min(S::TILE_ROWS);
        let sums = &mut sums[..(rows.len() + 1) * registers * lanes];
        let mut padded_image = None;
        for start in (0..positions).step_by(T::KB) {
            let end = positions.min(start + T::KB);
            sums.fill(T::ZERO);
            for image in start / of_image..end.div_ceil(of_image) {
                if padded_image != Some(image) {
                    layout.fill_windows::<S, K>(s, of, x, image, padded);
                    padded_image = Some(image);
                }
                let windows = start.max(image * of_image)..end.min((image + 1) * of_image);
                let mut with_db = db.is_some();
                // Rows of `dw` that are contiguous in the padded image.
                let mut row = rows.start;
                while row < rows.end {
                    let (run, from) = (row / layout.run, row % layout.run);
                    let len = (layout.run - from).min(rows.end - row);
                    let tiles = len.div_ceil(most);
                    for tile in 0..tiles {
                        let (first, last) = (len * tile / tiles, len * (tile + 1) / tiles);
                        for v in (0..registers).step_by(2) {
                            let elements = Elements {
                                c,
                                layout,
                                padded: &padded[layout.run(run) + from + first..],
                                dy,
                                v,
                                windows: windows.clone(),
                                odd: !of.geometry.across.out.is_multiple_of(K::K_PER_ELEMENT),
                                sums: &mut *sums,
                                row: row - rows.start + first,
                                with_db,
                            };
                            elements.run::<S, K>(s, last - first, 2.min(registers - v));
                        }
                        with_db = false;
                    }
                    row += len;
                }
            }
            let (sums, sums_db) = sums.split_at(rows.len() * registers * lanes);
            add_block(start == 0, c.out_channels, registers * lanes, sums, dw);
            if let Some(db) = &mut db {
                add_block(start == 0, c.out_channels, registers * lanes, sums_db, db);
            }
        }
    }
}

/// Adds the accumulators of a summation block, in rows of whole registers, to the blocks before it.
#[inline(always)]
fn add_block<T: Float>(first: bool, width: usize, registers: usize, sums: &[T], to: &mut [T]) {
    for (to, sums) in to.chunks_exact_mut(width.max(1)).zip(sums.chunks_exact(registers.max(1))) {
        if first {
            to.copy_from_slice(&sums[..width]);
        } else {
            to.iter_mut().zip(sums).for_each(|(to, &sum)| *to += sum);
        }
    }
}

/// A register tile: neighbouring elements of a run by one or two registers of filters.
struct Elements<'a, T> {
    c: &'a Convolution,
    layout: PaddedLayout,
    /// From the first element of the first window on.
    padded: &'a [T],
    dy: &'a [T],
    /// First register.
    v: usize,
    /// Windows of one image.
    windows: Range<usize>,
    /// `true` if each row has an odd number of windows, so that its last pair holds only one.
    odd: bool,
    sums: &'a mut [T],
    /// First row of accumulators in `sums`. The last row of `sums` belongs to `db`.
    row: usize,
    with_db: bool,
}

impl<T: Float> Elements<'_, T> {
    #[inline(always)]
    fn run<S: Simd, K: Packing<Acc = T>>(self, s: S, rows: usize, registers: usize) {
        macro_rules! run {
            ($($rows:literal)*) => {
                match (rows, registers, self.with_db) {
                    $(
                        ($rows, 1, false) => tile!($rows, 1, false),
                        ($rows, 1, true) => tile!($rows, 1, true),
                        ($rows, 2, false) => tile!($rows, 2, false),
                        ($rows, 2, true) => tile!($rows, 2, true),
                    )*
                    _ => debug_assert!(false, "no tile of {rows} rows and {registers} registers"),
                }
            };
        }
        macro_rules! tile {
            ($rows:literal, $registers:literal, $db:literal) => {
                if const { $rows <= S::TILE_ROWS } {
                    outlined(s, Chains::<K, $rows, $registers, $db>(self));
                }
            };
        }
        run!(1 2 3 4 5 6 7 8);
    }
}

struct Chains<'a, K: Packing, const MR: usize, const NV: usize, const DB: bool>(
    Elements<'a, K::Acc>,
);

impl<T, K, const MR: usize, const NV: usize, const DB: bool> WithSimd for Chains<'_, K, MR, NV, DB>
where
    T: Float,
    K: Packing<Acc = T>,
{
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Elements { c, layout, padded, dy, v: first, windows, odd, sums, row, .. } = self.0;
        let zero = T::splat(s, T::ZERO);
        let registers = c.out_channels.div_ceil(T::lanes::<S>());
        let (sums, _) = T::split_mut::<S>(sums);
        let last = sums.len() - registers;
        let mut acc = [[zero; NV]; MR];
        let mut columns = [zero; NV];
        for v in 0..NV {
            for i in 0..MR {
                acc[i][v] = sums[(row + i) * registers + first + v];
            }
            columns[v] = sums[last + first + v];
        }
        let width = c.out_channels;
        let (of_row, from) = (c.geometry.across.out * width, first * T::lanes::<S>());
        for Run { image, o, across } in c.geometry.runs(windows) {
            let line = image * c.geometry.down.out + o;
            let dy = &dy[line * of_row + across.start * width + from..];
            let mut at = layout.window(o, across.start);
            // A row with an odd number of windows ends with half a pair.
            let half = K::K_PER_ELEMENT > 1 && odd && across.end == c.geometry.across.out;
            let mut windows = dy.chunks(width).take(across.len());
            for dy in windows.by_ref().take(across.len() - usize::from(half)) {
                let Some(x) = padded[at..].first_chunk() else { return };
                let terms = load::<S, T, NV>(s, dy, width - from);
                add::<S, K, MR, NV>(s, x, &terms, &mut acc);
                if DB {
                    add::<S, K, 1, NV>(s, &[K::ONE], &terms, core::array::from_mut(&mut columns));
                }
                at += layout.across;
            }
            for dy in windows {
                let Some(x) = padded[at..].first_chunk::<MR>() else { return };
                let terms = load::<S, T, NV>(s, dy, width - from);
                add::<S, K, MR, NV>(s, &x.map(K::first), &terms, &mut acc);
                if DB {
                    add::<S, K, 1, NV>(s, &[K::ONE], &terms, core::array::from_mut(&mut columns));
                }
            }
        }
        for v in 0..NV {
            for i in 0..MR {
                sums[(row + i) * registers + first + v] = acc[i][v];
            }
            if DB {
                sums[last + first + v] = columns[v];
            }
        }
    }
}

/// Adds the product of each of `x` and the registers `terms`.
#[inline(always)]
fn add<S: Simd, K: Packing, const MR: usize, const NV: usize>(
    s: S,
    x: &[K::Acc; MR],
    terms: &[<K::Acc as Lanes>::V<S>; NV],
    acc: &mut [[<K::Acc as Lanes>::V<S>; NV]; MR],
) {
    for (acc, &x) in acc.iter_mut().zip(x) {
        let x = <K::Acc as Lanes>::splat(s, x);
        for (acc, dy) in acc.iter_mut().zip(terms) {
            *acc = K::mul_add(s, x, *dy, *acc);
        }
    }
}

/// Loads `NV` registers from the front of `dy`, of which `count` elements belong to this window; +0
/// in the other lanes.
#[inline(always)]
fn load<S: Simd, T: Float, const NV: usize>(s: S, dy: &[T], count: usize) -> [T::V<S>; NV] {
    let lanes = T::lanes::<S>();
    let mut terms = [T::splat(s, T::ZERO); NV];
    for (v, term) in terms.iter_mut().enumerate() {
        let dy = &dy[v * lanes..count.min((v + 1) * lanes)];
        *term = match T::split::<S>(dy).0 {
            [whole, ..] => *whole,
            [] => T::load(s, dy),
        };
    }
    terms
}
