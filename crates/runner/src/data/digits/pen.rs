//! The pen: a line of varying width, put on 28 x 28 pixels with smooth edges. Called by [`draw`](super::draw).
//!
//! The ink is a signed distance field: each pixel keeps how far it lies within the line, the greatest over the
//! line's pieces, and turns into a grey value once, when all of the line is there.

use super::{PIXELS, SIDE};

/// A point of the pen's path, in pixels; `[0, 0]` is the centre of the upper left pixel, y grows downwards.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Dot {
    pub(super) x: f32,
    pub(super) y: f32,
    /// Half the line's width.
    pub(super) radius: f32,
}

/// How far each pixel's centre lies within the line, in pixels; negative outside.
pub(super) struct Ink([f32; PIXELS]);

/// Further outside than any edge reaches.
const BLANK: f32 = -1e3;

impl Ink {
    /// No line at all.
    pub(super) fn blank() -> Self {
        Self([BLANK; PIXELS])
    }

    /// Adds the line from `a` to `b`, wherever it reaches pixels at most `margin` outside it. What lies beyond the
    /// image is cut off.
    pub(super) fn line(&mut self, a: Dot, b: Dot, margin: f32) {
        let reach = a.radius.max(b.radius) + margin;
        let (dx, dy) = (b.x - a.x, b.y - a.y);
        let length2 = dx * dx + dy * dy;
        let per_length2 = if length2 > 0.0 { 1.0 / length2 } else { 0.0 };
        let widening = b.radius - a.radius;
        let (columns, rows) = (pixels_between(a.x.min(b.x) - reach, a.x.max(b.x) + reach), pixels_between(a.y.min(b.y) - reach, a.y.max(b.y) + reach));
        for row in rows {
            let py = row as f32 - a.y;
            for column in columns.clone() {
                let px = column as f32 - a.x;
                // The nearest point of the segment, as a fraction of its length.
                let t = ((px * dx + py * dy) * per_length2).clamp(0.0, 1.0);
                let (ex, ey) = (px - t * dx, py - t * dy);
                let depth = a.radius + t * widening - (ex * ex + ey * ey).sqrt();
                let pixel = &mut self.0[row * SIDE + column];
                *pixel = pixel.max(depth);
            }
        }
    }

    /// The grey values: 255 at depth `edge / 2` and more, 0 at `-edge / 2` and less, with a smooth step between.
    /// `grain` moves the edge at each pixel: it is given the pixel's index and returns a depth to add.
    pub(super) fn develop(&self, edge: f32, grain: impl Fn(usize) -> f32, pixels: &mut [u8; PIXELS]) {
        for (i, (pixel, &depth)) in pixels.iter_mut().zip(&self.0).enumerate() {
            *pixel = if depth == BLANK {
                0
            } else {
                let t = ((depth + grain(i)) / edge + 0.5).clamp(0.0, 1.0);
                (255.0 * t + 0.5) as u8
            };
        }
    }
}

/// The pixels whose centres lie in `[low, high]`, those of the image only.
fn pixels_between(low: f32, high: f32) -> std::ops::Range<usize> {
    // A conversion to an integer saturates: what lies left of the image becomes 0, and an empty range is empty.
    low.ceil() as usize..((high.floor() + 1.0) as usize).min(SIDE)
}
