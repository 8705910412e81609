//! Counter-based random numbers: every draw is a function of `(seed, stream, index)` alone.
//!
//! The generator is Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as
//! 1, 2, 3", SC 2011). The seed is its key; stream and index are its counter. There is no state to
//! save, to split between threads or to lose on resume, and any draw can be repeated without the
//! ones before it.
//!
//! Only integer arithmetic and exact conversions are used, so that the numbers are the same on
//! every target. `fill` fills slices with uniform and normal numbers, `bernoulli` with ones and
//! zeros. Not suitable for cryptography.

mod bernoulli;
mod fill;

pub(crate) use bernoulli::Bernoulli;
pub use bernoulli::fill_bernoulli;
pub(crate) use fill::{Draw, TILE};
pub use fill::{fill_normal, fill_uniform};

/// A stream of random numbers, identified by a seed and a stream number.
///
/// Streams with different `(seed, stream)` are independent. A stream takes 16 bytes: copy it
/// freely.
///
/// ```
/// use kernels::random::Stream;
/// let stream = Stream::new(42, 7);
/// assert_eq!(stream.uniform_f32(1_000_000), stream.uniform_f32(1_000_000));
/// assert!(stream.below(3, 10) < 10);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    seed: u64,
    stream: u64,
}

impl Stream {
    /// Stream number `stream` of `seed`.
    pub const fn new(seed: u64, stream: u64) -> Self {
        Self { seed, stream }
    }

    /// The stream `by` numbers further on, of the same seed; the number wraps around.
    pub const fn beyond(self, by: u64) -> Self {
        Self { stream: self.stream.wrapping_add(by), ..self }
    }

    /// Block `index` of this stream: four uniform 32-bit words.
    pub const fn block(self, index: u64) -> [u32; 4] {
        philox4x32_10(
            [index as u32, (index >> 32) as u32, self.stream as u32, (self.stream >> 32) as u32],
            [self.seed as u32, (self.seed >> 32) as u32],
        )
    }

    /// Blocks `first..first + N`, transposed: `blocks(first)[w][i]` is word `w` of block
    /// `first + i`. The loops over blocks are innermost, so that the compiler vectorises them.
    #[inline(always)]
    pub(crate) fn blocks<const N: usize>(self, first: u64) -> [[u32; N]; 4] {
        let index = |i| first.wrapping_add(i as u64);
        let mut x = [
            core::array::from_fn(|i| index(i) as u32),
            core::array::from_fn(|i| (index(i) >> 32) as u32),
            [self.stream as u32; N],
            [(self.stream >> 32) as u32; N],
        ];
        let [mut k0, mut k1] = [self.seed as u32, (self.seed >> 32) as u32];
        for _ in 0..10 {
            let [w0, w1, w2, w3] = &mut x;
            for i in 0..N {
                let r = philox_round([w0[i], w1[i], w2[i], w3[i]], [k0, k1]);
                (w0[i], w1[i], w2[i], w3[i]) = (r[0], r[1], r[2], r[3]);
            }
            k0 = k0.wrapping_add(WEYL[0]);
            k1 = k1.wrapping_add(WEYL[1]);
        }
        x
    }

    /// 32 uniform bits: word `index % 4` of block `index / 4`.
    pub const fn bits(self, index: u64) -> u32 {
        self.block(index / 4)[(index % 4) as usize]
    }

    /// 64 uniform bits: half `index % 2` of block `index / 2`, low word first.
    pub const fn bits64(self, index: u64) -> u64 {
        let block = self.block(index / 2);
        let half = 2 * (index % 2) as usize;
        join(block[half], block[half + 1])
    }

    /// Uniform on `[0, 1)`, a multiple of 2^-24, from [`bits`](Self::bits).
    pub const fn uniform_f32(self, index: u64) -> f32 {
        unit_f32(self.bits(index))
    }

    /// Uniform on `[0, 1)`, a multiple of 2^-53, from [`bits64`](Self::bits64).
    pub const fn uniform_f64(self, index: u64) -> f64 {
        unit_f64(self.bits64(index))
    }

    /// Uniform on `0..bound`, from [`bits64`](Self::bits64); 0 if `bound` is 0. The bias is below
    /// `bound` * 2^-64.
    pub const fn below(self, index: u64, bound: u32) -> u32 {
        ((self.bits64(index) as u128 * bound as u128) >> 64) as u32
    }

