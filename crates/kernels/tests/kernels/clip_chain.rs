use proptest::prelude::*;

use crate::testing::{bits, same_on_every_cpu};
use kernels::clip::{
    AdaptiveLimit, Clip, Clipped, Tensor, clip_adaptive, clip_chain, clip_chain_scratch,
    clip_global_norm, clip_norm, clip_value,
};
use kernels::norm::{Units, norm_max, norm2};
use kernels::random::Stream;
use kernels::vector;
use kernels::{Cpu, Error};

fn whole(len: usize) -> Tensor {
    Tensor { len, units: Units::Whole }
}

fn draw(stream: u64, n: usize) -> Vec<f32> {
    (0..n as u64).map(|i| Stream::new(31, stream).uniform_f32(i) - 0.5).collect()
}

/// Tensors of all kinds of units, including empty ones.
const LAYOUT: [Tensor; 6] = [
    Tensor { len: 70 * 300, units: Units::Columns(300) },
    Tensor { len: 300, units: Units::Whole },
    Tensor { len: 0, units: Units::Rows(3) },
    Tensor { len: 10 * 300, units: Units::Rows(300) },
    Tensor { len: 0, units: Units::Whole },
    Tensor { len: 10, units: Units::Whole },
];
const LEN: usize = 70 * 300 + 300 + 10 * 300 + 10;

/// The tensors of a flat buffer.
fn tensors_of<'a>(tensors: &[Tensor], mut x: &'a [f32]) -> impl Iterator<Item = &'a [f32]> {
    tensors
        .iter()
        .map(move |tensor| x.split_off(..tensor.len).expect("as many elements as the tensors"))
}

/// The tensors of a flat buffer, for clipping.
fn tensors_of_mut(mut x: &mut [f32]) -> impl Iterator<Item = &mut [f32]> {
    LAYOUT
        .iter()
        .map(move |tensor| x.split_off_mut(..tensor.len).expect("as many elements as the tensors"))
}

/// The gradient, the norms and the result, equal on every CPU.
fn chained(
    chain: &[Clip],
    tensors: &[Tensor],
    w: &[f32],
    g: &[f32],
) -> (Vec<f32>, Vec<f64>, Result<Clipped, Error>) {
    let mut out = (Vec::new(), Vec::new(), Err(Error::NonFinite { index: 0 }));
    _ = same_on_every_cpu(|cpu| {
        let mut g = g.to_vec();
        let mut scratch = vec![-1.0; clip_chain_scratch(chain, tensors) + 1];
        let result = clip_chain(cpu, chain, tensors, w, &mut g, &mut scratch);
        assert_eq!(scratch.pop(), Some(-1.0), "written past the scratch");
        scratch.truncate(tensors.len());
        out = (g, scratch, result);
        (bits(&out.0), bits(&out.1), out.2)
    });
    out
}

#[test]
fn one_global_norm_is_folded_into_the_scale() {
    let g = draw(0, LEN);
    let (out, norms, result) = chained(&[Clip::GlobalNorm { limit: 0.5 }], &LAYOUT, &[], &g);
    let clipped = result.unwrap();
    assert_eq!(bits(&out), bits(&g));
    assert!(!clipped.rewritten && (clipped.scale - 0.5 / clipped.norm).abs() < 1e-18);

    let cpu = Cpu::detect();
    let (mut direct, mut direct_norms) = (g.clone(), vec![0.0; LAYOUT.len()]);
    let mut parts: Vec<&mut [f32]> = tensors_of_mut(&mut direct).collect();
    assert_eq!(clip_global_norm(cpu, &mut parts, 0.5, &mut direct_norms), Ok(clipped.norm));
    assert_eq!(bits(&direct_norms), bits(&norms));
    for (g, direct) in g.iter().zip(&direct) {
        assert_eq!((f64::from(*g) * clipped.scale) as f32, *direct);
    }
}

