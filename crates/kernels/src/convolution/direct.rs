//! Convolution in place: each image is copied into a frame of zeros, where the pixels that a row of a window covers are
//! neighbours. A window is then a few runs of the frame, and the windows beside it are the same runs a little further on.
//!
//! ```text
//! y    each task its images:  fill the frame
//!        for each two registers of filters, each row of windows, each ROWS windows beside each other:
//!          for each run, each element of it:   sums[window][..] += frame[window][element] * w[element][..]
//! dw   each task its rows of dw:
//!        for each KB windows, for each image among them:  fill the frame
//!          for each ROWS elements of a run, each two registers of filters:
//!            for each window:                  sums[element][..] += frame[window][element] * dy[window][..]
//! ```
//!
//! The sums are those of the products with the windows' matrix, term by term. Called by `convolution`.

use core::ops::Range;

use super::{BLOCK, Convolution, Epilogue};
use crate::Cpu;
use crate::channels::Channels;
use crate::simd::{Float, MOST_LANES, Simd, WithSimd};
use crate::window::Run;

/// Rows of sums that are kept in registers, two each where there are 32: sixteen for sums, two for the factor that is in lanes.
const ROWS: usize = 8;

/// Whether this is the fastest way.
pub(super) const fn wins(c: &Convolution) -> bool {
    let pixels = c.sweep.down.len * c.sweep.across.len;
    c.groups == 1 && pixels * c.depth() > 0 && frame_len(c) <= BLOCK
}

/// Elements of the frame: an image with its padding.
const fn frame_len(c: &Convolution) -> usize {
    let (down, across) = (c.sweep.down, c.sweep.across);
    (down.len + 2 * down.padding) * (across.len + 2 * across.padding) * c.sweep.channels
}

/// Out channels as whole registers, or more.
const fn width(c: &Convolution) -> usize {
    c.out_channels.next_multiple_of(MOST_LANES)
}

/// The filters in panels, and a frame for each task.
pub(super) const fn forward_len(c: &Convolution, threads: usize) -> usize {
    threads.saturating_mul(frame_len(c)).saturating_add(c.depth() * width(c))
}

/// A frame and sums for each task.
pub(super) const fn dw_len(c: &Convolution, threads: usize) -> usize {
    let sums = (c.depth().div_ceil(threads) + 1) * width(c);
    threads.saturating_mul(frame_len(c) + sums)
}

/// Where the elements of windows are in the frame.
#[derive(Clone, Copy)]
struct Frame {
    /// Elements from a row of pixels to the next.
    line: usize,
    /// Elements from a window to the next, down and across.
    down: usize,
    across: usize,
    /// Neighbouring elements of a window, and how many such runs there are to a row of the kernel.
    run: usize,
    runs: usize,
    /// Elements from a run to the next in a row of the kernel, and from a row to the next.
    beside: usize,
    below: usize,
}

impl Frame {
    fn new(c: &Convolution) -> Self {
        let (down, across, channels) = (c.sweep.down, c.sweep.across, c.sweep.channels);
        let line = (across.len + 2 * across.padding) * channels;
        let runs = if across.dilation == 1 { 1 } else { across.kernel };
        Self {
            line,
            down: down.stride * line,
            across: across.stride * channels,
            run: across.kernel / runs * channels,
            runs,
            beside: across.dilation * channels,
            below: down.dilation * line,
        }
    }

    /// Where a window begins.
    #[inline(always)]
    fn window(self, o: usize, ow: usize) -> usize {
        o * self.down + ow * self.across
    }

    /// Where run number `run` of a window begins, from its beginning.
    #[inline(always)]
    fn run(self, run: usize) -> usize {
        run / self.runs * self.below + run % self.runs * self.beside
    }

