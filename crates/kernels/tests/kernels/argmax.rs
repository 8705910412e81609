//! Argmax against a scalar loop: ties, NaN, every length.

use crate::testing::same_on_every_cpu;
use kernels::argmax::*;
use kernels::random::Stream;
use kernels::{Cpu, Error};

#[test]
fn the_first_of_equals_and_the_first_nan_are_taken() {
    let answer = |row: &[f32]| {
        let mut answers = [u32::MAX];
        argmax(Cpu::detect(), row, row.len(), &mut answers).unwrap();
        answers[0]
    };
    assert_eq!(answer(&[1.0, 3.0, 3.0, 2.0]), 1);
    assert_eq!(answer(&[-0.0, 0.0]), 0);
    assert_eq!(answer(&[f32::NEG_INFINITY; 3]), 0);
    assert_eq!(answer(&[1.0, f32::NAN, f32::INFINITY, f32::NAN]), 1);
    let z: Vec<f32> = (0..30_000).map(|i| Stream::new(11, 0).uniform_f32(i) - 0.5).collect();
    same_on_every_cpu(|cpu| {
        let mut answers = [u32::MAX; 3000];
        argmax(cpu, &z, 10, &mut answers).unwrap();
        for (row, &answer) in z.chunks(10).zip(&answers) {
            assert!(row.iter().all(|&x| x <= row[answer as usize]));
        }
    });
}

#[test]
fn misuse_is_refused() {
    let cpu = Cpu::detect();
    let mut answers = [7; 2];
    let error = |operand, expected, got| Err(Error::Length { operand, expected, got });
    assert_eq!(argmax(cpu, &[0.0; 6], 4, &mut answers), error("logits", 8, 6));
    assert_eq!(argmax(cpu, &[0.0; 6], usize::MAX, &mut answers), error("logits", usize::MAX, 6));
    assert_eq!(argmax::<f32>(cpu, &[], 0, &mut answers), error("classes", 1, 0));
    assert_eq!(answers, [7; 2]);
    assert_eq!(argmax::<f32>(cpu, &[], 0, &mut []), Ok(()));
}
