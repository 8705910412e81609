//! Geometry of windows that slide over images: the pixels that a window covers, and the windows
//! that cover a pixel.
//!
//! Images are channels-last, `[batch, height, width, channels]`: the channels of a pixel are
//! contiguous, and a batch of images is a matrix with a row for each pixel. The two [`Axis`] of a
//! [`Geometry`] are independent of each other. Used by `convolution` and `pooling`.

use core::ops::Range;

use crate::Error;

/// The window of a convolution or of a pooling: each pair is `[down, across]`.
///
/// ```
/// use kernels::Window;
/// let five_by_five = Window::new([5, 5]).padding([2, 2]);
/// let halving = Window::new([2, 2]).stride([2, 2]);
/// # let _ = (five_by_five, halving);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    dilation: [usize; 2],
}

impl Window {
    /// A window of `kernel` pixels with stride 1, without padding or dilation.
    pub const fn new(kernel: [usize; 2]) -> Self {
        Self { kernel, stride: [1, 1], padding: [0, 0], dilation: [1, 1] }
    }

    /// Sets the stride, in pixels.
    pub const fn stride(self, stride: [usize; 2]) -> Self {
        Self { stride, ..self }
    }

    /// Sets the padding: pixels that windows may extend beyond each edge of the image.
    pub const fn padding(self, padding: [usize; 2]) -> Self {
        Self { padding, ..self }
    }

    /// Sets the dilation: the distance between neighbouring pixels of a window.
    pub const fn dilation(self, dilation: [usize; 2]) -> Self {
        Self { dilation, ..self }
    }
}

/// Geometry along one axis: down (height) or across (width).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Axis {
    /// Pixels of the image.
    pub(crate) len: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) padding: usize,
    pub(crate) dilation: usize,
    /// Number of windows.
    pub(crate) out: usize,
}

impl Axis {
    const fn new(len: usize, window: Window, axis: usize) -> Result<Self, Error> {
        let (kernel, stride) = (window.kernel[axis], window.stride[axis]);
        let (padding, dilation) = (window.padding[axis], window.dilation[axis]);
        if kernel == 0 {
            return at_least_one("kernel");
        }
        if stride == 0 {
            return at_least_one("stride");
        }
        if dilation == 0 {
            return at_least_one("dilation");
        }
        let Some(padded) = product(&[2, padding]) else {
            return too_long("padding", padding as f64);
        };
        let Some(padded) = product(&[padded.saturating_add(len), 1]) else {
            return too_long("padding", padding as f64);
        };
        let extent = match product(&[kernel - 1, dilation]) {
            Some(reach) if reach < padded => reach + 1,
            _ => {
                let expected = "a window no larger than the padded image";
                return Err(Error::Parameter { name: "kernel", expected, got: kernel as f64 });
            }
        };
        Ok(Self { len, kernel, stride, padding, dilation, out: (padded - extent) / stride + 1 })
    }

    /// The pixel under tap `k` of window `o`; `None` in the padding.
    #[inline(always)]
    pub(crate) fn pixel(&self, o: usize, k: usize) -> Option<usize> {
        let padded = o * self.stride + k * self.dilation;
        if padded >= self.padding && padded < self.padding + self.len {
            Some(padded - self.padding)
        } else {
            None
        }
    }

    /// The window whose tap `k` is on pixel `i`, if there is one.
    #[inline(always)]
    pub(crate) fn window(&self, i: usize, k: usize) -> Option<usize> {
        let start = (i + self.padding).checked_sub(k * self.dilation)?;
        let window = start / self.stride;
        (start.is_multiple_of(self.stride) && window < self.out).then_some(window)
    }

    /// `true` if all taps of window `o` are inside the image.
    #[inline(always)]
    pub(crate) fn is_inside(&self, o: usize) -> bool {
        let start = o * self.stride;
        start >= self.padding && start + (self.kernel - 1) * self.dilation < self.padding + self.len
    }

