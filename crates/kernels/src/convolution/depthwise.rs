//! Depthwise convolution: each channel has its own filter, so that channels run in lanes and
//! nothing is copied.
//!
//! ```text
//! y    each SIDE pixels of y, each register of channels:   sum over its taps, one chain
//! dx   each SIDE pixels of x, each register of channels:   sum over the windows that cover it
//! dw   each block of KB windows, each register of channels, each SIDE taps:  one chain each;
//!                                                          then added
//! ```
//!
//! The sums are those of the product with one row of `w`, which this replaces. Called by
//! `convolution`.

use core::ops::Range;

use super::{Convolution, Epilogue, product};
use crate::Cpu;
use crate::channels::Channels;
use crate::gemm::arithmetic::Single;
use crate::simd::{Float, Simd, WithSimd};
use crate::window::Run;

/// Independent accumulator chains, to hide the latency of an FMA (4 cycles). They are neighbouring
/// pixels, which share their filter, or neighbouring taps of `dw`, which share `dy`.
const SIDE: usize = 4;

/// `y` is not empty.
pub(super) fn forward<T: Float>(
    c: &Convolution,
    cpu: Cpu<'_>,
    x: &[T],
    w: &[T],
    mut epilogue: Epilogue<'_, T>,
    mut y: &mut [T],
) {
    let positions = c.geometry.positions();
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
        let zero = T::splat(s, T::ZERO);
        let first = windows.start;
        for run in c.geometry.runs(windows) {
            let row = (run.image * c.geometry.down.out + run.o) * c.geometry.across.out;
            let mut ow = run.across.start;
            while ow < run.across.end {
                let whole = ow + SIDE <= run.across.end
                    && c.geometry.across.is_inside(ow)
                    && c.geometry.across.is_inside(ow + SIDE - 1);
                let side = if whole { SIDE } else { 1 };
                for channels in Channels::of::<S, T>(c.out_channels) {
                    let mut sums = [zero; SIDE];
                    if whole {
                        sums = windows_of::<S, T, SIDE>(s, c, x, w, &run, ow, channels);
                    } else {
                        [sums[0]] = windows_of::<S, T, 1>(s, c, x, w, &run, ow, channels);
                    }
                    for (i, &sum) in sums.iter().enumerate().take(side) {
                        let (window, mut sum) = (row + ow + i - first, sum);
                        if let Some(bias) = epilogue.bias {
                            sum = T::add(s, sum, channels.get(s, bias, 0));
                        }
                        if let Some(z) = &mut epilogue.save {
                            channels.put(s, z, window, sum);
                        }
                        if epilogue.relu {
                            sum = T::select(s, T::less_or_equal(s, sum, zero), zero, sum);
                        }
                        channels.put(s, y, window, sum);
                    }
                }
                ow += side;
            }
        }
    }
}

/// The sums of `N` windows from `ow` on. With `N > 1` they must lie inside the image's width.
#[inline(always)]
fn windows_of<S: Simd, T: Float, const N: usize>(
    s: S,
    c: &Convolution,
    x: &[T],
    w: &[T],
    run: &Run,
    ow: usize,
    channels: Channels,
) -> [T::V<S>; N] {
    let (down, across) = (c.geometry.down, c.geometry.across);
    let zero = T::splat(s, T::ZERO);
    let mut sums = [zero; N];
    for kh in 0..down.kernel {
        let line = down.pixel(run.o, kh).map(|ih| (run.image * down.len + ih) * across.len);
        for kw in 0..across.kernel {
            let w = channels.get(s, w, kh * across.kernel + kw);
            let left = if N > 1 {
                Some(ow * across.stride + kw * across.dilation - across.padding)
            } else {
                across.pixel(ow, kw)
            };
            for (i, sum) in sums.iter_mut().enumerate() {
                let x = match (line, left) {
                    (Some(line), Some(left)) => channels.get(s, x, line + left + i * across.stride),
                    _ => zero,
                };
                *sum = T::mul_add(s, x, w, *sum);
            }
        }
    }
    sums
}

/// `dx` is not empty.
pub(super) fn dx<T: Float>(c: &Convolution, cpu: Cpu<'_>, dy: &[T], w: &[T], dx: &mut [T]) {
    let line = c.geometry.across.len * c.geometry.channels;
    let lines = c.geometry.batch * c.geometry.down.len;
    let own = lines.div_ceil(c.tasks(cpu.threads(), lines));
    let items = (0..lines).step_by(own).zip(dx.chunks_mut(own * line));
    cpu.for_each_item(items, |(first, dx)| cpu.isa.run(Dx { c, dy, w, first, dx }));
}

struct Dx<'a, T> {
    c: &'a Convolution,
    dy: &'a [T],
    w: &'a [T],
    /// First row of pixels, counted over all images.
    first: usize,
    dx: &'a mut [T],
}

