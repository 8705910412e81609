//! Resolves the values of a configuration that depend on the data: validation set, layers, loss.

use nn::{Loss, Shape, Standardise, Unstandardise};

use crate::Error;
use crate::data::{DataError, Dataset, Inputs, Origin};
use crate::run::config::{Config, Source};

impl Config {
    /// Sets the values that depend on `dataset`.
    ///
    /// # Errors
    /// [`Error::Usage`] if the path of the data is not UTF-8, which TOML requires.
    pub fn resolve(&mut self, dataset: &Dataset) -> Result<(), Error> {
        if let Some(folder) = &self.data {
            let full = folder.canonicalize().map_err(DataError::io("find", folder))?;
            if full.to_str().is_none() {
                return Err(Error::Usage(format!(
                    "data: {} is not UTF-8, which TOML requires",
                    full.display()
                )));
            }
            self.data = Some(full);
        } else {
            self.dataset = match (self.dataset, &dataset.origin) {
                (tables @ (Source::Classification | Source::Linear), _) => tables,
                (_, Origin::Generated { .. }) => Source::Digits,
                _ => Source::Mnist,
            };
        }
        if let Some(from) = &mut self.init_from {
            from.resolve()?;
        }
        if self.folds.is_none() {
            let [images, ..] = dataset.train.dims();
            self.validation.get_or_insert((images / 12).max(1));
        }
        self.lr = Some(self.rate());
        let (preset, deep) = (self.preset, self.deep.take());
        let is_table = matches!(dataset.train.shape(), Shape::Features(_));
        let has_numbers = is_table && matches!(dataset.train.inputs(), Inputs::Numbers(_));
        let standardise = self.standardise.take().unwrap_or(has_numbers);
        let has_values = dataset.has_values();
        let loss = *self.loss.get_or_insert_with(|| match preset.loss() {
            // A preset without a particular loss has cross-entropy, which needs classes.
            Loss::CrossEntropy { .. } if has_values => Loss::Mse,
            loss => loss,
        });
        // A count or a probability is none in units of a standard deviation, and pixels have a
        // unit in common.
        let differences = loss.compares_differences();
        let is_measured = has_values && (!dataset.is_reconstruction() || has_numbers);
        let unstandardise = self.standardise_target.take().unwrap_or(is_measured && differences);
        if unstandardise && has_values && !differences {
            return Err(Error::Usage(
                "standardise_target: expected false or none with a loss other than mse, mae, huber \
                 and log_cosh, such as poisson, got true (key `standardise_target`)"
                    .into(),
            ));
        }
        if unstandardise && !has_values {
            let name = &dataset.name;
            return Err(Error::Usage(format!(
                "standardise_target: expected data with values, got true for {name}, which has \
                 classes (key `standardise_target`)"
            )));
        }
        self.layers.get_or_insert_with(|| {
            let layers = match deep {
                Some(deep) => deep.layers(dataset.outputs()),
                None => preset.layers(dataset.outputs()),
            };
            let (first, last) = (Standardise {}.into(), Unstandardise {}.into());
            let first = standardise.then_some(first).into_iter();
            first.chain(layers).chain(unstandardise.then_some(last)).collect()
        });
        Ok(())
    }
}
