//! Regularisation: mixup and CutMix, gradient noise, weight averaging, SAM.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use kernels::Cpu;
use kernels::random::Stream;
use nn::{Ema, Lookahead, Mixing, Noise, Sam, Shape};

const IMAGE: Shape = Shape::Image { height: 10, width: 10, channels: 2 };

fn mix(mixing: Mixing, stream: u64) -> (Vec<f64>, Vec<f64>) {
    let inputs: Vec<f64> = (0..3 * 200).map(|i| f64::from(i / 200)).collect();
    let (mut mixed, mut targets) = (Vec::from([f64::NAN; 600]), Vec::from([f64::NAN; 9]));
    let (cpu, stream) = (Cpu::detect(), Stream::new(1, stream));
    mixing.mix(cpu, stream, IMAGE, &inputs, &[0, 1, 2], 3, &mut mixed, &mut targets).unwrap();
    (mixed, targets)
}

#[test]
fn images_and_labels_are_mixed_in_the_same_shares() {
    for mixing in [Mixing::Mixup { alpha: 0.4 }, Mixing::CutMix { alpha: 1.0 }] {
        for stream in 0..50 {
            let (mixed, targets) = mix(mixing, stream);
            for (x, y) in mixed.chunks(200).zip(targets.chunks(3)) {
                assert!((y.iter().sum::<f64>() - 1.0).abs() < 1e-12);
                // Each pixel is the index of its image, so that the mean is that of the labels.
                let mean = x.iter().sum::<f64>() / 200.0;
                assert!((mean - (y[1] + 2.0 * y[2])).abs() < 1e-12, "{mixing:?} {y:?} {mean}");
            }
        }
        assert_eq!(mix(mixing, 7), mix(mixing, 7));
    }
}

/// Share of image 0 in the first row that mixup makes.
fn share(alpha: f64, stream: u64) -> f64 {
    let (shape, stream) = (Shape::from(1), Stream::new(3, stream << 32));
    let (mut mixed, mut targets) = ([0.0_f64; 2], [0.0; 4]);
    let mixing = Mixing::Mixup { alpha };
    mixing
        .mix(Cpu::detect(), stream, shape, &[1.0, 0.0], &[0, 1], 2, &mut mixed, &mut targets)
        .unwrap();
    targets[0]
}

#[test]
fn shares_have_the_moments_of_the_beta_distribution() {
    for (alpha, variance) in [(0.2, 1.0 / 5.6), (0.5, 0.125), (1.0, 1.0 / 12.0), (3.0, 1.0 / 28.0)]
    {
        let draws: Vec<f64> = (0..20_000).map(|i| share(alpha, i)).collect();
        let mean = draws.iter().sum::<f64>() / 20_000.0;
        let found = draws.iter().map(|x| (x - 0.5) * (x - 0.5)).sum::<f64>() / 20_000.0;
        // Five standard errors of the mean; squares vary less than their mean.
        assert!(
            (mean - 0.5).abs() < 5.0 * (variance / 20_000.0_f64).sqrt(),
            "{alpha}: mean {mean}"
        );
        assert!(
            (found / variance - 1.0).abs() < 5.0 / 20_000.0_f64.sqrt(),
            "{alpha}: variance {found}"
        );
    }
}

/// In the limit alpha = 0, Beta(alpha, alpha) is 0 or 1 with probability 1/2: images stay unmixed.
#[test]
fn the_smallest_alpha_leaves_images_unmixed() {
    for alpha in [1e-3, 1e-9, 1e-300, 5e-324] {
        let draws: Vec<f64> = (0..2000).map(|i| share(alpha, i)).collect();
        let mixed = draws.iter().filter(|&&x| x.min(1.0 - x) > 0.01).count();
        let ones = draws.iter().filter(|&&x| x > 0.5).count();
        // With alpha = 0.001 about 1 % of the draws lie between: the density near 0 is alpha / (2
        // x).
        assert!(mixed <= if alpha == 1e-3 { 60 } else { 0 }, "{alpha}: {mixed} draws between");
        assert!((900..1100).contains(&ones), "{alpha}: {ones} ones");
    }
}

