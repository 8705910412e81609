//! Choice of the algorithm that computes a convolution: a function of the shape alone.
//!
//! Called by the methods of `Convolution`, after all checks.

use super::packing::Packing;
use super::{
    Convolution, Epilogue, Gradients, OutputGradient, depthwise, direct, flipped, product, winograd,
};
use crate::activation::Activation;
use crate::gemm::arithmetic::Single;
use crate::simd::Float;
use crate::window::Geometry;
use crate::{Cpu, Error};

/// Algorithm that computes a [`Convolution`] and its gradients. The module's introduction describes
/// each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Algorithm {
    /// One input and one output channel per group: multiply-adds of whole rows.
    Depthwise,
    /// F(4 x 4, 3 x 3). Its order of operations is its own, so its bits differ from the others'; it
    /// rounds no operand to bf16.
    Winograd,
    /// Windows are read in place, without a copy.
    Direct,
    /// One matrix product in place: 1 x 1 filters of stride 1 without padding. Not for bf16 pairs,
    /// which `gemm` would pack again for each tile.
    Pointwise,
    /// One matrix product over a copy of the windows (im2col), block by block.
    Product,
}

impl Convolution {
    /// Returns the algorithm that computes this convolution in `T`: a function of the shape alone,
    /// equal on every target.
    ///
    /// In f32 and f64 all but [`Winograd`](Algorithm::Winograd) give the same bits. With bf16
    /// operands, each has its own.
    pub const fn algorithm<T: Float>(&self) -> Algorithm {
        let Self { geometry: Geometry { down, across, .. }, .. } = self;
        let moves = down.stride * across.stride > 1 || down.padding + across.padding > 0;
        if self.group_channels() == 1 && self.group_filters() == 1 && self.geometry.taps() <= T::KB
        {
            Algorithm::Depthwise
        } else if !self.in_order && winograd::is_fastest(self) {
            Algorithm::Winograd
        } else if direct::is_fastest::<T>(self)
            && (self.rounds() || self.geometry.taps() > 1 || moves)
        {
            Algorithm::Direct
        } else if self.geometry.taps() == 1 && !moves {
            Algorithm::Pointwise
        } else {
            Algorithm::Product
        }
    }

    /// The convolution of `dy` with flipped filters that gives `dx`, if direct convolution computes
    /// it.
    const fn flipped<K: Packing>(&self) -> Option<Self> {
        let Some(flipped) = flipped::flipped(self) else { return None };
        let is_fastest = K::K_PER_ELEMENT > 1
            && matches!(self.algorithm::<K::Acc>(), Algorithm::Direct)
            && direct::is_fastest::<K::Acc>(&flipped);
        if is_fastest { Some(flipped) } else { None }
    }

    /// [`forward`](Self::forward) in the arithmetic of `K`, after all checks.
    pub(super) fn forward_of<K: Packing>(
        &self,
        cpu: Cpu<'_>,
        x: &[K::Acc],
        w: &[K::Acc],
        epilogue: Epilogue<'_, K::Acc>,
        y: &mut [K::Acc],
        scratch: &mut [K::Acc],
    ) {
        match self.algorithm::<K::Acc>() {
            Algorithm::Depthwise => depthwise::forward(self, cpu, x, w, epilogue, y),
            Algorithm::Winograd => winograd::forward(self, cpu, x, w, epilogue, y, scratch),
            Algorithm::Direct if const { direct::compiled::<K::Acc>() } => {
                direct::forward::<K>(self, cpu, x, w, epilogue, y, scratch);
            }
            Algorithm::Pointwise => {
                product::forward_pointwise::<K>(self, cpu, x, w, epilogue, y, scratch);
            }
            Algorithm::Direct | Algorithm::Product => {
                product::forward::<K>(self, cpu, x, w, epilogue, y, scratch);
            }
        }
    }

    /// [`dx`](Self::dx) in the arithmetic of `K`, times ReLU's derivative at `relu`, after all
    /// checks.
    pub(super) fn dx_of<K: Packing>(
        &self,
        cpu: Cpu<'_>,
        dy: &[K::Acc],
        w: &[K::Acc],
        relu: Option<&[K::Acc]>,
        dx: &mut [K::Acc],
        scratch: &mut [K::Acc],
    ) -> Result<(), Error> {
        match (self.algorithm::<K::Acc>(), self.flipped::<K>()) {
            (Algorithm::Winograd, _) => {
                let (of, to) =
                    (OutputGradient { dy, argmax: None }, winograd::BackwardData { w, relu, dx });
                winograd::backward(self, cpu, of, None, Some(to), scratch);
                return Ok(());
            }
            (Algorithm::Direct, Some(flipped)) if const { direct::compiled::<K::Acc>() } => {
                let epilogue = Epilogue { gradient_at: relu, ..Epilogue::NONE };
                direct::dx::<K>(&flipped, cpu, dy, w, epilogue, dx, scratch);
                return Ok(());
            }
            (Algorithm::Depthwise, _) => depthwise::dx(self, cpu, dy, w, dx),
            _ => product::dx::<K>(self, cpu, dy, w, dx, scratch),
        }
        relu.map_or(Ok(()), |x| Activation::Relu.backward(cpu, x, dx))
    }

