//! Custom layers: a name in a configuration, the function that builds the layer, and the context
//! that it is given.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt;

use crate::layer::AnyLayer;
use crate::spec::Options;
use crate::{Compute, Error, Shape};

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
                let expected = format!("a name that is registered ({known})");
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

/// Context in which a layer is built: its path in the network, and the options of the network.
#[derive(Debug)]
pub struct BuildContext<'a> {
    /// Path as in tensor names: `3`, or `3.body.0` in a block.
    path: String,
    pub(crate) registry: &'a Registry,
    /// Options of the layer's matrix products; `sparse_inputs` holds for this layer's input.
    pub(crate) compute: Compute,
    /// Next layer id.
    next_id: &'a Cell<u32>,
}

impl<'a> BuildContext<'a> {
    pub(crate) fn new(registry: &'a Registry, compute: Compute, next_id: &'a Cell<u32>) -> Self {
        Self { path: String::new(), registry, compute, next_id }
    }

    /// Context of the layer called `name` inside this one.
    pub fn child(&self, name: impl fmt::Display) -> Self {
        let path =
            if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) };
        Self { path, ..*self }
    }

    /// A unique id within the network, for [`Mode::stream`](crate::Mode::stream).
    pub fn layer_id(&self) -> u32 {
        self.next_id.replace(self.next_id.get() + 1)
    }

    /// The error that this layer, of kind `kind`, needs `expected` but was given `got`.
    pub fn mismatch(&self, kind: &'static str, expected: &str, got: impl fmt::Display) -> Error {
        Error::Layer {
            path: self.path.clone(),
            kind,
            expected: expected.to_string(),
            got: got.to_string(),
        }
    }

    pub(crate) fn too_large(&self) -> Error {
        Error::TooLarge { path: self.path.clone() }
    }
}
