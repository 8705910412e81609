//! A residual block around a sequence of layers: gradients bypass them through the shortcut.
//!
//! ```text
//! y = shortcut(x) + scale * body(x)
//! dx = dshortcut(dy) + dbody(scale * dy);   dscale = sum of dy * body(x)
//! ```

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

use kernels::vector::{accumulate, axpy, dot, scale as scale_by};

use crate::layer::{AnyLayer, Backward, Describe, Float, Forward, Layer};
use crate::parameter::Parameter;
use crate::registry::{Build, BuildContext};
use crate::sequence::Sequence;
use crate::spec::LayerSpec;
use crate::{Error, Shape};

/// A residual block: `y = shortcut(x) + scale * body(x)` (He et al., CVPR 2016).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
pub struct Residual {
    /// Layers of the body.
    pub body: Vec<LayerSpec>,
    /// Layers of the shortcut, such as a projection where shapes differ. Empty: the identity.
    #[cfg_attr(feature = "serde", serde(default))]
    pub shortcut: Vec<LayerSpec>,
    /// Scale of the body's output.
    #[cfg_attr(feature = "serde", serde(default))]
    pub scale: BranchScale,
}

/// Scale of the body's output in a residual block.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum BranchScale {
    /// A constant.
    Fixed(f64),
    /// A learned scale with this initial value: 0 in SkipInit (De, Smith, NeurIPS 2020) and ReZero
    /// (Bachlechner et al., UAI 2021).
    Learned(f64),
}

impl Default for BranchScale {
    fn default() -> Self {
        Self::Fixed(1.0)
    }
}

impl Build for Residual {
    fn build(&self, input: Shape, context: &BuildContext<'_>) -> Result<Box<dyn AnyLayer>, Error> {
        let Self { body, shortcut, scale } = self;
        let body = Sequence::new(input, body, &context.child("body"))?;
        let shortcut = match &shortcut[..] {
            [] => None,
            shortcut => Some(Sequence::new(input, shortcut, &context.child("shortcut"))?),
        };
        let expected_output = shortcut.as_ref().map_or(input, Describe::output);
        if body.output() != expected_output {
            let expected =
                format!("a body whose output is that of its shortcut, {expected_output}");
            return Err(context.unfit(&expected, body.output()));
        }
        Ok(Box::new(ResidualLayer { body, shortcut, scale: *scale }))
    }
}

/// [`Residual`] around sequences of layers, which have the same output shape.
#[derive(Debug)]
struct ResidualLayer {
    body: Sequence,
    /// `None`: the identity.
    shortcut: Option<Sequence>,
    scale: BranchScale,
}

impl ResidualLayer {
    fn width(&self) -> usize {
        self.body.output().elements()
    }

    /// Parameters of the body, of the shortcut, and the learned scale.
    fn split<'a, T>(&self, params: &'a [T]) -> (&'a [T], &'a [T], &'a [T]) {
        let count = |sequence: &Sequence| sequence.parameter_count();
        let (body, rest) = params.split_at(count(&self.body));
        let (shortcut, scale) = rest.split_at(self.shortcut.as_ref().map_or(0, count));
        (body, shortcut, scale)
    }

    /// Scale of the output of the body.
    fn scale_in<T: Float>(&self, scale: &[T]) -> T {
        match self.scale {
            BranchScale::Fixed(scale) => T::from_f64(scale),
            BranchScale::Learned(_) => scale[0],
        }
    }

    /// Lengths of what is saved: by the body, its output, by the shortcut, its output.
    fn saved_lengths(&self, rows: usize) -> [usize; 4] {
        let output = rows.saturating_mul(self.width());
        let shortcut = self.shortcut.as_ref();
        [
            self.body.saved(rows),
            output,
            shortcut.map_or(0, |s| s.saved(rows)),
            shortcut.map_or(0, |_| output),
        ]
    }
}

impl Describe for ResidualLayer {
    fn output(&self) -> Shape {
        self.body.output()
    }

    fn parameters(&self) -> Vec<Parameter> {
        let named = |sequence: &Sequence, path| renamed(sequence.parameters(), path);
        let mut tensors = named(&self.body, "body");
        tensors.extend(self.shortcut.iter().flat_map(|shortcut| named(shortcut, "shortcut")));
        if let BranchScale::Learned(start) = self.scale {
            tensors.push(Parameter::vector("scale", 1, start));
        }
        tensors
    }

    fn buffers(&self) -> Vec<Parameter> {
        let mut tensors = renamed(self.body.buffers(), "body");
        tensors.extend(
            self.shortcut.iter().flat_map(|shortcut| renamed(shortcut.buffers(), "shortcut")),
        );
        tensors
    }

    fn saved(&self, rows: usize) -> usize {
        self.saved_lengths(rows).into_iter().fold(0, usize::saturating_add)
    }

    fn min_rows(&self) -> usize {
        self.body.min_rows().max(self.shortcut.as_ref().map_or(1, Sequence::min_rows))
    }

