//! Prints for each model the time of the parts of a training step, compared with frameworks:
//! `cargo run --release -p benches --bin model-ratios -- [THREADS] [MODEL...]`. A MODEL is a
//! preset's name.
//!
//! All alternate within one run, and the minimum of each counts. Frameworks run in processes of
//! their own, which measure their time themselves. The images are those that `evenkeel train` would
//! find.
//!
//! ```text
//! gather .. optimizer   the parts of a step in their order, and the whole step, in microseconds
//! forks                 parallel regions per step
//! copy                  a copy of the streams of Adam, divided among the threads
//! floor                 the step's multiplications and additions, skipped zeros included, at the
//!                       peak of the fastest instruction for them, on all threads
//! ours / ..             our step over theirs; missing without
//!                       EVENKEEL_{TORCH,JAX,KERAS,ONNX}_PYTHON. JAX's are in f32, also where our
//!                       operands are bf16
//! ```

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use benches::copy::{Copies, Streams};
use benches::model::{Model, Predictor, Trainer};
use benches::peak::Peak;
use benches::peers::{Framework, Frameworks, Training};
use half::bf16;
use kernels::{Cpu, Executor, Isa};
use runner::commands::dry_run;
use runner::machine::thread_pool::ThreadPool;
use runner::machine::timing::{Patience, Work, minima, repeat};
use runner::run::config::Dtype;
use runner::run::setup::Setup;

/// Each work takes tenths of a second.
const PATIENCE: Patience =
    Patience { slice: Duration::from_millis(1), rounds: 7, most: Duration::MAX };
/// The parts of a step run in the order of training, so that each finds the caches as the part
/// before leaves them.
const IN_ORDER: Patience =
    Patience { slice: Duration::ZERO, rounds: 300, most: Duration::from_secs(5) };
/// Predictions and floors are short.
const SHORT: Patience =
    Patience { slice: Duration::from_millis(20), rounds: 15, most: Duration::MAX };
const RESPONDS: &str = "the framework's process responds";

fn main() {
    let (threads, models) = match parse(std::env::args().skip(1)) {
        Ok(request) => request,
        Err(reason) => {
            eprintln!("{reason}\nusage: model-ratios [THREADS] [MODEL...]");
            std::process::exit(2);
        }
    };
    let (isa, pool) =
        (Isa::detect(), ThreadPool::new(threads).expect("a pool of that many threads"));
    println!("{isa}, {threads} thread(s)\n\nParts of a training step, microseconds:\n");
    println!(
        "| model | batch | type | gather | forward | backward | clip | optimizer | step | \
         forks | copy | floor | step / floor |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    pool.enter(|| {
        let counted = Counted { pool: &pool, forks: AtomicU64::new(0) };
        let cpu = Cpu::new(isa, &counted);
        for (model, dtype) in each(&models) {
            parts(&model, dtype, cpu, &counted);
        }
    });
    let any = models.first().expect("there is one").setup(Dtype::F32);
    let mut frameworks = Frameworks::start(threads, &any.dataset.train);
    println!("\nTraining, microseconds a step:\n");
    println!(
        "| model | batch | clipped | type | ours | torch | jax | keras | \
         ours / torch | ours / jax | ours / keras |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for (model, dtype) in each(&models) {
        let setup = model.setup(dtype);
        pool.enter(|| train(&model, &setup, Cpu::new(isa, &pool), &mut frameworks));
    }
    println!(
        "\nInference, microseconds per batch:\n\n\
         | model | batch | ours | onnx | ours / onnx |\n|---|---|---|---|---|"
    );
    let mut done = Vec::new();
    for model in models {
        if done.contains(&model.preset) {
            continue;
        }
        done.push(model.preset);
        let setup = model.setup(Dtype::F32);
        for batch in [1, 1000] {
            pool.enter(|| infer(&setup, batch, Cpu::new(isa, &pool), &mut frameworks));
        }
    }
}

fn parse(arguments: impl Iterator<Item = String>) -> Result<(usize, Vec<Model>), String> {
    let (mut threads, mut names) = (2, Vec::new());
    for argument in arguments {
        match argument.parse() {
            Ok(number @ 1..=64) => threads = number,
            Ok(_) => return Err(format!("THREADS: expected 1 to 64, got {argument}")),
            Err(_) => names.push(argument),
        }
    }
    let known = |name: &String| Model::ALL.iter().any(|model| model.preset.name() == name);
    if let Some(name) = names.iter().find(|name| !known(name)) {
        return Err(format!("{name}: no such model is measured"));
    }
    let wanted =
        |model: &Model| names.is_empty() || names.iter().any(|name| model.preset.name() == name);
    Ok((threads, Model::ALL.into_iter().filter(wanted).collect()))
}

/// The models, each in f32 and with operands in bf16.
fn each(models: &[Model]) -> impl Iterator<Item = (Model, Dtype)> {
    models.iter().flat_map(|&model| [(model, Dtype::F32), (model, Dtype::Bf16)])
}

/// A pool that counts its parallel regions.
struct Counted<'a> {
    pool: &'a ThreadPool,
    forks: AtomicU64,
}

impl Executor for Counted<'_> {
    fn threads(&self) -> usize {
        self.pool.threads()
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        self.forks.fetch_add(u64::from(tasks > 1), Ordering::Relaxed);
        self.pool.run(tasks, task);
    }
}

