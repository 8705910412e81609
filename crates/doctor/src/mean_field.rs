//! Mean-field theory of an initial network: the size of its signals, and the depth that they reach.
//!
//! ```text
//! q' = w E[phi(sqrt(q) z)^2] / keep + b      variance of the sums from layer to layer; q its fixed
//!                                            point, z standard normal
//! c' = (w E[phi(u1) phi(u2)] + b) / q        correlation for two inputs; c its stable fixed point,
//!                                            u1 and u2 of variance q and correlation c
//! chi = w E[phi'(sqrt(q) z)^2] / keep        growth of the squared gradient per layer
//! depth scale = 1 / |ln (dc'/dc)|            layers over which two inputs become e times more
//!                                            alike, or forget how alike they were
//! ```
//!
//! `w` is the variance of a weight times the fan-in, `b` that of a bias, `keep` one less the
//! dropout probability. Networks train up to about six depth scales. Poole et al., NeurIPS 2016;
//! Schoenholz et al., ICLR 2017; with dropout Pretorius et al., NeurIPS 2018.

use alloc::vec::Vec;

use crate::network::{initial_tensors, is_normalisation, until_next_weights, weight_layers};
use crate::record::{Layer, Model, Record};
use crate::statistics::median;

/// Depth scales up to which networks train (Schoenholz et al., 2017).
pub const TRAINABLE: f64 = 6.0;

/// Points of an average over a standard normal variable, between -[`RANGE`] and [`RANGE`]. An even
/// number, so that the kink of a rectifier lies between two of them.
const POINTS: usize = 80;

/// Same in two dimensions.
const POINTS_2D: usize = 32;

/// Standard deviations over which averages are taken.
const RANGE: f64 = 6.0;

/// Maximum number of iterations towards a fixed point.
const ITERATIONS: usize = 300;

/// Variances beyond which there is no fixed point.
const VARIANCES: core::ops::Range<f64> = 1e-9..1e9;

/// Numbers of mean-field theory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeanField {
    /// Variance of the sums deep in the network, q. Near 0 or huge if it has no fixed point.
    pub variance: f64,
    /// Standard deviation of the activations of such sums.
    pub activation_std: f64,
    /// Factor of the squared gradient per layer, chi.
    pub chi: f64,
    /// Correlation of the sums for any two inputs deep in the network, c.
    pub correlation: f64,
    /// Depth scale in layers. Infinite at criticality.
    pub depth_scale: f64,
}

impl MeanField {
    /// Theory of layers whose weights have variance `weights` over the fan-in, biases `biases`,
    /// inputs are kept with probability `keep`, and whose activation is `phi`.
    pub fn new(weights: f64, biases: f64, keep: f64, phi: &dyn Fn(f64) -> f64) -> Self {
        let mut q = 1.0;
        for _ in 0..ITERATIONS {
            let root = libm::sqrt(q);
            let next = weights / keep * average(|z| phi(root * z) * phi(root * z)) + biases;
            let (is_settled, is_bounded) =
                (libm::fabs(next - q) <= 1e-9 * q, VARIANCES.contains(&next));
            q = next.clamp(VARIANCES.start, VARIANCES.end);
            if is_settled || !is_bounded {
                break;
            }
        }
        let root = libm::sqrt(q);
        let step = 1e-5 * root;
        let slope = |x: f64| (phi(x + step) - phi(x - step)) / (2.0 * step);
        let chi = weights / keep * average(|z| slope(root * z) * slope(root * z));
        let pair = |c: f64, of: &dyn Fn(f64) -> f64| {
            let rest = libm::sqrt((1.0 - c * c).max(0.0));
            average_2d(|z1, z2| of(root * z1) * of(root * (c * z1 + rest * z2)))
        };
        let (mut c, mut growth) = (1.0, chi);
        let has_fixed_point = q > VARIANCES.start && q < VARIANCES.end;
        // Inputs that are equal stay so if chi is at most 1, and nothing is dropped.
        if has_fixed_point && (chi > 1.0 + 1e-3 || keep < 1.0) {
            c = 0.5;
            for _ in 0..ITERATIONS {
                let next = ((weights * pair(c, phi) + biases) / q).clamp(0.0, 1.0);
                let is_settled = libm::fabs(next - c) < 1e-7;
                c = next;
                if is_settled {
                    break;
                }
            }
            growth = weights * pair(c, &slope);
        }
        let depth_scale = 1.0 / libm::fabs(libm::log(growth));
        let mean = average(|z| phi(root * z));
        let square = average(|z| phi(root * z) * phi(root * z));
        let activation_std = libm::sqrt((square - mean * mean).max(0.0));
        Self { variance: q, activation_std, chi, correlation: c, depth_scale }
    }

