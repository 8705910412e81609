//! Misuse of a kernel: one small `Copy` enum for the whole crate.
//!
//! Every check comes before the first write, so that a call that returns an error has changed
//! nothing.

use core::fmt;

/// Reason for which a kernel refused its arguments.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// A slice or a matrix dimension has the wrong length.
    Length {
        /// The operand, by its name in the documentation of the kernel.
        operand: &'static str,
        /// Elements (rows, columns) that the other operands require.
        expected: usize,
        /// Elements (rows, columns) that were passed.
        got: usize,
    },
    /// A matrix view reaches past the end of its slice.
    OutOfBounds {
        /// Number of elements that the slice must have at least.
        expected: usize,
        /// Number of elements that it has.
        got: usize,
    },
    /// The strides of a written matrix let two elements share an address.
    Overlap {
        /// Elements from one row to the next.
        row_stride: usize,
        /// Elements from one column to the next.
        col_stride: usize,
    },
    /// The scratch is too small.
    Scratch {
        /// Elements that the call needs: the result of the operation's scratch function.
        expected: usize,
        /// Elements that were passed.
        got: usize,
    },
    /// A class label is not below the number of classes.
    Label {
        /// Row of the batch.
        row: usize,
        /// Number of classes.
        classes: usize,
        /// The label that was passed.
        got: usize,
    },
    /// A gradient has a NaN or an infinity. Nothing was changed.
    NonFinite {
        /// Index of the first such element.
        index: usize,
    },
    /// A tensor of several has a NaN or an infinity. Nothing was changed.
    NonFiniteIn {
        /// First tensor with such an element.
        tensor: usize,
        /// Index of its first such element, in that tensor.
        index: usize,
    },
    /// A parameter of an operation (a rate, a limit, a decay) is out of range.
    Parameter {
        /// The parameter, by its name in the documentation of the kernel.
        name: &'static str,
        /// Description of the allowed range.
        expected: &'static str,
        /// The value that was passed.
        got: f64,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Length { operand, expected, got } => {
                write!(f, "`{operand}` has length {got}, expected {expected}")
            }
            Self::OutOfBounds { expected, got } => {
                write!(
                    f,
                    "the matrix view needs a slice of at least {expected} elements, got {got}"
                )
            }
            Self::Overlap { row_stride, col_stride } => write!(
                f,
                "elements of the written matrix overlap with row stride {row_stride} and column \
                 stride {col_stride}"
            ),
            Self::Scratch { expected, got } => {
                write!(f, "the scratch has {got} elements, expected at least {expected}")
            }
            Self::Label { row, classes, got } => {
                write!(f, "row {row} has label {got}, expected one below {classes}")
            }
            Self::NonFinite { index } => {
                write!(f, "element {index} of the gradient is NaN or infinite")
            }
            Self::NonFiniteIn { tensor, index } => {
                write!(f, "element {index} of tensor {tensor} is NaN or infinite")
            }
            Self::Parameter { name, expected, got } => {
                write!(f, "`{name}` is {got}, expected {expected}")
            }
        }
    }
}

impl core::error::Error for Error {}

/// [`Error::Length`] for `operand` unless `got == expected`.
pub(crate) fn check_length(
    operand: &'static str,
    expected: usize,
    got: usize,
) -> Result<(), Error> {
    if got == expected { Ok(()) } else { Err(Error::Length { operand, expected, got }) }
}

/// Number of rows of `cols` elements in a matrix of `len`; [`Error::Length`] for `operand` if they
/// are not whole.
pub(crate) fn check_shape(operand: &'static str, len: usize, cols: usize) -> Result<usize, Error> {
    let rows = len.checked_div(cols).unwrap_or(0);
    check_length(operand, rows * cols, len).map(|()| rows)
}

/// [`Error::Parameter`] for `name` unless `got` is finite and `is_allowed`.
pub(crate) fn check_parameter(
    name: &'static str,
    got: f64,
    expected: &'static str,
    is_allowed: impl Fn(f64) -> bool,
) -> Result<(), Error> {
    if got.is_finite() && is_allowed(got) {
        Ok(())
    } else {
        Err(Error::Parameter { name, expected, got })
    }
}
