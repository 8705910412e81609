//! Attribution of a prediction to pixels: saliency and integrated gradients.
//!
//! ```text
//! saliency      d log p / dx                              Simonyan, Vedaldi, Zisserman 2014
//! integrated    x * mean of d log p / dx at a x, a in [0, 1]    Sundararajan, Taly, Yan, ICML 2017
//! ```
//!
//! p is the probability of a class, x the image and 0 a black image. The integrated gradients of
//! all pixels add up to log p(x) - log p(0), but for the error of the sum that approximates the
//! integral: they are the contribution of each pixel. Saliency is the effect of a small change. The
//! [report](crate::report) draws both.

use kernels::Cpu;
use nn::{Batch, Mode, Network, Workspace};

use crate::Error;
use crate::data::element::Element;
use crate::run::weights::ModelWeights;

/// Number of points between the black image and the image: midpoints of as many equal parts.
const POINTS: usize = 64;

/// Attribution of a prediction to the pixels of an image, in nats: one number per pixel.
#[derive(Clone, Debug, PartialEq)]
pub struct Maps {
    /// Gradient per unit of brightness (0 black, 1 white).
    pub saliency: Vec<f64>,
    /// Integrated gradient.
    pub integrated: Vec<f64>,
}

/// Buffers for attribution maps.
#[derive(Clone, Debug)]
pub struct Mapper<T> {
    workspace: Workspace<T>,
    grads: Vec<T>,
    inputs: Vec<T>,
    dinputs: Vec<T>,
}

impl<T: Element> Mapper<T> {
    /// Buffers for `network`.
    ///
    /// # Errors
    /// [`Error::Network`] if there is not enough memory.
    pub fn new(network: &Network, cpu: Cpu<'_>) -> Result<Self, Error> {
        let pixels = POINTS * network.inputs();
        Ok(Self {
            workspace: Workspace::new(network, cpu, POINTS)?,
            grads: nn::zeros(network.layout().len())?,
            inputs: nn::zeros(pixels)?,
            dinputs: nn::zeros(pixels)?,
        })
    }

    /// Computes the maps of `image`, whose pixels are bytes, for the prediction `class`.
    ///
    /// # Errors
    /// [`Error::Network`] if image or class do not fit the network.
    pub fn maps(
        &mut self,
        network: &Network,
        cpu: Cpu<'_>,
        weights: &mut ModelWeights<T>,
        image: &[u8],
        class: u32,
    ) -> Result<Maps, Error> {
        if image.len() != network.inputs() {
            let (operand, expected, got) = ("image", network.inputs(), image.len());
            return Err(nn::Error::Length { operand, expected, got }.into());
        }
        let gradient = |row: &[T]| row.iter().map(|d| -d.to_f64()).collect::<Vec<_>>();
        self.fill(image, &[1.0]);
        let saliency = gradient(self.run(network, cpu, weights, image.len(), class)?);

        let points: Vec<f64> = (0..POINTS).map(|i| (i as f64 + 0.5) / POINTS as f64).collect();
        self.fill(image, &points);
        // The loss is the mean over the points: their gradients are only added.
        let dinputs = self.run(network, cpu, weights, POINTS * image.len(), class)?;
        let mut integrated = vec![0.0; image.len()];
        for row in dinputs.chunks_exact(image.len().max(1)) {
            for (sum, d) in integrated.iter_mut().zip(gradient(row)) {
                *sum += d;
            }
        }
        for (sum, &pixel) in integrated.iter_mut().zip(image) {
            *sum *= f64::from(pixel) / 255.0;
        }
        Ok(Maps { saliency, integrated })
    }

    /// Fills a row of the inputs for each of `points`: the image times that number.
    fn fill(&mut self, image: &[u8], points: &[f64]) {
        for (row, point) in self.inputs.chunks_exact_mut(image.len().max(1)).zip(points) {
            for (input, &pixel) in row.iter_mut().zip(image) {
                *input = T::from_f64(point * f64::from(pixel) / 255.0);
            }
        }
    }

    /// Computes the gradient of the mean of `-log p(class)` over the first `len` input elements.
    fn run(
        &mut self,
        network: &Network,
        cpu: Cpu<'_>,
        weights: &mut ModelWeights<T>,
        len: usize,
        class: u32,
    ) -> Result<&[T], Error> {
        let Self { workspace, grads, inputs, dinputs } = self;
        let labels = vec![class; len / network.inputs()];
        let batch = Batch { inputs: &inputs[..len], targets: labels[..].into() };
        let dinputs = &mut dinputs[..len];
        network.gradients(
            cpu,
            Mode::Eval,
            weights.view(),
            batch,
            workspace,
            grads,
            Some(dinputs),
        )?;
        Ok(dinputs)
    }
}

#[cfg(test)]
mod tests {
    use nn::{Activation, Init, LayerSpec, Shape};

    use super::*;

    #[test]
    fn integrated_gradients_add_up_and_saliency_is_the_slope() {
        let shape = Shape::Image { height: 3, width: 3, channels: 1 };
        let layers = [
            LayerSpec::dense(7, Init::HeNormal),
            LayerSpec::Activation(Activation::Tanh),
            LayerSpec::dense(4, Init::GlorotUniform),
        ];
        let network = Network::new(shape, &layers).expect("layers that fit");
        let cpu = Cpu::detect();
        let mut weights = ModelWeights::<f64>::initial(&network, cpu, 5).expect("memory");
        let image = [0_u8, 255, 17, 30, 0, 128, 200, 90, 1];
        let maps = Mapper::new(&network, cpu)
            .expect("memory")
            .maps(&network, cpu, &mut weights, &image, 2)
            .expect("fits");

        let mut workspace = Workspace::inference(&network, cpu, 1).expect("memory");
        let mut log_p = |pixels: &[f64]| {
            let batch = Batch { inputs: pixels, targets: (&[2]).into() };
            -network.evaluate(cpu, weights.view(), batch, &mut workspace).expect("fits").loss
        };
        let x = image.map(|pixel| f64::from(pixel) / 255.0);
        let sum: f64 = maps.integrated.iter().sum();
        let expected = log_p(&x) - log_p(&[0.0; 9]);
        assert!((sum - expected).abs() < 1e-3 * expected.abs(), "{sum}, expected {expected}");
        // A black pixel contributes nothing, though a change of it would.
        assert!(maps.integrated[0] == 0.0 && maps.saliency[0] != 0.0);

        for pixel in 0..9 {
            let shifted = |by: f64| {
                let mut x = x;
                x[pixel] += by;
                x
            };
            let slope = (log_p(&shifted(1e-5)) - log_p(&shifted(-1e-5))) / 2e-5;
            assert!(
                (slope - maps.saliency[pixel]).abs() < 1e-8,
                "{slope}, got {}",
                maps.saliency[pixel]
            );
        }
    }
}
