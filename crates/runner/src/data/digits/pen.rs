//! Rasterizer of the pen's path: lines of varying width on 28 x 28 pixels, with smooth edges.
//! Called by [`draw`](super::draw).
//!
//! The ink is a signed distance field. Each pixel holds its depth within the path, the max over all
//! lines. Depths are converted to grey values once, after the last line.

use std::ops::Range;

/// Rows of an image, and columns.
pub const SIDE: usize = 28;

/// Pixels of an image.
pub const PIXELS: usize = SIDE * SIDE;

/// Point of the pen's path, in pixels; `[0, 0]` is the centre of the upper left pixel, y grows
/// downwards.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Dot {
    pub(super) x: f32,
    pub(super) y: f32,
    /// Half the line's width.
    pub(super) radius: f32,
}

/// Depth of each pixel's centre within the path, in pixels; negative outside.
pub(super) struct Ink([f32; PIXELS]);

/// Depth of a pixel that no line touches, even with its edge and grain.
const BLANK: f32 = f32::NEG_INFINITY;

impl Ink {
    /// Creates an image without lines.
    pub(super) fn blank() -> Self {
        Self([BLANK; PIXELS])
    }

    /// Adds the line from `a` to `b`: sets the pixels inside it and up to `margin` pixels outside.
    /// Clips the line at the edges of the image.
    pub(super) fn line(&mut self, a: Dot, b: Dot, margin: f32) {
        let reach = a.radius.max(b.radius) + margin;
        let columns = pixels_between(a.x.min(b.x) - reach, a.x.max(b.x) + reach);
        let rows = pixels_between(a.y.min(b.y) - reach, a.y.max(b.y) + reach);
        let (dx, dy) = (b.x - a.x, b.y - a.y);
        let length2 = dx * dx + dy * dy;
        let per_length2 = if length2 > 0.0 { 1.0 / length2 } else { 0.0 };
        for row in rows {
            let py = row as f32 - a.y;
            for column in columns.clone() {
                let px = column as f32 - a.x;
                // Position of the nearest point on the line's axis, relative to its length.
                let t = ((px * dx + py * dy) * per_length2).clamp(0.0, 1.0);
                let (ex, ey) = (px - t * dx, py - t * dy);
                let depth = a.radius + t * (b.radius - a.radius) - (ex * ex + ey * ey).sqrt();
                let pixel = &mut self.0[row * SIDE + column];
                *pixel = pixel.max(depth);
            }
        }
    }

    /// Writes the grey values to `pixels`: 0 where the depth is `-edge / 2` or less, 255 where it
    /// is `edge / 2` or more, and a linear ramp between. `grain(i)` is added to the depth of pixel
    /// `i`.
    pub(super) fn develop(
        &self,
        edge: f32,
        grain: impl Fn(usize) -> f32,
        pixels: &mut [u8; PIXELS],
    ) {
        for (i, (pixel, &depth)) in pixels.iter_mut().zip(&self.0).enumerate() {
            *pixel = if depth == BLANK {
                0
            } else {
                (255.0 * ((depth + grain(i)) / edge + 0.5).clamp(0.0, 1.0) + 0.5) as u8
            };
        }
    }
}

/// Returns the pixels whose centres lie between `low` and `high`, in one direction.
fn pixels_between(low: f32, high: f32) -> Range<usize> {
    // Conversions to integers saturate: negative positions become 0.
    low.ceil() as usize..((high.floor() + 1.0) as usize).min(SIDE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dot(x: f32, y: f32, radius: f32) -> Dot {
        Dot { x, y, radius }
    }

    fn pixels(lines: &[(Dot, Dot)]) -> [u8; PIXELS] {
        let mut ink = Ink::blank();
        for &(a, b) in lines {
            ink.line(a, b, 1.0);
        }
        let mut pixels = [1; PIXELS];
        ink.develop(1.0, |_| 0.0, &mut pixels);
        pixels
    }

    #[test]
    fn a_line_has_its_width_and_its_soft_edge() {
        let image = pixels(&[(dot(5.0, 10.0, 2.25), dot(20.0, 10.0, 2.25))]);
        let column: Vec<u8> = (6..15).map(|row| image[row * SIDE + 12]).collect();
        // Depths -1.75, -0.75, 0.25, 1.25, 2.25 and back.
        assert_eq!(column, [0, 0, 191, 255, 255, 255, 191, 0, 0]);
        let row: Vec<u8> = (1..7).map(|column| image[10 * SIDE + column]).collect();
        assert_eq!(row, [0, 0, 191, 255, 255, 255]);
        // The area of a stadium: a rectangle, 15 * 4.5, and a disc.
        let area: f64 = image.iter().map(|&p| f64::from(p) / 255.0).sum();
        assert!((area - (15.0 * 4.5 + std::f64::consts::PI * 2.25 * 2.25)).abs() < 0.7, "{area}");
    }

    #[test]
    fn a_line_widens_from_end_to_end() {
        let image = pixels(&[(dot(4.0, 10.0, 0.5), dot(24.0, 10.0, 3.5))]);
        let width =
            |column: usize| (0..SIDE).map(|row| u32::from(image[row * SIDE + column])).sum::<u32>();
        assert!(width(4) < width(14) && width(14) < width(24));
    }

    #[test]
    fn the_order_of_lines_is_irrelevant_and_a_dot_is_a_disc() {
        let (a, b) = (
            (dot(3.0, 3.0, 1.0), dot(20.0, 22.0, 1.5)),
            (dot(20.0, 4.0, 2.0), dot(20.0, 4.0, 2.0)),
        );
        assert_eq!(pixels(&[a, b]), pixels(&[b, a, b]));
        let disc = pixels(&[b]);
        assert_eq!(disc[4 * SIDE + 20], 255);
        assert_eq!(disc[4 * SIDE + 18], disc[2 * SIDE + 20]);
        assert_eq!(disc[4 * SIDE + 17], 0);
    }

    #[test]
    fn lines_are_clipped_at_the_edges_of_the_image() {
        assert_eq!(pixels(&[(dot(-50.0, -50.0, 2.0), dot(-40.0, 90.0, 2.0))]), [0; PIXELS]);
        assert_eq!(pixels(&[(dot(60.0, 5.0, 2.0), dot(90.0, 5.0, 2.0))]), [0; PIXELS]);
        let through = pixels(&[(dot(-50.0, 14.0, 1.5), dot(80.0, 14.0, 1.5))]);
        assert!((0..SIDE).all(|column| through[14 * SIDE + column] == 255));
    }
}
