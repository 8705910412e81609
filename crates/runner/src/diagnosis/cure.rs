//! Cures as changes of a configuration.
//!
//! A cure has several forms where its size matters: a learning rate is lowered by 3, 10 or 100. A
//! form that changes nothing, or that the network has no room for, is left out.

use doctor::{Cure, Record};
use nn::init::Lsuv;
use nn::{
    Activation, BatchNorm, BranchScale, Convolution, Dense, Dropout, EarlyStopping, Init,
    LayerNorm, LayerSpec, Loss, Optimizer, Recurrent, Residual, Schedule, Standardise, Transformer,
    Unstandardise,
};

use crate::run::config::{Config, Dtype, Sampler};

/// A changed configuration, and the change in words.
#[derive(Clone, Debug, PartialEq)]
pub struct Form {
    /// The cure.
    pub cure: Cure,
    /// The change: `lr = 0.001`.
    pub change: String,
    /// The changed configuration.
    pub config: Config,
}

/// Forms of `cure` for the resolved configuration `config` of the run that `record` measured.
pub fn forms(cure: Cure, config: &Config, record: &Record) -> Vec<Form> {
    let mut forms = Vec::new();
    let mut add = |change: &str, apply: &dyn Fn(&mut Config)| {
        let mut changed = config.clone();
        apply(&mut changed);
        if changed != *config && changed.check().is_ok() {
            forms.push(Form { cure, change: change.into(), config: changed });
        }
    };
    let mut layers = |change: &str, apply: &dyn Fn(&mut Vec<LayerSpec>)| {
        add(change, &|config| apply(config.layers.get_or_insert_default()));
    };
    let rate = config.rate();
    match cure {
        Cure::MatchedInitialiser => layers("initialisers that fit the activations", &|layers| {
            initialise(layers, &matched);
        }),
        Cure::OrthogonalInitialiser => layers("orthogonal initialisers", &|layers| {
            initialise(layers, &orthogonal);
        }),
        Cure::Lsuv => add("lsuv", &|config| config.lsuv = Some(Lsuv::default())),
        Cure::Relu => replace_activations(&mut layers, Activation::Relu, "ReLU, He's initialiser"),
        Cure::LeakyRelu => replace_activations(
            &mut layers,
            Activation::LeakyRelu { slope: 0.01 },
            "leaky ReLU, He's initialiser",
        ),
        Cure::Tanh => {
            replace_activations(&mut layers, Activation::Tanh, "tanh, Glorot's initialiser");
        }
        Cure::BatchNorm => layers("batch norm before hidden activations", &|layers| {
            normalise(layers, &BatchNorm::default().into());
        }),
        Cure::LayerNorm => layers("layer norm before hidden activations", &|layers| {
            normalise(layers, &LayerNorm::default().into());
        }),
        Cure::Residual => layers("identity shortcuts", &add_shortcuts),
        Cure::LessDepth => layers("4 hidden layers", &|layers| shorten(layers, 4)),
        Cure::MoreWidth => {
            layers("hidden layers of at least 64 units", &|layers| widen(layers, 64));
        }
        Cure::ClipNorm => {
            let limit = rounded(typical_norm(record).unwrap_or(1.0));
            add(&format!("clip_norm = {limit}"), &|config| config.clip_norm = Some(limit));
        }
        Cure::RaiseClip => add("no clipping", &|config| {
            config.clip_norm = None;
            config.clip.clear();
        }),
        Cure::LowerRate => {
            for divisor in [3.0, 10.0, 100.0, 1000.0] {
                let lr = rounded(rate / divisor);
                add(&format!("lr = {lr}"), &|config| config.lr = Some(lr));
            }
        }
        Cure::RaiseRate => {
            for factor in [3.0, 10.0, 100.0, 1000.0] {
                let lr = rounded(rate * factor);
                add(&format!("lr = {lr}"), &|config| config.lr = Some(lr));
            }
        }
        Cure::RangeTest => {
            for factor in [1.0, 0.1] {
                let lr = rounded(config.optimizer.usual_rate() * factor);
                add(&format!("lr = {lr}"), &|config| config.lr = Some(lr));
            }
        }
        Cure::WarmUp => add("warm-up", &|config| {
            let then = Box::new(config.schedule.clone());
            let epochs = f64::from(config.epochs) / 10.0;
            config.schedule = Schedule::Warmup { epochs, start: 0.01, then };
        }),
        Cure::ConstantSchedule => {
            add("constant rate", &|config| config.schedule = Schedule::Constant);
        }
        Cure::CosineSchedule => {
            add("cosine schedule", &|config| config.schedule = Schedule::Cosine { end: 0.0 });
        }
        Cure::Adam => add("Adam, lr = 0.001", &|config| {
            config.optimizer = Optimizer::adam();
            config.lr = Some(1e-3);
        }),
        Cure::UsualOptimizer => {
            let kind = &record.model.optimizer.kind;
            // Momenta that are wrong are those of SGD or Adam by another setting.
            let usual = Optimizer::named(if kind == "sgd" { "momentum" } else { kind });
            let usual = usual.unwrap_or_else(Optimizer::adam);
            let lr = usual.usual_rate();
            add(&format!("{kind} as usual, lr = {rate}"), &|config| config.optimizer = usual);
            add(&format!("{kind} as usual, lr = {lr}"), &|config| {
                (config.optimizer, config.lr) = (usual, Some(lr));
            });
        }
        Cure::SmallerBatch => {
            for batch in [128, 32] {
                if batch < config.batch {
                    add(&format!("batch = {batch}"), &|config| config.batch = batch);
                }
            }
        }
        Cure::LargerBatch => {
            for batch in [32, 128] {
                if batch > config.batch {
                    add(&format!("batch = {batch}"), &|config| config.batch = batch);
                }
            }
        }
        Cure::StandardiseInputs => layers("standardised inputs", &|layers| {
            if !matches!(layers.first(), Some(LayerSpec::Standardise(_))) {
                layers.insert(0, Standardise {}.into());
            }
        }),
        Cure::StandardiseTargets => layers("standardised targets", &|layers| {
            if layers.last() != Some(&Unstandardise {}.into()) {
                layers.push(Unstandardise {}.into());
            }
        }),
        Cure::LessDropout => {
            for p in [0.0, 0.2] {
                layers(&format!("dropout of at most {p}"), &|layers| limit_dropout(layers, p));
            }
        }
        Cure::MoreDropout => layers("dropout of 0.3 before the last layer", &|layers| {
            let last = layers.len().saturating_sub(1);
            layers.insert(last, Dropout { p: 0.3 }.into());
        }),
        Cure::LessRegularisation => add("no decay, no penalties", &|config| {
            if let Some(optimizer) = without_decay(&config.optimizer) {
                config.optimizer = optimizer;
            }
            config.bounds.clear();
        }),
        Cure::WeightDecay => add("AdamW with decay 0.1", &|config| {
            config.optimizer = with_decay(0.1);
            config.lr = Some(1e-3);
        }),
        Cure::EarlyStopping => {
            add("early stopping", &|config| config.early_stopping = Some(EarlyStopping::default()));
        }
        Cure::MoreEpochs => add("twice as many epochs", &|config| {
            config.epochs = config.epochs.saturating_mul(2);
        }),
        Cure::F32 => add("dtype = f32", &|config| config.dtype = Dtype::F32),
        Cure::F64 => add("dtype = f64", &|config| config.dtype = Dtype::F64),
        Cure::MatchedLoss => add("the loss of the task", &|config| {
            config.loss = Some(match record.model.task {
                doctor::record::Task::Classification => Loss::default(),
                _ => Loss::Mse,
            });
        }),
        Cure::LinearOutput => layers("a linear output layer", &linear_output),
        Cure::Unfreeze => add("no frozen layers", &|config| {
            config.groups.retain(|group| !group.frozen && group.rate > 0.0);
        }),
        Cure::OtherSeed => add("another seed", &|config| config.seed = config.seed.wrapping_add(1)),
        Cure::BalanceClasses => {
            add("balanced sampler", &|config| config.sampler = Sampler::Balanced);
        }
        Cure::Shuffle => add("shuffled examples", &|config| config.sampler = Sampler::Shuffle),
        Cure::ZeroBiases => layers("biases that start at 0", &|layers| zero_biases(layers)),
        // Changes of the data, or of a program.
        _ => {}
    }
    forms
}