    /// The taps of window `o` that are inside the image.
    #[inline(always)]
    pub(crate) fn inside(&self, o: usize) -> Range<usize> {
        // The common case needs no division.
        if self.is_inside(o) {
            return 0..self.kernel;
        }
        let start = o * self.stride;
        let before = self.padding.saturating_sub(start).div_ceil(self.dilation).min(self.kernel);
        let end = (self.padding + self.len)
            .saturating_sub(start)
            .div_ceil(self.dilation)
            .min(self.kernel);
        before..end.max(before)
    }

    /// The windows that may cover any of `pixels`.
    pub(crate) fn windows(&self, pixels: &Range<usize>) -> Range<usize> {
        let reach = (self.kernel - 1) * self.dilation;
        let first = (pixels.start + self.padding).saturating_sub(reach).div_ceil(self.stride);
        let end = ((pixels.end + self.padding).div_ceil(self.stride)).min(self.out);
        first.min(end)..end
    }
}

const fn at_least_one(name: &'static str) -> Result<Axis, Error> {
    Err(Error::Parameter { name, expected: "at least 1", got: 0.0 })
}

const fn too_long<R>(name: &'static str, got: f64) -> Result<R, Error> {
    Err(Error::Parameter { name, expected: "a size that fits into memory", got })
}

/// Product of all `dimensions`, if a slice can have that length.
const fn product(dimensions: &[usize]) -> Option<usize> {
    let (mut product, mut zero, mut i) = (1_usize, false, 0);
    while i < dimensions.len() {
        // A zero must not hide an overflow: other lengths are products without that dimension.
        let dimension = if dimensions[i] == 0 { 1 } else { dimensions[i] };
        zero = zero || dimensions[i] == 0;
        product = match product.checked_mul(dimension) {
            Some(product) if product <= isize::MAX as usize => product,
            _ => return None,
        };
        i += 1;
    }
    Some(if zero { 0 } else { product })
}

/// Length of an operand with these dimensions.
pub(crate) const fn length(operand: &'static str, dimensions: &[usize]) -> Result<usize, Error> {
    match product(dimensions) {
        Some(length) => Ok(length),
        None => {
            let (mut got, mut i) = (1.0, 0);
            while i < dimensions.len() {
                got *= dimensions[i] as f64;
                i += 1;
            }
            too_long(operand, got)
        }
    }
}

/// All windows over a batch of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) batch: usize,
    pub(crate) channels: usize,
    pub(crate) down: Axis,
    pub(crate) across: Axis,
}

impl Geometry {
    /// `window` over images of the shape `[batch, height, width, channels]`.
    pub(crate) const fn new(x: [usize; 4], window: Window) -> Result<Self, Error> {
        let [batch, height, width, channels] = x;
        let down = match Axis::new(height, window, 0) {
            Ok(axis) => axis,
            Err(error) => return Err(error),
        };
        let across = match Axis::new(width, window, 1) {
            Ok(axis) => axis,
            Err(error) => return Err(error),
        };
        // The padded image and the im2col matrix fit, so no length made of these dimensions
        // overflows.
        let padded = [batch, height + 2 * down.padding, width + 2 * across.padding, channels];
        let covered = [batch, down.out, across.out, down.kernel, across.kernel, channels];
        match (length("x", &padded), length("x", &covered)) {
            (Ok(_), Ok(_)) => Ok(Self { batch, channels, down, across }),
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }

    /// Number of elements of the images.
    pub(crate) const fn x_len(&self) -> usize {
        self.batch * self.down.len * self.across.len * self.channels
    }

    /// Number of windows in all images.
    pub(crate) const fn positions(&self) -> usize {
        self.batch * self.down.out * self.across.out
    }

    /// Number of pixels of a window.
    pub(crate) const fn taps(&self) -> usize {
        self.down.kernel * self.across.kernel
    }

    /// The windows `positions`, in row-major order over all images, as runs within rows.
    pub(crate) fn runs(&self, positions: Range<usize>) -> impl Iterator<Item = Run> {
        let (down, across) = (self.down.out.max(1), self.across.out.max(1));
        let mut at = positions.start;
        core::iter::from_fn(move || {
            if at >= positions.end {
                return None;
            }
            let start = at % across;
            let end = across.min(start + positions.end - at);
            let row = at / across;
            at += end - start;
            Some(Run { image: row / down, o: row % down, across: start..end })
        })
    }
}

/// Neighbouring windows: `across` in row `o` of the windows of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) image: usize,
    pub(crate) o: usize,
    pub(crate) across: Range<usize>,
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;

