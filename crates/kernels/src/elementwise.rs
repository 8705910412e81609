//! Element-wise operations along slices of equal length: activations, optimizer steps and
//! mathematical functions only define the operation on one register.
//!
//! ```text
//! for each chunk of CHUNK elements             in parallel
//!     for each register of the chunk           the last one masked
//!         write[..] = apply(read[..], write[..])
//! ```
//!
//! Element `i` of the results depends on element `i` of the operands alone, so that chunks, threads
//! and register widths change no bit. Operands may be stored as bf16: they are widened when loaded
//! and rounded when stored. Inputs that `apply` does not use are not loaded. Called by `math`,
//! `activation`, `recurrent`, `row`, `softmax`, `loss` and `optimizer`.

use crate::element::Element;
use crate::simd::{Float, Lanes, Simd, WithSimd};
use crate::{Cpu, Error, error::check_length};

/// Elements per task. Shorter slices stay on the calling thread.
///
/// 64 KiB of f32: a few microseconds of work, which is what waking a thread costs; the four
/// operands of an optimizer together stay within L2.
pub(crate) const CHUNK: usize = 16 * 1024;

/// An operation on one register of each operand: `READ` operands are only read, `WRITE` are
/// replaced.
pub(crate) trait Elementwise<T: Float, const READ: usize, const WRITE: usize>: Sync {
    /// The new values of the written operands. Mark it `#[inline(always)]`.
    fn apply<S: Simd>(
        &self,
        s: S,
        read: [T::V<S>; READ],
        write: [T::V<S>; WRITE],
    ) -> [T::V<S>; WRITE];
}

/// Applies `op` to all elements of the operands, each named for the error.
///
/// # Errors
/// [`Error::Length`] for the first operand that is not as long as the first written one.
pub(crate) fn for_each_element<E: Element, const READ: usize, const WRITE: usize>(
    cpu: Cpu<'_>,
    op: &impl Elementwise<E::Float, READ, WRITE>,
    read: [(&'static str, &[E]); READ],
    write: [(&'static str, &mut [E]); WRITE],
) -> Result<(), Error> {
    let len = write.first().map_or(0, |(_, x)| x.len());
    let mut chunks = Chunks { read: [&[] as &[_]; READ], write: no_slices() };
    for ((operand, x), chunk) in read.into_iter().zip(&mut chunks.read) {
        check_length(operand, len, x.len())?;
        *chunk = x;
    }
    for ((operand, x), chunk) in write.into_iter().zip(&mut chunks.write) {
        check_length(operand, len, x.len())?;
        *chunk = x;
    }
    cpu.for_each_item(chunks, |(read, write)| cpu.isa.run(Kernel { op, read, write }));
    Ok(())
}

/// Empty slices, to be replaced.
pub(crate) fn no_slices<'a, E, const N: usize>() -> [&'a mut [E]; N] {
    core::array::from_fn(|_| Default::default())
}

/// Iterator over chunks, cut at the same indices in all operands.
struct Chunks<'a, E, const READ: usize, const WRITE: usize> {
    read: [&'a [E]; READ],
    write: [&'a mut [E]; WRITE],
}

impl<'a, E, const READ: usize, const WRITE: usize> Iterator for Chunks<'a, E, READ, WRITE> {
    type Item = ([&'a [E]; READ], [&'a mut [E]; WRITE]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.write.first().is_none_or(|x| x.is_empty()) {
            return None;
        }
        // Loops, since `map` of an array compiles to several functions for every operation.
        let (mut read, mut write) = ([&[] as &[_]; READ], no_slices());
        for (chunk, rest) in read.iter_mut().zip(&mut self.read) {
            *chunk = rest.split_off(..CHUNK.min(rest.len()))?;
        }
        for (chunk, rest) in write.iter_mut().zip(&mut self.write) {
            *chunk = rest.split_off_mut(..CHUNK.min(rest.len()))?;
        }
        Some((read, write))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let chunks = self.write.first().map_or(0, |x| x.len().div_ceil(CHUNK));
        (chunks, Some(chunks))
    }
}

struct Kernel<'a, Op, E, const READ: usize, const WRITE: usize> {
    op: &'a Op,
    read: [&'a [E]; READ],
    write: [&'a mut [E]; WRITE],
}

impl<E: Element, Op: Elementwise<E::Float, READ, WRITE>, const READ: usize, const WRITE: usize>
    WithSimd for Kernel<'_, Op, E, READ, WRITE>
{
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        along(s, self.op, self.read, self.write);
    }
}

/// Applies `op` along one chunk, inside a kernel. The operands are truncated to the shortest.
#[inline(always)]
pub(crate) fn along<S: Simd, E: Element, const READ: usize, const WRITE: usize>(
    s: S,
    op: &impl Elementwise<E::Float, READ, WRITE>,
    mut read: [&[E]; READ],
    mut write: [&mut [E]; WRITE],
) {
    let mut len = usize::MAX;
    for x in &read {
        len = len.min(x.len());
    }
    for x in &write {
        len = len.min(x.len());
    }
    let lanes = <E::Float as Lanes>::lanes::<S>();
    let whole = len / lanes * lanes;
    for x in &mut read {
        *x = &x[..len];
    }
    for x in &mut write {
        *x = &mut core::mem::take(x)[..len];
    }

    let zero = <E::Float as Lanes>::splat(s, E::Float::ZERO);
    let (mut inputs, mut outputs) = ([zero; READ], [zero; WRITE]);
    for i in 0..len / lanes {
        for (v, x) in inputs.iter_mut().zip(&read) {
            *v = E::register(s, x, i);
        }
        for (v, x) in outputs.iter_mut().zip(&write) {
            *v = E::register(s, x, i);
        }
        outputs = op.apply(s, inputs, outputs);
        for (v, x) in outputs.iter().zip(&mut write) {
            E::put_register(s, x, i, *v);
        }
    }
    if !len.is_multiple_of(lanes) {
        for (v, x) in inputs.iter_mut().zip(&read) {
            *v = E::rest(s, &x[whole..]);
        }
        for (v, x) in outputs.iter_mut().zip(&write) {
            *v = E::rest(s, &x[whole..]);
        }
        outputs = op.apply(s, inputs, outputs);
        for (v, x) in outputs.iter().zip(&mut write) {
            E::put_rest(s, &mut x[whole..], *v);
        }
    }
}
