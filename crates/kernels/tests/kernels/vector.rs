use half::bf16;

use crate::testing::{bits, same_on_every_cpu, takes};
use kernels::random::Stream;
use kernels::vector::*;
use kernels::{Cpu, Element, Error, Float};

const LENGTHS: [usize; 9] = [0, 1, 7, 16, 33, 70, 16_383, 16_385, 40_000];

fn draw<E: Element>(stream: u64, n: usize) -> Vec<E> {
    let specials = [0.0, -0.0, f32::NAN, f32::INFINITY, f32::MIN_POSITIVE / 4.0];
    let mut x: Vec<E> = (0..n as u64)
        .map(|i| E::from_float(E::Float::from_f64(Stream::new(17, stream).uniform_f64(i) - 0.5)))
        .collect();
    // At different indices in different streams.
    for (i, special) in specials.into_iter().enumerate() {
        if let Some(x) = x.get_mut((i + 3 * stream as usize) % 7) {
            *x = E::from_float(E::Float::from_f64(f64::from(special)));
        }
    }
    x
}

fn floats<E: Element>(x: &[E]) -> Vec<E::Float> {
    x.iter().map(|x| x.to_float()).collect()
}

macro_rules! element_by_element {
    ($name:ident, $element:ty, $float:ident) => {
        #[test]
        fn $name() {
            type Change = fn(Cpu<'_>, &[$element], &mut [$element]) -> Result<(), Error>;
            let a: $float = 0.3;
            let changes: [(Change, fn($float, $float) -> $float); 4] = [
                (
                    |cpu, _, y| {
                        scale(cpu, 0.3, y);
                        Ok(())
                    },
                    |_, y| 0.3 * y,
                ),
                (accumulate, |x, y| y + x),
                (|cpu, x, y| axpy(cpu, 0.3, x, y), |x, y| $float::mul_add(0.3, x, y)),
                (|cpu, x, y| lerp(cpu, 0.3, x, y), |x, y| $float::mul_add(0.3, x - y, y)),
            ];
            assert_eq!(a, 0.3);
            for n in LENGTHS.into_iter().filter(|&n| takes(n)) {
                let (x, y) = (draw::<$element>(0, n), draw::<$element>(1, n + 3));
                for (which, (change, scalar)) in changes.iter().enumerate() {
                    let expected: Vec<$element> = x
                        .iter()
                        .zip(&y[1..])
                        .map(|(x, y)| <$element>::from_float(scalar(x.to_float(), y.to_float())))
                        .collect();
                    same_on_every_cpu(|cpu| {
                        let mut out = y.clone();
                        change(cpu, &x, &mut out[1..=n]).unwrap();
                        assert!(
                            bits(&floats(&out[1..=n])) == bits(&floats(&expected)),
                            "{which}, {n} on {cpu:?}"
                        );
                        assert!(
                            bits(&floats(&out[n + 1..])) == bits(&floats(&y[n + 1..])),
                            "written outside"
                        );
                    });
                }
            }
        }
    };
}
element_by_element!(element_by_element_as_the_scalar_formula_f32, f32, f32);
element_by_element!(element_by_element_as_the_scalar_formula_f64, f64, f64);
element_by_element!(element_by_element_as_the_scalar_formula_bf16, bf16, f32);

#[test]
fn lerp_ends_where_it_should() {
    let (x, mut y) = ([3.0_f32, -1.0], [5.0_f32, 7.0]);
    lerp(Cpu::detect(), 0.0, &x, &mut y).unwrap();
    assert_eq!(y, [5.0, 7.0]);
    lerp(Cpu::detect(), 1.0, &x, &mut y).unwrap();
    assert_eq!(y, x);
}

/// The documented order, in scalars.
fn ordered_dot(x: &[f64], y: &[f64]) -> f64 {
    let mut total = 0.0;
    for (x, y) in x.chunks(16 * 1024).zip(y.chunks(16 * 1024)) {
        let mut lanes = [0.0; 32];
        x.iter().zip(y).enumerate().for_each(|(i, (x, y))| lanes[i % 32] += x * y);
        for half in [16, 8, 4, 2, 1] {
            for l in 0..half {
                lanes[l] += lanes[l + half];
            }
        }
        total += lanes[0];
    }
    total
}

fn uniform<T: Float>(stream: u64, n: usize) -> Vec<T> {
    (0..n as u64).map(|i| T::from_f64(Stream::new(18, stream).uniform_f64(i) - 0.5)).collect()
}

fn dots_in_the_documented_order<T: Float>() {
    for n in LENGTHS.into_iter().filter(|&n| takes(n)) {
        let (x, y) = (uniform::<T>(0, n), uniform::<T>(1, n));
        let wide = |x: &[T]| -> Vec<f64> { x.iter().map(|x| x.to_f64()).collect() };
        let got = same_on_every_cpu(|cpu| dot(cpu, &x, &y).unwrap());
        assert_eq!(got, ordered_dot(&wide(&x), &wide(&y)), "{n} elements");
        let got = same_on_every_cpu(|cpu| cosine(cpu, &x, &y).unwrap());
        let norms = kernels::norm::norm2(Cpu::detect(), &x).unwrap()
            * kernels::norm::norm2(Cpu::detect(), &y).unwrap();
        let expected = if n == 0 { 0.0 } else { ordered_dot(&wide(&x), &wide(&y)) / norms };
        assert!((got - expected).abs() < 1e-14, "{n} elements: {got}, {expected}");
    }
}

#[test]
fn dot_products_in_the_documented_order() {
    dots_in_the_documented_order::<f32>();
    dots_in_the_documented_order::<f64>();
}

#[test]
fn dot_products_propagate_nan_infinities_and_overflow() {
    let cpu = Cpu::detect();
    assert_eq!(
        dot(cpu, &[f32::MAX; 2], &[f32::MAX; 2]),
        Ok(2.0 * f64::from(f32::MAX) * f64::from(f32::MAX))
    );
    assert!(dot(cpu, &[0.0_f32, 1.0], &[f32::INFINITY, 1.0]).is_ok_and(f64::is_nan));
    assert_eq!(dot(cpu, &[1.0_f32, 1.0], &[f32::INFINITY, 1.0]), Ok(f64::INFINITY));
}

#[test]
fn the_cosine_of_finite_vectors_is_in_range() {
    let same = |x: &[f64], y: &[f64]| same_on_every_cpu(|cpu| cosine(cpu, x, y).unwrap());
    let sizes = [f64::MAX, 1e300, 1e160, 1.0, 1e-160, 1e-300, f64::MIN_POSITIVE, f64::from_bits(1)];
    for a in sizes {
        for b in sizes {
            let (x, y) = ([a, a, 0.0], [b, b, -0.0]);
            assert!((same(&x, &y) - 1.0).abs() < 1e-15, "{a:e}, {b:e}: {}", same(&x, &y));
            assert!((same(&x, &[-b, -b, 0.0]) + 1.0).abs() < 1e-15);
            assert_eq!(same(&x, &[b, -b, 0.0]), 0.0);
        }
        assert_eq!(same(&[a], &[0.0]), 0.0);
    }
    // At most 1, in spite of rounding.
    for n in 1..200 {
        let x = uniform::<f64>(2, n);
        assert!(same(&x, &x) <= 1.0);
    }
    for bad in [f32::NAN, f32::INFINITY] {
        assert!(cosine(Cpu::detect(), &[bad, 1.0], &[0.0, 0.0]).is_ok_and(f64::is_nan));
        assert!(cosine(Cpu::detect(), &[0.0, 1.0], &[0.0, bad]).is_ok_and(f64::is_nan));
    }
}

#[test]
fn lengths_that_differ_are_refused() {
    let (cpu, x, mut y) = (Cpu::detect(), [1.0_f32; 3], [2.0_f32; 2]);
    let refused = |operand, expected, got| Err(Error::Length { operand, expected, got });
    assert_eq!(accumulate(cpu, &x, &mut y), refused("x", 2, 3));
    assert_eq!(axpy(cpu, 1.0, &x, &mut y), refused("x", 2, 3));
    assert_eq!(lerp(cpu, 1.0, &x, &mut y), refused("x", 2, 3));
    assert_eq!(y, [2.0; 2]);
    assert_eq!(dot(cpu, &x, &y), Err(Error::Length { operand: "y", expected: 3, got: 2 }));
    assert_eq!(cosine(cpu, &x, &y), Err(Error::Length { operand: "y", expected: 3, got: 2 }));
}

#[test]
fn every_byte_is_converted_then_scaled_once() {
    fn check<T: Float>(alpha: T) {
        // Whole registers, a remainder, and several tasks.
        for len in [0, 1, 15, 16, 33, 784, 40_000] {
            let x: Vec<u8> = (0..len).map(|i| (i * 7 + i / 256) as u8).collect();
            let expected = x.iter().map(|&x| {
                let mut y = T::from_u8(x);
                y *= alpha;
                y
            });
            let expected: Vec<T> = expected.collect();
            same_on_every_cpu(|cpu| {
                let mut y = vec![T::NAN; len];
                scale_bytes(cpu, alpha, &x, &mut y).unwrap();
                assert_eq!(bits(&y), bits(&expected));
            });
        }
        let mut y = [T::ONE; 2];
        let error = scale_bytes(Cpu::detect(), alpha, &[1], &mut y).unwrap_err();
        assert_eq!((error, y), (Error::Length { operand: "x", expected: 2, got: 1 }, [T::ONE; 2]));
    }
    check::<f32>(1.0 / 255.0);
    check::<f64>(1.0 / 255.0);
}