    /// Theory of the initial network of `record`: of its plain hidden layers, the medians of
    /// weights and biases, and the activation after most of them. `None` if there are none, or if
    /// their activation is unknown.
    pub fn of(record: &Record) -> Option<Self> {
        let (layers, samples) = (&record.model.layers, initial_tensors(record));
        let all = weight_layers(&record.model);
        let (_, hidden) = all.split_last()?;
        let (mut weights, mut biases, mut kinds) = (Vec::new(), Vec::new(), Vec::new());
        let mut keep = 1.0;
        for &index in hidden {
            let following = until_next_weights(&record.model, index);
            let is_plain = |layer: &Layer| !layer.residual && !is_normalisation(&layer.kind);
            if !layers.get(index).is_some_and(is_plain) || !following.iter().all(is_plain) {
                continue;
            }
            let mut bias = 0.0;
            for (tensor, sample) in record.model.tensors.iter().zip(samples) {
                if tensor.layer != index || tensor.elements == 0 {
                    continue;
                }
                let norm = sample.param_norm?;
                let square = norm * norm / tensor.elements as f64;
                if tensor.weight {
                    weights.push(square * tensor.fan_in as f64);
                } else {
                    bias = square;
                }
            }
            biases.push(bias);
            kinds.extend(following.iter().find(|layer| activation(&layer.kind).is_some()));
            let dropped = following.iter().filter_map(|layer| layer.dropout);
            keep = dropped.fold(keep, |keep: f64, p| keep.min(1.0 - p));
        }
        let count = |kind: &str| kinds.iter().filter(|layer| layer.kind == kind).count();
        let kind = kinds.iter().max_by_key(|layer| count(&layer.kind))?;
        let phi = activation(&kind.kind)?;
        let (weights, biases) = (median(weights)?, median(biases)?);
        (weights > 0.0 && keep > 0.0).then(|| Self::new(weights, biases, keep, &phi))
    }

    /// Number of layers up to which such a network trains.
    pub fn trainable(&self) -> f64 {
        TRAINABLE * self.depth_scale
    }
}

/// Number of layers with weights, those in residual blocks left out.
pub fn plain_layers(model: &Model) -> usize {
    let is_plain = |&index: &usize| model.layers.get(index).is_some_and(|layer| !layer.residual);
    weight_layers(model).into_iter().filter(is_plain).count()
}

/// The activation `kind`, as configuration files spell it; `None` if it is no function of one sum.
fn activation(kind: &str) -> Option<fn(f64) -> f64> {
    Some(match kind {
        "relu" => |x| x.max(0.0),
        "capped_relu" => |x| x.clamp(0.0, 6.0),
        "leaky_relu" => |x| x.max(0.01 * x),
        "tanh" => libm::tanh,
        "hard_tanh" => |x| x.clamp(-1.0, 1.0),
        "sigmoid" => |x| 1.0 / (1.0 + libm::exp(-x)),
        "softsign" => |x| x / (1.0 + libm::fabs(x)),
        "softplus" => |x| x.max(0.0) + libm::log1p(libm::exp(-libm::fabs(x))),
        "elu" => |x| if x > 0.0 { x } else { libm::expm1(x) },
        "selu" => |x| {
            let (scale, alpha) = (1.050_700_987_355_480_5, 1.673_263_242_354_377_2);
            scale * if x > 0.0 { x } else { alpha * libm::expm1(x) }
        },
        "gelu" => |x| 0.5 * x * (1.0 + libm::erf(x * core::f64::consts::FRAC_1_SQRT_2)),
        "silu" => |x| x / (1.0 + libm::exp(-x)),
        _ => return None,
    })
}

/// Points of the midpoint rule, with their weights as a standard normal variable.
fn points(count: usize) -> impl Iterator<Item = (f64, f64)> + Clone {
    let step = 2.0 * RANGE / count as f64;
    (0..count).map(move |i| {
        let z = (i as f64 + 0.5) * step - RANGE;
        (z, libm::exp(-0.5 * z * z))
    })
}

