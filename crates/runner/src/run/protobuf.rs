//! Encoder for messages of Protocol Buffers, field by field: the parts of the format that event
//! files and ONNX need.
//!
//! Source: <https://protobuf.dev/programming-guides/encoding>.

/// A message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// Message without fields.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Encoded bytes.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Appends a field of an integer type.
    #[must_use]
    pub(crate) fn int(mut self, field: u32, value: i64) -> Self {
        self.key(field, 0);
        // A negative number is encoded as its two's complement in 64 bits.
        self.varint(value as u64);
        self
    }

    /// Appends a field of type `double`.
    #[must_use]
    pub(crate) fn double(mut self, field: u32, value: f64) -> Self {
        self.key(field, 1);
        self.bytes.extend(value.to_le_bytes());
        self
    }

    /// Appends a field of type `float`.
    #[must_use]
    pub(crate) fn float(mut self, field: u32, value: f32) -> Self {
        self.key(field, 5);
        self.bytes.extend(value.to_le_bytes());
        self
    }

    /// Appends a field of type `string`.
    #[must_use]
    pub(crate) fn text(self, field: u32, value: &str) -> Self {
        self.blob(field, value.as_bytes())
    }

    /// Appends a field of type `bytes`.
    #[must_use]
    pub(crate) fn blob(mut self, field: u32, value: &[u8]) -> Self {
        self.key(field, 2);
        self.varint(value.len() as u64);
        self.bytes.extend(value);
        self
    }

    /// Appends a field that is a message.
    #[must_use]
    pub(crate) fn message(self, field: u32, value: Self) -> Self {
        self.blob(field, &value.bytes)
    }

    /// Appends a field's number and wire type: 0 varint, 1 eight bytes, 2 length-delimited, 5 four
    /// bytes.
    fn key(&mut self, field: u32, wire_type: u32) {
        self.varint(u64::from(field << 3 | wire_type));
    }

    /// Appends a varint: seven bits per byte, the lowest first; all bytes but the last have the
    /// highest bit set.
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

    /// Examples of the format's documentation.
    #[test]
    fn fields_are_encoded_as_documented() {
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