impl<T: Float> WithSimd for Dx<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { c, dy, w, first, dx } = self;
        let (down, across) = (c.geometry.down, c.geometry.across);
        for (row, dx) in (first..).zip(dx.chunks_exact_mut(across.len * c.geometry.channels)) {
            let at = (row / down.len, row % down.len);
            // `true` where every tap of the kernel reaches a window.
            let reach = (across.kernel - 1) * across.dilation;
            let reached =
                |iw: usize| iw + across.padding >= reach && iw + across.padding < across.out;
            let mut iw = 0;
            while iw < across.len {
                let whole = across.stride == 1
                    && iw + SIDE <= across.len
                    && reached(iw)
                    && reached(iw + SIDE - 1);
                for channels in Channels::of::<S, T>(c.geometry.channels) {
                    if whole {
                        let sums = pixels_of::<S, T, SIDE>(s, c, dy, w, at, iw, channels);
                        for (i, &sum) in sums.iter().enumerate() {
                            channels.put(s, dx, iw + i, sum);
                        }
                    } else {
                        let [sum] = pixels_of::<S, T, 1>(s, c, dy, w, at, iw, channels);
                        channels.put(s, dx, iw, sum);
                    }
                }
                iw += if whole { SIDE } else { 1 };
            }
        }
    }
}

/// The sums of `N` pixels from `iw` on, in row `ih` of an image. With `N > 1` the stride must be 1
/// and all taps across must reach a window.
#[inline(always)]
fn pixels_of<S: Simd, T: Float, const N: usize>(
    s: S,
    c: &Convolution,
    dy: &[T],
    w: &[T],
    (image, ih): (usize, usize),
    iw: usize,
    channels: Channels,
) -> [T::V<S>; N] {
    let (down, across) = (c.geometry.down, c.geometry.across);
    let mut sums = [T::splat(s, T::ZERO); N];
    for kh in 0..down.kernel {
        let Some(oh) = down.window(ih, kh) else { continue };
        let line = (image * down.out + oh) * across.out;
        for kw in 0..across.kernel {
            let ow = if N > 1 {
                iw + across.padding - kw * across.dilation
            } else {
                let Some(ow) = across.window(iw, kw) else { continue };
                ow
            };
            let w = channels.get(s, w, kh * across.kernel + kw);
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum = T::add(s, *sum, T::mul(s, channels.get(s, dy, line + ow + i), w));
            }
        }
    }
    sums
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
        product::db::<Single<T>>(c, cpu, dy, db, scratch);
    }
    if c.out_channels == 0 {
        return;
    }
    let items = (0..).step_by(SIDE).zip(dw.chunks_mut(SIDE * c.out_channels));
    cpu.for_each_item(items, |(first, dw)| cpu.isa.run(Dw { c, x, dy, first, dw }));
}

struct Dw<'a, T> {
    c: &'a Convolution,
    x: &'a [T],
    dy: &'a [T],
    /// First of up to [`SIDE`] taps.
    first: usize,
    dw: &'a mut [T],
}

impl<T: Float> WithSimd for Dw<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { c, x, dy, first, dw } = self;
        let (down, across) = (c.geometry.down, c.geometry.across);
        let (zero, positions) = (T::splat(s, T::ZERO), c.geometry.positions());
        let taps = dw.len() / c.out_channels;
        // Past the last tap: the last tap again.
        let tap = |t: usize| first + t.min(taps - 1);
        let kh: [usize; SIDE] = core::array::from_fn(|t| tap(t) / across.kernel);
        let kw: [usize; SIDE] = core::array::from_fn(|t| tap(t) % across.kernel);
        dw.fill(T::ZERO);
        for start in (0..positions).step_by(T::KB) {
            let end = positions.min(start + T::KB);
            for channels in Channels::of::<S, T>(c.out_channels) {
                let mut sums = [zero; SIDE];
                for Run { image, o, across: run } in c.geometry.runs(start..end) {
                    let window = (image * down.out + o) * across.out;
                    let mut lines = [None; SIDE];
                    for (line, kh) in lines.iter_mut().zip(kh) {
                        *line = down.pixel(o, kh).map(|ih| (image * down.len + ih) * across.len);
                    }
                    for ow in run {
                        let dy = channels.get(s, dy, window + ow);
                        let (inside, left) = (across.is_inside(ow), ow * across.stride);
                        for t in 0..SIDE {
                            let x = match lines[t] {
                                Some(line) if inside => {
                                    let iw = left + kw[t] * across.dilation - across.padding;
                                    channels.get(s, x, line + iw)
                                }
                                Some(line) => match across.pixel(ow, kw[t]) {
                                    Some(iw) => channels.get(s, x, line + iw),
                                    None => zero,
                                },
                                None => zero,
                            };
                            sums[t] = T::mul_add(s, x, dy, sums[t]);
                        }
                    }
                }
                for (t, &sum) in sums.iter().enumerate().take(taps) {
                    let total =
                        if start == 0 { sum } else { T::add(s, channels.get(s, dw, t), sum) };
                    channels.put(s, dw, t, total);
                }
            }
        }
    }
}
