//! AVX-512: sixteen lanes of f32.

use core::arch::x86_64::{
    _mm512_mask_storeu_pd, _mm512_mask_storeu_ps, _mm512_maskz_loadu_pd, _mm512_maskz_loadu_ps,
};

use super::MOST_LANES;
use super::plain::{padded, widen_bytes};
use super::token::{F32s, F64s, Token, masked};

/// Mask of the lowest `count` bits.
#[inline(always)]
fn lowest(count: usize) -> u16 {
    ((1_u32 << count.min(16)) - 1) as u16
}

impl Token for pulp::x86::V4 {
    type Pulp = Self;
    #[inline(always)]
    fn pulp(self) -> Self {
        self
    }
    masked! {
        load_f32, store_f32, f32, F32s:
            |x, count| _mm512_maskz_loadu_ps(lowest(count), x),
            |y, v| _mm512_mask_storeu_ps(y, lowest(count), v);
        load_f64, store_f64, f64, F64s:
            |x, count| _mm512_maskz_loadu_pd(lowest(count) as u8, x),
            |y, v| _mm512_mask_storeu_pd(y, lowest(count) as u8, v);
    }
    #[inline(always)]
    fn widen(self, x: &[f32]) -> F64s<Self> {
        pulp::cast(self.avx512f._mm512_cvtps_pd(pulp::cast(padded::<8>(x))))
    }
    #[inline(always)]
    fn transpose_f32(self, block: [F32s<Self>; MOST_LANES]) -> [F32s<Self>; MOST_LANES] {
        // Loops instead of closures: a closure that is not inlined is compiled without the
        // instruction set.
        let f = self.avx512f;
        let pair = |x| f._mm512_castps_pd(x);
        let single = |x| f._mm512_castpd_ps(x);
        let zero = f._mm512_setzero_ps();
        let mut r = [zero; MOST_LANES];
        for i in 0..MOST_LANES {
            r[i] = pulp::cast(block[i]);
        }
        // Quarter L of `columns[g][c]` becomes column 4 L + c of rows 4 g to 4 g + 3.
        let mut columns = [[zero; 4]; 4];
        for g in 0..4 {
            let [w, x, y, z] = [r[4 * g], r[4 * g + 1], r[4 * g + 2], r[4 * g + 3]];
            let (a, b) = (pair(f._mm512_unpacklo_ps(w, x)), pair(f._mm512_unpacklo_ps(y, z)));
            let (c, d) = (pair(f._mm512_unpackhi_ps(w, x)), pair(f._mm512_unpackhi_ps(y, z)));
            columns[g] = [
                single(f._mm512_unpacklo_pd(a, b)),
                single(f._mm512_unpackhi_pd(a, b)),
                single(f._mm512_unpacklo_pd(c, d)),
                single(f._mm512_unpackhi_pd(c, d)),
            ];
        }
        let mut out = block;
        for c in 0..4 {
            let [w, x, y, z] = [columns[0][c], columns[1][c], columns[2][c], columns[3][c]];
            let (even, odd) =
                (f._mm512_shuffle_f32x4::<0x88>(w, x), f._mm512_shuffle_f32x4::<0x88>(y, z));
            out[c] = pulp::cast(f._mm512_shuffle_f32x4::<0x88>(even, odd));
            out[8 + c] = pulp::cast(f._mm512_shuffle_f32x4::<0xDD>(even, odd));
            let (even, odd) =
                (f._mm512_shuffle_f32x4::<0xDD>(w, x), f._mm512_shuffle_f32x4::<0xDD>(y, z));
            out[4 + c] = pulp::cast(f._mm512_shuffle_f32x4::<0x88>(even, odd));
            out[12 + c] = pulp::cast(f._mm512_shuffle_f32x4::<0xDD>(even, odd));
        }
        out
    }
    #[inline(always)]
    fn transpose_f64(self, block: [F64s<Self>; MOST_LANES]) -> [F64s<Self>; MOST_LANES] {
        let f = self.avx512f;
        let zero = f._mm512_setzero_pd();
        // Quarter L of `columns[g][c]` becomes column 2 L + c of rows 2 g and 2 g + 1.
        let mut columns = [[zero; 2]; 4];
        for g in 0..4 {
            let (x, y) = (pulp::cast(block[2 * g]), pulp::cast(block[2 * g + 1]));
            columns[g] = [f._mm512_unpacklo_pd(x, y), f._mm512_unpackhi_pd(x, y)];
        }
        let mut out = block;
        for c in 0..2 {
            let [w, x, y, z] = [columns[0][c], columns[1][c], columns[2][c], columns[3][c]];
            let (even, odd) =
                (f._mm512_shuffle_f64x2::<0x88>(w, x), f._mm512_shuffle_f64x2::<0x88>(y, z));
            out[c] = pulp::cast(f._mm512_shuffle_f64x2::<0x88>(even, odd));
            out[4 + c] = pulp::cast(f._mm512_shuffle_f64x2::<0xDD>(even, odd));
            let (even, odd) =
                (f._mm512_shuffle_f64x2::<0xDD>(w, x), f._mm512_shuffle_f64x2::<0xDD>(y, z));
            out[2 + c] = pulp::cast(f._mm512_shuffle_f64x2::<0x88>(even, odd));
            out[6 + c] = pulp::cast(f._mm512_shuffle_f64x2::<0xDD>(even, odd));
        }
        out
    }
    #[inline(always)]
    fn add_integers(self, a: F32s<Self>, b: F32s<Self>) -> F32s<Self> {
        pulp::cast(self.avx512f._mm512_add_epi32(pulp::cast(a), pulp::cast(b)))
    }
    #[inline(always)]
    fn mul_integers(self, a: F32s<Self>, b: F32s<Self>) -> F32s<Self> {
        pulp::cast(self.avx512bw._mm512_madd_epi16(pulp::cast(a), pulp::cast(b)))
    }
    #[inline(always)]
    fn widen_bytes(self, bytes: &[i8]) -> F32s<Self> {
        match bytes.first_chunk::<32>() {
            Some(&bytes) => pulp::cast(self.avx512bw._mm512_cvtepi8_epi16(pulp::cast(bytes))),
            None => widen_bytes(bytes),
        }
    }
}
