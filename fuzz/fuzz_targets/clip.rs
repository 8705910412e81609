//! Norms and clips of any gradient: nothing overflows, a non-finite gradient is an error and stays
//! unchanged, and a clipped one is within its limit. `cargo +nightly fuzz run clip`.
#![no_main]

use arbitrary::Arbitrary;
use fuzz::{Length, Mismatch, Number, Parameter, Values, same_everywhere};
use kernels::clip::{
    AdaptiveLimit, Clip, Tensor, clip_adaptive, clip_chain, clip_chain_scratch, clip_global_norm,
    clip_norm, clip_value, max_norm,
};
use kernels::norm::{Norm, Units, norm_max, norm1, norm2, tensor_norms, unit_norms};
use kernels::{Cpu, Error, Float};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Problem {
    double: bool,
    tensors: Vec<(Length, Unit)>,
    chain: Vec<Link>,
    limit: Parameter,
    epsilon: Parameter,
    of_w: Mismatch,
    of_scratch: Mismatch,
    values: Values,
}

#[derive(Clone, Copy, Debug, Arbitrary)]
enum Unit {
    Whole,
    Rows(u8),
    Columns(u8),
}

#[derive(Clone, Copy, Debug, Arbitrary)]
enum Link {
    Value(Parameter),
    Norm(Parameter),
    GlobalNorm(Parameter),
    Adaptive { ratio: Parameter, epsilon: Parameter },
}

impl Unit {
    fn units(self) -> Units {
        match self {
            Self::Whole => Units::Whole,
            Self::Rows(cols) => Units::Rows(cols.into()),
            Self::Columns(cols) => Units::Columns(cols.into()),
        }
    }
}

impl Link {
    fn clip(self) -> Clip {
        match self {
            Self::Value(limit) => Clip::Value { limit: limit.get() },
            Self::Norm(limit) => Clip::Norm { limit: limit.get() },
            Self::GlobalNorm(limit) => Clip::GlobalNorm { limit: limit.get() },
            Self::Adaptive { ratio, epsilon } => {
                Clip::Adaptive { ratio: ratio.get(), epsilon: epsilon.get() }
            }
        }
    }
}

fuzz_target!(|problem: Problem| {
    if problem.double { one_and_all::<f64>(&problem) } else { one_and_all::<f32>(&problem) }
});

fn one_and_all<T: Float + Number>(problem: &Problem) {
    let tensors: Vec<Tensor> = problem
        .tensors
        .iter()
        .take(3)
        .map(|(len, unit)| {
            let units = unit.units();
            // Usually whole rows.
            let cols = match units {
                Units::Whole => 1,
                Units::Rows(cols) | Units::Columns(cols) => cols.max(1),
            };
            Tensor { len: problem.of_scratch.of(len.get().next_multiple_of(cols)), units }
        })
        .collect();
    one::<T>(
        problem,
        tensors.first().map_or(Units::Whole, |tensor| tensor.units),
        tensors.first().map_or(0, |tensor| tensor.len),
    );
    chained::<T>(problem, &tensors);
}

/// Largest norm of a clipped vector of norm `norm`. Each element is rounded once, and the factor,
/// `limit / norm`, by up to half of the least subnormal. Both norms, before and after, have half
/// the error of their sums of squares: chains of up to 512 elements, 5 folds and a sum of chunks.
fn at_most<T: Float + Number>(limit: f64, norm: f64, len: usize) -> f64 {
    let sums = (len.min(16 * 1024).div_ceil(32) + 5 + len.div_ceil(16 * 1024)) as f64;
    let (part, least) = if size_of::<T>() == 4 {
        (1e-7, f64::from(f32::from_bits(1)))
    } else {
        (1e-15, f64::from_bits(1))
    };
    let of_factor = norm.min(f64::MAX) * f64::powi(2.0, -537) * f64::powi(2.0, -538);
    limit * (1.0 + part * 8.0 + sums * f64::EPSILON / 2.0) + (len as f64).sqrt() * least + of_factor
}

