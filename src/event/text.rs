use std::ops::Range;

use bytes::Bytes;

/// A text of an event: a slice of the received buffer, or owned where the wire had it in another form.
#[derive(Debug, Clone)]
pub(super) enum Text {
    /// Where it stands in the buffer. Taken from a `&str`, so these bytes are UTF-8.
    Slice(Range<usize>),
    Owned(Box<str>),
}

impl Text {
    pub(super) fn get<'a>(&'a self, buffer: &'a [u8]) -> &'a str {
        match self {
            Self::Slice(range) => buffer
                .get(range.clone())
                .and_then(|bytes| std::str::from_utf8(bytes).ok())
                .expect("the range was taken from a `&str` of this buffer"),
            Self::Owned(text) => text,
        }
    }

    /// As [`get`](Self::get), while the buffer is still known to be text.
    pub(super) fn in_str<'a>(&'a self, buffer: &'a str) -> &'a str {
        match self {
            Self::Slice(range) => &buffer[range.clone()],
            Self::Owned(text) => text,
        }
    }

    /// Does it say this?
    pub(super) fn is(&self, text: &str, buffer: &[u8]) -> bool {
        match self {
            Self::Slice(range) => range.len() == text.len() && buffer.get(range.clone()) == Some(text.as_bytes()),
            Self::Owned(owned) => **owned == *text,
        }
    }

    pub(super) fn into_bytes(self, buffer: &Bytes) -> Bytes {
        match self {
            Self::Slice(range) => buffer.slice(range),
            Self::Owned(text) => Bytes::from(text.into_string()),
        }
    }
}

/// Where `part` stands in the buffer, if it points into it.
pub(super) fn range_in(buffer: &str, part: &str) -> Option<Range<usize>> {
    let start = (part.as_ptr() as usize).checked_sub(buffer.as_ptr() as usize)?;
    let end = start.checked_add(part.len())?;
    buffer.get(start..end).map(|_| start..end)
}

#[cfg(test)]
mod tests {
    use super::range_in;

    #[test]
    fn only_a_part_of_the_buffer_is_a_slice() {
        let buffer = String::from("an äpple");
        assert_eq!(range_in(&buffer, &buffer[3..5]), Some(3..5));
        assert_eq!(range_in(&buffer, &buffer[9..]), Some(9..9));
        assert_eq!(range_in(&buffer[..5], &buffer[3..]), None);
        assert_eq!(range_in(&buffer[3..], &buffer[..5]), None);
    }
}
