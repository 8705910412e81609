//! Augmentation: random transforms of training images, drawn again in each epoch.
//!
//! ```text
//! for each image: for each augmentation of the list, with probability p
//!     shift rotate scale shear           affine maps, composed                affine.rs
//!     elastic                            a smooth random displacement field   elastic.rs
//!     brightness contrast noise erase    pixel by pixel                       tone.rs
//!     random                             some of these, drawn
//! composed maps are resampled once, by bilinear interpolation; pixels outside the image are 0
//! ```
//!
//! Every draw is a function of (seed, epoch, index of the image in its set, index in the list), so
//! that threads, batches and interruptions change no bit. Images are augmented in f64. Only
//! training steps augment images; scoring does not.

mod affine;
mod elastic;
mod tone;

use kernels::random::Stream;
use kernels::{Cpu, Isa, math};
use nn::Shape;
use serde::{Deserialize, Serialize};

use self::affine::{Map, Sampler};
use crate::Error;
use crate::data::element::Element;
use crate::data::{Inputs, Labelled, streams};

/// An augmentation and its probability.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Augment {
    /// Probability that an image is changed, 0 to 1. Default 1.
    #[serde(default = "one")]
    pub p: f64,
    /// Transform.
    #[serde(flatten)]
    pub kind: Kind,
}

fn one() -> f64 {
    1.0
}

/// Transform of an image. Its strength is drawn uniformly between the given bounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Kind {
    /// Shift by whole pixels, horizontally and vertically.
    Shift {
        /// Maximum in each direction, 0 to 1024.
        pixels: u32,
    },
    /// Rotation about the centre.
    Rotate {
        /// Maximum angle in either direction, 0 to 180.
        degrees: f64,
    },
    /// Scaling by a factor from `1 - by` to `1 + by`.
    Scale {
        /// Maximum deviation of the factor from 1: at least 0 and below 1.
        by: f64,
    },
    /// Horizontal shear: each row is shifted by at most `by` times its distance from the centre
    /// row.
    Shear {
        /// Maximum slope, 0 to 2.
        by: f64,
    },
    /// Elastic distortion by a smoothed random field (Simard, Steinkraus, Platt, "Best practices
    /// for convolutional neural networks", ICDAR 2003, with `alpha` 34 and `sigma` 4 for MNIST).
    Elastic {
        /// Scale of the smoothed field, whose values are between -1 and 1: pixels, 0 to 1000.
        alpha: f64,
        /// Standard deviation of the Gaussian filter: pixels, above 0 and at most 64.
        sigma: f64,
    },
    /// Change of all pixels by the same amount.
    Brightness {
        /// Maximum change in either direction, 0 to 1; 1 is the range of a byte.
        by: f64,
    },
    /// Differences from the mean pixel times a factor from `1 - by` to `1 + by`.
    Contrast {
        /// Maximum deviation of the factor from 1, 0 to 1.
        by: f64,
    },
    /// Normal noise on each pixel.
    Noise {
        /// Standard deviation, 0 to 1.
        std: f64,
    },
    /// Random erasing: a box filled with 0, with an aspect ratio from 0.3 to 3.3 (Zhong, Zheng,
    /// Kang, Li, Yang, "Random erasing data augmentation", AAAI 2020).
    Erase {
        /// Maximum fraction of the image's area, 0 to 1.
        share: f64,
    },
    /// Transforms drawn from the others with replacement, each with that maximum strength (after
    /// Cubuk, Zoph, Shlens, Le, "RandAugment", NeurIPS 2020).
    Random {
        /// Number of transforms: 1 to 8.
        operations: u32,
        /// Strength, 0 to 1. 1 is a rotation by 30 degrees, a shift by 0.3 of the shorter side,
        /// ....
        magnitude: f64,
    },
}

/// Maximum number of transforms per image: each has a random stream of its own.
const MAX_TRANSFORMS: u32 = 16;

impl Augment {
    /// Checks that the numbers of `list` are in range, and its length.
    ///
    /// # Errors
    /// [`Error::Usage`] names the first number out of range, or the length.
    pub fn check(list: &[Self]) -> Result<(), Error> {
        let transforms: u32 =
            list.iter().fold(0, |sum, augment| sum.saturating_add(augment.kind.transforms()));
        if transforms > MAX_TRANSFORMS {
            return Err(Error::Usage(format!(
                "augment: expected at most {MAX_TRANSFORMS} transforms of an image, got \
                 {transforms} (each of `random` counts; key `augment`)"
            )));
        }
        list.iter().try_for_each(|Self { p, kind }| {
            let (key, got, expected, is_allowed) = kind.range();
            let require = |key, got: f64, expected, is_allowed| match is_allowed {
                true => Ok(()),
                false => {
                    let name = kind.name();
                    Err(Error::Usage(format!(
                        "augment: {name}: {key}: expected {expected}, got {got} (key `augment`)"
                    )))
                }
            };
            require("p", *p, "0 to 1", (0.0..=1.0).contains(p))?;
            if let Kind::Elastic { sigma, .. } = kind {
                require("sigma", *sigma, "above 0 and at most 64", *sigma > 0.0 && *sigma <= 64.0)?;
            }
            if let Kind::Random { operations, .. } = kind {
                require(
                    "operations",
                    f64::from(*operations),
                    "1 to 8",
                    (1..=8).contains(operations),
                )?;
            }
            require(key, got, expected, is_allowed)
        })
    }
}

