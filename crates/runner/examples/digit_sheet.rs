//! Writes a sheet of generated digits as a PNG image, two rows of each digit.
//!
//! ```text
//! cargo run --release -p evenkeel --example digit_sheet -- OUT.png [SEED]
//! ```

use std::error::Error;
use std::fs::File;
use std::io::BufWriter;

use runner::data::digits::{PIXELS, SIDE, generate};

const COLUMNS: usize = 24;
const ROWS_PER_DIGIT: usize = 2;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let out = arguments.next().ok_or("expected the PNG file to write, got no argument")?;
    let seed = match arguments.next() {
        Some(seed) => {
            seed.parse().map_err(|e| format!("expected a seed (an integer), got `{seed}`: {e}"))?
        }
        None => 0,
    };

    let (pixels, labels) = generate(seed, 0, 2_000, 2);
    let width = COLUMNS * SIDE;
    let height = 10 * ROWS_PER_DIGIT * SIDE;
    let mut sheet = vec![0; width * height];
    for digit in 0..10 {
        let images = pixels
            .chunks_exact(PIXELS)
            .zip(&labels)
            .filter(|&(_, &label)| usize::from(label) == digit);
        for (cell, (image, _)) in images.take(ROWS_PER_DIGIT * COLUMNS).enumerate() {
            let top = (digit * ROWS_PER_DIGIT + cell / COLUMNS) * SIDE;
            let left = cell % COLUMNS * SIDE;
            for (row, line) in image.chunks_exact(SIDE).enumerate() {
                let start = (top + row) * width + left;
                sheet[start..start + SIDE].copy_from_slice(line);
            }
        }
    }

    let mut encoder =
        png::Encoder::new(BufWriter::new(File::create(&out)?), width as u32, height as u32);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&sheet)?;
    writer.finish()?;
    Ok(())
}
