//! Checks that depend on sizes alone, before the first step and in the dry run.
//!
//! | checked | requirement |
//! |---|---|
//! | the smallest batch of an epoch | enough rows for the statistics of batch normalisation |
//! | `drop_last` | at least one full batch |
//! | warm-up and the parts of a schedule | they end within the run |
//! | a schedule with a factor above 1 | the type of the run represents the rate of every step |
//!
//! Called by `train`, its folds, `sweep`, `lr-find` and `--overfit-batch` before they write
//! anything.

use kernels::Cpu;
use nn::RunLength;

use crate::Error;
use crate::data::Split;
use crate::run::config::Dtype;
use crate::run::setup;
use crate::run::setup::Setup;

/// Checks the batches and the schedule of the run `setup`.
///
/// # Errors
/// [`Error::Usage`] names the key that does not fit, and the remedy.
pub(crate) fn check(setup: &Setup) -> Result<(), Error> {
    check_batches(setup)?;
    check_schedule(setup)
}

/// Checks every fold of the cross-validation of `first`, which is one of them: their sizes differ
/// by one.
///
/// # Errors
/// Same as [`check`].
pub(crate) fn check_folds(first: Setup) -> Result<(), Error> {
    let mut setup = first;
    let (folds, seed) = (setup.config.folds.unwrap_or_default(), setup.config.seed);
    for fold in 0..folds {
        setup.split = Split::fold(&setup.dataset.train, fold, folds, seed)
            .map_err(|error| Error::Usage(error.to_string()))?;
        check(&setup)?;
    }
    Ok(())
}

/// Checks the smallest batch of an epoch.
///
/// # Errors
/// Same as [`check`].
pub(crate) fn check_batches(setup: &Setup) -> Result<(), Error> {
    let (batch, rows) = (setup.config.batch as usize, setup.split.train.len());
    let noun = setup.dataset.train.noun();
    if setup.config.drop_last && batch > rows {
        return Err(Error::Usage(format!(
            "batch: expected at most the {rows} {noun} to train on, since `drop_last` drops an \
             incomplete batch, got {batch} (flag --batch or key `batch`)"
        )));
    }
    check_batch(setup, setup.last_batch())
}

/// Checks that the network can be trained on a batch of `got` examples.
///
/// # Errors
/// Same as [`check`].
pub(crate) fn check_batch(setup: &Setup, got: usize) -> Result<(), Error> {
    let (batch, rows) = (setup.config.batch as usize, setup.split.train.len());
    let (least, noun) = (setup.network.min_rows(), setup.dataset.train.noun());
    if got >= least {
        return Ok(());
    }
    let remedy = if batch.min(rows) < least {
        format!("use a batch of {least} or more")
    } else {
        "use another batch size, or --drop-last (key `drop_last`), which drops the incomplete last \
         batch"
            .into()
    };
    Err(Error::Usage(format!(
        "batch: expected at least {least} {noun} in each, for the statistics of batch \
         normalisation, got {got}: {rows} {noun} in batches of {batch}; {remedy} (flag --batch or \
         key `batch`)"
    )))
}

/// Checks that the schedule ends within the run, and that no rate overflows.
///
/// # Errors
/// Same as [`check`].
fn check_schedule(setup: &Setup) -> Result<(), Error> {
    let (config, per_epoch) = (&setup.config, setup.steps_per_epoch());
    let steps = per_epoch.saturating_mul(config.epochs.into());
    let run = RunLength { steps, steps_per_epoch: per_epoch };
    config.schedule.check_length(run).map_err(|error| {
        Error::Usage(format!(
            "schedule: {error}: the run has {} epochs of {per_epoch} steps (table `schedule` of \
             the configuration)",
            config.epochs
        ))
    })?;
    let cpu = Cpu::new(setup::isa(config)?, &kernels::Serial);
    let largest = config.schedule.largest(cpu, run);
    let groups = config.groups.iter().map(|group| group.rate).fold(1.0, f64::max);
    let max = match config.dtype {
        Dtype::F64 => f64::MAX,
        Dtype::F32 | Dtype::Bf16 => f32::MAX.into(),
    };
    let rate = config.rate();
    if rate * groups * largest <= max {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "schedule: expected a rate of at most {max:e} in every step, the largest that {} \
         represents, got lr {rate:e} times {largest:e} at the end of {} epochs: use a `factor` \
         nearer to 1, or fewer epochs (table `schedule` of the configuration)",
        config.dtype.name(),
        config.epochs
    )))
}