impl Kind {
    /// Name, as configuration files spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shift { .. } => "shift",
            Self::Rotate { .. } => "rotate",
            Self::Scale { .. } => "scale",
            Self::Shear { .. } => "shear",
            Self::Elastic { .. } => "elastic",
            Self::Brightness { .. } => "brightness",
            Self::Contrast { .. } => "contrast",
            Self::Noise { .. } => "noise",
            Self::Erase { .. } => "erase",
            Self::Random { .. } => "random",
        }
    }

    /// Number of random streams that it uses.
    fn transforms(self) -> u32 {
        match self {
            Self::Random { operations, .. } => operations.saturating_add(1),
            _ => 1,
        }
    }

    /// Name of its strength, value, range, and `true` if the value is in the range.
    fn range(self) -> (&'static str, f64, &'static str, bool) {
        let within =
            |key, got: f64, expected, max: f64| (key, got, expected, (0.0..=max).contains(&got));
        match self {
            Self::Shift { pixels } => within("pixels", f64::from(pixels), "0 to 1024", 1024.0),
            Self::Rotate { degrees } => within("degrees", degrees, "0 to 180", 180.0),
            Self::Scale { by } => ("by", by, "at least 0 and below 1", (0.0..1.0).contains(&by)),
            Self::Shear { by } => within("by", by, "0 to 2", 2.0),
            Self::Elastic { alpha, .. } => within("alpha", alpha, "0 to 1000", 1000.0),
            Self::Brightness { by } | Self::Contrast { by } => within("by", by, "0 to 1", 1.0),
            Self::Noise { std } => within("std", std, "0 to 1", 1.0),
            Self::Erase { share } => within("share", share, "0 to 1", 1.0),
            Self::Random { magnitude, .. } => within("magnitude", magnitude, "0 to 1", 1.0),
        }
    }

    /// Kind number `which` of those that `random` draws from, at the fraction `magnitude` of its
    /// maximum strength. `side` is the shorter side of the image in pixels.
    fn drawn(which: u32, magnitude: f64, side: usize) -> Self {
        match which {
            0 => Self::Shift { pixels: (0.3 * magnitude * side as f64) as u32 },
            1 => Self::Rotate { degrees: 30.0 * magnitude },
            2 => Self::Scale { by: 0.3 * magnitude },
            3 => Self::Shear { by: 0.3 * magnitude },
            4 => Self::Brightness { by: 0.5 * magnitude },
            5 => Self::Contrast { by: 0.9 * magnitude },
            6 => Self::Noise { std: 0.2 * magnitude },
            _ => Self::Erase { share: 0.2 * magnitude },
        }
    }

    /// Number of kinds of [`drawn`](Self::drawn).
    const DRAWN: u32 = 8;
}

/// The augmentation of an epoch.
#[derive(Clone, Copy, Debug)]
pub struct Augmentation<'a> {
    /// Augmentations, in order.
    pub list: &'a [Augment],
    /// Seed of the run.
    pub seed: u64,
    /// Epoch, from 0.
    pub epoch: u32,
    /// Instruction set; changes no bit.
    pub isa: Isa,
}

/// Maximum number of images per task: enough to be worth a task and its buffers.
const TASK: usize = 16;

impl Augmentation<'_> {
    /// Augments `pixels`: the images `indices` of `set`, one after another. Runs on all threads of
    /// the pool that it is called in, if there is one. Rows of a table are unchanged.
    pub fn apply<T: Element>(self, indices: &[u32], set: &Labelled, pixels: &mut [T]) {
        let Shape::Image { height, width, .. } = set.shape() else { return };
        if indices.len() > TASK && rayon_core::current_thread_index().is_some() {
            let half = indices.len() / 2;
            let (pixels, more_pixels) = pixels.split_at_mut(half * set.image_len());
            rayon_core::join(
                || self.apply(&indices[..half], set, pixels),
                || self.apply(&indices[half..], set, more_pixels),
            );
            return;
        }
        let is_bounded = matches!(set.inputs(), Inputs::Bytes(_));
        let mut canvas = Canvas::new(height, width, is_bounded, self.isa);
        for (&index, pixels) in indices.iter().zip(pixels.chunks_exact_mut(height * width)) {
            for (value, pixel) in canvas.pixels.iter_mut().zip(&*pixels) {
                *value = pixel.to_f64();
            }
            canvas.transform(self.list, |number| {
                streams::augmentation(self.seed, self.epoch, index, number)
            });
            for (pixel, &value) in pixels.iter_mut().zip(&canvas.pixels) {
                *pixel = T::from_f64(value);
            }
        }
    }
}

