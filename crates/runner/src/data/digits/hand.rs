//! Distortion of a template into one handwritten digit: a path for the pen. Called by
//! [`draw`](super::draw).
//!
//! ```text
//! point of the template   jitter, bend with the whole digit, stretch, slant, rotate
//! stroke                  a smooth curve through its points, cut into short lines
//! digit                   fitted to a box of 20 pixels, its centre of mass near the image's centre
//! ```
//!
//! The last step is how MNIST was made (LeCun, Bottou, Bengio, Haffner, "Gradient-based learning
//! applied to document recognition", 1998, section III.A). The constants were tuned on MNIST's
//! training images: widths, slants and amounts of ink match their means and deviations there. The
//! distortions maximise the accuracy, on those images, of a network trained on generated digits; it
//! is flat around these values.

use std::ops::Range;

use crate::data::digits::draws::Draws;
use crate::data::digits::pen::Dot;
use crate::data::digits::strokes::{Digit, Point, Style};

/// Number of short lines between two points of a template.
const SEGMENTS: usize = 6;

/// Side of the box that a digit is fitted to, in pixels. The box holds the ink to the end of its
/// edge's ramp. MNIST's 20 pixels are those that the ink touches, the outermost ones only in part.
const BOX: f32 = 21.2;

/// Target of the centre of mass, in pixels from the centre of the first pixel.
const CENTRE: f32 = 14.0;

/// Standard deviations of the bend's coefficients, for the terms x², xy, y², x³, x²y, xy², y³ in
/// `[-1, 1]`.
const BEND: [f32; 7] = [0.11, 0.16, 0.11, 0.08, 0.13, 0.13, 0.08];

/// Path for the pen, in pixels: dots along its strokes.
#[derive(Default)]
pub(super) struct Path {
    dots: Vec<Dot>,
    /// Range of `dots` of each stroke.
    strokes: Vec<Range<usize>>,
}

impl Path {
    /// Iterates over the lines: the pairs of consecutive dots of a stroke.
    pub(super) fn lines(&self) -> impl Iterator<Item = (Dot, Dot)> {
        self.strokes
            .iter()
            .flat_map(|stroke| self.dots[stroke.clone()].windows(2).map(|pair| (pair[0], pair[1])))
    }

