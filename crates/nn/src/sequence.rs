//! Layers one after the other: the network itself, and the inside of a residual block.
//!
//! ```text
//! forward    x -> layer 0 -> layer 1 -> ... -> y          each output is kept, unless no backward pass follows
//! backward  dx <- layer 0 <- layer 1 <- ... <- dy          each writes its share of the gradient
//! ```
//!
//! Statistics lie one layer after the other. Kept, for a batch: `| kept 0 | output 0 | kept 1 | output 1 | ... | kept n |`; the last output goes to the caller. Where
//! nothing is kept, two buffers of the widest output take turns. Gradients between layers always do.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;
use core::ops::Range;

use kernels::activation::Activation;
use kernels::{Cpu, Window};

use crate::layer::{AnyLayer, Backward, Describe, Float, Forward, Layer, Parameter};
use crate::spec::{Building, LayerSpec};
use crate::{Error, Shape};

/// Layers one after the other.
#[derive(Debug)]
pub struct Sequence {
    input: Shape,
    nodes: Vec<Node>,
    /// Of a row of what each layer puts out, also of those that were left to others.
    shapes: Vec<Shape>,
}

/// A layer in its place.
#[derive(Debug)]
struct Node {
    layer: Box<dyn AnyLayer>,
    /// Its number in the sequence, counting what has been left to others.
    number: usize,
    /// Elements of a row of its output.
    width: usize,
    /// Its tensors among those of the sequence.
    params: Range<usize>,
    buffers: Range<usize>,
}

impl Node {
    /// Takes the layer that follows into this one, if it can.
    fn fuse(&mut self, spec: &LayerSpec) -> bool {
        let fused = match spec {
            LayerSpec::Activation(activation) => self.layer.fuse(*activation),
            &LayerSpec::Pooling { pool, kernel, stride, padding } => {
                self.layer.fuse_pooling(pool, Window::new(kernel).stride(stride).padding(padding))
            }
            _ => false,
        };
        self.width = self.layer.output().elements();
        fused
    }
}

/// The elements of these tensors. A count too large to address stays too large.
fn elements(parameters: &[Parameter]) -> usize {
    let len =
        |parameter: &Parameter| parameter.shape.iter().fold(1_usize, |len, dim| len.saturating_mul(*dim));
    parameters.iter().map(len).fold(0, usize::saturating_add)
}

/// Whether layer `number`, over rows of shape `input`, is a flattening that a dense layer does as well: it takes images as they are, with
/// its weights in another order, and so does what goes element by element in between.
pub(crate) fn flattens_later(layers: &[LayerSpec], number: usize, input: Shape) -> bool {
    let mut behind = layers[number..].iter();
    let is_image = matches!(input, Shape::Image { .. }) && behind.next() == Some(&LayerSpec::Flatten);
    let by_element =
        |layer: &&LayerSpec| matches!(layer, LayerSpec::Activation(_) | LayerSpec::Dropout { .. });
    is_image && matches!(behind.find(|layer| !by_element(layer)), Some(LayerSpec::Dense { .. }))
}

impl Sequence {
    /// These layers over rows of shape `input`, in the place that `building` names.
    ///
    /// # Errors
    /// [`Error::Layer`] names the first layer that does not fit what comes before it.
    pub fn new(input: Shape, layers: &[LayerSpec], building: &Building<'_>) -> Result<Self, Error> {
        let (nodes, shapes) = (Vec::with_capacity(layers.len()), Vec::with_capacity(layers.len()));
        let mut sequence = Self { input, nodes, shapes };
        // Layers that the last one has taken into itself.
        let mut fused = 0;
        // What comes before the first layer of the network that does more than drop elements is still the network's input.
        let mut sparse = building.compute.sparse_inputs;
        for (number, spec) in layers.iter().enumerate() {
            let mut building = building.inside(number);
            building.compute.sparse_inputs = sparse;
            sparse &= matches!(spec, LayerSpec::Dropout { .. });
            let input = sequence.output();
            if input.elements() == 0 {
                return Err(building.misfit(spec.kind(), "an input of at least one element per row", input));
            }
            if let LayerSpec::Activation(activation) = spec {
                activation.check()?;
            }
            // What stands behind a layer, and behind what that has taken into itself, may have no place of its own.
            let behind = sequence.nodes.last_mut().filter(|node| node.number + fused + 1 == number);
            if behind.is_some_and(|node| node.fuse(spec)) {
                fused += 1;
                sequence.shapes.push(sequence.output());
                continue;
            }
            if flattens_later(layers, number, input) {
                sequence.shapes.push(Shape::Features(input.elements()));
                continue;
            }
            let layer = spec.build(input, &building)?;
            fused = 0;
            sequence.shapes.push(layer.output());
            let width = layer.output().checked_len().filter(|&len| len <= isize::MAX as usize / 8);
            let width = width.ok_or_else(|| building.too_large())?;
            let end = |node: &Node| (node.params.end, node.buffers.end);
            let (params, buffers) = sequence.nodes.last().map_or((0, 0), end);
            sequence.nodes.push(Node {
                number,
                width,
                params: params..params.saturating_add(elements(&layer.parameters())),
                buffers: buffers..buffers.saturating_add(elements(&layer.buffers())),
                layer,
            });
        }
        Ok(sequence)
    }

