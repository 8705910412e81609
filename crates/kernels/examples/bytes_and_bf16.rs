//! Two kinds of matrices that take less memory than f32: pixels as bytes, and bf16.
//!
//! `cargo run --release -p evenkeel-kernels --example bytes_and_bf16`

use half::bf16;
use kernels::gemm::{
    Epilogue, GemmShape, Operand, gemm, gemm_bf16, gemm_bf16_scratch, gemm_scratch,
};
use kernels::{Cpu, Error, MatMut, MatRef};

fn main() -> Result<(), Error> {
    let cpu = Cpu::detect();

    // Two images of three pixels, as a file stores them. The product scales them to [0, 1] as it
    // reads them: no array of converted pixels is needed, and the result has the same bits.
    let pixels = [0_u8, 51, 255, 255, 102, 0];
    let images = Operand::bytes(MatRef::row_major(&pixels, 2, 3)?, 1.0 / 255.0);
    let w = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0];
    let mut y = [0.0; 4];
    let mut scratch = [0.0; gemm_scratch::<f32>(1, GemmShape { m: 2, n: 2, k: 3 })];
    let (w_rows, y_rows) = (MatRef::row_major(&w, 3, 2)?, MatMut::row_major(&mut y, 2, 2)?);
    gemm(cpu, 1.0, images, w_rows, 0.0, y_rows, Epilogue::NONE, &mut scratch)?;
    println!("from bytes: {y:?}");

    // bf16 has the range of f32 and a significand of 8 bits. Products are summed in f32; C is bf16
    // here, and may be f32.
    let a = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0].map(bf16::from_f32);
    let b = [0.5, -1.0, 1.5, 2.0, -0.25, 1.0].map(bf16::from_f32);
    let mut c = [bf16::ZERO; 4];
    let mut scratch = [0.0_f32; gemm_bf16_scratch(1, GemmShape { m: 2, n: 2, k: 3 })];
    let (a_rows, b_rows) = (MatRef::row_major(&a, 2, 3)?, MatRef::row_major(&b, 3, 2)?);
    let c_rows = MatMut::row_major(&mut c, 2, 2)?;
    gemm_bf16(cpu, 1.0, a_rows, b_rows, 0.0, c_rows, Epilogue::NONE, &mut scratch)?;
    println!("from bf16:  {:?}", c.map(bf16::to_f32));

    assert_eq!(c.map(bf16::to_f32), [2.75, 6.0, 8.0, 12.0]);
    Ok(())
}
