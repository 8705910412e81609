//! A dense layer with ReLU, forward and backward, in three matrix products.
//!
//! ```text
//! forward    y  = relu(x W + b)
//! backward   dx = dz W^T where x > 0, else 0        dz: the loss's gradient at x W + b
//!            dW = x^T dz,   db = column sums of dz
//! ```
//!
//! `cargo run --release -p evenkeel-kernels --example dense_layer`

use kernels::activation::Activation;
use kernels::gemm::{Epilogue, GemmShape, gemm, gemm_scratch};
use kernels::{Cpu, Error, MatMut, MatRef};

const BATCH: usize = 2;
const INPUTS: usize = 3;
const OUTPUTS: usize = 2;

fn main() -> Result<(), Error> {
    let cpu = Cpu::detect(); // reads the processor's features: once per program is enough
    // One row per sample. The inputs are outputs of another ReLU: hence the zeros.
    let x = [1.0_f32, 0.0, 3.0, 4.0, 5.0, 0.0];
    let (w, b) = ([1.0, -1.0, 0.5, -0.5, 0.25, 0.25], [0.5, 1.0]);
    // Scratch for the largest of the three products; the kernels never allocate.
    let mut scratch = [0.0; {
        let forward = gemm_scratch::<f32>(1, GemmShape { m: BATCH, n: OUTPUTS, k: INPUTS });
        let dx = gemm_scratch::<f32>(1, GemmShape { m: BATCH, n: INPUTS, k: OUTPUTS });
        let dw = gemm_scratch::<f32>(1, GemmShape { m: INPUTS, n: OUTPUTS, k: BATCH });
        let most = if forward > dx { forward } else { dx };
        if most > dw { most } else { dw }
    }];

    // Forward: the epilogue applies bias and ReLU while the product is in registers.
    let mut y = [0.0; BATCH * OUTPUTS];
    let (x_rows, w_rows) =
        (MatRef::row_major(&x, BATCH, INPUTS)?, MatRef::row_major(&w, INPUTS, OUTPUTS)?);
    let y_rows = MatMut::row_major(&mut y, BATCH, OUTPUTS)?;
    gemm(cpu, 1.0, x_rows, w_rows, 0.0, y_rows, Epilogue::bias(&b).relu(), &mut scratch)?;
    println!("y  = {y:?}");

    // Backward, from the loss's gradient at y: through this layer's ReLU first.
    let mut dz = [1.0, 1.0, 0.5, -0.5];
    Activation::Relu.backward(cpu, &y, &mut dz)?;
    let dz_rows = MatRef::row_major(&dz, BATCH, OUTPUTS)?;

    // dx; the epilogue takes it through the ReLU whose output is x. A transpose costs nothing: it
    // exchanges strides.
    let mut dx = [0.0; BATCH * INPUTS];
    let dx_rows = MatMut::row_major(&mut dx, BATCH, INPUTS)?;
    let through_relu = Epilogue::NONE.relu_gradient(x_rows);
    gemm(cpu, 1.0, dz_rows, w_rows.transpose(), 0.0, dx_rows, through_relu, &mut scratch)?;
    println!("dx = {dx:?}");

    // dW, and db from the same read of dz. With a beta of 1, both would be added to the gradients
    // already there.
    let (mut dw, mut db) = ([0.0; INPUTS * OUTPUTS], [0.0; OUTPUTS]);
    let dw_rows = MatMut::row_major(&mut dw, INPUTS, OUTPUTS)?;
    let with_db = Epilogue::NONE.column_sums(&mut db);
    gemm(cpu, 1.0, x_rows.transpose(), dz_rows, 0.0, dw_rows, with_db, &mut scratch)?;
    println!("dW = {dw:?}");
    println!("db = {db:?}");

    assert_eq!(y, [2.25, 0.75, 7.0, 0.0]);
    assert_eq!(dx, [0.0, 0.0, 0.5, 0.5, 0.25, 0.0]);
    assert_eq!((dw, db), ([3.0, 1.0, 2.5, 0.0, 3.0, 3.0], [1.5, 1.0]));
    Ok(())
}
