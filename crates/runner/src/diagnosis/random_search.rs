//! Random search for a configuration that trains: the baseline of the [cures](super::treatment).
//!
//! ```text
//! draw      learning rate, optimizer, batch, initialisers, activation, normalisation, clipping,
//!           dropout, weight decay, schedule; each is as it was in half of the draws
//! trial     as many examples as the last round of the doctor's search
//! ```
//!
//! With the same time, it is as good as published tools that repair networks (Bergstra, Bengio, J.
//! Machine Learning Research 13, 2012, for the method; ICST 2023 for the comparison).

use std::time::Instant;

use doctor::{Cure, Record};
use kernels::Cpu;
use kernels::random::Stream;
use nn::Optimizer;

use crate::Error;
use crate::diagnosis::{cure, trial};
use crate::run::config::Config;
use crate::run::setup::Setup;

/// Powers of ten of the learning rate.
const RATES: std::ops::Range<f64> = -5.0..0.0;

const OPTIMIZERS: [&str; 4] = ["sgd", "momentum", "rmsprop", "adam"];

const BATCHES: [u32; 5] = [16, 32, 64, 128, 256];

/// Changes that exclude each other, by line.
const CHANGES: [&[Cure]; 7] = [
    &[Cure::Relu, Cure::LeakyRelu, Cure::Tanh],
    &[Cure::MatchedInitialiser, Cure::OrthogonalInitialiser, Cure::Lsuv],
    &[Cure::BatchNorm, Cure::LayerNorm],
    &[Cure::ClipNorm, Cure::RaiseClip],
    &[Cure::LessDropout],
    &[Cure::LessRegularisation],
    &[Cure::ConstantSchedule, Cure::CosineSchedule],
];

/// Configuration with the best quality among random ones, and the number of trials until
/// `deadline`. `None` if none was tried.
///
/// # Errors
/// [`Error::Network`] if there is not enough memory.
pub fn search(
    setup: &Setup,
    cpu: Cpu<'_>,
    record: &Record,
    deadline: Instant,
) -> Result<(Option<Config>, u64), Error> {
    let mut best: Option<(f64, Config)> = None;
    let mut trials = 0;
    while Instant::now() < deadline {
        let config = draw(&setup.config, record, trials);
        trials += 1;
        let quality = trial::last_round(setup, &config, cpu)?;
        let is_better = best.as_ref().is_none_or(|(best, _)| trial::is_better(quality, *best));
        if is_better {
            best = Some((quality, config));
        }
    }
    Ok((best.map(|(_, config)| config), trials))
}

/// Random change number `number` of `config`.
fn draw(config: &Config, record: &Record, number: u64) -> Config {
    let mut draws = Draws { stream: Stream::new(config.seed, number), drawn: 0 };
    let mut changed = config.clone();
    if draws.coin() {
        let name = draws.one_of(&OPTIMIZERS);
        changed.optimizer = Optimizer::named(name).unwrap_or_else(Optimizer::adam);
    }
    if draws.coin() {
        let power = RATES.start + draws.uniform() * (RATES.end - RATES.start);
        changed.lr = Some(libm::pow(10.0, power));
    }
    if draws.coin() {
        changed.batch = *draws.one_of(&BATCHES);
    }
    for cures in CHANGES {
        if draws.coin() {
            let forms = cure::forms(*draws.one_of(cures), &changed, record);
            if !forms.is_empty() {
                changed = draws.one_of(&forms).config.clone();
            }
        }
    }
    changed
}

/// Successive random numbers.
struct Draws {
    stream: Stream,
    drawn: u64,
}

impl Draws {
    /// The next number in [0, 1).
    fn uniform(&mut self) -> f64 {
        self.drawn += 1;
        f64::from(self.stream.uniform_f32(self.drawn))
    }

    fn coin(&mut self) -> bool {
        self.uniform() < 0.5
    }

    fn one_of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[(self.uniform() * list.len() as f64) as usize]
    }
}
