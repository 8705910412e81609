use half::bf16;

use crate::testing::{same_on_every_cpu, takes};
use kernels::loss::*;
use kernels::{Cpu, Element, Error};

fn masked<E: Element>(width: usize, one: E) {
    for rows in [0_usize, 1, 2, 15, 17, 1000, 40_000] {
        if !takes(rows * width) {
            continue;
        }
        let keep: Vec<bool> = (0..rows).map(|i| i % 3 != 1 && i % 7 != 2).collect();
        let expected: Vec<E> =
            (0..rows * width).map(|i| if keep[i / width] { one } else { E::default() }).collect();
        same_on_every_cpu(|cpu| {
            let mut x = std::vec![one; rows * width];
            mask_rows(cpu, &keep, &mut x).unwrap();
            assert!(x == expected, "{rows} rows of {width}");
        });
    }
}

#[test]
fn masked_rows_become_zero() {
    for width in [1, 3, 10] {
        masked(width, 1.5_f32);
        masked(width, -2.0_f64);
        masked(width, bf16::NEG_INFINITY);
    }
    let mut x = [f32::NAN, -0.0];
    mask_rows(Cpu::detect(), &[false, false], &mut x).unwrap();
    assert_eq!(x.map(f32::to_bits), [0, 0]);
    // A row that is longer than a block.
    let mut x = std::vec![1.0_f32; 3 * 20_000];
    mask_rows(Cpu::detect(), &[true, false, true], &mut x).unwrap();
    assert!(x.iter().enumerate().all(|(i, &x)| x == f32::from(i / 20_000 != 1)));
}

#[test]
fn a_mask_needs_whole_rows() {
    let mut x = [1.0_f32; 5];
    let error = |expected| Err(Error::Length { operand: "x", expected, got: 5 });
    let cpu = Cpu::detect();
    assert_eq!(mask_rows(cpu, &[false; 2], &mut x), error(4));
    assert_eq!(mask_rows(cpu, &[false; 6], &mut x), error(0));
    assert_eq!(mask_rows(cpu, &[], &mut x), error(0));
    assert_eq!(x, [1.0; 5]);
    assert_eq!(mask_rows::<f32>(cpu, &[], &mut []), Ok(()));
    assert_eq!(mask_rows::<f32>(cpu, &[false; 3], &mut []), Ok(()));
}
