//! Parameter groups: tensors with an optimizer or a learning rate of their own, or frozen.

use alloc::string::String;
use alloc::vec::Vec;

use super::Optimizer;

/// A parameter group.
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
    /// Names or patterns of its tensors, where `*` matches any characters. A tensor belongs to the
    /// first group that matches it.
    pub tensors: Vec<String>,
    /// Factor of the run's learning rate: 1 leaves it, 0 updates the moments alone.
    pub rate: f64,
    /// `true` if its tensors are not trained.
    pub frozen: bool,
    /// Optimizer of the group, if not the run's.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub optimizer: Option<Optimizer>,
}

impl Default for Group {
    /// A group without tensors.
    fn default() -> Self {
        Self { tensors: Vec::new(), rate: 1.0, frozen: false, optimizer: None }
    }
}

impl Group {
    /// A frozen group of the tensors `names`.
    pub fn frozen(names: &[&str]) -> Self {
        Self {
            tensors: names.iter().map(|&name| name.into()).collect(),
            frozen: true,
            ..Self::default()
        }
    }

    /// `true` if `name` belongs to the group.
    pub fn names(&self, name: &str) -> bool {
        self.tensors.iter().any(|pattern| matches(pattern, name))
    }
}

/// `true` if `name` matches `pattern`, in which `*` matches any characters.
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
