//! Record of a training: what it is, and what was measured of it.
//!
//! A record is a list of entries, in any order but that of steps and epochs: the model first, then
//! what is known of the data, of the initial network, of steps and of epochs. Every measurement is
//! optional. A rule that lacks its measurements finds nothing.
//!
//! With the feature `serde`, an [`Entry`] is an object with a key `kind`, and a record file has one
//! entry per line. Numbers that are NaN or infinite are the strings `"NaN"`, `"Infinity"` and
//! `"-Infinity"`.

use alloc::string::String;
use alloc::vec::Vec;

/// Version of the entries' form: [`Model::format`].
pub const FORMAT: u32 = 1;

/// Record of a training.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// The network and how it is trained.
    pub model: Model,
    /// The data.
    pub data: Option<Data>,
    /// The initial network.
    pub initial: Option<Initial>,
    /// Steps, in order. Not every step of the training is recorded.
    pub steps: Vec<Step>,
    /// Epochs, or other stretches of steps after which the network was scored, in order.
    pub epochs: Vec<Epoch>,
    /// A simple model trained on the same examples, for comparison.
    pub reference: Option<Reference>,
}

/// A part of a record: a line of a record file.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "kind", rename_all = "snake_case")
)]
pub enum Entry {
    /// The network and how it is trained.
    Model(Model),
    /// The data.
    Data(Data),
    /// The initial network.
    Initial(Initial),
    /// A step.
    Step(Step),
    /// An epoch.
    Epoch(Epoch),
    /// A simple model trained on the same examples.
    Reference(Reference),
}

impl Record {
    /// The entries of the record, in order: pushed one by one, they make the same record.
    pub fn entries(self) -> impl Iterator<Item = Entry> {
        let Self { model, data, initial, steps, epochs, reference } = self;
        core::iter::once(Entry::Model(model))
            .chain(data.map(Entry::Data))
            .chain(initial.map(Entry::Initial))
            .chain(steps.into_iter().map(Entry::Step))
            .chain(epochs.into_iter().map(Entry::Epoch))
            .chain(reference.map(Entry::Reference))
    }

    /// Adds `entry`. A second model, data, initial network or reference replaces the first.
    pub fn push(&mut self, entry: Entry) {
        match entry {
            Entry::Model(model) => self.model = model,
            Entry::Data(data) => self.data = Some(data),
            Entry::Initial(initial) => self.initial = Some(initial),
            Entry::Step(step) => self.steps.push(step),
            Entry::Epoch(epoch) => self.epochs.push(epoch),
            Entry::Reference(reference) => self.reference = Some(reference),
        }
    }
}

/// Declares a struct of a record, with the attributes that all of them share. `numbers` are
/// measurements, of type `Option<f64>`: `None` if they were not taken.
macro_rules! entry {
    (
        $(#[$meta:meta])*
        $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* }
        $(numbers { $($(#[$number_meta:meta])* $number:ident,)* })?
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq)]
        #[cfg_attr(
            feature = "serde",
            derive(serde::Serialize, serde::Deserialize),
            serde(default, deny_unknown_fields)
        )]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
            $($(
                $(#[$number_meta])*
                #[cfg_attr(
                    feature = "serde",
                    serde(skip_serializing_if = "Option::is_none", with = "crate::number::option")
                )]
                pub $number: Option<f64>,
            )*)?
        }
    };
}

/// Task of a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Task {
    /// A class per example.
    #[default]
    Classification,
    /// Values per example.
    Regression,
    /// The inputs themselves.
    Reconstruction,
}

entry! {
    /// The network and how it is trained.
    Model {
        /// [`FORMAT`]; 0 if unknown.
        format: u32,
        /// Task.
        task: Task,
        /// Number of classes of the data; 0 if unknown, or if the task has none.
        classes: u64,
        /// Loss, as configuration files spell it: `cross_entropy`, `mse`.
        loss: String,
        /// Optimizer.
        optimizer: Optimizer,
        /// Kind of schedule, such as `constant` or `cosine`.
        schedule: String,
        /// Limits of gradient clipping.
        clip: Option<Clip>,
        /// Examples per step; 0 if unknown.
        batch: u64,
        /// Training examples; 0 if unknown.
        examples: u64,
        /// Steps that the training was to take; 0 if unknown.
        planned_steps: u64,
        /// Type of the arithmetic: `f32`, `f64`, `bf16`.
        dtype: String,
        /// Type that the optimizer keeps the parameters in; empty if unknown. It is `f32` for
        /// arithmetic in `bf16` with parameters in full precision.
        parameter_dtype: String,
        /// Layers in order. Layers within blocks are listed too.
        layers: Vec<Layer>,
        /// Parameter tensors in order.
        tensors: Vec<Tensor>,
    }
    numbers {
        /// Learning rate of the first step.
        learning_rate,
    }
}

