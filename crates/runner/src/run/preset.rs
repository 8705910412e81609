//! Presets: networks with a name.

use nn::{
    Activation, BatchNorm, BranchScale, Cell, Convolution, Dropout, Flatten, GlobalPooling, Init,
    LayerNorm, LayerSpec, Loss, Places, Pool, Pooling, Position, Recurrent, Residual, Rows,
    Transformer,
};
use serde::{Deserialize, Serialize};

/// A named network. All take an image and return one logit per class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// One hidden layer of 512 ReLUs.
    #[default]
    Mlp,
    /// No hidden layer, mean squared error: linear regression; for classes, on one-hot targets.
    Linear,
    /// No hidden layer: softmax regression.
    Logistic,
    /// No hidden layer, hinge loss: a linear support vector machine.
    Svm,
    /// Nine hidden layers of 256 ReLUs, or those of the key `deep` of a configuration file.
    DeepMlp,
    /// Three hidden layers of 1024 ReLUs with batch norm; dropout of the pixels and of each layer.
    MlpDropout,
    /// Two convolutions, pooling, a hidden layer of 128 ReLUs: the network of many tutorials.
    Lenet,
    /// Six convolutions of 16 to 64 filters with batch norm, two poolings, dropout: 72,666
    /// parameters.
    Cnn,
    /// Four residual blocks with batch norm.
    Resnet,
    /// Patches of 4 x 4 pixels, two transformer blocks.
    VitTiny,
    /// An LSTM of 128 units that reads an image row by row.
    LstmRows,
}

/// Hidden layers of [`Preset::DeepMlp`], for experiments with depth, activation and initial
/// weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Deep {
    /// Number of hidden layers: 1 to 10,000.
    pub depth: u32,
    /// Units of each hidden layer: at least 1.
    pub width: u32,
    /// Activation after each hidden layer, as in `layers`.
    pub activation: LayerSpec,
    /// Initialiser of their weights.
    pub init: Init,
}

impl Default for Deep {
    fn default() -> Self {
        Self { depth: 9, width: 256, activation: RELU, init: Init::HeNormal }
    }
}

impl Deep {
    /// Layers, with `classes` outputs.
    pub fn layers(&self, classes: usize) -> Vec<LayerSpec> {
        let hidden = [LayerSpec::dense(self.width as usize, self.init), self.activation.clone()];
        let mut layers: Vec<_> =
            std::iter::repeat_n(hidden, self.depth as usize).flatten().collect();
        layers.push(LayerSpec::dense(classes, Init::GlorotUniform));
        layers
    }
}

fn dense(units: usize) -> LayerSpec {
    LayerSpec::dense(units, Init::HeNormal)
}

const RELU: LayerSpec = LayerSpec::Activation(Activation::Relu);

fn norm() -> LayerSpec {
    LayerSpec::BatchNorm(BatchNorm { epsilon: 1e-5, momentum: 0.1 })
}

/// Convolution of 3 x 3 with same padding and no bias: a batch norm follows.
fn filters(count: usize, stride: usize) -> LayerSpec {
    let stride = [stride, stride];
    LayerSpec::Convolution(Convolution { stride, bias: false, ..Convolution::same(count, 3) })
}

fn halving(pool: Pool) -> LayerSpec {
    LayerSpec::Pooling(Pooling { pool, kernel: [2, 2], stride: [2, 2], padding: [0, 0] })
}

/// A residual block, which halves the image if `halves` is set.
fn block(width: usize, halves: bool) -> Vec<LayerSpec> {
    let stride = if halves { 2 } else { 1 };
    let body = vec![filters(width, stride), norm(), RELU, filters(width, 1), norm()];
    let projection = Convolution {
        kernel: [1, 1],
        stride: [2, 2],
        padding: [0, 0],
        bias: false,
        ..Convolution::same(width, 1)
    };
    let shortcut = if halves { vec![LayerSpec::Convolution(projection), norm()] } else { vec![] };
    vec![LayerSpec::Residual(Residual { body, shortcut, scale: BranchScale::default() }), RELU]
}

