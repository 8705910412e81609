//! Activations, softmax, dropout and vector arithmetic on any numbers: the same bits everywhere,
//! NaN stays NaN, and lengths that do not fit are an error.
//! `cargo +nightly fuzz run elementwise`.
#![no_main]

use arbitrary::Arbitrary;
use fuzz::{Length, Mismatch, Number, Parameter, Values, bits, same_everywhere};
use half::bf16;
use kernels::activation::{Activation, Saved, prelu, prelu_backward, prelu_scratch};
use kernels::dropout::Dropout;
use kernels::random::Stream;
use kernels::softmax::{
    log_softmax, log_softmax_backward, log_softmax_in_place, softmax, softmax_backward,
    softmax_in_place,
};
use kernels::{Element, Error, Float, vector};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Problem {
    element: Type,
    operation: Operation,
    len: Length,
    other: Mismatch,
    cols: u8,
    number: Parameter,
    values: Values,
}

#[derive(Debug, Arbitrary)]
enum Type {
    Single,
    Double,
    Half,
}

#[derive(Debug, Arbitrary)]
enum Operation {
    Activation(u8),
    Prelu,
    Softmax,
    Dropout(u64),
    Vector,
}

fn activation(name: u8, number: f64) -> Activation {
    match name % 16 {
        0 => Activation::Relu,
        1 => Activation::CappedRelu { cap: number },
        2 => Activation::LeakyRelu { slope: number },
        3 => Activation::Elu { alpha: number },
        4 => Activation::Selu,
        5 => Activation::Gelu,
        6 => Activation::GeluTanh,
        7 => Activation::Silu,
        8 => Activation::Mish,
        9 => Activation::Sigmoid,
        10 => Activation::HardSigmoid,
        11 => Activation::Tanh,
        12 => Activation::HardTanh,
        13 => Activation::Softplus,
        14 => Activation::Softsign,
        _ => Activation::Exponential,
    }
}

fuzz_target!(|problem: Problem| {
    match problem.element {
        Type::Single => floats::<f32>(&problem),
        Type::Double => floats::<f64>(&problem),
        Type::Half => elements::<bf16>(&problem),
    }
});

/// Asserts an error exactly if `lengths` differ.
fn agreed<T>(result: Result<T, Error>, lengths: [usize; 2]) -> Option<T> {
    assert_eq!(result.is_ok(), lengths[0] == lengths[1]);
    result.ok()
}

fn floats<T: Float + Number>(problem: &Problem) {
    let (len, other) = (problem.len.get(), problem.other.of(problem.len.get()));
    let (x, y) = (problem.values.take::<T>(0, len), problem.values.take::<T>(1, other));
    let cols = usize::from(problem.cols % 40);
    match problem.operation {
        Operation::Prelu => {
            // Either may be the error: another length, or not a whole number of rows.
            let slopes = problem.values.take::<T>(2, cols);
            let forward = same_everywhere(&y, |cpu, y| prelu(cpu, &x, &slopes, y));
            let backward = same_everywhere(&(y.clone(), slopes.clone()), |cpu, (dy, dslopes)| {
                let mut scratch = vec![T::default(); prelu_scratch(dy.len(), cols)];
                prelu_backward(cpu, &x, &slopes, dy, dslopes, &mut scratch)
            });
            assert_eq!(forward.is_ok(), backward.is_ok());
            assert!(len == other || forward.is_err());
        }
        Operation::Softmax => {
            let is_whole = len.checked_rem(cols).map_or(len == 0, |rest| rest == 0);
            let fits = |result: Result<(Vec<T>, ()), Error>| {
                assert_eq!(result.is_ok(), is_whole && len == other);
                result.ok().map(|(y, ())| y)
            };
            let [softmax, log_softmax] = [
                fits(same_everywhere(&y, |cpu, y| softmax(cpu, &x, cols, y))),
                fits(same_everywhere(&y, |cpu, y| log_softmax(cpu, &x, cols, y))),
            ];
            fits(same_everywhere(&y, |cpu, dy| softmax_backward(cpu, &x, cols, dy)));
            fits(same_everywhere(&y, |cpu, dy| log_softmax_backward(cpu, &x, cols, dy)));
            if let (Some(softmax), Some(log_softmax)) = (softmax, log_softmax) {
                let in_place = same_everywhere(&x, |cpu, x| softmax_in_place(cpu, x, cols));
                assert_eq!(bits(&in_place.expect("whole rows").0), bits(&softmax));
                let in_place = same_everywhere(&x, |cpu, x| log_softmax_in_place(cpu, x, cols));
                assert_eq!(bits(&in_place.expect("whole rows").0), bits(&log_softmax));
                for (p, ln_p) in softmax.iter().zip(&log_softmax) {
                    assert_eq!(Number::to_f64(*p).is_nan(), Number::to_f64(*ln_p).is_nan());
                    assert!(!(Number::to_f64(*p) > 1.0 || Number::to_f64(*ln_p) > 0.0));
                }
            }
        }
        Operation::Vector => {
            agreed(same_everywhere(&(), |cpu, ()| vector::dot(cpu, &x, &y)), [len, other]);
            agreed(same_everywhere(&(), |cpu, ()| vector::cosine(cpu, &x, &y)), [len, other]);
            elements::<T>(problem);
        }
        _ => elements::<T>(problem),
    }
}

