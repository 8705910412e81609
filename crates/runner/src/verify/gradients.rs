//! Gradient checks: every layer and loss of `nn`, compared with finite differences in f64.
//! `gradcheck` and `verify` print them.
//!
//! Each check is a small network with that layer, random weights and random inputs. `nn::gradcheck`
//! compares the gradients of all of its parameters and inputs.

use kernels::Cpu;
use kernels::random::Stream;
use nn::{
    Activation, Attention, Batch, BatchNorm, BranchScale, Cell, Convolution, Dense, Dropout,
    Flatten, GlobalPooling, GroupNorm, Init, LayerNorm, LayerSpec, Loss, Mode, Network, Pool,
    Pooling, Position, Prelu, Recurrent, Residual, RmsNorm, RnnActivation, Shape, Softmax,
    Standardise, Transformer, Unstandardise, Weights,
};
use serde::Serialize;

use crate::Error;

/// Upper bound of the relative errors, exclusive.
pub const BOUND: f64 = 1e-7;

/// Result of the check of one layer or loss.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// Name of the layer or loss.
    pub check: String,
    /// Number of elements that were compared.
    pub elements: usize,
    /// Largest relative error.
    pub max_rel_error: f64,
    /// Element with that error: a tensor and an index.
    pub worst: String,
}

impl Finding {
    /// `true` if the gradient is correct.
    pub fn holds(&self) -> bool {
        self.max_rel_error < BOUND && self.elements > 0
    }
}

/// A network to check.
struct Problem {
    name: String,
    input: Shape,
    layers: Vec<LayerSpec>,
    mode: Mode,
    loss: Loss,
    labelled: bool,
}

const STEPS: Shape = Shape::Steps { steps: 5, features: 6 };
const IMAGE: Shape = Shape::Image { height: 6, width: 5, channels: 2 };
/// With two channels, a normalised pixel would be nearly constant.
const WIDE: Shape = Shape::Image { height: 3, width: 2, channels: 6 };
const TRAIN: Mode = Mode::Train { seed: 11, step: 3 };
const ROWS: usize = 4;

fn dense(units: usize) -> LayerSpec {
    LayerSpec::dense(units, Init::LecunNormal)
}

fn act(activation: Activation) -> LayerSpec {
    LayerSpec::Activation(activation)
}

impl Problem {
    fn new(name: impl Into<String>, input: impl Into<Shape>, layers: Vec<LayerSpec>) -> Self {
        let (name, input, loss) = (name.into(), input.into(), Loss::default());
        Self { name, input, layers, mode: Mode::Eval, loss, labelled: true }
    }

    fn training(self) -> Self {
        Self { mode: TRAIN, ..self }
    }

    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        all.push(Self::new("dense", 6, vec![dense(4), act(Activation::Tanh), dense(3)]));
        // Before a batch norm, a bias has no effect, and gradient 0.
        let bare = |units| {
            let (init, bias_init) = (Init::LecunNormal, Init::Zeros);
            LayerSpec::Dense(Dense { units, init, bias: false, bias_init })
        };
        all.push(Self::new(
            "dense without bias",
            6,
            vec![bare(4), act(Activation::Tanh), dense(3)],
        ));
        all.push(Self::new(
            "dense at each step",
            STEPS,
            vec![dense(4), GlobalPooling {}.into(), dense(3)],
        ));
        for (name, activation) in [
            ("relu", Activation::Relu),
            ("capped_relu", Activation::CappedRelu { cap: 0.5 }),
            ("leaky_relu", Activation::LeakyRelu { slope: 0.1 }),
            ("elu", Activation::Elu { alpha: 0.7 }),
            ("selu", Activation::Selu),
            ("gelu", Activation::Gelu),
            ("gelu_tanh", Activation::GeluTanh),
            ("silu", Activation::Silu),
            ("mish", Activation::Mish),
            ("sigmoid", Activation::Sigmoid),
            ("hard_sigmoid", Activation::HardSigmoid),
            ("tanh", Activation::Tanh),
            ("hard_tanh", Activation::HardTanh),
            ("softplus", Activation::Softplus),
            ("softsign", Activation::Softsign),
            ("exponential", Activation::Exponential),
        ] {
            all.push(Self::new(
                name,
                6,
                vec![act(activation), dense(4), act(activation), dense(3)],
            ));
        }
        let softmax = LayerSpec::from(Softmax {});
        all.push(Self::new("softmax", 6, vec![dense(4), softmax.clone(), dense(3)]));
        let layers = vec![softmax, Flatten {}.into(), dense(3)];
        all.push(Self::new("softmax of images", IMAGE, layers));
        all.push(Self::new("prelu", 6, vec![LayerSpec::Prelu(Prelu { start: 0.2 }), dense(3)]));

