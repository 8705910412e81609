//! Finds what is wrong with the training of a neural network, from its measurements.
//!
//! ```text
//! Record      the network, the data, the initial network, steps, epochs: what was measured
//! Rule        one kind of fault: definition, formula, thresholds, cures; one file a rule
//! judge       Record -> Verdict: findings with evidence, the cause before its symptoms
//! ```
//!
//! The crate does no input or output, and measures nothing: a training loop fills a [`Record`],
//! whatever it is written in. It needs `alloc`, and nothing else of std.
//!
//! Rules compare quantities of one training with each other, rather than with absolute numbers,
//! and a fault must do harm to be one: see [`progress`].
//!
//! ```
//! use doctor::record::{Epoch, Model, Record, Step};
//! use doctor::{Settings, judge};
//!
//! let mut record = Record::default();
//! record.model = Model { classes: 10, loss: "cross_entropy".into(), ..Model::default() };
//! for step in 1..=100 {
//!     let loss = if step < 60 { 2.3 } else { f64::NAN };
//!     record.steps.push(Step { step, loss: Some(loss), ..Step::default() });
//! }
//! let verdict = judge(&record, &Settings::default());
//! assert!(!verdict.is_healthy());
//! assert_eq!(verdict.findings[0].id, "non-finite");
//! assert_eq!(verdict.findings[0].step, Some(60));
//! ```

#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;

mod activity;
pub mod cure;
mod curve;
pub mod depth;
pub mod finding;
pub mod judge;
pub mod mean_field;
mod network;
mod noise;
#[cfg(feature = "serde")]
pub mod number;
pub mod progress;
pub mod record;
pub mod rule;
mod rules;
mod scores;
pub mod settings;
mod signal;
pub mod statistics;
mod symptoms;
mod updates;

pub use cure::Cure;
pub use finding::{Evidence, Finding, Severity};
pub use judge::{Verdict, judge};
pub use mean_field::MeanField;
pub use noise::noise_scale;
pub use record::{Entry, Record};
pub use rule::Rule;
pub use settings::Settings;
