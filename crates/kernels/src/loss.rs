//! Losses, from logits or predictions, computed together with their gradients in one pass.
//!
//! | loss | of | one loss per | PyTorch |
//! |---|---|---|---|
//! | [`CrossEntropy`] | logits, labels or distributions | row | `CrossEntropyLoss` |
//! | [`Hinge`] | logits, labels | row | `MultiMarginLoss` |
//! | [`BinaryCrossEntropy`] | logits, probabilities | element | `BCEWithLogitsLoss` |
//! | [`Regression`] | predictions, targets | element | `MSELoss`, `L1Loss`, `HuberLoss` |
//! | [`Poisson`] | predictions, counts | element | `PoissonNLLLoss` |
//! | [`KullbackLeibler`] | logits, distributions | row | `KLDivLoss` |
//! | [`Brier`] | logits, probabilities | element | `MSELoss` of a softmax or sigmoid |
//!
//! A loss is a struct of its options. `losses` computes the losses alone, for validation.
//! `gradient` computes the same bits and the gradient times `scale`. Losses are not reduced: they
//! are those of PyTorch's `reduction='none'`, and `scale` applies the reduction: `1 / rows` for a
//! mean over rows. Softmax and sigmoid are part of the losses, so that they cannot
//! be applied twice.
//!
//! To exclude rows, give them an ignored label, or zero them by [`mask_rows`] afterwards. Called by
//! the losses of a network.
//!
//! ```
//! use kernels::{Cpu, loss::{CrossEntropy, Targets}};
//! let (mut losses, mut dlogits) = ([0.0_f64; 1], [0.0; 2]);
//! let labels = Targets::Labels(&[1]);
//! let cpu = Cpu::detect();
//! CrossEntropy::default().gradient(cpu, &[3.0, 3.0], 2, labels, 1.0, &mut losses, &mut dlogits)?;
//! assert_eq!(dlogits, [0.5, -0.5]);
//! assert!((losses[0] - core::f64::consts::LN_2).abs() < 1e-15);
//! # Ok::<(), kernels::Error>(())
//! ```

mod binary_cross_entropy;
mod brier;
mod cross_entropy;
mod hinge;
mod kullback_leibler;
mod pointwise;
mod poisson;
mod regression;

pub use binary_cross_entropy::BinaryCrossEntropy;
pub use brier::Brier;
pub use cross_entropy::{CrossEntropy, Targets};
pub use hinge::{Hinge, HingeForm};
pub use kullback_leibler::KullbackLeibler;
pub use poisson::Poisson;
pub use regression::Regression;

use crate::row::block;
use crate::{Cpu, Element, Error, error::check_length};

/// Sets the rows of `x`, `[keep.len(), any number]`, to +0 where `keep` is false: losses and
/// gradients of excluded rows, even if they are NaN.
///
/// Only those rows are touched.
///
/// ```
/// use kernels::{Cpu, loss::mask_rows};
/// let mut dx = [1.0_f32, 2.0, f32::NAN, 4.0];
/// mask_rows(Cpu::detect(), &[true, false], &mut dx)?;
/// assert_eq!(dx, [1.0, 2.0, 0.0, 0.0]);
/// # Ok::<(), kernels::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] if the length of `x` is not a multiple of the length of `keep`.
#[inline(never)]
pub fn mask_rows<E: Element>(cpu: Cpu<'_>, keep: &[bool], x: &mut [E]) -> Result<(), Error> {
    let width = x.len().checked_div(keep.len()).unwrap_or(0);
    check_length("x", keep.len() * width, x.len())?;
    let (rows, block) = block(width);
    cpu.for_each_item(keep.chunks(rows).zip(x.chunks_mut(block)), |(keep, x)| {
        for (row, _) in x.chunks_exact_mut(width).zip(keep).filter(|(_, keep)| !**keep) {
            row.fill(E::default());
        }
    });
    Ok(())
}

/// Checks that each label is below `classes` or ignored; [`Error::Label`] for the first that is
/// not.
fn check_labels(labels: &[u32], classes: usize, ignore: Option<u32>) -> Result<(), Error> {
    let is_wrong = |label: u32| label as usize >= classes && Some(label) != ignore;
    match labels.iter().position(|&label| is_wrong(label)) {
        Some(row) => Err(Error::Label { row, classes, got: labels[row] as usize }),
        None => Ok(()),
    }
}
