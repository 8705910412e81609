//! Checks the rounding of a configuration's numbers to the type of the run.
//!
//! Ranges are checked in f64. A run in f32 rounds the numbers of its arithmetic: an epsilon of
//! 1e-46 becomes 0, a beta of 1 - 1e-9 becomes 1. All of them are checked here, whatever their key.

use serde::Serialize;
use toml::Value;

use crate::Error;
use crate::run::config::{Config, Dtype};

impl Config {
    /// Checks the numbers that are used in arithmetic of [`dtype`](Self::dtype). After rounding, a
    /// finite number must be finite, one other than 0 not 0, and one below 1 below 1.
    ///
    /// # Errors
    /// [`Error::Usage`] names the first that fails, by its path such as `optimizer.epsilon`.
    pub(super) fn check_rounding(&self) -> Result<(), Error> {
        if self.dtype == Dtype::F64 {
            return Ok(());
        }
        self.check_number("lr", &self.lr)?;
        self.check_number("clip_norm", &self.clip_norm)?;
        self.check_number("optimizer", &self.optimizer)?;
        self.check_number("class_weights", &self.class_weights)?;
        self.check_number("groups", &self.groups)?;
        self.check_number("loss", &self.loss)?;
        self.check_number("clip", &self.clip)?;
        self.check_number("bounds", &self.bounds)?;
        self.check_number("lookahead", &self.lookahead)?;
        self.check_number("sam", &self.sam)?;
        self.check_number("deep", &self.deep)?;
        self.check_number("layers", &self.layers)
    }

    /// Checks each number of `value`, the value of the key `key`.
    fn check_number(&self, key: &str, value: &impl Serialize) -> Result<(), Error> {
        // TOML has no value for `None`. Other values that it lacks are refused by `to_toml`.
        let Ok(value) = Value::try_from(value) else { return Ok(()) };
        let Some((path, number)) = first_lost(&value, key.to_owned()) else { return Ok(()) };
        Err(Error::Usage(format!(
            "{path}: expected a number that {} represents, got {number:e}, which it rounds to {} \
             (key `{path}`; `dtype = \"f64\"` represents it)",
            self.dtype.name(),
            number as f32,
        )))
    }
}

/// Returns the first number in `value`, with its path, that f32 rounds to 0, to 1 or to infinity.
fn first_lost(value: &Value, path: String) -> Option<(String, f64)> {
    match value {
        Value::Float(number) => {
            let (exact, rounded) = (number.abs(), (*number as f32).abs());
            let is_lost = (exact != 0.0) != (rounded != 0.0)
                || (exact < 1.0) != (rounded < 1.0)
                || exact.is_finite() != rounded.is_finite();
            is_lost.then_some((path, *number))
        }
        Value::Array(values) => (0..)
            .zip(values)
            .find_map(|(index, value): (usize, _)| first_lost(value, format!("{path}[{index}]"))),
        Value::Table(table) => {
            table.iter().find_map(|(key, value)| first_lost(value, format!("{path}.{key}")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> Option<String> {
        let config: Config = toml::from_str(text).expect("a configuration");
        config.check().err().map(|error| error.to_string())
    }

    #[test]
    fn numbers_that_f32_cannot_represent_are_named() {
        for (key, text) in [
            ("optimizer.epsilon", "optimizer = { kind = \"adam\", epsilon = 1e-46 }"),
            ("optimizer.beta1", "optimizer = { kind = \"adam\", beta1 = 0.999999999 }"),
            ("optimizer.beta2", "optimizer = { kind = \"lamb\", beta2 = 0.999999999 }"),
            ("optimizer.decay.l2", "optimizer = { kind = \"sgd\", decay = { l2 = 1e-60 } }"),
            (
                "groups[0].optimizer.alpha",
                "groups = [{ tensors = [], \
                 optimizer = { kind = \"rmsprop\", alpha = 0.9999999999 } }]",
            ),
            ("lr", "lr = 1e-50"),
            ("lr", "lr = 1e39"),
            ("clip_norm", "clip_norm = 1e-46"),
            ("clip[0].limit", "clip = [{ kind = \"value\", limit = 1e-46 }]"),
            ("loss.delta", "loss = { kind = \"huber\", delta = 1e-50 }"),
            ("loss.smoothing", "loss = { kind = \"cross_entropy\", smoothing = 0.9999999999 }"),
            ("layers[0].p", "layers = [{ kind = \"dropout\", p = 0.999999999 }]"),
            ("layers[0].epsilon", "layers = [{ kind = \"batch_norm\", epsilon = 1e-46 }]"),
        ] {
            let message = error(text).unwrap_or_else(|| panic!("{text} passes"));
            let expected = format!("{key}: expected a number that f32 represents, got ");
            assert!(message.starts_with(&expected), "{text}: {message}");
            assert!(message.contains("`dtype = \"f64\"`"), "{message}");
            assert_eq!(error(&format!("dtype = \"f64\"\n{text}")), None);
        }
        for text in [
            "",
            "optimizer = { kind = \"adam\", epsilon = 0.0 }",
            "optimizer = { kind = \"adam\", epsilon = 1e-30, beta2 = 0.99999 }",
            "schedule = { kind = \"cosine\", end = 1e-50 }",
            "ema = { decay = 0.999999999 }",
        ] {
            assert_eq!(error(text), None, "{text}");
        }
    }
}
