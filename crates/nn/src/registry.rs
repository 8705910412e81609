//! Custom layers: a name in a configuration, and the function that builds the layer.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::layer::AnyLayer;
use crate::spec::BuildContext;
use crate::{Error, Shape};

/// Options of a custom layer in a configuration, by key.
pub type Options = BTreeMap<String, Value>;

/// Value of one of the [`Options`].
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(untagged))]
pub enum Value {
    /// `true` or `false`.
    Bool(bool),
    /// An integer.
    Integer(i64),
    /// A floating-point number.
    Number(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Value>),
}

type Constructor =
    dyn Fn(Shape, &Options, &BuildContext<'_>) -> Result<Box<dyn AnyLayer>, Error> + Send + Sync;

/// Custom layers by name: `{ kind = "custom", name = "..." }` in a configuration.
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
/// let head = LayerSpec::dense(10, nn::Init::HeNormal);
/// let layers = [LayerSpec::custom("double", Options::new()), head];
/// let network = Network::with_registry(784, &layers, &registry)?;
/// assert_eq!(network.outputs(), 10);
/// # Ok::<(), Error>(())
/// ```
#[derive(Default)]
pub struct Registry {
    constructors: BTreeMap<String, Box<Constructor>>,
}

impl Registry {
    /// An empty registry.
    pub const fn new() -> Self {
        Self { constructors: BTreeMap::new() }
    }

    /// Registers `build` as the layer `name`. It gets the shape of the layer's input, the options
    /// from the configuration, and the [`BuildContext`], whose [`mismatch`](BuildContext::mismatch)
    /// makes an error that names the layer. A name that is registered already is replaced.
    pub fn add(
        &mut self,
        name: &str,
        build: impl Fn(Shape, &Options, &BuildContext<'_>) -> Result<Box<dyn AnyLayer>, Error>
        + Send
        + Sync
        + 'static,
    ) {
        self.constructors.insert(name.to_string(), Box::new(build));
    }

    /// Registered names, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.constructors.keys().map(|name| &name[..])
    }

    pub(crate) fn build(
        &self,
        name: &str,
        input: Shape,
        options: &Options,
        context: &BuildContext<'_>,
    ) -> Result<Box<dyn AnyLayer>, Error> {
        match self.constructors.get(name) {
            Some(build) => build(input, options, context),
            None => {
                let known: Vec<&str> = self.names().collect();
                let known = if known.is_empty() { "none is".to_string() } else { known.join(", ") };
                let expected = alloc::format!("a name that is registered ({known})");
                Err(context.mismatch("custom", &expected, name))
            }
        }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.constructors.keys()).finish()
    }
}
