//! Errors of building and running a network, with the layer or operand that they concern.

use alloc::string::String;
use core::fmt;

/// Reason why a network was not built or a step not taken.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// The list of layers is empty, or no layer has parameters.
    NoLayers,
    /// A layer cannot be built from its options and its input.
    Layer {
        /// Path of the layer: `3` in the outermost sequence, `3.body.0` within a block.
        path: String,
        /// Kind of the layer, as spelled in configuration files.
        kind: &'static str,
        /// Expected option or input.
        expected: String,
        /// Option or input given.
        got: String,
    },
    /// The network is too large to address.
    TooLarge {
        /// Path of the layer at which the number of elements overflows.
        path: String,
    },
    /// The allocation of a buffer failed.
    Memory {
        /// Requested bytes.
        bytes: usize,
    },
    /// A parameter group matches no tensor.
    Group {
        /// Name or pattern that matches no tensor.
        pattern: String,
    },
    /// All tensors are frozen.
    Frozen,
    /// The workspace was built for another network or for fewer threads.
    Workspace,
    /// The workspace was built for inference: it has no gradients.
    InferenceWorkspace,
    /// The loss needs targets of another kind.
    Targets {
        /// Kind of target that the loss needs.
        expected: &'static str,
        /// Kind of target given.
        got: &'static str,
    },
    /// A buffer has the wrong length.
    Length {
        /// Name of the buffer.
        operand: &'static str,
        /// Expected number of elements.
        expected: usize,
        /// Number of elements given.
        got: usize,
    },
    /// A batch is empty or larger than the workspace was built for.
    Batch {
        /// Largest batch of the workspace, in rows.
        capacity: usize,
        /// Rows given.
        got: usize,
    },
    /// Class weights with a loss other than the cross-entropy.
    ClassWeights,
    /// An initialiser of matrices for a bias.
    BiasInit,
    /// The square of a gradient overflows the optimizer's second moment.
    SecondMoment {
        /// Name of the moment: [`Plan::moment_names`](crate::Plan::moment_names).
        moment: &'static str,
        /// Index of the first such element, in the flat buffers.
        index: usize,
    },
    /// A kernel returned an error.
    Kernel(kernels::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLayers => f.write_str(
                "the network has no layer with parameters, expected at least one `dense`",
            ),
            Self::Layer { path, kind, expected, got } => {
                write!(f, "layer {path} ({kind}) needs {expected}, got {got}")
            }
            Self::TooLarge { path } => {
                write!(f, "layer {path} makes the network larger than addressable memory")
            }
            Self::Memory { bytes } => {
                write!(
                    f,
                    "not enough memory for a buffer of {bytes} bytes: \
                     use a smaller batch or network"
                )
            }
            Self::Group { pattern } => {
                write!(
                    f,
                    "a group names `{pattern}`, but no tensor has this name \
                     (names are such as layers.0.weight)"
                )
            }
            Self::Frozen => f.write_str("every tensor is frozen, expected at least one to train"),
            Self::Workspace => f.write_str(
                "the workspace was built for another network or fewer threads, \
                 expected one built for these",
            ),
            Self::InferenceWorkspace => f.write_str(
                "the workspace was built for inference, \
                 expected one with gradients (`Workspace::new`)",
            ),
            Self::Targets { expected, got } => {
                write!(f, "the loss needs {expected} as targets, got {got}")
            }
            Self::Length { operand, expected, got } => {
                write!(f, "`{operand}` has {got} elements, expected {expected}")
            }
            Self::Batch { capacity, got } => {
                write!(
                    f,
                    "a batch of {got} rows, expected 1 to {capacity} \
                     (the capacity of the workspace)"
                )
            }
            Self::ClassWeights => {
                f.write_str("class weights need the loss cross_entropy, got them with another loss")
            }
            Self::BiasInit => f.write_str(
                "a bias needs an initialiser of independent elements, such as constant, uniform or \
                 normal, got one of matrices",
            ),
            Self::SecondMoment { moment, index } => write!(
                f,
                "the square of element {index} of the gradient is too large for the moment \
                 `{moment}`, expected a finite one: a lower rate, or clipping"
            ),
            Self::Kernel(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for Error {}

impl From<kernels::Error> for Error {
    fn from(error: kernels::Error) -> Self {
        Self::Kernel(error)
    }
}

/// Returns [`Error::Length`] for `operand` unless `got == expected`.
pub(crate) fn check_length(
    operand: &'static str,
    expected: usize,
    got: usize,
) -> Result<(), Error> {
    if got == expected { Ok(()) } else { Err(Error::Length { operand, expected, got }) }
}

/// Returns [`kernels::Error::Parameter`] unless `allowed`: `name` is `got`, not `expected`.
pub(crate) fn check_parameter(
    name: &'static str,
    expected: &'static str,
    got: f64,
    allowed: bool,
) -> Result<(), Error> {
    if allowed { Ok(()) } else { Err(kernels::Error::Parameter { name, expected, got }.into()) }
}