    /// The shape of a row of its input.
    pub fn input(&self) -> Shape {
        self.input
    }

    /// The layers, each with its number in the sequence. Not among them are activations and maxima that were fused into the layer before,
    /// and flattenings that were left to a dense layer behind.
    pub fn layers(&self) -> impl Iterator<Item = (usize, &dyn AnyLayer)> {
        self.nodes.iter().map(|node| (node.number, &*node.layer))
    }

    /// Least number of rows of a batch that every layer learns from.
    pub fn least_rows(&self) -> usize {
        self.nodes.iter().map(|node| node.layer.least_rows()).max().unwrap_or(1)
    }

    /// The shape of a row of what each layer puts out, by its number: also of those that are not among [`layers`](Self::layers).
    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// Elements of all its parameters.
    pub(crate) fn parameter_count(&self) -> usize {
        self.nodes.last().map_or(0, |node| node.params.end)
    }

    /// Elements of all its buffers.
    pub(crate) fn buffer_count(&self) -> usize {
        self.nodes.last().map_or(0, |node| node.buffers.end)
    }

    /// The output of each layer but the last, and the gradient that passes there: elements of a row of the widest.
    fn widest_between(&self) -> usize {
        let between = self.nodes.split_last().map_or(&[][..], |(_, between)| between);
        between.iter().map(|node| node.width).max().unwrap_or(0)
    }

    fn named(&self, of: impl Fn(&dyn AnyLayer) -> Vec<Parameter>) -> Vec<Parameter> {
        let renamed = |node: &Node| {
            let number = node.number;
            of(&*node.layer).into_iter().map(move |p| Parameter { name: format!("{number}.{}", p.name), ..p })
        };
        self.nodes.iter().flat_map(renamed).collect()
    }

    /// Elements that a forward pass without a backward pass works in.
    pub(crate) fn kept_for_nothing(&self, rows: usize) -> usize {
        let most = self.nodes.iter().map(|node| node.layer.kept(rows)).max().unwrap_or(0);
        (2 * rows).saturating_mul(self.widest_between()).saturating_add(most)
    }

    /// What layer `i` keeps, and then its output: elements of both.
    fn room(&self, i: usize, rows: usize) -> (usize, usize) {
        let node = &self.nodes[i];
        let output = if i + 1 < self.nodes.len() { rows.saturating_mul(node.width) } else { 0 };
        (node.layer.kept(rows), output)
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

    fn kept(&self, rows: usize) -> usize {
        let all = (0..self.nodes.len()).fold(0, |sum: usize, i| {
            let (kept, output) = self.room(i, rows);
            sum.saturating_add(kept).saturating_add(output)
        });
        all.max(self.kept_for_nothing(rows))
    }

    fn statistics(&self, rows: usize) -> usize {
        self.nodes.iter().fold(0, |sum: usize, node| sum.saturating_add(node.layer.statistics(rows)))
    }

    /// Asks the first layer: it alone sees the rows as they are.
    fn fit(&self, cpu: Cpu<'_>, next: &mut dyn FnMut(&mut [f64]) -> bool, buffers: &mut [f64]) -> bool {
        let first = self.nodes.first();
        first.is_some_and(|node| node.layer.fit(cpu, next, &mut buffers[node.buffers.clone()]))
    }

    fn fuse(&mut self, activation: Activation) -> bool {
        self.nodes.last_mut().is_some_and(|node| node.layer.fuse(activation))
    }

    fn rectifies(&self) -> bool {
        self.nodes.last().is_some_and(|node| node.layer.rectifies())
    }

    fn folds(&self) -> bool {
        self.nodes.first().is_some_and(|node| node.layer.folds())
    }
}

impl<T: Float> Layer<T> for Sequence {
    fn scratch(&self, rows: usize, threads: usize) -> usize {
        let of = |node: &Node| T::layer(&*node.layer).scratch(rows, threads);
        let most = self.nodes.iter().map(of).max().unwrap_or(0);
        (2 * rows).saturating_mul(self.widest_between()).saturating_add(most)
    }

