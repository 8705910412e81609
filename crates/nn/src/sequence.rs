//! A sequence of layers: a network's layers, and the branches of a residual block.
//!
//! ```text
//! forward    x -> layer 0 -> layer 1 -> ... -> y     outputs are saved if a backward pass follows
//! backward  dx <- layer 0 <- layer 1 <- ... <- dy     each layer writes its share of the gradient
//! ```
//!
//! Saved for a batch: `| saved 0 | output 0 | saved 1 | output 1 | ... | saved n |`; the last
//! output is the caller's. Without a backward pass, layers alternate between two buffers of the
//! widest output, as gradients do in every backward pass. Statistics are stored layer by layer.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;
use core::ops::Range;

use kernels::Cpu;
use kernels::activation::Activation;

use crate::layer::{AnyLayer, Backward, Describe, Float, Forward, Layer};
use crate::parameter::Parameter;
use crate::{Error, Shape};

/// A sequence of layers, built by [`new`](Self::new).
#[derive(Debug)]
pub struct Sequence {
    input: Shape,
    nodes: Vec<Node>,
    /// Output shape per row of each layer, also of those that were fused or left to a later layer.
    shapes: Vec<Shape>,
}

/// A layer of the sequence.
#[derive(Debug)]
struct Node {
    layer: Box<dyn AnyLayer>,
    /// Index in the sequence, counting fused and skipped layers.
    index: usize,
    /// Number of layers after it that are fused into it.
    fused: usize,
    /// Elements per row of its output.
    width: usize,
    /// Ranges of its tensors among those of the sequence.
    params: Range<usize>,
    buffers: Range<usize>,
}

/// Number of elements of these tensors; saturates on overflow.
fn elements(parameters: &[Parameter]) -> usize {
    let len = |parameter: &Parameter| {
        parameter.shape.iter().fold(1_usize, |len, dim| len.saturating_mul(*dim))
    };
    parameters.iter().map(len).fold(0, usize::saturating_add)
}

impl Sequence {
    /// A sequence without layers, for `capacity` layers over rows of shape `input`.
    pub(crate) fn with_capacity(input: Shape, capacity: usize) -> Self {
        let (nodes, shapes) = (Vec::with_capacity(capacity), Vec::with_capacity(capacity));
        Self { input, nodes, shapes }
    }

    /// Appends a layer. `None` if an output row is too large to address.
    pub(crate) fn push(&mut self, layer: Box<dyn AnyLayer>) -> Option<()> {
        let output = layer.output();
        let width = output.checked_len().filter(|&len| len <= isize::MAX as usize / 8)?;
        let end = |node: &Node| (node.params.end, node.buffers.end);
        let (params, buffers) = self.nodes.last().map_or((0, 0), end);
        self.nodes.push(Node {
            index: self.shapes.len(),
            fused: 0,
            width,
            params: params..params.saturating_add(elements(&layer.parameters())),
            buffers: buffers..buffers.saturating_add(elements(&layer.buffers())),
            layer,
        });
        self.shapes.push(output);
        Some(())
    }

    /// Fuses the next layer into the layer right before it, by `fuse`; `false` if that is
    /// impossible.
    pub(crate) fn fuse_next(&mut self, fuse: impl FnOnce(&mut dyn AnyLayer) -> bool) -> bool {
        let index = self.shapes.len();
        let adjacent = |node: &&mut Node| node.index + node.fused + 1 == index;
        let Some(node) = self.nodes.last_mut().filter(adjacent) else { return false };
        let fused = fuse(&mut *node.layer);
        if fused {
            node.fused += 1;
            node.width = node.layer.output().elements();
            self.shapes.push(node.layer.output());
        }
        fused
    }

    /// Leaves the next layer, whose output has shape `output`, to a layer after it.
    pub(crate) fn skip_next(&mut self, output: Shape) {
        self.shapes.push(output);
    }

    /// Input shape of a row.
    pub fn input(&self) -> Shape {
        self.input
    }

    /// The layers with their indices in the sequence, without activations and max poolings that
    /// were fused into the layer before and flattenings that were left to the next dense layer.
    pub fn layers(&self) -> impl Iterator<Item = (usize, &dyn AnyLayer)> {
        self.nodes.iter().map(|node| (node.index, &*node.layer))
    }

    /// Minimum batch size, in rows, that every layer can be trained with.
    pub fn min_rows(&self) -> usize {
        self.nodes.iter().map(|node| node.layer.min_rows()).max().unwrap_or(1)
    }

