//! Layers of your own: a name in a configuration, and what builds the layer.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::layer::AnyLayer;
use crate::spec::Building;
use crate::{Error, Shape};

/// What a configuration says of a layer of your own, by key.
pub type Options = BTreeMap<String, Value>;

/// A value of [`Options`].
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(untagged))]
pub enum Value {
    /// `true` or `false`.
    Bool(bool),
    /// An integer.
    Integer(i64),
    /// Any other number.
    Number(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Value>),
}

type Constructor = dyn Fn(Shape, &Options, &Building<'_>) -> Result<Box<dyn AnyLayer>, Error> + Send + Sync;

/// Layers of your own, by name: `{ kind = "custom", name = "..." }` in a configuration.
///
/// ```
/// use nn::layer::{Backward, Describe, Forward, Layer};
/// use nn::{Error, Float, LayerSpec, Network, Options, Registry, Shape};
///
/// /// y = 2 x.
/// #[derive(Debug)]
/// struct Double(Shape);
///
/// impl Describe for Double {
///     fn output(&self) -> Shape {
///         self.0
///     }
/// }
///
/// impl<T: Float> Layer<T> for Double {
///     fn forward(&self, pass: Forward<'_, T>) -> Result<(), Error> {
///         for (y, &x) in pass.y.iter_mut().zip(pass.x) {
///             *y = x;
///             *y += x;
///         }
///         Ok(())
///     }
///     fn backward(&self, pass: Backward<'_, T>) -> Result<(), Error> {
///         for (dx, &dy) in pass.dx.into_iter().flatten().zip(&*pass.dy) {
///             *dx = dy;
///             *dx += dy;
///         }
///         Ok(())
///     }
/// }
///
/// let mut registry = Registry::new();
/// registry.add("double", |input, _, _| Ok(Box::new(Double(input))));
/// let layers = [LayerSpec::custom("double", Options::new()), LayerSpec::dense(10, nn::Init::HeNormal)];
/// let network = Network::with_registry(784, &layers, &registry)?;
/// assert_eq!(network.outputs(), 10);
/// # Ok::<(), Error>(())
/// ```
#[derive(Default)]
pub struct Registry {
    constructors: BTreeMap<String, Box<Constructor>>,
}

impl Registry {
    /// None.
    pub const fn new() -> Self {
        Self { constructors: BTreeMap::new() }
    }

    /// `build` makes the layer `name` for the shape of its input, the options of the configuration, and the place in which it
    /// will stand, which [`Building::misfit`] names in an error. A name that is there already is given a new meaning.
    pub fn add(
        &mut self,
        name: &str,
        build: impl Fn(Shape, &Options, &Building<'_>) -> Result<Box<dyn AnyLayer>, Error> + Send + Sync + 'static,
    ) {
        self.constructors.insert(name.to_string(), Box::new(build));
    }

    /// The names, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.constructors.keys().map(|name| &name[..])
    }

    pub(crate) fn build(
        &self,
        name: &str,
        input: Shape,
        options: &Options,
        building: &Building<'_>,
    ) -> Result<Box<dyn AnyLayer>, Error> {
        match self.constructors.get(name) {
            Some(build) => build(input, options, building),
            None => {
                let known: Vec<&str> = self.names().collect();
                let known = if known.is_empty() { "none is".to_string() } else { known.join(", ") };
                let expected = alloc::format!("a name that is registered ({known})");
                Err(building.misfit("custom", &expected, name))
            }
        }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.constructors.keys()).finish()
    }
}
