//! Affine maps, and resampling by bilinear interpolation.
//!
//! ```text
//! output(y, x) = input(centre + matrix ((y, x) + field(y, x) - centre) + offset)
//! ```

/// Affine map from output to input coordinates, `matrix * (y, x) + offset`, both relative to the
/// centre.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Map {
    matrix: [[f64; 2]; 2],
    offset: [f64; 2],
}

impl Map {
    /// Identity.
    pub(super) const IDENTITY: Self = Self { matrix: [[1.0, 0.0], [0.0, 1.0]], offset: [0.0; 2] };

    fn linear(matrix: [[f64; 2]; 2]) -> Self {
        Self { matrix, ..Self::IDENTITY }
    }

    /// Shift of the image by `dy` pixels down and `dx` to the right.
    pub(super) fn shift(dy: f64, dx: f64) -> Self {
        Self { offset: [-dy, -dx], ..Self::IDENTITY }
    }

    /// Anticlockwise rotation of the image by the angle of this sine and cosine.
    pub(super) fn rotation(sin: f64, cos: f64) -> Self {
        Self::linear([[cos, sin], [-sin, cos]])
    }

    /// Scaling of the image by `scale`.
    pub(super) fn scaling(scale: f64) -> Self {
        Self::linear([[1.0 / scale, 0.0], [0.0, 1.0 / scale]])
    }

    /// Shear of the image: each row shifted right by `slope` times its distance below the centre.
    pub(super) fn shear(slope: f64) -> Self {
        Self::linear([[1.0, 0.0], [-slope, 1.0]])
    }

    /// Transform by `self`, followed by `next`: the composition of the maps, `self(next(y, x))`.
    pub(super) fn then(self, next: Self) -> Self {
        let [first, second] = [0, 1].map(|i| self.multiply([next.matrix[0][i], next.matrix[1][i]]));
        let [y, x] = self.multiply(next.offset);
        Self {
            matrix: [[first[0], second[0]], [first[1], second[1]]],
            offset: [y + self.offset[0], x + self.offset[1]],
        }
    }

    /// `matrix * (y, x)`.
    fn multiply(self, [y, x]: [f64; 2]) -> [f64; 2] {
        self.matrix.map(|[a, b]| a * y + b * x)
    }
}

/// Resamples images of one size.
#[derive(Debug)]
pub(super) struct Sampler {
    height: usize,
    width: usize,
    /// Input image with a margin of zeros, one pixel wide.
    source: Vec<f64>,
}

impl Sampler {
    pub(super) fn new(height: usize, width: usize) -> Self {
        Self { height, width, source: vec![0.0; (height + 2) * (width + 2)] }
    }

    /// Resamples `pixels` by `map`, and by the displacement field `field`, if there is one: all
    /// vertical displacements, then all horizontal ones.
    pub(super) fn resample(&mut self, map: Map, field: Option<&[f64]>, pixels: &mut [f64]) {
        let Self { height, width, source } = self;
        let (height, width, stride) = (*height, *width, *width + 2);
        for (to, from) in source.chunks_exact_mut(stride).skip(1).zip(pixels.chunks_exact(width)) {
            to[1..=width].copy_from_slice(from);
        }
        let centre = [(height as f64 - 1.0) / 2.0, (width as f64 - 1.0) / 2.0];
        let sample = |y: f64, x: f64| {
            let [y, x] = map.multiply([y - centre[0], x - centre[1]]);
            // With the margin, a point less than a pixel outside the image has four neighbours.
            let (y, x) = (y + map.offset[0] + centre[0] + 1.0, x + map.offset[1] + centre[1] + 1.0);
            let is_inside =
                y >= 0.0 && x >= 0.0 && y < height as f64 + 1.0 && x < width as f64 + 1.0;
            if !is_inside {
                return 0.0;
            }
            // The conversion truncates, which is `floor` for numbers of at least 0.
            let (row, column) = (y as u32, x as u32);
            let (v, u) = (y - f64::from(row), x - f64::from(column));
            let corner = &source[row as usize * stride + column as usize..][..stride + 2];
            let upper = (1.0 - u) * corner[0] + u * corner[1];
            let lower = (1.0 - u) * corner[stride] + u * corner[stride + 1];
            (1.0 - v) * upper + v * lower
        };
        for (row, pixels) in pixels.chunks_exact_mut(width).enumerate() {
            let field = field.map(|field| {
                let (dy, dx) = field.split_at(height * width);
                (&dy[row * width..][..width], &dx[row * width..][..width])
            });
            for (column, pixel) in pixels.iter_mut().enumerate() {
                let (dy, dx) = field.map_or((0.0, 0.0), |(dy, dx)| (dy[column], dx[column]));
                *pixel = sample(row as f64 + dy, column as f64 + dx);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resampled(map: Map, size: [usize; 2], pixels: &[f64]) -> Vec<f64> {
        let mut pixels = pixels.to_vec();
        Sampler::new(size[0], size[1]).resample(map, None, &mut pixels);
        pixels
    }

    #[test]
    fn shifts_by_whole_pixels_are_exact() {
        let image = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6];
        assert_eq!(resampled(Map::IDENTITY, [2, 3], &image), image);
        assert_eq!(resampled(Map::shift(1.0, 1.0), [2, 3], &image), [0.0, 0.0, 0.0, 0.0, 0.1, 0.2]);
        assert_eq!(
            resampled(Map::shift(0.0, -2.0), [2, 3], &image),
            [0.3, 0.0, 0.0, 0.6, 0.0, 0.0]
        );
        assert_eq!(resampled(Map::shift(-9.0, 0.0), [2, 3], &image), [0.0; 6]);
    }

    #[test]
    fn half_pixels_are_the_mean_of_their_neighbours() {
        assert_eq!(resampled(Map::shift(0.0, 0.5), [1, 3], &[0.0, 1.0, 0.0]), [0.0, 0.5, 0.5]);
        assert_eq!(resampled(Map::shift(0.0, 0.5), [1, 2], &[1.0, 1.0]), [0.5, 1.0]);
    }

    #[test]
    fn rotation_shear_and_scaling_have_their_documented_direction() {
        // A rotation by 90 degrees takes the pixel right of the centre to above it: anticlockwise,
        // since rows run down.
        let image = [0.0, 0.0, 0.0, 0.0, 0.5, 1.0, 0.0, 0.0, 0.0];
        assert_eq!(
            resampled(Map::rotation(1.0, 0.0), [3, 3], &image),
            [0.0, 1.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0]
        );
        let bar = [0.0, 1.0, 0.0].repeat(3);
        assert_eq!(
            resampled(Map::shear(1.0), [3, 3], &bar),
            [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
        );
        // Twice as large: the centre of five pixels spreads over its neighbours.
        let dot = [0.0, 0.0, 1.0, 0.0, 0.0];
        assert_eq!(resampled(Map::scaling(2.0), [1, 5], &dot), [0.0, 0.5, 1.0, 0.5, 0.0]);
    }

    #[test]
    fn maps_are_composed_in_order() {
        // Rotated, then shifted: the pixel on the right moves above the centre, then one down.
        let image = [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0];
        let both = Map::rotation(1.0, 0.0).then(Map::shift(1.0, 0.0));
        assert_eq!(resampled(both, [3, 3], &image), [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
        let other = Map::shift(1.0, 0.0).then(Map::rotation(1.0, 0.0));
        assert_eq!(resampled(other, [3, 3], &image), [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }
}