    /// Output shape of a row of each layer, by index: also of those that are not among
    /// [`layers`](Self::layers).
    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// Number of elements of all parameters.
    pub(crate) fn parameter_count(&self) -> usize {
        self.nodes.last().map_or(0, |node| node.params.end)
    }

    /// Number of elements of all buffers.
    pub(crate) fn buffer_count(&self) -> usize {
        self.nodes.last().map_or(0, |node| node.buffers.end)
    }

    /// Elements per row of the widest output between two layers.
    fn max_width(&self) -> usize {
        let between = self.nodes.split_last().map_or(&[][..], |(_, between)| between);
        between.iter().map(|node| node.width).max().unwrap_or(0)
    }

    fn named(&self, of: impl Fn(&dyn AnyLayer) -> Vec<Parameter>) -> Vec<Parameter> {
        let renamed = |node: &Node| {
            let index = node.index;
            of(&*node.layer)
                .into_iter()
                .map(move |p| Parameter { name: format!("{index}.{}", p.name), ..p })
        };
        self.nodes.iter().flat_map(renamed).collect()
    }

    /// Elements of the work buffer of a forward pass without a backward pass.
    pub(crate) fn inference_len(&self, rows: usize) -> usize {
        let most = self.nodes.iter().map(|node| node.layer.saved(rows)).max().unwrap_or(0);
        (2 * rows).saturating_mul(self.max_width()).saturating_add(most)
    }

    /// Elements that layer `i` saves, and elements of its saved output.
    fn lens(&self, i: usize, rows: usize) -> (usize, usize) {
        let node = &self.nodes[i];
        let output = if i + 1 < self.nodes.len() { rows.saturating_mul(node.width) } else { 0 };
        (node.layer.saved(rows), output)
    }

    /// Outputs of each layer but the last, as a forward pass of `rows` rows left them in `saved`:
    /// index of the layer, or of the last one fused into it, shape of a row, and `[rows, shape]`.
    pub(crate) fn saved_outputs<'a, T>(
        &'a self,
        rows: usize,
        saved: &'a [T],
    ) -> impl Iterator<Item = (usize, Shape, &'a [T])> {
        let mut rest = saved;
        self.nodes.iter().enumerate().take(self.nodes.len().saturating_sub(1)).map(
            move |(i, node)| {
                let (saved, output) = self.lens(i, rows);
                let (here, after) = rest.split_at(saved + output);
                rest = after;
                (node.index + node.fused, node.layer.output(), &here[saved..])
            },
        )
    }
}

impl Describe for Sequence {
    fn output(&self) -> Shape {
        self.nodes.last().map_or(self.input, |node| node.layer.output())
    }

    fn parameters(&self) -> Vec<Parameter> {
        self.named(|layer| layer.parameters())
    }

    fn buffers(&self) -> Vec<Parameter> {
        self.named(|layer| layer.buffers())
    }

    fn saved(&self, rows: usize) -> usize {
        let all = (0..self.nodes.len()).fold(0, |sum: usize, i| {
            let (saved, output) = self.lens(i, rows);
            sum.saturating_add(saved).saturating_add(output)
        });
        all.max(self.inference_len(rows))
    }

    fn statistics(&self, rows: usize) -> usize {
        self.nodes
            .iter()
            .fold(0, |sum: usize, node| sum.saturating_add(node.layer.statistics(rows)))
    }

    /// Fits the first layer: it alone reads the unchanged rows.
    fn fit(
        &self,
        cpu: Cpu<'_>,
        next: &mut dyn FnMut(&mut [f64]) -> bool,
        buffers: &mut [f64],
    ) -> bool {
        let first = self.nodes.first();
        first.is_some_and(|node| node.layer.fit(cpu, next, &mut buffers[node.buffers.clone()]))
    }

    fn fuse(&mut self, activation: Activation) -> bool {
        self.nodes.last_mut().is_some_and(|node| node.layer.fuse(activation))
    }

    fn is_relu(&self) -> bool {
        self.nodes.last().is_some_and(|node| node.layer.is_relu())
    }

    fn fuses_relu_backward(&self) -> bool {
        self.nodes.first().is_some_and(|node| node.layer.fuses_relu_backward())
    }
}

impl<T: Float> Layer<T> for Sequence {
    fn scratch(&self, rows: usize, threads: usize) -> usize {
        let of = |node: &Node| T::layer(&*node.layer).scratch(rows, threads);
        let most = self.nodes.iter().map(of).max().unwrap_or(0);
        (2 * rows).saturating_mul(self.max_width()).saturating_add(most)
    }

