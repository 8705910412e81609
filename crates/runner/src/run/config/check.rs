//! Checks the values of a configuration: their ranges, and keys that exclude each other. Checks
//! that depend on the data are in [`setup`](crate::run::setup).

use nn::{Bound, Clip, Loss};

use crate::Error;
use crate::augment::Augment;
use crate::machine::thread_pool::ThreadPool;
use crate::run::config::{ClassWeights, Config, Source, is_table};
use crate::run::preset::{Deep, Preset};

impl Config {
    /// Checks each value on its own.
    ///
    /// # Errors
    /// [`Error::Usage`] names the first key that is out of range, its value, and the range.
    pub fn check(&self) -> Result<(), Error> {
        let is_positive = |value: f64| value.is_finite() && value > 0.0;
        // TOML's integers are signed.
        require("seed", self.seed, self.seed <= i64::MAX as u64, "0 to 9223372036854775807")?;
        require("epochs", self.epochs, self.epochs > 0, "at least 1")?;
        let is_sorted = self.extended.is_sorted_by_key(|extension| extension.step);
        if !is_sorted || self.extended.iter().any(|extension| extension.epochs == 0) {
            return Err(Error::Usage(
                "extended: expected steps in ascending order, each with epochs above 0 (key \
                 `extended`)"
                    .into(),
            ));
        }
        require("batch", self.batch, self.batch > 0, "at least 1")?;
        require("accumulate", self.accumulate, self.accumulate > 0, "at least 1")?;
        if let Some(lr) = self.lr {
            require("lr", lr, is_positive(lr), "a finite number above 0")?;
        }
        if let Some(limit) = self.clip_norm {
            require("clip-norm", limit, is_positive(limit), "a finite number above 0")?;
        }
        if let Some(ClassWeights::List(weights)) = &self.class_weights {
            for &weight in weights {
                require("class-weights", weight, is_positive(weight), "finite numbers above 0")?;
            }
        }
        for (key, every) in [
            ("checkpoint-steps", self.checkpoint_steps),
            ("checkpoint-epochs", self.checkpoint_epochs.map(u64::from)),
        ] {
            require(key, every.unwrap_or_default(), every != Some(0), "at least 1")?;
        }
        self.check_data()?;
        if let Some(threads) = self.threads {
            let is_allowed = (1..=ThreadPool::MAX_THREADS).contains(&threads);
            require("threads", threads, is_allowed, &format!("1 to {}", ThreadPool::MAX_THREADS))?;
        }
        if self.pruning.is_some() && self.ema.is_some() {
            let reason = "an average of weights is not 0 where the weights are";
            return Err(Error::Usage(format!(
                "pruning: expected no `ema` next to it, got one: {reason}"
            )));
        }
        if self.lsuv.is_some() && self.init_from.is_some() {
            let reason = "it would scale the loaded weights";
            return Err(Error::Usage(format!(
                "lsuv: expected no `init_from` next to it, got one: {reason}"
            )));
        }
        let loss = self.loss.unwrap_or_else(|| self.preset.loss());
        if self.mixing.is_some() && matches!(loss, Loss::Hinge { .. }) {
            let reason = "a mixed image has two classes, and the hinge loss takes one";
            return Err(Error::Usage(format!(
                "mixing: expected another loss than hinge, got hinge: {reason}"
            )));
        }
        if let Some(Deep { depth, width, .. }) = &self.deep {
            let applies = self.preset == Preset::DeepMlp && self.layers.is_none();
            require(
                "deep",
                self.preset.name(),
                applies,
                "the preset `deep-mlp` and no `layers` next to it",
            )?;
            require("deep.depth", depth, (1..=10_000).contains(depth), "1 to 10000")?;
            require("deep.width", width, *width >= 1, "at least 1")?;
        }
        self.doctor
            .check()
            .map_err(|error| Error::Usage(format!("doctor: {error} (key `doctor`)")))?;
        let tables = [
            ("optimizer", self.optimizer.check()),
            ("schedule", self.schedule.check()),
            ("plateau", self.plateau.map_or(Ok(()), |plateau| plateau.check())),
            ("early_stopping", self.early_stopping.map_or(Ok(()), |rule| rule.check())),
            ("loss", self.loss.map_or(Ok(()), Loss::check)),
            ("mixing", self.mixing.map_or(Ok(()), |mixing| mixing.check())),
            ("noise", self.noise.map_or(Ok(()), |noise| noise.check())),
            ("ema", self.ema.map_or(Ok(()), |ema| ema.check())),
            ("lookahead", self.lookahead.map_or(Ok(()), |lookahead| lookahead.check())),
            ("sam", self.sam.map_or(Ok(()), |sam| sam.check())),
            ("pruning", self.pruning.map_or(Ok(()), |pruning| pruning.check())),
            ("lsuv", self.lsuv.map_or(Ok(()), |lsuv| lsuv.check())),
            ("clip", self.clip.iter().try_for_each(Clip::check).map_err(Into::into)),
            ("bounds", self.bounds.iter().try_for_each(Bound::check)),
        ];
        tables.into_iter().try_for_each(|(key, checked)| {
            checked.map_err(|error| {
                Error::Usage(format!("{key}: {error} (table `{key}` of the configuration)"))
            })
        })?;
        self.check_rounding()
    }

