//! Cost of a dense layer over its bare products, with bias, ReLU and their gradients in epilogues.

use std::cell::RefCell;

use kernels::gemm::Epilogue;
use kernels::{Isa, MatRef};
use runner::machine::timing::{Patience, Work, minima, repeat};

use crate::peers::{Ours, operands};
use crate::shape::Shape;

/// Images per step.
const BATCH: usize = 128;
/// Inputs of the layer.
const INPUTS: usize = 784;
/// Outputs of the layer.
const OUTPUTS: usize = 512;

/// Time of the fused products over that of the bare ones: forward and backward.
pub fn ratios(threads: usize, isa: Isa, patience: Patience) -> [f64; 2] {
    let shape = |name: &str, [m, n, k]: [usize; 3], a_transposed, b_transposed| Shape {
        name: name.into(),
        m,
        n,
        k,
        a_transposed,
        b_transposed,
    };
    let forward = shape("fwd", [BATCH, OUTPUTS, INPUTS], false, false);
    let dw_shape = shape("dW", [INPUTS, OUTPUTS, BATCH], true, false);
    let dx_shape = shape("dX", [BATCH, INPUTS, OUTPUTS], false, true);
    // x and dy are operands of two products each; x also serves as the output of the previous
    // layer.
    let (x, w, y) = operands::<f32>(&forward);
    let (_, dy, dw) = operands::<f32>(&dw_shape);
    let (bias, db, dx) = (vec![0.1; OUTPUTS], vec![0.0; OUTPUTS], vec![0.0; BATCH * INPUTS]);
    let ours = RefCell::new(Ours::new(threads, isa));
    let (y, dw, dx, db) = (RefCell::new(y), RefCell::new(dw), RefCell::new(dx), RefCell::new(db));

    let run_forward = |fused: bool| {
        let epilogue = if fused { Epilogue::bias(&bias).relu() } else { Epilogue::NONE };
        ours.borrow_mut().fused(&forward, &x, &w, &mut y.borrow_mut(), epilogue);
    };
    let run_backward = |fused: bool| {
        let (mut ours, mut db) = (ours.borrow_mut(), db.borrow_mut());
        let output = MatRef::row_major(&x, BATCH, INPUTS).expect("it is that long");
        let gradient = if fused { Epilogue::NONE.relu_gradient(output) } else { Epilogue::NONE };
        ours.fused(&dx_shape, &dy, &w, &mut dx.borrow_mut(), gradient);
        let sums = if fused { Epilogue::NONE.column_sums(&mut db) } else { Epilogue::NONE };
        ours.fused(&dw_shape, &x, &dy, &mut dw.borrow_mut(), sums);
    };
    let (run_forward, run_backward) = (&run_forward, &run_backward);
    let mut works: [Work<'_>; 4] = [
        Box::new(|times| repeat(times, || run_forward(true))),
        Box::new(|times| repeat(times, || run_forward(false))),
        Box::new(|times| repeat(times, || run_backward(true))),
        Box::new(|times| repeat(times, || run_backward(false))),
    ];
    let seconds = minima(&mut works, patience);
    [seconds[0] / seconds[1], seconds[2] / seconds[3]]
}
