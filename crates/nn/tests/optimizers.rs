//! Optimizers on networks: parameter groups, matrices and vectors, resumed runs, clipping.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use kernels::Cpu;
use kernels::optimizer::{Optimizer as _, Step};
use kernels::random::Stream;
use nn::optimizer::{Adam, Decay, Lamb, Muon, Sgd};
use nn::{
    Bound, Clip, Clipping, Error, Group, Init, LayerSpec, Layout, Network, Optimizer, Plan,
    StepSize,
};

/// Two dense layers, 3 -> 4 -> 2: weights and biases of 12, 4, 8 and 2 elements.
fn layout() -> Layout {
    let dense = |units| LayerSpec::dense(units, Init::HeNormal);
    Network::new(3, &[dense(4), dense(2)]).unwrap().layout().clone()
}

fn draw(stream: u64) -> Vec<f32> {
    (0..26).map(|i| Stream::new(5, stream).uniform_f32(i) - 0.5).collect()
}

/// Parameters after three steps at a learning rate of 0.1.
fn trained(optimizer: Optimizer, groups: &[Group]) -> Vec<f32> {
    let cpu = Cpu::detect();
    let mut running = Plan::new(&layout(), optimizer, groups).unwrap().start(cpu).unwrap();
    let mut params = draw(0);
    for step in 1..4 {
        running.step(cpu, StepSize { rate: 0.1, scale: 0.5 }, &mut params, &draw(step)).unwrap();
    }
    params
}

#[test]
fn a_resumed_optimizer_gives_the_same_bits() {
    let (cpu, size) = (Cpu::detect(), StepSize { rate: 0.1, scale: 0.5 });
    for name in Optimizer::NAMES {
        let plan = Plan::new(&layout(), Optimizer::named(name).unwrap(), &[]).unwrap();
        let (mut whole, mut params) = (plan.clone().start::<f32>(cpu).unwrap(), draw(0));
        let (mut parts, mut again) = (whole.clone(), params.clone());
        for step in 1..7 {
            whole.step(cpu, size, &mut params, &draw(step)).unwrap();
            parts.step(cpu, size, &mut again, &draw(step)).unwrap();
            parts = plan.clone().resume(cpu, parts.steps(), parts.moments().to_vec()).unwrap();
        }
        assert_eq!(
            (whole.steps(), whole.moments(), &params),
            (6, parts.moments(), &again),
            "{name}"
        );
        assert_ne!(params, draw(0), "{name}");
        assert_eq!(whole.moments().len(), plan.moment_names().len());
        assert!(plan.resume::<f32>(cpu, 1, vec![Vec::new(); 4]).is_err());
    }
    let wrong: Optimizer = Adam { beta1: 1.5, ..Adam::default() }.into();
    let error = wrong.start::<f32>(cpu, &layout()).unwrap_err();
    assert!(error.to_string().contains("beta1"), "{error}");
}

#[test]
fn each_tensor_belongs_to_the_first_group_that_matches_it() {
    let (all, none) = (trained(Optimizer::adam(), &[]), draw(0));
    let own: Optimizer = Sgd { momentum: 0.5, ..Sgd::default() }.into();
    let other = trained(own, &[]);
    let groups = [
        Group::frozen(&["layers.0.weight"]),
        Group {
            tensors: vec!["*.bias".into(), "layers.0.*".into()],
            optimizer: Some(own),
            ..Group::default()
        },
    ];
    let got = trained(Optimizer::adam(), &groups);
    assert_eq!(got[..12], none[..12]);
    assert_eq!(got[12..16], other[12..16]);
    assert_eq!(got[16..24], all[16..24]);
    assert_eq!(got[24..], other[24..]);

    let slow = Group { tensors: vec!["layers.1.*".into()], rate: 0.5, ..Group::default() };
    let half = trained(Optimizer::sgd(), &[slow]);
    let whole = trained(Optimizer::sgd(), &[]);
    assert_eq!(half[..16], whole[..16]);
    for i in 16..26 {
        assert!((half[i] - (none[i] + whole[i]) / 2.0).abs() < 1e-6);
    }
}

#[test]
fn a_star_matches_any_characters() {
    let steps =
        |pattern: &str| match Plan::new(&layout(), Optimizer::adam(), &[Group::frozen(&[pattern])])
        {
            Ok(plan) => {
                let mut params = vec![1.0_f32; 26];
                plan.start(Cpu::detect())
                    .unwrap()
                    .step(Cpu::detect(), StepSize::new(0.1), &mut params, &[1.0; 26])
                    .unwrap();
                Some(params.iter().filter(|&&p| p == 1.0).count())
            }
            Err(_) => None,
        };
    for (pattern, frozen) in [
        ("*.bias", 6),
        ("layers.0.*", 16),
        ("layers.*.weight", 20),
        ("l*s*0*b*s", 4),
        ("layers.1.bias*", 2),
    ] {
        assert_eq!(steps(pattern), Some(frozen), "{pattern}");
    }
    for pattern in ["", "bias", "*.gain", "layers", "layers.2.*", "*.bias.*", "layers.0.bias?", "*"]
    {
        assert_eq!(steps(pattern), None, "{pattern}");
    }
}

