//! AVX-512 with its bf16 instructions.

use super::token::{F32s, F64s, Token};
use super::{MOST_LANES, WithSimd};

/// AVX-512 with its bf16 pair instructions, which pulp lacks.
#[derive(Clone, Copy)]
pub(crate) struct Avx512Bf16(pulp::x86::V4);

impl Avx512Bf16 {
    /// # Safety
    /// The processor must have AVX512_BF16, in addition to what `v4` proves.
    pub(crate) unsafe fn new(v4: pulp::x86::V4) -> Self {
        Self(v4)
    }
}

impl Token for Avx512Bf16 {
    type Pulp = pulp::x86::V4;
    #[inline(always)]
    fn pulp(self) -> pulp::x86::V4 {
        self.0
    }
    #[inline(always)]
    fn widen(self, x: &[f32]) -> F64s<Self> {
        Token::widen(self.0, x)
    }
    #[inline(always)]
    fn load_f32(self, x: &[f32]) -> F32s<Self> {
        self.0.load_f32(x)
    }
    #[inline(always)]
    fn load_f64(self, x: &[f64]) -> F64s<Self> {
        self.0.load_f64(x)
    }
    #[inline(always)]
    fn store_f32(self, x: &mut [f32], v: F32s<Self>) {
        self.0.store_f32(x, v);
    }
    #[inline(always)]
    fn store_f64(self, x: &mut [f64], v: F64s<Self>) {
        self.0.store_f64(x, v);
    }
    #[inline(always)]
    fn transpose_f32(self, block: [F32s<Self>; MOST_LANES]) -> [F32s<Self>; MOST_LANES] {
        self.0.transpose_f32(block)
    }
    #[inline(always)]
    fn transpose_f64(self, block: [F64s<Self>; MOST_LANES]) -> [F64s<Self>; MOST_LANES] {
        self.0.transpose_f64(block)
    }
    #[inline(always)]
    fn add_integers(self, a: F32s<Self>, b: F32s<Self>) -> F32s<Self> {
        Token::add_integers(self.0, a, b)
    }
    #[inline(always)]
    fn mul_integers(self, a: F32s<Self>, b: F32s<Self>) -> F32s<Self> {
        Token::mul_integers(self.0, a, b)
    }
    #[inline(always)]
    fn widen_bytes(self, bytes: &[i8]) -> F32s<Self> {
        Token::widen_bytes(self.0, bytes)
    }
    const PAIRS: bool = true;
    const ROUNDS_PAIRS: bool = true;
    #[inline(always)]
    #[expect(
        clippy::multiple_unsafe_ops_per_block,
        reason = "the instruction and the types of its arguments"
    )]
    fn mul_add_pairs(self, a: F32s<Self>, b: F32s<Self>, acc: F32s<Self>) -> F32s<Self> {
        use core::arch::x86_64::{__m512, __m512bh, __m512i, _mm512_dpbf16_ps};
        use core::mem::transmute;
        let (a, b): (__m512i, __m512i) = (pulp::cast(a), pulp::cast(b));
        // SAFETY: `Isa::run_pairs` alone makes the token, after `x86::detect` found AVX512_BF16.
        // Both types are 64 bytes without an invalid bit pattern.
        let sums: __m512 = unsafe {
            _mm512_dpbf16_ps(
                pulp::cast(acc),
                transmute::<__m512i, __m512bh>(a),
                transmute::<__m512i, __m512bh>(b),
            )
        };
        pulp::cast(sums)
    }
    #[inline(always)]
    fn round_pairs(self, even: F32s<Self>, odd: F32s<Self>) -> F32s<Self> {
        use core::arch::x86_64::{__m512i, _mm512_permutexvar_epi16};
        /// Half 2i is `even[i]`, half 2i + 1 is `odd[i]`.
        const INTERLEAVED: [u16; 32] = {
            let mut indices = [0; 32];
            let mut half = 0;
            while half < 32 {
                indices[half] = half as u16 / 2 + half as u16 % 2 * 16;
                half += 1;
            }
            indices
        };
        let halves: __m512i = pulp::cast(Token::round_neighbours(self, even, odd));
        // SAFETY: the token holds a `V4`, which `Isa::run_pairs` makes after `x86::detect` found
        // AVX512BW.
        pulp::cast(unsafe { _mm512_permutexvar_epi16(pulp::cast(INTERLEAVED), halves) })
    }
    #[inline(always)]
    #[expect(
        clippy::multiple_unsafe_ops_per_block,
        reason = "the instruction and the type of its result"
    )]
    fn round_neighbours(self, low: F32s<Self>, high: F32s<Self>) -> F32s<Self> {
        use core::arch::x86_64::{__m512bh, __m512i, _mm512_cvtne2ps_pbh};
        use core::mem::transmute;
        // SAFETY: `Isa::run_pairs` alone makes the token, after `x86::detect` found AVX512_BF16.
        // Both types are 64 bytes without an invalid bit pattern.
        pulp::cast(unsafe {
            transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(pulp::cast(high), pulp::cast(low)))
        })
    }
    #[inline(always)]
    fn vectorize<Op: WithSimd>(self, op: Op) -> Op::Output {
        #[target_feature(
            enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512bf16",
            enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,fxsr"
        )]
        unsafe fn run<Op: WithSimd>(s: Avx512Bf16, op: Op) -> Op::Output {
            op.with_simd(s)
        }
        // SAFETY: `Isa::run_pairs` alone makes the token, after `x86::detect` found these features.
        unsafe { run(self, op) }
    }
}
