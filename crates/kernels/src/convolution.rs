//! Two-dimensional convolution of channels-last images, with its gradients.
//!
//! ```text
//! y[n, oh, ow, o] = act(bias[o] + sum over kh, kw, i of  x[n, ih, iw, i] * w[kh, kw, i, o])
//!     ih = oh * stride + kh * dilation - padding
//!     iw = ow * stride + kw * dilation - padding
//!     x is +0 outside the image
//! ```
//!
//! `i` runs over the channels of the group of `o`. As in PyTorch, this is cross-correlation: the
//! kernel is not flipped.
//!
//! | operand | shape |
//! |---|---|
//! | `x`, `dx` | `[batch, height, width, channels]` |
//! | `w`, `dw` | `[kernel height, kernel width, channels / groups, out channels]` |
//! | `bias`, `db` | `[out channels]` |
//! | `y`, `dy`, `z` | `[batch, out height, out width, out channels]` |
//!
//! `w` is a matrix with a row for each term of the sum.
//!
//! **Bits.** Each convolution is a matrix product (see [`gemm`](crate::gemm)) of the windows and
//! has that product's bits, except with the Winograd algorithm. The matrix has a row for each
//! window, with its pixels in the order (kh, kw, i):
//!
//! | | is the element of | summed over |
//! |---|---|---|
//! | `y` | windows times `w` | (kh, kw, i) |
//! | `dw`, `db` | transposed windows times `dy`; ones times `dy` | (n, oh, ow) |
//! | `dx` | `dy` times transposed `w`, then col2im | o, then the taps (kh, kw) |
//!
//! Sums run in ascending order, in blocks of `KB`. For `dx`, the taps that reach a window are then
//! added in ascending order from +0.
//!
//! [Rounded](Convolution::rounded) operands are multiplied in pairs, as in
//! [`gemm_bf16`](crate::gemm::gemm_bf16). A pair is two neighbours in those sums, except in direct
//! convolution. There an odd number of channels, or of windows in a row, is padded with +0. If the
//! stride is 1 and the padding does not exceed the kernel's reach, direct convolution computes `dx`
//! as the convolution of `dy` with the flipped filters, channels and filters exchanged.
//!
//! The Winograd algorithm computes 3 x 3 kernels of stride 1 whose channels and filters are
//! multiples of 16, where it is faster than the product. It works in tiles of 4 x 4 windows, in its
//! own order of operations, with errors several times as large (docs/NUMERICS.md). It rounds no
//! operand. A non-finite element spoils its whole tile. [`Convolution::in_order`] disables it.
//!
//! Padding takes part as +0, so a non-finite weight makes it NaN, as in a product. No result
//! depends on the number of threads. None depends on the other images of the batch, except `dw` and
//! `db`, which are sums over it.
//!
//! **Algorithms.** The shape alone selects one of them (see [`Algorithm`]):
//!
//! ```text
//! depthwise   one filter per channel: channels in lanes                    -- `depthwise`
//! winograd    3 x 3 kernels, 4 x 4 windows per tile: a quarter of the
//!             multiplications                                              -- `winograd`
//! direct      each image is copied with its zero padding, then the rows
//!             of a window are read in place                                -- `direct`
//! product     im2col, block by block, then a matrix product                -- `columns`, `product`
//! ```
//!
//! Called by the layers of a network.

mod algorithm;
mod columns;
mod depthwise;
mod direct;
mod flipped;
mod max_pool;
pub(crate) mod packing;
mod product;
mod winograd;

use crate::channels::Channels;
use crate::error::check_length;
use crate::gemm::arithmetic::Single;
use crate::simd::{Float, Simd};
use crate::window::{Geometry, Window, length};
use crate::{Cpu, Error};
pub use algorithm::Algorithm;
use columns::{Col2im, Columns};
use max_pool::POOL;

