//! Just enough of protobuf to read two small things: a verb in a request, a delay in a status.

use crate::rpc::wire::{self, Chunk};

/// The fields of a message, in order: number and value. Ends at whatever it does not understand.
pub(super) struct Fields<'a>(Chunk<'a>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u32, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let field = self.0.next_field().ok()??;
            let value = match field.value {
                wire::Value::Varint(value) => Value::Varint(value),
                wire::Value::Bytes(bytes) => Value::Bytes(bytes.whole()?),
                wire::Value::Fixed => continue,
            };
            return Some((field.number, value));
        }
    }
}

impl<'a> Fields<'a> {
    pub(super) fn of(message: &'a [u8]) -> Self {
        Self(Chunk::message(message))
    }

    /// The last message in field `number`: a protobuf reader would merge them, which nobody writes.
    pub(super) fn message(self, number: u32) -> Option<&'a [u8]> {
        self.filter_map(|(n, value)| match value {
            Value::Bytes(bytes) if n == number => Some(bytes),
            _ => None,
        })
        .last()
    }

    /// The last number in field `number`.
    pub(super) fn number(self, number: u32) -> Option<u64> {
        self.filter_map(|(n, value)| match value {
            Value::Varint(value) if n == number => Some(value),
            _ => None,
        })
        .last()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::{Fields, Value};

    #[test]
    fn fields_are_walked_and_foreign_ones_stepped_over() {
        let message = b"\x08\x96\x01\x11\0\0\0\0\0\0\0\0\x12\x02ab\x1d\0\0\0\0\x20\x01";
        let fields: Vec<_> = Fields::of(message).collect();
        assert_eq!(fields, [(1, Value::Varint(150)), (2, Value::Bytes(b"ab")), (4, Value::Varint(1))]);
        assert_eq!(Fields::of(b"\x12\x05ab").next(), None);
    }

    proptest! {
        #[test]
        fn anything_comes_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            assert!(Fields::of(&bytes).count() <= bytes.len());
        }
    }
}