/// `value` with two significant digits.
fn rounded(value: f64) -> f64 {
    format!("{value:.1e}").parse().unwrap_or(value)
}

/// Median norm of the gradient over the recorded steps that are finite.
fn typical_norm(record: &Record) -> Option<f64> {
    let norms = record.steps.iter().filter_map(|step| step.grad_norm);
    doctor::statistics::median(norms).filter(|norm| *norm > 0.0)
}

/// Change of the layers.
type Change<'a> = &'a dyn Fn(&mut Vec<LayerSpec>);

/// Adds a form that replaces the hidden activations, with initialisers that fit.
fn replace_activations(
    layers: &mut dyn FnMut(&str, Change<'_>),
    activation: Activation,
    change: &str,
) {
    layers(change, &|layers| {
        let last = last_weights(layers);
        for layer in layers.iter_mut().take(last) {
            if matches!(layer, LayerSpec::Activation(_)) {
                *layer = LayerSpec::Activation(activation);
            }
        }
        initialise(layers, &matched);
    });
}

/// Index of the last layer with weights, the output layer; 0 if there is none.
fn last_weights(layers: &[LayerSpec]) -> usize {
    layers.iter().rposition(has_weights).unwrap_or(0)
}

fn has_weights(layer: &LayerSpec) -> bool {
    matches!(layer, LayerSpec::Dense(_) | LayerSpec::Convolution(_) | LayerSpec::Recurrent(_))
}

/// The next activation after layer `index`.
fn activation_after(layers: &[LayerSpec], index: usize) -> Option<Activation> {
    layers.get(index + 1..)?.iter().take_while(|layer| !has_weights(layer)).find_map(|layer| {
        match layer {
            LayerSpec::Activation(activation) => Some(*activation),
            _ => None,
        }
    })
}

/// Initialiser that preserves the variance through `activation`.
fn matched(activation: Option<Activation>) -> Init {
    match activation {
        Some(
            Activation::Relu
            | Activation::CappedRelu { .. }
            | Activation::LeakyRelu { .. }
            | Activation::Elu { .. }
            | Activation::Gelu
            | Activation::GeluTanh
            | Activation::Silu
            | Activation::Mish
            | Activation::Softplus,
        ) => Init::HeNormal,
        Some(Activation::Selu) => Init::LecunNormal,
        _ => Init::GlorotUniform,
    }
}

/// Orthogonal initialiser with the gain of `activation`: sqrt(2) for ReLU and its kin.
fn orthogonal(activation: Option<Activation>) -> Init {
    match matched(activation) {
        Init::HeNormal => Init::ScaledOrthogonal { gain: std::f64::consts::SQRT_2 },
        _ => Init::Orthogonal,
    }
}

/// Sets the initialiser of every layer with weights, in blocks too.
fn initialise(layers: &mut [LayerSpec], of: &dyn Fn(Option<Activation>) -> Init) {
    for index in 0..layers.len() {
        let fitting = of(activation_after(layers, index));
        match &mut layers[index] {
            LayerSpec::Dense(Dense { init, .. })
            | LayerSpec::Convolution(Convolution { init, .. }) => *init = fitting,
            LayerSpec::Recurrent(Recurrent { init, recurrent_init, .. }) => {
                (*init, *recurrent_init) = (Init::GlorotUniform, Init::Orthogonal);
            }
            LayerSpec::Residual(Residual { body, shortcut, .. }) => {
                initialise(body, of);
                initialise(shortcut, of);
            }
            _ => {}
        }
    }
}

/// Lets the biases of every layer start at 0, in blocks too.
fn zero_biases(layers: &mut [LayerSpec]) {
    for layer in layers {
        match layer {
            LayerSpec::Dense(Dense { bias_init, .. })
            | LayerSpec::Convolution(Convolution { bias_init, .. }) => *bias_init = Init::Zeros,
            LayerSpec::Residual(Residual { body, shortcut, .. }) => {
                zero_biases(body);
                zero_biases(shortcut);
            }
            _ => {}
        }
    }
}

/// Inserts `norm` before each hidden activation that follows weights directly.
fn normalise(layers: &mut Vec<LayerSpec>, norm: &LayerSpec) {
    let mut index = 1;
    while index < layers.len() {
        let hidden = matches!(layers[index], LayerSpec::Activation(_))
            && has_weights(&layers[index - 1])
            && index < last_weights(layers);
        if hidden {
            layers.insert(index, norm.clone());
            index += 1;
        }
        index += 1;
    }
}

/// Wraps each hidden pair of a dense layer and its activation whose width does not change in a
/// residual block.
fn add_shortcuts(layers: &mut Vec<LayerSpec>) {
    let mut width = None;
    let mut index = 0;
    while index + 1 < last_weights(layers) {
        if let LayerSpec::Dense(Dense { units, .. }) = layers[index] {
            let keeps = width == Some(units);
            width = Some(units);
            if keeps && matches!(layers[index + 1], LayerSpec::Activation(_)) {
                let body: Vec<_> = layers.drain(index..index + 2).collect();
                let (shortcut, scale) = (Vec::new(), BranchScale::default());
                layers.insert(index, Residual { body, shortcut, scale }.into());
            }
        }
        index += 1;
    }
}

/// Keeps at most `depth` of the hidden dense layers of equal width, with their activations.
fn shorten(layers: &mut Vec<LayerSpec>, depth: usize) {
    let (mut hidden, mut width) = (0, None);
    let last = last_weights(layers);
    let mut kept = Vec::new();
    let mut skipping = false;
    for (index, layer) in layers.drain(..).enumerate() {
        if let (LayerSpec::Dense(Dense { units, .. }), true) = (&layer, index < last) {
            hidden += 1;
            skipping = hidden > depth && width == Some(*units);
            width = Some(*units);
        } else if index >= last {
            skipping = false;
        }
        if !skipping {
            kept.push(layer);
        }
    }
    *layers = kept;
}

/// Widens hidden dense layers to at least `least` units.
fn widen(layers: &mut [LayerSpec], least: usize) {
    let last = last_weights(layers);
    for layer in layers.iter_mut().take(last) {
        match layer {
            LayerSpec::Dense(Dense { units, .. }) => *units = (*units).max(least),
            LayerSpec::Convolution(Convolution { filters, groups: 1, .. }) => {
                *filters = (*filters).max(16);
            }
            _ => {}
        }
    }
}

/// Bounds the dropout probabilities by `most`; 0 removes the layers.
fn limit_dropout(layers: &mut Vec<LayerSpec>, most: f64) {
    layers.retain(|layer| most > 0.0 || !matches!(layer, LayerSpec::Dropout(_)));
    for layer in layers {
        match layer {
            LayerSpec::Dropout(Dropout { p }) => *p = p.min(most),
            LayerSpec::Transformer(Transformer { dropout, .. }) => *dropout = dropout.min(most),
            LayerSpec::Residual(Residual { body, shortcut, .. }) => {
                limit_dropout(body, most);
                limit_dropout(shortcut, most);
            }
            _ => {}
        }
    }
}

/// Removes activations and dropout after the last layer with weights.
fn linear_output(layers: &mut Vec<LayerSpec>) {
    let last = last_weights(layers);
    let mut index = 0;
    layers.retain(|layer| {
        let is_extra =
            index > last && matches!(layer, LayerSpec::Activation(_) | LayerSpec::Dropout(_));
        index += 1;
        !is_extra
    });
}

/// `optimizer` without weight decay and penalties; `None` if it has none.
fn without_decay(optimizer: &Optimizer) -> Option<Optimizer> {
    let mut settings = toml::Value::try_from(optimizer).ok()?;
    settings.as_table_mut()?.remove("decay")?;
    settings.try_into().ok()
}

/// Adam with decoupled weight decay.
fn with_decay(decay: f64) -> Optimizer {
    Optimizer::Adam(nn::optimizer::Adam {
        decay: nn::optimizer::Decay::decoupled(decay),
        ..nn::optimizer::Adam::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::preset::{Deep, Preset};

    fn changed(cure: Cure, layers: Vec<LayerSpec>) -> Vec<LayerSpec> {
        let config = Config { layers: Some(layers), ..Config::default() };
        let forms = forms(cure, &config, &Record::default());
        forms.first().and_then(|form| form.config.layers.clone()).unwrap_or_default()
    }

    fn sigmoids(depth: u32) -> Vec<LayerSpec> {
        let activation = LayerSpec::Activation(Activation::Sigmoid);
        Deep { depth, width: 32, activation, init: Init::Normal { std: 0.01 } }.layers(10)
    }

    #[test]
    fn initialisers_fit_the_activation_that_follows() {
        let layers = changed(Cure::MatchedInitialiser, sigmoids(3));
        assert_eq!(layers[0], LayerSpec::dense(32, Init::GlorotUniform));
        let layers = changed(Cure::Relu, sigmoids(3));
        assert_eq!(layers[0], LayerSpec::dense(32, Init::HeNormal));
        assert_eq!(layers[1], LayerSpec::Activation(Activation::Relu));
        assert_eq!(layers[6], LayerSpec::dense(10, Init::GlorotUniform));
    }

    #[test]
    fn biases_start_at_zero_in_blocks_too() {
        let biased = LayerSpec::Dense(Dense {
            units: 32,
            init: Init::HeNormal,
            bias: true,
            bias_init: Init::Constant { value: -20.0 },
        });
        let body = vec![biased.clone()];
        let block: LayerSpec =
            Residual { body, shortcut: Vec::new(), scale: BranchScale::default() }.into();
        let layers = changed(Cure::ZeroBiases, vec![biased, block, sigmoids(0).remove(0)]);
        let plain = LayerSpec::dense(32, Init::HeNormal);
        assert_eq!(layers[0], plain);
        assert!(matches!(&layers[1], LayerSpec::Residual(block) if block.body == [plain.clone()]));
    }

    #[test]
    fn depth_norms_and_shortcuts_leave_the_output_layer() {
        let layers = changed(Cure::LessDepth, sigmoids(9));
        assert_eq!(layers.len(), 2 * 4 + 1);
        let layers = changed(Cure::LayerNorm, sigmoids(3));
        assert_eq!(layers.len(), 3 * 3 + 1);
        let layers = changed(Cure::Residual, sigmoids(3));
        assert!(matches!(layers[2], LayerSpec::Residual(_)));
        assert_eq!(layers.len(), 2 + 2 + 1);
        let mut layers = sigmoids(1);
        layers.push(LayerSpec::Activation(Activation::Relu));
        assert_eq!(changed(Cure::LinearOutput, layers).len(), 3);
    }

    #[test]
    fn every_form_changes_the_configuration_and_builds() {
        let config = Config {
            layers: Some(sigmoids(6)),
            groups: vec![nn::Group::frozen(&["layers.0.*"])],
            clip_norm: Some(1e-9),
            dtype: Dtype::Bf16,
            preset: Preset::DeepMlp,
            lr: Some(0.01),
            ..Config::default()
        };
        for cure in [Cure::LowerRate, Cure::RaiseClip, Cure::Unfreeze, Cure::F32, Cure::Adam] {
            assert!(!forms(cure, &config, &Record::default()).is_empty(), "{cure}");
        }
        assert_eq!(forms(Cure::LowerRate, &config, &Record::default())[1].config.lr, Some(0.001));
        assert!(forms(Cure::CorrectLabels, &config, &Record::default()).is_empty());
        for cure in [Cure::Lsuv, Cure::Residual, Cure::BatchNorm, Cure::LessRegularisation] {
            for form in forms(cure, &config, &Record::default()) {
                let layers = form.config.layers.expect("layers");
                nn::Network::new(784, &layers).expect("layers that fit");
            }
        }
    }
}
