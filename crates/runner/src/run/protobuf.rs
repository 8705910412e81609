//! Messages of Protocol Buffers, written field by field: as much of the format as event files and ONNX take.
//!
//! Source: <https://protobuf.dev/programming-guides/encoding>.

/// A message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// One without fields.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Its bytes.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// A field of an integer type.
    #[must_use]
    pub(crate) fn int(mut self, field: u32, value: i64) -> Self {
        self.key(field, 0);
        // Negative numbers are written as the large ones that they are as unsigned.
        self.varint(value as u64);
        self
    }

    /// A field of type `double`.
    #[must_use]
    pub(crate) fn double(mut self, field: u32, value: f64) -> Self {
        self.key(field, 1);
        self.bytes.extend(value.to_le_bytes());
        self
    }

    /// A field of type `float`.
    #[must_use]
    pub(crate) fn float(mut self, field: u32, value: f32) -> Self {
        self.key(field, 5);
        self.bytes.extend(value.to_le_bytes());
        self
    }

    /// A field of type `string`.
    #[must_use]
    pub(crate) fn text(self, field: u32, value: &str) -> Self {
        self.blob(field, value.as_bytes())
    }

    /// A field of type `bytes`.
    #[must_use]
    pub(crate) fn blob(mut self, field: u32, value: &[u8]) -> Self {
        self.key(field, 2);
        self.varint(value.len() as u64);
        self.bytes.extend(value);
        self
    }

    /// A field that is a message.
    #[must_use]
    pub(crate) fn message(self, field: u32, value: Self) -> Self {
        self.blob(field, &value.bytes)
    }

    /// A field's number and how its value is written: 0 varint, 1 eight bytes, 2 with its length, 5 four bytes.
    fn key(&mut self, field: u32, kind: u32) {
        self.varint(u64::from(field << 3 | kind));
    }

    /// Seven bits a byte, the lowest first; all but the last with the highest bit set.
    fn varint(&mut self, mut value: u64) {
        while value > 0x7F {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the format's description.
    #[test]
    fn fields_are_written_as_the_examples_are() {
        assert_eq!(Message::new().int(1, 150).into_bytes(), [0x08, 0x96, 0x01]);
        assert_eq!(Message::new().text(2, "testing").into_bytes(), b"\x12\x07testing");
        let inner = Message::new().int(1, 150);
        assert_eq!(Message::new().message(3, inner).into_bytes(), [0x1A, 0x03, 0x08, 0x96, 0x01]);
        let minus_two = Message::new().int(1, -2).into_bytes();
        assert_eq!(minus_two, [0x08, 0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]);
        assert_eq!(Message::new().float(1, 1.0).into_bytes(), [0x0D, 0, 0, 0x80, 0x3F]);
        assert_eq!(Message::new().double(16, 1.0).into_bytes()[..3], [0x81, 0x01, 0]);
    }
}