    /// Replaces the path by a distorted `style`, one of `digit`'s styles. The ink's edge ends
    /// `margin` pixels beyond the pen's radius.
    pub(super) fn write(&mut self, digit: &Digit, style: &Style, margin: f32, draws: Draws) {
        let distortion = Distortion::draw(digit, draws);
        self.dots.clear();
        self.strokes.clear();
        for stroke in style.strokes {
            let first = self.dots.len();
            // The curve takes a point before the first and one after the last: both are doubled.
            let dot = |i: usize| distortion.apply(stroke[i.clamp(1, stroke.len()) - 1], draws);
            let mut span = [dot(0), dot(1), dot(2), dot(3)];
            self.dots.push(span[1]);
            for next in 4..stroke.len() + 3 {
                curve(span, &mut self.dots);
                span = [span[1], span[2], span[3], dot(next)];
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
        // MNIST moves by whole pixels, which leaves an offset of up to half a pixel.
        let left = CENTRE + draws.uniform(Draws::SHIFT) - 0.5 - scale * x / mass;
        let top = CENTRE + draws.uniform(Draws::SHIFT + 1) - 0.5 - scale * y / mass;
        for dot in &mut self.dots {
            dot.x = left + scale * dot.x;
            dot.y = top + scale * dot.y;
        }
    }
}

/// Appends `SEGMENTS` dots: the Catmull-Rom curve from `span[1]`, the last dot, to `span[2]`.
fn curve(span: [Dot; 4], dots: &mut Vec<Dot>) {
    let [a, b, c, d] = span;
    for segment in 1..=SEGMENTS {
        let t = segment as f32 / SEGMENTS as f32;
        let (t2, t3) = (t * t, t * t * t);
        let before = 0.5 * (2.0 * t2 - t - t3);
        let from = 0.5 * (3.0 * t3 - 5.0 * t2 + 2.0);
        let to = 0.5 * (4.0 * t2 + t - 3.0 * t3);
        let after = 0.5 * (t3 - t2);
        let mix = |field: fn(Dot) -> f32| {
            before * field(a) + from * field(b) + to * field(c) + after * field(d)
        };
        dots.push(Dot { x: mix(|p| p.x), y: mix(|p| p.y), radius: mix(|p| p.radius).max(0.0) });
    }
}

/// Parameters of the distortion, shared by all points of a digit.
struct Distortion {
    /// Standard deviation of a point's jitter, in half boxes.
    jitter: f32,
    /// Mean radius of the pen, in pixels.
    radius: f32,
    /// Coefficients of the bend, for x and for y.
    bend: [[f32; 7]; 2],
    /// Linear map, row-major.
    map: [[f32; 2]; 2],
}

impl Distortion {
    fn draw(digit: &Digit, draws: Draws) -> Self {
        let thick = draws.uniform(Draws::RADIUS);
        let width = (digit.width + 0.17 * draws.normal(Draws::WIDTH)).max(0.4);
        let slant = digit.slant + 0.23 * draws.normal(Draws::SLANT);
        // The tangent of half the angle gives sine and cosine without a call to either.
        let half = 0.05 * draws.normal(Draws::ROTATION);
        let (cos, sin) =
            ((1.0 - half * half) / (1.0 + half * half), 2.0 * half / (1.0 + half * half));
        Self {
            jitter: 0.09 * (0.5 + draws.uniform(Draws::JITTER)),
            radius: 0.58 + 0.9 * thick + 0.6 * thick * thick * thick,
            bend: [0, 8].map(|axis| {
                std::array::from_fn(|term| {
                    BEND[term] * draws.normal(Draws::BEND + axis + term as u64)
                })
            }),
            map: [[cos * width, -cos * slant - sin], [sin * width, cos - sin * slant]],
        }
    }

    /// Distorts `point`: its position in half boxes from the centre, and the pen's radius in
    /// pixels.
    fn apply(&self, point: Point, draws: Draws) -> Dot {
        // The jitter is drawn by position, not by point: points that coincide stay together.
        let slot = Draws::point(point);
        let x = f32::from(point[0]) / 50.0 - 1.0 + self.jitter * draws.normal(slot);
        let y = f32::from(point[1]) / 50.0 - 1.0 + self.jitter * draws.normal(slot + 1);
        let terms = [x * x, x * y, y * y, x * x * x, x * x * y, x * y * y, y * y * y];
        let bent = |start: f32, axis: usize| {
            self.bend[axis]
                .iter()
                .zip(terms)
                .fold(start, |sum, (coefficient, term)| sum + coefficient * term)
        };
        let (x, y) = (bent(x, 0), bent(y, 1));
        Dot {
            x: self.map[0][0] * x + self.map[0][1] * y,
            y: self.map[1][0] * x + self.map[1][1] * y,
            radius: self.radius * (1.0 + 0.15 * draws.normal(slot + 2)),
        }
    }
}

#[cfg(test)]
mod tests {
    use kernels::random::Stream;

    use super::super::strokes::DIGITS;
    use super::*;

    #[test]
    fn a_curve_passes_through_its_points_and_keeps_straight_lines_straight() {
        let dot = |i: f32| Dot { x: i, y: 2.0 * i, radius: 1.0 + i };
        let mut dots = Vec::new();
        curve([dot(0.0), dot(1.0), dot(2.0), dot(3.0)], &mut dots);
        assert_eq!(dots.len(), SEGMENTS);
        assert_eq!(dots[SEGMENTS - 1], dot(2.0));
        for (i, dot) in dots.iter().enumerate() {
            let expected = 1.0 + (i + 1) as f32 / SEGMENTS as f32;
            assert!((dot.x - expected).abs() < 1e-6, "{dot:?}");
            assert!((dot.y - 2.0 * expected).abs() < 1e-6, "{dot:?}");
            assert!((dot.radius - 1.0 - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn points_that_coincide_stay_together() {
        let draws = Draws::new(Stream::new(1, 0), 0);
        let distortion = Distortion::draw(&DIGITS[4], draws);
        assert_eq!(distortion.apply([20, 30], draws), distortion.apply([20, 30], draws));
        assert_ne!(distortion.apply([20, 30], draws).x, distortion.apply([20, 31], draws).x);
        // The curve reaches a corner, a doubled point, twice.
        let style = Style {
            weight: 1,
            strokes: &[&[[0, 0], [100, 0], [100, 0], [100, 100]], &[[100, 0], [0, 100]]],
        };
        let mut path = Path::default();
        path.write(&DIGITS[7], &style, 0.5, draws);
        assert_eq!(path.dots[SEGMENTS], path.dots[2 * SEGMENTS]);
        assert_eq!(path.dots[SEGMENTS], path.dots[path.strokes[1].start]);
    }

    #[test]
    fn every_digit_fills_the_box_and_is_centred_by_mass() {
        let mut path = Path::default();
        for (i, digit) in DIGITS.iter().enumerate() {
            for (j, style) in digit.styles.iter().enumerate() {
                let draws = Draws::new(Stream::new(2, i as u64), j as u64);
                path.write(digit, style, 0.5, draws);
                let extent = |field: fn(&Dot) -> f32| {
                    let (low, high) = path
                        .dots
                        .iter()
                        .map(field)
                        .fold((f32::MAX, f32::MIN), |(l, h), v| (l.min(v), h.max(v)));
                    high - low
                };
                let radius = path.dots.iter().fold(0.0_f32, |max, dot| max.max(dot.radius));
                let longer = extent(|dot| dot.x).max(extent(|dot| dot.y)) + 2.0 * (radius + 0.5);
                assert!((longer - BOX).abs() < 1e-3, "digit {i}, style {j}: {longer}");
                let (mut mass, mut x, mut y) = (0.0_f64, 0.0, 0.0);
                for (a, b) in path.lines() {
                    let (dx, dy) = (f64::from(b.x - a.x), f64::from(b.y - a.y));
                    let part = (dx * dx + dy * dy).sqrt() * f64::from(a.radius + b.radius);
                    mass += part;
                    x += part * f64::from(a.x + b.x) / 2.0;
                    y += part * f64::from(a.y + b.y) / 2.0;
                }
                for centre in [x / mass, y / mass] {
                    assert!(
                        (centre - f64::from(CENTRE)).abs() < 0.501,
                        "digit {i}, style {j}: {centre}"
                    );
                }
            }
        }
    }
}
