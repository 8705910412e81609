//! Integer operations on registers in portable Rust, for instruction sets without a method of their
//! own.

use pulp::bytemuck::{self, Pod};

/// The first `N` elements of `x`; +0 past its end.
#[inline(always)]
pub(super) fn padded<const N: usize>(x: &[f32]) -> [f32; N] {
    if let Some(whole) = x.first_chunk() {
        return *whole;
    }
    let mut padded = [0.0; N];
    padded[..x.len()].copy_from_slice(x);
    padded
}

/// [`Simd::add_integers`] in portable Rust. x86 has its own methods for this and the two below:
/// LLVM turns them into one instruction where they stand alone, but into scattered loads in larger
/// functions.
#[inline(always)]
pub(super) fn add_integers<V: Pod>(a: V, b: V) -> V {
    let mut sums = a;
    let new = bytemuck::cast_slice_mut::<V, i32>(core::slice::from_mut(&mut sums));
    let (a, b) = (core::slice::from_ref(&a), core::slice::from_ref(&b));
    let (a, b) = (bytemuck::cast_slice::<V, i32>(a), bytemuck::cast_slice::<V, i32>(b));
    for ((new, &a), &b) in new.iter_mut().zip(a).zip(b) {
        *new = a.wrapping_add(b);
    }
    sums
}

/// [`Simd::mul_integers`] in portable Rust.
#[inline(always)]
pub(super) fn mul_integers<V: Pod>(a: V, b: V) -> V {
    let mut sums = a;
    let new = bytemuck::cast_slice_mut::<V, i32>(core::slice::from_mut(&mut sums));
    let (a, b) = (core::slice::from_ref(&a), core::slice::from_ref(&b));
    let (a, b) = (bytemuck::cast_slice::<V, [i16; 2]>(a), bytemuck::cast_slice::<V, [i16; 2]>(b));
    for ((new, [a0, a1]), [b0, b1]) in new.iter_mut().zip(a).zip(b) {
        *new = (i32::from(*a0) * i32::from(*b0)).wrapping_add(i32::from(*a1) * i32::from(*b1));
    }
    sums
}

/// [`Simd::widen_bytes`] in portable Rust.
#[inline(always)]
pub(super) fn widen_bytes<V: Pod>(bytes: &[i8]) -> V {
    let mut widened = V::zeroed();
    let integers = bytemuck::cast_slice_mut::<V, i16>(core::slice::from_mut(&mut widened));
    for (integer, &byte) in integers.iter_mut().zip(bytes) {
        *integer = i16::from(byte);
    }
    widened
}