/// Prints the times of the parts of a step.
fn parts(model: &Model, dtype: Dtype, cpu: Cpu<'_>, counted: &Counted<'_>) {
    let setup = model.setup(dtype);
    let threads = counted.threads();
    let mut trainer = Trainer::new(&setup, cpu);
    trainer.step();
    let before = counted.forks.load(Ordering::Relaxed);
    trainer.step();
    let forks = counted.forks.load(Ordering::Relaxed) - before;
    let mut copies = Copies::new(&Streams::new(1, 3, setup.network.layout().len() / threads));
    let copies = copies.as_mut().expect("there are streams");
    let trainer = RefCell::new(trainer);
    let peak = match dtype {
        Dtype::Bf16 => Peak::new::<bf16>(threads, cpu.isa),
        _ => Peak::new::<f32>(threads, cpu.isa),
    };
    let trainer = &trainer;
    // Each part borrows the trainer while it runs.
    let part = |part: fn(&mut Trainer<'_>)| repeat_part(trainer, part);
    let mut works = [
        part(|trainer| trainer.gather()),
        part(|trainer| trainer.forward()),
        part(|trainer| trainer.gradient()),
        part(|trainer| _ = trainer.clip()),
        part(|trainer| trainer.descend(1.0)),
        part(|trainer| trainer.step()),
    ];
    let seconds = minima(&mut works, IN_ORDER);
    let [gather, forward, gradient, clip, optimizer, step] =
        seconds.try_into().expect("one for each");
    let mut works: [Work<'_>; 2] =
        [Box::new(|times| peak.time(times)), Box::new(|times| repeat(times, || copies.run()))];
    let [chains, copy] = minima(&mut works, SHORT).try_into().expect("one for each");
    let plan = dry_run::Plan::new(&setup).expect("threads can be had");
    let floor = plan.flop_per_step() / peak.flop() * chains;
    let columns = |seconds: &[f64]| -> String {
        seconds.iter().map(|seconds| format!(" {:.0} |", seconds * 1e6)).collect()
    };
    let first = columns(&[gather, forward, (gradient - forward).max(0.0), clip, optimizer, step]);
    let last = columns(&[copy, floor]);
    let (name, batch) = (model.preset.name(), model.batch);
    println!(
        "| {name} | {batch} | {} |{first} {forks} |{last} {:.2} |",
        dtype.name(),
        step / floor
    );
}

fn repeat_part<'a>(trainer: &'a RefCell<Trainer<'a>>, part: fn(&mut Trainer<'_>)) -> Work<'a> {
    Box::new(move |times| repeat(times, || part(&mut trainer.borrow_mut())))
}

/// Prints a line of the table of steps.
fn train(model: &Model, setup: &Setup, cpu: Cpu<'_>, frameworks: &mut Frameworks) {
    let mut trainer = Trainer::new(setup, cpu);
    let Model { batch, clip, steps, .. } = *model;
    let (name, dtype) = (model.preset.name(), setup.config.dtype.name());
    let training = Training { model: name, batch, clip: clip.unwrap_or_default(), dtype, steps };
    let peers = frameworks.trainers(training).expect(RESPONDS);
    let mut works: Vec<Work<'_>> = vec![Box::new(|times| repeat(times * steps, || trainer.step()))];
    let mut names = Vec::new();
    for (framework, process) in peers {
        names.push(framework);
        works.push(Box::new(|times| process.time(times).expect(RESPONDS)));
    }
    let seconds = minima(&mut works, PATIENCE);
    let (ours, theirs) = seconds.split_first().expect("ours is always there");
    let micro = |seconds: f64| format!("{:.0}", seconds * 1e6 / f64::from(steps));
    let of = |framework: Framework, show: &dyn Fn(f64) -> String| {
        let index = names.iter().position(|name| *name == framework);
        index.map_or("-".into(), |index| show(theirs[index]))
    };
    let columns = [Framework::Torch, Framework::Jax, Framework::Keras];
    let times: String = columns.iter().map(|&peer| format!(" {} |", of(peer, &micro))).collect();
    let ratio = |theirs: f64| format!("{:.2}", ours / theirs);
    let ratios: String = columns.iter().map(|&peer| format!(" {} |", of(peer, &ratio))).collect();
    let clipped = if clip.is_some() { "yes" } else { "" };
    println!("| {name} | {batch} | {clipped} | {dtype} | {} |{times}{ratios}", micro(*ours));
}

/// Prints a line of the table of inference.
fn infer(setup: &Setup, batch: usize, cpu: Cpu<'_>, frameworks: &mut Frameworks) {
    let mut predictor = Predictor::new(setup, cpu, batch);
    let peer =
        predictor.onnx().and_then(|model| frameworks.predictor(batch, &model).expect(RESPONDS));
    let mut works: Vec<Work<'_>> = vec![Box::new(|times| repeat(times, || predictor.run()))];
    if let Some(process) = peer {
        works.push(Box::new(|times| process.time(times).expect(RESPONDS)));
    }
    let seconds = minima(&mut works, SHORT);
    let (ours, theirs) = (seconds[0], seconds.get(1));
    let micro = |seconds: f64| format!("{:.1}", seconds * 1e6);
    println!(
        "| {} | {batch} | {} | {} | {} |",
        setup.config.preset.name(),
        micro(ours),
        theirs.map_or("-".into(), |&theirs| micro(theirs)),
        theirs.map_or("-".into(), |theirs| format!("{:.2}", ours / theirs)),
    );
}
