//! AVX2 with FMA: eight lanes of f32.

use core::arch::asm;
use core::arch::x86_64::{
    __m256, __m256i, _mm256_maskload_pd, _mm256_maskload_ps, _mm256_maskstore_pd,
    _mm256_maskstore_ps,
};
use pulp::bytemuck::Pod;

use super::MOST_LANES;
use super::plain::{padded, widen_bytes};
use super::token::{F32s, F64s, Token, masked, zips};

/// Ones and zeros, for masks of f32 and of f64.
const MASK_32: [[i32; 8]; 2] = [[-1; 8], [0; 8]];
const MASK_64: [[i64; 4]; 2] = [[-1; 4], [0; 4]];

/// Mask of the first `count` lanes: a window on `ones_and_zeros`.
#[inline(always)]
fn first_lanes<const LANES: usize, T: Pod>(
    count: usize,
    ones_and_zeros: &[[T; LANES]; 2],
) -> [T; LANES] {
    let [mut lanes, _] = *ones_and_zeros;
    lanes.copy_from_slice(&ones_and_zeros.as_flattened()[LANES - count.min(LANES)..][..LANES]);
    lanes
}

/// The bits of f32 rounded to bf16 in the upper 16 bits of each lane; the lower ones hold anything.
/// A subnormal counts as a zero of its sign.
#[inline(always)]
fn round_halves(s: pulp::x86::V3, x: __m256i) -> __m256i {
    let splat = |bits: u32| pulp::cast([bits; 8]);
    let size = s.avx2._mm256_and_si256(x, splat(0x7FFF_FFFF));
    let is_nan = s.avx2._mm256_cmpgt_epi32(size, splat(0x7F80_0000));
    let is_subnormal = s.avx2._mm256_cmpgt_epi32(splat(0x0080_0000), size);
    // To nearest, ties to even: half a unit minus one, plus one if the last kept bit is set.
    let last = s.avx2._mm256_and_si256(s.avx2._mm256_srli_epi32::<16>(x), splat(1));
    let noise = s.avx2._mm256_add_epi32(last, splat(0x7FFF));
    let rounded = s.avx2._mm256_add_epi32(x, noise);
    let quiet = s.avx2._mm256_or_si256(x, splat(0x0040_0000));
    let rounded = s.avx2._mm256_blendv_epi8(rounded, quiet, is_nan);
    let zero = s.avx2._mm256_and_si256(x, splat(0x8000_0000));
    s.avx2._mm256_blendv_epi8(rounded, zero, is_subnormal)
}

impl Token for pulp::x86::V3 {
    type Pulp = Self;
    #[inline(always)]
    fn pulp(self) -> Self {
        self
    }
    masked! {
        load_f32, store_f32, f32, F32s:
            |x, count| _mm256_maskload_ps(x, pulp::cast(first_lanes(count, &MASK_32))),
            |y, v| _mm256_maskstore_ps(y, pulp::cast(first_lanes(count, &MASK_32)), v);
        load_f64, store_f64, f64, F64s:
            |x, count| _mm256_maskload_pd(x, pulp::cast(first_lanes(count, &MASK_64))),
            |y, v| _mm256_maskstore_pd(y, pulp::cast(first_lanes(count, &MASK_64)), v);
    }
    #[inline(always)]
    fn widen(self, x: &[f32]) -> F64s<Self> {
        pulp::cast(self.avx._mm256_cvtps_pd(pulp::cast(padded::<4>(x))))
    }
    #[inline(always)]
    fn transpose_f32(self, block: [F32s<Self>; MOST_LANES]) -> [F32s<Self>; MOST_LANES] {
        zips!(block, 8, |a, b| {
            // Transposes within each half of a register first, then the halves.
            let (low, high) =
                (self.avx._mm256_unpacklo_ps(a, b), self.avx._mm256_unpackhi_ps(a, b));
            let first = self.avx._mm256_permute2f128_ps::<0x20>(low, high);
            [first, self.avx._mm256_permute2f128_ps::<0x31>(low, high)]
        })
    }
    #[inline(always)]
    fn transpose_f64(self, block: [F64s<Self>; MOST_LANES]) -> [F64s<Self>; MOST_LANES] {
        zips!(block, 4, |a, b| {
            let (low, high) =
                (self.avx._mm256_unpacklo_pd(a, b), self.avx._mm256_unpackhi_pd(a, b));
            let first = self.avx._mm256_permute2f128_pd::<0x20>(low, high);
            [first, self.avx._mm256_permute2f128_pd::<0x31>(low, high)]
        })
    }
    #[inline(always)]
    fn add_integers(self, a: F32s<Self>, b: F32s<Self>) -> F32s<Self> {
        pulp::cast(self.avx2._mm256_add_epi32(pulp::cast(a), pulp::cast(b)))
    }
    #[inline(always)]
    fn mul_integers(self, a: F32s<Self>, b: F32s<Self>) -> F32s<Self> {
        pulp::cast(self.avx2._mm256_madd_epi16(pulp::cast(a), pulp::cast(b)))
    }
    #[inline(always)]
    fn opaque_f32(self, v: F32s<Self>) -> F32s<Self> {
        #[inline]
        #[target_feature(enable = "avx")]
        fn opaque(v: __m256) -> __m256 {
            let mut hidden = v;
            // SAFETY: no instruction.
            unsafe {
                asm!(
                    "/* {0} */",
                    inout(ymm_reg) hidden,
                    options(pure, nomem, nostack, preserves_flags),
                );
            }
            hidden
        }
        // SAFETY: the token proves AVX.
        pulp::cast(unsafe { opaque(pulp::cast(v)) })
    }
    const ROUNDS_PAIRS: bool = true;
    #[inline(always)]
    fn round_pairs(self, even: F32s<Self>, odd: F32s<Self>) -> F32s<Self> {
        let even = self.avx2._mm256_srli_epi32::<16>(round_halves(self, pulp::cast(even)));
        let odd = round_halves(self, pulp::cast(odd));
        pulp::cast(self.avx2._mm256_blend_epi16::<0b1010_1010>(even, odd))
    }
    #[inline(always)]
    fn round_neighbours(self, low: F32s<Self>, high: F32s<Self>) -> F32s<Self> {
        let (low, high) = (pulp::cast(low), pulp::cast(high));
        let even = self.avx._mm256_shuffle_ps::<0b10_00_10_00>(low, high);
        let odd = self.avx._mm256_shuffle_ps::<0b11_01_11_01>(low, high);
        // The halves of both registers are interleaved: 64 bits from `low`, 64 from `high`.
        let pairs = Token::round_pairs(self, pulp::cast(even), pulp::cast(odd));
        pulp::cast(self.avx2._mm256_permute4x64_epi64::<0b11_01_10_00>(pulp::cast(pairs)))
    }
    #[inline(always)]
    fn widen_bytes(self, bytes: &[i8]) -> F32s<Self> {
        match bytes.first_chunk::<16>() {
            Some(&bytes) => pulp::cast(self.avx2._mm256_cvtepi8_epi16(pulp::cast(bytes))),
            None => widen_bytes(bytes),
        }
    }
}
