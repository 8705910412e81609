//! Square blocks of words, transposed in registers.

use crate::Float;
use crate::simd::Simd;

/// The most lanes of any register.
pub(super) const MOST: usize = 16;

/// Word `l` of register `r` becomes word `r` of register `l`, for the first `lanes` registers.
///
/// Zipping the first half of the registers with the second moves every word's place, a number of twice as many bits as
/// `lanes` has, around by one bit; as often as `lanes` has bits, and the two halves of the number have changed places.
#[inline(always)]
pub(super) fn transpose<S: Simd, T: Float>(s: S, mut block: [T::V<S>; MOST]) -> [T::V<S>; MOST] {
    let lanes = T::lanes::<S>();
    let mut turns = lanes;
    while turns > 1 {
        let mut turned = block;
        for i in 0..lanes / 2 {
            let [first, second] = T::zip(s, block[i], block[i + lanes / 2]);
            turned[2 * i] = first;
            turned[2 * i + 1] = second;
        }
        block = turned;
        turns /= 2;
    }
    block
}
