//! PNG encoder for grey and colour images.
//!
//! Called by `data show`, which writes files, and by the [report](crate::report), which embeds
//! images. Format: Portable Network Graphics (W3C, third edition, 2025).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use png::{BitDepth, ColorType, Compression, Encoder};

use crate::Error;

/// Encodes `pixels` as a PNG file: `width` x `height` pixels of `colour`, 8 bits per channel,
/// row-major from the top.
///
/// # Errors
/// [`Error::Usage`] if the length of `pixels` does not match.
pub fn png(
    width: usize,
    height: usize,
    colour: ColorType,
    pixels: &[u8],
) -> Result<Vec<u8>, Error> {
    let refused = |error: png::EncodingError| Error::Usage(format!("image: {error}"));
    let mut bytes = Vec::new();
    let side = |side: usize| {
        u32::try_from(side)
            .map_err(|_| Error::Usage(format!("image: {side} pixels a side are too many")))
    };
    let mut encoder = Encoder::new(&mut bytes, side(width)?, side(height)?);
    encoder.set_color(colour);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(Compression::High);
    let mut writer = encoder.write_header().map_err(refused)?;
    writer.write_image_data(pixels).map_err(refused)?;
    writer.finish().map_err(refused)?;
    Ok(bytes)
}

/// Encodes the file `png` as a data URI (RFC 2397), the source of an image in a page.
pub fn data_uri(png: &[u8]) -> String {
    format!("data:image/png;base64,{}", STANDARD.encode(png))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoded_image_is_decoded_unchanged() {
        let pixels: Vec<u8> = (0..4 * 3 * 2).collect();
        let bytes = png(3, 2, ColorType::Rgba, &pixels).expect("a matching length");
        let mut reader =
            png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().expect("a PNG");
        let mut back = vec![0; reader.output_buffer_size().expect("small")];
        let info = reader.next_frame(&mut back).expect("one frame");
        assert_eq!((info.width, info.height, info.color_type), (3, 2, ColorType::Rgba));
        assert_eq!(back, pixels);
        assert!(png(3, 2, ColorType::Grayscale, &pixels).is_err());
        assert!(data_uri(&bytes).starts_with("data:image/png;base64,iVBORw0KGgo"));
    }
}
