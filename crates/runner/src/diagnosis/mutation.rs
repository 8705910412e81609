//! Faults of data, injected into the examples of a setup: for the doctor's suite of cases.

use std::sync::Arc;

use kernels::random::Stream;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::data::{Dataset, Inputs, Labelled, Targets};
use crate::run::setup::Setup;

/// Stream of the random choices of a mutation.
const STREAM: u64 = u64::from_be_bytes(*b"mutation");

/// A fault of data.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Mutation {
    /// The labels of a fraction of the training examples are drawn anew.
    NoisyLabels(f64),
    /// The labels of all validation examples are those of the next class.
    ShiftedValidationLabels,
    /// All inputs times a factor.
    ScaledInputs(f64),
    /// A number is added to all inputs.
    ShiftedInputs(f64),
    /// Input i times 10 to the power of i mod 6, minus 2.
    MixedScales,
    /// A fraction of the inputs of training examples is NaN.
    MissingInputs(f64),
    /// All inputs are 0.
    ConstantInputs,
    /// No training example of the first class is left.
    MissingClass,
    /// One example in so many of the odd classes is left, in training and validation.
    Imbalance(u32),
    /// Training examples in the order of their classes, for `sampler = "sequential"`.
    SortedByClass,
    /// A fraction of the validation examples is in the training set too.
    LeakedValidation(f64),
    /// A fraction of the training examples is a copy of others.
    Duplicates(f64),
    /// Only so many training examples are left.
    FewExamples(u32),
    /// The validation inputs are inverted: one minus the input.
    InvertedValidation,
    /// All target values times a factor.
    ScaledTargets(f64),
}

