//! Losses of any logits: the same bits everywhere, with and without the gradient, and an error for
//! operands that do not fit. `cargo +nightly fuzz run loss`.
#![no_main]

use arbitrary::Arbitrary;
use fuzz::{Length, Mismatch, Number, Parameter, Values, bits, same_everywhere};
use half::bf16;
use kernels::loss::{
    BinaryCrossEntropy, Brier, CrossEntropy, Hinge, HingeForm, KullbackLeibler, Poisson,
    Regression, Targets, mask_rows,
};
use kernels::{Cpu, Element, Error, Float};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Problem {
    loss: Loss,
    rows: Length,
    classes: u8,
    of_logits: Mismatch,
    of_losses: Mismatch,
    of_targets: Mismatch,
    of_dlogits: Mismatch,
    number: Parameter,
    scale: Parameter,
    ignore: Option<u8>,
    labels: Vec<u8>,
    values: Values,
}

#[derive(Debug, Arbitrary)]
enum Loss {
    Labels { double: bool, weights: bool },
    Distributions { double: bool, weights: bool },
    Hinge { double: bool, squared: bool, form: u8 },
    Binary { half: bool },
    Regression { half: bool, form: u8 },
    KullbackLeibler { double: bool },
    Brier { double: bool, sigmoid: bool },
    Poisson { half: bool, log_input: bool },
}

fuzz_target!(|problem: Problem| match problem.loss {
    Loss::Labels { double: false, .. }
    | Loss::Distributions { double: false, .. }
    | Loss::Hinge { double: false, .. }
    | Loss::KullbackLeibler { double: false } => rows::<f32>(&problem),
    Loss::Labels { .. }
    | Loss::Distributions { .. }
    | Loss::Hinge { .. }
    | Loss::KullbackLeibler { .. } => rows::<f64>(&problem),
    Loss::Brier { double: false, .. } => probabilities::<f32>(&problem),
    Loss::Brier { .. } => probabilities::<f64>(&problem),
    Loss::Binary { half: false }
    | Loss::Regression { half: false, .. }
    | Loss::Poisson { half: false, .. } => elements::<f32>(&problem),
    Loss::Binary { .. } | Loss::Regression { .. } | Loss::Poisson { .. } =>
        elements::<bf16>(&problem),
});