    /// Copies an image; the padding around it is +0.
    fn fill<T: Float>(self, c: &Convolution, x: &[T], image: usize, frame: &mut [T]) {
        let (down, across, channels) = (c.sweep.down, c.sweep.across, c.sweep.channels);
        let line = across.len * channels;
        frame.fill(T::ZERO);
        let lines = frame.chunks_exact_mut(self.line).skip(down.padding);
        for (to, from) in lines.zip(x[image * down.len * line..].chunks_exact(line)).take(down.len) {
            to[across.padding * channels..][..line].copy_from_slice(from);
        }
    }
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
    let (panels, scratch) = scratch.split_at_mut(c.depth() * width(c));
    cpu.isa.run(Pack { c, w, panels: &mut *panels });
    let (batch, frame) = (c.sweep.batch, frame_len(c));
    let tasks = c.tasks(cpu.threads(), batch).min((scratch.len() / frame.max(1)).max(1));
    let mut frames = scratch.chunks_mut(frame.max(1));
    let panels = &*panels;
    let items = (0..tasks).map_while(|task| {
        let images = batch * task / tasks..batch * (task + 1) / tasks;
        let len = images.len() * (c.y_len() / batch);
        Some((images, epilogue.split_off(len), y.split_off_mut(..len)?, frames.next().unwrap_or_default()))
    });
    cpu.for_each_item(items, |(images, epilogue, y, frame)| {
        cpu.isa.run(Forward { c, x, panels, images, epilogue, y, frame: &mut frame[..frame_len(c)] });
    });
}

/// How many registers of filters from `j` on are worked on together.
#[inline(always)]
fn panel<S: Simd, T: Float>(c: &Convolution, j: usize) -> usize {
    if c.out_channels - j <= T::lanes::<S>() { 1 } else { 2 }
}

/// Writes the filters so that the registers which are read together are neighbours; +0 past the last filter.
struct Pack<'a, T> {
    c: &'a Convolution,
    w: &'a [T],
    panels: &'a mut [T],
}

impl<T: Float> WithSimd for Pack<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { c, w, mut panels } = self;
        for j in (0..c.out_channels).step_by(2 * T::lanes::<S>()) {
            let width = panel::<S, T>(c, j) * T::lanes::<S>();
            let own = width.min(c.out_channels - j);
            let (here, rest) = panels.split_at_mut(c.depth() * width);
            for (to, from) in here.chunks_exact_mut(width).zip(w.chunks_exact(c.out_channels)) {
                to[..own].copy_from_slice(&from[j..][..own]);
                to[own..].fill(T::ZERO);
            }
            panels = rest;
        }
    }
}

struct Forward<'a, T> {
    c: &'a Convolution,
    x: &'a [T],
    panels: &'a [T],
    images: Range<usize>,
    epilogue: Epilogue<'a, T>,
    y: &'a mut [T],
    frame: &'a mut [T],
}

