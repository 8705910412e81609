//! Optimizers as data: the method, its hyper-parameters, and the tensors that it steps.
//!
//! ```text
//! Optimizer + Layout + [Group]  ->  Plan  ->  Running        steps parameters, owns the moments
//! ```

mod group;
mod running;

use kernels::Cpu;
pub use kernels::optimizer::{
    AdaDelta, AdaGrad, AdaMax, Adam, Decay, Lamb, Lars, Lion, Muon, NAdam, NewtonSchulz, RAdam,
    RmsProp, Sgd,
};
use kernels::optimizer::{AnyOptimizer, Optimizer as _};

use crate::layout::Layout;
use crate::{Error, Float};

pub use group::Group;
pub use running::{Plan, Running, StepSize};

/// Defines [`Optimizer`] from a list of all methods but Muon.
macro_rules! optimizers {
    ($($kind:literal $name:ident,)*) => {
        /// An optimizer and its hyper-parameters. The learning rate is an argument of each step.
        ///
        /// In a configuration file a table of `kind` and the hyper-parameters that differ from
        /// PyTorch's defaults, such as `{ kind = "adam", beta2 = 0.99, decay = { decoupled = 0.01 }
        /// }`.
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[cfg_attr(
            feature = "serde",
            derive(serde::Serialize, serde::Deserialize),
            serde(tag = "kind")
        )]
        #[non_exhaustive]
        pub enum Optimizer {
            $(
                #[doc = concat!(
                    "[`", stringify!($name), "`](kernels::optimizer::", stringify!($name), "): `",
                    $kind, "`.",
                )]
                #[cfg_attr(feature = "serde", serde(rename = $kind))]
                $name($name),
            )*
            /// [`Muon`](kernels::optimizer::Muon) for matrices and filters, AdamW with the same
            /// decay for all other tensors: `muon`.
            #[cfg_attr(feature = "serde", serde(rename = "muon"))]
            Muon(Muon),
        }

        $(impl From<$name> for Optimizer {
            fn from(optimizer: $name) -> Self {
                Self::$name(optimizer)
            }
        })*

        impl Optimizer {
            /// Method for tensors that are no matrices.
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
    /// Every name that [`named`](Self::named) accepts.
    pub const NAMES: [&'static str; 16] = [
        "sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adadelta", "adam", "adamw",
        "amsgrad", "nadam", "radam", "adamax", "lion", "lars", "lamb", "muon",
    ];

    /// The optimizer of this name with its usual hyper-parameters; `None` for any other name.
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

    /// Adam with the hyper-parameters of its paper.
    pub fn adam() -> Self {
        Adam::default().into()
    }

    /// Plain stochastic gradient descent.
    pub fn sgd() -> Self {
        Sgd::default().into()
    }

    /// A learning rate to start with: PyTorch's default where it has a useful one, else that of the
    /// paper for small networks.
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

    /// Checks that all hyper-parameters are in range.
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
    /// [`kernels::Error::Parameter`] for a hyper-parameter out of range; [`Error::Memory`] if the
    /// moments cannot be allocated.
    pub fn start<T: Float>(self, cpu: Cpu<'_>, layout: &Layout) -> Result<Running<T>, Error> {
        Plan::new(layout, self, &[])?.start(cpu)
    }
}
