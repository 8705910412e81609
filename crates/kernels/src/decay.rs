//! Weight decay: the two ways in which an optimizer pulls parameters towards 0. Used by `sgd` and `adam`.

use crate::Error;
use crate::error::check_parameter;

/// How parameters decay. Both ways are the same for plain SGD; under momentum or Adam they differ (Loshchilov,
/// Hutter, "Decoupled weight decay regularization", ICLR 2019).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Decay {
    /// Not at all.
    #[default]
    None,
    /// The gradient of `decay / 2 * |p|^2` is added to the loss's: `g + decay * p`.
    L2(f64),
    /// Each step multiplies by `1 - lr * decay`, apart from the gradient.
    Decoupled(f64),
}

impl Decay {
    /// # Errors
    /// [`Error::Parameter`] unless the decay is finite and at least 0.
    pub(crate) fn check(self) -> Result<(), Error> {
        let (Self::L2(decay) | Self::Decoupled(decay)) = self else { return Ok(()) };
        check_parameter("decay", decay, "finite and at least 0", |x| x >= 0.0)
    }

    /// `(l2, keep)`: the step is taken with `g + l2 * p` from `keep * p`.
    pub(crate) fn factors(self, lr: f64) -> (f64, f64) {
        match self {
            Self::None => (0.0, 1.0),
            Self::L2(decay) => (decay, 1.0),
            Self::Decoupled(decay) => (0.0, 1.0 - lr * decay),
        }
    }
}
