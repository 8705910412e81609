//! Forward direct convolution, and `dx` as one: neighbouring windows by two registers of filters.

use core::ops::Range;

use super::super::packing::Packing;
use super::super::{Convolution, Epilogue, flipped as flip};
use super::padded::PaddedLayout;
use super::{ROWS, of_channels, padded_len, width};
use crate::Cpu;
use crate::channels::Channels;
use crate::simd::{Float, Lanes, Simd, WithSimd, outlined};

/// Packed filters, and a padded image for each task.
pub(in super::super) const fn forward_len<K: Packing>(c: &Convolution, threads: usize) -> usize {
    let packed = of_channels::<K>(c);
    threads.saturating_mul(padded_len(&packed)).saturating_add(packed.depth() * width(c))
}

/// `y` is not empty.
pub(in super::super) fn forward<K: Packing>(
    c: &Convolution,
    cpu: Cpu<'_>,
    x: &[K::Acc],
    w: &[K::Acc],
    mut epilogue: Epilogue<'_, K::Acc>,
    mut y: &mut [K::Acc],
    scratch: &mut [K::Acc],
) {
    let packed = &of_channels::<K>(c);
    let (panels, scratch) = scratch.split_at_mut(packed.depth() * width(c));
    K::run(cpu.isa, Pack::<K> { c, w, panels: &mut *panels });
    let (batch, slot) = (c.geometry.batch, padded_len(packed));
    let tasks = c.tasks(cpu.threads(), batch).min((scratch.len() / slot.max(1)).max(1));
    let mut slots = scratch.chunks_mut(slot.max(1));
    let panels = &*panels;
    let items = (0..tasks).map_while(|task| {
        let images = batch * task / tasks..batch * (task + 1) / tasks;
        let len = images.len() * (c.y_len() / batch);
        Some((
            images,
            epilogue.split_off(len),
            y.split_off_mut(..len)?,
            slots.next().unwrap_or_default(),
        ))
    });
    cpu.for_each_item(items, |(images, epilogue, y, padded)| {
        let padded = &mut padded[..padded_len(packed)];
        K::run(cpu.isa, Forward::<K> { c, packed, x, panels, images, epilogue, y, padded });
    });
}

/// The flipped filters, and the scratch of the convolution with them.
pub(in super::super) const fn dx_len<K: Packing>(flipped: &Convolution, threads: usize) -> usize {
    forward_len::<K>(flipped, threads).saturating_add(flipped.w_len())
}

/// The convolution of `dy` with the flipped filters. `dx` is not empty.
pub(in super::super) fn dx<K: Packing>(
    flipped: &Convolution,
    cpu: Cpu<'_>,
    dy: &[K::Acc],
    w: &[K::Acc],
    epilogue: Epilogue<'_, K::Acc>,
    dx: &mut [K::Acc],
    scratch: &mut [K::Acc],
) {
    let (filters, scratch) = scratch.split_at_mut(flipped.w_len());
    flip::filters(flipped, w, filters);
    forward::<K>(flipped, cpu, dy, filters, epilogue, dx, scratch);
}

/// Number of registers in the panel of filters that starts at filter `j`.
#[inline(always)]
fn panel<S: Simd, T: Float>(c: &Convolution, j: usize) -> usize {
    if c.out_channels - j <= T::lanes::<S>() { 1 } else { 2 }
}

/// Packs the filters into panels of one or two registers; +0 past the last filter.
struct Pack<'a, K: Packing> {
    c: &'a Convolution,
    w: &'a [K::Acc],
    panels: &'a mut [K::Acc],
}

impl<K: Packing> WithSimd for Pack<'_, K> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { c, w, mut panels } = self;
        let (lanes, out) = (<K::Acc as Lanes>::lanes::<S>(), c.out_channels);
        let depth = of_channels::<K>(c).depth();
        for j in (0..out).step_by(2 * lanes) {
            let width = panel::<S, K::Acc>(c, j) * lanes;
            let (here, rest) = panels.split_at_mut(depth * width);
            let mut to = here.chunks_exact_mut(width);
            for tap in w.chunks_exact(c.geometry.channels * out) {
                for (channels, to) in tap.chunks(K::K_PER_ELEMENT * out).zip(&mut to) {
                    let of_channel = |e: usize| {
                        let filters = channels.get(e * out + j..(e + 1) * out).unwrap_or_default();
                        &filters[..width.min(filters.len())]
                    };
                    K::pack_rows(s, of_channel(0), of_channel(1), to);
                }
            }
            panels = rest;
        }
    }
}

struct Forward<'a, K: Packing> {
    c: &'a Convolution,
    /// The convolution over packed channels.
    packed: &'a Convolution,
    x: &'a [K::Acc],
    panels: &'a [K::Acc],
    images: Range<usize>,
    epilogue: Epilogue<'a, K::Acc>,
    y: &'a mut [K::Acc],
    padded: &'a mut [K::Acc],
}