/// Average of `of` over a standard normal variable.
fn average(of: impl Fn(f64) -> f64) -> f64 {
    let (sum, weight) = points(POINTS)
        .fold((0.0, 0.0), |(sum, weight), (z, density)| (sum + density * of(z), weight + density));
    sum / weight
}

/// Average of `of` over two independent ones.
fn average_2d(of: impl Fn(f64, f64) -> f64) -> f64 {
    let (mut sum, mut weight) = (0.0, 0.0);
    for (z1, density) in points(POINTS_2D) {
        for (z2, other) in points(POINTS_2D) {
            sum += density * other * of(z1, z2);
            weight += density * other;
        }
    }
    sum / weight
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fixtures::healthy;

    fn theory(kind: &str, weights: f64, biases: f64, keep: f64) -> MeanField {
        MeanField::new(weights, biases, keep, &activation(kind).expect("a known activation"))
    }

    #[test]
    fn he_initialisation_is_critical_for_rectifiers() {
        let critical = theory("relu", 2.0, 0.0, 1.0);
        assert!((critical.chi - 1.0).abs() < 1e-9 && critical.depth_scale > 1e6, "{critical:?}");
        // Half of the variance passes a rectifier: chi = w / 2, at every variance.
        let small = theory("relu", 1.0, 0.0, 1.0);
        assert!((small.depth_scale - 1.0 / core::f64::consts::LN_2).abs() < 1e-6, "{small:?}");
        let large = theory("relu", 4.0, 0.0, 1.0);
        assert!((large.chi - 2.0).abs() < 1e-9 && large.variance > 1e8, "{large:?}");
        // Pretorius et al.: with dropout the critical weights are 2 keep, and the depth finite.
        let dropped = theory("relu", 2.0 * 0.5, 0.0, 0.5);
        assert!((dropped.chi - 1.0).abs() < 1e-9 && dropped.correlation < 0.9, "{dropped:?}");
        assert!((0.5..10.0).contains(&dropped.depth_scale), "{dropped:?}");
    }

    #[test]
    fn tanh_has_the_phases_of_the_literature() {
        // Without biases tanh is critical at 1: ordered below, chaotic above.
        let ordered = theory("tanh", 0.5, 0.0, 1.0);
        assert!((ordered.chi - 0.5).abs() < 1e-3, "{ordered:?}");
        assert!((ordered.depth_scale - 1.0 / core::f64::consts::LN_2).abs() < 1e-2, "{ordered:?}");
        let chaotic = theory("tanh", 4.0, 0.0, 1.0);
        assert!(chaotic.chi > 1.2 && chaotic.correlation < 1e-3, "{chaotic:?}");
        // Schoenholz et al., figure 5: with biases of variance 0.05, weights of 1.76 are critical.
        let critical = theory("tanh", 1.76, 0.05, 1.0);
        assert!((critical.chi - 1.0).abs() < 0.02 && critical.depth_scale > 40.0, "{critical:?}");
        let away = theory("tanh", 2.5, 0.05, 1.0);
        assert!((2.0..30.0).contains(&away.depth_scale), "{away:?}");
    }

    #[test]
    fn a_fixed_point_is_one_of_its_map() {
        let field = theory("sigmoid", 9.0, 0.3, 1.0);
        let phi = activation("sigmoid").expect("known");
        let root = field.variance.sqrt();
        let next = 9.0 * average(|z| phi(root * z) * phi(root * z)) + 0.3;
        assert!((next - field.variance).abs() < 1e-6 * next, "{field:?}");
        // Half of a rectified normal variable is 0: variance q (1/2 - 1/(2 pi)).
        let rectified = theory("relu", 1.0, 1.0, 1.0);
        let expected = rectified.variance * (0.5 - 0.5 / core::f64::consts::PI);
        let got = rectified.activation_std * rectified.activation_std;
        assert!((got - expected).abs() < 2e-3 * expected, "{rectified:?}");
    }

    #[test]
    fn a_record_without_hidden_layers_has_no_theory() {
        assert!(MeanField::of(&healthy(&[784, 64, 64, 10], "relu")).is_some());
        assert_eq!(MeanField::of(&healthy(&[784, 10], "relu")), None);
        assert_eq!(MeanField::of(&Record::default()), None);
        let unknown = healthy(&[784, 64, 64, 10], "maxout");
        assert_eq!(MeanField::of(&unknown), None);
    }
}
