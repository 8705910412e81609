//! Max and average pooling of channels-last images, with their gradients.
//!
//! ```text
//! max    y[n, oh, ow, c] = max of x[n, ih, iw, c] over the window
//! mean   y[n, oh, ow, c] = (sum of x[n, ih, iw, c] over the window) / count
//!     ih = oh * stride + kh - padding,  iw = ow * stride + kw - padding
//!     pixels outside the image are skipped
//! ```
//!
//! `x` and `dx` are `[batch, height, width, channels]`; `y` and `dy` are
//! `[batch, out height, out width, channels]`. Channels run in lanes.
//!
//! ```text
//! each row of windows / of pixels                        in parallel
//!     each window, each register of channels:
//!         y       its taps in ascending (kh, kw)
//!         dx      the taps again:  dx[tap] += share of dy
//! ```
//!
//! **Bits.** A mean sums each row of the window from left to right, then the rows from the top; the
//! quotient is rounded once. An element of `dx` adds up its windows from the first to the last,
//! from +0. Called by the layers of a network.

use core::ops::Range;

use crate::channels::Channels;
use crate::error::check_length;
use crate::simd::{Float, Simd, WithSimd};
use crate::window::{Axis, Geometry, Window};
use crate::{Cpu, Error};

/// Least number of elements that a task reads: 64 KiB of f32, as for the element-wise operations.
const TASK: usize = 1 << 14;

/// Most pixels of a window: up to here a count is exact in f32.
const MAX_TAPS: usize = 1 << 24;

/// Geometry of a pooling; its methods compute it.
///
/// ```
/// use kernels::pooling::Pooling;
/// use kernels::{Cpu, Window};
/// let pooling = Pooling::new([1, 2, 4, 1], Window::new([2, 2]).stride([2, 2]))?;
/// assert_eq!(pooling.output(), [1, 1, 2, 1]);
/// let x = [1.0_f32, 2.0, 0.0, -1.0, 4.0, 3.0, -2.0, -3.0];
/// let (mut y, mut dx) = ([0.0; 2], [0.0; 8]);
/// pooling.max(Cpu::detect(), &x, &mut y)?;
/// assert_eq!(y, [4.0, 0.0]);
/// pooling.max_backward(Cpu::detect(), &x, &[10.0, 20.0], &mut dx)?;
/// assert_eq!(dx, [0.0, 0.0, 20.0, 0.0, 10.0, 0.0, 0.0, 0.0]);
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pooling {
    geometry: Geometry,
}

/// Divisor of a mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Count {
    /// The pixels of the window, padding included: PyTorch's default.
    #[default]
    Window,
    /// The pixels of the window inside the image: PyTorch's `count_include_pad=False`.
    Image,
}

impl Pooling {
    /// `window` over images `x = [batch, height, width, channels]`. The default stride is 1; in
    /// PyTorch it is the kernel.
    ///
    /// # Errors
    /// [`Error::Parameter`] if a kernel or a stride is 0, if a dilation is not 1, if the padding
    /// exceeds half the kernel (a window could lie outside the image), if the kernel is larger than
    /// the padded image or than 2^24 pixels, if `height` or `width` is 0, or if an operand, or all
    /// windows together, exceed the address space.
    pub const fn new(x: [usize; 4], window: Window) -> Result<Self, Error> {
        let geometry = match Geometry::new(x, window) {
            Ok(geometry) => geometry,
            Err(error) => return Err(error),
        };
        let (down, across) = (geometry.down, geometry.across);
        const fn error(
            name: &'static str,
            expected: &'static str,
            got: usize,
        ) -> Result<Pooling, Error> {
            Err(Error::Parameter { name, expected, got: got as f64 })
        }
        if down.len == 0 {
            return error("height", "at least 1", 0);
        }
        if across.len == 0 {
            return error("width", "at least 1", 0);
        }
        if down.dilation != 1 || across.dilation != 1 {
            let got = if down.dilation != 1 { down.dilation } else { across.dilation };
            return error("dilation", "1", got);
        }
        if geometry.taps() > MAX_TAPS {
            return error("kernel", "at most 2^24 pixels", geometry.taps());
        }
        if down.padding > down.kernel / 2 || across.padding > across.kernel / 2 {
            let got = if down.padding > down.kernel / 2 { down.padding } else { across.padding };
            return error("padding", "at most half of the kernel", got);
        }
        Ok(Self { geometry })
    }

