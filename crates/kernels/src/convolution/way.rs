//! Which way a convolution is computed: the shape alone decides.
//!
//! Called by the methods of `Convolution`, after all checks.

use super::words::Words;
use super::{Convolution, Epilogue, Gradients, OutputGradient, depthwise, direct, product, turned, winograd};
use crate::activation::Activation;
use crate::gemm::terms::Single;
use crate::simd::Float;
use crate::window::Sweep;
use crate::{Cpu, Error};

/// See the head of `convolution`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Depthwise,
    /// It has bits of its own, and rounds no factors.
    Winograd,
    Direct,
    /// A product whose windows are the pixels themselves. Not of pairs, which `gemm` would make again for each tile.
    Pointwise,
    Product,
}

impl Convolution {
    /// How the convolution is computed: no bit depends on it, unless factors are rounded.
    pub(super) const fn way<T: Float>(&self) -> Way {
        let Self { sweep: Sweep { down, across, .. }, .. } = self;
        let moves = down.stride * across.stride > 1 || down.padding + across.padding > 0;
        if self.group_channels() == 1 && self.group_filters() == 1 && self.sweep.taps() <= T::KB {
            Way::Depthwise
        } else if !self.in_order && winograd::wins(self) {
            Way::Winograd
        } else if direct::wins::<T>(self) && (self.rounds() || self.sweep.taps() > 1 || moves) {
            Way::Direct
        } else if self.sweep.taps() == 1 && !moves {
            Way::Pointwise
        } else {
            Way::Product
        }
    }

    /// The convolution that `dx` is of `dy`, if it is had in the direct way.
    const fn turned<K: Words>(&self) -> Option<Self> {
        let Some(turned) = turned::turned(self) else { return None };
        let wins =
            K::ELEMENTS > 1 && matches!(self.way::<K::Sum>(), Way::Direct) && direct::wins::<K::Sum>(&turned);
        if wins { Some(turned) } else { None }
    }

    /// [`forward`](Self::forward) of these words, after all checks.
    pub(super) fn forward_of<K: Words>(
        &self,
        cpu: Cpu<'_>,
        x: &[K::Sum],
        w: &[K::Sum],
        epilogue: Epilogue<'_, K::Sum>,
        y: &mut [K::Sum],
        scratch: &mut [K::Sum],
    ) {
        match self.way::<K::Sum>() {
            Way::Depthwise => depthwise::forward(self, cpu, x, w, epilogue, y),
            Way::Winograd => winograd::forward(self, cpu, x, w, epilogue, y, scratch),
            Way::Direct if const { direct::compiled::<K::Sum>() } => {
                direct::forward::<K>(self, cpu, x, w, epilogue, y, scratch);
            }
            Way::Pointwise => product::forward_pointwise::<K>(self, cpu, x, w, epilogue, y, scratch),
            Way::Direct | Way::Product => product::forward::<K>(self, cpu, x, w, epilogue, y, scratch),
        }
    }

    /// [`dx`](Self::dx) of these words, times ReLU's gradient at `relu`, after all checks.
    pub(super) fn dx_of<K: Words>(
        &self,
        cpu: Cpu<'_>,
        dy: &[K::Sum],
        w: &[K::Sum],
        relu: Option<&[K::Sum]>,
        dx: &mut [K::Sum],
        scratch: &mut [K::Sum],
    ) -> Result<(), Error> {
        match (self.way::<K::Sum>(), self.turned::<K>()) {
            (Way::Winograd, _) => {
                let (of, to) = (OutputGradient { dy, which: None }, winograd::ByPixels { w, relu, dx });
                winograd::backward(self, cpu, of, None, Some(to), scratch);
                return Ok(());
            }
            (Way::Direct, Some(turned)) if const { direct::compiled::<K::Sum>() } => {
                let epilogue = Epilogue { gradient_at: relu, ..Epilogue::NONE };
                direct::dx::<K>(&turned, cpu, dy, w, epilogue, dx, scratch);
                return Ok(());
            }
            (Way::Depthwise, _) => depthwise::dx(self, cpu, dy, w, dx),
            _ => product::dx::<K>(self, cpu, dy, w, dx, scratch),
        }
        relu.map_or(Ok(()), |x| Activation::Relu.backward(cpu, x, dx))
    }

