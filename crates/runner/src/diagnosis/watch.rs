//! Watch of a training: the doctor's rules while it runs, for `train --watch`.
//!
//! ```text
//! each step        the recorder; one step in SAMPLE_EVERY tensor by tensor
//! each JUDGED      judge the record so far; findings that are new, or more severe, are sent
//! ```
//!
//! An [`Observer`] of the training loop. The data are inspected first, but for the neighbours,
//! which would take as long as many steps: `diagnose` searches them. Memory is bounded: old steps
//! that were not sampled are dropped. A resumed run is watched from there.

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;

use doctor::{Finding, Settings, Severity, judge};
use kernels::Cpu;

use crate::Error;
use crate::data::element::Element;
use crate::diagnosis::inspection;
use crate::diagnosis::recorder::Recorder;
use crate::run::setup::Setup;
use crate::training::locate::Location;
use crate::training::observer::{Gradient, Observer, Update};

/// One step in so many is measured tensor by tensor, at the cost of about one step.
const SAMPLE_EVERY: u64 = 100;

/// Steps between two verdicts.
const JUDGED: u64 = 100;

/// Steps that are kept.
const KEPT: usize = 2048;

/// Watches a training.
#[derive(Debug)]
pub struct Watch<T> {
    recorder: Recorder<T>,
    settings: Settings,
    /// Severity of each finding that was sent, by its name.
    sent: BTreeMap<String, Severity>,
    to: Sender<Finding>,
}

impl<T: Element> Watch<T> {
    /// Watch of the run `setup`, which sends its findings to `to`: those of the data at once.
    ///
    /// # Errors
    /// [`Error::Network`] if there is not enough memory.
    pub fn new(setup: &Setup, cpu: Cpu<'_>, to: Sender<Finding>) -> Result<Self, Error> {
        let settings = setup.config.doctor.clone();
        let data = inspection::inspect_briefly(setup, cpu)?;
        let recorder = Recorder::new(setup, Some(data), SAMPLE_EVERY)?;
        let mut watch = Self { recorder, settings, sent: BTreeMap::new(), to };
        watch.judge();
        Ok(watch)
    }

    /// Judges the record so far, and sends what is new.
    fn judge(&mut self) {
        for finding in judge(&self.recorder.record, &self.settings).findings {
            let known = self.sent.get(&finding.id);
            if finding.severity > Severity::Info && known.is_none_or(|s| *s < finding.severity) {
                self.sent.insert(finding.id.clone(), finding.severity);
                // The receiver lives as long as the run.
                let _ = self.to.send(finding);
            }
        }
    }
}

impl<T: Element> Observer<T> for Watch<T> {
    fn on_gradient(&mut self, gradient: &Gradient<'_, T>) {
        self.recorder.on_gradient(gradient);
    }

    fn on_update(&mut self, update: &Update<'_, T>) {
        self.recorder.on_update(update);
        let step = self.recorder.step();
        let steps = &mut self.recorder.record.steps;
        if steps.len() > KEPT {
            let old = step.saturating_sub(KEPT as u64 / 2);
            steps.retain(|step| step.step > old || !step.tensors.is_empty());
        }
        if step.is_multiple_of(JUDGED) {
            self.judge();
        }
    }

    fn on_non_finite(&mut self, location: Option<&Location>) {
        self.recorder.on_non_finite(location);
        self.judge();
    }
}
