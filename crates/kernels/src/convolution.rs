//! Two-dimensional convolution of channels-last images, beside its gradients.
//!
//! ```text
//! y[n, oh, ow, o] = act(bias[o] + sum over kh, kw, i of  x[n, ih, iw, i] * w[kh, kw, i, o])
//!     ih = oh * stride + kh * dilation - padding,  likewise iw;  x is +0 outside the image
//! ```
//!
//! With `i` over the channels of the group of `o`. As in deep learning everywhere, the kernel is not mirrored. The shapes are
//!
//! | operand | shape |
//! |---|---|
//! | `x`, `dx` | `[batch, height, width, channels]` |
//! | `w`, `dw` | `[kernel height, kernel width, channels / groups, out channels]`: a matrix with a row for each term of the sum |
//! | `bias`, `db` | `[out channels]` |
//! | `y`, `dy`, `z` | `[batch, out height, out width, out channels]` |
//!
//! **Bits.** Each convolution is a matrix product (see [`gemm`](crate::gemm)) of the windows, a row each with its pixels in the order
//! (kh, kw, i), and has that product's bits, but for Winograd's way:
//!
//! | | is the element of | summed over |
//! |---|---|---|
//! | `y` | windows times `w` | (kh, kw, i), ascending, in blocks of `KB` |
//! | `dw`, `db` | the windows' transpose times `dy`; ones times `dy` | (n, oh, ow), ascending, in blocks of `KB` |
//! | `dx` | `dy` times `w`'s transpose, then added up | o, ascending, in blocks of `KB`; then the taps (kh, kw) that reach a window, ascending from +0 |
//!
//! [Rounded](Convolution::rounded) factors are multiplied in pairs, as [`gemm_bf16`](crate::gemm::gemm_bf16) has them: neighbours in
//! those sums, but for the direct way. There an odd number of channels ends with one of +0, an odd number of windows in a row with one
//! of +0, and `dx`, where windows move by one pixel and padding is no wider than the kernel's reach, is the convolution of `dy` with the
//! taps of `w` in reverse, its channels and filters exchanged.
//!
//! 3 x 3 kernels over channels and filters that are sixteens, with stride 1, are computed by Winograd's algorithm where that is
//! faster than the product: in tiles of 4 x 4 windows, in an order of its own, whose errors are several times as large
//! (docs/NUMERICS.md). It rounds no factors. What is not finite then spoils its whole tile. [`Convolution::in_order`] keeps to the
//! products.
//!
//! Padding takes part as +0: a weight that is not finite makes NaN of it, as in a product. Nothing depends on the number of threads,
//! nor on the other images of the batch, but for `dw` and `db`, which are sums over it.
//!
//! **How.** Each way gives these bits, or those that are said to be its own, and the shape alone chooses between them:
//!
//! ```text
//! depthwise   a filter for each channel: channels in lanes                        -- `depthwise`
//! winograd    3 x 3 pixels in tiles of 4 x 4 windows, a quarter of the products    -- `winograd`
//! direct      the image is copied into a frame of zeros, where a window's
//!             rows are read in place                                              -- `direct`
//! product     the windows are copied into a matrix, some rows at a time           -- `columns`, `product`
//! ```
//!
//! Called by the layers of a network.

mod algorithm;
mod columns;
mod depthwise;
mod direct;
mod greatest;
mod product;
mod turned;
mod winograd;
pub(crate) mod words;

use crate::channels::Channels;
use crate::error::check_length;
use crate::gemm::terms::Single;
use crate::simd::{Float, Simd};
use crate::window::{Sweep, Window, length};
use crate::{Cpu, Error};
pub use algorithm::Algorithm;
use columns::{Gather, Part};
use greatest::POOL;

/// The geometry of a convolution; its methods compute it.
///
/// A blur of one image of 3 x 3 pixels, whose border counts as 0:
///
/// ```
/// use kernels::convolution::{Convolution, Epilogue};
/// use kernels::{Cpu, Window};
/// let window = Window::new([3, 3]).padding([1, 1]);
/// let convolution = Convolution::new([1, 3, 3, 1], window, 1, 1)?;
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
    sweep: Sweep,
    out_channels: usize,
    groups: usize,
    rounded: bool,
    in_order: bool,
}

/// What happens to the elements of `y` before they are stored.
#[derive(Debug)]
pub struct Epilogue<'a, T> {
    bias: Option<&'a [T]>,
    keep: Option<&'a mut [T]>,
    relu: bool,
    /// Where ReLU's gradient is taken.
    gradient_at: Option<&'a [T]>,
    /// If only the greatest of a pool is stored: which that was.
    which: Option<&'a mut [T]>,
}

