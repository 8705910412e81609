//! Conversion of an image of any size and colour to a network's input: grey, light ink on dark
//! paper, of the network's size.
//!
//! ```text
//! PNG -> grey (BT.601), transparent pixels as paper
//! paper = median of the image's edge; a light one inverts the image
//! the whole image fitted into rows x cols, or only its ink, placed as in MNIST (see `centre`):
//!     shrunk by area averaging, enlarged by linear interpolation, padded with paper
//! ```
//!
//! Called by `predict`.

use std::fs;
use std::io::Cursor;
use std::ops::Range;
use std::path::Path;

use png::{Decoder, Limits, Transformations};

use crate::Error;
use crate::data::DataError;
use crate::data::centre::Ink;
use crate::machine::memory::reserve;

/// Largest number of pixels. Larger images are no digits, or a header that would exhaust memory.
const MAX_PIXELS: u64 = 1 << 26;

/// Largest side in pixels: it bounds the weights of a row and the pixels of the edge.
const MAX_SIDE: u32 = 1 << 16;

/// Largest number of bytes that the decoder allocates besides the pixels: rows, palettes, texts.
const MAX_OVERHEAD: usize = 1 << 26;

/// First bytes of every PNG file.
pub const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";

/// Condition for inverting an image, so that its paper is dark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Invert {
    /// Images with a light background.
    #[default]
    Auto,
    /// Always.
    Yes,
    /// Never.
    No,
}

/// Condition for cropping an image to its ink and centring it as MNIST's digits are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Centre {
    /// If the run's training images are centred.
    #[default]
    Auto,
    /// Always.
    Yes,
    /// Never: the whole image is fitted.
    No,
}

/// Preparation of an image for a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preparation {
    /// Rows of the network's input.
    pub rows: usize,
    /// Columns of the network's input.
    pub cols: usize,
    /// Condition for inverting the image.
    pub invert: Invert,
    /// `true` to crop the image to its ink and centre it. An image of `rows` x `cols` is not
    /// cropped.
    pub centre: bool,
}

/// Image that is prepared for a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// Pixels, `[rows, cols]`: 0 for paper, 255 for ink.
    pub pixels: Vec<u8>,
    /// Width and height of the original image.
    pub size: [usize; 2],
    /// `true` if the image was inverted.
    pub inverted: bool,
    /// `true` if the image was cropped to its ink and centred.
    pub centred: bool,
}

/// Reads and prepares the image in the PNG file `path`.
///
/// # Errors
/// [`DataError::Io`] if the file cannot be read; [`Error::Malformed`] if it is no PNG file,
/// damaged, or too large.
pub fn read(path: &Path, preparation: Preparation) -> Result<Scan, Error> {
    let bytes = fs::read(path).map_err(DataError::io("read", path))?;
    parse(&bytes, path, preparation)
}

/// Prepares the image in `bytes`, the contents of a PNG file. `path` is for errors only.
///
/// # Errors
/// [`Error::Malformed`], as for [`read`].
pub fn parse(bytes: &[u8], path: &Path, preparation: Preparation) -> Result<Scan, Error> {
    let Preparation { rows, cols, invert, centre } = preparation;
    let grey = grey(bytes, path)?;
    let paper = grey.paper();
    let inverted = match invert {
        Invert::Auto => paper > 127.5,
        Invert::Yes => true,
        Invert::No => false,
    };
    let ink = |y: usize| {
        grey.row(y).map(move |value| if inverted { paper - value } else { value - paper })
    };
    let ink = if centre && [grey.height, grey.width] != [rows, cols] {
        Ink::find(grey.height, ink)
    } else {
        None
    };
    let centred = ink.is_some();
    let frame = ink.map_or_else(
        || grey.whole(rows, cols),
        |ink| {
            let (scale, corner) = ink.placement(rows, cols);
            Frame { x: ink.x, y: ink.y, scale, corner }
        },
    );
    let pixels = grey.resample(&frame, rows, cols, paper).into_iter().map(|value| {
        let value = if inverted { 255.0 - value } else { value };
        value.round() as u8
    });
    Ok(Scan { pixels: pixels.collect(), size: [grey.width, grey.height], inverted, centred })
}

/// Decoded image of 8 bits per channel. Grey values are computed on access, so that the decoded
/// bytes are the only buffer of the image's size.
struct Grey {
    width: usize,
    height: usize,
    /// 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha.
    channels: usize,
    /// Grey value behind transparent pixels.
    background: f64,
    bytes: Vec<u8>,
}