    fn forward(&self, pass: Forward<'_, T>) -> Result<(), Error> {
        let Forward {
            cpu,
            mode,
            rows,
            save,
            params,
            buffers,
            x,
            y,
            saved,
            mut statistics,
            scratch,
        } = pass;
        let mut run = |node: &Node, x: &[T], y: &mut [T], saved: &mut [T]| {
            let (params, buffers) =
                (&params[node.params.clone()], &mut buffers[node.buffers.clone()]);
            let (here, rest) =
                core::mem::take(&mut statistics).split_at_mut(node.layer.statistics(rows));
            statistics = rest;
            let (statistics, scratch) = (here, &mut *scratch);
            let pass = Forward {
                cpu,
                mode,
                rows,
                save,
                params,
                buffers,
                x,
                y,
                saved,
                statistics,
                scratch,
            };
            T::layer(&*node.layer).forward(pass)
        };
        let Some((last, between)) = self.nodes.split_last() else {
            y.copy_from_slice(x);
            return Ok(());
        };
        if save {
            let (mut x, mut rest) = (x, saved);
            for (i, node) in between.iter().enumerate() {
                let (saved, output) = self.lens(i, rows);
                let (saved, after) = rest.split_at_mut(saved);
                let (output, after) = after.split_at_mut(output);
                run(node, x, output, saved)?;
                (x, rest) = (output, after);
            }
            return run(last, x, y, rest);
        }
        // Two alternating buffers; the rest is for what each layer saves.
        let (alternating, saved) = saved.split_at_mut(2 * rows * self.max_width());
        let (mut above, mut below) = alternating.split_at_mut(alternating.len() / 2);
        let mut width = None;
        for node in between {
            let x = width.map_or(x, |width| &below[..rows * width]);
            run(node, x, &mut above[..rows * node.width], saved)?;
            (above, below) = (below, above);
            width = Some(node.width);
        }
        run(last, width.map_or(x, |width| &below[..rows * width]), y, saved)
    }

    fn backward(&self, pass: Backward<'_, T>) -> Result<(), Error> {
        let Backward {
            cpu,
            mode,
            rows,
            params,
            buffers,
            x,
            y,
            saved,
            statistics,
            dy,
            relu_applied,
            mut dx,
            apply_relu,
            grads,
            scratch,
        } = pass;
        let Some(last) = self.nodes.len().checked_sub(1) else {
            if let Some(dx) = dx {
                dx.copy_from_slice(dy);
            }
            return Ok(());
        };
        let (alternating, scratch) = scratch.split_at_mut(2 * rows * self.max_width());
        let (mut above, mut below) = alternating.split_at_mut(alternating.len() / 2);
        // What layer `i` saved begins at `end`.
        let mut end =
            (0..=last).map(|i| self.lens(i, rows)).map(|(saved, output)| saved + output).sum();
        let (mut relu_applied, mut statistics) =
            (relu_applied, &mut statistics[..self.statistics(rows)]);
        for (i, node) in self.nodes.iter().enumerate().rev() {
            let (saved_len, output) = self.lens(i, rows);
            end -= saved_len + output;
            let (before, above_it) = saved.split_at_mut(end);
            let (saved, output) = above_it.split_at_mut(saved_len);
            let first = statistics.len() - node.layer.statistics(rows);
            let (others, here) = core::mem::take(&mut statistics).split_at_mut(first);
            statistics = others;
            let below_it = i.checked_sub(1).map(|i| &self.nodes[i]);
            let apply_relu = match below_it {
                Some(below) => below.layer.is_relu() && node.layer.fuses_relu_backward(),
                None => apply_relu,
            };
            let wanted = below_it.map(|node| rows * node.width);
            T::layer(&*node.layer).backward(Backward {
                cpu,
                mode,
                rows,
                params: &params[node.params.clone()],
                buffers: &buffers[node.buffers.clone()],
                x: wanted.map_or(x, |len| &before[before.len() - len..]),
                y: if i == last { y } else { &output[..rows * node.width] },
                saved,
                statistics: here,
                dy: if i == last { &mut *dy } else { &mut above[..rows * node.width] },
                relu_applied,
                dx: match wanted {
                    Some(len) => Some(&mut below[..len]),
                    None => dx.as_deref_mut(),
                },
                apply_relu,
                grads: &mut grads[node.params.clone()],
                scratch: &mut *scratch,
            })?;
            (above, below) = (below, above);
            relu_applied = apply_relu;
        }
        Ok(())
    }
}
