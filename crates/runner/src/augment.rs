//! Augmentation: training images changed at random, anew in each epoch, so that a network sees no image twice.
//!
//! ```text
//! for each image on its own: for each augmentation of the list, with its chance p
//!     shift rotate scale shear       a map of places, composed with those before it      affine.rs
//!     elastic                        that map, and a smooth random field besides         elastic.rs
//!     brightness contrast noise erase         pixel by pixel                             tone.rs
//!     random                         some of these, drawn
//! whatever maps are composed are resampled once, by linear interpolation; beyond the edge lies 0
//! ```
//!
//! What is drawn is a function of (seed, epoch, place of the image in its set, place in the list), so that threads, batches
//! and interruptions change no bit. Images are augmented in f64. A step of training asks for it, scoring never does.

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

/// A change of images, and how many of them it befalls.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Augment {
    /// The share of the images that are changed, 0 to 1. Default 1.
    #[serde(default = "one")]
    pub p: f64,
    /// What is done to them.
    #[serde(flatten)]
    pub kind: Kind,
}

fn one() -> f64 {
    1.0
}

/// What is done to an image. Each draws how strongly, evenly between the bounds that are given.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Kind {
    /// Moved by whole pixels, at most so many across and so many down.
    Shift {
        /// 0 to 1024.
        pixels: u32,
    },
    /// Turned about its middle, at most so far either way.
    Rotate {
        /// 0 to 180.
        degrees: f64,
    },
    /// Made larger or smaller: by a factor of at least `1 - by`, at most `1 + by`.
    Scale {
        /// At least 0 and below 1.
        by: f64,
    },
    /// Slanted: moved across by at most `by` times the distance from the middle row.
    Shear {
        /// 0 to 2.
        by: f64,
    },
    /// Distorted by a random field, smoothed (Simard, Steinkraus, Platt, "Best practices for convolutional neural networks",
    /// ICDAR 2003, which takes `alpha` 34 and `sigma` 4 for images of MNIST's kind).
    Elastic {
        /// What the smoothed field, of numbers between -1 and 1, is multiplied by: pixels, 0 to 1000.
        alpha: f64,
        /// The standard deviation of the Gaussian that smooths it: pixels, above 0 and at most 64.
        sigma: f64,
    },
    /// All pixels brighter or darker by at most so much.
    Brightness {
        /// 0 to 1, where 1 is the whole range of bytes.
        by: f64,
    },
    /// Differences from the mean pixel multiplied by a factor of at least `1 - by`, at most `1 + by`.
    Contrast {
        /// 0 to 1.
        by: f64,
    },
    /// Normal noise on each pixel.
    Noise {
        /// Its standard deviation, 0 to 1.
        std: f64,
    },
    /// A box filled with 0 (Zhong, Zheng, Kang, Li, Yang, "Random erasing data augmentation", AAAI 2020): its area at most so
    /// great a share of the image, its sides as 0.3 to 3.3.
    Erase {
        /// 0 to 1.
        share: f64,
    },
    /// Some of the others, drawn with repetition, each of that strength at most (in the manner of Cubuk, Zoph, Shlens, Le,
    /// "RandAugment", NeurIPS 2020).
    Random {
        /// How many: 1 to 8.
        operations: u32,
        /// 0 to 1: 1 is a turn of 30 degrees, a shift of 0.3 of the image's shorter side, and the like.
        magnitude: f64,
    },
}

/// Draws of an image are told apart by so many numbers of changes.
const MOST: u32 = 16;

impl Augment {
    /// Whether the numbers of `list` are in range.
    ///
    /// # Errors
    /// [`Error::Usage`] names the first that is not, or says that the list is too long.
    pub fn check(list: &[Self]) -> Result<(), Error> {
        let changes: u32 =
            list.iter().fold(0, |sum, augment| sum.saturating_add(augment.kind.changes()));
        if changes > MOST {
            return Err(Error::Usage(format!(
                "augment: expected at most {MOST} changes of an image, got {changes} (those of `random` count each; key `augment`)"
            )));
        }
        list.iter().try_for_each(|Self { p, kind }| {
            let (key, got, expected, allowed) = kind.range();
            let in_range = |key, got: f64, expected, allowed| match allowed {
                true => Ok(()),
                false => {
                    let name = kind.name();
                    Err(Error::Usage(format!(
                        "augment: {name}: {key}: expected {expected}, got {got} (key `augment`)"
                    )))
                }
            };
            in_range("p", *p, "0 to 1", (0.0..=1.0).contains(p))?;
            if let Kind::Elastic { sigma, .. } = kind {
                in_range(
                    "sigma",
                    *sigma,
                    "above 0 and at most 64",
                    *sigma > 0.0 && *sigma <= 64.0,
                )?;
            }
            if let Kind::Random { operations, .. } = kind {
                in_range(
                    "operations",
                    f64::from(*operations),
                    "1 to 8",
                    (1..=8).contains(operations),
                )?;
            }
            in_range(key, got, expected, allowed)
        })
    }
}

impl Kind {
    /// Its name, as configuration files spell it.
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

    /// How many numbers of changes it takes.
    fn changes(self) -> u32 {
        match self {
            Self::Random { operations, .. } => operations.saturating_add(1),
            _ => 1,
        }
    }