    #[test]
    fn taps_and_windows_match_a_search() {
        for (len, kernel, stride, padding, dilation) in [
            (7, 3, 1, 0, 1),
            (7, 3, 2, 1, 1),
            (8, 2, 3, 2, 2),
            (1, 5, 1, 2, 1),
            (5, 3, 4, 2, 3),
            (0, 1, 1, 1, 1),
        ] {
            let window = Window::new([kernel, 1])
                .stride([stride, 1])
                .padding([padding, 0])
                .dilation([dilation, 1]);
            let axis = Axis::new(len, window, 0).unwrap();
            let covers = |o: usize, k: usize| {
                let at = (o * stride + k * dilation) as isize - padding as isize;
                (0..len as isize).contains(&at).then_some(at as usize)
            };
            for o in 0..axis.out {
                let inside: Vec<usize> = (0..kernel).filter(|&k| covers(o, k).is_some()).collect();
                assert_eq!(axis.is_inside(o), inside.len() == kernel);
                assert_eq!(axis.inside(o).collect::<Vec<_>>(), inside, "window {o} of {axis:?}");
                for k in 0..kernel {
                    assert_eq!(axis.pixel(o, k), covers(o, k));
                    assert!(covers(o, k).is_none_or(|i| axis.window(i, k) == Some(o)));
                    assert!(
                        (0..len).all(|i| axis.window(i, k) != Some(o) || covers(o, k) == Some(i))
                    );
                }
            }
            for start in 0..len {
                for end in start + 1..=len {
                    let windows = axis.windows(&(start..end));
                    for o in (0..axis.out).filter(|o| !windows.contains(o)) {
                        assert!(
                            (0..kernel).all(|k| covers(o, k).is_none_or(|i| i < start || i >= end))
                        );
                    }
                }
            }
            // One more window would not fit.
            let last = (axis.out - 1) * stride + (kernel - 1) * dilation;
            assert!(last < len + 2 * padding && last + stride >= len + 2 * padding);
        }
    }

    #[test]
    fn runs_cover_each_position_once() {
        let geometry = Geometry::new([3, 4, 5, 1], Window::new([2, 3])).unwrap();
        for start in 0..geometry.positions() {
            for end in start..=geometry.positions() {
                let all = geometry.runs(start..end).flat_map(|run| {
                    let row = (run.image * 3 + run.o) * 3;
                    run.across.map(move |o| row + o)
                });
                assert!(all.eq(start..end));
            }
        }
    }

    #[test]
    fn impossible_windows_are_refused() {
        let error = |x, window| match Geometry::new(x, window) {
            Err(Error::Parameter { name, .. }) => name,
            other => panic!("{other:?}"),
        };
        let x = [2, 5, 5, 3];
        assert_eq!(error(x, Window::new([0, 1])), "kernel");
        assert_eq!(error(x, Window::new([1, 6])), "kernel");
        assert_eq!(error(x, Window::new([3, 3]).dilation([1, 3])), "kernel");
        assert_eq!(error(x, Window::new([3, 3]).dilation([0, 1])), "dilation");
        assert_eq!(error(x, Window::new([3, 3]).dilation([usize::MAX, 1])), "kernel");
        assert_eq!(error(x, Window::new([3, 3]).stride([1, 0])), "stride");
        assert_eq!(error(x, Window::new([3, 3]).padding([usize::MAX, 0])), "padding");
        assert_eq!(error([2, usize::MAX, 1, 1], Window::new([1, 1])), "padding");
        let half = 1 << (usize::BITS / 2);
        assert_eq!(error([half, 1, 1, half], Window::new([1, 1])), "x");
        assert_eq!(error([0, half, 1, half / 2], Window::new([1, 1])), "x");
        assert!(Geometry::new([0, 5, 5, 0], Window::new([5, 5])).is_ok());
        assert!(Geometry::new([1, 1, 1, 1], Window::new([5, 5]).padding([2, 2])).is_ok());
    }
}
