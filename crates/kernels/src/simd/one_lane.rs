//! One lane with the hardware's fused multiply-add.

use super::plain::{add_integers, mul_integers, padded, widen_bytes};
use super::{MOST_LANES, Simd, Vector, WithSimd};

/// One lane with the hardware's FMA, which pulp's own one-lane token lacks without std.
#[derive(Clone, Copy)]
pub(crate) struct OneLane(pub(crate) pulp::x86::V3);

macro_rules! one_lane {
    ($float:ident, $sse:ident, $set:ident, $get:ident, $sqrt:ident, $fma:ident) => {
        impl Vector<$float> for OneLane {
            type V = $float;
            type M = bool;
            #[inline(always)]
            fn splat(self, x: $float) -> $float {
                x
            }
            #[inline(always)]
            fn load(self, x: &[$float]) -> $float {
                x.first().copied().unwrap_or(0.0)
            }
            #[inline(always)]
            fn store(self, x: &mut [$float], v: $float) {
                if let Some(first) = x.first_mut() {
                    *first = v;
                }
            }
            #[inline(always)]
            fn split(x: &[$float]) -> (&[$float], &[$float]) {
                (x, &[])
            }
            #[inline(always)]
            fn split_mut(x: &mut [$float]) -> (&mut [$float], &mut [$float]) {
                (x, &mut [])
            }
            #[inline(always)]
            fn add(self, a: $float, b: $float) -> $float {
                a + b
            }
            #[inline(always)]
            fn sub(self, a: $float, b: $float) -> $float {
                a - b
            }
            #[inline(always)]
            fn mul(self, a: $float, b: $float) -> $float {
                a * b
            }
            #[inline(always)]
            fn div(self, a: $float, b: $float) -> $float {
                a / b
            }
            #[inline(always)]
            fn sqrt(self, a: $float) -> $float {
                let OneLane(v3) = self;
                v3.$sse.$get(v3.$sse.$sqrt(v3.$sse.$set(a)))
            }
            #[inline(always)]
            fn mul_add(self, a: $float, b: $float, c: $float) -> $float {
                let OneLane(v3) = self;
                v3.$sse.$get(v3.fma.$fma(v3.$sse.$set(a), v3.$sse.$set(b), v3.$sse.$set(c)))
            }
            #[inline(always)]
            fn less(self, a: $float, b: $float) -> bool {
                a < b
            }
            #[inline(always)]
            fn less_or_equal(self, a: $float, b: $float) -> bool {
                a <= b
            }
            #[inline(always)]
            fn select(self, m: bool, a: $float, b: $float) -> $float {
                if m { a } else { b }
            }
            #[inline(always)]
            fn transpose(self, block: [$float; MOST_LANES]) -> [$float; MOST_LANES] {
                block
            }
        }
    };
}
one_lane!(f32, sse, _mm_set_ss, _mm_cvtss_f32, _mm_sqrt_ps, _mm_fmadd_ss);
one_lane!(f64, sse2, _mm_set_sd, _mm_cvtsd_f64, _mm_sqrt_pd, _mm_fmadd_sd);

impl Simd for OneLane {
    const TILE_ROWS: usize = 6;
    const WIDE_ROWS: usize = 1;
    const HAS_PAIRS: bool = false;
    #[inline(always)]
    fn mul_add_pairs(self, _: f32, _: f32, acc: f32) -> f32 {
        acc
    }
    #[inline(always)]
    fn round_pairs(self, even: f32, _: f32) -> f32 {
        even
    }
    #[inline(always)]
    fn round_neighbours(self, low: f32, _: f32) -> f32 {
        low
    }
    #[inline(always)]
    fn add_integers(self, a: f32, b: f32) -> f32 {
        add_integers(a, b)
    }
    #[inline(always)]
    fn mul_integers(self, a: f32, b: f32) -> f32 {
        mul_integers(a, b)
    }
    #[inline(always)]
    fn widen_bytes(self, bytes: &[i8]) -> f32 {
        widen_bytes(bytes)
    }
    #[inline(always)]
    fn widen(self, x: &[f32]) -> f64 {
        let [x] = padded(x);
        f64::from(x)
    }
    #[inline(always)]
    fn vectorize<Op: WithSimd>(self, op: Op) -> Op::Output {
        struct In<Op>(OneLane, Op);
        impl<Op: WithSimd> pulp::NullaryFnOnce for In<Op> {
            type Output = Op::Output;
            #[inline(always)]
            fn call(self) -> Op::Output {
                self.1.with_simd(self.0)
            }
        }
        self.0.vectorize(In(self, op))
    }
}
