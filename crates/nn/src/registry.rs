//! How layers are built: from a specification, or by name from a [`Registry`] of custom layers; and
//! the [`BuildContext`] of either.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt;

use crate::layer::AnyLayer;
use crate::{Compute, Error, Init, Shape};

/// Specification of a layer, which its layer is built from.
pub(crate) trait Build {
    /// Builds the layer for rows of shape `input`.
    ///
    /// # Errors
    /// [`Error::Layer`] if the specification is out of range or does not fit the input.
    fn build(&self, input: Shape, context: &BuildContext<'_>) -> Result<Box<dyn AnyLayer>, Error>;
}

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
                let expected = format!("a name that is registered ({known})");
                Err(context.unfit(&expected, name))
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
    /// Kind of the layer, as spelled in configuration files; empty outside all layers.
    kind: &'static str,
    pub(crate) registry: &'a Registry,
    /// Options of the layer's matrix products; `sparse_inputs` holds for this layer's input.
    pub(crate) compute: Compute,
    /// Next layer id.
    next_id: &'a Cell<u32>,
}

impl<'a> BuildContext<'a> {
    pub(crate) fn new(registry: &'a Registry, compute: Compute, next_id: &'a Cell<u32>) -> Self {
        Self { path: String::new(), kind: "", registry, compute, next_id }
    }

    /// Context of the layer called `name` inside this one.
    pub fn child(&self, name: impl fmt::Display) -> Self {
        let path =
            if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) };
        Self { path, ..*self }
    }

    /// Context of the layer of kind `kind` at `index` of this sequence.
    pub(crate) fn layer(&self, index: usize, kind: &'static str) -> Self {
        Self { kind, ..self.child(index) }
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

    /// The error that this layer needs `expected` but was given `got`.
    pub(crate) fn unfit(&self, expected: &str, got: impl fmt::Display) -> Error {
        self.mismatch(self.kind, expected, got)
    }

    /// The error that the window of this layer does not fit its input, for the kernel's `error`.
    pub(crate) fn unfit_window(&self, error: Error) -> Error {
        self.unfit("a window that fits its input", error)
    }

    /// `[height, width, channels]` of the input of a layer over images.
    pub(crate) fn image(&self, input: Shape) -> Result<[usize; 3], Error> {
        match input {
            Shape::Image { height, width, channels } => Ok([height, width, channels]),
            _ => Err(self.unfit("an image", input)),
        }
    }

    /// Steps and features of the input of a layer over sequences.
    pub(crate) fn steps(&self, input: Shape) -> Result<(usize, usize), Error> {
        match input {
            Shape::Steps { steps, features } => Ok((steps, features)),
            _ => Err(self.unfit("a sequence (`rows` and `places` make one of an image)", input)),
        }
    }

    /// Checks the key `epsilon` of a normalisation.
    pub(crate) fn check_epsilon(&self, epsilon: f64) -> Result<(), Error> {
        if is_positive(epsilon) { Ok(()) } else { Err(self.unfit("`epsilon` above 0", epsilon)) }
    }

    /// Checks the key `bias_init` of a layer that has a bias if `has_bias`.
    pub(crate) fn check_bias_init(&self, has_bias: bool, init: Init) -> Result<(), Error> {
        if !init.suits_bias() {
            let expected = "an initialiser of independent elements as `bias_init`, such as \
                            constant, uniform or normal";
            return Err(self.unfit(expected, format!("{init:?}, one of matrices")));
        }
        if !has_bias && init != Init::Zeros {
            return Err(self.unfit("no `bias_init` where `bias` is false", format!("{init:?}")));
        }
        init.check()
    }

    /// Checks that `parts`, the value of `key`, divides the layer's number of `unit`, `whole`.
    pub(crate) fn check_divisor(
        &self,
        (key, parts): (&str, usize),
        (unit, whole): (&str, usize),
    ) -> Result<(), Error> {
        if parts > 0 && whole.is_multiple_of(parts) {
            Ok(())
        } else {
            Err(self.unfit(&format!("a divisor of its {whole} {unit} as `{key}`"), parts))
        }
    }

    pub(crate) fn too_large(&self) -> Error {
        Error::TooLarge { path: self.path.clone() }
    }
}

/// `true` if `x` is above 0 and finite.
pub(crate) fn is_positive(x: f64) -> bool {
    x.is_finite() && x > 0.0
}
