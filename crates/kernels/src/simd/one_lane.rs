//! One lane of x86-64: with the FMA instruction where the machine has it, otherwise with FMA in
//! software.
//!
//! One token for both, since all else is the same: twice the code would take twice the compile
//! time. The instruction is inline assembly, so that functions need not be compiled for machines
//! that have it, and so that its loops are not vectorised, which would make code of one lane wider
//! than that of eight.

use core::arch::asm;
use core::arch::x86_64::{
    _mm_cvtsd_f64, _mm_cvtss_f32, _mm_set_sd, _mm_set_ss, _mm_sqrt_sd, _mm_sqrt_ss,
};

use super::plain::{add_integers, mul_integers, padded, widen_bytes};
use super::{MOST_LANES, ONE_LANE_TILE_ROWS, Simd, Vector, WithSimd};

/// One lane, with a flag for the machine's FMA.
#[derive(Clone, Copy)]
pub(crate) struct OneLane {
    fma: bool,
}

impl OneLane {
    /// One lane with FMA in software.
    pub(crate) const fn in_software() -> Self {
        Self { fma: false }
    }

    /// One lane with the FMA instruction.
    ///
    /// # Safety
    /// The machine must have FMA, and the operating system must save its registers.
    pub(crate) const unsafe fn with_fma() -> Self {
        Self { fma: true }
    }
}

macro_rules! one_lane {
    ($float:ident, |$x:ident| $sqrt:expr, $fma:literal, $software:ident) => {
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
            fn sqrt(self, $x: $float) -> $float {
                // SAFETY: SSE2 is part of x86-64.
                unsafe { $sqrt }
            }
            #[inline(always)]
            fn mul_add(self, a: $float, b: $float, c: $float) -> $float {
                if !self.fma {
                    return $software(a, b, c);
                }
                let mut result = a;
                // SAFETY: `with_fma` alone sets `fma`. `Isa::run` calls it after `x86::detect`
                // found FMA.
                unsafe {
                    asm!(
                        $fma,
                        inout(xmm_reg) result,
                        in(xmm_reg) b,
                        in(xmm_reg) c,
                        options(pure, nomem, nostack, preserves_flags),
                    );
                }
                result
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
one_lane!(f32, |x| _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))), "vfmadd213ss {}, {}, {}", fma_f32);
one_lane!(
    f64,
    |x| _mm_cvtsd_f64(_mm_sqrt_sd(_mm_set_sd(0.0), _mm_set_sd(x))),
    "vfmadd213sd {}, {}, {}",
    fma_f64
);

/// `a * b + c`, rounded once, in software.
#[cold]
#[inline(never)]
fn fma_f32(a: f32, b: f32, c: f32) -> f32 {
    Vector::<f32>::mul_add(pulp::Scalar::new(), a, b, c)
}

/// `a * b + c`, rounded once, in software.
#[cold]
#[inline(never)]
fn fma_f64(a: f64, b: f64, c: f64) -> f64 {
    Vector::<f64>::mul_add(pulp::Scalar::new(), a, b, c)
}

impl Simd for OneLane {
    const TILE_ROWS: usize = ONE_LANE_TILE_ROWS;
    const WIDE_ROWS: usize = 1;
    const HAS_PAIRS: bool = false;
    const ROUNDS_PAIRS: bool = false;
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
        op.with_simd(self)
    }
}