entry! {
    /// An optimizer. A hyper-parameter that it lacks is `None`.
    Optimizer {
        /// Name: `sgd`, `adam`.
        kind: String,
    }
    numbers {
        /// Momentum.
        momentum,
        /// Decay of the first moment.
        beta1,
        /// Decay of the second moment.
        beta2,
        /// Added to the root of the second moment.
        epsilon,
        /// Weight decay, decoupled or not.
        weight_decay,
        /// Weight of an L1 penalty.
        l1,
    }
}

entry! {
    /// Gradient clipping.
    Clip {
        /// Name: `global_norm`, `norm`, `value`.
        kind: String,
    }
    numbers {
        /// Limit.
        limit,
    }
}

entry! {
    /// A layer.
    Layer {
        /// Name: `layers.3`.
        name: String,
        /// Kind as configuration files spell it: `dense`, `relu`.
        kind: String,
        /// Elements of its input per example; 0 if unknown.
        inputs: u64,
        /// Elements of its output per example; 0 if unknown.
        outputs: u64,
        /// `true` if it is in the body of a residual block.
        residual: bool,
    }
    numbers {
        /// Dropout probability.
        dropout,
    }
}

entry! {
    /// A parameter tensor.
    Tensor {
        /// Name: `layers.3.weight`.
        name: String,
        /// Index of its layer in [`Model::layers`].
        layer: usize,
        /// Number of elements.
        elements: u64,
        /// Inputs per unit; 0 for biases and scales.
        fan_in: u64,
        /// Units per input; 0 for biases and scales.
        fan_out: u64,
        /// `true` for a matrix or filters, whose gradient shows what reaches the layer.
        weight: bool,
        /// `true` if it is not trained.
        frozen: bool,
    }
}

entry! {
    /// The data before training. Inputs are as the first layer gets them.
    Data {
        /// Examples for training.
        train: u64,
        /// Examples for validation.
        validation: u64,
        /// Examples for the test.
        test: u64,
        /// Elements per example.
        inputs: u64,
        /// `true` if the network standardises its inputs itself: a layer or a batch norm first.
        standardised: bool,
        /// Inputs with one value in all training examples.
        constant_inputs: u64,
        /// NaN and infinite inputs.
        non_finite: u64,
        /// Training examples per class.
        class_counts: Vec<u64>,
        /// Validation examples per class.
        validation_class_counts: Vec<u64>,
        /// Examples sampled for the fractions of neighbours, of each set.
        neighbours_sampled: u64,
        /// Training examples that occur more than once.
        duplicates: u64,
        /// Among duplicates, those whose labels differ.
        conflicting_duplicates: u64,
        /// Validation examples that are training examples too.
        leaked_validation: u64,
        /// Test examples that are training examples too.
        leaked_test: u64,
        /// `true` if the targets are standardised for the loss.
        target_standardised: bool,
    }
    numbers {
        /// Minimum of the training inputs.
        min,
        /// Maximum of the training inputs.
        max,
        /// Mean of the training inputs.
        mean,
        /// Root mean square of the training inputs.
        rms,
        /// Largest standard deviation of an input over the smallest that is not 0.
        scale_ratio,
        /// Largest range, maximum less minimum, of an input over the smallest that is not 0.
        /// Unlike the ratio of standard deviations, it does not depend on how often an input is 0.
        range_ratio,
        /// Largest |mean| of an input over its standard deviation, constant inputs left out.
        offset_ratio,
        /// Fraction of successive training examples, in the order of training, with one label.
        same_label_successors,
        /// Same in a random order: the sum of the squared class frequencies.
        same_label_by_chance,
        /// Fraction of sampled examples whose label is that of their nearest other example.
        neighbour_agreement,
        /// Fraction of sampled examples whose label is the most frequent one among their 15
        /// nearest other examples.
        neighbour_vote,
        /// Fraction of sampled validation examples whose label is that of their nearest training
        /// example.
        validation_agreement,
        /// Distance of the validation set's mean input from the training set's, in standard
        /// deviations of the latter, root mean square over inputs.
        validation_shift,
        /// Same for the test set.
        test_shift,
        /// Mean of the target values, in a regression.
        target_mean,
        /// Standard deviation of the target values, in a regression.
        target_std,
        /// Minimum target value, in a regression.
        target_min,
        /// Maximum target value, in a regression.
        target_max,
    }
}

