//! Depthwise convolution: each channel has a filter of its own, so that channels run in lanes and nothing is copied.
//!
//! ```text
//! y    each pixel of y, each register of channels:   sum over its taps, one chain
//! dx   each pixel of x, each register of channels:   sum over the windows that cover it, taps ascending
//! dw   each block of KB windows, each register of channels, each TAPS taps:  one chain each; then added
//! ```
//!
//! The sums are those of the products with one row of `w`, in whose place this stands. Called by `convolution`.

use core::ops::Range;

use super::{Convolution, Epilogue, product};
use crate::Cpu;
use crate::channels::Channels;
use crate::simd::{Float, Simd, WithSimd};
use crate::window::Run;

/// Taps whose sums are made side by side, so that one need not wait for another: four, as long as an FMA takes.
const TAPS: usize = 4;

/// `y` has elements.
pub(super) fn forward<T: Float>(
    c: &Convolution,
    cpu: Cpu<'_>,
    x: &[T],
    w: &[T],
    mut epilogue: Epilogue<'_, T>,
    mut y: &mut [T],
) {
    let positions = c.sweep.positions();
    let tasks = c.tasks(cpu.threads(), positions);
    let items = (0..tasks).map_while(|task| {
        let windows = positions * task / tasks..positions * (task + 1) / tasks;
        let len = windows.len() * c.out_channels;
        Some((windows, epilogue.split_off(len), y.split_off_mut(..len)?))
    });
    cpu.for_each_item(items, |(windows, epilogue, y)| {
        cpu.isa.run(Forward { c, x, w, windows, epilogue, y });
    });
}

struct Forward<'a, T> {
    c: &'a Convolution,
    x: &'a [T],
    w: &'a [T],
    windows: Range<usize>,
    epilogue: Epilogue<'a, T>,
    y: &'a mut [T],
}

impl<T: Float> WithSimd for Forward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { c, x, w, windows, mut epilogue, y } = self;
        let (down, across) = (c.sweep.down, c.sweep.across);
        let zero = T::splat(s, T::ZERO);
        let first = windows.start;
        for Run { image, o, across: run } in c.sweep.runs(windows) {
            for ow in run {
                let window = (image * down.out + o) * across.out + ow - first;
                for channels in Channels::of::<S, T>(c.out_channels) {
                    let mut sum = zero;
                    for kh in 0..down.kernel {
                        let line = down.pixel(o, kh).map(|ih| (image * down.len + ih) * across.len);
                        for kw in 0..across.kernel {
                            let x = match (line, across.pixel(ow, kw)) {
                                (Some(line), Some(iw)) => channels.get(s, x, line + iw),
                                _ => zero,
                            };
                            let w = channels.get(s, w, kh * across.kernel + kw);
                            sum = T::mul_add(s, x, w, sum);
                        }
                    }
                    if let Some(bias) = epilogue.bias {
                        sum = T::add(s, sum, channels.get(s, bias, 0));
                    }
                    if let Some(z) = &mut epilogue.keep {
                        channels.put(s, z, window, sum);
                    }
                    if epilogue.relu {
                        sum = T::select(s, T::less_or_equal(s, sum, zero), zero, sum);
                    }
                    channels.put(s, y, window, sum);
                }
            }
        }
    }
}

/// `dx` has elements.
pub(super) fn dx<T: Float>(c: &Convolution, cpu: Cpu<'_>, dy: &[T], w: &[T], dx: &mut [T]) {
    let line = c.sweep.across.len * c.sweep.channels;
    let lines = c.sweep.batch * c.sweep.down.len;
    let own = lines.div_ceil(c.tasks(cpu.threads(), lines));
    let items = (0..lines).step_by(own).zip(dx.chunks_mut(own * line));
    cpu.for_each_item(items, |(first, dx)| cpu.isa.run(Dx { c, dy, w, first, dx }));
}

struct Dx<'a, T> {
    c: &'a Convolution,
    dy: &'a [T],
    w: &'a [T],
    /// The first of these rows of pixels, of all images.
    first: usize,
    dx: &'a mut [T],
}

impl<T: Float> WithSimd for Dx<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { c, dy, w, first, dx } = self;
        let (down, across) = (c.sweep.down, c.sweep.across);
        for (row, dx) in (first..).zip(dx.chunks_exact_mut(across.len * c.sweep.channels)) {
            let (image, ih) = (row / down.len, row % down.len);
            for iw in 0..across.len {
                for channels in Channels::of::<S, T>(c.sweep.channels) {
                    let mut sum = T::splat(s, T::ZERO);
                    for kh in 0..down.kernel {
                        let Some(oh) = down.window(ih, kh) else { continue };
                        for kw in 0..across.kernel {
                            let Some(ow) = across.window(iw, kw) else { continue };
                            let dy = channels.get(s, dy, (image * down.out + oh) * across.out + ow);
                            let w = channels.get(s, w, kh * across.kernel + kw);
                            sum = T::add(s, sum, T::mul(s, dy, w));
                        }
                    }
                    channels.put(s, dx, iw, sum);
                }
            }
        }
    }
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
    if let Some(db) = db {
        product::db(c, cpu, dy, db, scratch);
    }
    if c.out_channels == 0 {
        return;
    }
    let items = (0..).step_by(TAPS).zip(dw.chunks_mut(TAPS * c.out_channels));
    cpu.for_each_item(items, |(first, dw)| cpu.isa.run(Dw { c, x, dy, first, dw }));
}

struct Dw<'a, T> {
    c: &'a Convolution,
    x: &'a [T],
    dy: &'a [T],
    /// The first of up to [`TAPS`] taps.
    first: usize,
    dw: &'a mut [T],
}

impl<T: Float> WithSimd for Dw<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { c, x, dy, first, dw } = self;
        let (down, across) = (c.sweep.down, c.sweep.across);
        let (zero, positions) = (T::splat(s, T::ZERO), c.sweep.positions());
        let taps = dw.len() / c.out_channels;
        // Past the last tap, the last again.
        let tap = |t: usize| first + t.min(taps - 1);
        let kh: [usize; TAPS] = core::array::from_fn(|t| tap(t) / across.kernel);
        let kw: [usize; TAPS] = core::array::from_fn(|t| tap(t) % across.kernel);
        dw.fill(T::ZERO);
        for start in (0..positions).step_by(T::KB) {
            let end = positions.min(start + T::KB);
            for channels in Channels::of::<S, T>(c.out_channels) {
                let mut sums = [zero; TAPS];
                for Run { image, o, across: run } in c.sweep.runs(start..end) {
                    let window = (image * down.out + o) * across.out;
                    let mut lines = [None; TAPS];
                    for (line, kh) in lines.iter_mut().zip(kh) {
                        *line = down.pixel(o, kh).map(|ih| (image * down.len + ih) * across.len);
                    }
                    for ow in run {
                        let dy = channels.get(s, dy, window + ow);
                        for t in 0..TAPS {
                            let x = match (lines[t], across.pixel(ow, kw[t])) {
                                (Some(line), Some(iw)) => channels.get(s, x, line + iw),
                                _ => zero,
                            };
                            sums[t] = T::mul_add(s, x, dy, sums[t]);
                        }
                    }
                }
                for (t, &sum) in sums.iter().enumerate().take(taps) {
                    let total = if start == 0 { sum } else { T::add(s, channels.get(s, dw, t), sum) };
                    channels.put(s, dw, t, total);
                }
            }
        }
    }
}
