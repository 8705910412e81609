//! Time of the Winograd algorithm over that of the other algorithms, by shape of a 3 x 3
//! convolution: the measurements behind the choice of an algorithm.

use kernels::convolution::{Convolution, Epilogue, Filters, Gradients, OutputGradient};
use kernels::{Cpu, Window};
use runner::machine::timing::{Patience, Work, minima, repeat};

use crate::kernel::draw;

/// Images, pixels down and across, channels, padding, filters.
pub const SHAPES: [[usize; 5]; 11] = [
    [128, 28, 16, 1, 16],
    [128, 28, 16, 1, 32],
    [128, 28, 32, 1, 32],
    [128, 26, 32, 0, 64],
    [128, 14, 32, 1, 64],
    [128, 14, 64, 1, 64],
    [128, 7, 64, 1, 64],
    [128, 7, 64, 1, 128],
    [128, 5, 64, 1, 64],
    [128, 3, 64, 1, 64],
    [1, 26, 32, 0, 64],
];

/// Time of a pass by the Winograd algorithm over that by another algorithm.
#[derive(Clone, Copy, Debug)]
pub struct Ratios {
    /// With exact operands.
    pub exact: f64,
    /// With operands rounded to bf16.
    pub rounded: f64,
}

/// Ratios of the forward pass, and of all gradients in one pass.
pub fn ratios(
    cpu: Cpu<'static>,
    [batch, side, channels, padding, filters]: [usize; 5],
    patience: Patience,
) -> [Ratios; 2] {
    let window = Window::new([3, 3]).padding([padding, padding]);
    let x = [batch, side, side, channels];
    let chosen = Convolution::new(x, window, Filters::new(filters)).expect("it fits");
    let [x, w, bias] = [chosen.x_len(), chosen.w_len(), filters].map(|len| draw(0, len));
    let dy = draw(1, chosen.y_len());
    let all = [chosen, chosen.in_order(), chosen.in_order().rounded()];

    let mut buffers =
        all.map(|c| [c.forward_scratch::<f32>(1), c.y_len()].map(|len| vec![0.0; len]));
    let forward = over(&all, &mut buffers, patience, |c, [scratch, y]| {
        c.forward(cpu, &x, &w, Epilogue::bias(&bias).relu(), y, scratch).expect("it fits");
    });
    let lens = |c: Convolution| [c.backward_scratch::<f32>(1), c.x_len(), c.w_len(), filters];
    let mut buffers = all.map(|c| lens(c).map(|len| vec![0.0; len]));
    let backward = over(&all, &mut buffers, patience, |c, [scratch, dx, dw, db]| {
        let to = Gradients { dw, db: Some(db), dx: Some(dx), at_relu: true };
        c.backward(cpu, &x, &w, OutputGradient { dy: &dy, argmax: None }, to, scratch)
            .expect("it fits");
    });
    [forward, backward]
}

/// Time of a pass of the first convolution, divided by the time of each of the others.
fn over<const N: usize>(
    all: &[Convolution; 3],
    buffers: &mut [[Vec<f32>; N]; 3],
    patience: Patience,
    pass: impl Fn(&Convolution, &mut [Vec<f32>; N]),
) -> Ratios {
    let (pass, mut works) = (&pass, Vec::<Work<'_>>::new());
    for (c, buffers) in all.iter().zip(buffers) {
        works.push(Box::new(move |times| repeat(times, || pass(c, buffers))));
    }
    let seconds = minima(&mut works, patience);
    Ratios { exact: seconds[0] / seconds[1], rounded: seconds[0] / seconds[2] }
}
