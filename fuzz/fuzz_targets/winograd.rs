//! Convolutions by the Winograd algorithm, of any image and padding: the same bits on every
//! instruction set and number of threads, all gradients in one pass as one by one, and the fused
//! 2 x 2 max pooling as `pooling` computes it. `cargo +nightly fuzz run winograd`.
#![no_main]

use arbitrary::Arbitrary;
use fuzz::{Values, bits, same_everywhere};
use kernels::convolution::{Convolution, Epilogue, Filters, Gradients, OutputGradient};
use kernels::pooling::Pooling;
use kernels::{Cpu, Window};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Problem {
    x: [u8; 4],
    padding: [u8; 2],
    filters: u8,
    relu: bool,
    at_relu: bool,
    values: Values,
}

fuzz_target!(|problem: Problem| {
    let below = |x: u8, bound: usize| usize::from(x) % bound;
    let [batch, height, width, channels] = problem.x;
    let shape =
        [below(batch, 5), below(height, 30), below(width, 30), 16 * (1 + below(channels, 3))];
    let window = Window::new([3, 3]).padding(problem.padding.map(|padding| below(padding, 5)));
    let filters = 16 * (1 + below(problem.filters, 3));
    let Ok(c) = Convolution::new(shape, window, Filters::new(filters)) else { return };
    let x = problem.values.take::<f32>(0, c.x_len());
    let w = problem.values.take::<f32>(1, c.w_len());
    let bias = problem.values.take::<f32>(2, filters);
    let dy = problem.values.take::<f32>(3, c.y_len());

    let threads = |cpu: Cpu<'_>| cpu.executor.threads();
    let epilogue = || {
        let epilogue = Epilogue::bias(&bias);
        if problem.relu { epilogue.relu() } else { epilogue }
    };
    let (y, ()) = same_everywhere(&dy, |cpu, y| {
        c.forward(
            cpu,
            &x,
            &w,
            epilogue(),
            y,
            &mut vec![f32::NAN; c.forward_scratch::<f32>(threads(cpu))],
        )
    })
    .expect("all fits");
    let (dw, ()) = same_everywhere(&(w.clone(), bias.clone()), |cpu, (dw, db)| {
        c.dw(cpu, &x, &dy, dw, Some(db), &mut vec![f32::NAN; c.dw_scratch::<f32>(threads(cpu))])
    })
    .expect("all fits");
    let (mut dx, ()) = same_everywhere(&x, |cpu, dx| {
        c.dx(cpu, &dy, &w, dx, &mut vec![f32::NAN; c.dx_scratch::<f32>(threads(cpu))])
    })
    .expect("all fits");
    let backward = |of: OutputGradient<'_, f32>| {
        let to = (dw.clone(), x.clone());
        let (to, ()) = same_everywhere(&to, |cpu, ((dw, db), dx)| {
            let to = Gradients { dw, db: Some(db), dx: Some(dx), at_relu: problem.at_relu };
            c.backward(
                cpu,
                &x,
                &w,
                of,
                to,
                &mut vec![f32::NAN; c.backward_scratch::<f32>(threads(cpu))],
            )
        })
        .expect("all fits");
        to
    };
    if problem.at_relu {
        dx.iter_mut().zip(&x).filter(|(_, x)| **x <= 0.0).for_each(|(dx, _)| *dx = 0.0);
    }
    assert_eq!(bits(&backward(OutputGradient { dy: &dy, argmax: None })), bits(&(dw.clone(), dx)));

    if !c.fuses_max_pool() {
        return;
    }
    let pooling =
        Pooling::new(c.output(), Window::new([2, 2]).stride([2, 2])).expect("there are windows");
    let dy = &dy[..pooling.y_len()];
    let (mut expected_max, mut of_windows) = (dy.to_vec(), y.clone());
    pooling.max(Cpu::detect(), &y, &mut expected_max).expect("all fits");
    let max_backward =
        if problem.relu { Pooling::max_relu_backward } else { Pooling::max_backward };
    max_backward(&pooling, Cpu::detect(), &y, dy, &mut of_windows).expect("all fits");
    let ((got, argmax), ()) = same_everywhere(&(dy.to_vec(), dy.to_vec()), |cpu, (y, argmax)| {
        let mut scratch = vec![f32::NAN; c.forward_scratch::<f32>(threads(cpu))];
        c.forward(cpu, &x, &w, epilogue().max_pool(argmax), y, &mut scratch)
    })
    .expect("all fits");
    assert_eq!(bits(&got), bits(&expected_max));
    let apart = backward(OutputGradient { dy: &of_windows, argmax: None });
    assert_eq!(bits(&backward(OutputGradient { dy, argmax: Some(&argmax) })), bits(&apart));
});