    /// One window per image: with it, [`mean`](Self::mean) is global average pooling.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub const fn global(x: [usize; 4]) -> Result<Self, Error> {
        Self::new(x, Window::new([x[1], x[2]]))
    }

    /// Shape of `y`: `[batch, out height, out width, channels]`, where
    /// `out height = (height + 2 padding - kernel) / stride + 1`, rounded down.
    pub const fn output(&self) -> [usize; 4] {
        [
            self.geometry.batch,
            self.geometry.down.out,
            self.geometry.across.out,
            self.geometry.channels,
        ]
    }

    /// Number of elements of `x`.
    pub const fn x_len(&self) -> usize {
        self.geometry.x_len()
    }

    /// Number of elements of `y`.
    pub const fn y_len(&self) -> usize {
        self.geometry.positions() * self.geometry.channels
    }

    /// Maximum of each window. PyTorch's `max_pool2d`.
    ///
    /// If a window has a NaN, its maximum is NaN. Of zeros of both signs the first is the maximum.
    ///
    /// # Errors
    /// [`Error::Length`] if `x` or `y` has another length.
    #[inline(never)]
    pub fn max<T: Float>(&self, cpu: Cpu<'_>, x: &[T], y: &mut [T]) -> Result<(), Error> {
        self.forward::<T, Max>(cpu, x, y, Max)
    }

    /// The gradient of [`max`](Self::max) with respect to its input `x`: `dy` goes to the argmax of
    /// the window. Among equals, and among several NaN, that is the first in (kh, kw); PyTorch
    /// takes the last NaN. `dx` is overwritten.
    ///
    /// # Errors
    /// [`Error::Length`] if `x`, `dy` or `dx` has another length.
    #[inline(never)]
    pub fn max_backward<T: Float>(
        &self,
        cpu: Cpu<'_>,
        x: &[T],
        dy: &[T],
        dx: &mut [T],
    ) -> Result<(), Error> {
        check_length("x", self.x_len(), x.len())?;
        self.backward(cpu, MaxBackward::<T, false> { x }, dy, dx)
    }

    /// [`max_backward`](Self::max_backward) times ReLU's derivative, where `x` is the output of a
    /// ReLU: `dx` is 0 where `x` is at most 0.
    ///
    /// # Errors
    /// [`Error::Length`] if `x`, `dy` or `dx` has another length.
    #[inline(never)]
    pub fn max_relu_backward<T: Float>(
        &self,
        cpu: Cpu<'_>,
        x: &[T],
        dy: &[T],
        dx: &mut [T],
    ) -> Result<(), Error> {
        check_length("x", self.x_len(), x.len())?;
        self.backward(cpu, MaxBackward::<T, true> { x }, dy, dx)
    }

    /// Mean of each window over the pixels that `count` names. PyTorch's `avg_pool2d`.
    ///
    /// NaN, infinities and overflow propagate as in addition.
    ///
    /// # Errors
    /// [`Error::Length`] if `x` or `y` has another length.
    #[inline(never)]
    pub fn mean<T: Float>(
        &self,
        cpu: Cpu<'_>,
        count: Count,
        x: &[T],
        y: &mut [T],
    ) -> Result<(), Error> {
        self.forward::<T, Mean>(cpu, x, y, Mean(count))
    }

    /// The gradient of [`mean`](Self::mean) with respect to `x`: each pixel of a window gets
    /// `dy / count`, rounded once. `dx` is overwritten.
    ///
    /// # Errors
    /// [`Error::Length`] if `dy` or `dx` has another length.
    #[inline(never)]
    pub fn mean_backward<T: Float>(
        &self,
        cpu: Cpu<'_>,
        count: Count,
        dy: &[T],
        dx: &mut [T],
    ) -> Result<(), Error> {
        self.backward(cpu, Mean(count), dy, dx)
    }

    fn forward<T: Float, Op: Forward>(
        &self,
        cpu: Cpu<'_>,
        x: &[T],
        y: &mut [T],
        op: Op,
    ) -> Result<(), Error> {
        check_length("x", self.x_len(), x.len())?;
        check_length("y", self.y_len(), y.len())?;
        if y.is_empty() {
            return Ok(());
        }
        let row = self.geometry.across.out * self.geometry.channels;
        let rows = (TASK / (row * self.geometry.taps())).max(1);
        cpu.for_each_item(y.chunks_mut(rows * row).enumerate(), |(task, y)| {
            cpu.isa.run(Rows { geometry: &self.geometry, op: &op, x, first: task * rows, y });
        });
        Ok(())
    }

    fn backward<T: Float>(
        &self,
        cpu: Cpu<'_>,
        op: impl Backward<T>,
        dy: &[T],
        dx: &mut [T],
    ) -> Result<(), Error> {
        let geometry = &self.geometry;
        check_length("dy", self.y_len(), dy.len())?;
        check_length("dx", self.x_len(), dx.len())?;
        if dx.is_empty() {
            return Ok(());
        }
        let line = geometry.across.len * geometry.channels;
        // Where two parts of an image meet, windows that reach into both are visited twice.
        let rows = (TASK / line).max(geometry.down.kernel);
        let parts = dx.chunks_exact_mut(geometry.down.len * line).enumerate();
        let parts = parts
            .flat_map(|(n, dx)| dx.chunks_mut(rows * line).enumerate().map(move |part| (n, part)));
        cpu.for_each_item(parts, |(image, (part, dx))| {
            let start = part * rows;
            let pixels = start..start + dx.len() / line;
            cpu.isa.run(Strip { geometry, op: &op, dy, image, pixels, dx });
        });
        Ok(())
    }
}

