//! Analytic gradients of `nn`, of parameters and of inputs, compared with fourth-order central
//! differences and with the oracle, on random networks.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use kernels::random::Stream;
use kernels::{Cpu, Isa};
use nn::{Activation, Batch, Init, LayerSpec, Mode, Network, Workspace};
use proptest::prelude::*;
use tests::{differences, oracle};

/// Step of the differences, at which the error of the formula, h^4, is about that of rounding,
/// 1e-16 / h.
const STEP: f64 = 5e-4;

/// The bound on [`differences::worst_error`].
const BOUND: f64 = 1e-7;

/// Minimum distance of a ReLU's inputs to its kink: the differences move them by a few steps.
const MARGIN: f64 = 2e-2;

/// A network and a batch for it.
#[derive(Debug)]
struct Problem {
    layers: Vec<LayerSpec>,
    network: Network,
    params: Vec<f64>,
    input: Vec<f64>,
    labels: Vec<u32>,
}

impl Problem {
    fn draw(layers: Vec<LayerSpec>, inputs: usize, rows: usize, seed: u64) -> Self {
        let network = Network::new(inputs, &layers).unwrap();
        let uniform = |stream, len: usize| -> Vec<f64> {
            (0..len as u64).map(|i| 2.0 * Stream::new(seed, stream).uniform_f64(i) - 1.0).collect()
        };
        let classes = network.outputs() as u32;
        Self {
            params: uniform(100, network.layout().len()),
            input: uniform(101, rows * inputs),
            labels: (0..rows as u64).map(|i| Stream::new(seed, 102).below(i, classes)).collect(),
            layers,
            network,
        }
    }

    fn oracle(&self) -> oracle::Found {
        oracle::run(&self.layers, self.network.inputs(), &self.params, &self.input, &self.labels)
    }

    /// The first problem, from `seed` on, without an input near a kink.
    fn away_from_kinks(
        layers: &[LayerSpec],
        inputs: usize,
        rows: usize,
        seed: u64,
    ) -> Option<Self> {
        (0..200)
            .map(|attempt| Self::draw(layers.to_vec(), inputs, rows, seed.wrapping_add(attempt)))
            .find(|problem| problem.oracle().nearest_kink > MARGIN)
    }

    fn loss(&self, params: &[f64], input: &[f64]) -> f64 {
        let cpu = Cpu::serial(Isa::detect());
        let mut workspace = Workspace::inference(&self.network, cpu, self.labels.len()).unwrap();
        let batch = Batch { inputs: input, targets: self.labels[..].into() };
        self.network.evaluate(cpu, params, batch, &mut workspace).unwrap().mean_loss()
    }

    /// Loss, gradient of the parameters, gradient of the input.
    fn gradients(&self, cpu: Cpu<'_>) -> (f64, Vec<f64>, Vec<f64>) {
        let mut workspace = Workspace::new(&self.network, cpu, self.labels.len()).unwrap();
        let batch = Batch { inputs: &self.input, targets: self.labels[..].into() };
        let (mut grads, mut dinput) =
            (vec![f64::NAN; self.params.len()], vec![f64::NAN; self.input.len()]);
        let score = self
            .network
            .gradients(
                cpu,
                Mode::Eval,
                &self.params,
                batch,
                &mut workspace,
                &mut grads,
                Some(&mut dinput),
            )
            .unwrap();
        (score.mean_loss(), grads, dinput)
    }

    fn check(&self) {
        let oracle = self.oracle();
        let numeric_params =
            differences::gradient(&self.params, STEP, |params| self.loss(params, &self.input));
        let numeric_input =
            differences::gradient(&self.input, STEP, |input| self.loss(&self.params, input));
        for isa in Isa::available() {
            let (loss, grads, dinput) = self.gradients(Cpu::serial(isa));
            assert!(
                (loss - oracle.loss).abs() <= 1e-12 * oracle.loss.abs().max(1.0),
                "{loss} != {}",
                oracle.loss
            );
            for tensor in self.network.layout().tensors() {
                let here = |all: &[f64]| all[tensor.range.clone()].to_vec();
                let numeric = differences::worst_error(&here(&grads), &here(&numeric_params));
                assert!(numeric < BOUND, "{isa} {}: {numeric:e} from differences", tensor.name);
                let exact = differences::worst_error(&here(&grads), &here(&oracle.grads));
                assert!(exact < 1e-11, "{isa} {}: {exact:e} from the oracle", tensor.name);
            }
            let numeric = differences::worst_error(&dinput, &numeric_input);
            assert!(numeric < BOUND, "{isa} input: {numeric:e} from differences");
            let exact = differences::worst_error(&dinput, &oracle.dinput);
            assert!(exact < 1e-11, "{isa} input: {exact:e} from the oracle");
        }
    }
}

const RELU: LayerSpec = LayerSpec::Activation(Activation::Relu);

fn dense(units: usize) -> LayerSpec {
    LayerSpec::dense(units, Init::Zeros)
}

/// Sequences that fuse activations differently: an activation first, last, twice, or none.
#[test]
fn each_order_of_layers_has_the_right_gradient() {
    for layers in [
        vec![dense(3)],
        vec![dense(4), RELU, dense(3)],
        vec![RELU, dense(3)],
        vec![RELU, RELU, dense(3)],
        vec![dense(4), RELU, RELU, dense(3)],
        vec![dense(3), RELU],
        vec![dense(3), RELU, RELU],
        vec![dense(5), dense(4), RELU, dense(3), RELU, dense(2)],
        vec![dense(1)],
    ] {
        for rows in [1, 4] {
            // Of two ReLUs in a row, the second has an input of 0 for every negative input of the
            // first.
            let twice = layers.windows(2).any(|pair| pair == [RELU, RELU]);
            let problem = if twice {
                Problem::draw(layers.clone(), 3, rows, 1)
            } else {
                Problem::away_from_kinks(&layers, 3, rows, 1).unwrap()
            };
            problem.check();
        }
    }
}

fn layers() -> impl Strategy<Value = Vec<LayerSpec>> {
    let hidden = prop::collection::vec((1_usize..7, any::<bool>()), 0..4);
    (hidden, 1_usize..6).prop_map(|(hidden, classes)| {
        let mut layers: Vec<_> = hidden
            .into_iter()
            .flat_map(|(units, relu)| [Some(dense(units)), relu.then_some(RELU)])
            .flatten()
            .collect();
        layers.push(dense(classes));
        layers
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        max_global_rejects: 4096,
        ..ProptestConfig::default()
    })]

    #[test]
    fn random_networks_have_the_right_gradient(
        layers in layers(), inputs in 1_usize..6, rows in 1_usize..5, seed: u64,
    ) {
        let problem = Problem::away_from_kinks(&layers, inputs, rows, seed);
        prop_assume!(problem.is_some());
        problem.unwrap().check();
    }
}