/// A single slice.
fn one<T: Float + Number>(problem: &Problem, units: Units, len: usize) {
    let (g, limit, epsilon) =
        (problem.values.take::<T>(0, len), problem.limit.get(), problem.epsilon.get());
    let first_wild = g.iter().position(|g| !Number::to_f64(*g).is_finite());
    let is_limit = limit.is_finite() && limit > 0.0;
    // The norm of finite numbers is finite, except in f64, where it can overflow.
    let of =
        |norm: fn(Cpu<'_>, &[T]) -> Result<f64, Error>| {
            let norm = same_everywhere(&(), |cpu, ()| norm(cpu, &g)).map(|((), norm)| norm);
            match first_wild {
                Some(index) => assert_eq!(norm, Err(Error::NonFinite { index })),
                None => {
                    assert!(norm.is_ok_and(
                        |norm| norm >= 0.0 && (size_of::<T>() == 8 || norm < f64::INFINITY)
                    ))
                }
            }
            norm.unwrap_or(f64::NAN)
        };
    let [l1, l2, max] = [of(norm1), of(norm2), of(norm_max)];
    assert!(
        first_wild.is_some()
            || max <= l2 * (1.0 + 1e-9) + 1e-320 && l2 <= l1 * (1.0 + 1e-9) + 1e-320
    );

    let clipped = same_everywhere(&g, |cpu, g| clip_norm(cpu, g, limit));
    assert_eq!(clipped.is_ok(), is_limit && first_wild.is_none());
    if let Ok((clipped, before)) = clipped {
        assert!(before == l2);
        let after = norm2(Cpu::detect(), &clipped).expect("it is finite");
        assert!(
            after <= at_most::<T>(limit, before, len) || before <= limit,
            "{after} is above {limit}"
        );
    }
    let clipped = same_everywhere(&g, |cpu, g| clip_value(cpu, g, limit));
    assert_eq!(clipped.is_ok(), is_limit && first_wild.is_none());
    if let Ok((clipped, _)) = clipped {
        let limit = Number::to_f64(<T as Number>::from_f64(limit));
        assert!(clipped.iter().all(|g| Number::to_f64(*g).abs() <= limit));
    }

    let Ok(count) = units.count(len) else { return };
    for norm in [Norm::L1, Norm::L2, Norm::Max] {
        let norms = same_everywhere(&vec![0.0_f64; count], |cpu, norms| {
            unit_norms(cpu, norm, units, &g, norms)
        });
        assert!(
            first_wild.is_some()
                || norms.is_ok_and(|(norms, ())| norms.iter().all(|norm| *norm >= 0.0))
        );
    }
    let w = problem.values.take::<T>(3, problem.of_w.of(len));
    let adaptive = same_everywhere(&g, |cpu, g| {
        let mut norms = vec![0.0; problem.of_scratch.of(2 * count)];
        let limit = AdaptiveLimit { ratio: limit, epsilon };
        let found = clip_adaptive(cpu, g, &w, units, limit, &mut norms)?;
        Ok((found.norm, found.excess, found.clipped))
    });
    assert!(adaptive.is_err() || w.len() == len && is_limit && first_wild.is_none());
    let bounded = same_everywhere(&g, |cpu, w| {
        let found = max_norm(cpu, w, units, limit, &mut vec![0.0; count])?;
        Ok((found.norm, found.excess, found.clipped))
    });
    assert_eq!(bounded.is_ok(), is_limit && first_wild.is_none());
}

/// The tensors of a flat buffer, as shapes and as slices.
fn chained<T: Float + Number>(problem: &Problem, tensors: &[Tensor]) {
    let len = tensors.iter().map(|tensor| tensor.len).sum();
    let (g, w) =
        (problem.values.take::<T>(0, len), problem.values.take::<T>(3, problem.of_w.of(len)));
    let is_wild = g.iter().any(|g| !Number::to_f64(*g).is_finite());
    let chain: Vec<Clip> = problem.chain.iter().take(5).map(|link| link.clip()).collect();
    let result = same_everywhere(&g, |cpu, g| {
        let mut scratch = vec![0.0; problem.of_scratch.of(clip_chain_scratch(&chain, tensors))];
        let clipped = clip_chain(cpu, &chain, tensors, &w, g, &mut scratch)?;
        Ok((clipped.norm, clipped.scale, clipped.rewritten))
    });
    if let Ok((after, (_, scale, rewritten))) = result {
        assert!(!is_wild && (0.0..=1.0).contains(&scale));
        assert!(rewritten || fuzz::bits(&after) == fuzz::bits(&g));
        let norm = norm2(Cpu::detect(), &after).expect("it is finite");
        if let Some(Clip::GlobalNorm { limit }) = chain.last() {
            assert!(
                norm == f64::INFINITY || norm * scale <= at_most::<T>(*limit, norm, len),
                "{norm} {scale} {limit}"
            );
        }
    }
    let mut rest = &g[..];
    let slices: Vec<&[T]> =
        tensors.iter().map(|tensor| rest.split_off(..tensor.len).expect("so long")).collect();
    let norms = same_everywhere(&vec![0.0_f64; slices.len()], |cpu, norms| {
        tensor_norms(cpu, &slices, norms).or(Ok(-1.0))
    });
    assert!(norms.is_ok_and(|(_, norm)| (norm < 0.0) == is_wild));
    let owned: Vec<Vec<T>> = slices.iter().map(|slice| slice.to_vec()).collect();
    let clipped = same_everywhere(&owned, |cpu, tensors| {
        let mut norms = vec![0.0; tensors.len()];
        let mut tensors: Vec<&mut [T]> = tensors.iter_mut().map(|tensor| &mut tensor[..]).collect();
        clip_global_norm(cpu, &mut tensors, problem.limit.get(), &mut norms)
    });
    assert!(clipped.is_err() || !is_wild);
}
