//! `y`, and `dx` where that is a convolution too: windows beside each other, each in two registers of filters.

use core::ops::Range;

use super::super::words::Words;
use super::super::{Convolution, Epilogue, turned as turning};
use super::frame::Frame;
use super::{ROWS, apart, frame_len, of_channels, width};
use crate::Cpu;
use crate::channels::Channels;
use crate::simd::{Float, Lanes, Simd, WithSimd};

/// The filters in panels, and a frame for each task.
pub(in super::super) const fn forward_len<K: Words>(c: &Convolution, threads: usize) -> usize {
    let words = of_channels::<K>(c);
    threads.saturating_mul(frame_len(&words)).saturating_add(words.depth() * width(c))
}

/// `y` has elements.
pub(in super::super) fn forward<K: Words>(
    c: &Convolution,
    cpu: Cpu<'_>,
    x: &[K::Sum],
    w: &[K::Sum],
    mut epilogue: Epilogue<'_, K::Sum>,
    mut y: &mut [K::Sum],
    scratch: &mut [K::Sum],
) {
    let words = &of_channels::<K>(c);
    let (panels, scratch) = scratch.split_at_mut(words.depth() * width(c));
    K::vectorize(cpu.isa, Pack::<K> { c, w, panels: &mut *panels });
    let (batch, frame) = (c.sweep.batch, frame_len(words));
    let tasks = c.tasks(cpu.threads(), batch).min((scratch.len() / frame.max(1)).max(1));
    let mut frames = scratch.chunks_mut(frame.max(1));
    let panels = &*panels;
    let items = (0..tasks).map_while(|task| {
        let images = batch * task / tasks..batch * (task + 1) / tasks;
        let len = images.len() * (c.y_len() / batch);
        Some((images, epilogue.split_off(len), y.split_off_mut(..len)?, frames.next().unwrap_or_default()))
    });
    cpu.for_each_item(items, |(images, epilogue, y, frame)| {
        let frame = &mut frame[..frame_len(words)];
        K::vectorize(cpu.isa, Forward::<K> { c, words, x, panels, images, epilogue, y, frame });
    });
}

/// The filters turned, and what the convolution with them takes.
pub(in super::super) const fn dx_len<K: Words>(turned: &Convolution, threads: usize) -> usize {
    forward_len::<K>(turned, threads).saturating_add(turned.w_len())
}

/// The convolution of `dy` with the filters turned. `dx` has elements.
pub(in super::super) fn dx<K: Words>(
    turned: &Convolution,
    cpu: Cpu<'_>,
    dy: &[K::Sum],
    w: &[K::Sum],
    epilogue: Epilogue<'_, K::Sum>,
    dx: &mut [K::Sum],
    scratch: &mut [K::Sum],
) {
    let (filters, scratch) = scratch.split_at_mut(turned.w_len());
    turning::filters(turned, w, filters);
    forward::<K>(turned, cpu, dy, filters, epilogue, dx, scratch);
}

/// How many registers of filters from `j` on are worked on together.
#[inline(always)]
fn panel<S: Simd, T: Float>(c: &Convolution, j: usize) -> usize {
    if c.out_channels - j <= T::lanes::<S>() { 1 } else { 2 }
}

/// Writes the filters so that the registers which are read together are neighbours; +0 past the last filter.
struct Pack<'a, K: Words> {
    c: &'a Convolution,
    w: &'a [K::Sum],
    panels: &'a mut [K::Sum],
}

impl<K: Words> WithSimd for Pack<'_, K> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { c, w, mut panels } = self;
        let (lanes, out) = (<K::Sum as Lanes>::lanes::<S>(), c.out_channels);
        let depth = of_channels::<K>(c).depth();
        for j in (0..out).step_by(2 * lanes) {
            let width = panel::<S, K::Sum>(c, j) * lanes;
            let (here, rest) = panels.split_at_mut(depth * width);
            let mut to = here.chunks_exact_mut(width);
            for tap in w.chunks_exact(c.sweep.channels * out) {
                for (channels, to) in tap.chunks(K::ELEMENTS * out).zip(&mut to) {
                    let of_channel = |e: usize| {
                        let filters = channels.get(e * out + j..(e + 1) * out).unwrap_or_default();
                        &filters[..width.min(filters.len())]
                    };
                    K::of_rows(s, of_channel(0), of_channel(1), to);
                }
            }
            panels = rest;
        }
    }
}

struct Forward<'a, K: Words> {
    c: &'a Convolution,
    /// Of words of channels.
    words: &'a Convolution,
    x: &'a [K::Sum],
    panels: &'a [K::Sum],
    images: Range<usize>,
    epilogue: Epilogue<'a, K::Sum>,
    y: &'a mut [K::Sum],
    frame: &'a mut [K::Sum],
}

