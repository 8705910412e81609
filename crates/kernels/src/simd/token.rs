//! pulp's instruction sets as [`Simd`].

use super::plain::{add_integers, mul_integers, widen_bytes};
use super::{MOST_LANES, ONE_LANE_TILE_ROWS, Simd, WithSimd};

/// An instruction set of pulp's, with the operations that pulp lacks.
pub trait Token: Copy + Send + Sync + 'static {
    /// pulp's proof that the machine has the instruction set.
    type Pulp: pulp::Simd;
    fn pulp(self) -> Self::Pulp;
    fn transpose_f32(self, block: [F32s<Self>; MOST_LANES]) -> [F32s<Self>; MOST_LANES];
    fn transpose_f64(self, block: [F64s<Self>; MOST_LANES]) -> [F64s<Self>; MOST_LANES];
    /// [`Lanes::load`] and [`Lanes::store`]. pulp selects among its instructions by a jump that is
    /// often mispredicted; a masked instruction, where there is one, is a few times faster.
    /// Benchmark `gemm`, products of few columns.
    #[inline(always)]
    fn load_f32(self, x: &[f32]) -> F32s<Self> {
        pulp::Simd::partial_load_f32s(self.pulp(), x)
    }
    #[inline(always)]
    fn load_f64(self, x: &[f64]) -> F64s<Self> {
        pulp::Simd::partial_load_f64s(self.pulp(), x)
    }
    #[inline(always)]
    fn store_f32(self, x: &mut [f32], v: F32s<Self>) {
        pulp::Simd::partial_store_f32s(self.pulp(), x, v);
    }
    #[inline(always)]
    fn store_f64(self, x: &mut [f64], v: F64s<Self>) {
        pulp::Simd::partial_store_f64s(self.pulp(), x, v);
    }
    /// `true` if there is an instruction for [`mul_add_pairs`](Self::mul_add_pairs).
    const PAIRS: bool = false;
    /// [`Simd::ROUNDS_PAIRS`].
    const ROUNDS_PAIRS: bool = false;
    /// [`Simd::mul_add_pairs`].
    #[inline(always)]
    fn mul_add_pairs(self, _: F32s<Self>, _: F32s<Self>, acc: F32s<Self>) -> F32s<Self> {
        acc
    }
    /// [`Simd::round_pairs`].
    #[inline(always)]
    fn round_pairs(self, even: F32s<Self>, _: F32s<Self>) -> F32s<Self> {
        even
    }
    /// [`Simd::round_neighbours`].
    #[inline(always)]
    fn round_neighbours(self, low: F32s<Self>, _: F32s<Self>) -> F32s<Self> {
        low
    }
    /// [`Simd::add_integers`].
    #[inline(always)]
    fn add_integers(self, a: F32s<Self>, b: F32s<Self>) -> F32s<Self> {
        add_integers(a, b)
    }
    /// [`Simd::mul_integers`].
    #[inline(always)]
    fn mul_integers(self, a: F32s<Self>, b: F32s<Self>) -> F32s<Self> {
        mul_integers(a, b)
    }
    /// [`Simd::widen_bytes`].
    #[inline(always)]
    fn widen_bytes(self, bytes: &[i8]) -> F32s<Self> {
        widen_bytes(bytes)
    }
    /// [`Simd::widen`].
    fn widen(self, x: &[f32]) -> F64s<Self>;
    /// [`Lanes::opaque`](super::Lanes::opaque).
    #[inline(always)]
    fn opaque_f32(self, v: F32s<Self>) -> F32s<Self> {
        v
    }
    /// [`Lanes::opaque`](super::Lanes::opaque).
    #[inline(always)]
    fn opaque_f64(self, v: F64s<Self>) -> F64s<Self> {
        v
    }
    /// [`Simd::vectorize`].
    #[inline(always)]
    fn vectorize<Op: WithSimd>(self, op: Op) -> Op::Output {
        struct Call<S, Op>(S, Op);
        impl<S: Token, Op: WithSimd> pulp::WithSimd for Call<S, Op> {
            type Output = Op::Output;
            #[inline(always)]
            fn with_simd<P: pulp::Simd>(self, _: P) -> Op::Output {
                self.1.with_simd(self.0)
            }
        }
        pulp::Simd::vectorize(self.pulp(), Call(self, op))
    }
}
pub(super) type F32s<T> = <<T as Token>::Pulp as pulp::Simd>::f32s;
pub(super) type F64s<T> = <<T as Token>::Pulp as pulp::Simd>::f64s;