/// The gradient with respect to what [`forward`](Convolution::forward) stored: to the sum, or to the greatest of each pool.
#[derive(Clone, Copy, Debug)]
pub struct OutputGradient<'a, T> {
    /// The gradient, as long as what was stored.
    pub dy: &'a [T],
    /// What [`Epilogue::greatest`] wrote, if it was asked to: ReLU's gradient is in it.
    pub which: Option<&'a [T]>,
}

/// Where the gradients of a convolution go: all are overwritten.
#[derive(Debug)]
pub struct Gradients<'a, T> {
    /// With respect to `w`.
    pub dw: &'a mut [T],
    /// With respect to the bias, if it is wanted.
    pub db: Option<&'a mut [T]>,
    /// With respect to `x`, if it is wanted.
    pub dx: Option<&'a mut [T]>,
    /// Whether `dx` is times ReLU's gradient where `x` is ReLU's output: 0 where `x` is at most 0.
    pub at_relu: bool,
}

impl<'a, T> Epilogue<'a, T> {
    /// They are stored as they are.
    pub const NONE: Self = Self { bias: None, keep: None, relu: false, gradient_at: None, which: None };

    /// `bias[o]` is added to the elements of channel `o`.
    pub const fn bias(bias: &'a [T]) -> Self {
        Self { bias: Some(bias), ..Self::NONE }
    }

    /// Then they are also stored to `z`, before the activation.
    pub fn keep(self, z: &'a mut [T]) -> Self {
        Self { keep: Some(z), ..self }
    }

    /// Then the rectifier: 0 where the element is at most 0, else the element. NaN stays NaN.
    pub fn relu(self) -> Self {
        Self { relu: true, ..self }
    }

    /// Then, of each 2 x 2 windows, the greatest alone is stored, as [`Pooling::max`](crate::pooling::Pooling::max) has it, and to
    /// `which` its number among them, 0 to 3 in the order (down, across): 4 if the rectifier's gradient there is 0. For a convolution
    /// that [pools](Convolution::pools); `y` and `which` have a quarter of the elements.
    pub fn greatest(self, which: &'a mut [T]) -> Self {
        Self { which: Some(which), ..self }
    }
}

/// Multiply-adds from which on another thread is worth its waking, as for `gemm`.
const TASK_WORK: usize = 1 << 17;

/// Elements that are copied at a time, windows or frames: 256 KiB of f32, a part of a second-level cache.
const BLOCK: usize = 1 << 16;