#[test]
fn each_link_alone_is_the_clip_of_its_name() {
    let (g, w) = (draw(1, LEN), draw(2, LEN));
    let cpu = Cpu::detect();

    let (out, _, result) = chained(&[Clip::Value { limit: 0.25 }], &LAYOUT, &[], &g);
    let mut expected = g.clone();
    clip_value(cpu, &mut expected, 0.25).unwrap();
    assert_eq!(bits(&out), bits(&expected));
    assert!(result.is_ok_and(|clipped| clipped.rewritten && clipped.scale == 1.0));

    let (out, _, result) = chained(&[Clip::Norm { limit: 2.0 }], &LAYOUT, &[], &g);
    let mut expected = g.clone();
    tensors_of_mut(&mut expected).for_each(|g| _ = clip_norm(cpu, g, 2.0).unwrap());
    assert_eq!(bits(&out), bits(&expected));
    assert!(result.is_ok_and(|clipped| clipped.rewritten && clipped.scale == 1.0));

    let adaptive = Clip::Adaptive { ratio: 0.9, epsilon: 1e-3 };
    let (out, _, result) = chained(&[adaptive], &LAYOUT, &w, &g);
    let mut expected = g.clone();
    let parts = tensors_of_mut(&mut expected).zip(tensors_of(&LAYOUT, &w));
    let mut clipped = 0;
    for ((g, w), tensor) in parts.zip(LAYOUT) {
        let mut norms = vec![0.0; 2 * tensor.units.count(tensor.len).unwrap()];
        let limit = AdaptiveLimit { ratio: 0.9, epsilon: 1e-3 };
        clipped += clip_adaptive(cpu, g, w, tensor.units, limit, &mut norms).unwrap().clipped;
    }
    assert!(clipped > 100, "only {clipped} units");
    assert_eq!(bits(&out), bits(&expected));
    assert!(result.is_ok_and(|clipped| clipped.rewritten && clipped.scale == 1.0));
}

#[test]
fn links_read_the_output_of_those_before_them() {
    let tensors = [whole(2), whole(1)];
    let chain = |chain: &[Clip], g: &[f32]| {
        let (mut g, norms, result) = chained(chain, &tensors, &[], g);
        let clipped = result.unwrap();
        vector::scale(Cpu::detect(), clipped.scale as f32, &mut g);
        (g, norms, clipped)
    };
    let g = [6.0, 8.0, 0.0];
    // |g| = 10 becomes 5 by the scale; 3 and 4 are clamped to 3.5; then 3 and 3.5 to the norm 1.
    let (out, norms, clipped) =
        chain(&[Clip::GlobalNorm { limit: 5.0 }, Clip::Value { limit: 3.5 }], &g);
    assert_eq!((out, norms), (vec![3.0, 3.5, 0.0], vec![10.0, 0.0]));
    assert!(clipped.rewritten && clipped.scale == 0.5 && clipped.norm == 10.0);
    let (out, _, clipped) = chain(
        &[
            Clip::GlobalNorm { limit: 5.0 },
            Clip::Value { limit: 3.5 },
            Clip::GlobalNorm { limit: 1.0 },
        ],
        &g,
    );
    assert!((norm2(Cpu::detect(), &out).unwrap() - 1.0).abs() < 1e-7 && clipped.norm == 10.0);
    // In the other order: 6, 8 become 4, 4.
    let (out, ..) = chain(&[Clip::Value { limit: 4.0 }, Clip::GlobalNorm { limit: 100.0 }], &g);
    assert_eq!(out, [4.0, 4.0, 0.0]);
    // The first tensor becomes 3, 4 by its own norm; the scale applies to the second as well.
    let (out, _, clipped) =
        chain(&[Clip::Norm { limit: 5.0 }, Clip::GlobalNorm { limit: 2.5 }], &[6.0, 8.0, 0.0]);
    assert_eq!((out, clipped.scale), (vec![1.5, 2.0, 0.0], 0.5));
    let (out, _, clipped) =
        chain(&[Clip::GlobalNorm { limit: 5.0 }, Clip::Norm { limit: 2.5 }], &[6.0, 8.0, 0.0]);
    assert_eq!((out, clipped.scale), (vec![1.5, 2.0, 0.0], 0.5));
    // The same link twice, and a wider one: no further change.
    let twice = [
        Clip::GlobalNorm { limit: 5.0 },
        Clip::GlobalNorm { limit: 5.0 },
        Clip::GlobalNorm { limit: 7.0 },
        Clip::Norm { limit: 5.0 },
    ];
    assert_eq!(chain(&twice, &g).2, Clipped { norm: 10.0, scale: 0.5, rewritten: false });
    assert_eq!(chain(&[], &g).2, Clipped { norm: 10.0, scale: 1.0, rewritten: false });
}