/// Geometry of a convolution. Its methods compute the convolution and its gradients.
///
/// A blur of one image of 3 x 3 pixels with zero padding:
///
/// ```
/// use kernels::convolution::{Convolution, Epilogue, Filters};
/// use kernels::{Cpu, Window};
/// let window = Window::new([3, 3]).padding([1, 1]);
/// let convolution = Convolution::new([1, 3, 3, 1], window, Filters::new(1))?;
/// let x = [0.0_f32, 0.0, 0.0, 0.0, 9.0, 0.0, 0.0, 0.0, 0.0];
/// let w = [1.0 / 9.0; 9];
/// let mut y = [0.0; 9];
/// let mut scratch = vec![0.0; convolution.forward_scratch::<f32>(1)];
/// convolution.forward(Cpu::detect(), &x, &w, Epilogue::NONE, &mut y, &mut scratch)?;
/// assert_eq!(y, [1.0; 9]);
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convolution {
    geometry: Geometry,
    out_channels: usize,
    groups: usize,
    rounded: bool,
    in_order: bool,
}

/// Number of filters of a convolution, and of the groups of channels that they read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filters {
    count: usize,
    groups: usize,
}

impl Filters {
    /// `count` filters, each of which reads all channels.
    pub const fn new(count: usize) -> Self {
        Self { count, groups: 1 }
    }

    /// Sets the number of equal groups of channels: each filter reads the channels of its own
    /// group. As many as channels for a depthwise convolution.
    pub const fn groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }
}

/// Operations fused into the store of `y`.
#[derive(Debug)]
pub struct Epilogue<'a, T> {
    bias: Option<&'a [T]>,
    save: Option<&'a mut [T]>,
    relu: bool,
    /// ReLU's input or output, as long as `y`: the stored element is +0 where this is at most 0.
    gradient_at: Option<&'a [T]>,
    /// Index of the maximum within each pool, if only maxima are stored.
    argmax: Option<&'a mut [T]>,
}

/// Gradient with respect to what [`forward`](Convolution::forward) stored: the sums, or the maximum
/// of each pool.
#[derive(Clone, Copy, Debug)]
pub struct OutputGradient<'a, T> {
    /// The gradient, as long as what was stored.
    pub dy: &'a [T],
    /// Index that [`Epilogue::max_pool`] wrote, if it was used. ReLU's derivative is part of it.
    pub argmax: Option<&'a [T]>,
}

/// Gradients of a convolution. All are overwritten.
#[derive(Debug)]
pub struct Gradients<'a, T> {
    /// With respect to `w`.
    pub dw: &'a mut [T],
    /// With respect to the bias, if requested.
    pub db: Option<&'a mut [T]>,
    /// With respect to `x`, if requested.
    pub dx: Option<&'a mut [T]>,
    /// `true` if `x` is the output of a ReLU and `dx` includes that ReLU's derivative: 0 where `x`
    /// is at most 0.
    pub at_relu: bool,
}

impl<'a, T> Epilogue<'a, T> {
    /// Stores the sums unchanged.
    pub const NONE: Self =
        Self { bias: None, save: None, relu: false, gradient_at: None, argmax: None };

    /// Adds `bias[o]` to the elements of channel `o`.
    pub const fn bias(bias: &'a [T]) -> Self {
        Self { bias: Some(bias), ..Self::NONE }
    }

    /// Also stores the sums with bias to `z`, before the activation.
    pub fn save(self, z: &'a mut [T]) -> Self {
        Self { save: Some(z), ..self }
    }

    /// Applies ReLU: 0 where the element is at most 0, otherwise the element. NaN stays NaN.
    pub fn relu(self) -> Self {
        Self { relu: true, ..self }
    }

    /// Stores only the maximum of each 2 x 2 windows, with the bits of
    /// [`Pooling::max`](crate::pooling::Pooling::max). `argmax` receives its index within the pool,
    /// 0 to 3 in row-major order, or 4 if ReLU's derivative is 0 there.
    ///
    /// Only for a convolution that [`fuses_max_pool`](Convolution::fuses_max_pool). `y` and
    /// `argmax` have a quarter of the elements.
    pub fn max_pool(self, argmax: &'a mut [T]) -> Self {
        Self { argmax: Some(argmax), ..self }
    }
}

/// Least number of multiply-adds of a task: below it, waking another thread costs more. As for
/// `gemm`.
const TASK_WORK: usize = 1 << 17;

/// Elements copied per block, of windows or padded images: 256 KiB of f32, a part of L2.
const BLOCK: usize = 1 << 16;