impl Convolution {
    /// `window` over images `x = [batch, height, width, channels]`, for `out_channels` filters. Of `groups` equal groups of
    /// channels, each filter sees the one that its own channel belongs to: 1 for all channels, `channels` for a depthwise convolution.
    ///
    /// # Errors
    /// [`Error::Parameter`] if a kernel, a stride, a dilation or `groups` is 0, if the kernel is larger than the padded image, if the
    /// groups are not equal, or if an operand, or the matrix of all windows, were larger than memory can be.
    pub const fn new(
        x: [usize; 4],
        window: Window,
        out_channels: usize,
        groups: usize,
    ) -> Result<Self, Error> {
        let sweep = match Sweep::new(x, window) {
            Ok(sweep) => sweep,
            Err(error) => return Err(error),
        };
        if groups == 0 || !sweep.channels.is_multiple_of(groups) || !out_channels.is_multiple_of(groups) {
            let expected = "a divisor of the channels and of the out channels";
            return Err(Error::Parameter { name: "groups", expected, got: groups as f64 });
        }
        let y = [sweep.batch, sweep.down.out, sweep.across.out, out_channels];
        let w = [sweep.down.kernel, sweep.across.kernel, sweep.channels / groups, out_channels];
        match (length("y", &y), length("w", &w)) {
            (Ok(_), Ok(_)) => Ok(Self { sweep, out_channels, groups, rounded: false, in_order: false }),
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }

    /// The same convolution, whose factors of f32 may be rounded to bf16, to nearest, ties to even, before they are multiplied; sums
    /// stay f32. Those of one channel to a filter, such as depthwise ones, those whose filters have at most 16 weights, those by
    /// Winograd's algorithm, which is as fast without, and those of f64 round nothing.
    pub const fn rounded(self) -> Self {
        Self { rounded: true, ..self }
    }

    /// The same convolution, with the bits of the product whatever its shape, and what is not finite in its own windows alone: not
    /// by Winograd's algorithm.
    pub const fn in_order(self) -> Self {
        Self { in_order: true, ..self }
    }

    /// The shape of `y`: `[batch, out height, out width, out channels]`, where
    /// `out height = (height + 2 padding - dilation (kernel - 1) - 1) / stride + 1`, rounded down.
    pub const fn output(&self) -> [usize; 4] {
        [self.sweep.batch, self.sweep.down.out, self.sweep.across.out, self.out_channels]
    }

    /// The shape of `w`: `[kernel height, kernel width, channels / groups, out channels]`.
    pub const fn filters(&self) -> [usize; 4] {
        [self.sweep.down.kernel, self.sweep.across.kernel, self.group_channels(), self.out_channels]
    }

    /// Elements of `x`.
    pub const fn x_len(&self) -> usize {
        self.sweep.x_len()
    }

    /// Elements of `y`.
    pub const fn y_len(&self) -> usize {
        self.sweep.positions() * self.out_channels
    }

    /// Elements of `w`.
    pub const fn w_len(&self) -> usize {
        self.depth() * self.out_channels
    }

    /// Whether it can store the greatest of each 2 x 2 windows in the same pass ([`Epilogue::greatest`]): by Winograd's way, and
    /// where such windows are all there are.
    pub const fn pools(&self) -> bool {
        let (down, across) = (self.sweep.down.out, self.sweep.across.out);
        matches!(self.algorithm::<f32>(), Algorithm::Winograd) && (down | across).is_multiple_of(2)
    }

    /// Elements of what is stored of `y`.
    const fn stored_len(&self, which: bool) -> usize {
        if which { self.y_len() / POOL } else { self.y_len() }
    }

    /// Elements of the matrix that [`im2col`](Self::im2col) writes.
    pub const fn columns_len(&self) -> usize {
        self.sweep.positions() * self.sweep.taps() * self.sweep.channels
    }

    /// Channels that a filter sees.
    const fn group_channels(&self) -> usize {
        self.sweep.channels / self.groups
    }

    /// Filters of a group.
    const fn group_filters(&self) -> usize {
        self.out_channels / self.groups
    }

    /// Terms of an element of `y`.
    const fn depth(&self) -> usize {
        self.sweep.taps() * self.group_channels()
    }

    /// How many tasks are worth while, at most `threads` and at most `most`.
    fn tasks(&self, threads: usize, most: usize) -> usize {
        let work = self.y_len().saturating_mul(self.depth());
        threads.min(work / TASK_WORK).min(most).max(1)
    }

    /// `columns[g, p, k]` is what tap and channel `k = (kh, kw, i)` of group `g` see in window `p = (n, oh, ow)`: +0 in the padding.
    ///
    /// `columns` is `[groups, batch * out height * out width, kernel height * kernel width * channels / groups]`. PyTorch's `unfold`, with
    /// rows and columns exchanged.
    ///
    /// # Errors
    /// [`Error::Length`] if `x` or `columns` has another length.
    #[inline(never)]
    pub fn im2col<T: Float>(&self, cpu: Cpu<'_>, x: &[T], columns: &mut [T]) -> Result<(), Error> {
        check_length("x", self.x_len(), x.len())?;
        check_length("columns", self.columns_len(), columns.len())?;
        let (positions, depth) = (self.sweep.positions(), self.depth());
        if columns.is_empty() {
            return Ok(());
        }
        for (group, columns) in columns.chunks_exact_mut(positions * depth).enumerate() {
            let rows = (BLOCK / depth).max(1);
            let blocks = (0..positions).step_by(rows).zip(columns.chunks_mut(rows * depth));
            cpu.for_each_item(blocks, |(start, columns)| {
                let part = Part { group, taps: 0..self.sweep.taps() };
                self.fill(x, &part, start..positions.min(start + rows), columns);
            });
        }
        Ok(())
    }

    /// The gradient of [`im2col`](Self::im2col): `dx` becomes, for each pixel, the sum of all elements of `columns` that were copied
    /// from it, in ascending (kh, kw) from +0; +0 where no window covers it. PyTorch's `fold`.
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
        let (down, of_batch) = (self.sweep.down, columns.len() / self.groups);
        let (image, of_image) = (dx.len() / self.sweep.batch, of_batch / self.sweep.batch);
        cpu.for_each_item(dx.chunks_exact_mut(image).enumerate(), |(n, dx)| {
            dx.fill(T::ZERO);
            for group in 0..self.groups {
                let columns = &columns[group * of_batch + n * of_image..][..of_image];
                let (windows, pixels) = (0..down.out, 0..down.len);
                cpu.isa.run(Gather { convolution: self, group, columns, windows, dx: &mut *dx, pixels });
            }
        });
        Ok(())
    }

