use super::{
    class::Safety,
    wire::{Chunk, Field, Malformed, Value},
};

/// How many fields are looked at, nested ones included. More than for names: this is asked about calls that failed.
const MAX_FIELDS: usize = 4096;

/// `StateOptions.StateConcurrency.CONCURRENCY_FIRST_WRITE`.
const FIRST_WRITE: u64 = 1;

/// What in a request decides whether it may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Condition {
    /// Nothing: the path says it all.
    None,
    /// An etag or first-write in the request itself (`DeleteState`).
    DeleteState,
    /// The same in any of its items, field 2 (`SaveState`, `DeleteBulkState`).
    StateItems,
    /// The same in any of its operations' items, field 2 and in it field 2 (`ExecuteStateTransaction`).
    StateOperations,
    /// A flag that allows to replace what is there.
    Overwrite { field: u32, default: bool },
    /// An id of the caller's in field 1 makes the second start a conflict (`StartWorkflow`).
    InstanceId,
}

/// The request does not show it: cut, compressed, malformed, or too many fields.
#[derive(Debug)]
struct Unclear;

/// Walks over a message and what is nested in it.
struct Search {
    fields_left: usize,
}

// ===== impl Condition =====

impl Condition {
    /// The class of the request that starts with `body`; `None` if the path decides alone.
    pub(super) fn decide(self, body: &[u8]) -> Option<Safety> {
        let message = Chunk::first_message(body).ok_or(Unclear);
        let mut search = Search { fields_left: MAX_FIELDS };
        let conditional = |is_conditional| match is_conditional {
            Ok(false) => Safety::IdempotentWrite,
            Ok(true) | Err(Unclear) => Safety::ConditionalWrite,
        };
        Some(match self {
            Self::None => return None,
            Self::DeleteState => conditional(message.and_then(|m| search.conditional_item(m, 3, 4))),
            Self::StateItems => conditional(message.and_then(|m| search.conditional_items(m))),
            Self::StateOperations => conditional(message.and_then(|m| {
                search.any(m, |search, field| match (field.number, field.value) {
                    (2, Value::Bytes(operation)) => search.conditional_items(operation),
                    _ => Ok(false),
                })
            })),
            Self::Overwrite { field, default } => {
                conditional(message.and_then(|m| search.flag(m, field, default)).map(|overwrite| !overwrite))
            }
            Self::InstanceId => match message.and_then(|m| search.has_text(m, 1)) {
                Ok(true) => Safety::ConditionalWrite,
                Ok(false) | Err(Unclear) => Safety::Effect,
            },
        })
    }
}

// ===== impl Search =====

impl Search {
    /// Does `found` hold for any field? Every field has to be seen before the answer is no.
    fn any<'a>(
        &mut self,
        mut message: Chunk<'a>,
        mut found: impl FnMut(&mut Self, Field<'a>) -> Result<bool, Unclear>,
    ) -> Result<bool, Unclear> {
        while let Some(field) = message.next_field()? {
            self.fields_left = self.fields_left.checked_sub(1).ok_or(Unclear)?;
            if found(self, field)? {
                return Ok(true);
            }
        }
        if message.is_cut() { Err(Unclear) } else { Ok(false) }
    }

    /// Any conditional `StateItem` in field 2?
    fn conditional_items(&mut self, message: Chunk<'_>) -> Result<bool, Unclear> {
        self.any(message, |search, field| match (field.number, field.value) {
            (2, Value::Bytes(item)) => search.conditional_item(item, 3, 5),
            _ => Ok(false),
        })
    }

    /// An etag that is not empty (daprd takes an empty one for none), or first-write?
    fn conditional_item(&mut self, item: Chunk<'_>, etag: u32, options: u32) -> Result<bool, Unclear> {
        self.any(item, |search, field| match field.value {
            Value::Bytes(value) if field.number == etag => search.has_text(value, 1),
            Value::Bytes(value) if field.number == options => {
                search.any(value, |_, field| Ok(matches!((field.number, field.value), (1, Value::Varint(FIRST_WRITE)))))
            }
            _ => Ok(false),
        })
    }

    /// Is there a text in field `number` that is not empty?
    fn has_text(&mut self, message: Chunk<'_>, number: u32) -> Result<bool, Unclear> {
        self.any(message, |_, field| match field.value {
            Value::Bytes(text) if field.number == number => Ok(text.whole() != Some(&[])),
            _ => Ok(false),
        })
    }

    /// The last value of the flag in field `number`.
    fn flag(&mut self, message: Chunk<'_>, number: u32, default: bool) -> Result<bool, Unclear> {
        let mut flag = default;
        self.any(message, |_, field| {
            if let (true, Value::Varint(value)) = (field.number == number, field.value) {
                flag = value != 0;
            }
            Ok(false)
        })?;
        Ok(flag)
    }
}

impl From<Malformed> for Unclear {
    fn from(Malformed: Malformed) -> Self {
        Self
    }
}