impl<T: Float> WithSimd for Forward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(mut self, s: S) {
        let (c, lanes, out) = (self.c, T::lanes::<S>(), self.c.sweep.across.out);
        let of_image = c.sweep.down.out * out;
        let rows = ROWS.min(S::TILE_ROWS);
        let tiles = out.div_ceil(rows);
        let geometry = Frame::new(c);
        for (n, image) in self.images.clone().enumerate() {
            geometry.fill(c, self.x, image, self.frame);
            let mut panels = self.panels;
            for j in (0..c.out_channels).step_by(2 * lanes) {
                let registers = panel::<S, T>(c, j);
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
                        at.run::<S>(s, to - from, registers);
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
    fn run<S: Simd>(self, s: S, rows: usize, registers: usize) {
        macro_rules! run {
            ($($rows:literal)*) => {
                match (rows, registers) {
                    $(
                        ($rows, 1) => apart(s, Windows::<T, $rows, 1>(self)),
                        ($rows, 2) => apart(s, Windows::<T, $rows, 2>(self)),
                    )*
                    _ => {}
                }
            };
        }
        if const { S::TILE_ROWS >= ROWS } {
            run!(1 2 3 4 5 6 7 8);
        } else {
            run!(1 2 3 4 5 6);
        }
    }
}

/// Runs a tile in a function of its own, so that all registers are its own.
#[inline(never)]
fn apart<S: Simd, Op: WithSimd>(s: S, op: Op) -> Op::Output {
    s.vectorize(op)
}

struct Windows<'a, 'b, T, const MR: usize, const NV: usize>(Tile<'a, 'b, T>);

impl<T: Float, const MR: usize, const NV: usize> WithSimd for Windows<'_, '_, T, MR, NV> {
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
                            *acc = T::mul_add(s, x, *w, *acc);
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
                let mut sum = sums[v];
                if let Some(bias) = epilogue.bias {
                    sum = T::add(s, sum, channels.get(s, bias, 0));
                }
                if let Some(z) = &mut epilogue.keep {
                    channels.put(s, z, window + i, sum);
                }
                if epilogue.relu {
                    sum = T::select(s, T::less_or_equal(s, sum, zero), zero, sum);
                }
                channels.put(s, y, window + i, sum);
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

pub(super) fn dw<T: Float>(
    c: &Convolution,
    cpu: Cpu<'_>,
    x: &[T],
    dy: &[T],
    mut dw: &mut [T],
    mut db: Option<&mut [T]>,
    scratch: &mut [T],
) {
    if c.sweep.positions() == 0 {
        dw.fill(T::ZERO);
        db.into_iter().for_each(|db| db.fill(T::ZERO));
        return;
    }
    let depth = c.depth();
    let slot = |tasks: usize| frame_len(c) + (depth.div_ceil(tasks) + 1) * width(c);
    // Not from the executor alone, which might give another answer each time.
    let mut tasks = c.tasks(cpu.threads(), depth);
    while tasks > 1 && tasks * slot(tasks) > scratch.len() {
        tasks -= 1;
    }
    let mut slots = scratch.chunks_mut(slot(tasks).max(1));
    let items = (0..tasks).map_while(|task| {
        let rows = depth * task / tasks..depth * (task + 1) / tasks;
        let dw = dw.split_off_mut(..rows.len() * c.out_channels)?;
        // The first task has the sums of `dy`'s columns besides.
        Some((rows, dw, db.take(), slots.next().unwrap_or_default()))
    });
    cpu.for_each_item(items, |(rows, dw, db, scratch)| {
        let (frame, sums) = scratch.split_at_mut(frame_len(c));
        cpu.isa.run(Dw { c, x, dy, rows, dw, db, frame, sums });
    });
}

struct Dw<'a, T> {
    c: &'a Convolution,
    x: &'a [T],
    dy: &'a [T],
    /// These rows of `dw`.
    rows: Range<usize>,
    dw: &'a mut [T],
    db: Option<&'a mut [T]>,
    frame: &'a mut [T],
    /// The sums of a summation block: those of `dw`, then those of `db`.
    sums: &'a mut [T],
}

impl<T: Float> WithSimd for Dw<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { c, x, dy, rows, dw, mut db, frame, sums } = self;
        let geometry = Frame::new(c);
        let (positions, of_image) = (c.sweep.positions(), c.sweep.down.out * c.sweep.across.out);
        let lanes = T::lanes::<S>();
        let registers = c.out_channels.div_ceil(lanes);
        let most = ROWS.min(S::TILE_ROWS);
        let sums = &mut sums[..(rows.len() + 1) * registers * lanes];
        let mut framed = None;
        for start in (0..positions).step_by(T::KB) {
            let end = positions.min(start + T::KB);
            sums.fill(T::ZERO);
            for image in start / of_image..end.div_ceil(of_image) {
                if framed != Some(image) {
                    geometry.fill(c, x, image, frame);
                    framed = Some(image);
                }
                let windows = start.max(image * of_image)..end.min((image + 1) * of_image);
                let mut with_db = db.is_some();
                // Rows of `dw` that are neighbours in the frame.
                let mut row = rows.start;
                while row < rows.end {
                    let (run, from) = (row / geometry.run, row % geometry.run);
                    let len = (geometry.run - from).min(rows.end - row);
                    let tiles = len.div_ceil(most);
                    for tile in 0..tiles {
                        let (first, last) = (len * tile / tiles, len * (tile + 1) / tiles);
                        for v in (0..registers).step_by(2) {
                            let elements = Elements {
                                c,
                                geometry,
                                frame: &frame[geometry.run(run) + from + first..],
                                dy,
                                v,
                                windows: windows.clone(),
                                sums: &mut *sums,
                                row: row - rows.start + first,
                                with_db,
                            };
                            elements.run::<S>(s, last - first, 2.min(registers - v));
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

/// Adds a summation block's sums, in rows of whole registers, to those of the blocks before it.
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

/// Elements of a run beside each other, and one or two registers of filters.
struct Elements<'a, T> {
    c: &'a Convolution,
    geometry: Frame,
    /// From the first element on, of the first window.
    frame: &'a [T],
    dy: &'a [T],
    /// The first register.
    v: usize,
    /// Of one image.
    windows: Range<usize>,
    sums: &'a mut [T],
    /// The first of the rows of `sums`, whose last is that of `db`.
    row: usize,
    with_db: bool,
}

impl<T: Float> Elements<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S, rows: usize, registers: usize) {
        macro_rules! run {
            ($($rows:literal)*) => {
                match (rows, registers, self.with_db) {
                    $(
                        ($rows, 1, false) => apart(s, Chains::<T, $rows, 1, false>(self)),
                        ($rows, 1, true) => apart(s, Chains::<T, $rows, 1, true>(self)),
                        ($rows, 2, false) => apart(s, Chains::<T, $rows, 2, false>(self)),
                        ($rows, 2, true) => apart(s, Chains::<T, $rows, 2, true>(self)),
                    )*
                    _ => {}
                }
            };
        }
        if const { S::TILE_ROWS >= ROWS } {
            run!(1 2 3 4 5 6 7 8);
        } else {
            run!(1 2 3 4 5 6);
        }
    }
}

struct Chains<'a, T, const MR: usize, const NV: usize, const DB: bool>(Elements<'a, T>);

impl<T: Float, const MR: usize, const NV: usize, const DB: bool> WithSimd for Chains<'_, T, MR, NV, DB> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Elements { c, geometry, frame, dy, v: first, windows, sums, row, .. } = self.0;
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
        let (of_row, from) = (c.sweep.across.out * width, first * T::lanes::<S>());
        for Run { image, o, across } in c.sweep.runs(windows) {
            let line = image * c.sweep.down.out + o;
            let dy = &dy[line * of_row + across.start * width + from..];
            let mut at = geometry.window(o, across.start);
            for dy in dy.chunks(width).take(across.len()) {
                let mut terms = [zero; NV];
                load::<S, T, NV>(s, dy, width - from, &mut terms);
                let Some(x) = frame[at..].first_chunk::<MR>() else { return };
                at += geometry.across;
                for (acc, &x) in acc.iter_mut().zip(x) {
                    let x = T::splat(s, x);
                    for (acc, dy) in acc.iter_mut().zip(&terms) {
                        *acc = T::mul_add(s, x, *dy, *acc);
                    }
                }
                if DB {
                    for (sum, dy) in columns.iter_mut().zip(&terms) {
                        *sum = T::add(s, *sum, *dy);
                    }
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

/// The registers from the front of `dy`, of which `count` elements are this window's; +0 in the lanes behind.
#[inline(always)]
fn load<S: Simd, T: Float, const NV: usize>(s: S, dy: &[T], count: usize, terms: &mut [T::V<S>; NV]) {
    let lanes = T::lanes::<S>();
    for (v, term) in terms.iter_mut().enumerate() {
        let dy = &dy[v * lanes..count.min((v + 1) * lanes)];
        *term = match T::split::<S>(dy).0 {
            [whole, ..] => *whole,
            [] => T::load(s, dy),
        };
    }
}
