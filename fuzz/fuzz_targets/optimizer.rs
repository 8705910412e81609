//! Optimizers with any hyper-parameters on any numbers: an error with nothing written, or the same
//! bits everywhere, and finite for tame numbers. `cargo +nightly fuzz run optimizer`.
#![no_main]

use arbitrary::Arbitrary;
use fuzz::{Length, Mismatch, Number, Parameter, Values, same_everywhere};
use half::bf16;
use kernels::optimizer::{
    AdaDelta, AdaGrad, AdaMax, Adam, AnyOptimizer, Decay, Lamb, Lars, Lion, MOST_MOMENTS, Moment,
    Muon, NAdam, NewtonSchulz, Optimizer, RAdam, RmsProp, Sgd, Step,
};
use kernels::random::Stream;
use kernels::{Element, Float};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Problem {
    storage: Storage,
    optimizer: u8,
    flag: bool,
    numbers: [Parameter; 3],
    decay: Option<[Parameter; 3]>,
    t: u64,
    lr: Parameter,
    scale: Parameter,
    len: Length,
    of_grads: Mismatch,
    of_moments: Mismatch,
    steps: u8,
    values: Values,
}

/// Of gradients and moments.
#[derive(Debug, Arbitrary)]
enum Storage {
    Single,
    Double,
    /// bf16, with parameters of f32.
    Half,
    /// One matrix with rows of this many elements, for Muon.
    Matrix(u8),
}

impl Problem {
    fn decay(&self) -> Decay {
        let [l1, l2, decoupled] = self.decay.map_or([0.0; 3], |decay| decay.map(Parameter::get));
        Decay { l1, l2, decoupled }
    }

    fn optimizer(&self) -> AnyOptimizer {
        let ([a, b, epsilon], decay, flag) =
            (self.numbers.map(Parameter::get), self.decay(), self.flag);
        let sgd = Sgd { momentum: a, nesterov: flag, decay };
        match self.optimizer % 11 {
            0 => sgd.into(),
            1 => AdaGrad { lr_decay: a, epsilon, decay }.into(),
            2 => RmsProp { alpha: a, epsilon, momentum: b, centred: flag, decay }.into(),
            3 => AdaDelta { rho: a, epsilon, decay }.into(),
            4 => Adam { beta1: a, beta2: b, epsilon, amsgrad: flag, decay }.into(),
            5 => NAdam { beta1: a, beta2: b, epsilon, momentum_decay: 0.004, decay }.into(),
            6 => RAdam { beta1: a, beta2: b, epsilon, decay }.into(),
            7 => AdaMax { beta1: a, beta2: b, epsilon, decay }.into(),
            8 => Lion { beta1: a, beta2: b, decay }.into(),
            9 => Lars { sgd, coefficient: b, epsilon }.into(),
            _ => Lamb { beta1: a, beta2: b, epsilon, decay }.into(),
        }
    }

    fn step(&self, more: u8) -> Step {
        let rounding = Stream::new(self.t, 2);
        let t = self.t.saturating_add(more.into());
        Step { scale: self.scale.get(), rounding, ..Step::new(t, self.lr.get()) }
    }

    /// `true` if no number is so large or so small that a result may overflow.
    fn is_tame(&self) -> bool {
        let numbers =
            self.numbers.iter().chain(self.decay.iter().flatten()).chain([&self.lr, &self.scale]);
        numbers.copied().map(Parameter::get).all(|x| (1e-4..1.0).contains(&x))
            && self.values.are_tame()
    }
}

fuzz_target!(|problem: Problem| {
    match problem.storage {
        Storage::Single => steps::<f32, f32, f32>(&problem),
        Storage::Double => steps::<f64, f64, f64>(&problem),
        Storage::Half => steps::<f32, bf16, bf16>(&problem),
        Storage::Matrix(cols) => matrix(&problem, usize::from(cols % 12)),
    }
});

fn steps<T, G, M>(problem: &Problem)
where
    T: Float + Number,
    G: Element<Float = T> + Number,
    M: Moment<Float = T> + Number,
{
    let (optimizer, len) = (problem.optimizer(), problem.len.get());
    let count = optimizer.moments().len();
    let values = &problem.values;
    let grads = values.take::<G>(1, problem.of_grads.of(len));
    let zeros = vec![M::default(); problem.of_moments.of(len)];
    let mut state = (values.take::<T>(0, len), vec![zeros; count.min(MOST_MOMENTS)]);
    for more in 0..1 + problem.steps % 3 {
        let step = problem.step(more);
        let result = same_everywhere(&state, |cpu, (params, moments)| {
            let mut moments: Vec<&mut [M]> =
                moments.iter_mut().map(|moment| &mut moment[..]).collect();
            optimizer.step(cpu, step, params, &grads, &mut moments)
        });
        let fits = grads.len() == len && (count == 0 || problem.of_moments.of(len) == len);
        assert!(result.is_err() || fits && optimizer.check().is_ok());
        let Ok((after, ())) = result else { return };
        if problem.is_tame() {
            assert!(
                after.0.iter().all(|p| Number::to_f64(*p).is_finite()),
                "{optimizer:?} {step:?}"
            );
        }
        state = after;
    }
}

fn matrix(problem: &Problem, cols: usize) {
    let rows = problem.len.get() % 40;
    let [momentum, _, epsilon] = problem.numbers.map(Parameter::get);
    let newton_schulz = NewtonSchulz { epsilon, ..NewtonSchulz::default() };
    let muon =
        Muon { momentum, nesterov: problem.flag, newton_schulz, decay: problem.decay().decoupled };
    let len = rows * cols;
    let state = (problem.values.take::<f32>(0, len), vec![0.0; problem.of_moments.of(len)]);
    let grads = problem.values.take::<f32>(1, problem.of_grads.of(len));
    let result = same_everywhere(&state, |cpu, (params, m)| {
        let mut scratch = vec![0.0; Muon::scratch::<f32>(cpu.executor.threads(), [rows, cols])];
        muon.step(cpu, problem.step(0), params, &grads, [rows, cols], m, &mut scratch)
    });
    assert!(result.is_err() || muon.check().is_ok() && grads.len() == len && state.1.len() == len);
    if let Ok(((params, _), ())) = result
        && problem.is_tame()
    {
        assert!(params.iter().all(|p| p.is_finite()), "{muon:?}");
    }
}
