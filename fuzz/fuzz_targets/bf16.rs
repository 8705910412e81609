//! Conversion of any numbers to bf16 and back: the same bits everywhere. To nearest, the bits of
//! the crate `half`; at random, one of the two neighbours. `cargo +nightly fuzz run bf16`.
#![no_main]

use arbitrary::Arbitrary;
use fuzz::{Length, Mismatch, Values, bits, same_everywhere};
use half::bf16;
use kernels::bf16::{narrow, narrow_stochastic, widen};
use kernels::random::Stream;
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Problem {
    len: Length,
    other: Mismatch,
    stream: [u64; 2],
    values: Values,
}

fuzz_target!(|problem: Problem| {
    let (len, other) = (problem.len.get(), problem.other.of(problem.len.get()));
    let (x, to) = (problem.values.take::<f32>(0, len), vec![bf16::ONE; other]);
    let nearest = same_everywhere(&to, |cpu, y| narrow(cpu, &x, y));
    let stream = Stream::new(problem.stream[0], problem.stream[1]);
    let random = same_everywhere(&to, |cpu, y| narrow_stochastic(cpu, stream, &x, y));
    let halves = problem.values.take::<bf16>(0, len);
    let wide = same_everywhere(&vec![1.0_f32; other], |cpu, y| widen(cpu, &halves, y));
    assert_eq!([nearest.is_ok(), random.is_ok(), wide.is_ok()], [len == other; 3]);
    let (Ok((nearest, ())), Ok((random, ())), Ok((wide, ()))) = (nearest, random, wide) else {
        return;
    };
    assert_eq!(bits(&nearest), bits(&x.iter().map(|x| bf16::from_f32(*x)).collect::<Vec<_>>()));
    assert_eq!(bits(&wide), bits(&halves.iter().map(|x| x.to_f32()).collect::<Vec<_>>()));
    for (x, y) in x.iter().zip(random) {
        let (towards, y_bits) = ((x.to_bits() >> 16) as u16, y.to_bits());
        let exact = x.to_bits().is_multiple_of(1 << 16);
        let is_neighbour = y_bits == towards || !exact && x.is_finite() && y_bits == towards + 1;
        assert!(if x.is_nan() { y.is_nan() } else { is_neighbour }, "{x:e} became {y:e}");
    }
});
