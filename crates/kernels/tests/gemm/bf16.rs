//! Products of bf16 compared with their own oracle, which adds in integers, on instruction sets
//! with and without the pair instruction.

mod exact;
pub(crate) mod oracle;

use half::bf16;
use kernels::gemm::{Bf16Operand, Bf16Result, Epilogue, GemmShape, gemm_bf16, gemm_bf16_scratch};
use kernels::random::Stream;
use kernels::{Cpu, Error, Isa, MatMut, MatRef};

use crate::matrix::{LAYOUTS, Layout, Matrix, assert_same};
use crate::oracle::{EPILOGUES, EpilogueKind, layouts_of};
use crate::sample::{interval, sample};
use crate::threads::Threads;
use exact::step;
use oracle::{Case, Store, uniform};

/// Lengths of k: none, odd, even, and the neighbours of one and of two summation blocks.
const DEPTHS: [usize; 8] = [0, 1, 2, 7, 1023, 1024, 1025, 2050];

fn every_layout<O: Store>() {
    let mut index = 0;
    for k in DEPTHS {
        for a in LAYOUTS {
            for b in LAYOUTS {
                for c in LAYOUTS {
                    index += 1;
                    let epilogue = EPILOGUES[index % 5];
                    let mut case = Case::<O>::new((7, 19, k), [a, b, c], epilogue, index as u64)
                        .with_outputs(index / 2);
                    (case.alpha, case.beta) = [(1.0, 0.0), (1.25, -0.75), (-0.5, 0.0)][index % 3];
                    case.check();
                }
            }
        }
    }
}

#[test]
fn f32_results_have_the_oracles_bits_in_every_layout() {
    every_layout::<f32>();
}

#[test]
fn bf16_results_have_the_oracles_bits_in_every_layout() {
    every_layout::<bf16>();
}

/// Lengths at which a loop over rows or columns begins, ends or has a remainder.
fn every_edge<O: Store>() {
    let mut index = 0;
    for m in [0, 1, 2, 3, 5, 6, 7, 13, 14, 15, 17, 33] {
        for n in [0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 127, 128, 129, 257] {
            index += 1;
            let layouts = layouts_of(index);
            let case =
                Case::<O>::new((m, n, index % 7), layouts, EPILOGUES[index % 5], index as u64);
            case.with_outputs(index / 5).check();
        }
    }
}

#[test]
fn f32_results_have_the_oracles_bits_at_every_edge() {
    every_edge::<f32>();
}

#[test]
fn bf16_results_have_the_oracles_bits_at_every_edge() {
    every_edge::<bf16>();
}

/// The gradient of a dense layer's weights is computed as its transpose, over one block of k and
/// more.
#[test]
fn column_sums_have_the_oracles_bits_when_the_product_is_transposed() {
    for k in [66, 1030] {
        for c in [Layout::RowMajor, Layout::ColMajor] {
            let layouts = [Layout::ColMajor, Layout::RowMajor, c];
            Case::<f32>::new((200, 10, k), layouts, EpilogueKind::ReluGradient, 4)
                .with_outputs(3)
                .check();
            Case::<bf16>::new((200, 10, k), layouts, EpilogueKind::Relu, 5).with_outputs(3).check();
        }
    }
}

#[test]
fn beta_zero_never_reads_what_it_overwrites() {
    for layout in LAYOUTS {
        for k in [5, 1030] {
            let layouts = [Layout::RowMajor, Layout::RowMajor, layout];
            let mut case =
                Case::<bf16>::new((9, 21, k), layouts, EpilogueKind::Bias, 6).with_outputs(3);
            case.beta = 0.0;
            case.before.c.data.fill(bf16::NAN);
            case.before.z.data.fill(bf16::NAN);
            case.before.sums.fill(f32::NAN);
            case.check();
        }
    }
}

