//! Regularisation: L1, L2 and decoupled weight decay. Used by all optimizers.

use crate::Error;
use crate::error::check_parameter;

/// Regularisation of parameters towards 0: none by default; the three kinds combine.
///
/// L2 and decoupled decay are the same for plain descent; under momentum or Adam they differ
/// (Loshchilov, Hutter, "Decoupled weight decay regularization", ICLR 2019).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Decay {
    /// Coefficient of the L1 penalty `l1 * |p|`, whose gradient `l1 * sign(p)` is added to the
    /// loss's. The subgradient at 0 is 0: a parameter of 0 stays, one near 0 may step over it.
    pub l1: f64,
    /// Coefficient of the L2 penalty `l2 / 2 * p^2`, whose gradient `l2 * p` is added to the
    /// loss's. PyTorch's `weight_decay`.
    pub l2: f64,
    /// Decoupled weight decay: each step multiplies by `1 - lr * decoupled`, apart from the
    /// gradient. `weight_decay` of PyTorch's AdamW.
    pub decoupled: f64,
}

impl Decay {
    /// No regularisation.
    pub const NONE: Self = Self { l1: 0.0, l2: 0.0, decoupled: 0.0 };

    /// L1 regularisation alone.
    pub const fn l1(l1: f64) -> Self {
        Self { l1, ..Self::NONE }
    }

    /// L2 regularisation alone.
    pub const fn l2(l2: f64) -> Self {
        Self { l2, ..Self::NONE }
    }

    /// Decoupled weight decay alone.
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