/// Decodes the first frame of a PNG file.
fn grey(bytes: &[u8], path: &Path) -> Result<Grey, Error> {
    let malformed = |error: png::DecodingError| Error::malformed(path, "a PNG image", error);
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: MAX_OVERHEAD });
    decoder.set_transformations(Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(malformed)?;
    let (width, height) = (reader.info().width, reader.info().height);
    let size = || format!("{width} x {height}");
    if u64::from(width) * u64::from(height) > MAX_PIXELS || width.max(height) > MAX_SIDE {
        let expected = format!("an image of at most {MAX_PIXELS} pixels, {MAX_SIDE} a side");
        return Err(Error::malformed(path, expected, size()));
    }
    // The decoder panics if the palette ends within a colour.
    if let Some(len) = reader.info().palette.as_ref().map(|palette| palette.len())
        && !len.is_multiple_of(3)
    {
        return Err(Error::malformed(
            path,
            "a palette with 3 bytes for each colour",
            format!("{len} bytes"),
        ));
    }
    let len = reader.output_buffer_size().unwrap_or(usize::MAX);
    let mut bytes = reserve(len)
        .map_err(|_| Error::malformed(path, "an image that fits into memory", size()))?;
    bytes.resize(len, 0);
    let info = reader.next_frame(&mut bytes).map_err(malformed)?;
    bytes.truncate(info.buffer_size());
    let (width, height) = (info.width as usize, info.height as usize);
    let channels = info.color_type.samples();
    let mut grey = Grey { width, height, channels, background: 0.0, bytes };
    // Transparent pixels are paper, which contrasts with the visible ink.
    let pixels = || grey.bytes.chunks_exact(grey.channels);
    let ink: f64 = pixels().map(|pixel| luma(pixel) * opacity(pixel)).sum();
    let visible: f64 = pixels().map(opacity).sum();
    grey.background = if ink > 127.5 * visible { 0.0 } else { 255.0 };
    Ok(grey)
}

/// Returns the grey value of a pixel, 0 black to 255 white, by ITU-R BT.601.
fn luma(pixel: &[u8]) -> f64 {
    match *pixel {
        [r, g, b, ..] => 0.299 * f64::from(r) + 0.587 * f64::from(g) + 0.114 * f64::from(b),
        [grey, ..] => f64::from(grey),
        [] => 0.0,
    }
}

/// Returns the opacity of a pixel, 0 to 1: its alpha, if it has one.
fn opacity(pixel: &[u8]) -> f64 {
    match *pixel {
        [_, alpha] | [_, _, _, alpha] => f64::from(alpha) / 255.0,
        _ => 1.0,
    }
}

impl Grey {
    /// Iterates over the grey values of row `y`.
    fn row(&self, y: usize) -> impl DoubleEndedIterator<Item = f64> {
        let width = self.width * self.channels;
        self.bytes[y * width..][..width].chunks_exact(self.channels).map(|pixel| {
            let opacity = opacity(pixel);
            luma(pixel) * opacity + self.background * (1.0 - opacity)
        })
    }

    /// Returns the grey value of the paper: the median of the outermost pixels.
    fn paper(&self) -> f64 {
        let mut edge = Vec::new();
        for y in 0..self.height {
            let mut row = self.row(y);
            if y == 0 || y + 1 == self.height {
                edge.extend(row);
            } else {
                edge.extend(row.next());
                edge.extend(row.next_back());
            }
        }
        edge.sort_by(f64::total_cmp);
        edge.get(edge.len() / 2).copied().unwrap_or(0.0)
    }

    /// Returns the frame of the whole image, fitted into `rows` x `cols` and centred.
    fn whole(&self, rows: usize, cols: usize) -> Frame {
        let [rows, cols, height, width] =
            [rows, cols, self.height, self.width].map(|side| side as f64);
        let scale = (rows / height).min(cols / width);
        let corner = [(cols - width * scale) / 2.0, (rows - height * scale) / 2.0];
        Frame { x: 0..self.width, y: 0..self.height, scale, corner }
    }