/// NaN, infinities, both zeros, subnormals and the largest numbers.
#[test]
fn specials_flow_as_in_the_oracle() {
    for seed in 0..60 {
        let choice = seed as usize;
        let layouts = layouts_of(choice);
        let (m, n, k) = (1 + choice % 9, 1 + choice * 7 % 40, 1 + choice % 13);
        let special = |stream: u64| {
            move |i: u64| {
                let s = Stream::new(seed, 30 + stream);
                match s.below(i, 60) {
                    0 => bf16::NAN,
                    1 => bf16::INFINITY,
                    2 => bf16::NEG_INFINITY,
                    3 => bf16::NEG_ZERO,
                    4 => bf16::ZERO,
                    5 => bf16::from_bits(0x0001),
                    6 => bf16::from_bits(0x807F),
                    7 => bf16::MAX,
                    8 => bf16::MIN,
                    9 => bf16::MIN_POSITIVE,
                    10 => bf16::from_bits(0x8080),
                    _ => uniform(seed, stream)(i),
                }
            }
        };
        let mut case =
            Case::<f32>::new((m, n, k), layouts, EPILOGUES[choice % 5], seed).with_outputs(choice);
        case.alpha = [1.0, 1.25, 0.0][choice % 3];
        case.beta = [0.0, 1.0, -0.5][choice / 3 % 3];
        case.a = Matrix::new(m, k, layouts[0], special(0));
        case.b = Matrix::new(k, n, layouts[1], special(1));
        case.check();

        let mut case =
            Case::<bf16>::new((m, n, k), layouts, EPILOGUES[choice % 5], seed).with_outputs(choice);
        case.beta = [0.0, 1.0, -0.5][choice / 3 % 3];
        case.a = Matrix::new(m, k, layouts[0], special(0));
        case.b = Matrix::new(k, n, layouts[1], special(1));
        case.before.c = Matrix::new(m, n, layouts[2], special(2));
        case.y = Matrix::new(m, n, Layout::RowMajor, special(3));
        case.check();
    }
}

/// A million sums of six products, most of them near the smallest normal number. There a sum is
/// flushed to zero, and rounding to 24 bits differs from gradual underflow.
#[test]
fn a_million_sums_near_the_smallest_normal_number_have_the_oracles_bits() {
    // A product of two elements lies between 2^-146 and 2^-112.
    let near = |stream: u64| {
        move |i: u64| {
            let s = Stream::new(40, stream);
            let exponent = 127 - 73 + s.below(4 * i, 17);
            // Half of the elements have few bits, so that sums are ties and powers of two.
            let fraction = if s.below(4 * i + 1, 2) == 0 {
                s.below(4 * i + 2, 128)
            } else {
                s.below(4 * i + 2, 4) << 5
            };
            bf16::from_bits((s.below(4 * i + 3, 2) << 15 | exponent << 7 | fraction) as u16)
        }
    };
    let layouts = [Layout::RowMajor; 3];
    let rows = 1000_usize.div_ceil(interval());
    let mut case = Case::<f32>::new((rows, 1000, 6), layouts, EpilogueKind::Identity, 41);
    (case.alpha, case.beta) = (1.0, 0.0);
    case.a = Matrix::new(rows, 6, Layout::RowMajor, near(0));
    case.b = Matrix::new(6, 1000, Layout::RowMajor, near(1));
    let expected = case.expected();
    let zeros = (0..rows)
        .flat_map(|i| (0..1000).map(move |j| (i, j)))
        .filter(|&(i, j)| expected.c.at(i, j) == 0.0);
    // The test would show little if few sums, or nearly all, were flushed.
    assert!((100 * rows..900 * rows).contains(&zeros.count()));
    for isa in Isa::available() {
        expected.assert_same(&case.run(isa, true), || format!("{isa}"));
    }
}

