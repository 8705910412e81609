//! Cures: changes of a configuration, or of the data, that a finding proposes.

use core::fmt;

/// A change that may cure a fault.
///
/// Changes of the data and the code are advice; the others are changes of a configuration that can
/// be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
#[non_exhaustive]
pub enum Cure {
    /// Initial weights that fit the activation: He's for ReLU and its kin, Glorot's otherwise.
    MatchedInitialiser,
    /// Orthogonal initial weights, scaled to keep the variance.
    OrthogonalInitialiser,
    /// Layer-sequential unit-variance initialisation.
    Lsuv,
    /// Biases that start at 0.
    ZeroBiases,
    /// ReLU as hidden activation.
    Relu,
    /// Leaky ReLU as hidden activation, whose slope is never 0.
    LeakyRelu,
    /// tanh as hidden activation.
    Tanh,
    /// Batch normalisation before each hidden activation.
    BatchNorm,
    /// Layer normalisation before each hidden activation.
    LayerNorm,
    /// Identity shortcuts around hidden layers of one width.
    Residual,
    /// Fewer hidden layers.
    LessDepth,
    /// More units per hidden layer.
    MoreWidth,
    /// Clipping of the global gradient norm, at a limit from the measured norms.
    ClipNorm,
    /// A higher limit of clipping, or none.
    RaiseClip,
    /// A lower learning rate.
    LowerRate,
    /// A higher learning rate.
    RaiseRate,
    /// The learning rate of a range test.
    RangeTest,
    /// A warm-up of the learning rate.
    WarmUp,
    /// A constant learning rate.
    ConstantSchedule,
    /// A learning rate that falls to 0 along half a cosine.
    CosineSchedule,
    /// Adam at its usual learning rate.
    Adam,
    /// The optimizer's usual momenta and epsilon.
    UsualOptimizer,
    /// A smaller batch.
    SmallerBatch,
    /// A larger batch.
    LargerBatch,
    /// Inputs standardised by the training set.
    StandardiseInputs,
    /// Targets standardised by the training set.
    StandardiseTargets,
    /// Less dropout.
    LessDropout,
    /// More dropout.
    MoreDropout,
    /// Less weight decay, weaker penalties.
    LessRegularisation,
    /// Weight decay.
    WeightDecay,
    /// Early stopping.
    EarlyStopping,
    /// More epochs.
    MoreEpochs,
    /// f32 for all arithmetic.
    F32,
    /// f64 for all arithmetic.
    F64,
    /// The loss that fits the task: cross-entropy for classes, squared error for values.
    MatchedLoss,
    /// A linear output layer, with one output per class or value.
    LinearOutput,
    /// Training of all layers.
    Unfreeze,
    /// Another seed.
    OtherSeed,
    /// Class weights or a balanced sampler.
    BalanceClasses,
    /// A random order of the examples.
    Shuffle,
    /// Code: correct the gradient of a layer or a loss.
    CorrectGradient,
    /// Data: correct the labels.
    CorrectLabels,
    /// Data: remove duplicates, and examples that are in two of the sets.
    RemoveDuplicates,
    /// Data: split the sets again, at random.
    SplitAgain,
    /// Data: correct or remove the values that are not numbers.
    CorrectInputs,
    /// Data: collect more examples.
    MoreData,
}

impl Cure {
    /// `true` if the data or the code have to change, and no configuration helps.
    pub const fn is_of_data(self) -> bool {
        matches!(
            self,
            Self::CorrectGradient
                | Self::CorrectLabels
                | Self::RemoveDuplicates
                | Self::SplitAgain
                | Self::CorrectInputs
                | Self::MoreData
        )
    }

    /// Imperative: `lower the learning rate`.
    pub const fn text(self) -> &'static str {
        match self {
            Self::MatchedInitialiser => "initialise the weights to fit the activation",
            Self::OrthogonalInitialiser => "initialise the weights orthogonally",
            Self::Lsuv => "scale the initial weights to unit variance, layer by layer (LSUV)",
            Self::ZeroBiases => "start the biases at 0",
            Self::Relu => "use ReLU between hidden layers",
            Self::LeakyRelu => "use leaky ReLU between hidden layers",
            Self::Tanh => "use tanh between hidden layers",
            Self::BatchNorm => "add batch norm before the hidden activations",
            Self::LayerNorm => "add layer norm before the hidden activations",
            Self::Residual => "add identity shortcuts around the hidden layers",
            Self::LessDepth => "use fewer hidden layers",
            Self::MoreWidth => "use wider hidden layers",
            Self::ClipNorm => "clip the global norm of the gradient",
            Self::RaiseClip => "raise the limit of clipping, or do not clip",
            Self::LowerRate => "lower the learning rate",
            Self::RaiseRate => "raise the learning rate",
            Self::RangeTest => "take the learning rate of a range test",
            Self::WarmUp => "warm the learning rate up",
            Self::ConstantSchedule => "keep the learning rate constant",
            Self::CosineSchedule => "let the learning rate fall along a cosine",
            Self::Adam => "use Adam at its usual learning rate",
            Self::UsualOptimizer => "use the optimizer's usual momenta and epsilon",
            Self::SmallerBatch => "use smaller batches",
            Self::LargerBatch => "use larger batches",
            Self::StandardiseInputs => "standardise the inputs",
            Self::StandardiseTargets => "standardise the targets",
            Self::LessDropout => "use less dropout",
            Self::MoreDropout => "use dropout",
            Self::LessRegularisation => "weaken weight decay and penalties",
            Self::WeightDecay => "use weight decay",
            Self::EarlyStopping => "stop early, by the validation loss",
            Self::MoreEpochs => "train longer",
            Self::F32 => "compute in f32",
            Self::F64 => "compute in f64",
            Self::MatchedLoss => "use the loss that fits the task",
            Self::LinearOutput => "end in a linear layer with an output per class or value",
            Self::Unfreeze => "train all layers",
            Self::OtherSeed => "use another seed",
            Self::BalanceClasses => "weight or sample the classes equally",
            Self::Shuffle => "shuffle the training examples",
            Self::CorrectGradient => "correct the gradient of the layer or the loss",
            Self::CorrectLabels => "correct the labels",
            Self::RemoveDuplicates => "remove the duplicates",
            Self::SplitAgain => "split the sets again, at random",
            Self::CorrectInputs => "correct or remove the inputs that are not numbers",
            Self::MoreData => "collect more examples",
        }
    }
}

impl fmt::Display for Cure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