impl Convolution {
    /// `window` over images `x = [batch, height, width, channels]`, with these filters.
    ///
    /// # Errors
    /// [`Error::Parameter`] if a kernel, a stride, a dilation or the number of groups is 0, if the
    /// kernel is larger than the padded image, if the groups do not divide the channels and the
    /// filters, or if an operand or the im2col matrix exceeds the address space.
    pub const fn new(x: [usize; 4], window: Window, filters: Filters) -> Result<Self, Error> {
        let Filters { count: out_channels, groups } = filters;
        let geometry = match Geometry::new(x, window) {
            Ok(geometry) => geometry,
            Err(error) => return Err(error),
        };
        if groups == 0
            || !geometry.channels.is_multiple_of(groups)
            || !out_channels.is_multiple_of(groups)
        {
            let expected = "a divisor of the channels and of the out channels";
            return Err(Error::Parameter { name: "groups", expected, got: groups as f64 });
        }
        let y = [geometry.batch, geometry.down.out, geometry.across.out, out_channels];
        let w = [
            geometry.down.kernel,
            geometry.across.kernel,
            geometry.channels / groups,
            out_channels,
        ];
        match (length("y", &y), length("w", &w)) {
            (Ok(_), Ok(_)) => {
                Ok(Self { geometry, out_channels, groups, rounded: false, in_order: false })
            }
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }

    /// Returns the same convolution with f32 operands rounded to bf16 (nearest, ties to even)
    /// before they are multiplied. Sums stay f32.
    ///
    /// These round nothing: convolutions of f64, with one channel per filter (such as depthwise),
    /// with at most 16 weights per filter, or by the Winograd algorithm, which would not be faster.
    pub const fn rounded(self) -> Self {
        Self { rounded: true, ..self }
    }

    /// Returns the same convolution without the Winograd algorithm: the bits of the product for
    /// every shape. A non-finite element affects only the windows that contain it.
    pub const fn in_order(self) -> Self {
        Self { in_order: true, ..self }
    }

    /// Shape of `y`: `[batch, out height, out width, out channels]`, where
    /// `out height = (height + 2 padding - dilation (kernel - 1) - 1) / stride + 1`, rounded down.
    pub const fn output(&self) -> [usize; 4] {
        [self.geometry.batch, self.geometry.down.out, self.geometry.across.out, self.out_channels]
    }

    /// Shape of `w`: `[kernel height, kernel width, channels / groups, out channels]`.
    pub const fn filters(&self) -> [usize; 4] {
        [
            self.geometry.down.kernel,
            self.geometry.across.kernel,
            self.group_channels(),
            self.out_channels,
        ]
    }

    /// Number of elements of `x`.
    pub const fn x_len(&self) -> usize {
        self.geometry.x_len()
    }

    /// Number of elements of `y`.
    pub const fn y_len(&self) -> usize {
        self.geometry.positions() * self.out_channels
    }

    /// Number of elements of `w`.
    pub const fn w_len(&self) -> usize {
        self.depth() * self.out_channels
    }

    /// `true` if [`Epilogue::max_pool`] is supported: with the Winograd algorithm and an even
    /// output height and width.
    pub const fn fuses_max_pool(&self) -> bool {
        let (down, across) = (self.geometry.down.out, self.geometry.across.out);
        matches!(self.algorithm::<f32>(), Algorithm::Winograd) && (down | across).is_multiple_of(2)
    }

    /// Number of elements stored of `y`.
    const fn stored_len(&self, argmax: bool) -> usize {
        if argmax { self.y_len() / POOL } else { self.y_len() }
    }

    /// Number of elements of the matrix that [`im2col`](Self::im2col) writes.
    pub const fn columns_len(&self) -> usize {
        self.geometry.positions() * self.geometry.taps() * self.geometry.channels
    }

    /// Channels of a group.
    const fn group_channels(&self) -> usize {
        self.geometry.channels / self.groups
    }

    /// Filters of a group.
    const fn group_filters(&self) -> usize {
        self.out_channels / self.groups
    }

    /// Number of terms of an element of `y`.
    const fn depth(&self) -> usize {
        self.geometry.taps() * self.group_channels()
    }

    /// Number of tasks: at most `threads`, at most `most`, each with at least [`TASK_WORK`].
    fn tasks(&self, threads: usize, most: usize) -> usize {
        let work = self.y_len().saturating_mul(self.depth());
        threads.min(work / TASK_WORK).min(most).max(1)
    }

    /// `columns[g, p, k]` is the element of tap and channel `k = (kh, kw, i)` of group `g` in
    /// window `p = (n, oh, ow)`; +0 in the padding.
    ///
    /// `columns` is `[groups, windows, taps * group channels]`, where windows are
    /// `batch * out height * out width` and taps `kernel height * kernel width`. PyTorch's
    /// `unfold`, transposed.
    ///
    /// # Errors
    /// [`Error::Length`] if `x` or `columns` has another length.
    #[inline(never)]
    pub fn im2col<T: Float>(&self, cpu: Cpu<'_>, x: &[T], columns: &mut [T]) -> Result<(), Error> {
        check_length("x", self.x_len(), x.len())?;
        check_length("columns", self.columns_len(), columns.len())?;
        let (positions, depth) = (self.geometry.positions(), self.depth());
        if columns.is_empty() {
            return Ok(());
        }
        for (group, columns) in columns.chunks_exact_mut(positions * depth).enumerate() {
            let rows = (BLOCK / depth).max(1);
            let blocks = (0..positions).step_by(rows).zip(columns.chunks_mut(rows * depth));
            cpu.for_each_item(blocks, |(start, columns)| {
                let part = Columns { group, taps: 0..self.geometry.taps() };
                self.fill_columns(x, &part, start..positions.min(start + rows), columns);
            });
        }
        Ok(())
    }

    /// The gradient of [`im2col`](Self::im2col): each pixel of `dx` is the sum of all elements of
    /// `columns` that were copied from it, in ascending (kh, kw) from +0. It is +0 where no window
    /// covers it. PyTorch's `fold`.
    ///
    /// # Errors
    /// [`Error::Length`] if `columns` or `dx` has another length.
    #[inline(never)]
    pub fn col2im<T: Float>(&self, cpu: Cpu<'_>, columns: &[T], dx: &mut [T]) -> Result<(), Error> {
        check_length("columns", self.columns_len(), columns.len())?;
        check_length("dx", self.x_len(), dx.len())?;
        if dx.is_empty() {
            return Ok(());
        }
        let (down, of_batch) = (self.geometry.down, columns.len() / self.groups);
        let (image, of_image) = (dx.len() / self.geometry.batch, of_batch / self.geometry.batch);
        cpu.for_each_item(dx.chunks_exact_mut(image).enumerate(), |(n, dx)| {
            dx.fill(T::ZERO);
            for group in 0..self.groups {
                let columns = &columns[group * of_batch + n * of_image..][..of_image];
                let (windows, pixels) = (0..down.out, 0..down.len);
                cpu.isa.run(Col2im {
                    convolution: self,
                    group,
                    columns,
                    windows,
                    dx: &mut *dx,
                    pixels,
                });
            }
        });
        Ok(())
    }

    /// The convolution: the formula at the head of this module, then `epilogue`.
    ///
    /// `scratch` has at least [`forward_scratch`](Self::forward_scratch)`(threads)` elements, which
    /// are overwritten. PyTorch's `conv2d`, but for the layout.
    ///
    /// # Errors
    /// [`Error::Length`] if an operand does not have the length of this geometry;
    /// [`Error::Scratch`] if `scratch` is too small; [`Error::Parameter`] if the epilogue pools but
    /// [`fuses_max_pool`](Self::fuses_max_pool) is `false`, or if it both pools and
    /// saves `z`. Nothing is written then.
    #[inline(never)]
    pub fn forward<T: Float>(
        &self,
        cpu: Cpu<'_>,
        x: &[T],
        w: &[T],
        epilogue: Epilogue<'_, T>,
        y: &mut [T],
        scratch: &mut [T],
    ) -> Result<(), Error> {
        check_length("x", self.x_len(), x.len())?;
        check_length("w", self.w_len(), w.len())?;
        let pooled = epilogue.argmax.as_deref();
        check_length("y", self.stored_len(pooled.is_some()), y.len())?;
        self.check_argmax(pooled)?;
        if let (Some(_), Some(z)) = (pooled, &epilogue.save) {
            let expected = "no z where only the maximum of each pool is stored";
            return Err(Error::Parameter { name: "z", expected, got: z.len() as f64 });
        }
        if let Some(bias) = epilogue.bias {
            check_length("bias", self.out_channels, bias.len())?;
        }
        if let Some(z) = &epilogue.save {
            check_length("z", self.y_len(), z.len())?;
        }
        check_scratch(self.forward_scratch::<T>(cpu.threads()), scratch.len())?;
        if self.y_len() == 0 {
            return Ok(());
        }
        if self.rounds() {
            self.forward_of::<T::Rounded>(cpu, x, w, epilogue, y, scratch);
        } else {
            self.forward_of::<Single<T>>(cpu, x, w, epilogue, y, scratch);
        }
        Ok(())
    }

    /// The gradient with respect to `x`, given `dy`, the gradient with respect to the sum. `dx` is
    /// overwritten.
    ///
    /// `scratch` has at least [`dx_scratch`](Self::dx_scratch)`(threads)` elements, which are
    /// overwritten.
    ///
    /// # Errors
    /// As for [`forward`](Self::forward).
    #[inline(never)]
    pub fn dx<T: Float>(
        &self,
        cpu: Cpu<'_>,
        dy: &[T],
        w: &[T],
        dx: &mut [T],
        scratch: &mut [T],
    ) -> Result<(), Error> {
        check_length("dy", self.y_len(), dy.len())?;
        check_length("w", self.w_len(), w.len())?;
        check_length("dx", self.x_len(), dx.len())?;
        check_scratch(self.dx_scratch::<T>(cpu.threads()), scratch.len())?;
        if dx.is_empty() {
            return Ok(());
        }
        if self.rounds() {
            self.dx_of::<T::Rounded>(cpu, dy, w, None, dx, scratch)
        } else {
            self.dx_of::<Single<T>>(cpu, dy, w, None, dx, scratch)
        }
    }

    /// The gradients with respect to `w` and, if requested, the bias: `dw[kh, kw, i, o]` is the sum
    /// of `x * dy[.., o]` over all windows, `db[o]` is the sum of `dy[.., o]`. Both are
    /// overwritten.
    ///
    /// `scratch` has at least [`dw_scratch`](Self::dw_scratch)`(threads)` elements, which are
    /// overwritten.
    ///
    /// # Errors
    /// As for [`forward`](Self::forward).
    #[inline(never)]
    pub fn dw<T: Float>(
        &self,
        cpu: Cpu<'_>,
        x: &[T],
        dy: &[T],
        dw: &mut [T],
        db: Option<&mut [T]>,
        scratch: &mut [T],
    ) -> Result<(), Error> {
        check_length("x", self.x_len(), x.len())?;
        check_length("dy", self.y_len(), dy.len())?;
        check_length("dw", self.w_len(), dw.len())?;
        if let Some(db) = &db {
            check_length("db", self.out_channels, db.len())?;
        }
        check_scratch(self.dw_scratch::<T>(cpu.threads()), scratch.len())?;
        if self.rounds() {
            self.dw_of::<T::Rounded>(cpu, x, dy, dw, db, scratch);
        } else {
            self.dw_of::<Single<T>>(cpu, x, dy, dw, db, scratch);
        }
        Ok(())
    }

    /// [`dw`](Self::dw) and, if requested, [`dx`](Self::dx) in one pass over `of`, with the same
    /// bits.
    ///
    /// `scratch` has at least [`backward_scratch`](Self::backward_scratch)`(threads)` elements,
    /// which are overwritten.
    ///
    /// # Errors
    /// As for [`forward`](Self::forward).
    #[inline(never)]
    pub fn backward<T: Float>(
        &self,
        cpu: Cpu<'_>,
        x: &[T],
        w: &[T],
        of: OutputGradient<'_, T>,
        to: Gradients<'_, T>,
        scratch: &mut [T],
    ) -> Result<(), Error> {
        check_length("x", self.x_len(), x.len())?;
        check_length("w", self.w_len(), w.len())?;
        check_length("dy", self.stored_len(of.argmax.is_some()), of.dy.len())?;
        self.check_argmax(of.argmax)?;
        check_length("dw", self.w_len(), to.dw.len())?;
        if let Some(db) = &to.db {
            check_length("db", self.out_channels, db.len())?;
        }
        if let Some(dx) = &to.dx {
            check_length("dx", self.x_len(), dx.len())?;
        }
        check_scratch(self.backward_scratch::<T>(cpu.threads()), scratch.len())?;
        if self.rounds() {
            self.backward_of::<T::Rounded>(cpu, [x, w], of, to, scratch)
        } else {
            self.backward_of::<Single<T>>(cpu, [x, w], of, to, scratch)
        }
    }

    /// Checks `argmax`, if given: the convolution must fuse max pooling, and the length must match.
    fn check_argmax<T>(&self, argmax: Option<&[T]>) -> Result<(), Error> {
        let Some(argmax) = argmax else { return Ok(()) };
        if !self.fuses_max_pool() {
            let expected = "none where the convolution does not fuse max pooling";
            return Err(Error::Parameter { name: "argmax", expected, got: argmax.len() as f64 });
        }
        check_length("argmax", self.stored_len(true), argmax.len())
    }

    /// Scratch elements that [`forward`](Self::forward) needs on an executor of `threads` threads,
    /// on any instruction set that is compiled in.
    pub const fn forward_scratch<T: Float>(&self, threads: usize) -> usize {
        if self.rounds() {
            self.forward_scratch_of::<T::Rounded>(threads)
        } else {
            self.forward_scratch_of::<Single<T>>(threads)
        }
    }

    /// Scratch elements that [`dx`](Self::dx) needs, as [`forward_scratch`](Self::forward_scratch).
    pub const fn dx_scratch<T: Float>(&self, threads: usize) -> usize {
        if self.rounds() {
            self.dx_scratch_of::<T::Rounded>(threads)
        } else {
            self.dx_scratch_of::<Single<T>>(threads)
        }
    }

    /// Scratch elements that [`dw`](Self::dw) needs, as [`forward_scratch`](Self::forward_scratch).
    pub const fn dw_scratch<T: Float>(&self, threads: usize) -> usize {
        if self.rounds() {
            self.dw_scratch_of::<T::Rounded>(threads)
        } else {
            self.dw_scratch_of::<Single<T>>(threads)
        }
    }

    /// Scratch elements that [`backward`](Self::backward) needs, as
    /// [`forward_scratch`](Self::forward_scratch).
    pub const fn backward_scratch<T: Float>(&self, threads: usize) -> usize {
        if self.rounds() {
            self.backward_scratch_of::<T::Rounded>(threads)
        } else {
            self.backward_scratch_of::<Single<T>>(threads)
        }
    }

    /// `true` if f32 operands are rounded. With few terms, rounding takes longer than the products;
    /// one channel makes no pair.
    const fn rounds(&self) -> bool {
        self.rounded && self.group_channels() > 1 && self.depth() > 16
    }
}

fn check_scratch(expected: usize, got: usize) -> Result<(), Error> {
    if got < expected { Err(Error::Scratch { expected, got }) } else { Ok(()) }
}

impl<'a, T> Epilogue<'a, T> {
    /// Stores the sums of these channels of one window, after bias and activation.
    #[inline(always)]
    fn store<S: Simd>(
        &mut self,
        s: S,
        channels: Channels,
        y: &mut [T],
        window: usize,
        mut sum: T::V<S>,
    ) where
        T: Float,
    {
        if let Some(z) = &mut self.save {
            let plain = Epilogue { bias: self.bias, ..Epilogue::NONE };
            channels.put(s, z, window, plain.activated(s, channels, sum));
        }
        sum = self.activated(s, channels, sum);
        if let Some(at) = self.gradient_at {
            let zero = T::splat(s, T::ZERO);
            sum = T::select(s, T::less_or_equal(s, channels.get(s, at, window), zero), zero, sum);
        }
        channels.put(s, y, window, sum);
    }

    /// The sums of these channels with their bias and the activation.
    #[inline(always)]
    fn activated<S: Simd>(&self, s: S, channels: Channels, mut sum: T::V<S>) -> T::V<S>
    where
        T: Float,
    {
        if let Some(bias) = self.bias {
            sum = T::add(s, sum, channels.get(s, bias, 0));
        }
        if self.relu {
            let zero = T::splat(s, T::ZERO);
            sum = T::select(s, T::less_or_equal(s, sum, zero), zero, sum);
        }
        sum
    }

    /// Splits off the epilogue of the first `len` elements of `y`. `self` keeps the rest.
    fn split_off(&mut self, len: usize) -> Epilogue<'a, T> {
        let save = self.save.as_mut().and_then(|z| z.split_off_mut(..len));
        let gradient_at = self.gradient_at.as_mut().and_then(|at| at.split_off(..len));
        let argmax = self.argmax.as_mut().and_then(|argmax| argmax.split_off_mut(..len / POOL));
        Epilogue { bias: self.bias, save, relu: self.relu, gradient_at, argmax }
    }
}
