//! Just enough of gRPC and protobuf to walk over a message's fields without decoding it.
//!
//! gRPC over HTTP/2, "Length-Prefixed-Message"; Protocol Buffers, "Encoding".

/// The message is not what an encoder writes, or uses what is not supported (groups).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A protobuf message, or any other length-delimited value, of which only the start may be here.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Chunk<'a> {
    bytes: &'a [u8],
    /// How many bytes of the value lie behind `bytes`. Only ever above zero at the end of what was given.
    missing: usize,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) number: u32,
    pub(crate) value: Value<'a>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Varint(u64),
    /// Of 4 or 8 bytes. No field that is looked for is one.
    Fixed,
    Bytes(Chunk<'a>),
}

// ===== impl Chunk =====

impl<'a> Chunk<'a> {
    /// A message that is here as a whole.
    pub(crate) const fn message(bytes: &'a [u8]) -> Self {
        Self { bytes, missing: 0 }
    }

    /// The first message of a gRPC body. `None` if its prefix is not whole, or the message is compressed.
    pub(super) fn first_message(body: &'a [u8]) -> Option<Self> {
        let (&[0, a, b, c, d], bytes) = body.split_first_chunk()? else { return None };
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?;
        let missing = length.saturating_sub(bytes.len());
        Some(Self { bytes: &bytes[..length - missing], missing })
    }

    /// The whole value; `None` if it was cut.
    pub(crate) fn whole(self) -> Option<&'a [u8]> {
        (self.missing == 0).then_some(self.bytes)
    }

    /// The next field, and steps behind it. `Ok(None)` at the end of the message or of what is here of it.
    ///
    /// Costs the same whatever the field's length: a value is stepped over, not read.
    pub(crate) fn next_field(&mut self) -> Result<Option<Field<'a>>, Malformed> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let Some(tag) = self.varint()? else { return Ok(None) };
        let number = u32::try_from(tag >> 3).map_err(|_| Malformed)?;
        if number == 0 || number >= 1 << 29 {
            return Err(Malformed);
        }
        let value = match tag & 7 {
            0 => self.varint()?.map(Value::Varint),
            1 => self.take(8)?.whole().map(|_| Value::Fixed),
            2 => match self.varint()? {
                Some(length) => Some(Value::Bytes(self.take(length)?)),
                None => None,
            },
            5 => self.take(4)?.whole().map(|_| Value::Fixed),
            _ => return Err(Malformed),
        };
        Ok(value.map(|value| Field { number, value }))
    }

    /// Was the value cut before its end?
    pub(super) fn is_cut(self) -> bool {
        self.missing > 0
    }

    /// Splits off the next `length` bytes, as many of them as are here.
    fn take(&mut self, length: u64) -> Result<Self, Malformed> {
        let length = usize::try_from(length).map_err(|_| Malformed)?;
        if length <= self.bytes.len() {
            let (bytes, rest) = self.bytes.split_at(length);
            self.bytes = rest;
            return Ok(Self::message(bytes));
        }
        let missing = length - self.bytes.len();
        let bytes = std::mem::take(&mut self.bytes);
        // A value that ends behind the message it is in was written by nobody.
        if missing > self.missing { Err(Malformed) } else { Ok(Self { bytes, missing }) }
    }

    /// `Ok(None)` if it was cut.
    fn varint(&mut self) -> Result<Option<u64>, Malformed> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let Some((&byte, rest)) = self.bytes.split_first() else {
                return if self.is_cut() { Ok(None) } else { Err(Malformed) };
            };
            self.bytes = rest;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if shift == 63 && bits > 1 {
                return Err(Malformed);
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(Some(value));
            }
        }
        Err(Malformed)
    }
}
