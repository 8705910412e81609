//! Errors: every wrong shape is named, and nothing is written.

use kernels::gemm::{Epilogue, GemmShape, gemm, gemm_scratch};
use kernels::{Cpu, Error, MatMut, MatRef};

/// Shapes and lengths of a product of `[2, 3]` and `[3, 4]`; a test makes one of them wrong.
#[derive(Clone, Copy)]
struct Call {
    a: (usize, usize),
    b: (usize, usize),
    bias: usize,
    z: (usize, usize),
    y: (usize, usize),
    sums: usize,
    scratch: usize,
}

const ENOUGH: usize = gemm_scratch::<f32>(1, GemmShape { m: 2, n: 4, k: 3 });
const RIGHT: Call =
    Call { a: (2, 3), b: (3, 4), bias: 4, z: (2, 4), y: (2, 4), sums: 4, scratch: ENOUGH };

impl Call {
    fn run(self) -> Result<(), Error> {
        let operand = [1.0_f32; 16];
        let bias = [1.0; 8];
        let (mut c, mut z, mut sums) = ([7.0_f32; 8], [7.0; 16], [7.0; 8]);
        let result = gemm(
            Cpu::detect(),
            1.0,
            MatRef::row_major(&operand, self.a.0, self.a.1)?,
            MatRef::row_major(&operand, self.b.0, self.b.1)?,
            0.0,
            MatMut::row_major(&mut c, 2, 4)?,
            Epilogue::bias(&bias[..self.bias])
                .save(MatMut::row_major(&mut z, self.z.0, self.z.1)?)
                .relu_gradient(MatRef::row_major(&operand, self.y.0, self.y.1)?)
                .column_sums(&mut sums[..self.sums]),
            &mut vec![0.0; self.scratch],
        );
        let unchanged = c == [7.0; 8] && z == [7.0; 16] && sums == [7.0; 8];
        assert_eq!(unchanged, result.is_err());
        result
    }
}

#[test]
fn wrong_shapes_are_errors_and_change_nothing() {
    assert_eq!(RIGHT.run(), Ok(()));
    let length = |operand, expected, got| Err(Error::Length { operand, expected, got });
    assert_eq!(Call { a: (3, 3), ..RIGHT }.run(), length("rows of a", 2, 3));
    assert_eq!(Call { a: (2, 2), ..RIGHT }.run(), length("rows of b", 2, 3));
    assert_eq!(Call { b: (3, 3), ..RIGHT }.run(), length("columns of b", 4, 3));
    assert_eq!(Call { bias: 3, ..RIGHT }.run(), length("bias", 4, 3));
    assert_eq!(Call { z: (3, 4), ..RIGHT }.run(), length("rows of z", 2, 3));
    assert_eq!(Call { z: (2, 5), ..RIGHT }.run(), length("columns of z", 4, 5));
    assert_eq!(Call { y: (1, 4), ..RIGHT }.run(), length("rows of y", 2, 1));
    assert_eq!(Call { y: (2, 3), ..RIGHT }.run(), length("columns of y", 4, 3));
    assert_eq!(Call { sums: 2, ..RIGHT }.run(), length("column sums", 4, 2));
    assert_eq!(Call { sums: 5, ..RIGHT }.run(), length("column sums", 4, 5));
}

#[test]
fn little_scratch_is_an_error_but_none_is_not() {
    for scratch in [1, ENOUGH - 1] {
        let error = Error::Scratch { expected: ENOUGH, got: scratch };
        assert_eq!(Call { scratch, ..RIGHT }.run(), Err(error));
    }
    assert_eq!(Call { scratch: 0, ..RIGHT }.run(), Ok(()));
    assert_eq!(Call { scratch: ENOUGH + 1, ..RIGHT }.run(), Ok(()));
}