    /// Its strength: the key's name, value, range, and whether the value is in it.
    fn range(self) -> (&'static str, f64, &'static str, bool) {
        let within =
            |key, got: f64, expected, most: f64| (key, got, expected, (0.0..=most).contains(&got));
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

    /// One of the kinds that `random` draws from, at a share of its greatest strength, for images whose shorter side has so
    /// many pixels.
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

    /// How many kinds [`drawn`](Self::drawn) knows.
    const DRAWN: u32 = 8;
}

/// The augmentation of an epoch.
#[derive(Clone, Copy, Debug)]
pub struct Augmentation<'a> {
    /// What is done, in order.
    pub list: &'a [Augment],
    /// The run's seed.
    pub seed: u64,
    /// The epoch, from 0.
    pub epoch: u32,
    /// What it is computed with; it changes no bit.
    pub isa: Isa,
}

/// Images that are augmented at a time: enough to be worth a task and its buffers.
const SHARE: usize = 16;

impl Augmentation<'_> {
    /// Changes `pixels`, which are those of the images `indices` of `set`, one after another; on all threads of the pool that
    /// it is called in, if there is one. Rows of a table stay what they are.
    pub fn apply<T: Element>(self, indices: &[u32], set: &Labelled, pixels: &mut [T]) {
        let Shape::Image { height, width, .. } = set.shape() else { return };
        if indices.len() > SHARE && rayon_core::current_thread_index().is_some() {
            let half = indices.len() / 2;
            let (pixels, more_pixels) = pixels.split_at_mut(half * set.image_len());
            rayon_core::join(
                || self.apply(&indices[..half], set, pixels),
                || self.apply(&indices[half..], set, more_pixels),
            );
            return;
        }
        let bounded = matches!(set.inputs(), Inputs::Bytes(_));
        let mut canvas = Canvas::new(height, width, bounded, self.isa);
        for (&index, pixels) in indices.iter().zip(pixels.chunks_exact_mut(height * width)) {
            for (value, pixel) in canvas.pixels.iter_mut().zip(&*pixels) {
                *value = pixel.to_f64();
            }
            canvas.change(self.list, |change| {
                streams::augmentation(self.seed, self.epoch, index, change)
            });
            for (pixel, &value) in pixels.iter_mut().zip(&canvas.pixels) {
                *pixel = T::from_f64(value);
            }
        }
    }
}

/// An image that is being changed, with the buffers for it.
struct Canvas {
    height: usize,
    width: usize,
    /// Whether pixels stay from 0 to 1, as bytes do.
    bounded: bool,
    cpu: Cpu<'static>,
    pixels: Vec<f64>,
    sampler: Sampler,
    /// What has been composed and not yet resampled.
    map: Map,
}

impl Canvas {
    fn new(height: usize, width: usize, bounded: bool, isa: Isa) -> Self {
        Self {
            height,
            width,
            bounded,
            cpu: Cpu::serial(isa),
            pixels: vec![0.0; height * width],
            sampler: Sampler::new(height, width),
            map: Map::IDENTITY,
        }
    }

    /// All changes of `list` with the draws of `stream`, which gives each number of a change its own.
    fn change(&mut self, list: &[Augment], stream: impl Fn(u32) -> Stream) {
        let mut number = 0;
        for &Augment { p, kind } in list {
            let draws = stream(number);
            if draws.uniform_f64(0) < p {
                if let Kind::Random { operations, magnitude } = kind {
                    for operation in 0..operations {
                        let which = draws.below(1 + u64::from(operation), Kind::DRAWN);
                        let kind = Kind::drawn(which, magnitude, self.height.min(self.width));
                        self.one(kind, stream(number + 1 + operation));
                    }
                } else {
                    self.one(kind, draws);
                }
            }
            number += kind.changes();
        }
        self.resample();
    }

    /// One change. Draw 0 of `draws` has decided that it is made.
    fn one(&mut self, kind: Kind, draws: Stream) {
        // Between -1 and 1.
        let signed = |index| 2.0 * draws.uniform_f64(index) - 1.0;
        match kind {
            Kind::Shift { pixels } => {
                let [down, across] = [1, 2]
                    .map(|index| f64::from(draws.below(index, 2 * pixels + 1)) - f64::from(pixels));
                self.map = self.map.after(Map::shift(down, across));
            }
            Kind::Rotate { degrees } => {
                let turn = degrees * signed(1) / 180.0;
                let (sin, cos) = (
                    math::at(self.cpu, math::sin_pi, turn),
                    math::at(self.cpu, math::cos_pi, turn),
                );
                self.map = self.map.after(Map::rotation(sin, cos));
            }
            Kind::Scale { by } => self.map = self.map.after(Map::scaling(1.0 + by * signed(1))),
            Kind::Shear { by } => self.map = self.map.after(Map::shear(by * signed(1))),
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
            // `change` has taken it apart.
            Kind::Random { .. } => {}
        }
    }

    /// Changes pixels where they are, once those that move have moved.
    fn tone(&mut self, change: impl FnOnce(&mut [f64])) {
        self.resample();
        change(&mut self.pixels);
        if self.bounded {
            self.pixels.iter_mut().for_each(|pixel| *pixel = pixel.clamp(0.0, 1.0));
        }
    }

    /// Takes the pixels from where the map says that they come from.
    fn resample(&mut self) {
        if self.map != Map::IDENTITY {
            self.sampler.resample(self.map, None, &mut self.pixels);
            self.map = Map::IDENTITY;
        }
    }
}

#[cfg(test)]
mod tests;