/// Each chain that stands in for the pair instruction, by the exponents of the operands: on both
/// sides of the bounds at which another one is chosen, with cancellation, zeros and infinities.
#[test]
fn operands_of_every_magnitude_have_the_oracles_bits() {
    // Ranges of exponents of A and of B.
    let ranges: [[(i32, i32); 2]; 8] = [
        [(-60, -40), (-52, -50)], // the smallest for which no sum can be flushed
        [(-61, -40), (-52, -50)],
        [(-126, -110), (-16, 12)],
        [(-70, -60), (-66, -52)], // sums around 2^-126
        [(-126, 63), (-30, -12)], // the largest that are scaled
        [(-126, 64), (-30, -12)],
        [(-126, 127), (-126, 127)],
        [(100, 127), (-126, -100)],
    ];
    for (index, [a, b]) in ranges.into_iter().enumerate() {
        let values = |stream: u64, (low, high): (i32, i32), special: bool| {
            move |i: u64| {
                let s = Stream::new(60 + index as u64, stream);
                let exponent = (low + 127 + s.below(4 * i, (high - low + 1) as u32) as i32) as u32;
                let bits = s.below(4 * i + 3, 2) << 15 | exponent << 7 | s.below(4 * i + 1, 128);
                match s.below(4 * i + 2, 50) {
                    0..10 => bf16::ZERO,
                    10 => bf16::from_bits(0x8001),
                    11 if special => bf16::INFINITY,
                    _ => bf16::from_bits(bits as u16),
                }
            }
        };
        for (shape, special) in [((7, 19, 40), false), ((13, 33, 1030), false), ((6, 16, 9), true)]
        {
            let ((m, n, k), layouts) = (shape, layouts_of(index));
            let mut case = Case::<f32>::new(shape, layouts, EpilogueKind::Identity, index as u64);
            (case.alpha, case.beta) = (1.0, 0.0);
            case.a = Matrix::new(m, k, layouts[0], values(0, a, special));
            case.b = Matrix::new(k, n, layouts[1], values(1, b, special));
            case.check();
        }
    }
}

/// 2^-126 - d, rounded to 24 bits as if exponents had no lower end, is 2^-126 up to d = 2^-151:
/// half a unit in the last place below 2^-126, a tie. With gradual underflow it would be up to
/// d = 2^-150.
#[test]
fn a_sum_just_below_the_smallest_normal_number_is_rounded_before_it_is_flushed() {
    let power = |exponent: i32| bf16::from_bits(((127 + exponent) << 7) as u16).to_f64();
    let element = bf16::from_f64;
    for isa in Isa::available() {
        let mut gradual_differs = false;
        for quarters in 1..=9_u16 {
            for sign in [1.0, -1.0] {
                // d = quarters * 2^-152. The odd product comes first.
                let a = [element(-sign * f64::from(quarters) * power(-30)), element(power(-63))];
                let b = [element(power(-122)), element(sign * power(-63))];
                let mut c = [f32::NAN];
                gemm_bf16(
                    Cpu::serial(isa),
                    1.0,
                    MatRef::row_major(&a, 1, 2).unwrap(),
                    MatRef::row_major(&b, 2, 1).unwrap(),
                    0.0,
                    MatMut::row_major(&mut c, 1, 1).unwrap(),
                    Epilogue::NONE,
                    &mut [],
                )
                .unwrap();
                let least = sign as f32 * f32::MIN_POSITIVE;
                let expected = if quarters <= 2 { least } else { sign as f32 * 0.0 };
                assert_eq!(
                    c[0].to_bits(),
                    expected.to_bits(),
                    "{isa}, {sign} (2^-126 - {quarters} 2^-152)"
                );
                let gradual = a[0].to_f32().mul_add(b[0].to_f32(), least);
                gradual_differs |= gradual != expected && gradual == least;
            }
        }
        assert!(gradual_differs);
    }
}

/// The oracle's own arithmetic, where the hardware's f32 defines the result: normal results.
#[test]
fn the_oracles_step_is_a_fused_multiply_add_of_normal_numbers() {
    let s = Stream::new(50, 0);
    let steps = 300_000 / interval() as u64;
    let mut normal = 0;
    for i in 0..steps {
        let [x, y, p, scale] = s.block(i);
        let element = |bits: u32| {
            f32::from_bits((bits & 0x807F_0000) | (127 - 20 + (bits >> 8 & 0x1F)) << 23)
        };
        let (x, y) = (element(x), element(y));
        let p = f32::from_bits((p & 0x807F_FFFF) | (127 - 40 + scale % 80) << 23);
        let fused = x.mul_add(y, p);
        if fused.abs() > f32::MIN_POSITIVE && fused.is_finite() {
            normal += 1;
            assert_eq!(
                step(bf16::from_f32(x), bf16::from_f32(y), p).to_bits(),
                fused.to_bits(),
                "{x} {y} {p}"
            );
        }
    }
    assert!(normal > steps * 29 / 30);
}