#[test]
fn groups_without_tensors_and_bad_rates_are_errors() {
    let plan = |groups: &[Group]| Plan::new(&layout(), Optimizer::adam(), groups);
    assert_eq!(
        plan(&[Group::frozen(&["layer.*"])]).unwrap_err(),
        Error::Group { pattern: "layer.*".into() }
    );
    assert_eq!(plan(&[Group::frozen(&["*"])]).unwrap_err(), Error::Frozen);
    let rate = Group { tensors: vec!["*".into()], rate: f64::NAN, ..Group::default() };
    assert!(plan(&[rate]).unwrap_err().to_string().contains("rate"));
}

#[test]
fn lamb_takes_the_norm_of_each_tensor() {
    let (cpu, lamb) = (Cpu::detect(), Lamb::default());
    let mut expected = draw(0);
    let (mut m, mut v) = (vec![0.0; 26], vec![0.0; 26]);
    for t in 1..4 {
        for range in [0..12, 12..16, 16..24, 24..26] {
            let step = Step { scale: 0.5, ..Step::new(t, 0.1) };
            let grads = &draw(t)[range.clone()];
            let moments: &mut [&mut [f32]] = &mut [&mut m[range.clone()], &mut v[range.clone()]];
            lamb.step(cpu, step, &mut expected[range], grads, moments).unwrap();
        }
    }
    assert_eq!(trained(lamb.into(), &[]), expected);
}

#[test]
fn muon_steps_matrices_and_adamw_vectors() {
    let cpu = Cpu::detect();
    let muon = Muon { decay: 0.25, ..Muon::default() };
    let got = trained(muon.into(), &[]);
    let adamw = trained(Adam { decay: Decay::decoupled(0.25), ..Adam::default() }.into(), &[]);
    assert_eq!(got[12..16], adamw[12..16]);
    assert_eq!(got[24..], adamw[24..]);

    // The kernel on the second layer's weights in PyTorch's layout: [2 outputs, 4 inputs].
    let transpose = |x: &[f32]| (0..8).map(|i| x[i % 4 * 2 + i / 4]).collect::<Vec<f32>>();
    let (mut params, mut m) = (transpose(&draw(0)[16..24]), vec![0.0; 8]);
    let mut scratch = vec![0.0; Muon::scratch::<f32>(1, [2, 4])];
    for t in 1..4 {
        let step = Step { scale: 0.5, ..Step::new(t, 0.1) };
        let grads = transpose(&draw(t)[16..24]);
        muon.step(cpu, step, &mut params, &grads, [2, 4], &mut m, &mut scratch).unwrap();
    }
    for (i, &expected) in params.iter().enumerate() {
        let got = got[16 + i % 4 * 2 + i / 4];
        assert!((got - expected).abs() < 1e-5, "{got}, not {expected}");
    }
}

#[test]
fn clipping_scales_gradients_and_bounds_weights() {
    let cpu = Cpu::detect();
    let mut grads = vec![2.0_f32; 26];
    let mut policy = Clipping::new(&layout(), &[Clip::GlobalNorm { limit: 1.0 }], &[]).unwrap();
    let clipped = policy.clip(cpu, &draw(0), &mut grads).unwrap();
    assert!((clipped.norm - 2.0 * 26.0_f64.sqrt()).abs() < 1e-12);
    assert!((clipped.scale * clipped.norm - 1.0).abs() < 1e-12);
    assert_eq!(policy.norms().len(), 4);
    assert!((policy.norms()[1] - 4.0).abs() < 1e-12);
    grads[13] = f32::NAN;
    let error = policy.clip(cpu, &draw(0), &mut grads).unwrap_err();
    assert!(
        matches!(error, Error::Kernel(kernels::Error::NonFiniteIn { tensor: 1, .. })),
        "{error:?}"
    );

    // Each unit's weights are a column of the matrix; biases stay unchanged.
    let mut params = vec![3.0_f32; 26];
    let bounds = [Bound::MaxNorm { limit: 2.0 }];
    Clipping::new(&layout(), &[], &bounds).unwrap().bound(cpu, &mut params).unwrap();
    assert!(params[..12].iter().all(|w| (w - 2.0 / 3.0_f32.sqrt()).abs() < 1e-6));
    assert!(params[16..24].iter().all(|w| (w - 1.0).abs() < 1e-6));
    assert_eq!((params[12], params[25]), (3.0, 3.0));
    let bounds = [Bound::Value { limit: 0.5 }];
    Clipping::new(&layout(), &[], &bounds).unwrap().bound(cpu, &mut params).unwrap();
    assert!(params.iter().all(|&w| w == 0.5));
    assert!(Clipping::new(&layout(), &[Clip::Norm { limit: -1.0 }], &[]).is_err());
    assert!(Clipping::new(&layout(), &[], &[Bound::Value { limit: f64::NAN }]).is_err());
}