impl<K: Packing> WithSimd for Forward<'_, K> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(mut self, s: S) {
        let (c, lanes, out) =
            (self.packed, <K::Acc as Lanes>::lanes::<S>(), self.packed.geometry.across.out);
        let of_image = c.geometry.down.out * out;
        let rows = ROWS.min(S::TILE_ROWS);
        let tiles = out.div_ceil(rows);
        let layout = PaddedLayout::new(c);
        for (n, image) in self.images.clone().enumerate() {
            layout.fill_channels::<S, K>(s, self.c, self.x, image, self.padded);
            let mut panels = self.panels;
            for j in (0..c.out_channels).step_by(2 * lanes) {
                let registers = panel::<S, K::Acc>(c, j);
                let (w, rest) = panels.split_at(c.depth() * registers * lanes);
                panels = rest;
                for o in 0..c.geometry.down.out {
                    for tile in 0..tiles {
                        // Tiles of about equal size.
                        let (from, to) = (out * tile / tiles, out * (tile + 1) / tiles);
                        let padded = &self.padded[layout.window(o, from)..];
                        let window = n * of_image + o * out + from;
                        let (y, epilogue) = (&mut *self.y, &mut self.epilogue);
                        let at = Tile { c, layout, padded, w, j, window, y, epilogue };
                        at.run::<S, K>(s, to - from, registers);
                    }
                }
            }
        }
    }
}

/// A register tile: neighbouring windows by one or two registers of filters.
struct Tile<'a, 'b, T> {
    c: &'a Convolution,
    layout: PaddedLayout,
    padded: &'a [T],
    w: &'a [T],
    j: usize,
    /// Index of the first window in `y`.
    window: usize,
    y: &'a mut [T],
    epilogue: &'a mut Epilogue<'b, T>,
}

impl<T: Float> Tile<'_, '_, T> {
    #[inline(always)]
    fn run<S: Simd, K: Packing<Acc = T>>(self, s: S, rows: usize, registers: usize) {
        macro_rules! run {
            ($($rows:literal)*) => {
                match (rows, registers) {
                    $(
                        ($rows, 1) => if const { $rows <= S::TILE_ROWS } {
                            outlined(s, Windows::<K, $rows, 1>(self));
                        },
                        ($rows, 2) => if const { $rows <= S::TILE_ROWS } {
                            outlined(s, Windows::<K, $rows, 2>(self));
                        },
                    )*
                    _ => debug_assert!(false, "no tile of {rows} rows and {registers} registers"),
                }
            };
        }
        run!(1 2 3 4 5 6 7 8);
    }
}

struct Windows<'a, 'b, K: Packing, const MR: usize, const NV: usize>(Tile<'a, 'b, K::Acc>);

impl<T: Float, K: Packing<Acc = T>, const MR: usize, const NV: usize> WithSimd
    for Windows<'_, '_, K, MR, NV>
{
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Tile { c, layout, padded, w, j, window, y, epilogue } = self.0;
        let zero = T::splat(s, T::ZERO);
        let (mut w, _) = T::split::<S>(w).0.as_chunks::<NV>();
        let mut acc = [[zero; NV]; MR];
        let mut total = acc;
        let (mut left, mut first) = (T::KB, true);
        for run in 0..c.geometry.down.kernel * layout.runs {
            let mut padded = &padded[layout.run(run)..];
            let mut len = layout.run;
            while len > 0 {
                let here = len.min(left);
                let (terms, rest) = w.split_at(here);
                w = rest;
                let mut rows = [padded; MR];
                for (i, row) in rows.iter_mut().enumerate() {
                    *row = &padded[i * layout.across..][..here];
                }
                for (p, term) in terms.iter().enumerate() {
                    for (acc, row) in acc.iter_mut().zip(&rows) {
                        let x = T::splat(s, row[p]);
                        for (acc, w) in acc.iter_mut().zip(term) {
                            *acc = K::mul_add(s, x, *w, *acc);
                        }
                    }
                }
                padded = &padded[here..];
                len -= here;
                left -= here;
                // End of a summation block.
                if left == 0 && !w.is_empty() {
                    add_up::<S, T, MR, NV>(s, first, &acc, &mut total);
                    acc = [[zero; NV]; MR];
                    (left, first) = (T::KB, false);
                }
            }
        }
        add_up::<S, T, MR, NV>(s, first, &acc, &mut total);

        for v in 0..NV {
            let Some(channels) = Channels::from::<S, T>(c.out_channels, j + v * T::lanes::<S>())
            else {
                break;
            };
            for (i, sums) in total.iter().enumerate() {
                epilogue.store(s, channels, y, window + i, sums[v]);
            }
        }
    }
}

/// Adds the accumulators of a summation block to `total`.
#[inline(always)]
fn add_up<S: Simd, T: Float, const MR: usize, const NV: usize>(
    s: S,
    first: bool,
    acc: &[[T::V<S>; NV]; MR],
    total: &mut [[T::V<S>; NV]; MR],
) {
    for (total, acc) in total.iter_mut().zip(acc) {
        for (total, acc) in total.iter_mut().zip(acc) {
            *total = if first { *acc } else { T::add(s, *total, *acc) };
        }
    }
}
