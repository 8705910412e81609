//! Compares with the same steps by the functions of `activation` and single scalar operations.

use crate::testing::{bits, same_on_every_cpu, takes};
use kernels::activation::Activation;
use kernels::random::Stream;
use kernels::recurrent::*;
use kernels::{Cpu, Error, Float};

const LENGTHS: [usize; 6] = [0, 1, 7, 33, 70, 16_385];

/// `n` numbers between -3 and 3, including a NaN, an infinity and zeros of both signs, at other
/// indices in each stream.
fn draw<T: Float>(stream: u64, n: usize) -> Vec<T> {
    let mut x: Vec<T> = (0..n as u64)
        .map(|i| T::from_f64(6.0 * Stream::new(5, stream).uniform_f64(i) - 3.0))
        .collect();
    for (i, special) in [0.0, -0.0, f64::NAN, f64::INFINITY].into_iter().enumerate() {
        if let Some(x) = x.get_mut(5 * i + stream as usize % 11) {
            *x = T::from_f64(special);
        }
    }
    x
}

fn zip<T: Float>(a: &[T], b: &[T], both: impl Fn(T, T) -> T) -> Vec<T> {
    a.iter().zip(b).map(|(&a, &b)| both(a, b)).collect()
}

fn add<T: Float>(a: &[T], b: &[T]) -> Vec<T> {
    zip(a, b, |mut a, b| {
        a += b;
        a
    })
}

fn mul<T: Float>(a: &[T], b: &[T]) -> Vec<T> {
    zip(a, b, |mut a, b| {
        a *= b;
        a
    })
}

fn sub<T: Float>(a: &[T], b: &[T]) -> Vec<T> {
    zip(a, b, |mut a, b| {
        a -= b;
        a
    })
}

fn act<T: Float>(cpu: Cpu<'_>, activation: Activation, mut x: Vec<T>) -> Vec<T> {
    activation.forward_in_place(cpu, &mut x).unwrap();
    x
}

fn back<T: Float>(cpu: Cpu<'_>, activation: Activation, y: &[T], mut dy: Vec<T>) -> Vec<T> {
    activation.backward(cpu, y, &mut dy).unwrap();
    dy
}

/// The results of a step, as bits.
fn all<T: Float>(x: &[&[T]]) -> Vec<Vec<u64>> {
    x.iter().map(|x| bits(x)).collect()
}

fn refs<T, const N: usize>(x: &[Vec<T>; N]) -> [&[T]; N] {
    core::array::from_fn(|i| &x[i][..])
}

fn muts<T, const N: usize>(x: &mut [Vec<T>; N]) -> [&mut [T]; N] {
    x.each_mut().map(|x| &mut x[..])
}

fn lstm_is_its_formula<T: Float>(n: usize) {
    let (sigmoid, tanh) = (Activation::Sigmoid, Activation::Tanh);
    let u: [Vec<T>; 4] = core::array::from_fn(|i| draw(i as u64, n));
    let v: [Vec<T>; 4] = core::array::from_fn(|i| draw(10 + i as u64, n));
    let [before, dh, dcell_after] = core::array::from_fn(|i| draw::<T>(20 + i as u64, n));
    same_on_every_cpu(|cpu| {
        let (mut gates, [mut cell, mut h]) = (u.clone(), [before.clone(), before.clone()]);
        lstm(cpu, refs(&v), &before, muts(&mut gates), &mut cell, &mut h).unwrap();
        let [i, f, g, o]: [Vec<T>; 4] = core::array::from_fn(|gate| {
            act(cpu, if gate == 2 { tanh } else { sigmoid }, add(&u[gate], &v[gate]))
        });
        let after = add(&mul(&f, &before), &mul(&i, &g));
        let y = act(cpu, tanh, after.clone());
        let given = all(&[&gates[0], &gates[1], &gates[2], &gates[3], &cell, &h]);
        assert_eq!(given, all(&[&i, &f, &g, &o, &after, &mul(&y, &o)]), "{cpu:?}");

        let (mut du, mut dcell) = (u.clone(), dcell_after.clone());
        let cells = [&before[..], &cell[..]];
        lstm_backward(cpu, refs(&gates), cells, &dh, &mut dcell, muts(&mut du)).unwrap();
        let d = add(&dcell_after, &back(cpu, tanh, &y, mul(&dh, &o)));
        let expected = [
            back(cpu, sigmoid, &i, mul(&d, &g)),
            back(cpu, sigmoid, &f, mul(&d, &before)),
            back(cpu, tanh, &g, mul(&d, &i)),
            back(cpu, sigmoid, &o, mul(&dh, &y)),
        ];
        assert_eq!(all(&refs(&du)), all(&refs(&expected)), "{cpu:?}");
        assert_eq!(bits(&dcell), bits(&mul(&d, &f)), "{cpu:?}");
        (given, all(&refs(&du)), bits(&dcell))
    });
}