#[test]
fn an_adaptive_link_includes_the_scale() {
    let tensors = [Tensor { len: 4, units: Units::Rows(2) }];
    let chain = [Clip::GlobalNorm { limit: 5.0 }, Clip::Adaptive { ratio: 1.0, epsilon: 1.0 }];
    // The scale is 1/2, the rows 3, 4 and 0, 0; the weights of the first have the norm 2.
    let (out, _, result) = chained(&chain, &tensors, &[2.0, 0.0, 0.0, 0.0], &[6.0, 8.0, 0.0, 0.0]);
    let Clipped { scale, rewritten, .. } = result.unwrap();
    assert_eq!((out, scale, rewritten), (vec![2.4, 3.2, 0.0, 0.0], 0.5, true));
}

#[test]
fn chains_match_the_table() {
    let tiny = f32::from_bits(1);
    let tensors = [whole(2), whole(2)];
    let e20 = f64::from(1e20_f32);
    for (g, norm, expected) in [
        ([1e20_f32; 4], 2.0 * e20, [2.5; 4]),
        ([6.0, 0.0, -0.0, 8.0], 10.0, [3.0, 0.0, -0.0, 4.0]),
        ([0.0, -0.0, 0.0, 0.0], 0.0, [0.0, -0.0, 0.0, 0.0]),
        ([tiny; 4], 2.0 * f64::from(tiny), [tiny; 4]),
        ([f32::MAX; 4], 2.0 * f64::from(f32::MAX), [2.5; 4]),
        ([f32::MAX, tiny, 0.0, 0.0], f64::from(f32::MAX), [5.0, 0.0, 0.0, 0.0]),
    ] {
        let (mut out, _, result) = chained(&[Clip::GlobalNorm { limit: 5.0 }], &tensors, &[], &g);
        let clipped = result.unwrap();
        assert_eq!(clipped.norm, norm);
        out.iter_mut().for_each(|g| *g = (f64::from(*g) * clipped.scale) as f32);
        assert_eq!(bits(&out), bits(&expected));
    }
    let links = [
        Clip::Value { limit: 5.0 },
        Clip::Norm { limit: 5.0 },
        Clip::GlobalNorm { limit: 5.0 },
        Clip::Adaptive { ratio: 5.0, epsilon: 1.0 },
    ];
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for link in links {
            let g = [1e9, 2e9, 1.0, bad];
            let (out, _, result) = chained(&[link], &tensors, &[0.0; 4], &g);
            assert_eq!(result, Err(Error::NonFiniteIn { tensor: 1, index: 1 }));
            assert_eq!(bits(&out), bits(&g));
        }
    }
}