impl<K: Words> WithSimd for Forward<'_, K> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(mut self, s: S) {
        let (c, lanes, out) = (self.words, <K::Sum as Lanes>::lanes::<S>(), self.words.sweep.across.out);
        let of_image = c.sweep.down.out * out;
        let rows = ROWS.min(S::TILE_ROWS);
        let tiles = out.div_ceil(rows);
        let geometry = Frame::new(c);
        for (n, image) in self.images.clone().enumerate() {
            geometry.fill_channels::<S, K>(s, self.c, self.x, image, self.frame);
            let mut panels = self.panels;
            for j in (0..c.out_channels).step_by(2 * lanes) {
                let registers = panel::<S, K::Sum>(c, j);
                let (w, rest) = panels.split_at(c.depth() * registers * lanes);
                panels = rest;
                for o in 0..c.sweep.down.out {
                    for tile in 0..tiles {
                        // About the same number of windows each.
                        let (from, to) = (out * tile / tiles, out * (tile + 1) / tiles);
                        let frame = &self.frame[geometry.window(o, from)..];
                        let window = n * of_image + o * out + from;
                        let (y, epilogue) = (&mut *self.y, &mut self.epilogue);
                        let at = Tile { c, geometry, frame, w, j, window, y, epilogue };
                        at.run::<S, K>(s, to - from, registers);
                    }
                }
            }
        }
    }
}

/// Windows beside each other, and one or two registers of filters.
struct Tile<'a, 'b, T> {
    c: &'a Convolution,
    geometry: Frame,
    frame: &'a [T],
    w: &'a [T],
    j: usize,
    /// The first window's number in `y`.
    window: usize,
    y: &'a mut [T],
    epilogue: &'a mut Epilogue<'b, T>,
}

impl<T: Float> Tile<'_, '_, T> {
    #[inline(always)]
    fn run<S: Simd, K: Words<Sum = T>>(self, s: S, rows: usize, registers: usize) {
        macro_rules! run {
            ($($rows:literal)*) => {
                match (rows, registers) {
                    $(
                        ($rows, 1) => if const { $rows <= S::TILE_ROWS } {
                            apart(s, Windows::<K, $rows, 1>(self));
                        },
                        ($rows, 2) => if const { $rows <= S::TILE_ROWS } {
                            apart(s, Windows::<K, $rows, 2>(self));
                        },
                    )*
                    _ => debug_assert!(false, "no tile of {rows} rows and {registers} registers"),
                }
            };
        }
        run!(1 2 3 4 5 6 7 8);
    }
}

struct Windows<'a, 'b, K: Words, const MR: usize, const NV: usize>(Tile<'a, 'b, K::Sum>);

impl<T: Float, K: Words<Sum = T>, const MR: usize, const NV: usize> WithSimd for Windows<'_, '_, K, MR, NV> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Tile { c, geometry, frame, w, j, window, y, epilogue } = self.0;
        let zero = T::splat(s, T::ZERO);
        let (mut w, _) = T::split::<S>(w).0.as_chunks::<NV>();
        let mut acc = [[zero; NV]; MR];
        let mut total = acc;
        let (mut left, mut first) = (T::KB, true);
        for run in 0..c.sweep.down.kernel * geometry.runs {
            let mut frame = &frame[geometry.run(run)..];
            let mut len = geometry.run;
            while len > 0 {
                let here = len.min(left);
                let (terms, rest) = w.split_at(here);
                w = rest;
                let mut rows = [frame; MR];
                for (i, row) in rows.iter_mut().enumerate() {
                    *row = &frame[i * geometry.across..][..here];
                }
                for (p, term) in terms.iter().enumerate() {
                    for (acc, row) in acc.iter_mut().zip(&rows) {
                        let x = T::splat(s, row[p]);
                        for (acc, w) in acc.iter_mut().zip(term) {
                            *acc = K::mul_add(s, x, *w, *acc);
                        }
                    }
                }
                frame = &frame[here..];
                len -= here;
                left -= here;
                // The end of a summation block.
                if left == 0 && !w.is_empty() {
                    add_up::<S, T, MR, NV>(s, first, &acc, &mut total);
                    acc = [[zero; NV]; MR];
                    (left, first) = (T::KB, false);
                }
            }
        }
        add_up::<S, T, MR, NV>(s, first, &acc, &mut total);

        for v in 0..NV {
            let Some(channels) = Channels::from::<S, T>(c.out_channels, j + v * T::lanes::<S>()) else {
                break;
            };
            for (i, sums) in total.iter().enumerate() {
                epilogue.store(s, channels, y, window + i, sums[v]);
            }
        }
    }
}

/// Adds a summation block's sums to those of the blocks before it.
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
