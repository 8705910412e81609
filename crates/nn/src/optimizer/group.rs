//! Groups of tensors with an optimizer, a rate, or none of their own.

use alloc::string::String;
use alloc::vec::Vec;

use super::Optimizer;

/// Tensors that are trained in another way than the rest.
///
/// In a configuration file:
///
/// ```toml
/// [[groups]]
/// tensors = ["*.bias", "layers.0.*"]
/// rate = 0.1
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Group {
    /// Their names; `*` stands for any characters. A tensor belongs to the first group that names it.
    pub tensors: Vec<String>,
    /// What the run's learning rate is multiplied by: 1 leaves it, 0 moves nothing but the moments.
    pub rate: f64,
    /// Whether they stay as they are.
    pub frozen: bool,
    /// What steps them, if not the run's optimizer.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub optimizer: Option<Optimizer>,
}

impl Default for Group {
    /// No tensors.
    fn default() -> Self {
        Self { tensors: Vec::new(), rate: 1.0, frozen: false, optimizer: None }
    }
}

impl Group {
    /// The tensors named `names`, frozen.
    pub fn frozen(names: &[&str]) -> Self {
        Self { tensors: names.iter().map(|&name| name.into()).collect(), frozen: true, ..Self::default() }
    }

    /// Whether the tensor `name` is named.
    pub fn names(&self, name: &str) -> bool {
        self.tensors.iter().any(|pattern| matches(pattern, name))
    }
}

/// Whether `name` is `pattern`, in which `*` stands for any characters.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut rest) = name.strip_prefix(head) else { return false };
    loop {
        if matches(tail, rest) {
            return true;
        }
        let mut characters = rest.chars();
        if characters.next().is_none() {
            return false;
        }
        rest = characters.as_str();
    }
}