entry! {
    /// The network before its first step, on one batch.
    Initial {
        /// Layers, in the order of [`Model::layers`]; empty if they were not measured.
        layers: Vec<LayerSample>,
        /// Parameter tensors, in the order of [`Model::tensors`]; empty if not measured.
        tensors: Vec<TensorSample>,
    }
    numbers {
        /// Mean loss.
        loss,
        /// L2 norm of the whole gradient.
        grad_norm,
        /// Largest singular value of the input-output Jacobian, maximum over a few examples.
        jacobian_max,
        /// Smallest singular value of the input-output Jacobian, minimum over a few examples.
        jacobian_min,
        /// Loss after some hundred steps on one batch, over that before them.
        overfit_ratio,
        /// Maximum relative error of the gradient, against finite differences in f64.
        gradient_error,
    }
}

entry! {
    /// A layer's outputs for one batch.
    LayerSample {
        /// Units.
        units: u64,
        /// Units that are 0 for every example.
        dead: u64,
        /// Units at a bound of their range for every example.
        saturated: u64,
    }
    numbers {
        /// Mean of the outputs.
        mean,
        /// Standard deviation of the outputs over batch and units.
        std,
        /// Standard deviation over the batch alone: root mean square over units. 0 if the outputs
        /// do not depend on the inputs.
        std_over_batch,
        /// Fraction of outputs that are 0.
        zero_fraction,
        /// Fraction of outputs at a bound of their range.
        saturated_fraction,
    }
}

entry! {
    /// A parameter tensor at one step.
    TensorSample {
        /// Elements of the gradient that are NaN or infinite.
        non_finite: u64,
        /// Elements of the gradient that are 0.
        zero: u64,
        /// Elements of the gradient that are not 0 and below 2^-126 in magnitude.
        subnormal: u64,
        /// Units whose incoming weights equal those of another unit, bit for bit.
        equal_units: u64,
    }
    numbers {
        /// L2 norm of the gradient, before clipping.
        grad_norm,
        /// L2 norm of the parameters, before the step.
        param_norm,
        /// L2 norm of the step's update.
        update_norm,
        /// Gradient signal to noise: squared norm of the mean gradient over the variance of the
        /// gradient of an example.
        signal_to_noise,
    }
}

entry! {
    /// A step of the training.
    Step {
        /// Number of the step, from 1.
        step: u64,
        /// `true` if the step was not taken, since a number was not finite.
        skipped: bool,
        /// First non-finite value of the step.
        non_finite: Option<NonFinite>,
        /// Layers, in the order of [`Model::layers`]; empty if they were not measured.
        layers: Vec<LayerSample>,
        /// Parameter tensors, in the order of [`Model::tensors`]; empty if not measured.
        tensors: Vec<TensorSample>,
    }
    numbers {
        /// Mean loss of the batch, before the step.
        loss,
        /// Fraction of the batch that was classified correctly, before the step.
        accuracy,
        /// Learning rate of the step.
        learning_rate,
        /// L2 norm of the whole gradient, before clipping.
        grad_norm,
        /// Factor by which clipping scaled the gradient; 1 if it did not.
        clip_scale,
        /// Cosine of the angle between this gradient and that of the step before.
        cosine,
    }
}

entry! {
    /// First non-finite value of a step.
    NonFinite {
        /// Layer or tensor: `layers.3`.
        name: String,
        /// Operation: `inputs`, `outputs`, `gradient`, `parameters`, `second moment`.
        operation: String,
        /// Index of the element within it.
        element: Option<u64>,
        /// Index of the training example.
        example: Option<u64>,
    }
}

entry! {
    /// A stretch of steps after which the network was scored.
    Epoch {
        /// Number of the epoch, from 1.
        epoch: u64,
        /// Steps taken until its end.
        step: u64,
        /// Validation examples that are predicted to be of each class.
        predicted_counts: Vec<u64>,
        /// Validation examples of each class that are classified correctly.
        correct_counts: Vec<u64>,
    }
    numbers {
        /// Mean loss over its training examples, each before its step.
        train_loss,
        /// Fraction of the training examples that was classified correctly.
        train_accuracy,
        /// Mean loss over the validation set.
        val_loss,
        /// Fraction of the validation set that is classified correctly.
        val_accuracy,
    }
}

entry! {
    /// A simple model trained on the same examples: a linear one, say.
    Reference {
        /// Name: `logistic`.
        name: String,
        /// Steps that it took, with batches of the same size.
        steps: u64,
    }
    numbers {
        /// Mean loss over the validation set.
        val_loss,
        /// Fraction of the validation set that it classifies correctly.
        val_accuracy,
    }
}
