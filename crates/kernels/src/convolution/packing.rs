//! Packing of a convolution's operands: elements as they are, or rounded to bf16 and packed in
//! pairs as in [`gemm`](crate::gemm).
//!
//! ```text
//! single   a packed element is one element
//! pairs    a packed element is two bf16 elements that are neighbours in the sum
//! ```
//!
//! Direct convolution packs images, filters and gradients itself; the product algorithm leaves it
//! to `gemm`. Called by `direct`.

use crate::Float;
use crate::gemm::arithmetic::{Arithmetic, Pairs, Single};
use crate::gemm::round_pair;
use crate::simd::{Lanes, Simd};

/// Packs the elements of an operand.
pub trait Packing: Arithmetic {
    /// Packs [`Arithmetic::K_PER_ELEMENT`] consecutive elements at a time; +0 past the last.
    fn pack_neighbours<S: Simd>(s: S, x: &[Self::Acc], packed: &mut [Self::Acc]);
    /// Packs element `i` of `even` and, for pairs, of `odd` into packed element `i`; +0 past their
    /// ends.
    fn pack_rows<S: Simd>(s: S, even: &[Self::Acc], odd: &[Self::Acc], packed: &mut [Self::Acc]);
    /// The packed element with +0 in place of all but its first element.
    fn first(packed: Self::Acc) -> Self::Acc;
}

impl<T: Float> Packing for Single<T> {
    #[inline(always)]
    fn pack_neighbours<S: Simd>(_: S, x: &[T], packed: &mut [T]) {
        packed.copy_from_slice(x);
    }
    #[inline(always)]
    fn pack_rows<S: Simd>(_: S, even: &[T], _: &[T], packed: &mut [T]) {
        let (here, beyond) = packed.split_at_mut(even.len());
        here.copy_from_slice(even);
        beyond.fill(T::ZERO);
    }
    #[inline(always)]
    fn first(packed: T) -> T {
        packed
    }
}

impl Packing for Pairs {
    #[inline(always)]
    fn pack_neighbours<S: Simd>(s: S, x: &[f32], packed: &mut [f32]) {
        if S::ROUNDS_PAIRS {
            let lanes = f32::lanes::<S>();
            for (x, packed) in x.chunks(2 * lanes).zip(packed.chunks_mut(lanes)) {
                let (low, high) = x.split_at(lanes.min(x.len()));
                let rounded = s.round_neighbours(f32::load(s, low), f32::load(s, high));
                f32::store(s, packed, rounded);
            }
            return;
        }
        for (x, packed) in x.chunks(2).zip(packed) {
            *packed = f32::from_bits(round_pair(x[0], x.get(1).copied().unwrap_or_default()));
        }
    }
    #[inline(always)]
    fn pack_rows<S: Simd>(s: S, even: &[f32], odd: &[f32], packed: &mut [f32]) {
        if S::ROUNDS_PAIRS {
            let lanes = f32::lanes::<S>();
            for (i, packed) in packed.chunks_mut(lanes).enumerate() {
                let (even, odd) = (register(s, even, i), register(s, odd, i));
                f32::store(s, packed, s.round_pairs(even, odd));
            }
            return;
        }
        for (i, packed) in packed.iter_mut().enumerate() {
            let half = |x: &[f32]| x.get(i).copied().unwrap_or_default();
            *packed = f32::from_bits(round_pair(half(even), half(odd)));
        }
    }
    #[inline(always)]
    fn first(packed: f32) -> f32 {
        f32::from_bits(packed.to_bits() & 0xFFFF)
    }
}

/// Register `i` of `x`; +0 in the lanes past its end.
#[inline(always)]
fn register<S: Simd>(s: S, x: &[f32], i: usize) -> <f32 as Lanes>::V<S> {
    let lanes = f32::lanes::<S>();
    let x = x.get(i * lanes..).unwrap_or_default();
    f32::load(s, &x[..lanes.min(x.len())])
}

/// A type whose elements may be rounded to bf16 before they are multiplied.
pub trait Rounds: Lanes {
    /// Arithmetic on rounded operands. For f64, which is never rounded, the plain arithmetic.
    type Rounded: Packing<Acc = Self>;
}
impl Rounds for f32 {
    type Rounded = Pairs;
}
impl Rounds for f64 {
    type Rounded = Single<Self>;
}
