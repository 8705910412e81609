//! Dropout: sets random elements to 0 and scales the others. The mask is never stored.
//!
//! ```text
//! for each chunk                                        in parallel
//!     for some blocks of the generator                  their words transposed, in registers
//!         dropped = where fill_bernoulli(p) has a 1     element i is a function of i alone
//!         y = 0 where dropped, x / (1 - p) elsewhere
//! ```
//!
//! The gradient is the same operation on `dy`: stream and offset determine the mask. Called by the
//! layers of a network.

use crate::elementwise::{CHUNK, Elementwise, along};
use crate::error::{check_length, check_parameter};
use crate::random::{Bernoulli, Stream, TILE};
use crate::simd::{Float, Simd, WithSimd};
use crate::{Cpu, Element, Error};

/// Inverted dropout (Srivastava et al., JMLR 2014). PyTorch: `Dropout`, with other masks.
///
/// ```text
/// y[i] = 0               where stream.bits(offset + i) >> 1 is below p 2^31
///        x[i] / (1 - p)  elsewhere
/// ```
///
/// `1 / (1 - p)` is rounded once, and so is its product with `x[i]`. The mask depends on `stream`,
/// `p` and the index alone. It is the same for every element type, and for a batch in parts if
/// `offset` is where the part begins. A dropped element is +0, even if it was NaN or infinite. With
/// `p = 0` all elements stay unchanged, with `p = 1` all are dropped.
///
/// ```
/// use kernels::{Cpu, dropout::Dropout, random::Stream};
/// let (cpu, dropout) = (Cpu::detect(), Dropout { p: 0.5, stream: Stream::new(42, 3) });
/// let (mut y, mut dy) = ([0.0_f32; 6], [1.0; 6]);
/// dropout.forward(cpu, 0, &[1.0; 6], &mut y)?;
/// dropout.backward(cpu, 0, &mut dy)?;
/// assert_eq!(y, dy);
/// assert!(y.iter().all(|&y| y == 0.0 || y == 2.0));
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// Probability of dropping an element: in `[0, 1]`, rounded to a multiple of 2^-31.
    pub p: f64,
    /// Random stream of the mask: another one for each layer and step.
    pub stream: Stream,
}

impl Dropout {
    /// Checks that `p` is in range.
    ///
    /// # Errors
    /// [`Error::Parameter`] if it is not.
    pub fn check(self) -> Result<(), Error> {
        Bernoulli::new(self.stream, self.p).map(|_| ())
    }

    /// Copies `x` to `y` and applies dropout. Element `i` of `x` uses element `offset + i` of the
    /// mask.
    ///
    /// # Errors
    /// [`Error::Parameter`] if [`check`](Self::check) fails or `offset` plus the length exceeds
    /// `u64::MAX`; [`Error::Length`] if `x` and `y` differ in length. Nothing is written then.
    #[inline(never)]
    pub fn forward<E: Element>(
        self,
        cpu: Cpu<'_>,
        offset: u64,
        x: &[E],
        y: &mut [E],
    ) -> Result<(), Error> {
        check_length("x", y.len(), x.len())?;
        self.run(cpu, offset, x.chunks(CHUNK).map(Some), y)
    }

    /// [`forward`](Self::forward) with `y` in place of `x`: the same bits.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    #[inline(never)]
    pub fn forward_in_place<E: Element>(
        self,
        cpu: Cpu<'_>,
        offset: u64,
        x: &mut [E],
    ) -> Result<(), Error> {
        self.run(cpu, offset, core::iter::repeat(None), x)
    }

    /// The gradient with respect to the input, in place of the gradient with respect to the output.
    /// Equal to [`forward_in_place`](Self::forward_in_place), since `y` is linear in `x`.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    #[inline(never)]
    pub fn backward<E: Element>(
        self,
        cpu: Cpu<'_>,
        offset: u64,
        dy: &mut [E],
    ) -> Result<(), Error> {
        self.forward_in_place(cpu, offset, dy)
    }

    /// `x` has a chunk for each chunk of `y`, or `None` where `y` holds `x` itself.
    fn run<'a, E: Element>(
        self,
        cpu: Cpu<'_>,
        offset: u64,
        x: impl Iterator<Item = Option<&'a [E]>> + Send,
        y: &mut [E],
    ) -> Result<(), Error> {
        let dropped = Bernoulli::new(self.stream, self.p)?;
        let past_the_end = offset.checked_add(y.len() as u64).is_none();
        check_parameter("offset", offset as f64, "at most 2^64 - 1 less the length", |_| {
            !past_the_end
        })?;
        // Infinite for p = 1, where every element is dropped.
        let survivor = Survivor { scale: E::Float::from_f64(1.0 / (1.0 - self.p)) };
        let chunks = x.zip(y.chunks_mut(CHUNK)).enumerate();
        cpu.for_each_item(chunks, |(chunk, (x, y))| {
            let first = offset + (chunk * CHUNK) as u64;
            cpu.isa.run(Kernel { dropped, survivor, first, x, y });
        });
        Ok(())
    }
}

/// A chunk that begins with element `first` of the mask.
struct Kernel<'a, E: Element> {
    dropped: Bernoulli,
    survivor: Survivor<E::Float>,
    first: u64,
    x: Option<&'a [E]>,
    y: &'a mut [E],
}

impl<E: Element> WithSimd for Kernel<'_, E> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { dropped, survivor, first, x, y } = self;
        let mut tile = [E::default(); TILE];
        let mut done = 0;
        while done < y.len() {
            let dropped = dropped.tile(first + done as u64, &mut tile);
            let here = done..y.len().min(done + dropped.len());
            done = here.end;
            if let Some(x) = x {
                y[here.clone()].copy_from_slice(&x[here.clone()]);
            }
            along(s, &survivor, [dropped], [&mut y[here]]);
        }
    }
}

/// `scale * x`, in place of `x`, or +0 where it is dropped.
#[derive(Clone, Copy)]
struct Survivor<T> {
    scale: T,
}

impl<T: Float> Elementwise<T, 1, 1> for Survivor<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [dropped]: [T::V<S>; 1], [x]: [T::V<S>; 1]) -> [T::V<S>; 1] {
        let zero = T::splat(s, T::ZERO);
        let survives = T::less_or_equal(s, dropped, zero);
        [T::select(s, survives, T::mul(s, T::splat(s, self.scale), x), zero)]
    }
}