impl<S: Token> Simd for S {
    const TILE_ROWS: usize = if size_of::<F32s<S>>() == size_of::<f32>() {
        ONE_LANE_TILE_ROWS
    } else if <S::Pulp as pulp::Simd>::REGISTER_COUNT >= 32 {
        14
    } else {
        6
    };
    const WIDE_ROWS: usize = if <S::Pulp as pulp::Simd>::REGISTER_COUNT >= 32 { 3 } else { 1 };
    const HAS_PAIRS: bool = S::PAIRS;
    const ROUNDS_PAIRS: bool = S::ROUNDS_PAIRS;
    #[inline(always)]
    fn mul_add_pairs(self, a: F32s<S>, b: F32s<S>, acc: F32s<S>) -> F32s<S> {
        Token::mul_add_pairs(self, a, b, acc)
    }
    #[inline(always)]
    fn round_pairs(self, even: F32s<S>, odd: F32s<S>) -> F32s<S> {
        Token::round_pairs(self, even, odd)
    }
    #[inline(always)]
    fn round_neighbours(self, low: F32s<S>, high: F32s<S>) -> F32s<S> {
        Token::round_neighbours(self, low, high)
    }
    #[inline(always)]
    fn add_integers(self, a: F32s<S>, b: F32s<S>) -> F32s<S> {
        Token::add_integers(self, a, b)
    }
    #[inline(always)]
    fn mul_integers(self, a: F32s<S>, b: F32s<S>) -> F32s<S> {
        Token::mul_integers(self, a, b)
    }
    #[inline(always)]
    fn widen_bytes(self, bytes: &[i8]) -> F32s<S> {
        Token::widen_bytes(self, bytes)
    }
    #[inline(always)]
    fn widen(self, x: &[f32]) -> F64s<S> {
        Token::widen(self, x)
    }
    #[inline(always)]
    fn vectorize<Op: WithSimd>(self, op: Op) -> Op::Output {
        Token::vectorize(self, op)
    }
}

/// Transposes the first `$lanes` registers of `$block`. `$zip` interleaves the lanes of two
/// registers: `a0 b0 a1 b1 ...`, in two registers.
///
/// Zipping the first half of the registers with the second rotates the index of every element,
/// which has twice as many bits as `$lanes` needs, by one bit. After as many rotations as `$lanes`
/// needs bits, row and column are exchanged.
///
/// A macro, since a closure that is not inlined is compiled without the instruction set.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! zips {
    ($block:ident, $lanes:literal, |$a:ident, $b:ident| $zip:expr) => {{
        let mut block = $block;
        for _ in 0..usize::trailing_zeros($lanes) {
            let before = block;
            for i in 0..$lanes / 2 {
                let ($a, $b) = (pulp::cast(before[i]), pulp::cast(before[i + $lanes / 2]));
                let [first, second] = $zip;
                block[2 * i] = pulp::cast(first);
                block[2 * i + 1] = pulp::cast(second);
            }
        }
        block
    }};
}
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) use zips;

/// Masked loads and stores of a token.
#[cfg(target_arch = "x86_64")]
macro_rules! masked {
    ($($load:ident, $store:ident, $float:ident, $v:ident:
        |$x:ident, $count:ident| $read:expr,
        |$y:ident, $values:ident| $write:expr;)*) => {$(
        #[inline(always)]
        fn $load(self, x: &[$float]) -> $v<Self> {
            let ($x, $count) = (x.as_ptr(), x.len());
            // SAFETY: the token proves the instruction. The mask selects only the lanes that `x`
            // has elements for.
            pulp::cast(unsafe { $read })
        }
        #[inline(always)]
        fn $store(self, x: &mut [$float], v: $v<Self>) {
            let ($count, $y, $values) = (x.len(), x.as_mut_ptr(), pulp::cast(v));
            // SAFETY: the token proves the instruction. The mask selects only the lanes that `x`
            // has elements for.
            unsafe { $write }
        }
    )*};
}
#[cfg(target_arch = "x86_64")]
pub(super) use masked;
