/// How much of a stranger's event is read.
///
/// ```
/// use tower_dapr::event::Limits;
///
/// let limits = Limits::default().with_bytes(64 * 1024).with_depth(16);
/// assert_eq!(limits.bytes(), 65_536);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    bytes: usize,
    bulk_bytes: usize,
    attributes: usize,
    attribute_bytes: usize,
    depth: usize,
    entries: usize,
}

/// The depth that `serde_json` does not parse.
const PARSED: usize = 128;

impl Limits {
    /// The longest message, which is one event or a batch, in bytes on the wire: with its envelope. Defaults to 8 MiB.
    ///
    /// daprd takes 4 MiB of *data* (`--max-body-size`). What is no text it delivers in base64, which makes 5.6 MiB of
    /// them, and the attributes come on top. With a larger `--max-body-size`, twice that is enough here as well.
    ///
    /// CloudEvents 1.0.2 (*Size Limits*) asks every consumer to take 64 KiB.
    #[must_use]
    pub const fn with_bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// The longest bulk delivery of Dapr, in bytes on the wire. Each event in it is still limited by
    /// [`bytes`](Self::with_bytes), and this is never less than that. Defaults to 64 MiB: daprd puts events together by
    /// their number (100, if it is not told otherwise), not by their length.
    ///
    /// An app that speaks gRPC takes no message of daprd that is longer.
    #[must_use]
    pub const fn with_bulk_bytes(mut self, bytes: usize) -> Self {
        self.bulk_bytes = bytes;
        self
    }

    /// The most attributes, extensions included. Defaults to 256.
    #[must_use]
    pub const fn with_attributes(mut self, attributes: usize) -> Self {
        self.attributes = attributes;
        self
    }

    /// The longest name and the longest value of an attribute, in bytes of JSON. Defaults to 64 KiB.
    ///
    /// A member that is an object or an array is no attribute: only [`bytes`](Self::with_bytes) and
    /// [`depth`](Self::with_depth) hold for it.
    #[must_use]
    pub const fn with_attribute_bytes(mut self, bytes: usize) -> Self {
        self.attribute_bytes = bytes;
        self
    }

    /// The deepest nesting of objects and arrays in data and in any other member. Defaults to 128.
    ///
    /// From 128 on it is `serde_json` that refuses data, when it is parsed: as text, it is safe at any depth. A lower limit
    /// costs a look at each byte of the data, and refuses the event itself.
    #[must_use]
    pub const fn with_depth(mut self, depth: usize) -> Self {
        self.depth = depth;
        self
    }

    /// The most events in one batch or bulk delivery. Defaults to 10,000; daprd sends 100 if it is not told otherwise.
    #[must_use]
    pub const fn with_entries(mut self, entries: usize) -> Self {
        self.entries = entries;
        self
    }

    /// The longest event, in bytes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The longest bulk delivery, in bytes.
    #[must_use]
    pub const fn bulk_bytes(&self) -> usize {
        if self.bulk_bytes < self.bytes { self.bytes } else { self.bulk_bytes }
    }

    /// The most attributes.
    #[must_use]
    pub const fn attributes(&self) -> usize {
        self.attributes
    }

    /// The longest name and the longest value of an attribute, in bytes.
    #[must_use]
    pub const fn attribute_bytes(&self) -> usize {
        self.attribute_bytes
    }

    /// The deepest nesting.
    #[must_use]
    pub const fn depth(&self) -> usize {
        self.depth
    }

    /// The most events in one batch.
    #[must_use]
    pub const fn entries(&self) -> usize {
        self.entries
    }

    /// As [`are_exceeded_by_depth_of`](Self::are_exceeded_by_depth_of), for data, which may be long: what its parser refuses
    /// need not be looked for here.
    pub(super) fn are_exceeded_by_depth_of_data(&self, json: impl AsRef<[u8]>) -> bool {
        self.depth < PARSED && self.are_exceeded_by_depth_of(json)
    }

    /// Is this JSON text, which must be valid, nested deeper than allowed?
    pub(super) fn are_exceeded_by_depth_of(&self, json: impl AsRef<[u8]>) -> bool {
        let json = json.as_ref();
        // Each level takes two bytes: most texts are too short to be looked at.
        if json.len() / 2 <= self.depth {
            return false;
        }
        let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
        for byte in json {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_string => escaped = true,
                b'"' => in_string = !in_string,
                b'[' | b'{' if !in_string => {
                    depth += 1;
                    deepest = depth.max(deepest);
                }
                b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        deepest > self.depth
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 8 * 1024 * 1024,
            bulk_bytes: 64 * 1024 * 1024,
            attributes: 256,
            attribute_bytes: 64 * 1024,
            depth: PARSED,
            entries: 10_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Limits;

    #[test]
    fn a_bulk_may_be_as_long_as_an_event() {
        let limits = Limits::default().with_bulk_bytes(10);
        assert_eq!(limits.with_bytes(9).bulk_bytes(), 10);
        assert_eq!(limits.with_bytes(11).bulk_bytes(), 11);
    }

    #[test]
    fn only_brackets_outside_of_strings_nest() {
        let two = Limits::default().with_depth(2);
        for (json, exceeded) in [
            ("[[1]]", false),
            ("[[[]]]", true),
            (r#"{"a":[{}]}"#, true),
            (r#"["[[[[","\"[[[[","\\",[1]]"#, false),
            (r#"["\\",[[]]]"#, true),
            ("[[],[],[],[],[]]", false),
            ("\"[[[[[[\"", false),
        ] {
            assert_eq!(two.are_exceeded_by_depth_of(json), exceeded, "{json}");
        }
        assert!(Limits::default().with_depth(0).are_exceeded_by_depth_of("[]"));
        assert!(!Limits::default().with_depth(0).are_exceeded_by_depth_of("1234"));
    }
}
