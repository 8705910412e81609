//! TensorBoard's event file: scalars of each epoch, gradient norms of each tensor, and a histogram
//! of each gradient's magnitudes.
//!
//! ```text
//! file    = record*                                                   little-endian
//! record  = length u64 | crc(length) u32 | event | crc(event) u32
//! event   = wall_time 1: double, step 2: int64, file_version 3: string | summary 5: value*
//! value   = 1: (tag 1: string, simple_value 2: float | histo 5)
//! histo   = min 1, max 2, num 3, sum 4, sum_squares 5: double,
//!           bucket_limit 6, bucket 7: packed double
//! ```
//!
//! The checksum is CRC-32C (Castagnoli), rotated and offset. Sources: TensorFlow's
//! `record_writer.h`, `event.proto` and `summary.proto`. Written by the
//! [journal](crate::run::journal) with the other metrics.

use crate::run::epoch::Epoch;
use crate::run::health::{Health, Magnitudes, TensorHealth};
use crate::run::protobuf::Message;

/// First record of the file of a run that started at `start`, in seconds since 1970.
pub fn head(start: f64) -> Vec<u8> {
    let mut file = Vec::new();
    append(&mut file, &Message::new().double(1, start).text(3, "brain.Event:2").into_bytes());
    file
}

/// Records of an epoch that started at `start`, with the samples of its gradients.
pub fn epoch(start: f64, epoch: &Epoch, health: Option<&Health>) -> Vec<u8> {
    let mut file = Vec::new();
    if let Some(health) = health {
        for (i, &step) in health.steps.iter().enumerate() {
            let time = start + epoch.train_seconds * i as f64 / health.steps.len() as f64;
            let norm =
                |name: &str, norms: &[f64]| Some((format!("gradient_norm/{name}"), *norms.get(i)?));
            let norms =
                health.tensors.iter().filter_map(|tensor| norm(&tensor.name, &tensor.grad_norms));
            append(&mut file, &event(time, step, norms.map(scalar)));
        }
    }
    let scalars = [
        ("loss/training", epoch.train_loss),
        ("loss/validation", epoch.val_loss),
        ("accuracy/validation", epoch.val_accuracy),
        ("gradient_norm/mean", epoch.grad_norm),
        ("gradient_norm/largest", epoch.grad_norm_max),
        ("learning_rate", epoch.lr),
        ("seconds/training", epoch.train_seconds),
    ];
    // A regression has no accuracy.
    let is_defined = |(tag, value): &(&str, f64)| !(tag.starts_with("accuracy/") && value.is_nan());
    let scalars =
        scalars.into_iter().filter(is_defined).map(|(tag, value)| scalar((tag.to_owned(), value)));
    let histograms = health.iter().flat_map(|health| &health.tensors).filter_map(histogram);
    append(&mut file, &event(start + epoch.train_seconds, epoch.step, scalars.chain(histograms)));
    file
}

/// Encodes an event with `values`.
fn event(time: f64, step: u64, values: impl Iterator<Item = Message>) -> Vec<u8> {
    let summary = values.fold(Message::new(), |summary, value| summary.message(1, value));
    Message::new().double(1, time).int(2, step as i64).message(5, summary).into_bytes()
}

/// Encodes a scalar with its tag.
fn scalar((tag, value): (String, f64)) -> Message {
    Message::new().text(1, &tag).float(2, value as f32)
}

/// Encodes the base-two logarithms of a gradient's magnitudes: a histogram with a bucket for each
/// power of two. Elements that are 0, below or above all bins, or non-finite are left out; `None`
/// if no others are left.
fn histogram(tensor: &TensorHealth) -> Option<Message> {
    let Magnitudes { exponent, counts, .. } = &tensor.magnitudes;
    let total = counts.iter().sum::<u64>() as f64;
    if total == 0.0 {
        return None;
    }
    let first = f64::from(*exponent);
    // The limit of a bucket is its upper end: [2^e, 2^(e + 1)) has the logarithms e to e + 1.
    let buckets =
        || (1..).map(|i| first + f64::from(i)).zip(counts.iter().map(|&count| count as f64));
    // Each element counts with the middle of its bucket.
    let sum =
        |f: fn(f64) -> f64| buckets().map(|(limit, count)| f(limit - 0.5) * count).sum::<f64>();
    let packed = |values: &mut dyn Iterator<Item = f64>| {
        values.flat_map(f64::to_le_bytes).collect::<Vec<u8>>()
    };
    let histogram = Message::new()
        .double(1, first)
        .double(2, first + counts.len() as f64)
        .double(3, total)
        .double(4, sum(|x| x))
        .double(5, sum(|x| x * x))
        .blob(6, &packed(&mut buckets().map(|(limit, _)| limit)))
        .blob(7, &packed(&mut buckets().map(|(_, count)| count)));
    Some(Message::new().text(1, &format!("gradient_log2/{}", tensor.name)).message(5, histogram))
}

/// Appends a record to `file`.
fn append(file: &mut Vec<u8>, event: &[u8]) {
    let length = (event.len() as u64).to_le_bytes();
    file.extend(length);
    file.extend(masked_crc(&length).to_le_bytes());
    file.extend(event);
    file.extend(masked_crc(event).to_le_bytes());
}

/// Masked CRC-32C: rotated right by 15 bits, plus a constant, so that data with embedded checksums
/// can be checked.
fn masked_crc(data: &[u8]) -> u32 {
    crc(data).rotate_right(15).wrapping_add(0xA282_EAD8)
}

/// CRC-32C (RFC 3720, appendix B.4).
fn crc(data: &[u8]) -> u32 {
    let byte = |mut crc: u32, byte: &u8| {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82F6_3B78 } else { crc >> 1 };
        }
        crc
    };
    !data.iter().fold(!0, byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720, appendix B.4.
    #[test]
    fn checksums_are_the_published_ones() {
        assert_eq!(crc(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc(&[0xFF; 32]), 0x62A8_AB43);
        assert_eq!(crc(&(0..32).collect::<Vec<u8>>()), 0x46DD_794E);
        assert_eq!(crc(b"123456789"), 0xE306_9283);
    }

    /// First record of a file that TensorFlow wrote, except for the time.
    #[test]
    fn the_first_record_is_tensorflows() {
        let file = head(1.5);
        assert_eq!(file[..8], 24_u64.to_le_bytes());
        let event = &file[12..12 + 24];
        assert_eq!(event[..9], [9, 0, 0, 0, 0, 0, 0, 0xF8, 0x3F]);
        assert_eq!(&event[9..], b"\x1a\x0dbrain.Event:2");
        assert_eq!(file.len(), 8 + 4 + 24 + 4);
    }
}