fn gru_is_its_formula<T: Float>(n: usize) {
    let (sigmoid, tanh) = (Activation::Sigmoid, Activation::Tanh);
    let u: [Vec<T>; 3] = core::array::from_fn(|i| draw(i as u64, n));
    let v: [Vec<T>; 3] = core::array::from_fn(|i| draw(10 + i as u64, n));
    let [before, dh_after] = core::array::from_fn(|i| draw::<T>(20 + i as u64, n));
    let ones = std::vec![T::ONE; n];
    same_on_every_cpu(|cpu| {
        let (mut gates, mut h) = (u.clone(), before.clone());
        gru(cpu, refs(&v), &before, muts(&mut gates), &mut h).unwrap();
        let r = act(cpu, sigmoid, add(&u[0], &v[0]));
        let z = act(cpu, sigmoid, add(&u[1], &v[1]));
        let n = act(cpu, tanh, add(&u[2], &mul(&r, &v[2])));
        let rest = sub(&ones, &z);
        let given = all(&[&gates[0], &gates[1], &gates[2], &h]);
        assert_eq!(given, all(&[&r, &z, &n, &add(&mul(&rest, &n), &mul(&z, &before))]), "{cpu:?}");

        let (mut du, mut dh, mut dvn) = (u.clone(), dh_after.clone(), before.clone());
        gru_backward(cpu, refs(&gates), &v[2], &before, &mut dh, muts(&mut du), &mut dvn).unwrap();
        let dn = back(cpu, tanh, &n, mul(&dh_after, &rest));
        let dr = back(cpu, sigmoid, &r, mul(&dn, &v[2]));
        let dz = back(cpu, sigmoid, &z, mul(&dh_after, &sub(&before, &n)));
        let gradients = all(&[&du[0], &du[1], &du[2], &dvn, &dh]);
        assert_eq!(gradients, all(&[&dr, &dz, &dn, &mul(&dn, &r), &mul(&dh_after, &z)]), "{cpu:?}");
        (given, gradients)
    });
}

#[test]
fn a_step_of_lstm_has_the_bits_of_its_formula() {
    for n in LENGTHS.into_iter().filter(|&n| takes(n)) {
        lstm_is_its_formula::<f32>(n);
        lstm_is_its_formula::<f64>(n);
    }
}

#[test]
fn a_step_of_gru_has_the_bits_of_its_formula() {
    for n in LENGTHS.into_iter().filter(|&n| takes(n)) {
        gru_is_its_formula::<f32>(n);
        gru_is_its_formula::<f64>(n);
    }
}

#[test]
fn operands_of_another_length_are_refused() {
    let cpu = Cpu::detect();
    let (v, mut gates, [mut cell, mut h]) = ([&[0.0_f32][..]; 4], [[1.0]; 4], [[1.0], [1.0]]);
    let [i, f, g, o] = gates.each_mut().map(|gate| &mut gate[..]);
    let refused = lstm(cpu, v, &[], [i, f, g, o], &mut cell, &mut h);
    assert_eq!(refused, Err(Error::Length { operand: "cell before", expected: 1, got: 0 }));
    assert_eq!((gates, cell, h), ([[1.0]; 4], [1.0], [1.0]));
}