        let same = Convolution::same(4, 3);
        for (name, convolution) in [
            ("convolution", same),
            ("convolution, stride 2", Convolution { stride: [2, 2], ..same }),
            ("convolution, grouped", Convolution { groups: 2, ..same }),
            ("convolution, depthwise", Convolution { filters: 2, groups: 2, ..same }),
        ] {
            let layers = vec![
                LayerSpec::Convolution(convolution),
                act(Activation::Relu),
                Flatten {}.into(),
                dense(3),
            ];
            all.push(Self::new(name, IMAGE, layers));
        }
        for (name, pool) in [("max_pooling", Pool::Max), ("mean_pooling", Pool::Mean)] {
            let pooling = LayerSpec::Pooling(Pooling {
                pool,
                kernel: [2, 2],
                stride: [2, 2],
                padding: [0, 0],
            });
            all.push(Self::new(name, IMAGE, vec![pooling, Flatten {}.into(), dense(3)]));
        }
        all.push(Self::new("global_pooling", IMAGE, vec![GlobalPooling {}.into(), dense(3)]));

        let epsilon = 1e-3;
        let batch_norm = LayerSpec::BatchNorm(BatchNorm { epsilon, momentum: 0.1 });
        all.push(
            Self::new("batch_norm", 6, vec![bare(5), batch_norm.clone(), dense(3)]).training(),
        );
        all.push(Self::new(
            "batch_norm, evaluating",
            6,
            vec![bare(5), batch_norm.clone(), dense(3)],
        ));
        let layers = vec![batch_norm.clone(), Flatten {}.into(), dense(3)];
        all.push(Self::new("batch_norm of images", IMAGE, layers).training());
        for (name, norm) in [
            ("layer_norm", LayerSpec::LayerNorm(LayerNorm { epsilon })),
            ("rms_norm", LayerSpec::RmsNorm(RmsNorm { epsilon })),
            ("group_norm", LayerSpec::GroupNorm(GroupNorm { groups: 2, epsilon })),
        ] {
            all.push(Self::new(name, WIDE, vec![norm, Flatten {}.into(), dense(3)]));
        }

        let dropout = LayerSpec::Dropout(Dropout { p: 0.3 });
        all.push(Self::new("dropout", 8, vec![dense(8), dropout, dense(3)]).training());
        let body = vec![dense(6), act(Activation::Tanh), dense(6)];
        for (name, shortcut, scale) in [
            ("residual", vec![], BranchScale::default()),
            ("residual, learned scale", vec![], BranchScale::Learned(0.5)),
            ("residual, projected", vec![dense(6)], BranchScale::default()),
        ] {
            let block = LayerSpec::Residual(Residual { body: body.clone(), shortcut, scale });
            all.push(Self::new(name, 6, vec![block, dense(3)]));
        }
        for (name, cell) in [
            ("rnn", Cell::Rnn { activation: RnnActivation::Tanh }),
            ("lstm", Cell::Lstm),
            ("gru", Cell::Gru),
        ] {
            let layer = LayerSpec::Recurrent(Recurrent { last: true, ..Recurrent::new(cell, 4) });
            all.push(Self::new(name, STEPS, vec![layer, dense(3)]));
            let layer = LayerSpec::Recurrent(Recurrent::new(cell, 4));
            all.push(Self::new(
                format!("{name}, all steps"),
                STEPS,
                vec![layer, GlobalPooling {}.into(), dense(3)],
            ));
        }
        let position = LayerSpec::Position(Position { init: Init::LecunNormal });
        all.push(Self::new("position", STEPS, vec![position, GlobalPooling {}.into(), dense(3)]));
        for causal in [false, true] {
            let attention =
                LayerSpec::Attention(Attention { heads: 2, causal, init: Init::GlorotUniform });
            let name = if causal { "attention, causal" } else { "attention" };
            all.push(Self::new(name, STEPS, vec![attention, GlobalPooling {}.into(), dense(3)]));
        }
        let block = LayerSpec::Transformer(Transformer {
            heads: 2,
            hidden: 8,
            dropout: 0.1,
            causal: false,
        });
        all.push(
            Self::new("transformer", STEPS, vec![block, GlobalPooling {}.into(), dense(3)])
                .training(),
        );
        all.push(Self::new("standardise", 6, vec![Standardise {}.into(), dense(3)]));
        all.push(Self::new("unstandardise", 6, vec![dense(3), Unstandardise {}.into()]));

