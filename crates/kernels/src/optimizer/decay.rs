//! Regularisation: the ways in which a step pulls parameters towards 0, apart from the loss. Used by all optimizers.

use crate::Error;
use crate::error::check_parameter;

/// How parameters are pulled towards 0: nothing by default, and any of these together.
///
/// L2 and decoupled decay are the same for plain descent; under momentum or Adam they differ (Loshchilov, Hutter,
/// "Decoupled weight decay regularization", ICLR 2019).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Decay {
    /// The gradient of `l1 * |p|` is added to the loss's: `l1 * sign(p)`. At 0, where any slope from `-l1` to `l1` would
    /// do, 0 is taken: what is 0 is not moved, but what is near to 0 steps over it.
    pub l1: f64,
    /// The gradient of `l2 / 2 * p^2` is added to the loss's: `l2 * p`. PyTorch's `weight_decay`.
    pub l2: f64,
    /// Each step multiplies by `1 - lr * decoupled`, apart from the gradient. `weight_decay` of PyTorch's AdamW.
    pub decoupled: f64,
}

impl Decay {
    /// None.
    pub const NONE: Self = Self { l1: 0.0, l2: 0.0, decoupled: 0.0 };

    /// L1 alone.
    pub const fn l1(l1: f64) -> Self {
        Self { l1, ..Self::NONE }
    }

    /// L2 alone.
    pub const fn l2(l2: f64) -> Self {
        Self { l2, ..Self::NONE }
    }

    /// Decoupled decay alone.
    pub const fn decoupled(decoupled: f64) -> Self {
        Self { decoupled, ..Self::NONE }
    }

    /// # Errors
    /// [`Error::Parameter`] unless each is finite and at least 0.
    pub(super) fn check(self) -> Result<(), Error> {
        for (name, x) in [("l1", self.l1), ("l2", self.l2), ("decoupled", self.decoupled)] {
            check_parameter(name, x, "finite and at least 0", |x| x >= 0.0)?;
        }
        Ok(())
    }
}
