//! Element types of C: f32, f64 and bf16, loaded to and stored from registers of accumulators at
//! any stride. Called by the epilogue.

use half::bf16;

use super::view::Target;
use crate::Float;
use crate::bf16::{narrowed, widened};
use crate::simd::{Lanes, MOST_LANES, Simd};

/// Element type of C for accumulators of type `T`.
pub trait OutputType<T: Float>: Copy + Send + Sync + 'static {
    /// `true` if this is `T` itself.
    const IS_ACC: bool;
    /// C as storage for accumulators, if it has their type.
    fn as_acc(c: Target<'_, Self>) -> Option<Target<'_, T>>;
    /// Loads `count` elements, `stride` apart, to the first lanes; +0 in the others.
    ///
    /// # Safety
    /// - These elements may be read.
    /// - `count` is at most the number of lanes.
    unsafe fn load_strided<S: Simd>(
        s: S,
        from: *const Self,
        stride: usize,
        count: usize,
    ) -> T::V<S>;
    /// Stores the first `count` lanes to elements `stride` apart.
    ///
    /// # Safety
    /// - These elements may be written.
    /// - `count` is at most the number of lanes.
    unsafe fn store_strided<S: Simd>(
        s: S,
        to: *mut Self,
        stride: usize,
        count: usize,
        values: T::V<S>,
    );
}

/// Types in which [`gemm_bf16`](super::gemm_bf16) stores its result: f32 and bf16.
pub trait Bf16Result: OutputType<f32> {}
impl Bf16Result for f32 {}
impl Bf16Result for bf16 {}

macro_rules! accumulator_type {
    ($float:ident) => {
        impl OutputType<$float> for $float {
            const IS_ACC: bool = true;
            fn as_acc(c: Target<'_, Self>) -> Option<Target<'_, Self>> {
                Some(c)
            }
            #[inline(always)]
            unsafe fn load_strided<S: Simd>(
                s: S,
                from: *const Self,
                stride: usize,
                count: usize,
            ) -> <$float as Lanes>::V<S> {
                debug_assert!(count <= <$float as Lanes>::lanes::<S>());
                if stride == 1 && count == <$float as Lanes>::lanes::<S>() {
                    // SAFETY: the elements may be read, and the stride of 1, checked above, makes
                    // them a register in memory.
                    return unsafe { from.cast::<<$float as Lanes>::V<S>>().read_unaligned() };
                }
                if stride == 1 {
                    // SAFETY: the elements may be read, and the stride of 1, checked above, makes
                    // them a slice.
                    let from = unsafe { core::slice::from_raw_parts(from, count) };
                    return <$float as Lanes>::load(s, from);
                }
                let mut values = <$float as Lanes>::splat(s, 0.0);
                for (l, lane) in <$float as Lanes>::slice_mut::<S>(&mut values)
                    .iter_mut()
                    .take(count)
                    .enumerate()
                {
                    // SAFETY: `take` keeps `l` below `count`, and those elements may be read.
                    *lane = unsafe { *from.wrapping_add(l * stride) };
                }
                values
            }
            #[inline(always)]
            unsafe fn store_strided<S: Simd>(
                s: S,
                to: *mut Self,
                stride: usize,
                count: usize,
                values: <$float as Lanes>::V<S>,
            ) {
                debug_assert!(count <= <$float as Lanes>::lanes::<S>());
                if stride == 1 && count == <$float as Lanes>::lanes::<S>() {
                    // SAFETY: the elements may be written, and the stride of 1, checked above,
                    // makes them a register in memory.
                    return unsafe { to.cast::<<$float as Lanes>::V<S>>().write_unaligned(values) };
                }
                if stride == 1 {
                    // SAFETY: the elements may be written, and the stride of 1, checked above,
                    // makes them a slice.
                    let to = unsafe { core::slice::from_raw_parts_mut(to, count) };
                    return <$float as Lanes>::store(s, to, values);
                }
                for (l, &lane) in
                    <$float as Lanes>::slice::<S>(&values).iter().take(count).enumerate()
                {
                    // SAFETY: `take` keeps `l` below `count`, and those elements may be written.
                    unsafe { *to.wrapping_add(l * stride) = lane };
                }
            }
        }
    };
}

accumulator_type!(f32);
accumulator_type!(f64);

impl OutputType<f32> for bf16 {
    const IS_ACC: bool = false;
    fn as_acc(_: Target<'_, Self>) -> Option<Target<'_, f32>> {
        None
    }
    #[inline(always)]
    unsafe fn load_strided<S: Simd>(
        s: S,
        from: *const Self,
        stride: usize,
        count: usize,
    ) -> <f32 as Lanes>::V<S> {
        let mut values = <f32 as Lanes>::splat(s, 0.0);
        let lanes = <f32 as Lanes>::slice_mut::<S>(&mut values);
        debug_assert!(count <= lanes.len());
        if stride == 1 && count == lanes.len() {
            // SAFETY: the elements may be read, and the stride of 1, checked above, makes them a
            // slice.
            let from = unsafe { core::slice::from_raw_parts(from, lanes.len()) };
            for (lane, x) in lanes.iter_mut().zip(from) {
                *lane = widened(*x);
            }
            return values;
        }
        for (l, lane) in lanes.iter_mut().take(count).enumerate() {
            // SAFETY: `take` keeps `l` below `count`, and those elements may be read.
            *lane = widened(unsafe { *from.wrapping_add(l * stride) });
        }
        values
    }
    #[inline(always)]
    unsafe fn store_strided<S: Simd>(
        _: S,
        to: *mut Self,
        stride: usize,
        count: usize,
        values: <f32 as Lanes>::V<S>,
    ) {
        let lanes = <f32 as Lanes>::slice::<S>(&values);
        debug_assert!(count <= lanes.len());
        if stride == 1 && count == lanes.len() {
            // SAFETY: the elements may be written, and the stride of 1, checked above, makes them a
            // slice.
            let to = unsafe { core::slice::from_raw_parts_mut(to, lanes.len()) };
            for (x, lane) in to.iter_mut().zip(lanes) {
                *x = narrowed(*lane);
            }
            return;
        }
        // All lanes are converted: a fixed count vectorises.
        let mut all = [Self::ZERO; MOST_LANES];
        for (x, lane) in all.iter_mut().zip(lanes) {
            *x = narrowed(*lane);
        }
        for (l, x) in all.iter().take(count).enumerate() {
            // SAFETY: `take` keeps `l` below `count`, and those elements may be written.
            unsafe { *to.wrapping_add(l * stride) = *x };
        }
    }
}