/// Asserts that a loss is the same, or the same error, without its gradient and with it. `dlogits`
/// is as long as the logits if it `fits`.
fn both<T: Number>(
    losses: &[T],
    (dlogits, fits): (&[T], bool),
    alone: impl Fn(Cpu<'_>, &mut [T]) -> Result<(), Error>,
    with_gradient: impl Fn(Cpu<'_>, &mut [T], &mut [T]) -> Result<(), Error>,
) -> Option<(Vec<T>, Vec<T>)> {
    let alone = same_everywhere(&losses.to_vec(), |cpu, losses| alone(cpu, losses)).ok();
    let both = same_everywhere(&(losses.to_vec(), dlogits.to_vec()), |cpu, (losses, dlogits)| {
        with_gradient(cpu, losses, dlogits)
    });
    let both = both.ok().map(|(both, ())| both);
    assert_eq!(alone.is_some() && fits, both.is_some());
    if let (Some((alone, ())), Some((losses, _))) = (alone, &both) {
        assert_eq!(bits(&alone), bits(losses));
    }
    both
}

fn rows<T: Float + Number>(problem: &Problem) {
    let (rows, classes) = (problem.rows.get() % 300, usize::from(problem.classes % 40));
    let label =
        |i: usize| problem.labels.get(i % problem.labels.len().max(1)).map_or(0, |&l| u32::from(l));
    // Sometimes a label that is not a class.
    let labels: Vec<u32> = (0..problem.of_targets.of(rows))
        .map(|i| label(i) % (classes as u32).max(1) + label(i) / 255)
        .collect();
    let logits = problem.values.take::<T>(0, problem.of_logits.of(rows * classes));
    let (losses, dlogits) = (
        vec![T::default(); problem.of_losses.of(rows)],
        vec![T::default(); problem.of_dlogits.of(logits.len())],
    );
    let scale = <T as Number>::from_f64(problem.scale.get());
    let (ignore, number) = (problem.ignore.map(u32::from), problem.number.get());
    let written = match problem.loss {
        Loss::Hinge { form, squared, .. } => {
            let form =
                [HingeForm::All, HingeForm::Max, HingeForm::OneAgainstRest][usize::from(form % 3)];
            let hinge = Hinge { form, margin: number, squared, ignore };
            both(
                &losses,
                (&dlogits, dlogits.len() == logits.len()),
                |cpu, losses| hinge.losses(cpu, &logits, classes, &labels, losses),
                |cpu, losses, dlogits| {
                    hinge.gradient(cpu, &logits, classes, &labels, scale, losses, dlogits)
                },
            )
        }
        Loss::Labels { weights, .. } | Loss::Distributions { weights, .. } => {
            let weights = weights.then(|| problem.values.take::<T>(2, classes));
            let loss = CrossEntropy { smoothing: number, weights: weights.as_deref(), ignore };
            let distributions = problem.values.take::<T>(3, problem.of_targets.of(rows * classes));
            let targets = match problem.loss {
                Loss::Labels { .. } => Targets::Labels(&labels),
                _ => Targets::Distributions(&distributions),
            };
            let written = both(
                &losses,
                (&dlogits, dlogits.len() == logits.len()),
                |cpu, losses| loss.losses(cpu, &logits, classes, targets, losses),
                |cpu, losses, dlogits| {
                    loss.gradient(cpu, &logits, classes, targets, scale, losses, dlogits)
                },
            );
            let in_place =
                same_everywhere(&(losses.clone(), logits.clone()), |cpu, (losses, logits)| {
                    loss.gradient_in_place(cpu, logits, classes, targets, scale, losses)
                });
            if let (Ok((in_place, ())), Some(written)) = (in_place, &written) {
                assert_eq!(bits(&in_place), bits(written));
            }
            let _ = loss.total_weight(classes, targets);
            written
        }
        Loss::KullbackLeibler { .. } => {
            let distributions = problem.values.take::<T>(3, problem.of_targets.of(rows * classes));
            let written = both(
                &losses,
                (&dlogits, dlogits.len() == logits.len()),
                |cpu, losses| KullbackLeibler.losses(cpu, &logits, classes, &distributions, losses),
                |cpu, losses, dlogits| {
                    let targets = &distributions;
                    KullbackLeibler.gradient(cpu, &logits, classes, targets, scale, losses, dlogits)
                },
            );
            if let Some((losses, _)) = written {
                assert_eq!(losses.len() * classes, logits.len());
                assert_eq!(distributions.len(), logits.len());
            }
            return;
        }
        Loss::Binary { .. }
        | Loss::Regression { .. }
        | Loss::Poisson { .. }
        | Loss::Brier { .. } => unreachable!("they are of elements"),
    };
    if let Some((losses, _)) = written {
        assert_eq!([losses.len() * classes, losses.len()], [logits.len(), labels.len()]);
        let keep: Vec<bool> = labels.iter().map(|label| label % 2 == 0).collect();
        let masked =
            same_everywhere(&logits, |cpu, x| mask_rows(cpu, &keep, x)).expect("it fits").0;
        for ((masked, row), keep) in
            masked.chunks(classes.max(1)).zip(logits.chunks(classes.max(1))).zip(keep)
        {
            let expected = if keep { row.to_vec() } else { vec![T::default(); row.len()] };
            assert_eq!(bits(&masked.to_vec()), bits(&expected));
        }
    }
}

/// Brier's losses, one for each element of rows of classes.
fn probabilities<T: Float + Number>(problem: &Problem) {
    let Loss::Brier { sigmoid, .. } = problem.loss else { unreachable!("they are Brier's") };
    let (rows, classes) = (problem.rows.get() % 300, usize::from(problem.classes % 40));
    let logits = problem.values.take::<T>(0, problem.of_logits.of(rows * classes));
    let targets = problem.values.take::<T>(1, problem.of_targets.of(rows * classes));
    let losses = vec![T::default(); problem.of_losses.of(rows * classes)];
    let dlogits = vec![T::default(); problem.of_dlogits.of(logits.len())];
    let scale = <T as Number>::from_f64(problem.scale.get());
    let brier = if sigmoid { Brier::Sigmoid } else { Brier::Softmax };
    let written = both(
        &losses,
        (&dlogits, dlogits.len() == logits.len()),
        |cpu, losses| brier.losses(cpu, &logits, classes, &targets, losses),
        |cpu, losses, dlogits| {
            brier.gradient(cpu, &logits, classes, &targets, scale, losses, dlogits)
        },
    );
    if let Some((losses, _)) = written {
        assert_eq!([losses.len(), targets.len()], [logits.len(); 2]);
    }
}

fn elements<E: Element + Number>(problem: &Problem)
where
    E::Float: Number,
{
    let len = problem.rows.get();
    let predictions = problem.values.take::<E>(0, problem.of_logits.of(len));
    let targets = problem.values.take::<E>(1, problem.of_targets.of(len));
    let (losses, dx) = (
        vec![E::default(); problem.of_losses.of(len)],
        vec![E::default(); problem.of_dlogits.of(predictions.len())],
    );
    let scale = <E::Float as Number>::from_f64(problem.scale.get());
    let written = if let Loss::Regression { form, .. } = problem.loss {
        let huber = Regression::Huber { delta: problem.number.get() };
        let forms = [Regression::Squared, Regression::Absolute, huber, Regression::LogCosh];
        let loss = forms[usize::from(form % 4)];
        both(
            &losses,
            (&dx, dx.len() == predictions.len()),
            |cpu, losses| loss.losses(cpu, &predictions, &targets, losses),
            |cpu, losses, dx| loss.gradient(cpu, &predictions, &targets, scale, losses, dx),
        )
    } else if let Loss::Poisson { log_input, .. } = problem.loss {
        let loss = Poisson { log_input };
        both(
            &losses,
            (&dx, dx.len() == predictions.len()),
            |cpu, losses| loss.losses(cpu, &predictions, &targets, losses),
            |cpu, losses, dx| loss.gradient(cpu, &predictions, &targets, scale, losses, dx),
        )
    } else {
        let loss = BinaryCrossEntropy { positive_weight: problem.number.get() };
        both(
            &losses,
            (&dx, dx.len() == predictions.len()),
            |cpu, losses| loss.losses(cpu, &predictions, &targets, losses),
            |cpu, losses, dx| loss.gradient(cpu, &predictions, &targets, scale, losses, dx),
        )
    };
    if let Some((losses, _)) = written {
        assert_eq!([predictions.len(), targets.len()], [losses.len(); 2]);
        let is_nan = |x: &E| Number::to_f64(*x).is_nan();
        assert!(predictions.iter().zip(&losses).all(|(x, loss)| !is_nan(x) || is_nan(loss)));
    }
}