#[test]
fn wrong_lengths_labels_and_alphas_are_errors() {
    let (cpu, stream, mixup) = (Cpu::detect(), Stream::new(0, 0), Mixing::Mixup { alpha: 1.0 });
    let mix = |mixing: Mixing, label, len: usize| {
        let (inputs, mut mixed, mut targets) = ([0.0_f32; 200], Vec::from([0.0; 200]), Vec::new());
        targets.resize(len, 0.0);
        mixing.mix(cpu, stream, IMAGE, &inputs, &[label], 3, &mut mixed, &mut targets)
    };
    assert!(mix(mixup, 2, 3).is_ok());
    assert!(mix(mixup, 3, 3).is_err() && mix(mixup, 2, 4).is_err());
    assert!(mix(Mixing::CutMix { alpha: 0.0 }, 2, 3).is_err());
}

#[test]
fn the_average_of_constant_weights_converges_to_them() {
    let (cpu, ema) = (Cpu::detect(), Ema { decay: 0.9 });
    let mut average = [0.0_f64];
    ema.step(cpu, 0, &mut average, &[1.0]).unwrap();
    // At step 0 the decay is 1/10.
    assert!((average[0] - 0.9).abs() < 1e-15);
    for steps in 1..200 {
        ema.step(cpu, steps, &mut average, &[1.0]).unwrap();
    }
    assert!((average[0] - 1.0).abs() < 1e-9, "{average:?}");
    // Later the decay is 0.9.
    ema.step(cpu, 1000, &mut average, &[2.0]).unwrap();
    assert!((average[0] - 1.1).abs() < 1e-9, "{average:?}");
    assert!(Ema { decay: 1.0 }.step(cpu, 0, &mut average, &[0.0]).is_err());
}

#[test]
fn lookahead_interpolates_every_few_steps() {
    let (cpu, lookahead) = (Cpu::detect(), Lookahead { steps: 3, share: 0.25 });
    let (mut slow, mut weights) = ([0.0_f32, 4.0], [8.0_f32, 4.0]);
    for steps in [1, 2] {
        lookahead.step(cpu, steps, &mut slow, &mut weights).unwrap();
        assert_eq!((slow, weights), ([0.0, 4.0], [8.0, 4.0]));
    }
    lookahead.step(cpu, 3, &mut slow, &mut weights).unwrap();
    assert_eq!((slow, weights), ([2.0, 4.0], [2.0, 4.0]));
    assert!(Lookahead { steps: 0, share: 0.5 }.check().is_err());
}

#[test]
fn sam_perturbs_weights_by_its_radius() {
    let (cpu, sam) = (Cpu::detect(), Sam { radius: 0.5 });
    let (mut weights, mut origin) = ([1.0_f64, 1.0], [0.0; 2]);
    sam.perturb(cpu, &mut weights, &[3.0, -4.0], &mut origin).unwrap();
    assert_eq!(origin, [1.0, 1.0]);
    assert!((weights[0] - 1.3).abs() < 1e-15 && (weights[1] - 0.6).abs() < 1e-15);
    sam.perturb(cpu, &mut weights, &[0.0, 0.0], &mut origin).unwrap();
    assert_eq!(weights, origin);
    assert!(sam.perturb(cpu, &mut weights, &[f64::NAN, 0.0], &mut origin).is_err());
    assert_eq!(weights, origin);
}

#[test]
fn the_variance_of_gradient_noise_decays_as_in_the_paper() {
    let (cpu, noise) = (Cpu::detect(), Noise { scale: 0.3, decay: 0.55 });
    for (step, variance) in [(0, 0.3), (99, 0.3 / 12.589_254_117_941_675)] {
        let mut grads = vec![0.0_f64; 100_000];
        noise.add(cpu, 1, step, &mut grads).unwrap();
        let found = grads.iter().map(|x| x * x).sum::<f64>() / 1e5;
        // Five standard errors of the estimate.
        assert!(
            (found / variance - 1.0).abs() < 5.0 * (2.0_f64 / 1e5).sqrt(),
            "{found}, not {variance}"
        );
    }
    let draw = |seed, step| {
        let mut grads = vec![1.0_f32; 3000];
        noise.add(cpu, seed, step, &mut grads).unwrap();
        grads
    };
    assert_eq!(draw(1, 2), draw(1, 2));
    assert!(draw(1, 2) != draw(1, 3) && draw(1, 2) != draw(2, 2));
    assert!(draw(1, 2)[..1024] != draw(1, 2)[1024..2048]);
    assert!(Noise { scale: -1.0, decay: 0.0 }.add::<f32>(cpu, 0, 0, &mut []).is_err());
}