    fn forward(&self, pass: Forward<'_, T>) -> Result<(), Error> {
        let Forward { cpu, mode, rows, keep, params, buffers, x, y, kept, mut statistics, scratch } = pass;
        let mut run = |node: &Node, x: &[T], y: &mut [T], kept: &mut [T]| {
            let (params, buffers) = (&params[node.params.clone()], &mut buffers[node.buffers.clone()]);
            let (here, behind) = core::mem::take(&mut statistics).split_at_mut(node.layer.statistics(rows));
            statistics = behind;
            let (statistics, scratch) = (here, &mut *scratch);
            let pass = Forward { cpu, mode, rows, keep, params, buffers, x, y, kept, statistics, scratch };
            T::layer(&*node.layer).forward(pass)
        };
        let Some((last, between)) = self.nodes.split_last() else {
            y.copy_from_slice(x);
            return Ok(());
        };
        if keep {
            let (mut x, mut rest) = (x, kept);
            for (i, node) in between.iter().enumerate() {
                let (kept, output) = self.room(i, rows);
                let (kept, behind) = rest.split_at_mut(kept);
                let (output, behind) = behind.split_at_mut(output);
                run(node, x, output, kept)?;
                (x, rest) = (output, behind);
            }
            return run(last, x, y, rest);
        }
        // Two buffers that take turns, and behind them what each layer may use.
        let (turns, kept) = kept.split_at_mut(2 * rows * self.widest_between());
        let (mut above, mut below) = turns.split_at_mut(turns.len() / 2);
        let mut width = None;
        for node in between {
            let x = width.map_or(x, |width| &below[..rows * width]);
            run(node, x, &mut above[..rows * node.width], kept)?;
            (above, below) = (below, above);
            width = Some(node.width);
        }
        run(last, width.map_or(x, |width| &below[..rows * width]), y, kept)
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
            kept,
            statistics,
            dy,
            folded,
            mut dx,
            fold,
            grads,
            scratch,
        } = pass;
        let Some(last) = self.nodes.len().checked_sub(1) else {
            if let Some(dx) = dx {
                dx.copy_from_slice(dy);
            }
            return Ok(());
        };
        let (turns, scratch) = scratch.split_at_mut(2 * rows * self.widest_between());
        let (mut above, mut below) = turns.split_at_mut(turns.len() / 2);
        // What the layers from here on up keep begins at `end`.
        let mut end = (0..=last).map(|i| self.room(i, rows)).map(|(kept, output)| kept + output).sum();
        let (mut folded, mut statistics) = (folded, &mut statistics[..self.statistics(rows)]);
        for (i, node) in self.nodes.iter().enumerate().rev() {
            let (kept_len, output) = self.room(i, rows);
            end -= kept_len + output;
            let (before, above_it) = kept.split_at_mut(end);
            let (kept, output) = above_it.split_at_mut(kept_len);
            let first = statistics.len() - node.layer.statistics(rows);
            let (others, here) = core::mem::take(&mut statistics).split_at_mut(first);
            statistics = others;
            let below_it = i.checked_sub(1).map(|i| &self.nodes[i]);
            let fold = match below_it {
                Some(below) => below.layer.rectifies() && node.layer.folds(),
                None => fold,
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
                kept,
                statistics: here,
                dy: if i == last { &mut *dy } else { &mut above[..rows * node.width] },
                folded,
                dx: match wanted {
                    Some(len) => Some(&mut below[..len]),
                    None => dx.as_deref_mut(),
                },
                fold,
                grads: &mut grads[node.params.clone()],
                scratch: &mut *scratch,
            })?;
            (above, below) = (below, above);
            folded = fold;
        }
        Ok(())
    }
}
