//! Maps of places that keep lines straight, and resampling by linear interpolation.
//!
//! ```text
//! pixel (y, x) of the new image = the old image at  middle + matrix ((y, x) + field(y, x) - middle) + offset
//! ```

/// Where the pixels of a new image come from: `matrix * place + offset`, both places (down, across) from the middle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Map {
    matrix: [[f64; 2]; 2],
    offset: [f64; 2],
}

impl Map {
    /// Each from its own place.
    pub(super) const IDENTITY: Self = Self { matrix: [[1.0, 0.0], [0.0, 1.0]], offset: [0.0; 2] };

    fn linear(matrix: [[f64; 2]; 2]) -> Self {
        Self { matrix, ..Self::IDENTITY }
    }

    /// Of an image that is moved by so many pixels.
    pub(super) fn shift(down: f64, across: f64) -> Self {
        Self { offset: [-down, -across], ..Self::IDENTITY }
    }

    /// Of an image that is turned by the angle of this sine and cosine.
    pub(super) fn rotation(sin: f64, cos: f64) -> Self {
        Self::linear([[cos, sin], [-sin, cos]])
    }

    /// Of an image that is `factor` times as large.
    pub(super) fn scaling(factor: f64) -> Self {
        Self::linear([[1.0 / factor, 0.0], [0.0, 1.0 / factor]])
    }

    /// Of an image whose rows are moved across by `slope` times their distance from the middle.
    pub(super) fn shear(slope: f64) -> Self {
        Self::linear([[1.0, 0.0], [-slope, 1.0]])
    }

    /// Of an image changed by `self`, and then by `next`: this map of what that one gives.
    pub(super) fn after(self, next: Self) -> Self {
        let [first, second] = [0, 1].map(|i| self.turned([next.matrix[0][i], next.matrix[1][i]]));
        let [y, x] = self.turned(next.offset);
        Self {
            matrix: [[first[0], second[0]], [first[1], second[1]]],
            offset: [y + self.offset[0], x + self.offset[1]],
        }
    }

    fn turned(self, [y, x]: [f64; 2]) -> [f64; 2] {
        self.matrix.map(|[of_y, of_x]| of_y * y + of_x * x)
    }
}

/// Resamples images of one size.
#[derive(Debug)]
pub(super) struct Sampler {
    height: usize,
    width: usize,
    /// The image with a margin of zeros, one pixel wide.
    source: Vec<f64>,
}

impl Sampler {
    pub(super) fn new(height: usize, width: usize) -> Self {
        Self { height, width, source: vec![0.0; (height + 2) * (width + 2)] }
    }

    /// `pixels` after `map`, and after it the displacements `field` if there are any: all those down, then all those across.
    pub(super) fn resample(&mut self, map: Map, field: Option<&[f64]>, pixels: &mut [f64]) {
        let Self { height, width, source } = self;
        let (height, width, stride) = (*height, *width, *width + 2);
        for (to, from) in source.chunks_exact_mut(stride).skip(1).zip(pixels.chunks_exact(width)) {
            to[1..=width].copy_from_slice(from);
        }
        let middle = [(height as f64 - 1.0) / 2.0, (width as f64 - 1.0) / 2.0];
        let sample = |y: f64, x: f64| {
            let [y, x] = map.turned([y - middle[0], x - middle[1]]);
            // With the margin, what lies within a pixel of the image is between two pixels that there are.
            let (y, x) = (y + map.offset[0] + middle[0] + 1.0, x + map.offset[1] + middle[1] + 1.0);
            let inside = y >= 0.0 && x >= 0.0 && y < height as f64 + 1.0 && x < width as f64 + 1.0;
            if !inside {
                return 0.0;
            }
            // Truncation: both are at least 0.
            let (row, column) = (y as u32, x as u32);
            let (v, u) = (y - f64::from(row), x - f64::from(column));
            let corner = &source[row as usize * stride + column as usize..][..stride + 2];
            let upper = (1.0 - u) * corner[0] + u * corner[1];
            let lower = (1.0 - u) * corner[stride] + u * corner[stride + 1];
            (1.0 - v) * upper + v * lower
        };
        for (row, pixels) in pixels.chunks_exact_mut(width).enumerate() {
            let field = field.map(|field| {
                let (down, across) = field.split_at(height * width);
                (&down[row * width..][..width], &across[row * width..][..width])
            });
            for (column, pixel) in pixels.iter_mut().enumerate() {
                let (dy, dx) =
                    field.map_or((0.0, 0.0), |(down, across)| (down[column], across[column]));
                *pixel = sample(row as f64 + dy, column as f64 + dx);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(map: Map, size: [usize; 2], pixels: &[f64]) -> Vec<f64> {
        let mut pixels = pixels.to_vec();
        Sampler::new(size[0], size[1]).resample(map, None, &mut pixels);
        pixels
    }

    #[test]
    fn whole_pixels_move_as_they_are() {
        let image = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6];
        assert_eq!(moved(Map::IDENTITY, [2, 3], &image), image);
        assert_eq!(moved(Map::shift(1.0, 1.0), [2, 3], &image), [0.0, 0.0, 0.0, 0.0, 0.1, 0.2]);
        assert_eq!(moved(Map::shift(0.0, -2.0), [2, 3], &image), [0.3, 0.0, 0.0, 0.6, 0.0, 0.0]);
        assert_eq!(moved(Map::shift(-9.0, 0.0), [2, 3], &image), [0.0; 6]);
    }

    #[test]
    fn half_pixels_are_between_their_neighbours() {
        assert_eq!(moved(Map::shift(0.0, 0.5), [1, 3], &[0.0, 1.0, 0.0]), [0.0, 0.5, 0.5]);
        assert_eq!(moved(Map::shift(0.0, 0.5), [1, 2], &[1.0, 1.0]), [0.5, 1.0]);
    }

    #[test]
    fn turns_and_slants_go_the_way_they_say() {
        // A quarter turn takes what is to the right of the middle to above it: anticlockwise, as rows run down.
        let image = [0.0, 0.0, 0.0, 0.0, 0.5, 1.0, 0.0, 0.0, 0.0];
        assert_eq!(
            moved(Map::rotation(1.0, 0.0), [3, 3], &image),
            [0.0, 1.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0]
        );
        let bar = [0.0, 1.0, 0.0].repeat(3);
        assert_eq!(
            moved(Map::shear(1.0), [3, 3], &bar),
            [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
        );
        // Twice as large: the middle of five spreads over its neighbours.
        let dot = [0.0, 0.0, 1.0, 0.0, 0.0];
        assert_eq!(moved(Map::scaling(2.0), [1, 5], &dot), [0.0, 0.5, 1.0, 0.5, 0.0]);
    }

    #[test]
    fn maps_compose_in_their_order() {
        // Turned, then moved: what was to the right is above the middle, and then one further down.
        let image = [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0];
        let both = Map::rotation(1.0, 0.0).after(Map::shift(1.0, 0.0));
        assert_eq!(moved(both, [3, 3], &image), [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
        let other = Map::shift(1.0, 0.0).after(Map::rotation(1.0, 0.0));
        assert_eq!(moved(other, [3, 3], &image), [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }
}