impl Mutation {
    /// Injects the fault into the training and validation examples of `setup`.
    ///
    /// # Errors
    /// [`Error::Usage`] if the data have no classes, or no values, to change.
    pub fn apply(self, setup: Setup) -> Result<Setup, Error> {
        let Setup { config, dataset, mut split, network } = setup;
        let set = &dataset.train;
        let (width, classes) = (set.image_len(), dataset.classes.max(1));
        let numbers = |set: &Labelled| -> Vec<f32> {
            match set.inputs() {
                Inputs::Bytes(bytes) => bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect(),
                Inputs::Numbers(numbers) => numbers.clone(),
            }
        };
        let (mut inputs, mut test_inputs) = (numbers(set), numbers(&dataset.test));
        let mut targets = set.targets().clone();
        let random = Stream::new(config.seed, STREAM);
        // Among every so many training examples, those that a fraction of them has.
        let is_drawn = |at: usize, fraction: f64| random.uniform_f64(at as u64) < fraction;
        match self {
            Self::NoisyLabels(fraction) => {
                let labels = labels_of(&mut targets, self)?;
                let others = random.beyond(1);
                for (at, &index) in split.train.iter().enumerate() {
                    if is_drawn(at, fraction) {
                        labels[index as usize] = others.below(at as u64, classes as u32) as u8;
                    }
                }
            }
            Self::ShiftedValidationLabels => {
                let labels = labels_of(&mut targets, self)?;
                for &index in &split.validation {
                    let label = &mut labels[index as usize];
                    *label = ((usize::from(*label) + 1) % classes) as u8;
                }
            }
            Self::ScaledInputs(factor) => {
                let all = inputs.iter_mut().chain(&mut test_inputs);
                all.for_each(|x| *x *= factor as f32);
            }
            Self::ShiftedInputs(offset) => {
                let all = inputs.iter_mut().chain(&mut test_inputs);
                all.for_each(|x| *x += offset as f32);
            }
            Self::MixedScales => {
                let scales = [0.01, 0.1, 1.0, 10.0, 100.0, 1000.0];
                for inputs in [&mut inputs, &mut test_inputs] {
                    for (i, x) in inputs.iter_mut().enumerate() {
                        *x *= scales[i % width % scales.len()];
                    }
                }
            }
            Self::MissingInputs(fraction) => {
                for (at, &index) in split.train.iter().enumerate() {
                    if is_drawn(at, fraction) {
                        inputs[index as usize * width + at % width] = f32::NAN;
                    }
                }
            }
            Self::ConstantInputs => {
                inputs.fill(0.0);
                test_inputs.fill(0.0);
            }
            Self::MissingClass => {
                let labels = labels_of(&mut targets, self)?;
                split.train.retain(|&index| labels[index as usize] != 0);
            }
            Self::Imbalance(every) => {
                let labels = labels_of(&mut targets, self)?;
                for part in [&mut split.train, &mut split.validation] {
                    thin(part, labels, classes, every);
                }
            }
            Self::SortedByClass => {
                let labels = labels_of(&mut targets, self)?;
                split.train.sort_by_key(|&index| labels[index as usize]);
            }
            Self::LeakedValidation(fraction) => {
                let leaked = split.validation.iter().enumerate();
                let leaked = leaked.filter(|&(at, _)| is_drawn(at, fraction));
                for ((_, &from), &to) in leaked.zip(&split.train) {
                    copy_example(&mut inputs, &mut targets, width, from, to);
                }
            }
            Self::Duplicates(fraction) => {
                for (at, pair) in split.train.windows(2).enumerate() {
                    if is_drawn(at, fraction) {
                        copy_example(&mut inputs, &mut targets, width, pair[0], pair[1]);
                    }
                }
            }
            Self::FewExamples(count) => {
                let step = (split.train.len() / count.max(1) as usize).max(1);
                split.train = split.train.into_iter().step_by(step).collect();
            }
            Self::InvertedValidation => {
                for &index in &split.validation {
                    let row = &mut inputs[index as usize * width..][..width];
                    row.iter_mut().for_each(|x| *x = 1.0 - *x);
                }
            }
            Self::ScaledTargets(factor) => match &mut targets {
                Targets::Values(values) => values.iter_mut().for_each(|y| *y *= factor as f32),
                Targets::Classes(_) | Targets::Inputs(_) => return Err(self.refuse("values")),
            },
        }
        let train = set.with_contents(Inputs::Numbers(inputs), targets);
        let test = dataset
            .test
            .with_contents(Inputs::Numbers(test_inputs), dataset.test.targets().clone());
        let names = dataset.names.clone();
        let (name, origin) = (dataset.name.clone(), dataset.origin.clone());
        let (classes, test_is_held_out) = (dataset.classes, dataset.test_is_held_out);
        let dataset = Dataset { name, origin, classes, names, train, test, test_is_held_out };
        Ok(Setup { config, dataset: Arc::new(dataset), split, network })
    }

    fn refuse(self, expected: &str) -> Error {
        Error::Usage(format!("mutation: expected data with {expected} for {self:?}, got others"))
    }
}

/// The labels among `targets`, for `mutation`.
fn labels_of(targets: &mut Targets, mutation: Mutation) -> Result<&mut Vec<u8>, Error> {
    match targets {
        Targets::Classes(labels) => Ok(labels),
        Targets::Values(_) | Targets::Inputs(_) => Err(mutation.refuse("classes")),
    }
}

/// Keeps one in `every` examples of each odd class.
fn thin(indices: &mut Vec<u32>, labels: &[u8], classes: usize, every: u32) {
    let (mut seen, every) = (vec![0_u32; classes], every.max(1));
    indices.retain(|&index| {
        let class = usize::from(labels[index as usize]);
        seen[class] += 1;
        class.is_multiple_of(2) || seen[class] % every == 1 % every
    });
}

/// Copies example `from` to example `to`, with its target.
fn copy_example(inputs: &mut [f32], targets: &mut Targets, width: usize, from: u32, to: u32) {
    let (from, to) = (from as usize, to as usize);
    inputs.copy_within(from * width..(from + 1) * width, to * width);
    match targets {
        Targets::Classes(labels) => labels[to] = labels[from],
        Targets::Values(values) => values[to] = values[from],
        Targets::Inputs(_) => {}
    }
}