    /// The convolution: the formula at the head of this module, then what `epilogue` says.
    ///
    /// `scratch` has at least [`forward_scratch`](Self::forward_scratch)`(threads)` elements, which are overwritten. PyTorch's
    /// `conv2d`, but for the layout.
    ///
    /// # Errors
    /// [`Error::Length`] if an operand has another length than the geometry says, [`Error::Scratch`] if `scratch` is too small;
    /// [`Error::Parameter`] if the greatest are asked of a convolution that does not [pool](Self::pools), or beside what is kept
    /// before the activation. Nothing has been written then.
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
        let pooled = epilogue.which.as_deref();
        check_length("y", self.stored_len(pooled.is_some()), y.len())?;
        self.check_which(pooled)?;
        if let (Some(_), Some(z)) = (pooled, &epilogue.keep) {
            let expected = "nothing kept before the activation where only the greatest is stored";
            return Err(Error::Parameter { name: "z", expected, got: z.len() as f64 });
        }
        if let Some(bias) = epilogue.bias {
            check_length("bias", self.out_channels, bias.len())?;
        }
        if let Some(z) = &epilogue.keep {
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

    /// The gradient with respect to `x`, from that with respect to the sum, `dy`: `dx` is overwritten.
    ///
    /// `scratch` has at least [`dx_scratch`](Self::dx_scratch)`(threads)` elements, which are overwritten.
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

    /// The gradients with respect to `w` and, if it is wanted, to the bias: `dw[kh, kw, i, o]` is the sum of `x * dy[.., o]` over all
    /// windows, `db[o]` that of `dy[.., o]`. Both are overwritten.
    ///
    /// `scratch` has at least [`dw_scratch`](Self::dw_scratch)`(threads)` elements, which are overwritten.
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

    /// Both in one pass over `of`: [`dw`](Self::dw) and, where it is wanted, [`dx`](Self::dx), with their bits.
    ///
    /// `scratch` has at least [`backward_scratch`](Self::backward_scratch)`(threads)` elements, which are overwritten.
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
        check_length("dy", self.stored_len(of.which.is_some()), of.dy.len())?;
        self.check_which(of.which)?;
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

    /// Of what tells which of each pool was the greatest, if anything does.
    fn check_which<T>(&self, which: Option<&[T]>) -> Result<(), Error> {
        let Some(which) = which else { return Ok(()) };
        if !self.pools() {
            let expected = "none where the convolution does not store the greatest of each pool";
            return Err(Error::Parameter { name: "which", expected, got: which.len() as f64 });
        }
        check_length("which", self.stored_len(true), which.len())
    }

    /// How many elements of scratch [`forward`](Self::forward) needs on an executor of `threads` threads, on any instruction set that is
    /// compiled in.
    pub const fn forward_scratch<T: Float>(&self, threads: usize) -> usize {
        if self.rounds() {
            self.forward_scratch_of::<T::Rounded>(threads)
        } else {
            self.forward_scratch_of::<Single<T>>(threads)
        }
    }

    /// How many elements of scratch [`dx`](Self::dx) needs, as [`forward_scratch`](Self::forward_scratch).
    pub const fn dx_scratch<T: Float>(&self, threads: usize) -> usize {
        if self.rounds() {
            self.dx_scratch_of::<T::Rounded>(threads)
        } else {
            self.dx_scratch_of::<Single<T>>(threads)
        }
    }

    /// How many elements of scratch [`dw`](Self::dw) needs, as [`forward_scratch`](Self::forward_scratch).
    pub const fn dw_scratch<T: Float>(&self, threads: usize) -> usize {
        if self.rounds() {
            self.dw_scratch_of::<T::Rounded>(threads)
        } else {
            self.dw_scratch_of::<Single<T>>(threads)
        }
    }

    /// How many elements of scratch [`backward`](Self::backward) needs, as [`forward_scratch`](Self::forward_scratch).
    pub const fn backward_scratch<T: Float>(&self, threads: usize) -> usize {
        if self.rounds() {
            self.backward_scratch_of::<T::Rounded>(threads)
        } else {
            self.backward_scratch_of::<Single<T>>(threads)
        }
    }

    /// Whether factors of f32 are rounded: of few terms the rounding takes longer than the products, and one channel makes no pair.
    const fn rounds(&self) -> bool {
        self.rounded && self.group_channels() > 1 && self.depth() > 16
    }
}

fn check_scratch(expected: usize, got: usize) -> Result<(), Error> {
    if got < expected { Err(Error::Scratch { expected, got }) } else { Ok(()) }
}

impl<'a, T> Epilogue<'a, T> {
    /// Stores a window's sums of these channels, and what becomes of them.
    #[inline(always)]
    fn store<S: Simd>(&mut self, s: S, channels: Channels, y: &mut [T], window: usize, mut sum: T::V<S>)
    where
        T: Float,
    {
        if let Some(z) = &mut self.keep {
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

    /// A window's sums of these channels with their bias and the activation.
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

    /// That of the first `len` elements of `y`, which it then has no more.
    fn split_off(&mut self, len: usize) -> Epilogue<'a, T> {
        let keep = self.keep.as_mut().and_then(|z| z.split_off_mut(..len));
        let gradient_at = self.gradient_at.as_mut().and_then(|at| at.split_off(..len));
        let which = self.which.as_mut().and_then(|which| which.split_off_mut(..len / POOL));
        Epilogue { bias: self.bias, keep, relu: self.relu, gradient_at, which }
    }
}
