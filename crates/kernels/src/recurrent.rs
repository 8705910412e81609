//! Steps of recurrent cells, element by element: all gates of an element at once, with their
//! gradients.
//!
//! ```text
//! LSTM   i, f, o = sigmoid(u + v);  g = tanh(u + v);  c' = f c + i g;  h' = o tanh(c')
//! GRU    r, z = sigmoid(u + v);  n = tanh(u_n + r v_n);  h' = (1 - z) n + z h
//! ```
//!
//! u comes from the input of the step and v from the previous state h. The forward pass overwrites
//! u with the gates. Each operation is rounded by itself; the functions and their gradients are
//! those of [`activation`](crate::activation). NaN and infinities propagate as in IEEE 754. Called
//! by the recurrent layers of a network.

use crate::activation::{Curve, Sigmoid, Tanh};
use crate::elementwise::{Elementwise, for_each_element};
use crate::simd::{Float, Simd};
use crate::{Cpu, Error};

/// A step of LSTM (Hochreiter and Schmidhuber, Neural Computation 1997; with forget gates).
/// PyTorch: `LSTMCell`, with the same gate order i f g o.
///
/// `gates` holds u and becomes the gates. `cell_before` is the cell state before the step; `cell`
/// and `h` become the states after it. All operands have the same length.
///
/// ```
/// use kernels::{Cpu, recurrent::lstm};
/// let ([mut i, mut f, mut g, mut o], [mut cell, mut h]) = ([[0.0_f32]; 4], [[0.0]; 2]);
/// lstm(Cpu::detect(), [&[0.0]; 4], &[3.0], [&mut i, &mut f, &mut g, &mut o], &mut cell, &mut h)?;
/// assert_eq!((f, g, cell), ([0.5], [0.0], [1.5]));
/// # Ok::<(), kernels::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] if two operands differ in length. Nothing is written then.
#[inline(never)]
pub fn lstm<T: Float>(
    cpu: Cpu<'_>,
    v: [&[T]; 4],
    cell_before: &[T],
    gates: [&mut [T]; 4],
    cell: &mut [T],
    h: &mut [T],
) -> Result<(), Error> {
    let [vi, vf, vg, vo] = v.map(|v| ("v", v));
    let [i, f, g, o] = gates.map(|gate| ("gates", gate));
    let read = [vi, vf, vg, vo, ("cell before", cell_before)];
    for_each_element(cpu, &Lstm, read, [i, f, g, o, ("cell", cell), ("h", h)])
}

struct Lstm;

impl<T: Float> Elementwise<T, 5, 6> for Lstm {
    #[inline(always)]
    fn apply<S: Simd>(
        &self,
        s: S,
        [vi, vf, vg, vo, before]: [T::V<S>; 5],
        [i, f, g, o, _, _]: [T::V<S>; 6],
    ) -> [T::V<S>; 6] {
        let i = Curve::<T>::value(&Sigmoid, s, T::add(s, i, vi));
        let f = Curve::<T>::value(&Sigmoid, s, T::add(s, f, vf));
        let g = Curve::<T>::value(&Tanh, s, T::add(s, g, vg));
        let o = Curve::<T>::value(&Sigmoid, s, T::add(s, o, vo));
        let cell = T::add(s, T::mul(s, f, before), T::mul(s, i, g));
        let h = T::mul(s, Curve::<T>::value(&Tanh, s, cell), o);
        [i, f, g, o, cell, h]
    }
}

/// The gradient of [`lstm`].
///
/// `gates` and the cell states `[before, after]` are those of the forward pass; `dh` is the
/// gradient with respect to `h`. `dcell` holds the gradient with respect to the cell from later
/// steps, and becomes the one for the previous step. `dgates` become the gradients with respect to
/// u, which equal those with respect to v.
///
/// # Errors
/// [`Error::Length`] if two operands differ in length. Nothing is written then.
#[inline(never)]
pub fn lstm_backward<T: Float>(
    cpu: Cpu<'_>,
    gates: [&[T]; 4],
    [cell_before, cell]: [&[T]; 2],
    dh: &[T],
    dcell: &mut [T],
    dgates: [&mut [T]; 4],
) -> Result<(), Error> {
    let [i, f, g, o] = gates.map(|gate| ("gates", gate));
    let [di, df, dg, d_o] = dgates.map(|gate| ("dgates", gate));
    let read = [i, f, g, o, ("cell before", cell_before), ("cell", cell), ("dh", dh)];
    for_each_element(cpu, &LstmBackward, read, [("dcell", dcell), di, df, dg, d_o])
}

struct LstmBackward;

