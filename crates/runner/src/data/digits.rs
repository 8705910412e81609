//! Handwritten-like digits, generated: what a program trains on where MNIST cannot be had.
//!
//! ```text
//! for each image, on its own:
//!     label, style   drawn                              strokes.rs: the templates
//!     path           hand.write(style): distort, fit    hand.rs
//!     ink            pen.line for each line of the path pen.rs
//!     pixels         ink.develop: edge, grain           pen.rs
//! ```
//!
//! An image is a function of `(seed, stream, index)` alone, in operations that round correctly: the same bytes
//! on every machine, for every number of threads.

mod hand;
mod pen;
mod strokes;

use kernels::random::Stream;

use hand::Path;
use pen::Ink;
use strokes::STYLES;

/// An image's rows, and its columns.
pub const SIDE: usize = 28;

/// An image's pixels.
pub const PIXELS: usize = SIDE * SIDE;

/// `count` images and their labels, 0 to 9: image `i` is drawn from block `i` of stream `stream` of `seed`.
///
/// The pixels are `count` * 784 bytes, image by image, row by row from the top, 0 the paper and 255 the ink. The
/// first n of more images are the n images. `threads` is how many threads share the work (0 counts as 1); it does not change the result.
pub fn generate(seed: u64, stream: u64, count: usize, threads: usize) -> (Vec<u8>, Vec<u8>) {
    let stream = Stream::new(seed, stream);
    let mut pixels = vec![[0; PIXELS]; count];
    let mut labels = vec![0; count];
    let share = count.div_ceil(threads.max(1)).max(1);
    std::thread::scope(|scope| {
        for (part, (pixels, labels)) in pixels.chunks_mut(share).zip(labels.chunks_mut(share)).enumerate() {
            scope.spawn(move || {
                let mut path = Path::default();
                for (i, (pixels, label)) in pixels.iter_mut().zip(labels).enumerate() {
                    *label = draw(Draws::new(stream, (part * share + i) as u64), &mut path, pixels);
                }
            });
        }
    });
    (pixels.into_flattened(), labels)
}

/// Draws one image into `pixels` and returns its label. `path` is scratch.
fn draw(draws: Draws, path: &mut Path, pixels: &mut [u8; PIXELS]) -> u8 {
    let label = draws.below(Draws::LABEL, 10) as usize;
    let style = draws.choose(STYLES[label]);
    let edge = 0.9 + 0.6 * draws.uniform(Draws::EDGE);
    let grain = 0.35 * draws.uniform(Draws::GRAIN);
    path.write(style, edge / 2.0, draws);
    let mut ink = Ink::blank();
    for (a, b) in path.lines() {
        ink.line(a, b, 1.5);
    }
    ink.develop(edge, |i| grain * (draws.uniform(Draws::PIXELS + i as u64) - 0.5), pixels);
    label as u8
}
/// The random numbers of one image.
#[derive(Clone, Copy)]
struct Draws {
    stream: Stream,
    first: u64,
}

impl Draws {
    const LABEL: u64 = 0;
    const STYLE: u64 = 1;
    const EDGE: u64 = 2;
    const GRAIN: u64 = 3;
    const RADIUS: u64 = 4;
    const CARE: u64 = 5;
    const WIDTH: u64 = 6;
    const SLANT: u64 = 7;
    const TURN: u64 = 8;
    const MOVE: u64 = 9;
    const BEND: u64 = 16;
    const PIXELS: u64 = 1024;
    const SHAKE: u64 = 1 << 16;

    fn new(stream: Stream, image: u64) -> Self {
        Self { stream, first: image << 17 }
    }
    fn uniform(self, slot: u64) -> f32 {
        self.stream.uniform_f32(self.first + slot)
    }
    fn below(self, slot: u64, bound: u32) -> u32 {
        ((u64::from(self.stream.bits(self.first + slot)) * u64::from(bound)) >> 32) as u32
    }
    fn normal(self, slot: u64) -> f32 {
        let bytes = self.stream.bits(self.first + slot).to_le_bytes();
        let sum: i32 = bytes.iter().map(|&b| i32::from(b)).sum();
        (sum - 510) as f32 / 147.8
    }
    fn choose(self, styles: &[strokes::Style]) -> &strokes::Style {
        let mut left = self.below(Self::STYLE, styles.iter().map(|s| s.weight).sum());
        for s in styles {
            if left < s.weight {
                return s;
            }
            left -= s.weight;
        }
        &styles[0]
    }
}