/// An image that is augmented, and its buffers.
struct Canvas {
    height: usize,
    width: usize,
    /// `true` if pixels are clamped to 0 to 1, the range of bytes.
    is_bounded: bool,
    cpu: Cpu<'static>,
    pixels: Vec<f64>,
    sampler: Sampler,
    /// Composed maps that are not resampled yet.
    map: Map,
}

impl Canvas {
    fn new(height: usize, width: usize, is_bounded: bool, isa: Isa) -> Self {
        Self {
            height,
            width,
            is_bounded,
            cpu: Cpu::serial(isa),
            pixels: vec![0.0; height * width],
            sampler: Sampler::new(height, width),
            map: Map::IDENTITY,
        }
    }

    /// Applies the augmentations of `list`, with the random stream of each transform's number.
    fn transform(&mut self, list: &[Augment], stream: impl Fn(u32) -> Stream) {
        let mut number = 0;
        for &Augment { p, kind } in list {
            let draws = stream(number);
            if draws.uniform_f64(0) < p {
                if let Kind::Random { operations, magnitude } = kind {
                    for operation in 0..operations {
                        let which = draws.below(1 + u64::from(operation), Kind::DRAWN);
                        let kind = Kind::drawn(which, magnitude, self.height.min(self.width));
                        self.apply(kind, stream(number + 1 + operation));
                    }
                } else {
                    self.apply(kind, draws);
                }
            }
            number += kind.transforms();
        }
        self.resample();
    }

    /// Applies one transform. Draw 0 of `draws` is that of its probability.
    fn apply(&mut self, kind: Kind, draws: Stream) {
        // Uniform in -1 to 1.
        let signed = |index| 2.0 * draws.uniform_f64(index) - 1.0;
        match kind {
            Kind::Shift { pixels } => {
                let [down, across] = [1, 2]
                    .map(|index| f64::from(draws.below(index, 2 * pixels + 1)) - f64::from(pixels));
                self.map = self.map.then(Map::shift(down, across));
            }
            Kind::Rotate { degrees } => {
                let angle = degrees * signed(1) / 180.0;
                let (sin, cos) = (
                    math::at(self.cpu, math::sin_pi, angle),
                    math::at(self.cpu, math::cos_pi, angle),
                );
                self.map = self.map.then(Map::rotation(sin, cos));
            }
            Kind::Scale { by } => self.map = self.map.then(Map::scaling(1.0 + by * signed(1))),
            Kind::Shear { by } => self.map = self.map.then(Map::shear(by * signed(1))),
            Kind::Elastic { alpha, sigma } => {
                let field = elastic::field(
                    self.cpu,
                    streams::field(draws),
                    [self.height, self.width],
                    alpha,
                    sigma,
                );
                self.sampler.resample(self.map, Some(&field), &mut self.pixels);
                self.map = Map::IDENTITY;
            }
            Kind::Brightness { by } => self.tone(|pixels| tone::brighten(pixels, by * signed(1))),
            Kind::Contrast { by } => {
                self.tone(|pixels| tone::contrast(pixels, 1.0 + by * signed(1)));
            }
            Kind::Noise { std } => {
                let cpu = self.cpu;
                self.tone(|pixels| tone::noise(cpu, streams::field(draws), pixels, std));
            }
            Kind::Erase { share } => {
                let (cpu, size) = (self.cpu, [self.height, self.width]);
                self.tone(|pixels| tone::erase(cpu, draws, pixels, size, share));
            }
            // `transform` applies its parts.
            Kind::Random { .. } => {}
        }
    }

    /// Resamples, then applies `change` to the pixels.
    fn tone(&mut self, change: impl FnOnce(&mut [f64])) {
        self.resample();
        change(&mut self.pixels);
        if self.is_bounded {
            self.pixels.iter_mut().for_each(|pixel| *pixel = pixel.clamp(0.0, 1.0));
        }
    }

    /// Resamples the pixels by the composed maps.
    fn resample(&mut self) {
        if self.map != Map::IDENTITY {
            self.sampler.resample(self.map, None, &mut self.pixels);
            self.map = Map::IDENTITY;
        }
    }
}

#[cfg(test)]
mod tests;