#[test]
fn misuse_is_refused_before_anything_is_changed() {
    let cpu = Cpu::detect();
    let tensors = [whole(2), Tensor { len: 2, units: Units::Rows(2) }];
    let mut g = [6.0_f32, 8.0, 0.0, 0.0];
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        for link in [
            Clip::Value { limit: bad },
            Clip::Norm { limit: bad },
            Clip::GlobalNorm { limit: bad },
            Clip::Adaptive { ratio: bad, epsilon: 1.0 },
            Clip::Adaptive { ratio: 1.0, epsilon: bad },
        ] {
            let result = clip_chain(
                cpu,
                &[Clip::Norm { limit: 1.0 }, link],
                &tensors,
                &[0.0; 4],
                &mut g,
                &mut [0.0; 9],
            );
            assert!(matches!(result, Err(Error::Parameter { .. })), "{link:?}");
        }
    }
    let adaptive = [Clip::Norm { limit: 1.0 }, Clip::Adaptive { ratio: 1.0, epsilon: 1.0 }];
    let mut run = |chain: &[Clip], tensors: &[Tensor], w: &[f32], scratch: usize| {
        clip_chain(cpu, chain, tensors, w, &mut g, &mut vec![0.0; scratch])
    };
    let length = |operand, expected, got| Err(Error::Length { operand, expected, got });
    assert_eq!(run(&adaptive, &tensors[..1], &[0.0; 4], 9), length("g", 2, 4));
    assert_eq!(
        run(&adaptive, &[whole(usize::MAX), whole(5)], &[0.0; 4], 9),
        length("g", usize::MAX, 4)
    );
    assert_eq!(run(&adaptive, &tensors, &[0.0; 3], 9), length("w", 4, 3));
    let odd = [Tensor { len: 4, units: Units::Columns(3) }];
    assert_eq!(run(&adaptive, &odd, &[0.0; 4], 9), length("x", 3, 4));
    assert_eq!(run(&adaptive, &tensors, &[0.0; 4], 3), Err(Error::Scratch { expected: 4, got: 3 }));
    assert_eq!(run(&[], &tensors, &[], 1), Err(Error::Scratch { expected: 2, got: 1 }));
    assert_eq!(g, [6.0, 8.0, 0.0, 0.0]);
    assert_eq!(
        clip_chain::<f32>(cpu, &[Clip::GlobalNorm { limit: 1.0 }], &[], &[], &mut [], &mut [])
            .unwrap()
            .norm,
        0.0
    );
}

#[test]
fn a_gradient_with_an_infinite_norm_is_clipped() {
    let (cpu, tensors) = (Cpu::detect(), [whole(2), whole(2)]);
    for (chain, norm) in [
        (Clip::GlobalNorm { limit: 5e300 }, 5e300),
        (Clip::Norm { limit: 5e300 }, 5e300 * f64::sqrt(2.0)),
    ] {
        let mut g = [f64::MAX; 4];
        let clipped = clip_chain(cpu, &[chain], &tensors, &[], &mut g, &mut [0.0; 2]).unwrap();
        assert_eq!(clipped.norm, f64::INFINITY);
        vector::scale(cpu, clipped.scale, &mut g);
        assert!((norm2(cpu, &g).unwrap() / norm - 1.0).abs() < 1e-14);
    }
}

proptest! {
    #![proptest_config(crate::testing::draws(256))]

    /// For every chain: each bound holds in the end for the link that set it last, and no element
    /// grows.
    #[test]
    fn no_chain_makes_anything_larger(
        seed in 0..1000_u64,
        lens in prop::collection::vec(0..50_usize, 1..5),
        limits in prop::collection::vec((0..3_u8, 1e-3..2.0_f64), 0..4),
    ) {
        let tensors: Vec<Tensor> = lens.iter().map(|&len| whole(len)).collect();
        let g: Vec<f32> = draw(seed, lens.iter().sum());
        let chain: Vec<Clip> = limits.iter().map(|&(kind, limit)| match kind {
            0 => Clip::Value { limit },
            1 => Clip::Norm { limit },
            _ => Clip::GlobalNorm { limit },
        }).collect();
        let (mut out, _, result) = chained(&chain, &tensors, &[], &g);
        let scale = result.unwrap().scale;
        prop_assert!(scale > 0.0 && scale <= 1.0);
        out.iter_mut().for_each(|g| *g = (f64::from(*g) * scale) as f32);
        for (g, out) in g.iter().zip(&out) {
            prop_assert!(out.abs() <= g.abs() && g * out >= 0.0);
        }
        // Later links only shrink elements, so all bounds hold in the end.
        let cpu = Cpu::detect();
        for clip in chain {
            let (norm, limit) = match clip {
                Clip::Value { limit } => (norm_max(cpu, &out).unwrap(), limit),
                Clip::GlobalNorm { limit } => (norm2(cpu, &out).unwrap(), limit),
                Clip::Norm { limit } => {
                    let norms = tensors_of(&tensors, &out).map(|x| norm2(cpu, x).unwrap());
                    (norms.fold(0.0, f64::max), limit)
                }
                _ => unreachable!("{clip:?} is not drawn"),
            };
            prop_assert!(norm <= limit * (1.0 + 1e-6), "{clip:?}: {norm}");
        }
    }
}
