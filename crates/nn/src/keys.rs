//! Values of keys in a configuration file, and defaults of keys, that several layers share.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Init;

/// One number for both dimensions, or `[down, across]`.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Pair {
    Both(usize),
    Each([usize; 2]),
}

impl From<Pair> for [usize; 2] {
    fn from(pair: Pair) -> Self {
        match pair {
            Pair::Both(both) => [both, both],
            Pair::Each(each) => each,
        }
    }
}

impl From<[usize; 2]> for Pair {
    fn from(each: [usize; 2]) -> Self {
        if each[0] == each[1] { Self::Both(each[0]) } else { Self::Each(each) }
    }
}

impl Pair {
    /// For `#[serde(with = "Pair")]` on a field `[usize; 2]`.
    pub(crate) fn serialize<S: Serializer>(each: &[usize; 2], to: S) -> Result<S::Ok, S::Error> {
        Serialize::serialize(&Self::from(*each), to)
    }

    /// For `#[serde(with = "Pair")]` on a field `[usize; 2]`.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[usize; 2], D::Error> {
        Ok(<Self as Deserialize>::deserialize(from)?.into())
    }
}

pub(crate) const fn yes() -> bool {
    true
}

pub(crate) fn is_true(value: &bool) -> bool {
    *value
}

pub(crate) const fn zeros() -> Init {
    Init::Zeros
}

pub(crate) fn is_zeros(init: &Init) -> bool {
    *init == Init::Zeros
}

pub(crate) const fn glorot_uniform() -> Init {
    Init::GlorotUniform
}
