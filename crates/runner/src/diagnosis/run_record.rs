//! Record of a run from the files of its folder: what `train` wrote, without training again.

use doctor::record::{Epoch, Initial, LayerSample, NonFinite, Step, TensorSample};
use doctor::{Entry, Record};
use kernels::Cpu;

use crate::Error;
use crate::data::element::Element;
use crate::diagnosis::{inspection, model, preflight};
use crate::run::config::Dtype;
use crate::run::folder::RunFolder;
use crate::run::health::Health;
use crate::run::setup::Setup;
use crate::run::{epoch, folder, health, journal};
use crate::training::initial;

/// Record of the run in `folder`, whose setup is `setup`, and of its data.
///
/// # Errors
/// Errors of the files; [`Error::Network`] if there is not enough memory.
pub fn read(setup: &Setup, folder: &RunFolder, cpu: Cpu<'_>) -> Result<Record, Error> {
    let health = health::read(&folder.file(folder::HEALTH))?;
    let mut record = record(setup, &journal::history(folder)?, &health);
    record.data = Some(inspection::inspect(setup, cpu)?);
    record.initial = match setup.config.dtype {
        Dtype::F32 | Dtype::Bf16 => initial::<f32>(setup, cpu)?,
        Dtype::F64 => initial::<f64>(setup, cpu)?,
    };
    Ok(record)
}

/// Measurements of the initial network. `None` if the run started from the weights of another one,
/// which may be gone.
fn initial<T: Element>(setup: &Setup, cpu: Cpu<'_>) -> Result<Option<Initial>, Error> {
    if setup.config.init_from.is_some() {
        return Ok(None);
    }
    let weights = initial::weights::<T>(setup, cpu)?;
    preflight::measure(setup, cpu, &weights).map(Some)
}

/// Record of a run with this history and health, without its data.
pub fn record(setup: &Setup, history: &[epoch::Epoch], health: &[Health]) -> Record {
    let mut record = Record {
        model: model::model(setup),
        epochs: history.iter().map(entry).collect(),
        ..Record::default()
    };
    health.iter().for_each(|of_epoch| add_steps(&mut record, of_epoch));
    record
}

/// Adds the sampled steps of an epoch.
fn add_steps(record: &mut Record, health: &Health) {
    for (index, &step) in health.steps.iter().enumerate() {
        let tensors = health.tensors.iter().map(|tensor| {
            let at = |values: &[f64]| values.get(index).copied();
            let (norm, ratio) = (at(&tensor.param_norms), at(&tensor.update_ratios));
            TensorSample {
                grad_norm: at(&tensor.grad_norms),
                param_norm: norm,
                update_norm: norm.zip(ratio).map(|(norm, ratio)| norm * ratio),
                ..TensorSample::default()
            }
        });
        let tensors: Vec<_> = tensors.collect();
        let squares = tensors.iter().filter_map(|sample| sample.grad_norm).map(|norm| norm * norm);
        record.push(Entry::Step(Step {
            step,
            learning_rate: health.learning_rates.get(index).copied(),
            grad_norm: Some(squares.sum::<f64>().sqrt()),
            tensors,
            ..Step::default()
        }));
    }
    for divergence in &health.non_finite {
        let first = NonFinite {
            name: divergence.location.clone().unwrap_or_default(),
            ..NonFinite::default()
        };
        let step = record.steps.last().map_or(divergence.step, |last| last.step);
        record.push(Entry::Step(Step {
            step,
            loss: Some(divergence.loss),
            skipped: true,
            non_finite: Some(first),
            ..Step::default()
        }));
    }
    // The units at the end of the epoch belong to its last sampled step.
    let count = record.model.layers.len();
    if let (Some(last), false) = (record.steps.last_mut(), health.activity.is_empty()) {
        last.layers = vec![LayerSample::default(); count];
        for activity in &health.activity {
            let name = format!("layers.{}", activity.layer);
            let index = record.model.layers.iter().position(|layer| layer.name == name);
            let Some(sample) = index.and_then(|index| last.layers.get_mut(index)) else { continue };
            (sample.units, sample.dead, sample.saturated) =
                (activity.units, activity.dead, activity.saturated);
            sample.zero_fraction = Some(activity.zero_fraction);
            sample.saturated_fraction = Some(activity.saturated_fraction);
        }
    }
}

/// Epoch of a run, for the doctor.
pub(crate) fn entry(epoch: &epoch::Epoch) -> Epoch {
    Epoch {
        epoch: u64::from(epoch.epoch),
        step: epoch.step,
        train_loss: Some(epoch.train_loss),
        val_loss: Some(epoch.val_loss),
        val_accuracy: (!epoch.val_accuracy.is_nan()).then_some(epoch.val_accuracy),
        ..Epoch::default()
    }
}
