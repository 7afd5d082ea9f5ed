//! The two messages of an event file with scalars, in protobuf's encoding
//! (tensorflow/core/util/event.proto, framework/summary.proto).

use std::collections::BTreeMap;

/// Wire types.
const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const BYTES: u8 = 2;
const FIXED32: u8 = 5;

/// The first event of a file: its format's version.
pub(super) fn version(wall_time: f64) -> Vec<u8> {
    let mut event = Message::default();
    event.double(1, wall_time).bytes(3, b"brain.Event:2");
    event.0
}

/// An event with the scalars of a step. They are single precision there.
pub(super) fn scalars(wall_time: f64, step: u64, values: &BTreeMap<String, f64>) -> Vec<u8> {
    let mut summary = Message::default();
    for (tag, value) in values {
        let mut scalar = Message::default();
        scalar.bytes(1, tag.as_bytes()).float(2, *value as f32);
        summary.bytes(1, &scalar.0);
    }
    let mut event = Message::default();
    event
        .double(1, wall_time)
        .varint(2, step)
        .bytes(5, &summary.0);
    event.0
}

/// A message being encoded.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn double(&mut self, field: u8, value: f64) -> &mut Self {
        self.key(field, FIXED64).0.extend(value.to_le_bytes());
        self
    }

    fn float(&mut self, field: u8, value: f32) -> &mut Self {
        self.key(field, FIXED32).0.extend(value.to_le_bytes());
        self
    }

    fn varint(&mut self, field: u8, value: u64) -> &mut Self {
        self.key(field, VARINT).number(value)
    }

    fn bytes(&mut self, field: u8, value: &[u8]) -> &mut Self {
        self.key(field, BYTES)
            .number(value.len() as u64)
            .0
            .extend(value);
        self
    }

    /// Fields below 16 take one byte.
    fn key(&mut self, field: u8, wire: u8) -> &mut Self {
        self.0.push(field << 3 | wire);
        self
    }

    /// Seven bits at a time, the lowest first.
    fn number(&mut self, mut value: u64) -> &mut Self {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_the_bytes_of_the_reference_encoder() {
        // As `SerializeToString` of tensorboard 2.21's `compat.proto.event_pb2.Event`
        // gives them: wall time 1.5; step 300 and a summary of two values.
        let time = [9, 0, 0, 0, 0, 0, 0, 248, 63];
        let first = [&time[..], &[26, 13], b"brain.Event:2"].concat();
        assert_eq!(version(1.5), first);
        let values = [("loss", 0.5), ("eval/helpful/accuracy", 0.75)];
        let values = values.map(|(tag, value)| (tag.to_owned(), value)).into();
        let expected = [
            &time[..],
            &[16, 172, 2, 42, 43, 10, 28, 10, 21],
            b"eval/helpful/accuracy",
            &[21, 0, 0, 64, 63, 10, 11, 10, 4],
            b"loss",
            &[21, 0, 0, 0, 63],
        ];
        assert_eq!(scalars(1.5, 300, &values), expected.concat());
    }
}
