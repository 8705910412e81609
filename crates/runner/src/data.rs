//! Data sets: found, downloaded or generated, checked, split and gathered into batches.
//!
//! ```text
//! Request -> load -> Dataset { train, test }      MNIST, a folder of its form, generated digits,
//!                                                 tables (CSV), arrays (NumPy), generated tables
//! Split::stratified(train)                        a validation set, by seed
//! gather(indices, train)                          a batch: bytes converted to numbers
//! ```
//!
//! The command line fills a [`Request`] from its arguments and the environment; the training loop
//! does the rest. Images in bytes stay bytes in memory. The test set influences no choice: a run
//! evaluates it once, at its end.

pub mod arrays;
mod batch;
pub(crate) mod centre;
mod classes;
mod dataset;
pub(crate) mod digest;
pub mod digits;
mod download;
pub mod element;
mod error;
pub mod folder;
pub mod generated;
pub mod idx;
pub mod image;
mod labelled;
mod load;
pub(crate) mod mnist;
pub mod npy;
mod progress;
pub(crate) mod replace;
mod request;
mod rounding;
pub mod scan;
mod split;
pub mod streams;
pub mod synthetic;
pub mod table;

pub use batch::{GatherError, gather, scale};
pub use dataset::{Dataset, Names, Origin};
pub use download::{Mirrors, Published};
pub use error::{Attempt, DataError, Fault, Reason};
pub use labelled::{Inputs, Labelled, SizeMismatch, Targets, noun};
pub use load::load;
pub(crate) use load::{open, with_test};
pub use progress::{Event, Terminal};
pub use request::{Choice, Generate, Request};
pub use rounding::Rounding;
pub use split::{Split, TooManyHeldOut};