    /// Resamples a part of the image into `[rows, cols]`.
    ///
    /// Each output row sums the image's rows that it covers, one at a time: no buffer grows with
    /// the height of the image.
    fn resample(&self, frame: &Frame, rows: usize, cols: usize, paper: f64) -> Vec<f64> {
        let Frame { x, y, scale, corner: [left, top] } = frame;
        let column_weights: Vec<_> =
            (0..cols).map(|i| weights(i, *left, x.len(), *scale)).collect();
        let mut output = vec![0.0; rows * cols];
        let mut row = vec![0.0; x.len()];
        for (i, values) in output.chunks_exact_mut(cols).enumerate() {
            for (at, row_weight) in weights(i, *top, y.len(), *scale) {
                // Relative to the paper, so that pixels outside the image are 0.
                let part = self.row(y.start + at).skip(x.start);
                row.iter_mut().zip(part).for_each(|(ink, grey)| *ink = grey - paper);
                for (value, weights) in values.iter_mut().zip(&column_weights) {
                    let ink: f64 = weights.iter().map(|&(x, weight)| weight * row[x]).sum();
                    *value += row_weight * ink;
                }
            }
        }
        output.iter_mut().for_each(|ink| *ink = (paper + *ink).clamp(0.0, 255.0));
        output
    }
}

/// Part of an image, and its placement in the output.
struct Frame {
    /// Columns of the image.
    x: Range<usize>,
    /// Rows of the image.
    y: Range<usize>,
    /// Factor of enlargement.
    scale: f64,
    /// Position of the part's corner in the output: x, y, in pixels.
    corner: [f64; 2],
}

/// Returns the input pixels that output pixel `i` is computed from, with their weights. The input
/// is a row of `from` pixels, enlarged by `scale`, that begins at position `start` of the output.
/// The difference of the weights' sum to 1 is paper.
fn weights(i: usize, start: f64, from: usize, scale: f64) -> Vec<(usize, f64)> {
    if scale < 1.0 {
        // The weight of an input pixel is its area within the output pixel.
        let (low, high) = ((i as f64 - start) / scale, (i as f64 + 1.0 - start) / scale);
        let covered = |at: usize| high.min(at as f64 + 1.0) - low.max(at as f64);
        let first = low.max(0.0) as usize;
        let end = (high.max(0.0).ceil() as usize).min(from);
        return (first..end)
            .map(|at| (at, covered(at) * scale))
            .filter(|(_, weight)| *weight > 0.0)
            .collect();
    }
    // Interpolates between the two nearest centres; within half a pixel of the edge, takes the
    // edge.
    let centre = (i as f64 + 0.5 - start) / scale - 0.5;
    if !(-0.5..from as f64 - 0.5).contains(&centre) {
        return Vec::new();
    }
    let centre = centre.clamp(0.0, from as f64 - 1.0);
    let (at, part) = (centre as usize, centre.fract());
    let next = (at + 1).min(from - 1);
    vec![(at, 1.0 - part), (next, part)]
}

#[cfg(test)]
mod tests {
    use png::ColorType;
    use proptest::prelude::*;

    use super::*;

    fn fit(rows: usize, cols: usize, invert: Invert) -> Preparation {
        Preparation { rows, cols, invert, centre: false }
    }

    fn scan(
        width: usize,
        height: usize,
        colour: ColorType,
        pixels: &[u8],
        rows: usize,
        cols: usize,
    ) -> Scan {
        let bytes = crate::data::image::png(width, height, colour, pixels).expect("an image");
        parse(&bytes, Path::new("x.png"), fit(rows, cols, Invert::Auto)).expect("an image")
    }

    #[test]
    fn an_image_of_the_networks_size_is_unchanged() {
        let pixels = [0, 0, 0, 0, 200, 0, 0, 0, 0];
        let scan = scan(3, 3, ColorType::Grayscale, &pixels, 3, 3);
        assert_eq!(
            scan,
            Scan { pixels: pixels.into(), size: [3, 3], inverted: false, centred: false }
        );
    }

    #[test]
    fn light_paper_is_inverted() {
        let pixels = [255, 255, 255, 255, 55, 255, 255, 255, 255];
        let scan = scan(3, 3, ColorType::Grayscale, &pixels, 3, 3);
        assert_eq!((scan.pixels, scan.inverted), (vec![0, 0, 0, 0, 200, 0, 0, 0, 0], true));
        let bytes = crate::data::image::png(3, 3, ColorType::Grayscale, &pixels).expect("an image");
        let scan = parse(&bytes, Path::new("x.png"), fit(3, 3, Invert::No)).expect("an image");
        assert_eq!((&scan.pixels[..], scan.inverted), (&pixels[..], false));
    }

