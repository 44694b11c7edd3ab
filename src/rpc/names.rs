use super::{
    row::Rpc,
    wire::{Chunk, Malformed, Value},
};

/// How many fields are looked at, nested ones included. A bulk delivery of Dapr's default size (100 entries) lies
/// within it.
const MAX_FIELDS: usize = 256;

/// The longest name that is read, in bytes.
const MAX_NAME: usize = 256;

/// The names in a request that may become attributes of spans and metrics.
///
/// See the [module docs](crate::rpc) for an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Names<'a> {
    /// The component, app id or actor type: [`Rpc::name_kind`] says which.
    pub component: Option<&'a str>,
    /// The topic.
    pub destination: Option<&'a str>,
}

// ===== impl Names =====

impl<'a> Names<'a> {
    /// Reads the names from the start of a request's body: a gRPC frame (5 bytes of prefix, then the message), whole or
    /// cut anywhere. Of a stream only the first message counts.
    ///
    /// It never fails. A name is `None` if the call has none, if it was cut off, or if it would make a poor attribute:
    /// empty, longer than 256 bytes, not UTF-8, with a control character or a line separator in it. Both are `None` if
    /// the message is compressed or is not valid protobuf as far as it was looked at (groups count as invalid).
    ///
    /// The fields may come in any order; unknown ones are skipped; of a field that comes twice the last one counts, as
    /// protobuf has it, and a nested message that comes twice is merged. The cost is bounded: at most 256 fields are
    /// looked at, and a field is stepped over without reading its value, so a large payload costs what a small one
    /// does.
    pub fn read(rpc: &Rpc, body: &'a [u8]) -> Self {
        let (component, destination) = (rpc.component_field(), rpc.destination_field());
        let mut names = Self::default();
        if component.is_empty() && destination.is_empty() {
            return names;
        }
        let Some(message) = Chunk::first_message(body) else { return names };
        match names.merge(message, component, destination, &mut { MAX_FIELDS }) {
            Ok(()) => names,
            Err(Malformed) => Self::default(),
        }
    }

    /// Takes the names that stand at the given fields of `message`. No field means: do not look for it.
    fn merge(
        &mut self,
        mut message: Chunk<'a>,
        component: &[u32],
        destination: &[u32],
        fields_left: &mut usize,
    ) -> Result<(), Malformed> {
        while *fields_left > 0 {
            let Some(field) = message.next_field()? else { break };
            *fields_left -= 1;
            let Value::Bytes(value) = field.value else { continue };
            let inner_component = within(component, field.number);
            let inner_destination = within(destination, field.number);
            if inner_component == Some(&[]) {
                self.component = attribute(value);
            }
            if inner_destination == Some(&[]) {
                self.destination = attribute(value);
            }
            let (component, destination) = (inner_component.unwrap_or_default(), inner_destination.unwrap_or_default());
            if !component.is_empty() || !destination.is_empty() {
                self.merge(value, component, destination, fields_left)?;
            }
        }
        Ok(())
    }
}

/// What is left of `path` inside field `number`; nothing is left if the field is the one.
fn within(path: &[u32], number: u32) -> Option<&[u32]> {
    path.split_first().filter(|(first, _)| **first == number).map(|(_, rest)| rest)
}

/// The value as a name that may become an attribute.
fn attribute(value: Chunk<'_>) -> Option<&str> {
    let bytes = value.whole().filter(|bytes| !bytes.is_empty() && bytes.len() <= MAX_NAME)?;
    let name = std::str::from_utf8(bytes).ok()?;
    let breaks_lines = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    (!name.contains(breaks_lines)).then_some(name)
}
