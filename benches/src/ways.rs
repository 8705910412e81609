//! What Winograd's way of a 3 x 3 convolution takes over the others, by its shape: the measurements behind the choice between them.

use kernels::convolution::{Convolution, Epilogue};
use kernels::{Cpu, Window};
use runner::timing::{Patience, Work, minima, repeat};

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

/// The time over that in the order of the products: of `y`, `dx` and `dw`.
pub fn ratios(
    cpu: Cpu<'static>,
    [batch, side, channels, padding, filters]: [usize; 5],
    patience: Patience,
) -> [f64; 3] {
    let window = Window::new([3, 3]).padding([padding, padding]);
    let chosen = Convolution::new([batch, side, side, channels], window, filters, 1).expect("it fits");
    let [x, w, bias] = [chosen.x_len(), chosen.w_len(), filters].map(|len| draw(0, len));
    let dy = draw(1, chosen.y_len());
    let pair = [chosen, chosen.in_order()];
    let scratch = |len: fn(&Convolution, usize) -> usize| pair.map(|c| vec![0.0_f32; len(&c, 1)]);

    let mut scratches = scratch(Convolution::forward_scratch::<f32>);
    let mut results = pair.map(|c| vec![0.0; c.y_len()]);
    let forward = over(&pair, &mut scratches, &mut results, patience, |c, y, scratch| {
        c.forward(cpu, &x, &w, Epilogue::bias(&bias).relu(), y, scratch).expect("it fits");
    });
    let mut scratches = scratch(Convolution::dx_scratch::<f32>);
    let mut results = pair.map(|c| vec![0.0; c.x_len()]);
    let dx = over(&pair, &mut scratches, &mut results, patience, |c, dx, scratch| {
        c.dx(cpu, &dy, &w, dx, scratch).expect("it fits");
    });
    let mut scratches = scratch(Convolution::dw_scratch::<f32>);
    let mut results = pair.map(|c| vec![0.0; c.w_len()]);
    let dw = over(&pair, &mut scratches, &mut results, patience, |c, dw, scratch| {
        c.dw(cpu, &x, &dy, dw, None, scratch).expect("it fits");
    });
    [forward, dx, dw]
}

/// A pass of the first over that of the second.
fn over(
    pair: &[Convolution; 2],
    scratches: &mut [Vec<f32>; 2],
    results: &mut [Vec<f32>; 2],
    patience: Patience,
    pass: impl Fn(&Convolution, &mut [f32], &mut [f32]),
) -> f64 {
    let (pass, mut works) = (&pass, Vec::<Work<'_>>::new());
    for ((c, scratch), result) in pair.iter().zip(scratches).zip(results) {
        works.push(Box::new(move |times| repeat(times, || pass(c, result, scratch))));
    }
    let seconds = minima(&mut works, patience);
    seconds[0] / seconds[1]
}