    #[test]
    fn colours_are_converted_to_grey_and_transparent_pixels_to_paper() {
        // Pure colours on black, by BT.601.
        let pixels =
            [[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255], [0, 0, 0], [0, 0, 0]].concat();
        let scan_of = |colour, pixels: &[u8], width| scan(width, 1, colour, pixels, 1, width);
        assert_eq!(scan_of(ColorType::Rgb, &pixels, 6).pixels, [0, 76, 150, 29, 0, 0]);
        // Ink on transparent paper: dark ink gets white paper, which is inverted; light ink black.
        let dark = [[0, 0], [0, 255], [0, 0]].concat();
        let light = [[0, 0], [255, 255], [0, 0]].concat();
        let (dark, light) = (
            scan_of(ColorType::GrayscaleAlpha, &dark, 3),
            scan_of(ColorType::GrayscaleAlpha, &light, 3),
        );
        assert_eq!((dark.pixels, dark.inverted), (vec![0, 255, 0], true));
        assert_eq!((light.pixels, light.inverted), (vec![0, 255, 0], false));
    }

    #[test]
    fn larger_images_are_averaged_and_smaller_ones_interpolated() {
        // 4 x 4 to 2 x 2: means of four pixels.
        let pixels = [0, 0, 0, 0, 0, 100, 0, 0, 0, 0, 200, 0, 0, 0, 0, 0];
        assert_eq!(scan(4, 4, ColorType::Grayscale, &pixels, 2, 2).pixels, [25, 0, 0, 50]);
        // 3 to 2: one and a half pixels each. The median of the edge is 0.
        let row = [0, 90, 0, 0, 90, 0, 0, 90, 0];
        assert_eq!(scan(3, 3, ColorType::Grayscale, &row, 2, 2).pixels, [30; 4]);
        // 1 x 2 to 1 x 4 by interpolation at 1/4 and 3/4.
        assert_eq!(scan(2, 1, ColorType::Grayscale, &[0, 100], 2, 4).pixels[..4], [0, 25, 75, 100]);
    }

    #[test]
    fn the_aspect_ratio_is_kept() {
        // A bar of 2 x 4 in 4 x 4: one column of paper on either side.
        let scan = scan(2, 4, ColorType::Grayscale, &[200; 8], 4, 4);
        assert!(scan.inverted, "a light edge is light paper");
        let bar = [0, 200, 0, 0].repeat(4);
        let scan = self::scan(4, 4, ColorType::Grayscale, &bar, 8, 16);
        let sum = |columns: Range<usize>| -> u32 {
            (0..8)
                .flat_map(|y| columns.clone().map(move |x| (x, y)))
                .map(|(x, y)| u32::from(scan.pixels[y * 16 + x]))
                .sum()
        };
        assert_eq!((sum(0..4), sum(12..16)), (0, 0));
        assert!(sum(4..8) > 0);
    }

    /// Draws the same stroke at different positions of different pages: the results are the same.
    #[test]
    fn ink_is_cropped_and_centred_whatever_the_margin() {
        let centred = |width: usize, height: usize, left: usize, top: usize, light: bool| {
            let (paper, ink) = if light { (250, 20) } else { (0, 230) };
            let stroke = |at: usize| {
                (left..left + 4).contains(&(at % width)) && (top..top + 10).contains(&(at / width))
            };
            let pixels: Vec<u8> =
                (0..width * height).map(|at| if stroke(at) { ink } else { paper }).collect();
            let bytes = crate::data::image::png(width, height, ColorType::Grayscale, &pixels)
                .expect("an image");
            let preparation = Preparation { centre: true, ..fit(14, 14, Invert::Auto) };
            parse(&bytes, Path::new("x.png"), preparation).expect("an image")
        };
        let scan = centred(40, 60, 30, 5, false);
        // 10 rows are 10/14 of the side: the scale is 1. The middle is 7.5: rows 3 to 12, columns 6
        // to 9 (5.5 rounds up).
        let expected = |at: usize| (6..10).contains(&(at % 14)) && (3..13).contains(&(at / 14));
        let stroke: Vec<u8> = (0..196).map(|at| if expected(at) { 230 } else { 0 }).collect();
        assert_eq!((&scan.pixels, scan.centred, scan.size), (&stroke, true, [40, 60]));
        assert_eq!(centred(100, 30, 3, 17, false).pixels, stroke);
        let light = centred(33, 44, 7, 20, true);
        assert!(
            light.inverted
                && light.pixels.iter().zip(&stroke).all(|(a, b)| (*a > 100) == (*b > 100))
        );
        // An image of the network's size is not cropped, nor one without ink.
        assert!(!centred(14, 14, 0, 0, false).centred);
        assert!(!blank_scan().centred);
    }