#[test]
fn threads_change_no_bit() {
    let mut index = 0;
    for shape in sample([(65, 515, 140), (250, 10, 2100)]) {
        for epilogue in sample([EpilogueKind::Bias, EpilogueKind::ReluGradient]) {
            index += 1;
            let layouts = [LAYOUTS[index % 3], LAYOUTS[index / 2 % 3], LAYOUTS[index / 3 % 3]];
            let case = Case::<bf16>::new(shape, layouts, epilogue, index as u64).with_outputs(3);
            // The oracle's integers take too long on an emulated processor.
            let sampled = interval() > 1;
            let expected = if sampled { case.run(Isa::detect(), true) } else { case.expected() };
            for isa in Isa::available().filter(|isa| isa.lanes_f32() > 1) {
                for threads in 2..=4 {
                    let got = case.run_on(Cpu::new(isa, &Threads(threads)), threads, true);
                    expected
                        .assert_same(&got, || format!("{isa}, {threads} threads, {}", case.name()));
                }
            }
        }
    }
}

/// Each addition of a product rounds once, relative to a partial sum that is at most
/// s = sum |a||b|. Of the min(k, 1024) of a block the first adds to zero, and is exact. Then comes
/// one more rounding for each block but the first (alpha is 1).
/// With u = 2^-24 and N = min(k, 1024) + ceil(k / 1024) these are at most N - 1 roundings, so
/// |error| <= ((1 + u)^(N - 1) - 1) s <= N u s, since N^2 u < 1. Nothing underflows here.
#[test]
fn the_error_stays_below_the_bound_that_follows_from_the_order() {
    for k in sample([1025, 2, 31, 1024, 3001]) {
        let (m, n) = (9, 21);
        let mut case =
            Case::<f32>::new((m, n, k), [Layout::RowMajor; 3], EpilogueKind::Identity, 61);
        (case.alpha, case.beta) = (1.0, 0.0);
        let bound = (k.min(1024) + k.div_ceil(1024)) as f64 * 0.5 * f64::from(f32::EPSILON);
        for isa in Isa::available() {
            let got = case.run(isa, true);
            for i in 0..m {
                for j in 0..n {
                    let terms = (0..k).map(|p| case.a.at(i, p).to_f64() * case.b.at(p, j).to_f64());
                    let (exact, size) =
                        terms.fold((0.0, 0.0), |(sum, size), t| (sum + t, size + t.abs()));
                    let error = (f64::from(got.c.at(i, j)) - exact).abs();
                    assert!(error <= bound * size, "{isa}, k = {k}: {error} > {}", bound * size);
                }
            }
        }
    }
}

/// A product of `[2, k]` and `[k, 4]` with `sums` column sums and `scratch` elements of scratch.
fn call<O: Bf16Result>(zero: O, k: usize, sums: usize, scratch: usize) -> Result<(), Error> {
    let operand = vec![bf16::ONE; 4 * k];
    let (mut c, mut db) = ([zero; 8], [0.0; 8]);
    gemm_bf16(
        Cpu::detect(),
        1.0,
        MatRef::row_major(&operand, 2, k)?,
        MatRef::row_major(&operand, k, 4)?,
        0.0,
        MatMut::row_major(&mut c, 2, 4)?,
        Epilogue::NONE.column_sums(&mut db[..sums]),
        &mut vec![0.0; scratch],
    )
}

