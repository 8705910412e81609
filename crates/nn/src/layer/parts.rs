//! Splits a buffer into consecutive parts. Used by layers that save or borrow several.

/// The first parts of `x`, of these lengths.
pub(super) fn split<T, const N: usize>(mut x: &[T], lengths: [usize; N]) -> [&[T]; N] {
    lengths.map(|len| {
        let (part, rest) = x.split_at(len);
        x = rest;
        part
    })
}

/// The first parts of `x`, of these lengths.
pub(super) fn split_mut<T, const N: usize>(x: &mut [T], lengths: [usize; N]) -> [&mut [T]; N] {
    split_mut_rest(x, lengths).0
}

/// The first parts of `x`, of these lengths, and what is left.
pub(super) fn split_mut_rest<T, const N: usize>(
    mut x: &mut [T],
    lengths: [usize; N],
) -> ([&mut [T]; N], &mut [T]) {
    let parts = lengths.map(|len| {
        let (part, rest) = core::mem::take(&mut x).split_at_mut(len);
        x = rest;
        part
    });
    (parts, x)
}
