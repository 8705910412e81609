//! Keys for imbalanced classes: weights in the loss, and a balanced sampler.

use std::fmt;
use std::str::FromStr;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Sampler of the training examples of an epoch (`crate::run::sampler`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Sampler {
    /// Each example once, in a random order.
    #[default]
    Shuffle,
    /// Each example once, in the order of the data, the same in every epoch.
    Sequential,
    /// Draws with replacement, each class with the same probability. PyTorch:
    /// `WeightedRandomSampler` with weights of one over the count of each example's class.
    Balanced,
}

impl Sampler {
    /// `true` for the default.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Weight of each class in the cross-entropy: [`nn::Network::with_class_weights`].
#[derive(Clone, Debug, PartialEq)]
pub enum ClassWeights {
    /// `n / (k * count of the class)`, for `n` training examples of `k` classes: all classes have
    /// the same weight in total. scikit-learn's `balanced`.
    Balanced,
    /// One weight per class, in the order of the classes.
    List(Vec<f64>),
}

impl ClassWeights {
    /// Name of [`Balanced`](Self::Balanced).
    const BALANCED: &str = "balanced";

    /// Weight of each class, for a training set with `counts` examples of each. A class without
    /// examples has weight 1.
    pub(crate) fn weights(&self, counts: &[usize]) -> Vec<f64> {
        match self {
            Self::List(weights) => weights.clone(),
            Self::Balanced => {
                let rows: usize = counts.iter().sum();
                let classes = counts.iter().filter(|count| **count > 0).count();
                let weight = |&count: &usize| match count {
                    0 => 1.0,
                    _ => rows as f64 / (classes as f64 * count as f64),
                };
                counts.iter().map(weight).collect()
            }
        }
    }
}

impl FromStr for ClassWeights {
    type Err = String;

    /// Parses `balanced`, or numbers separated by commas.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == Self::BALANCED {
            return Ok(Self::Balanced);
        }
        let weights = text.split(',').map(|weight| weight.trim().parse());
        weights
            .collect::<Result<_, _>>()
            .map(Self::List)
            .map_err(|_| "expected `balanced`, or a number for each class such as 1,2.5".into())
    }
}

impl Serialize for ClassWeights {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Balanced => serializer.serialize_str(Self::BALANCED),
            Self::List(weights) => weights.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ClassWeights {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = ClassWeights;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"balanced\" or a list with a number for each class")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ClassWeights, E> {
                match text {
                    ClassWeights::BALANCED => Ok(ClassWeights::Balanced),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, weights: A) -> Result<ClassWeights, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(weights)).map(ClassWeights::List)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::config::Config;

    #[test]
    fn balanced_weights_are_scikit_learns() {
        let balanced = ClassWeights::Balanced.weights(&[6, 3, 0, 1]);
        assert_eq!(balanced, [10.0 / 18.0, 10.0 / 9.0, 1.0, 10.0 / 3.0]);
        assert_eq!(ClassWeights::List(vec![2.0]).weights(&[5]), [2.0]);
    }

    #[test]
    fn weights_are_a_name_or_a_list_in_files_and_flags() {
        let parse = |text: &str| toml::from_str::<Config>(text).map(|config| config.class_weights);
        assert_eq!(parse("class_weights = \"balanced\""), Ok(Some(ClassWeights::Balanced)));
        assert_eq!(parse("class_weights = [1, 2.5]"), Ok(Some(ClassWeights::List(vec![1.0, 2.5]))));
        let error = parse("class_weights = \"equal\"").expect_err("no such name").to_string();
        assert!(error.contains("\"balanced\" or a list"), "{error}");
        assert_eq!("balanced".parse(), Ok(ClassWeights::Balanced));
        assert_eq!("1, 2.5".parse(), Ok(ClassWeights::List(vec![1.0, 2.5])));
        assert!("1,x".parse::<ClassWeights>().is_err());
        let config =
            Config { class_weights: Some(ClassWeights::List(vec![0.1])), ..Config::default() };
        let text = config.to_toml().expect("plain");
        assert_eq!(toml::from_str::<Config>(&text).expect("what was written"), config);
        assert!(!Config::default().to_toml().expect("plain").contains("sampler"));
    }
}
