//! A layer of the caller's: a name in a [`Registry`](crate::Registry), and options.

use alloc::boxed::Box;
use alloc::string::String;

use crate::layer::AnyLayer;
use crate::registry::{Build, BuildContext, Options};
use crate::{Error, Shape};

/// A custom layer.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
pub struct Custom {
    /// Name that it is [registered](crate::Registry::add) under.
    pub name: String,
    /// Options that it is built with.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Options::is_empty"))]
    pub options: Options,
}

impl Build for Custom {
    fn build(&self, input: Shape, context: &BuildContext<'_>) -> Result<Box<dyn AnyLayer>, Error> {
        context.registry.build(&self.name, input, &self.options, context)
    }
}