/// The part of a window that is inside the image: its first pixel, and its extent down and across.
#[derive(Clone, Copy)]
struct Inside {
    /// Pixels of the whole window.
    taps: usize,
    pixel: usize,
    line: usize,
    rows: usize,
    cols: usize,
}

impl Inside {
    #[inline(always)]
    fn new(geometry: &Geometry, image: usize, o: usize, ow: usize) -> Self {
        let (down, across) = (geometry.down, geometry.across);
        let (kh, kw) = (down.inside(o), across.inside(ow));
        let row = image * down.len + o * down.stride + kh.start - down.padding;
        Self {
            taps: geometry.taps(),
            pixel: row * across.len + ow * across.stride + kw.start - across.padding,
            line: across.len,
            rows: kh.len(),
            cols: kw.len(),
        }
    }

    /// Index in `x` of a tap, counted from the first one inside the image.
    #[inline(always)]
    fn pixel(&self, row: usize, col: usize) -> usize {
        self.pixel + row * self.line + col
    }
}

/// The result of a window.
trait Forward: Sync {
    fn window<S: Simd, T: Float>(&self, s: S, x: &[T], at: &Inside, channels: Channels) -> T::V<S>;
}

/// Some rows of windows, counted over all images.
struct Rows<'a, T, Op> {
    geometry: &'a Geometry,
    op: &'a Op,
    x: &'a [T],
    first: usize,
    y: &'a mut [T],
}

impl<T: Float, Op: Forward> WithSimd for Rows<'_, T, Op> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { geometry, op, x, first, y } = self;
        for (row, y) in (first..).zip(y.chunks_exact_mut(geometry.across.out * geometry.channels)) {
            for ow in 0..geometry.across.out {
                let at =
                    Inside::new(geometry, row / geometry.down.out, row % geometry.down.out, ow);
                for channels in Channels::of::<S, T>(geometry.channels) {
                    channels.put(s, y, ow, op.window::<S, T>(s, x, &at, channels));
                }
            }
        }
    }
}

/// The gradient that a window passes to its pixels.
trait Backward<T: Float>: Sync {
    /// State of a window while its pixels are visited in order.
    type Window<S: Simd>: Copy;
    fn window<S: Simd>(
        &self,
        s: S,
        dy: T::V<S>,
        at: &Inside,
        channels: Channels,
    ) -> Self::Window<S>;
    /// The share of pixel number `pixel` of `x`, and the state for the next pixel.
    fn share<S: Simd>(
        &self,
        s: S,
        window: Self::Window<S>,
        pixel: usize,
        channels: Channels,
    ) -> (T::V<S>, Self::Window<S>);
}

/// Rows `pixels` of an image.
struct Strip<'a, T, Op> {
    geometry: &'a Geometry,
    op: &'a Op,
    dy: &'a [T],
    image: usize,
    pixels: Range<usize>,
    dx: &'a mut [T],
}

