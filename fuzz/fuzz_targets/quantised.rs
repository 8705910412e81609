//! Products of any bytes, which are exact; quantisation and its inverse, with the same bits
//! everywhere or an error. `cargo +nightly fuzz run quantised`.
#![no_main]

use arbitrary::Arbitrary;
use fuzz::{Length, Mismatch, Parameter, Values, bits, same_everywhere};
use kernels::gemm::GemmShape;
use kernels::quantised::{
    Dequantise, choose_scales, dequantise, gemm_i8, gemm_i8_dequantised, gemm_i8_requantised,
    quantise,
};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Problem {
    m: u8,
    n: u8,
    k: u16,
    of_a: Mismatch,
    of_c: Mismatch,
    of_scales: Mismatch,
    scale: Parameter,
    one_scale: [bool; 2],
    relu: bool,
    bias: bool,
    bytes: Vec<i8>,
    rows: u8,
    row: Length,
    values: Values,
}

fuzz_target!(|problem: Problem| {
    product(&problem);
    there_and_back(&problem);
});

fn product(problem: &Problem) {
    let (m, n, k) =
        (usize::from(problem.m % 20), usize::from(problem.n % 80), usize::from(problem.k % 400));
    let shape = GemmShape { m, n, k };
    let byte =
        |i: usize| problem.bytes.get(i % problem.bytes.len().max(1)).copied().unwrap_or(-128);
    let a: Vec<i8> = (0..problem.of_a.of(m * k)).map(byte).collect();
    let b: Vec<i8> = (0..n * k).map(|i| byte(i + 7)).collect();
    let c_len = problem.of_c.of(m * n);
    let fits = a.len() == m * k && c_len == m * n;
    let exact = |at: usize| {
        (0..k).map(|p| i32::from(a[at / n * k + p]) * i32::from(b[at % n * k + p])).sum()
    };

    let sums = same_everywhere(&vec![7_i32; c_len], |cpu, c| gemm_i8(cpu, shape, &a, &b, c));
    assert_eq!(sums.is_ok(), fits);
    assert!(
        sums.is_err()
            || sums.is_ok_and(|(sums, ())| sums == (0..m * n).map(exact).collect::<Vec<i32>>())
    );

    let scales = |one: bool, count: usize| {
        vec![problem.scale.get() as f32; if one { 1 } else { problem.of_scales.of(count) }]
    };
    let (scale_a, scale_b) = (scales(problem.one_scale[0], m), scales(problem.one_scale[1], n));
    let bias = problem.bias.then(|| problem.values.take::<f32>(0, n));
    let to = Dequantise {
        scale_a: &scale_a,
        scale_b: &scale_b,
        bias: bias.as_deref(),
        relu: problem.relu,
    };
    let floats = same_everywhere(&vec![7_f32; c_len], |cpu, c| {
        gemm_i8_dequantised(cpu, shape, &a, &b, to, c)
    });
    assert!(
        floats.is_err()
            || fits && scale_a.iter().chain(&scale_b).all(|x| x.is_finite() && *x > 0.0)
    );
    if let Ok((floats, ())) = floats {
        let expected = |at: usize| {
            let scale =
                scale_a.first().copied().unwrap_or(1.0) * scale_b.first().copied().unwrap_or(1.0);
            let value = exact(at) as f32 * scale + bias.as_ref().map_or(0.0, |bias| bias[at % n]);
            if problem.relu && value <= 0.0 { 0.0 } else { value }
        };
        // Without a bias -0 stays -0, since no 0 is added.
        let is_same =
            |(at, x): (usize, &f32)| *x == expected(at) || x.is_nan() && expected(at).is_nan();
        assert!(floats.iter().enumerate().all(is_same));
    }
    let scale_c = problem.values.take::<f32>(1, 1)[0];
    let again = same_everywhere(&vec![7_i8; c_len], |cpu, c| {
        gemm_i8_requantised(cpu, shape, &a, &b, to, scale_c, c)
    });
    assert!(again.is_err() || fits && scale_c.is_finite() && scale_c > 0.0);
}

fn there_and_back(problem: &Problem) {
    let rows = usize::from(problem.rows % 6);
    let x = problem.values.take::<f32>(0, problem.of_a.of(rows * problem.row.get()));
    let chosen = same_everywhere(&vec![7_f32; rows], |_, scales| choose_scales(&x, scales));
    let scales = chosen
        .as_ref()
        .map_or_else(|_| vec![problem.scale.get() as f32; rows], |(scales, ())| scales.clone());
    let q = same_everywhere(&vec![7_i8; x.len()], |cpu, q| quantise(cpu, &x, &scales, q));
    assert!(chosen.is_err() || q.is_ok());
    let Ok((q, ())) = q else { return };
    let (back, ()) =
        same_everywhere(&vec![7_f32; x.len()], |cpu, x| dequantise(cpu, &q, &scales, x))
            .expect("what can be quantised can be had back");
    if chosen.is_ok() {
        let row = (x.len() / rows.max(1)).max(1);
        for (i, (x, back)) in x.iter().zip(&back).enumerate() {
            let scale = f64::from(scales[i / row]);
            let error = (f64::from(*x) - f64::from(*back)).abs();
            // Nothing saturates; a scale that would be 0 is 1; the scale of subnormal numbers has
            // few digits.
            assert!(
                error <= 0.5 * scale * (1.0 + 1e-4) || scale < 1e-36,
                "{x:e} came back as {back:e}"
            );
        }
    }
    let again =
        same_everywhere(&vec![7_i8; back.len()], |cpu, again| quantise(cpu, &back, &scales, again));
    if back.iter().all(|x| x.is_finite()) && scales.iter().all(|scale| *scale > 1e-30) {
        assert_eq!(bits(&again.expect("as before").0), bits(&q));
    }
}
