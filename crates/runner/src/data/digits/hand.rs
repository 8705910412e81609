//! The hand: makes of a template one specimen, as a path for the pen. Called by [`draw`](super::draw).
//!
//! ```text
//! each point of the template:  shake -> bend with the whole digit -> stretch, slant, turn
//! each stroke:                 a smooth curve through its points, cut into short lines
//! the digit:                   fitted to a box of 20 pixels, its centre of mass near the image's centre
//! ```
//! The last step is how MNIST was made (LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to
//! document recognition", 1998, section III.A).

use std::ops::Range;

use super::Draws;
use super::pen::Dot;
use super::strokes::{Point, Style};

/// Short lines per span between two points of a template.
const CUTS: usize = 6;

/// The side of the box that a digit is fitted to, in pixels.
const BOX: f32 = 20.0;

/// Where the centre of mass belongs, in pixels from the centre of the first one.
const CENTRE: f32 = 14.0;

/// A path for the pen, in pixels: dots along its strokes.
#[derive(Default)]
pub(super) struct Path {
    dots: Vec<Dot>,
    /// Each stroke's range of `dots`.
    strokes: Vec<Range<usize>>,
}

impl Path {
    /// The path's lines: the pairs of dots that follow each other in a stroke.
    pub(super) fn lines(&self) -> impl Iterator<Item = (Dot, Dot)> {
        self.strokes.iter().flat_map(|stroke| self.dots[stroke.clone()].windows(2).map(|pair| (pair[0], pair[1])))
    }

    /// Replaces the path by a specimen of `style` whose ink reaches `margin` pixels beyond the pen's radius.
    pub(super) fn write(&mut self, style: &Style, margin: f32, draws: Draws) {
        let pose = Pose::draw(draws);
        self.dots.clear();
        self.strokes.clear();
        for stroke in style.strokes {
            let first = self.dots.len();
            // The points before the first and after the last are those themselves.
            let placed = |i: usize| pose.place(stroke[i.clamp(1, stroke.len()) - 1], draws);
            let mut span = [placed(0), placed(1), placed(2), placed(3)];
            self.dots.push(span[1]);
            for next in 4..stroke.len() + 3 {
                curve(span, &mut self.dots);
                span = [span[1], span[2], span[3], placed(next)];
            }
            self.strokes.push(first..self.dots.len());
        }
        self.fit(margin, draws);
    }

    /// Scales and moves the path from the template's units into the image.
    fn fit(&mut self, margin: f32, draws: Draws) {
        let mut low = [f32::INFINITY; 2];
        let mut high = [f32::NEG_INFINITY; 2];
        let mut radius = 0.0_f32;
        for dot in &self.dots {
            low = [low[0].min(dot.x), low[1].min(dot.y)];
            high = [high[0].max(dot.x), high[1].max(dot.y)];
            radius = radius.max(dot.radius);
        }
        let scale = (BOX - 2.0 * (radius + margin)) / (high[0] - low[0]).max(high[1] - low[1]);
        let (mut mass, mut x, mut y) = (0.0, 0.0, 0.0);
        for (a, b) in self.lines() {
            let (dx, dy) = (b.x - a.x, b.y - a.y);
            let part = (dx * dx + dy * dy).sqrt() * (a.radius + b.radius);
            mass += part;
            x += part * 0.5 * (a.x + b.x);
            y += part * 0.5 * (a.y + b.y);
        }
        // MNIST moves by whole pixels, so that half a pixel is left either way.
        let left = CENTRE + draws.uniform(Draws::MOVE) - 0.5 - scale * x / mass;
        let top = CENTRE + draws.uniform(Draws::MOVE + 1) - 0.5 - scale * y / mass;
        for dot in &mut self.dots {
            dot.x = left + scale * dot.x;
            dot.y = top + scale * dot.y;
        }
    }
}

/// Appends the curve of Catmull and Rom from `span[1]` (exclusive) to `span[2]`, as `CUTS` dots.
fn curve(span: [Dot; 4], dots: &mut Vec<Dot>) {
    let [a, b, c, d] = span;
    for cut in 1..=CUTS {
        let t = cut as f32 / CUTS as f32;
        let (t2, t3) = (t * t, t * t * t);
        let weights = [0.5 * (2.0 * t2 - t - t3), 0.5 * (3.0 * t3 - 5.0 * t2 + 2.0), 0.5 * (4.0 * t2 + t - 3.0 * t3), 0.5 * (t3 - t2)];
        let mix = |of: fn(Dot) -> f32| weights[0] * of(a) + weights[1] * of(b) + weights[2] * of(c) + weights[3] * of(d);
        dots.push(Dot { x: mix(|p| p.x), y: mix(|p| p.y), radius: mix(|p| p.radius).max(0.0) });
    }
}

/// What is the same for all points of a specimen.
struct Pose {
    /// Standard deviation of a point's shake, in template boxes.
    shake: f32,
    /// The pen's radius in pixels, before it varies along the line.
    radius: f32,
    /// Coefficients of the bend, for x and for y, of the terms in [`Pose::place`].
    bend: [[f32; 7]; 2],
    /// The linear map, row by row.
    map: [[f32; 2]; 2],
}

impl Pose {
    fn draw(draws: Draws) -> Self {
        let u = draws.uniform(Draws::RADIUS);
        let care = 0.5 + draws.uniform(Draws::CARE);
        let bend = [0, 1].map(|axis| std::array::from_fn(|term| BEND[term] * draws.normal(Draws::BEND + axis * 8 + term as u64)));
        let width = (0.72 + 0.16 * draws.normal(Draws::WIDTH)).max(0.4);
        let slant = 0.1 + 0.22 * draws.normal(Draws::SLANT);
        // The tangent of half the angle: sine and cosine without either.
        let t = 0.05 * draws.normal(Draws::TURN);
        let (cos, sin) = ((1.0 - t * t) / (1.0 + t * t), 2.0 * t / (1.0 + t * t));
        Self {
            shake: 0.025 * care,
            radius: 0.75 + 0.9 * u + 0.55 * u * u * u,
            bend,
            map: [[cos * width, -cos * slant - sin], [sin * width, cos - sin * slant]],
        }
    }

    /// Where this specimen has `point` (centred, in template boxes), and how thick the line is there (in pixels).
    fn place(&self, point: Point, draws: Draws) -> Dot {
        // The shake belongs to the place, not to the index: points that coincide stay together.
        let slot = Draws::SHAKE + 4 * (128 * point[1] as u64 + point[0] as u64);
        let x = f32::from(point[0]) / 50.0 - 1.0 + 2.0 * self.shake * draws.normal(slot);
        let y = f32::from(point[1]) / 50.0 - 1.0 + 2.0 * self.shake * draws.normal(slot + 1);
        let terms = [x * x, x * y, y * y, x * x * x, x * x * y, x * y * y, y * y * y];
        let bent = |axis: usize| self.bend[axis].iter().zip(terms).map(|(c, term)| c * term).sum::<f32>();
        let (x, y) = (0.5 * (x + bent(0)), 0.5 * (y + bent(1)));
        Dot {
            x: self.map[0][0] * x + self.map[0][1] * y,
            y: self.map[1][0] * x + self.map[1][1] * y,
            radius: self.radius * (1.0 + 0.12 * draws.normal(slot + 2)).max(0.1),
        }
    }
}

/// Standard deviations of the bend's coefficients, term by term.
const BEND: [f32; 7] = [0.07, 0.1, 0.07, 0.05, 0.08, 0.08, 0.05];
