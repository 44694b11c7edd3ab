//! Just enough of protobuf to read two small things: a verb in a request, a delay in a status.

/// The fields of a message, in order: number and value. Ends at whatever it does not understand.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let tag = self.varint()?;
            let value = match tag & 7 {
                0 => Value::Varint(self.varint()?),
                1 => {
                    self.take(8)?;
                    continue;
                }
                2 => {
                    let length = usize::try_from(self.varint()?).ok()?;
                    Value::Bytes(self.take(length)?)
                }
                5 => {
                    self.take(4)?;
                    continue;
                }
                _ => return None,
            };
            return Some((tag >> 3, value));
        }
    }
}

impl<'a> Fields<'a> {
    /// The last message in field `number`: a protobuf reader would merge them, which nobody writes.
    pub(super) fn message(self, number: u64) -> Option<&'a [u8]> {
        self.filter_map(|(n, value)| match value {
            Value::Bytes(bytes) if n == number => Some(bytes),
            _ => None,
        })
        .last()
    }

    /// The last number in field `number`.
    pub(super) fn number(self, number: u64) -> Option<u64> {
        self.filter_map(|(n, value)| match value {
            Value::Varint(value) if n == number => Some(value),
            _ => None,
        })
        .last()
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::{Fields, Value};

    #[test]
    fn fields_are_walked_and_foreign_ones_stepped_over() {
        let message = b"\x08\x96\x01\x11\0\0\0\0\0\0\0\0\x12\x02ab\x1d\0\0\0\0\x20\x01";
        let fields: Vec<_> = Fields(message).collect();
        assert_eq!(fields, [(1, Value::Varint(150)), (2, Value::Bytes(b"ab")), (4, Value::Varint(1))]);
        assert_eq!(Fields(b"\x12\x05ab").next(), None);
    }

    proptest! {
        #[test]
        fn anything_comes_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            assert!(Fields(&bytes).count() <= bytes.len());
        }
    }
}