impl<T: Float, Op: Backward<T>> WithSimd for Strip<'_, T, Op> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { geometry, op, dy, image, pixels, dx } = self;
        let (down, across) = (geometry.down, geometry.across);
        // Windows that do not overlap store instead of adding.
        let apart = down.stride >= down.kernel && across.stride >= across.kernel;
        let covers = |axis: Axis| {
            axis.padding == 0 && axis.kernel == axis.stride && axis.out * axis.stride == axis.len
        };
        if !(apart && covers(down) && covers(across)) {
            dx.fill(T::ZERO);
        }
        let zero = T::splat(s, T::ZERO);
        // Index in `x` of the first pixel of `dx`.
        let first = (image * down.len + pixels.start) * across.len;
        for o in down.windows(&pixels) {
            // The first row of the window that is inside the image.
            let top = (o * down.stride).saturating_sub(down.padding);
            for ow in 0..across.out {
                let at = Inside::new(geometry, image, o, ow);
                for channels in Channels::of::<S, T>(geometry.channels) {
                    let dy = channels.get(s, dy, (image * down.out + o) * across.out + ow);
                    let mut window = op.window::<S>(s, dy, &at, channels);
                    for row in 0..at.rows {
                        // Another task writes the pixels outside this strip.
                        let here = pixels.contains(&(top + row));
                        for col in 0..at.cols {
                            let pixel = at.pixel(row, col);
                            let (share, rest) = op.share::<S>(s, window, pixel, channels);
                            window = rest;
                            if here {
                                let before =
                                    if apart { zero } else { channels.get(s, dx, pixel - first) };
                                let sum = T::add(s, before, share);
                                channels.put(s, dx, pixel - first, sum);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Maximum of a window.
struct Max;

impl Forward for Max {
    #[inline(always)]
    fn window<S: Simd, T: Float>(&self, s: S, x: &[T], at: &Inside, channels: Channels) -> T::V<S> {
        let mut max = channels.get(s, x, at.pixel(0, 0));
        for row in 0..at.rows {
            for col in 0..at.cols {
                let x = channels.get(s, x, at.pixel(row, col));
                let of_numbers = T::select(s, T::less(s, max, x), x, max);
                max = T::select(s, T::less_or_equal(s, x, x), of_numbers, x);
            }
        }
        max
    }
}

/// The gradient of [`Max`], and of ReLU before it if `RELU`.
struct MaxBackward<'a, T, const RELU: bool> {
    x: &'a [T],
}

impl<T: Float, const RELU: bool> Backward<T> for MaxBackward<'_, T, RELU> {
    /// The maximum, and `dy` until it is given away.
    type Window<S: Simd> = [T::V<S>; 2];

    #[inline(always)]
    fn window<S: Simd>(&self, s: S, dy: T::V<S>, at: &Inside, channels: Channels) -> [T::V<S>; 2] {
        [Max.window::<S, T>(s, self.x, at, channels), dy]
    }

    #[inline(always)]
    fn share<S: Simd>(
        &self,
        s: S,
        [max, left]: [T::V<S>; 2],
        pixel: usize,
        channels: Channels,
    ) -> (T::V<S>, [T::V<S>; 2]) {
        let (zero, one) = (T::splat(s, T::ZERO), T::splat(s, T::ONE));
        let x = channels.get(s, self.x, pixel);
        // 1 where x is not the maximum: less than it, or a number where the maximum is NaN.
        let less = T::select(s, T::less(s, x, max), one, zero);
        let number = T::select(s, T::less_or_equal(s, x, x), one, zero);
        let missed = T::select(s, T::less_or_equal(s, max, max), less, number);
        let missed = T::less(s, zero, missed);
        let mut share = T::select(s, missed, zero, left);
        if RELU {
            share = T::select(s, T::less_or_equal(s, x, zero), zero, share);
        }
        (share, [max, T::select(s, missed, left, zero)])
    }
}

/// Mean of a window.
struct Mean(Count);

impl Mean {
    #[inline(always)]
    fn count<S: Simd, T: Float>(&self, s: S, at: &Inside) -> T::V<S> {
        number::<S, T>(s, if self.0 == Count::Window { at.taps } else { at.rows * at.cols })
    }
}

impl Forward for Mean {
    #[inline(always)]
    fn window<S: Simd, T: Float>(&self, s: S, x: &[T], at: &Inside, channels: Channels) -> T::V<S> {
        let mut total = T::splat(s, T::ZERO);
        for row in 0..at.rows {
            let mut sum = channels.get(s, x, at.pixel(row, 0));
            for col in 1..at.cols {
                sum = T::add(s, sum, channels.get(s, x, at.pixel(row, col)));
            }
            total = if row == 0 { sum } else { T::add(s, total, sum) };
        }
        T::div(s, total, self.count::<S, T>(s, at))
    }
}

impl<T: Float> Backward<T> for Mean {
    /// The share of each pixel.
    type Window<S: Simd> = T::V<S>;

    #[inline(always)]
    fn window<S: Simd>(&self, s: S, dy: T::V<S>, at: &Inside, _: Channels) -> T::V<S> {
        T::div(s, dy, self.count::<S, T>(s, at))
    }

    #[inline(always)]
    fn share<S: Simd>(&self, _: S, share: T::V<S>, _: usize, _: Channels) -> (T::V<S>, T::V<S>) {
        (share, share)
    }
}

/// A number of taps, which is exact up to [`MAX_TAPS`].
#[inline(always)]
fn number<S: Simd, T: Float>(s: S, tap: usize) -> T::V<S> {
    T::splat(s, T::from_f64(tap as f64))
}
