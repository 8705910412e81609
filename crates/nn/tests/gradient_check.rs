//! The check of a few gradients finds a wrong one, and takes neither kinks nor rounding for it.

use kernels::{Cpu, Isa};
use nn::layer::{Backward, Describe, Forward, Layer};
use nn::{
    Activation, Batch, BatchNorm, Check, Error, Float, Init, LayerSpec, Mode, Network, Options,
    Registry, Shape, gradcheck_largest,
};

/// y = 2 x, with the gradient of y = `slope` x.
#[derive(Debug)]
struct Double {
    shape: Shape,
    slope: f64,
}

impl Describe for Double {
    fn output(&self) -> Shape {
        self.shape
    }
}

impl<T: Float> Layer<T> for Double {
    fn forward(&self, pass: Forward<'_, T>) -> Result<(), Error> {
        for (y, &x) in pass.y.iter_mut().zip(pass.x) {
            *y = x;
            *y += x;
        }
        Ok(())
    }

    fn backward(&self, pass: Backward<'_, T>) -> Result<(), Error> {
        for (dx, &dy) in pass.dx.into_iter().flatten().zip(&*pass.dy) {
            *dx = dy;
            *dx *= T::from_f64(self.slope);
        }
        Ok(())
    }
}

/// Checks `elements` gradients of a network on two rows of `inputs`, with the loss of classes.
fn check(layers: &[LayerSpec], slope: f64, inputs: &[f64], elements: usize) -> Vec<Check> {
    let cpu = Cpu::serial(Isa::detect());
    let mut registry = Registry::new();
    registry.add("double", move |shape, _, _| Ok(Box::new(Double { shape, slope })));
    let network = Network::with_registry(inputs.len() / 2, layers, &registry).expect("a network");
    let mut params = vec![0.0; network.layout().len()];
    network.init(cpu, 7, &mut params).expect("parameters");
    let mut buffers = vec![0.0; network.buffers().len()];
    network.init_buffers(cpu, &mut buffers).expect("buffers");
    let weights = nn::Weights { params: &params, buffers: &mut buffers };
    let batch = Batch { inputs, targets: (&[0, 1]).into() };
    let mode = Mode::Train { seed: 1, step: 0 };
    gradcheck_largest(cpu, &network, mode, weights, batch, elements).expect("passes")
}

fn largest_error(checks: &[Check]) -> f64 {
    checks.iter().map(|check| check.max_rel_error).fold(0.0, f64::max)
}

fn double() -> LayerSpec {
    LayerSpec::custom("double", Options::new())
}

const INPUTS: [f64; 6] = [0.3, -0.8, 0.5, 0.9, 0.1, -0.4];

#[test]
fn a_wrong_gradient_is_found_and_a_right_one_is_not() {
    let layers =
        [LayerSpec::dense(4, Init::HeNormal), double(), LayerSpec::dense(2, Init::HeNormal)];
    let right = check(&layers, 2.0, &INPUTS, 8);
    assert_eq!(right.iter().map(|check| check.elements).sum::<usize>(), 8);
    assert!(largest_error(&right) < 1e-8, "{right:?}");
    let wrong = check(&layers, 1.9, &INPUTS, 8);
    assert!((largest_error(&wrong) - 0.05).abs() < 1e-6, "{wrong:?}");
    // The gradient of the last layer does not pass through the wrong one.
    assert!(largest_error(&wrong[2..]) < 1e-8, "{wrong:?}");
}

#[test]
fn a_kink_at_the_very_value_is_no_error() {
    // Inputs of 0 and biases of 0: every unit of the first layer is at the kink of its ReLU.
    let layers = [
        LayerSpec::dense(4, Init::HeNormal),
        Activation::Relu.into(),
        LayerSpec::dense(2, Init::HeNormal),
    ];
    let checks = check(&layers, 2.0, &[0.0; 6], 12);
    assert!(largest_error(&checks) < 1e-8, "{checks:?}");
    let biases = &checks[1];
    assert_eq!((&biases.tensor[..], biases.elements), ("layers.0.bias", 0), "{biases:?}");
    assert!(biases.kinks > 0, "{biases:?}");
}

#[test]
fn a_gradient_that_is_rounding_alone_is_no_error() {
    // Batch norm subtracts the bias of the layer before it again.
    let layers = [
        LayerSpec::dense(4, Init::HeNormal),
        LayerSpec::from(BatchNorm::default()),
        Activation::Tanh.into(),
        LayerSpec::dense(2, Init::HeNormal),
    ];
    let inputs = [0.3, -0.8, 0.5, 0.9, 0.1, -0.4];
    let checks = check(&layers, 2.0, &inputs, 12);
    assert!(largest_error(&checks) < 1e-6, "{checks:?}");
}
