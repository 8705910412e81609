//! Networks with a name, for those who do not want to write down layers.

use nn::{Activation, Init, LayerSpec};
use serde::{Deserialize, Serialize};

/// A named network. All take the pixels of an image and give one logit a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// One hidden layer of 512 ReLUs.
    #[default]
    Mlp,
    /// No hidden layer: softmax regression.
    Logistic,
    /// Nine hidden layers of 256 ReLUs.
    DeepMlp,
}

impl Preset {
    /// Its name, as flags and configuration files spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mlp => "mlp",
            Self::Logistic => "logistic",
            Self::DeepMlp => "deep-mlp",
        }
    }

    /// Its layers, for that many classes.
    pub fn layers(self, classes: usize) -> Vec<LayerSpec> {
        let hidden: &[usize] = match self {
            Self::Mlp => &[512],
            Self::Logistic => &[],
            Self::DeepMlp => &[256; 9],
        };
        let hidden = hidden.iter().flat_map(|&units| {
            [LayerSpec::dense(units, Init::HeNormal), LayerSpec::Activation(Activation::Relu)]
        });
        hidden.chain([LayerSpec::dense(classes, Init::GlorotUniform)]).collect()
    }
}