#[test]
fn little_scratch_is_an_error_and_none_is_one_where_accumulators_must_be_stored() {
    for k in [3, 1024] {
        let enough = gemm_bf16_scratch(1, GemmShape { m: 2, n: 4, k });
        assert_eq!(call(0.0_f32, k, 4, enough), Ok(()));
        assert_eq!(call(bf16::ZERO, k, 4, enough), Ok(()));
        assert_eq!(call(0.0_f32, k, 4, 0), Ok(()));
        assert_eq!(call(bf16::ZERO, k, 4, 0), Ok(()));
        let error = Err(Error::Scratch { expected: enough, got: enough - 1 });
        assert_eq!(call(0.0_f32, k, 4, enough - 1), error);
        assert_eq!(call(bf16::ZERO, k, 4, enough - 1), error);
        let error = Err(Error::Length { operand: "column sums", expected: 4, got: 3 });
        assert_eq!(call(bf16::ZERO, k, 3, enough), error);
    }
    let enough = gemm_bf16_scratch(1, GemmShape { m: 2, n: 4, k: 1025 });
    assert_eq!(call(0.0_f32, 1025, 4, enough), Ok(()));
    assert_eq!(call(0.0_f32, 1025, 4, 0), Ok(()));
    assert_eq!(call(bf16::ZERO, 1025, 4, enough), Ok(()));
    assert_eq!(call(bf16::ZERO, 1025, 4, 0), Err(Error::Scratch { expected: enough, got: 0 }));
    let error = Err(Error::Scratch { expected: enough, got: enough - 1 });
    assert_eq!(call(0.0_f32, 1025, 4, enough - 1), error);
    assert_eq!(call(bf16::ZERO, 1025, 4, enough - 1), error);
}

/// `x` in bf16, as a product counts it: a subnormal is a zero of its sign.
fn rounded(x: f32) -> bf16 {
    bf16::from_f32(if x.is_subnormal() { 0.0_f32.copysign(x) } else { x })
}

/// Numbers of f32 that bf16 lacks, and at every 61st index one that is hard to round.
fn unrounded(stream: u64) -> impl Fn(u64) -> f32 {
    const HARD: [f32; 8] =
        [f32::NAN, f32::INFINITY, -0.0, 1e-40, -3.4e38, 1.003_906_3, 1.011_718_8, -1.175_494_2e-38];
    move |i| {
        let x = Stream::new(11, stream).uniform_f32(i) * 2.0 - 1.0;
        if i % 61 == 60 { HARD[(i / 61 % 8) as usize] } else { x }
    }
}

#[test]
fn operands_that_are_rounded_have_the_bits_of_rounded_matrices() {
    let mut index = 0;
    for (m, n, k) in
        sample([(29, 48, 130), (1, 1, 1), (5, 17, 31), (7, 33, 64), (40, 70, 1027), (13, 16, 0)])
    {
        for layouts in sample([[0, 0], [0, 1], [1, 0], [1, 1], [2, 0], [1, 2]]) {
            index += 1;
            let (a_fill, b_fill) = (unrounded(2 * index), unrounded(2 * index + 1));
            let a = Matrix::new(m, k, LAYOUTS[layouts[0]], &a_fill);
            let b = Matrix::new(k, n, LAYOUTS[layouts[1]], &b_fill);
            let a_rounded = Matrix::new(m, k, LAYOUTS[layouts[0]], |i| rounded(a_fill(i)));
            let b_rounded = Matrix::new(k, n, LAYOUTS[layouts[1]], |i| rounded(b_fill(i)));
            for isa in Isa::available() {
                let mut scratch = vec![f32::NAN; gemm_bf16_scratch(1, GemmShape { m, n, k })];
                let mut multiply = |a: Bf16Operand<'_>, b: Bf16Operand<'_>| {
                    let mut c = Matrix::dense(m, n, |_| 0.5_f32);
                    let mut sums = vec![0.0; n];
                    let epilogue = Epilogue::NONE.column_sums(&mut sums);
                    let cpu = Cpu::serial(isa);
                    gemm_bf16(cpu, 1.0, a, b, 0.0, c.view_mut(), epilogue, &mut scratch).unwrap();
                    (c, sums)
                };
                let expected = multiply(a_rounded.view().into(), b_rounded.view().into());
                let (a, b) = (Bf16Operand::rounded(a.view()), Bf16Operand::rounded(b.view()));
                for got in [multiply(a, b), multiply(a_rounded.view().into(), b)] {
                    let case = || format!("{m} x {k} by {k} x {n}, layouts {layouts:?}, {isa}");
                    assert_same(&expected.0.data, &got.0.data, "C", case);
                    assert_same(&expected.1, &got.1, "the column sums", case);
                }
            }
        }
    }
}