    /// [`dw`](Self::dw) of these words, after all checks.
    pub(super) fn dw_of<K: Words>(
        &self,
        cpu: Cpu<'_>,
        x: &[K::Sum],
        dy: &[K::Sum],
        dw: &mut [K::Sum],
        db: Option<&mut [K::Sum]>,
        scratch: &mut [K::Sum],
    ) {
        match self.way::<K::Sum>() {
            Way::Depthwise => depthwise::dw(self, cpu, x, dy, dw, db, scratch),
            Way::Winograd => {
                let (of, to) = (OutputGradient { dy, which: None }, winograd::ByWeights { x, dw, db });
                winograd::backward(self, cpu, of, Some(to), None, scratch);
            }
            Way::Direct if const { direct::compiled::<K::Sum>() } => {
                direct::dw::<K>(self, cpu, x, dy, dw, db, scratch);
            }
            Way::Pointwise => product::dw_pointwise::<K>(self, cpu, x, dy, dw, db, scratch),
            Way::Direct | Way::Product => product::dw::<K>(self, cpu, x, dy, dw, db, scratch),
        }
    }

    /// [`backward`](Self::backward) of these words, after all checks.
    pub(super) fn backward_of<K: Words>(
        &self,
        cpu: Cpu<'_>,
        [x, w]: [&[K::Sum]; 2],
        of: OutputGradient<'_, K::Sum>,
        to: Gradients<'_, K::Sum>,
        scratch: &mut [K::Sum],
    ) -> Result<(), Error> {
        let Gradients { dw, db, dx, at_relu } = to;
        let relu = at_relu.then_some(x);
        if self.way::<K::Sum>() == Way::Winograd {
            let by_pixels = dx.map(|dx| winograd::ByPixels { w, relu, dx });
            winograd::backward(self, cpu, of, Some(winograd::ByWeights { x, dw, db }), by_pixels, scratch);
            return Ok(());
        }
        self.dw_of::<K>(cpu, x, of.dy, dw, db, scratch);
        match dx {
            Some(dx) if !dx.is_empty() => self.dx_of::<K>(cpu, of.dy, w, relu, dx, scratch),
            _ => Ok(()),
        }
    }

    pub(super) const fn forward_scratch_of<K: Words>(&self, threads: usize) -> usize {
        let threads = if threads == 0 { 1 } else { threads };
        match self.way::<K::Sum>() {
            Way::Depthwise => 0,
            Way::Winograd => winograd::forward_len::<K::Sum>(self, threads),
            Way::Direct => direct::forward_len::<K>(self, threads),
            Way::Pointwise => product::pointwise_len::<K>(self, threads),
            Way::Product => threads.saturating_mul(product::forward_task_len::<K>(self)),
        }
    }

    pub(super) const fn dx_scratch_of<K: Words>(&self, threads: usize) -> usize {
        let threads = if threads == 0 { 1 } else { threads };
        match (self.way::<K::Sum>(), self.turned::<K>()) {
            (Way::Depthwise, _) => 0,
            (Way::Winograd, _) => winograd::backward_len::<K::Sum>(self, threads, false, true),
            (Way::Direct, Some(turned)) => direct::dx_len::<K>(&turned, threads),
            _ => product::dx_len::<K>(self, threads),
        }
    }

    pub(super) const fn dw_scratch_of<K: Words>(&self, threads: usize) -> usize {
        let threads = if threads == 0 { 1 } else { threads };
        match self.way::<K::Sum>() {
            Way::Depthwise => product::sums_len::<Single<K::Sum>>(self, threads),
            Way::Winograd => winograd::backward_len::<K::Sum>(self, threads, true, false),
            Way::Direct => direct::dw_len::<K>(self, threads),
            Way::Pointwise => product::pointwise_len::<K>(self, threads),
            Way::Product => threads.saturating_mul(product::dw_task_len::<K>(self)),
        }
    }

    pub(super) const fn backward_scratch_of<K: Words>(&self, threads: usize) -> usize {
        if let Way::Winograd = self.way::<K::Sum>() {
            return winograd::backward_len::<K::Sum>(self, threads, true, true);
        }
        let (dw, dx) = (self.dw_scratch_of::<K>(threads), self.dx_scratch_of::<K>(threads));
        if dw > dx { dw } else { dx }
    }
}
