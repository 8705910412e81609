//! Metrics as an event file that TensorBoard opens: a scalar for each number of each epoch, and each layer's gradient norms.
//!
//! ```text
//! file    = record*                   record = length u64 | crc(length) u32 | event | crc(event) u32      little-endian
//! event   = wall_time 1: double, step 2: int64, file_version 3: string | summary 5: (value 1: (tag 1, simple_value 2: float))*
//! ```
//!
//! The checksum is CRC-32C (Castagnoli), rotated and offset. Sources: TensorFlow's `record_writer.h`, `event.proto` and
//! `summary.proto`. Written by `train`
//! with the other metrics.

use crate::health::Health;
use crate::metrics::Epoch;
use crate::protobuf::Message;

/// The bytes of the file for a run that began at `began`, in seconds since 1970.
///
/// More epochs append to it: what TensorBoard has read stays as it was.
pub fn encode(began: f64, history: &[Epoch], record: &[Health]) -> Vec<u8> {
    let mut file = Vec::new();
    append(&mut file, &Message::new().double(1, began).text(3, "brain.Event:2").into_bytes());

    let mut now = began;
    for epoch in history {
        let began = now;
        now += epoch.train_seconds;
        if let Some(health) = record.iter().find(|health| health.epoch == epoch.epoch) {
            for (at, &step) in health.steps.iter().enumerate() {
                let time = began + epoch.train_seconds * at as f64 / health.steps.len() as f64;
                let norm =
                    |name: &str, norms: &[f64]| Some((format!("gradient_norm/{name}"), *norms.get(at)?));
                let norms = health.tensors.iter().filter_map(|tensor| norm(&tensor.name, &tensor.grad_norms));
                append(&mut file, &event(time, step, norms));
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
        append(
            &mut file,
            &event(now, epoch.step, scalars.map(|(tag, value)| (tag.to_owned(), value)).into_iter()),
        );
    }
    file
}

/// An event with these scalars.
fn event(time: f64, step: u64, scalars: impl Iterator<Item = (String, f64)>) -> Vec<u8> {
    let summary = scalars.fold(Message::new(), |summary, (tag, value)| {
        summary.message(1, Message::new().text(1, &tag).float(2, value as f32))
    });
    Message::new().double(1, time).int(2, step as i64).message(5, summary).into_bytes()
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
        let file = encode(1.5, &[], &[]);
        assert_eq!(file[..8], 24_u64.to_le_bytes());
        let event = &file[12..12 + 24];
        assert_eq!(event[..9], [9, 0, 0, 0, 0, 0, 0, 0xF8, 0x3F]);
        assert_eq!(&event[9..], b"\x1a\x0dbrain.Event:2");
        assert_eq!(file.len(), 8 + 4 + 24 + 4);
    }
}
