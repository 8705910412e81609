//! Optimizers as data: which one, its hyper-parameters, and which tensors it is for.
//!
//! ```text
//! Optimizer + Layout + [Group]  ->  Plan  ->  Running        what takes the steps, with its moments
//! ```

mod group;
mod running;

use kernels::Cpu;
pub use kernels::optimizer::{
    AdaDelta, AdaGrad, AdaMax, Adam, Decay, Lamb, Lars, Lion, Muon, NAdam, NewtonSchulz, RAdam, RmsProp, Sgd,
};
use kernels::optimizer::{AnyOptimizer, Optimizer as _};

use crate::layout::Layout;
use crate::{Error, Float};

pub use group::Group;
pub use running::{Plan, Running};

/// [`Optimizer`] from a list of all but Muon.
macro_rules! optimizers {
    ($($kind:literal $name:ident,)*) => {
        /// An optimizer and its hyper-parameters, but for the learning rate, which comes with each step.
        ///
        /// In a configuration file a table: `kind`, and those hyper-parameters that are not to have PyTorch's values, such as
        /// `{ kind = "adam", beta2 = 0.99, decay = { decoupled = 0.01 } }`.
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(tag = "kind"))]
        #[non_exhaustive]
        pub enum Optimizer {
            $(
                #[doc = concat!("[`", stringify!($name), "`](kernels::optimizer::", stringify!($name), "): `", $kind, "`.")]
                #[cfg_attr(feature = "serde", serde(rename = $kind))]
                $name($name),
            )*
            /// [`Muon`](kernels::optimizer::Muon) for tensors that are matrices or filters, AdamW with its decay for all
            /// others, which have no directions to make orthogonal: `muon`.
            #[cfg_attr(feature = "serde", serde(rename = "muon"))]
            Muon(Muon),
        }

        $(impl From<$name> for Optimizer {
            fn from(optimizer: $name) -> Self {
                Self::$name(optimizer)
            }
        })*

        impl Optimizer {
            /// What steps the elements of a tensor that is no matrix.
            fn elementwise(self) -> AnyOptimizer {
                match self {
                    $(Self::$name(optimizer) => optimizer.into(),)*
                    Self::Muon(Muon { decay, .. }) => {
                        Adam { decay: Decay::decoupled(decay), ..Adam::default() }.into()
                    }
                }
            }
        }
    };
}
optimizers! {
    "sgd" Sgd,
    "adagrad" AdaGrad,
    "rmsprop" RmsProp,
    "adadelta" AdaDelta,
    "adam" Adam,
    "nadam" NAdam,
    "radam" RAdam,
    "adamax" AdaMax,
    "lion" Lion,
    "lars" Lars,
    "lamb" Lamb,
}

impl From<Muon> for Optimizer {
    fn from(optimizer: Muon) -> Self {
        Self::Muon(optimizer)
    }
}

impl Optimizer {
    /// Every name that [`named`](Self::named) knows.
    pub const NAMES: [&'static str; 16] = [
        "sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adadelta", "adam", "adamw", "amsgrad", "nadam",
        "radam", "adamax", "lion", "lars", "lamb", "muon",
    ];

    /// The optimizer of this name with its usual settings; `None` if there is none.
    ///
    /// ```
    /// use nn::Optimizer;
    /// assert!(Optimizer::NAMES.iter().all(|name| Optimizer::named(name).is_some()));
    /// assert_eq!(Optimizer::named("sdg"), None);
    /// ```
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "sgd" => Self::sgd(),
            "momentum" => Sgd { momentum: 0.9, ..Sgd::default() }.into(),
            "nesterov" => Sgd { momentum: 0.9, nesterov: true, ..Sgd::default() }.into(),
            "adagrad" => AdaGrad::default().into(),
            "rmsprop" => RmsProp::default().into(),
            "adadelta" => AdaDelta::default().into(),
            "adam" => Self::adam(),
            "adamw" => Adam::decoupled().into(),
            "amsgrad" => Adam { amsgrad: true, ..Adam::default() }.into(),
            "nadam" => NAdam::default().into(),
            "radam" => RAdam::default().into(),
            "adamax" => AdaMax::default().into(),
            "lion" => Lion::default().into(),
            "lars" => Lars::default().into(),
            "lamb" => Lamb::default().into(),
            "muon" => Muon::default().into(),
            _ => return None,
        })
    }

    /// Adam with its paper's settings.
    pub fn adam() -> Self {
        Adam::default().into()
    }

    /// Plain stochastic gradient descent.
    pub fn sgd() -> Self {
        Sgd::default().into()
    }

    /// A learning rate to begin with: PyTorch's default where it has a useful one, else what its paper trains small networks
    /// with.
    pub fn usual_rate(&self) -> f64 {
        match self {
            Self::Sgd(sgd) if sgd.momentum == 0.0 => 0.1,
            Self::Sgd(_) | Self::AdaGrad(_) => 1e-2,
            Self::AdaDelta(_) | Self::Lars(_) => 1.0,
            Self::NAdam(_) | Self::AdaMax(_) => 2e-3,
            Self::Lion(_) => 1e-4,
            Self::Lamb(_) => 1e-2,
            _ => 1e-3,
        }
    }

    /// Whether all hyper-parameters are in range.
    ///
    /// # Errors
    /// [`kernels::Error::Parameter`] for the first that is not.
    pub fn check(&self) -> Result<(), Error> {
        if let Self::Muon(muon) = self {
            muon.check()?;
        }
        Ok(self.elementwise().check()?)
    }

    /// Starts on all tensors of `layout`, with moments of 0.
    ///
    /// # Errors
    /// A hyper-parameter outside its range; [`Error::Memory`] if there is no room for the moments.
    pub fn start<T: Float>(self, cpu: Cpu<'_>, layout: &Layout) -> Result<Running<T>, Error> {
        Plan::new(layout, self, &[])?.start(cpu)
    }
}
