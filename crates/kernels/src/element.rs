//! Storage types: f32 and f64, and bf16 as the upper half of an f32.
//!
//! A kernel computes in registers of a [`Float`]; an [`Element`] converts them from and to memory.
//! Used by `elementwise` and its callers, and by `gemm` for its results.

use half::bf16;
use pulp::bytemuck;

use crate::bf16::{narrowed, widened};
use crate::simd::{Float, Lanes, MOST_LANES, Simd};

/// Storage type of a kernel's operands: `f32`, `f64`, or `bf16`. A `bf16` is computed with as f32
/// and rounded to nearest, ties to even, when it is stored.
pub trait Element: Copy + Default + PartialEq + Send + Sync + core::fmt::Debug + 'static {
    /// Type of the computation.
    type Float: Float;
    /// Loads register `i` of `x`, which must be whole.
    #[doc(hidden)]
    fn register<S: Simd>(s: S, x: &[Self], i: usize) -> <Self::Float as Lanes>::V<S>;
    /// Stores `v` to register `i` of `x`, which must be whole.
    #[doc(hidden)]
    fn put_register<S: Simd>(s: S, x: &mut [Self], i: usize, v: <Self::Float as Lanes>::V<S>);
    /// Loads the first lanes from `x`, which is shorter than a register; +0 in the other lanes.
    #[doc(hidden)]
    fn rest<S: Simd>(s: S, x: &[Self]) -> <Self::Float as Lanes>::V<S>;
    /// Stores the first lanes to `x`, which is shorter than a register.
    #[doc(hidden)]
    fn put_rest<S: Simd>(s: S, x: &mut [Self], v: <Self::Float as Lanes>::V<S>);
    /// Loads the first lanes of a register of f64 from `x`, exactly; +0 in the other lanes.
    #[doc(hidden)]
    fn widen<S: Simd>(s: S, x: &[Self]) -> <f64 as Lanes>::V<S>;
    /// Converts exactly.
    fn to_float(self) -> Self::Float;
    /// Rounds `x` to nearest, ties to even.
    fn from_float(x: Self::Float) -> Self;
}

macro_rules! plain_element {
    ($float:ident, |$s:ident, $x:ident| $widen:expr) => {
        impl Element for $float {
            type Float = Self;
            #[inline(always)]
            fn register<S: Simd>(_: S, x: &[Self], i: usize) -> <Self as Lanes>::V<S> {
                <Self as Lanes>::split::<S>(x).0[i]
            }
            #[inline(always)]
            fn put_register<S: Simd>(_: S, x: &mut [Self], i: usize, v: <Self as Lanes>::V<S>) {
                <Self as Lanes>::split_mut::<S>(x).0[i] = v;
            }
            #[inline(always)]
            fn rest<S: Simd>(s: S, x: &[Self]) -> <Self as Lanes>::V<S> {
                <Self as Lanes>::load(s, x)
            }
            #[inline(always)]
            fn put_rest<S: Simd>(s: S, x: &mut [Self], v: <Self as Lanes>::V<S>) {
                <Self as Lanes>::store(s, x, v);
            }
            #[inline(always)]
            fn widen<S: Simd>($s: S, $x: &[Self]) -> <f64 as Lanes>::V<S> {
                $widen
            }
            #[inline(always)]
            fn to_float(self) -> Self {
                self
            }
            #[inline(always)]
            fn from_float(x: Self) -> Self {
                x
            }
        }
    };
}
plain_element!(f32, |s, x| s.widen(x));
plain_element!(f64, |s, x| <f64 as Lanes>::load(s, x));

impl Element for bf16 {
    type Float = f32;
    #[inline(always)]
    fn register<S: Simd>(s: S, x: &[Self], i: usize) -> <f32 as Lanes>::V<S> {
        let lanes = f32::lanes::<S>();
        widen_lanes(s, &x[i * lanes..][..lanes])
    }
    #[inline(always)]
    fn put_register<S: Simd>(_: S, x: &mut [Self], i: usize, v: <f32 as Lanes>::V<S>) {
        let lanes = f32::lanes::<S>();
        let values = bytemuck::cast_slice::<<f32 as Lanes>::V<S>, f32>(core::slice::from_ref(&v));
        for (x, &value) in x[i * lanes..][..lanes].iter_mut().zip(values) {
            *x = narrowed(value);
        }
    }
    #[inline(always)]
    fn rest<S: Simd>(s: S, x: &[Self]) -> <f32 as Lanes>::V<S> {
        widen_lanes(s, x)
    }
    #[inline(always)]
    fn put_rest<S: Simd>(_: S, x: &mut [Self], v: <f32 as Lanes>::V<S>) {
        // All lanes are converted: a fixed count vectorises.
        let mut all = [Self::ZERO; MOST_LANES];
        for (x, &value) in all.iter_mut().zip(bytemuck::cast_slice(core::slice::from_ref(&v))) {
            *x = narrowed(value);
        }
        for (x, value) in x.iter_mut().zip(all) {
            *x = value;
        }
    }
    #[inline(always)]
    fn widen<S: Simd>(s: S, x: &[Self]) -> <f64 as Lanes>::V<S> {
        let mut values = [0.0; MOST_LANES / 2];
        let lanes = f64::lanes::<S>();
        for (value, &x) in values[..lanes].iter_mut().zip(x) {
            *value = widened(x);
        }
        s.widen(&values[..lanes])
    }
    #[inline(always)]
    fn to_float(self) -> f32 {
        widened(self)
    }
    #[inline(always)]
    fn from_float(x: f32) -> Self {
        narrowed(x)
    }
}

/// The first lanes from `x`; +0 in the other lanes.
#[inline(always)]
fn widen_lanes<S: Simd>(s: S, x: &[bf16]) -> <f32 as Lanes>::V<S> {
    let mut values = <f32 as Lanes>::splat(s, 0.0);
    let lanes: &mut [f32] =
        bytemuck::cast_slice_mut::<<f32 as Lanes>::V<S>, f32>(core::slice::from_mut(&mut values));
    for (lane, &x) in lanes.iter_mut().zip(x) {
        *lane = widened(x);
    }
    values
}
