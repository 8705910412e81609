//! What a convolution multiplies: its elements, or pairs of them that are rounded to bf16, a word each as [`gemm`](crate::gemm)
//! has them.
//!
//! ```text
//! single   a word is an element
//! pairs    a word is two elements that are neighbours in the sum
//! ```
//!
//! The direct way makes its own words, out of images, filters and gradients; products have theirs made by `gemm`. Called by `direct`.

use crate::gemm::rounded;
use crate::gemm::terms::{Pairs, Single, Terms};
use crate::simd::{Lanes, Simd, WithSimd};
use crate::{Float, Isa};

/// Words that are made of the elements of whole operands.
pub trait Words: Terms {
    /// Runs `op` with the instruction for the products of such words, where there is one.
    fn vectorize<Op: WithSimd>(isa: Isa, op: Op) -> Op::Output;
    /// Each word is made of so many neighbours as it has elements; +0 past the last.
    fn of_neighbours<S: Simd>(s: S, x: &[Self::Sum], words: &mut [Self::Sum]);
    /// Word `i` is made of element `i` of `even` and, if there are two to a word, that of `odd`; +0 where there is none.
    fn of_rows<S: Simd>(s: S, even: &[Self::Sum], odd: &[Self::Sum], words: &mut [Self::Sum]);
    /// The word with +0 for all but its first element.
    fn first(word: Self::Sum) -> Self::Sum;
}

impl<T: Float> Words for Single<T> {
    fn vectorize<Op: WithSimd>(isa: Isa, op: Op) -> Op::Output {
        isa.run(op)
    }
    #[inline(always)]
    fn of_neighbours<S: Simd>(_: S, x: &[T], words: &mut [T]) {
        words.copy_from_slice(x);
    }
    #[inline(always)]
    fn of_rows<S: Simd>(_: S, even: &[T], _: &[T], words: &mut [T]) {
        let (here, beyond) = words.split_at_mut(even.len());
        here.copy_from_slice(even);
        beyond.fill(T::ZERO);
    }
    #[inline(always)]
    fn first(word: T) -> T {
        word
    }
}

impl Words for Pairs {
    fn vectorize<Op: WithSimd>(isa: Isa, op: Op) -> Op::Output {
        isa.run_pairs(op)
    }
    #[inline(always)]
    fn of_neighbours<S: Simd>(s: S, x: &[f32], words: &mut [f32]) {
        if S::HAS_PAIRS {
            let lanes = f32::lanes::<S>();
            for (x, words) in x.chunks(2 * lanes).zip(words.chunks_mut(lanes)) {
                let (low, high) = x.split_at(lanes.min(x.len()));
                let rounded = s.round_neighbours(f32::load(s, low), f32::load(s, high));
                f32::store(s, words, rounded);
            }
            return;
        }
        for (x, word) in x.chunks(2).zip(words) {
            *word = f32::from_bits(rounded(x[0], x.get(1).copied().unwrap_or_default()));
        }
    }
    #[inline(always)]
    fn of_rows<S: Simd>(s: S, even: &[f32], odd: &[f32], words: &mut [f32]) {
        if S::HAS_PAIRS {
            let lanes = f32::lanes::<S>();
            for (i, words) in words.chunks_mut(lanes).enumerate() {
                let (even, odd) = (register(s, even, i), register(s, odd, i));
                f32::store(s, words, s.round_pairs(even, odd));
            }
            return;
        }
        for (i, word) in words.iter_mut().enumerate() {
            let half = |x: &[f32]| x.get(i).copied().unwrap_or_default();
            *word = f32::from_bits(rounded(half(even), half(odd)));
        }
    }
    #[inline(always)]
    fn first(word: f32) -> f32 {
        f32::from_bits(word.to_bits() & 0xFFFF)
    }
}

/// Register `i` of `x`; +0 in the lanes past its end.
#[inline(always)]
fn register<S: Simd>(s: S, x: &[f32], i: usize) -> <f32 as Lanes>::V<S> {
    let lanes = f32::lanes::<S>();
    let x = x.get(i * lanes..).unwrap_or_default();
    f32::load(s, &x[..lanes.min(x.len())])
}

/// A type whose elements can be rounded to bf16 before they are multiplied.
pub trait Rounds: Lanes {
    /// The words of rounded elements; for f64, which nothing rounds, its elements.
    type Rounded: Words<Sum = Self>;
}
impl Rounds for f32 {
    type Rounded = Pairs;
}
impl Rounds for f64 {
    type Rounded = Single<Self>;
}
