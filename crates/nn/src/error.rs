//! What a caller can get wrong, with the layer it concerns.

use alloc::string::String;
use core::fmt;

/// Why a network was not built, or a step not taken.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// The list of layers is empty, or no layer has parameters.
    NoLayers,
    /// A layer cannot be built from what it is given.
    Layer {
        /// Its place: `3` in the outermost sequence, `3.body.0` within a block.
        path: String,
        /// Its kind, as configuration files spell it.
        kind: &'static str,
        /// What it needs.
        expected: String,
        /// What it was given.
        got: String,
    },
    /// The network is too large to address.
    TooLarge {
        /// The layer at which the count of elements overflows.
        path: String,
    },
    /// There is no memory for a buffer.
    Memory {
        /// Bytes that were asked for.
        bytes: usize,
    },
    /// A group of tensors names none.
    Group {
        /// The name that no tensor has.
        pattern: String,
    },
    /// All tensors are frozen.
    Frozen,
    /// The workspace was made for another network, or for fewer threads.
    Workspace,
    /// The loss compares outputs with something else.
    Targets {
        /// What it compares with.
        expected: &'static str,
        /// What came.
        got: &'static str,
    },
    /// A buffer has the wrong length.
    Length {
        /// The buffer.
        operand: &'static str,
        /// Elements expected.
        expected: usize,
        /// Elements that came.
        got: usize,
    },
    /// A batch is empty or larger than the workspace was built for.
    Batch {
        /// The largest batch of the workspace.
        capacity: usize,
        /// Rows that came.
        got: usize,
    },
    /// Class weights stand beside another loss than the cross-entropy.
    ClassWeights,
    /// The square of a gradient overflows the optimizer's second moment.
    SecondMoment {
        /// Name of the moment: [`Plan::moment_names`](crate::Plan::moment_names).
        moment: &'static str,
        /// Index of the first such element, in the flat buffers.
        index: usize,
    },
    /// A kernel refused its arguments.
    Kernel(kernels::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLayers => {
                f.write_str("the network has no layer with parameters, expected at least one `dense`")
            }
            Self::Layer { path, kind, expected, got } => {
                write!(f, "layer {path} ({kind}) needs {expected}, got {got}")
            }
            Self::TooLarge { path } => {
                write!(f, "layer {path} makes the network larger than memory can be addressed")
            }
            Self::Memory { bytes } => {
                write!(f, "there is no memory for a buffer of {bytes} bytes: make batch or network smaller")
            }
            Self::Group { pattern } => {
                write!(
                    f,
                    "a group names `{pattern}`, but no tensor has this name (names are such as layers.0.weight)"
                )
            }
            Self::Frozen => f.write_str("every tensor is frozen, expected at least one to train"),
            Self::Workspace => f.write_str(
                "the workspace was made for another network or fewer threads, expected one made for these",
            ),
            Self::Targets { expected, got } => write!(f, "the loss needs {expected} as targets, got {got}"),
            Self::Length { operand, expected, got } => {
                write!(f, "`{operand}` has {got} elements, expected {expected}")
            }
            Self::Batch { capacity, got } => {
                write!(
                    f,
                    "a batch of {got} rows, expected 1 to {capacity} (what the workspace was built for)"
                )
            }
            Self::ClassWeights => {
                f.write_str("class weights need the loss cross_entropy, got them with another loss")
            }
            Self::SecondMoment { moment, index } => write!(
                f,
                "the square of element {index} of the gradient is too large for the moment `{moment}`, \
                 expected a finite one: a lower rate, or clipping"
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

/// `Ok` if `got == expected`, else [`Error::Length`] for `operand`.
pub(crate) fn check_length(operand: &'static str, expected: usize, got: usize) -> Result<(), Error> {
    if got == expected { Ok(()) } else { Err(Error::Length { operand, expected, got }) }
}

/// `Ok` if `allowed`, else [`kernels::Error::Parameter`]: `name` is not as `expected`, but `got`.
pub(crate) fn check_parameter(
    name: &'static str,
    expected: &'static str,
    got: f64,
    allowed: bool,
) -> Result<(), Error> {
    if allowed { Ok(()) } else { Err(kernels::Error::Parameter { name, expected, got }.into()) }
}