        let network = || vec![dense(5), act(Activation::Tanh), dense(3)];
        for (name, loss, labelled) in [
            ("cross_entropy", Loss::default(), true),
            ("cross_entropy, smoothed", Loss::CrossEntropy { smoothing: 0.1 }, true),
            ("cross_entropy, distributions", Loss::default(), false),
            ("binary_cross_entropy", Loss::BinaryCrossEntropy { positive_weight: 2.0 }, false),
            ("hinge", Loss::Hinge { margin: 1.0, squared: false }, true),
            ("hinge, squared", Loss::Hinge { margin: 1.0, squared: true }, true),
            ("mse", Loss::Mse, false),
            ("mae", Loss::Mae, false),
            ("huber", Loss::Huber { delta: 0.5 }, false),
            ("log_cosh", Loss::LogCosh, false),
            ("poisson", Loss::Poisson { log_input: true }, false),
            ("kl_divergence", Loss::KlDivergence, false),
            ("brier", Loss::Brier { sigmoid: false }, false),
            ("brier, sigmoid", Loss::Brier { sigmoid: true }, false),
        ] {
            all.push(Self { loss, labelled, ..Self::new(name, 6, network()) });
        }
        let layers = [network(), vec![Unstandardise {}.into()]].concat();
        let standardised = Self::new("mse, standardised targets", 6, layers);
        all.push(Self { loss: Loss::Mse, labelled: false, ..standardised });
        all
    }

    fn check(&self, cpu: Cpu<'_>) -> Result<Finding, Error> {
        let network = Network::new(self.input, &self.layers)?.with_loss(self.loss);
        let draw = |stream, len: usize| -> Vec<f64> {
            (0..len as u64).map(|i| 2.0 * Stream::new(5, stream).uniform_f64(i) - 1.0).collect()
        };
        let params = draw(1, network.layout().len());
        let mut buffers = vec![0.0; network.buffers().len()];
        network.init_buffers(cpu, &mut buffers)?;
        let inputs = draw(2, ROWS * network.inputs());
        let outputs = network.outputs() as u32;
        let labels: Vec<u32> =
            (0..ROWS as u64).map(|i| Stream::new(5, 3).below(i, outputs)).collect();
        let values: Vec<f64> =
            draw(4, ROWS * network.outputs()).iter().map(|x| 0.5 + 0.5 * x).collect();
        let mut rows = values.chunks_exact(network.outputs());
        let next =
            |row: &mut [f64]| rows.next().map(|values| row.copy_from_slice(values)).is_some();
        network.fit_targets(cpu, next, &mut buffers)?;
        let targets =
            if self.labelled { nn::Targets::Labels(&labels) } else { nn::Targets::Values(&values) };
        let weights = Weights { params: &params, buffers: &mut buffers };
        let checks =
            nn::gradcheck(cpu, &network, self.mode, weights, Batch { inputs: &inputs, targets })?;
        let mut finding = Finding {
            check: self.name.clone(),
            elements: 0,
            max_rel_error: 0.0,
            worst: String::new(),
        };
        for check in checks {
            finding.elements += check.elements;
            if check.max_rel_error >= finding.max_rel_error {
                finding.max_rel_error = check.max_rel_error;
                finding.worst = format!("{}[{}]", check.tensor, check.worst);
            }
        }
        Ok(finding)
    }
}

/// Runs all checks in order, and calls `on_finding` with each result.
///
/// # Errors
/// [`Error::Network`] if a network cannot be built or run.
pub fn findings(
    cpu: Cpu<'_>,
    mut on_finding: impl FnMut(&Finding) -> Result<(), Error>,
) -> Result<(), Error> {
    Problem::all().iter().try_for_each(|problem| on_finding(&problem.check(cpu)?))
}
