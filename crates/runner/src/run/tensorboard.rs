//! Metrics as an event file that TensorBoard opens: a scalar for each number of each epoch, each layer's gradient norms, and a histogram
//! of the sizes of each layer's gradient.
//!
//! ```text
//! file    = record*                   record = length u64 | crc(length) u32 | event | crc(event) u32      little-endian
//! event   = wall_time 1: double, step 2: int64, file_version 3: string | summary 5: (value 1: (tag 1, simple_value 2: float | histo 5))*
//! histo   = min 1, max 2, num 3, sum 4, sum_squares 5: double, bucket_limit 6, bucket 7: packed double
//! ```
//!
//! The checksum is CRC-32C (Castagnoli), rotated and offset. Sources: TensorFlow's `record_writer.h`, `event.proto` and
//! `summary.proto`. Written by the
//! [journal](crate::run::journal) with the other metrics.

use crate::run::epoch::Epoch;
use crate::run::health::{Health, Magnitudes, TensorHealth};
use crate::run::protobuf::Message;

/// The first record of the file of a run that began at `began`, in seconds since 1970.
pub fn head(began: f64) -> Vec<u8> {
    let mut file = Vec::new();
    append(&mut file, &Message::new().double(1, began).text(3, "brain.Event:2").into_bytes());
    file
}

/// The records of an epoch that began at `began`, with what was seen of its gradients: they follow those of the epochs before it.
pub fn epoch(began: f64, epoch: &Epoch, health: Option<&Health>) -> Vec<u8> {
    let mut file = Vec::new();
    if let Some(health) = health {
        for (at, &step) in health.steps.iter().enumerate() {
            let time = began + epoch.train_seconds * at as f64 / health.steps.len() as f64;
            let norm = |name: &str, norms: &[f64]| {
                Some((format!("gradient_norm/{name}"), *norms.get(at)?))
            };
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
    // Of values there is no accuracy.
    let is_meant = |(tag, value): &(&str, f64)| !(tag.starts_with("accuracy/") && value.is_nan());
    let scalars =
        scalars.into_iter().filter(is_meant).map(|(tag, value)| scalar((tag.to_owned(), value)));
    let sizes = health.iter().flat_map(|health| &health.tensors).filter_map(histogram);
    append(&mut file, &event(began + epoch.train_seconds, epoch.step, scalars.chain(sizes)));
    file
}

/// An event with these values.
fn event(time: f64, step: u64, values: impl Iterator<Item = Message>) -> Vec<u8> {
    let summary = values.fold(Message::new(), |summary, value| summary.message(1, value));
    Message::new().double(1, time).int(2, step as i64).message(5, summary).into_bytes()
}

/// A number under a tag.
fn scalar((tag, value): (String, f64)) -> Message {
    Message::new().text(1, &tag).float(2, value as f32)
}

/// How large the elements of a tensor's gradient are, as base-two logarithms: a histogram with a bucket for each power of two. Elements
/// that are 0, too small or too large for any power, or not finite, are left out; `None` if that leaves none.
fn histogram(tensor: &TensorHealth) -> Option<Message> {
    let Magnitudes { exponent, counts, .. } = &tensor.magnitudes;
    let total = counts.iter().sum::<u64>() as f64;
    if total == 0.0 {
        return None;
    }
    let first = f64::from(*exponent);
    // A bucket's limit is its upper end: those of [2^e, 2^(e + 1)) are from e to e + 1.
    let buckets =
        || (1..).map(|i| first + f64::from(i)).zip(counts.iter().map(|&count| count as f64));
    let middle =
        |sum: fn(f64) -> f64| buckets().map(|(limit, count)| sum(limit - 0.5) * count).sum::<f64>();
    let packed = |values: &mut dyn Iterator<Item = f64>| {
        values.flat_map(f64::to_le_bytes).collect::<Vec<u8>>()
    };
    let histogram = Message::new()
        .double(1, first)
        .double(2, first + counts.len() as f64)
        .double(3, total)
        .double(4, middle(|x| x))
        .double(5, middle(|x| x * x))
        .blob(6, &packed(&mut buckets().map(|(limit, _)| limit)))
        .blob(7, &packed(&mut buckets().map(|(_, count)| count)));
    Some(Message::new().text(1, &format!("gradient_log2/{}", tensor.name)).message(5, histogram))
}

fn append(file: &mut Vec<u8>, event: &[u8]) {
    let length = (event.len() as u64).to_le_bytes();
    file.extend(length);
    file.extend(masked_crc(&length).to_le_bytes());
    file.extend(event);
    file.extend(masked_crc(event).to_le_bytes());
}

/// CRC-32C, rotated right by 15 bits, plus a constant, so that a checksum of data with checksums in it is none of them.
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

    /// The first record of a file that TensorFlow writes, but for the time.
    #[test]
    fn the_head_is_as_tensorflow_writes_it() {
        let file = head(1.5);
        assert_eq!(file[..8], 24_u64.to_le_bytes());
        let event = &file[12..12 + 24];
        assert_eq!(event[..9], [9, 0, 0, 0, 0, 0, 0, 0xF8, 0x3F]);
        assert_eq!(&event[9..], b"\x1a\x0dbrain.Event:2");
        assert_eq!(file.len(), 8 + 4 + 24 + 4);
    }
}