    /// Checks the keys of the data set and of its preparation.
    fn check_data(&self) -> Result<(), Error> {
        if let (Some(label), Some(_)) = (&self.label, &self.target) {
            let expected = "no `target` next to it: a column of classes or one of values";
            require("label", label, false, expected)?;
        }
        for (key, column) in [("label", &self.label), ("target", &self.target)] {
            let has_table = self.data.as_deref().is_some_and(is_table);
            require(
                key,
                column.as_deref().unwrap_or_default(),
                column.is_none() || has_table,
                "`data` to be a table (.csv)",
            )?;
        }
        let sources = [
            (
                "classification",
                Source::Classification,
                self.classification.map(|settings| settings.check()),
            ),
            ("linear", Source::Linear, self.linear.map(|settings| settings.check())),
        ];
        for (key, source, checked) in sources {
            let Some(checked) = checked else { continue };
            if self.data.is_some() || self.dataset != source {
                return Err(Error::Usage(format!(
                    "{key}: expected `dataset = \"{key}\"` next to it, got another data set (table \
                     `{key}` of the configuration)"
                )));
            }
            checked.map_err(|(setting, got, expected)| {
                Error::Usage(format!(
                    "{key}: {setting}: expected {expected}, got {got} (table `{key}` of the \
                     configuration)"
                ))
            })?;
        }
        if let Some(folds) = self.folds {
            require("folds", folds, folds >= 2, "at least 2")?;
            let expected = "no `validation` next to it: each fold is a validation set";
            require("folds", folds, self.validation.is_none(), expected)?;
        }
        if let Some(fold) = self.fold {
            let folds = self.folds.unwrap_or(0);
            require("fold", fold, (1..=folds).contains(&fold), &format!("1 to `folds` ({folds})"))?;
        }
        if let (Some(standardise), Some(_)) = (self.standardise, &self.layers) {
            let expected = "no `layers` next to it: put `standardise` among them";
            require("standardise", standardise, false, expected)?;
        }
        if let (Some(standardise), Some(_)) = (self.standardise_target, &self.layers) {
            let expected = "no `layers` next to it: end them with `unstandardise`";
            require("standardise_target", standardise, false, expected)?;
        }
        Augment::check(&self.augment)
    }
}

/// Returns an error that names `key`, its `value`, and what is `expected`, unless `is_allowed`.
pub(crate) fn require(
    key: &str,
    value: impl std::fmt::Display,
    is_allowed: bool,
    expected: &str,
) -> Result<(), Error> {
    if is_allowed {
        return Ok(());
    }
    let spelling = key.replace('-', "_");
    Err(Error::Usage(format!(
        "{key}: expected {expected}, got {value} (flag --{key} or key `{spelling}`)"
    )))
}

#[cfg(test)]
mod tests {
    use nn::pruning::Pruning;
    use nn::{Ema, Mixing, Schedule};

    use super::*;

    #[test]
    fn values_out_of_range_are_named() {
        let bad = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.check().expect_err("out of range").to_string()
        };
        assert_eq!(
            bad(|c| c.batch = 0),
            "batch: expected at least 1, got 0 (flag --batch or key `batch`)"
        );
        assert!(
            bad(|c| c.lr = Some(f64::NAN))
                .starts_with("lr: expected a finite number above 0, got NaN")
        );
        assert!(bad(|c| c.clip_norm = Some(0.0)).contains("key `clip_norm`"));
        assert!(bad(|c| c.threads = Some(0)).contains("expected 1 to 1024, got 0"));
        assert!(bad(|c| c.schedule = Schedule::Linear { end: 1.5 }).contains("schedule: "));
        assert!(
            bad(|c| (c.preset, c.mixing) = (Preset::Svm, Some(Mixing::Mixup { alpha: 1.0 })))
                .contains("hinge")
        );
        assert!(
            bad(|c| (c.ema, c.pruning) = (Some(Ema { decay: 0.9 }), Some(Pruning::default())))
                .contains("ema")
        );
        assert!(Config::default().check().is_ok());
    }
}