fn elements<E: Element + Number>(problem: &Problem)
where
    E::Float: Number,
{
    let (len, other) = (problem.len.get(), problem.other.of(problem.len.get()));
    let (x, y) = (problem.values.take::<E>(0, len), problem.values.take::<E>(1, other));
    let number = problem.number.get();
    let is_nan = |x: &E| Number::to_f64(*x).is_nan();
    match problem.operation {
        Operation::Activation(name) => {
            let activation = activation(name, number);
            let is_allowed = activation.check().is_ok();
            let forward = same_everywhere(&y, |cpu, y| activation.forward(cpu, &x, y));
            assert_eq!(forward.is_ok(), is_allowed && len == other);
            let backward = same_everywhere(&y, |cpu, dy| activation.backward(cpu, &x, dy));
            assert_eq!(backward.is_ok(), is_allowed && len == other);
            let Ok((forward, ())) = forward else { return };
            let in_place = same_everywhere(&x, |cpu, x| activation.forward_in_place(cpu, x));
            assert_eq!(bits(&in_place.expect("it is allowed").0), bits(&forward));
            assert!(x.iter().zip(&forward).all(|(x, y)| !is_nan(x) || is_nan(y)));
            // The gradient at the saved values is NaN only where an input is.
            let saved = if activation.saved() == Saved::Input { &x } else { &forward };
            let ones = vec![E::from_f64(1.0); len];
            let gradient = same_everywhere(&ones, |cpu, dy| activation.backward(cpu, saved, dy));
            let (gradient, ()) = gradient.expect("it is allowed");
            assert!(saved.iter().zip(&gradient).all(|(saved, dx)| is_nan(saved) || !is_nan(dx)));
        }
        Operation::Dropout(seed) => {
            let dropout = Dropout { p: number, stream: Stream::new(seed, 1) };
            // Offsets whose mask would end past the last index are an error.
            let is_allowed = dropout.check().is_ok() && seed.checked_add(len as u64).is_some();
            let forward = same_everywhere(&y, |cpu, y| dropout.forward(cpu, seed, &x, y));
            assert_eq!(forward.is_ok(), is_allowed && len == other);
            let in_place = same_everywhere(&x, |cpu, x| dropout.forward_in_place(cpu, seed, x));
            assert_eq!(in_place.is_ok(), is_allowed);
            let backward = same_everywhere(&x, |cpu, dy| dropout.backward(cpu, seed, dy));
            assert_eq!(backward.is_ok(), is_allowed);
            if let (Ok(forward), Ok(in_place), Ok(backward)) = (forward, in_place, backward) {
                assert_eq!(bits(&forward), bits(&in_place));
                assert_eq!(bits(&forward), bits(&backward));
            }
        }
        _ => {
            let coefficient = <E::Float as Number>::from_f64(number);
            let scaled = same_everywhere(&x, |cpu, x| {
                vector::scale(cpu, coefficient, x);
                Ok(())
            });
            assert!(scaled.is_ok());
            agreed(same_everywhere(&y, |cpu, y| vector::accumulate(cpu, &x, y)), [len, other]);
            agreed(
                same_everywhere(&y, |cpu, y| vector::axpy(cpu, coefficient, &x, y)),
                [len, other],
            );
            agreed(
                same_everywhere(&y, |cpu, y| vector::lerp(cpu, coefficient, &x, y)),
                [len, other],
            );
        }
    }
}