impl Preset {
    /// Name, as flags and configuration files spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mlp => "mlp",
            Self::Linear => "linear",
            Self::Logistic => "logistic",
            Self::Svm => "svm",
            Self::DeepMlp => "deep-mlp",
            Self::MlpDropout => "mlp-dropout",
            Self::Lenet => "lenet",
            Self::Cnn => "cnn",
            Self::Resnet => "resnet",
            Self::VitTiny => "vit-tiny",
            Self::LstmRows => "lstm-rows",
        }
    }

    /// Loss.
    pub fn loss(self) -> Loss {
        match self {
            Self::Linear => Loss::Mse,
            Self::Svm => Loss::Hinge { margin: 1.0, squared: false },
            _ => Loss::default(),
        }
    }

    /// Layers, with `classes` outputs.
    pub fn layers(self, classes: usize) -> Vec<LayerSpec> {
        let hidden = |widths: &[usize]| {
            widths.iter().flat_map(|&units| [dense(units), RELU]).collect::<Vec<_>>()
        };
        let dropout = |p| LayerSpec::Dropout(Dropout { p });
        let mut layers = match self {
            Self::Mlp => hidden(&[512]),
            Self::Linear | Self::Logistic | Self::Svm => Vec::new(),
            Self::DeepMlp => return Deep::default().layers(classes),
            Self::MlpDropout => {
                let hidden = [dense(1024), norm(), RELU, dropout(0.5)];
                let hidden = std::iter::repeat_n(hidden, 3).flatten();
                std::iter::once(dropout(0.2)).chain(hidden).collect()
            }
            Self::Lenet => {
                let valid = |count| Convolution { padding: [0, 0], ..Convolution::same(count, 3) };
                let first = vec![
                    LayerSpec::Convolution(valid(32)),
                    RELU,
                    LayerSpec::Convolution(valid(64)),
                    RELU,
                ];
                let last = [halving(Pool::Max), Flatten {}.into(), dense(128), RELU];
                first.into_iter().chain(last).collect()
            }
            Self::Cnn => {
                let stage =
                    |count| [filters(count, 1), norm(), RELU, filters(count, 1), norm(), RELU];
                let mut layers = Vec::from(stage(16));
                layers.push(halving(Pool::Max));
                layers.extend(stage(32));
                layers.push(halving(Pool::Max));
                layers.extend(stage(64));
                layers.extend([GlobalPooling {}.into(), dropout(0.2)]);
                layers
            }
            Self::Resnet => {
                let mut layers = vec![filters(16, 1), norm(), RELU];
                for (width, halves) in [(16, false), (32, true), (32, false), (64, true)] {
                    layers.extend(block(width, halves));
                }
                layers.push(GlobalPooling {}.into());
                layers
            }
            Self::VitTiny => {
                let patches = Convolution {
                    stride: [4, 4],
                    padding: [0, 0],
                    init: Init::LecunNormal,
                    ..Convolution::same(64, 4)
                };
                let block = LayerSpec::Transformer(Transformer {
                    heads: 4,
                    hidden: 128,
                    dropout: 0.1,
                    causal: false,
                });
                vec![
                    LayerSpec::Convolution(patches),
                    Places {}.into(),
                    LayerSpec::Position(Position { init: Init::Normal { std: 0.02 } }),
                    block.clone(),
                    block,
                    LayerSpec::LayerNorm(LayerNorm { epsilon: 1e-5 }),
                    GlobalPooling {}.into(),
                ]
            }
            Self::LstmRows => {
                let lstm = Recurrent { last: true, ..Recurrent::new(Cell::Lstm, 128) };
                vec![Rows {}.into(), LayerSpec::Recurrent(lstm)]
            }
        };
        layers.push(LayerSpec::dense(classes, Init::GlorotUniform));
        layers
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;
    use kernels::Cpu;
    use nn::{Batch, Compute, Mode, Network, Precision, Registry, Shape, Weights, Workspace};

    use super::*;

    const IMAGE: Shape = Shape::Image { height: 28, width: 28, channels: 1 };

    #[test]
    fn presets_have_their_known_numbers_of_parameters() {
        for (preset, parameters) in [
            (Preset::Mlp, 784 * 512 + 512 + 512 * 10 + 10),
            (Preset::Logistic, 7850),
            (Preset::Lenet, 1_199_882),
            (Preset::Cnn, 72_666),
            (Preset::LstmRows, 4 * 128 * (28 + 128 + 2) + 1290),
        ] {
            let network = Network::new(IMAGE, &preset.layers(10)).expect("layers that fit");
            assert_eq!(network.layout().len(), parameters, "{}", preset.name());
        }
    }

    /// A few steps on one batch reduce its loss, in both precisions.
    #[test]
    fn every_preset_learns_a_batch() {
        let presets = Preset::value_variants().iter();
        for (preset, precision) in
            presets.flat_map(|preset| [(preset, Precision::Full), (preset, Precision::Bf16)])
        {
            let compute = Compute { precision, ..Compute::default() };
            let network =
                Network::with_compute(IMAGE, &preset.layers(4), &Registry::new(), compute)
                    .expect("layers that fit")
                    .with_loss(preset.loss());
            let cpu = Cpu::detect();
            let mut params = vec![0.0_f32; network.layout().len()];
            let mut buffers = vec![0.0; network.buffers().len()];
            network.init(cpu, 1, &mut params).expect("as long as the layout");
            network.init_buffers(cpu, &mut buffers).expect("as long as the layout");
            let stream = kernels::random::Stream::new(3, 3);
            let inputs: Vec<f32> = (0..4 * 784).map(|i| stream.uniform_f32(i)).collect();
            let mut workspace = Workspace::new(&network, cpu, 4).expect("memory");
            let mut grads = vec![0.0; params.len()];
            let mut optimizer =
                nn::Optimizer::adam().start(cpu, network.layout()).expect("settings in range");
            let loss = |params: &[f32], buffers: &mut [f32], workspace: &mut Workspace<f32>| {
                let batch = Batch { inputs: &inputs, targets: (&[0, 1, 2, 3]).into() };
                // Batch statistics, as in training, but without dropout.
                let weights = Weights { params, buffers };
                network
                    .score(cpu, Mode::Probe, weights, batch, workspace)
                    .expect("a batch that fits")
                    .mean_loss()
            };
            let first = loss(&params, &mut buffers, &mut workspace);
            for step in 0..12 {
                let batch = Batch { inputs: &inputs, targets: (&[0, 1, 2, 3]).into() };
                let weights = Weights { params: &params, buffers: &mut buffers };
                let mode = Mode::Train { seed: 1, step };
                network
                    .gradient(cpu, mode, weights, batch, &mut workspace, &mut grads)
                    .expect("a batch that fits");
                optimizer
                    .step(cpu, nn::StepSize::new(1e-3), &mut params, &grads)
                    .expect("finite numbers");
            }
            let last = loss(&params, &mut buffers, &mut workspace);
            assert!(last < 0.7 * first, "{}, {precision:?}: {first} became {last}", preset.name());
        }
    }
}
