//! Diagnosis of a network: measurements of its data and of a short training, for the
//! [doctor], and trials of the cures that it names.
//!
//! ```text
//! model       what is trained, and how             } doctor::Record -> doctor::judge -> findings
//! inspection  the data, before any step            }
//! preflight   the initial network                  }
//! probe       some hundred steps, by the recorder  }
//! cure        a finding's cure as a change of the configuration
//! trial       paired trials of changed configurations, successive halving
//! watch       the rules while a run trains
//! treatment   cures on top of each other, until the doctor finds nothing more
//! random_search  the baseline of the cures
//! run_record  the record of a run from its folder; record_file of another program's training
//! ```

pub mod cure;
pub mod inspection;
pub mod model;
pub mod mutation;
pub mod preflight;
pub mod probe;
pub mod random_search;
pub mod record_file;
pub mod recorder;
pub mod run_record;
pub(crate) mod singular_values;
pub mod suite;
pub mod treatment;
pub mod trial;
pub mod watch;
