//! AVX2 with FMA: eight lanes of f32.

use core::arch::x86_64::{
    _mm256_maskload_pd, _mm256_maskload_ps, _mm256_maskstore_pd, _mm256_maskstore_ps,
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
    fn widen_bytes(self, bytes: &[i8]) -> F32s<Self> {
        match bytes.first_chunk::<16>() {
            Some(&bytes) => pulp::cast(self.avx2._mm256_cvtepi8_epi16(pulp::cast(bytes))),
            None => widen_bytes(bytes),
        }
    }
}