    /// Shuffles `items` uniformly (Fisher and Yates, in Durstenfeld's form). The order depends on
    /// this stream and on `items.len()` alone.
    pub fn shuffle<T>(self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let bound = last as u64 + 1;
            let chosen = (u128::from(self.bits64(last as u64)) * u128::from(bound)) >> 64;
            items.swap(last, chosen as usize);
        }
    }
}

/// Joins two 32-bit words.
const fn join(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

/// Uniform on `[0, 1)`, a multiple of 2^-24, from the upper bits.
const fn unit_f32(bits: u32) -> f32 {
    (bits >> 8) as f32 * (1.0 / (1 << 24) as f32)
}

/// Uniform on `[0, 1)`, a multiple of 2^-53, from the upper bits.
const fn unit_f64(bits: u64) -> f64 {
    (bits >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
}

/// Philox4x32 with ten rounds: `counter` encrypted under `key`.
const fn philox4x32_10(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let (mut x, [mut k0, mut k1]) = (counter, key);
    let mut round = 0;
    while round < 10 {
        x = philox_round(x, [k0, k1]);
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
        round += 1;
    }
    x
}

/// Increment of the key after each round.
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// One round.
#[inline(always)]
const fn philox_round([x0, x1, x2, x3]: [u32; 4], [k0, k1]: [u32; 2]) -> [u32; 4] {
    let p0 = 0xD251_1F53 * x0 as u64;
    let p1 = 0xCD9E_8D57 * x2 as u64;
    [(p1 >> 32) as u32 ^ x1 ^ k0, p1 as u32, (p0 >> 32) as u32 ^ x3 ^ k1, p0 as u32]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known-answer vectors of Random123 for philox4x32 with ten rounds.
    #[test]
    fn matches_the_published_vectors() {
        assert_eq!(
            philox4x32_10([0; 4], [0; 2]),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
        assert_eq!(
            philox4x32_10([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox4x32_10(
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0]
            ),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn draws_are_in_range_and_have_the_moments_of_the_uniform_distribution() {
        let stream = Stream::new(1, 2);
        let n = 100_000_u64;
        let (mut sum, mut squares) = (0.0, 0.0);
        for i in 0..n {
            let (x, y) = (stream.uniform_f64(i), stream.uniform_f32(i));
            assert!((0.0..1.0).contains(&x));
            assert!((0.0..1.0).contains(&y));
            sum += x;
            squares += x * x;
        }
        let (mean, square) = (sum / n as f64, squares / n as f64);
        // Five standard errors: sqrt(1/12/n) for the mean, sqrt(4/45/n) for the mean square.
        assert!((mean - 0.5).abs() < 5.0 * 0.2887 / 316.2);
        assert!((square - 1.0 / 3.0).abs() < 5.0 * 0.2981 / 316.2);
    }

    #[test]
    fn streams_and_seeds_differ() {
        let draws = [(0, 0), (0, 1), (1, 0)].map(|(s, t)| Stream::new(s, t).bits64(0));
        assert!(draws[0] != draws[1] && draws[0] != draws[2] && draws[1] != draws[2]);
    }

    #[test]
    fn below_is_uniform_and_bounded() {
        let stream = Stream::new(3, 0);
        let mut seen = [0_u32; 7];
        for i in 0..70_000 {
            seen[stream.below(i, 7) as usize] += 1;
        }
        // Chi-square with 6 degrees of freedom: 35 is beyond the 1 - 1e-5 quantile.
        let chi2: f64 =
            seen.iter().map(|&k| (f64::from(k) - 1e4) * (f64::from(k) - 1e4) / 1e4).sum();
        assert!(chi2 < 35.0, "{chi2}");
        assert_eq!(stream.below(0, 0), 0);
        assert_eq!(stream.below(0, 1), 0);
    }

    #[test]
    fn shuffle_permutes_and_is_reproducible() {
        let mut a: [u32; 1000] = core::array::from_fn(|i| i as u32);
        let mut b = a;
        Stream::new(5, 9).shuffle(&mut a);
        Stream::new(5, 9).shuffle(&mut b);
        assert_eq!(a, b);
        assert!(a.iter().enumerate().any(|(i, &x)| i as u32 != x));
        b.sort_unstable();
        assert!(b.iter().enumerate().all(|(i, &x)| i as u32 == x));
        Stream::new(5, 9).shuffle::<u8>(&mut []);
    }
}
