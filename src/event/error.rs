use std::{error::Error, fmt};

/// Why bytes are no event that can be taken. Says nothing of what was in them.
#[derive(Debug, Clone)]
pub struct DecodeError {
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    TooLarge {
        limit: usize,
    },
    NotUtf8,
    Syntax {
        line: usize,
        column: usize,
    },
    NotAnObject,
    SpecVersion,
    NotText {
        attribute: &'static str,
    },
    /// `None`: of an extension, whose name is the publisher's.
    Duplicate {
        member: Option<&'static str>,
    },
    NotUnicode,
    TwoKindsOfData,
    Base64,
    TooManyAttributes {
        limit: usize,
    },
    AttributeTooLong {
        limit: usize,
    },
    TooDeep {
        limit: usize,
    },
    TooManyEntries {
        limit: usize,
    },
    NotABatch,
    NoAttributes,
    Compressed,
}

impl DecodeError {
    pub(super) const fn new(kind: Kind) -> Self {
        Self { kind }
    }

    /// The message is longer than this.
    pub(crate) const fn too_large(limit: usize) -> Self {
        Self::new(Kind::TooLarge { limit })
    }

    /// The body has a `content-encoding`.
    pub(crate) const fn compressed() -> Self {
        Self::new(Kind::Compressed)
    }

    /// Is the event longer than [`Limits::bytes`](super::Limits::bytes), or the bulk delivery than
    /// [`Limits::bulk_bytes`](super::Limits::bulk_bytes)? (HTTP has 413 for it.)
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        matches!(self.kind, Kind::TooLarge { .. })
    }

    /// Are the bytes no JSON object at all?
    #[must_use]
    pub fn is_syntax(&self) -> bool {
        matches!(self.kind, Kind::NotUtf8 | Kind::Syntax { .. } | Kind::NotAnObject)
    }

    /// Are the bytes something else than a batch?
    pub(crate) fn is_not_a_batch(&self) -> bool {
        matches!(self.kind, Kind::NotABatch | Kind::NotUtf8 | Kind::Syntax { .. })
    }

    /// Is it an event of a version of CloudEvents other than 1.0?
    #[must_use]
    pub fn is_unsupported_version(&self) -> bool {
        self.kind == Kind::SpecVersion
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::TooLarge { limit } => write!(f, "event is longer than {limit} bytes"),
            Kind::NotUtf8 => f.write_str("event is not UTF-8"),
            Kind::Syntax { line, column } => write!(f, "event is not valid JSON at line {line} column {column}"),
            Kind::NotAnObject => f.write_str("event is not a JSON object"),
            Kind::SpecVersion => f.write_str("`specversion` is not 1.0"),
            Kind::NotText { attribute } => write!(f, "`{attribute}` is not a text"),
            Kind::Duplicate { member: Some(member) } => write!(f, "`{member}` appears twice"),
            Kind::Duplicate { member: None } => f.write_str("an extension attribute appears twice"),
            Kind::NotUnicode => f.write_str("a string is not Unicode"),
            Kind::TwoKindsOfData => f.write_str("both `data` and `data_base64` are present"),
            Kind::Base64 => f.write_str("`data_base64` is not base64"),
            Kind::TooManyAttributes { limit } => write!(f, "more than {limit} attributes"),
            Kind::AttributeTooLong { limit } => write!(f, "an attribute is longer than {limit} bytes"),
            Kind::TooManyEntries { limit } => write!(f, "more than {limit} events"),
            Kind::NotABatch => f.write_str("message is no batch of events"),
            Kind::NoAttributes => f.write_str("no header is an attribute of an event"),
            Kind::Compressed => f.write_str("the body is compressed"),
            Kind::TooDeep { limit } => write!(f, "nested deeper than {limit} levels"),
        }
    }
}

impl Error for DecodeError {}

/// Why the data of an event is not what the handler asks for.
///
/// Neither `Display` nor `Debug` nor `source` shows what was in the data, so it can be logged.
/// [`json_error`](Self::json_error) may.
pub struct DataError {
    reason: Reason,
}

enum Reason {
    Missing,
    Mismatch { form: &'static str, error: Box<serde_json::Error> },
}

impl DataError {
    pub(super) const fn missing() -> Self {
        Self { reason: Reason::Missing }
    }

    pub(super) fn mismatch(form: &'static str, error: serde_json::Error) -> Self {
        Self { reason: Reason::Mismatch { form, error: Box::new(error) } }
    }

    /// Has the event no data?
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self.reason, Reason::Missing)
    }

    /// The whole error of the parser. Its text may quote the data.
    #[must_use]
    pub fn json_error(&self) -> Option<&serde_json::Error> {
        match &self.reason {
            Reason::Missing => None,
            Reason::Mismatch { error, .. } => Some(error),
        }
    }
}

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (form, error) = match &self.reason {
            Reason::Missing => return f.write_str("event has no data"),
            Reason::Mismatch { form, error } => (form, error),
        };
        if error.is_data() {
            write!(f, "data, which is {form}, does not fit the handler's type")?;
            // A field's name is the handler's; all other messages may quote the data.
            let message = error.to_string();
            if let Some(field) = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
                write!(f, ": missing field `{field}`")?;
            }
        } else {
            f.write_str("data is not valid JSON")?;
        }
        match error.line() {
            0 => Ok(()),
            line => write!(f, " at line {line} column {}", error.column()),
        }
    }
}

impl fmt::Debug for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DataError").field(&format_args!("{self}")).finish()
    }
}

impl Error for DataError {}
