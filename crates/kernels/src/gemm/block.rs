//! One task: the cache blocks of its part of C, and within them the tiles.

use super::pack;
use super::tile::{self, Element, Source, Target};
use crate::matrix::Shape;
use crate::simd::{Lanes, Simd, WithSimd};
use crate::{Float, Isa, MatRef};

/// Columns of B that are packed at a time: 512 x 256 f32 are 512 KiB, half of a second-level cache of 1 MiB.
/// Benchmark `gemm`.
pub(super) const NC: usize = 256;

/// Whether B is read where it stands, without a copy: its rows must be contiguous, and either few tiles would use
/// the copy, or the rows from the first to the last fit half a second-level cache. Rows a multiple of 4 KiB apart
/// fall into the same few sets of the caches, and are copied unless they are few. Benchmark `gemm`.
const fn reads_in_place<T>(b: Source<T>, kc: usize, tiles: usize) -> bool {
    let stride = b.row_stride * size_of::<T>();
    b.col_stride == 1 && (kc * stride <= 512 << 10 || (tiles <= 12 && !stride.is_multiple_of(4096)))
}

/// The operands, after all checks.
pub(super) struct Product<'a, T> {
    pub(super) alpha: T,
    pub(super) a: MatRef<'a, T>,
    pub(super) b: MatRef<'a, T>,
    /// `None` when C is not to be read.
    pub(super) beta: Option<T>,
    pub(super) c: Target<'a, T>,
    pub(super) bias: Option<MatRef<'a, T>>,
    pub(super) relu: bool,
    pub(super) gradient_at: Option<MatRef<'a, T>>,
}

impl<T> Product<'_, T> {
    /// The transposed product: C^T = B^T A^T. The same bits, since a * b = b * a.
    pub(super) fn transpose(self) -> Self {
        Self {
            a: self.b.transpose(),
            b: self.a.transpose(),
            c: self.c.transpose(),
            bias: self.bias.map(MatRef::transpose),
            gradient_at: self.gradient_at.map(MatRef::transpose),
            ..self
        }
    }

    pub(super) fn shape(&self) -> Shape {
        self.c.shape
    }
}

/// One task: the rows and columns of C that it owns, and its scratch.
pub struct Block<'a, T> {
    pub(super) product: &'a Product<'a, T>,
    pub(super) rows: (usize, usize),
    pub(super) cols: (usize, usize),
    pub(super) scratch: &'a mut [T],
}

impl<T: Float> WithSimd for Block<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { product, rows: (i0, i1), cols: (j0, j1), scratch } = self;
        let k = product.a.cols();
        let panel = 2 * T::lanes::<S>();
        let (a, b) = (Source::new(product.a), Source::new(product.b));
        let depth = k.min(T::KB);
        let (packed_a, packed_b) = scratch.split_at_mut(pack::rows_len(depth));
        // All tiles of the block get about the same number of rows: no sliver keeps the pipeline waiting.
        let tiles = (i1 - i0).div_ceil(S::TILE_ROWS);
        let tile_row = |t: usize| i0 + (i1 - i0) * t / tiles;

        for j in (j0..j1).step_by(NC) {
            let nc = NC.min(j1 - j);
            // One pass for k = 0 too: the epilogue still applies.
            for p in (0..k.max(1)).step_by(T::KB) {
                let kc = T::KB.min(k - p);
                let element = Element {
                    alpha: product.alpha,
                    beta: product.beta,
                    first: p == 0,
                    last: p + kc == k,
                    empty: k == 0,
                    bias: product.bias.map(Source::new),
                    relu: product.relu,
                    gradient_at: product.gradient_at.map(Source::new),
                };
                // Columns below `packed_from` are read in place. A last panel that is not full never is: its
                // registers would reach past the row.
                let packed_from = if reads_in_place(b, kc, tiles) { nc - nc % panel } else { 0 };
                let (source, rest) = (b.offset(p, j + packed_from), nc - packed_from);
                s.vectorize(pack::PackB { source, kc, nc: rest, panel, packed: packed_b });
                for t in 0..tiles {
                    let (i, mr) = (tile_row(t), tile_row(t + 1) - tile_row(t));
                    let rows = pack::rows(s, a.offset(i, p), mr, kc, packed_a);
                    for jr in (0..nc).step_by(panel) {
                        let nr = panel.min(nc - jr);
                        let at = (i, j + jr);
                        let columns = if jr < packed_from {
                            b.offset(p, j + jr)
                        } else {
                            Source::packed(&packed_b[(jr - packed_from) * kc..], panel, 1)
                        };
                        // SAFETY: rows i..i+mr and columns j+jr..j+jr+nr lie inside C, hence inside bias and
                        // gradient, and in this task's block; A has those rows and columns p..p+kc.
                        unsafe {
                            tile::tile(s, mr, rows, columns, kc, product.c, at, nr, &element);
                        }
                    }
                }
            }
        }
    }
}

/// f32 and f64, each with its products compiled here: once, and not again in every crate that multiplies.
pub trait Multiply: Lanes {
    /// Computes `block` with `isa`.
    fn run(isa: Isa, block: Block<'_, Self>);
}

impl Multiply for f32 {
    fn run(isa: Isa, block: Block<'_, Self>) {
        isa.run(block);
    }
}

impl Multiply for f64 {
    fn run(isa: Isa, block: Block<'_, Self>) {
        isa.run(block);
    }
}