impl<T: Float> Elementwise<T, 7, 5> for LstmBackward {
    #[inline(always)]
    fn apply<S: Simd>(
        &self,
        s: S,
        [i, f, g, o, before, cell, dh]: [T::V<S>; 7],
        [dcell, ..]: [T::V<S>; 5],
    ) -> [T::V<S>; 5] {
        let y = Curve::<T>::value(&Tanh, s, cell);
        let d = T::add(s, dcell, Curve::<T>::gradient(&Tanh, s, y, T::mul(s, dh, o)));
        [
            T::mul(s, d, f),
            Curve::<T>::gradient(&Sigmoid, s, i, T::mul(s, d, g)),
            Curve::<T>::gradient(&Sigmoid, s, f, T::mul(s, d, before)),
            Curve::<T>::gradient(&Tanh, s, g, T::mul(s, d, i)),
            Curve::<T>::gradient(&Sigmoid, s, o, T::mul(s, dh, y)),
        ]
    }
}

/// A step of GRU (Cho et al., EMNLP 2014). PyTorch: `GRUCell`, with the same gate order r z n.
///
/// `gates` holds u and becomes the gates; `h` becomes the state after the step. All operands have
/// the same length.
///
/// # Errors
/// [`Error::Length`] if two operands differ in length. Nothing is written then.
#[inline(never)]
pub fn gru<T: Float>(
    cpu: Cpu<'_>,
    v: [&[T]; 3],
    h_before: &[T],
    gates: [&mut [T]; 3],
    h: &mut [T],
) -> Result<(), Error> {
    let [vr, vz, vn] = v.map(|v| ("v", v));
    let [r, z, n] = gates.map(|gate| ("gates", gate));
    for_each_element(cpu, &Gru, [vr, vz, vn, ("h before", h_before)], [r, z, n, ("h", h)])
}

struct Gru;

impl<T: Float> Elementwise<T, 4, 4> for Gru {
    #[inline(always)]
    fn apply<S: Simd>(
        &self,
        s: S,
        [vr, vz, vn, before]: [T::V<S>; 4],
        [r, z, n, _]: [T::V<S>; 4],
    ) -> [T::V<S>; 4] {
        let r = Curve::<T>::value(&Sigmoid, s, T::add(s, r, vr));
        let z = Curve::<T>::value(&Sigmoid, s, T::add(s, z, vz));
        let n = Curve::<T>::value(&Tanh, s, T::add(s, n, T::mul(s, r, vn)));
        let rest = T::sub(s, T::splat(s, T::ONE), z);
        [r, z, n, T::add(s, T::mul(s, rest, n), T::mul(s, z, before))]
    }
}

/// The gradient of [`gru`].
///
/// `gates`, `vn` and `h_before` are those of the forward pass. `dh` becomes the gradient with
/// respect to the previous state, without the part that passes through v. `dgates` become the
/// gradients with respect to u. They equal those with respect to v, except the third, which is
/// stored in `dvn`.
///
/// # Errors
/// [`Error::Length`] if two operands differ in length. Nothing is written then.
#[inline(never)]
pub fn gru_backward<T: Float>(
    cpu: Cpu<'_>,
    gates: [&[T]; 3],
    vn: &[T],
    h_before: &[T],
    dh: &mut [T],
    dgates: [&mut [T]; 3],
    dvn: &mut [T],
) -> Result<(), Error> {
    let [r, z, n] = gates.map(|gate| ("gates", gate));
    let [dr, dz, dn] = dgates.map(|gate| ("dgates", gate));
    let read = [r, z, n, ("vn", vn), ("h before", h_before)];
    for_each_element(cpu, &GruBackward, read, [("dh", dh), dr, dz, dn, ("dvn", dvn)])
}

struct GruBackward;

impl<T: Float> Elementwise<T, 5, 5> for GruBackward {
    #[inline(always)]
    fn apply<S: Simd>(
        &self,
        s: S,
        [r, z, n, vn, before]: [T::V<S>; 5],
        [dh, ..]: [T::V<S>; 5],
    ) -> [T::V<S>; 5] {
        let rest = T::sub(s, T::splat(s, T::ONE), z);
        let dn = Curve::<T>::gradient(&Tanh, s, n, T::mul(s, dh, rest));
        [
            T::mul(s, dh, z),
            Curve::<T>::gradient(&Sigmoid, s, r, T::mul(s, dn, vn)),
            Curve::<T>::gradient(&Sigmoid, s, z, T::mul(s, dh, T::sub(s, before, n))),
            dn,
            T::mul(s, dn, r),
        ]
    }
}
