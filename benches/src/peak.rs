//! What one core can do at most: independent fused multiply-adds, nothing else.

use std::hint::black_box;

/// Floating-point operations of one call of [`run_f32`].
pub const FLOP: f64 = 2.0 * 24.0 * 16.0 * 4096.0;

/// 4096 rounds of 24 independent chains of 16 lanes each, in the widest registers of this machine.
pub fn run_f32() {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: AVX-512F was just found.
        return unsafe { x86::chains_avx512() };
    } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: AVX2 and FMA were just found.
        return unsafe { x86::chains_avx2() };
    }
    let mut acc = [[black_box(0.0_f32); 16]; 24];
    let (x, y) = (black_box(0.999_f32), black_box(1e-3_f32));
    for _ in 0..4096 {
        acc.iter_mut().flatten().for_each(|a| *a = x.mul_add(*a, y));
    }
    black_box(acc);
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::*;
    use std::hint::black_box;

    #[target_feature(enable = "avx512f")]
    pub(super) fn chains_avx512() {
        let (x, y) = (_mm512_set1_ps(black_box(0.999)), _mm512_set1_ps(black_box(1e-3)));
        let mut acc = [_mm512_set1_ps(black_box(0.0)); 24];
        for _ in 0..4096 {
            for a in &mut acc {
                *a = _mm512_fmadd_ps(x, *a, y);
            }
        }
        black_box(acc);
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn chains_avx2() {
        let (x, y) = (_mm256_set1_ps(black_box(0.999)), _mm256_set1_ps(black_box(1e-3)));
        // The same number of operations in registers of half the width.
        for _ in 0..4 {
            let mut acc = [_mm256_set1_ps(black_box(0.0)); 12];
            for _ in 0..4096 {
                for a in &mut acc {
                    *a = _mm256_fmadd_ps(x, *a, y);
                }
            }
            black_box(acc);
        }
    }
}