    fn blank_scan() -> Scan {
        let bytes =
            crate::data::image::png(5, 5, ColorType::Grayscale, &[9; 25]).expect("an image");
        let preparation = Preparation { centre: true, ..fit(14, 14, Invert::Auto) };
        parse(&bytes, Path::new("x.png"), preparation).expect("an image")
    }

    #[test]
    fn weights_within_the_image_sum_to_1() {
        for from in 1..40 {
            for to in 1..40 {
                let scale = to as f64 / from as f64;
                for i in 0..to {
                    let sum: f64 =
                        weights(i, 0.0, from, scale).iter().map(|(_, weight)| weight).sum();
                    assert!((sum - 1.0).abs() < 1e-9, "{i} of {to} from {from}: {sum}");
                }
            }
        }
    }

    proptest! {
        /// A damaged file causes no panic: it is refused, or read as an image of the right size.
        #[test]
        fn damaged_images_are_refused_or_read(
            at in any::<prop::sample::Index>(),
            byte: u8,
            cut in any::<prop::sample::Index>(),
            colour in 0_usize..4,
            centre: bool,
        ) {
            let colours =
                [ColorType::Grayscale, ColorType::GrayscaleAlpha, ColorType::Rgb, ColorType::Rgba];
            let colour = colours[colour];
            let pixels: Vec<u8> = (0..5 * 9 * colour.samples()).map(|i| (i * 7) as u8).collect();
            let mut bytes = crate::data::image::png(5, 9, colour, &pixels).expect("an image");
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes.truncate(bytes.len() - cut.index(20));
            let preparation = Preparation { centre, ..fit(4, 6, Invert::Auto) };
            if let Ok(scan) = parse(&bytes, Path::new("x.png"), preparation) {
                prop_assert_eq!(scan.pixels.len(), 24);
            }
        }
    }

    #[test]
    fn a_palette_that_ends_within_a_colour_is_refused() {
        let indexed = |palette: usize| {
            let mut bytes = Vec::new();
            let mut encoder = png::Encoder::new(&mut bytes, 1, 1);
            encoder.set_color(ColorType::Indexed);
            encoder.set_palette(vec![9; palette]);
            let mut writer = encoder.write_header().expect("memory");
            writer.write_image_data(&[0]).expect("one pixel");
            writer.finish().expect("memory");
            parse(&bytes, Path::new("x.png"), fit(1, 1, Invert::No))
        };
        assert_eq!(indexed(6).expect("two colours").pixels, [9]);
        for palette in [4, 5] {
            let error = indexed(palette).expect_err("an incomplete colour").to_string();
            assert!(
                error.contains(&format!("3 bytes for each colour, found {palette} bytes")),
                "{error}"
            );
        }
    }

    #[test]
    fn errors_name_the_file_or_the_size() {
        let good = crate::data::image::png(4, 4, ColorType::Grayscale, &[7; 16]).expect("an image");
        let refuse = |bytes: &[u8]| {
            parse(bytes, Path::new("some.png"), fit(4, 4, Invert::Auto))
                .expect_err("no image")
                .to_string()
        };
        for cut in [0, 7, 20, good.len() - 20] {
            assert!(refuse(&good[..cut]).contains("some.png"), "{cut}");
        }
        // A header that claims a huge image.
        let mut huge = good.clone();
        huge[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
        let mut crc = 0xFFFF_FFFF_u32;
        for &byte in &huge[12..29] {
            crc ^= u32::from(byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
            }
        }
        huge[29..33].copy_from_slice(&(!crc).to_be_bytes());
        assert!(refuse(&huge).contains("65536 x 65536"), "{}", refuse(&huge));
        // Few pixels, but a side with too many weights.
        let tall = crate::data::image::png(1, 65_537, ColorType::Grayscale, &[7; 65_537])
            .expect("an image");
        assert!(refuse(&tall).contains("1 x 65537"), "{}", refuse(&tall));
    }
}
