//! Argmax compared with a scalar loop: ties, NaN, every length.

use crate::testing::same_on_every_cpu;
use kernels::argmax::*;
use kernels::random::Stream;
use kernels::{Cpu, Error};

#[test]
fn the_first_of_equals_and_the_first_nan_are_taken() {
    let prediction = |row: &[f32]| {
        let mut predictions = [u32::MAX];
        argmax(Cpu::detect(), row, row.len(), &mut predictions).unwrap();
        predictions[0]
    };
    assert_eq!(prediction(&[1.0, 3.0, 3.0, 2.0]), 1);
    assert_eq!(prediction(&[-0.0, 0.0]), 0);
    assert_eq!(prediction(&[f32::NEG_INFINITY; 3]), 0);
    assert_eq!(prediction(&[1.0, f32::NAN, f32::INFINITY, f32::NAN]), 1);
    let z: Vec<f32> = (0..30_000).map(|i| Stream::new(11, 0).uniform_f32(i) - 0.5).collect();
    same_on_every_cpu(|cpu| {
        let mut predictions = [u32::MAX; 3000];
        argmax(cpu, &z, 10, &mut predictions).unwrap();
        for (row, &prediction) in z.chunks(10).zip(&predictions) {
            assert!(row.iter().all(|&x| x <= row[prediction as usize]));
        }
    });
}

#[test]
fn misuse_is_refused() {
    let cpu = Cpu::detect();
    let mut predictions = [7; 2];
    let error = |operand, expected, got| Err(Error::Length { operand, expected, got });
    assert_eq!(argmax(cpu, &[0.0; 6], 4, &mut predictions), error("logits", 8, 6));
    assert_eq!(
        argmax(cpu, &[0.0; 6], usize::MAX, &mut predictions),
        error("logits", usize::MAX, 6)
    );
    assert_eq!(argmax::<f32>(cpu, &[], 0, &mut predictions), error("classes", 1, 0));
    assert_eq!(predictions, [7; 2]);
    assert_eq!(argmax::<f32>(cpu, &[], 0, &mut []), Ok(()));
}
