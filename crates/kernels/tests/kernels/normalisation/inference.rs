//! Batch norm's running statistics, and inference with them.

use super::*;

#[test]
fn running_statistics_match_pytorch() {
    // torch.nn.BatchNorm1d(1) in training on [[1], [2], [6]]: mean 3, biased variance 14/3,
    // unbiased 7.
    let (mut mean, mut rstd, mut y) = ([0.0], [0.0], [0.0; 3]);
    let (mut running_mean, mut running_var) = ([0.0], [1.0]);
    let running = Running { mean: &mut running_mean, var: &mut running_var, momentum: 0.1 };
    let mut scratch = [0.0; batch_norm_scratch(3, 1)];
    let cpu = Cpu::detect();
    let x = [1.0_f64, 2.0, 6.0];
    batch_norm(
        cpu,
        &x,
        Affine::NONE,
        1e-5,
        Some(running),
        &mut mean,
        &mut rstd,
        &mut y,
        &mut scratch,
    )
    .unwrap();
    assert!((running_mean[0] - 0.3).abs() < 1e-15 && (running_var[0] - 1.6).abs() < 1e-15);
    assert!((y[2] - 3.0 / (14.0_f64 / 3.0 + 1e-5).sqrt()).abs() < 1e-14);
}

fn inference_and_its_folded_form_agree<T: Float>(tolerance: f64) {
    for (rows, channels) in [(0, 3), (1, 1), (5, 33), (140, 70), (3, 0)] {
        let x = draw::<T>(23, rows * channels);
        let (mean, gamma, beta) =
            (draw::<T>(24, channels), draw::<T>(25, channels), draw::<T>(26, channels));
        let mut var = draw::<T>(27, channels);
        var.iter_mut().for_each(|v| *v *= *v);
        let affine = Affine::new(&gamma, &beta);
        let (y, folded) = same_on_every_cpu(|cpu| {
            let mut y = vec![T::NAN; x.len()];
            let mut scratch = vec![T::NAN; batch_norm_inference_scratch(channels)];
            batch_norm_inference(cpu, &x, &mean, &var, affine, EPSILON, &mut y, &mut scratch)
                .unwrap();
            let (mut scale, mut shift) = (vec![T::NAN; channels], vec![T::NAN; channels]);
            fold_batch_norm(cpu, &mean, &var, affine, EPSILON, &mut scale, &mut shift).unwrap();
            let mut folded = x.clone();
            scale_shift(cpu, &scale, &shift, &mut folded).unwrap();
            (y, folded)
        });
        for (i, x) in x.iter().enumerate() {
            let j = i % channels;
            let scale = gamma[j].to_f64() / (var[j].to_f64() + EPSILON).sqrt();
            let expected = (x.to_f64() - mean[j].to_f64()) * scale + beta[j].to_f64();
            let bound = tolerance * (1.0 + 2.0 * scale.abs());
            assert!((y[i].to_f64() - expected).abs() < bound, "{} not {expected}", y[i]);
            assert!((folded[i].to_f64() - expected).abs() < bound, "{} not {expected}", folded[i]);
        }
    }
}

#[test]
fn inference_and_its_folded_form_match_the_definition() {
    inference_and_its_folded_form_agree::<f32>(3e-7);
    inference_and_its_folded_form_agree::<f64>(5e-16);
}