    /// [`dw`](Self::dw) in the arithmetic of `K`, after all checks.
    pub(super) fn dw_of<K: Packing>(
        &self,
        cpu: Cpu<'_>,
        x: &[K::Acc],
        dy: &[K::Acc],
        dw: &mut [K::Acc],
        db: Option<&mut [K::Acc]>,
        scratch: &mut [K::Acc],
    ) {
        match self.algorithm::<K::Acc>() {
            Algorithm::Depthwise => depthwise::dw(self, cpu, x, dy, dw, db, scratch),
            Algorithm::Winograd => {
                let (of, to) =
                    (OutputGradient { dy, argmax: None }, winograd::BackwardFilter { x, dw, db });
                winograd::backward(self, cpu, of, Some(to), None, scratch);
            }
            Algorithm::Direct if const { direct::compiled::<K::Acc>() } => {
                direct::dw::<K>(self, cpu, x, dy, dw, db, scratch);
            }
            Algorithm::Pointwise => product::dw_pointwise::<K>(self, cpu, x, dy, dw, db, scratch),
            Algorithm::Direct | Algorithm::Product => {
                product::dw::<K>(self, cpu, x, dy, dw, db, scratch);
            }
        }
    }

    /// [`backward`](Self::backward) in the arithmetic of `K`, after all checks.
    pub(super) fn backward_of<K: Packing>(
        &self,
        cpu: Cpu<'_>,
        [x, w]: [&[K::Acc]; 2],
        of: OutputGradient<'_, K::Acc>,
        to: Gradients<'_, K::Acc>,
        scratch: &mut [K::Acc],
    ) -> Result<(), Error> {
        let Gradients { dw, db, dx, at_relu } = to;
        let relu = at_relu.then_some(x);
        if self.algorithm::<K::Acc>() == Algorithm::Winograd {
            let by_pixels = dx.map(|dx| winograd::BackwardData { w, relu, dx });
            winograd::backward(
                self,
                cpu,
                of,
                Some(winograd::BackwardFilter { x, dw, db }),
                by_pixels,
                scratch,
            );
            return Ok(());
        }
        self.dw_of::<K>(cpu, x, of.dy, dw, db, scratch);
        match dx {
            Some(dx) if !dx.is_empty() => self.dx_of::<K>(cpu, of.dy, w, relu, dx, scratch),
            _ => Ok(()),
        }
    }

    pub(super) const fn forward_scratch_of<K: Packing>(&self, threads: usize) -> usize {
        let threads = if threads == 0 { 1 } else { threads };
        match self.algorithm::<K::Acc>() {
            Algorithm::Depthwise => 0,
            Algorithm::Winograd => winograd::forward_len::<K::Acc>(self, threads),
            Algorithm::Direct => direct::forward_len::<K>(self, threads),
            Algorithm::Pointwise => product::pointwise_len::<K>(self, threads),
            Algorithm::Product => threads.saturating_mul(product::forward_task_len::<K>(self)),
        }
    }

    pub(super) const fn dx_scratch_of<K: Packing>(&self, threads: usize) -> usize {
        let threads = if threads == 0 { 1 } else { threads };
        match (self.algorithm::<K::Acc>(), self.flipped::<K>()) {
            (Algorithm::Depthwise, _) => 0,
            (Algorithm::Winograd, _) => {
                winograd::backward_len::<K::Acc>(self, threads, false, true)
            }
            (Algorithm::Direct, Some(flipped)) => direct::dx_len::<K>(&flipped, threads),
            _ => product::dx_len::<K>(self, threads),
        }
    }

    pub(super) const fn dw_scratch_of<K: Packing>(&self, threads: usize) -> usize {
        let threads = if threads == 0 { 1 } else { threads };
        match self.algorithm::<K::Acc>() {
            Algorithm::Depthwise => product::db_len::<Single<K::Acc>>(self, threads),
            Algorithm::Winograd => winograd::backward_len::<K::Acc>(self, threads, true, false),
            Algorithm::Direct => direct::dw_len::<K>(self, threads),
            Algorithm::Pointwise => product::pointwise_len::<K>(self, threads),
            Algorithm::Product => threads.saturating_mul(product::dw_task_len::<K>(self)),
        }
    }

    pub(super) const fn backward_scratch_of<K: Packing>(&self, threads: usize) -> usize {
        if let Algorithm::Winograd = self.algorithm::<K::Acc>() {
            return winograd::backward_len::<K::Acc>(self, threads, true, true);
        }
        let (dw, dx) = (self.dw_scratch_of::<K>(threads), self.dx_scratch_of::<K>(threads));
        if dw > dx { dw } else { dx }
    }
}