    fn statistics(&self, rows: usize) -> usize {
        self.body.statistics(rows)
            + self.shortcut.as_ref().map_or(0, |shortcut| shortcut.statistics(rows))
    }
}

fn renamed(tensors: Vec<Parameter>, path: &str) -> Vec<Parameter> {
    tensors
        .into_iter()
        .map(|tensor| Parameter { name: format!("{path}.{}", tensor.name), ..tensor })
        .collect()
}

impl<T: Float> Layer<T> for ResidualLayer {
    fn scratch(&self, rows: usize, threads: usize) -> usize {
        let of = |sequence: &Sequence| Layer::<T>::scratch(sequence, rows, threads);
        let branches = of(&self.body).max(self.shortcut.as_ref().map_or(0, of));
        // Gradients of the body's output and of the shortcut's input.
        let width = self.width().saturating_add(self.body.input().elements());
        rows.saturating_mul(width).saturating_add(branches)
    }

    fn forward(&self, pass: Forward<'_, T>) -> Result<(), Error> {
        let Forward { cpu, mode, rows, save, params, buffers, x, y, saved, statistics, scratch } =
            pass;
        let [body, output, shortcut, _] = self.saved_lengths(rows);
        let (body_saved, rest) = saved.split_at_mut(body);
        let (branch, rest) = rest.split_at_mut(output);
        let (shortcut_saved, shortcut_y) = rest.split_at_mut(shortcut);
        let (body_buffers, shortcut_buffers) = buffers.split_at_mut(self.body.buffer_count());
        let (body_statistics, shortcut_statistics) =
            statistics.split_at_mut(self.body.statistics(rows));
        let (body, shortcut, scale) = self.split(params);
        self.body.forward(Forward {
            cpu,
            mode,
            rows,
            save,
            params: body,
            buffers: body_buffers,
            x,
            y: &mut *branch,
            saved: body_saved,
            statistics: body_statistics,
            scratch: &mut *scratch,
        })?;
        match &self.shortcut {
            None => y.copy_from_slice(x),
            Some(sequence) => {
                let shortcut_y = &mut shortcut_y[..y.len()];
                sequence.forward(Forward {
                    cpu,
                    mode,
                    rows,
                    save,
                    params: shortcut,
                    buffers: shortcut_buffers,
                    x,
                    y: &mut *shortcut_y,
                    saved: shortcut_saved,
                    statistics: shortcut_statistics,
                    scratch,
                })?;
                y.copy_from_slice(shortcut_y);
            }
        }
        Ok(axpy(cpu, self.scale_in(scale), branch, y)?)
    }

    fn backward(&self, pass: Backward<'_, T>) -> Result<(), Error> {
        let Backward {
            cpu,
            mode,
            rows,
            params,
            buffers,
            x,
            saved,
            statistics,
            dy,
            mut dx,
            grads,
            scratch,
            ..
        } = pass;
        let [body, output, shortcut, _] = self.saved_lengths(rows);
        let (body_saved, rest) = saved.split_at_mut(body);
        let (branch, rest) = rest.split_at_mut(output);
        let (shortcut_saved, shortcut_y) = rest.split_at_mut(shortcut);
        let (body_buffers, shortcut_buffers) = buffers.split_at(self.body.buffer_count());
        let (body_statistics, shortcut_statistics) =
            statistics.split_at_mut(self.body.statistics(rows));
        let (body, shortcut, scale) = self.split(params);
        let (body_grads, rest) = grads.split_at_mut(body.len());
        let (shortcut_grads, dscale) = rest.split_at_mut(shortcut.len());
        let (dbranch, scratch) = scratch.split_at_mut(dy.len());
        let (dshortcut, scratch) = scratch.split_at_mut(x.len());

        if let [dscale] = dscale {
            *dscale = T::from_f64(dot(cpu, dy, branch)?);
        }
        dbranch.copy_from_slice(dy);
        scale_by(cpu, self.scale_in(scale), dbranch);
        self.body.backward(Backward {
            cpu,
            mode,
            rows,
            params: body,
            buffers: body_buffers,
            x,
            y: branch,
            saved: body_saved,
            statistics: body_statistics,
            dy: dbranch,
            relu_applied: false,
            dx: dx.as_deref_mut(),
            apply_relu: false,
            grads: body_grads,
            scratch: &mut *scratch,
        })?;
        let Some(sequence) = &self.shortcut else {
            return match dx {
                Some(dx) => Ok(accumulate(cpu, dy, dx)?),
                None => Ok(()),
            };
        };
        let wanted = dx.is_some();
        sequence.backward(Backward {
            cpu,
            mode,
            rows,
            params: shortcut,
            buffers: shortcut_buffers,
            x,
            y: &shortcut_y[..dy.len()],
            saved: shortcut_saved,
            statistics: shortcut_statistics,
            dy,
            relu_applied: false,
            dx: if wanted { Some(&mut *dshortcut) } else { None },
            apply_relu: false,
            grads: shortcut_grads,
            scratch,
        })?;
        match dx {
            Some(dx) => Ok(accumulate(cpu, dshortcut, dx)?),
            None => Ok(()),
        }
    }
}
