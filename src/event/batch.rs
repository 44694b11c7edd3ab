use std::{borrow::Cow, collections::HashMap, fmt, sync::Arc};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{CloudEvent, DecodeError, Limits, compose::Composer, error::Kind, json, text::range_in};

/// Several events in one message: a batch of CloudEvents, or Dapr's bulk delivery.
///
/// An event in it that cannot be decoded does not spoil the others.
///
/// ```
/// use bytes::Bytes;
/// use tower_dapr::event::Batch;
///
/// let body = br#"[{"specversion":"1.0","id":"1","source":"s","type":"t"}, {"specversion":"0.3"}]"#;
/// let batch = Batch::from_json(Bytes::from_static(body))?;
/// let ids: Vec<_> = batch.entries().iter().map(|entry| entry.event().map(|event| event.id())).collect();
/// assert!(matches!(ids[..], [Ok(Some("1")), Err(error)] if error.is_unsupported_version()));
/// # Ok::<_, tower_dapr::event::DecodeError>(())
/// ```
#[derive(Clone)]
pub struct Batch {
    is_bulk: bool,
    entries: Arc<[Entry]>,
}

/// One event of a [`Batch`].
#[derive(Debug, Clone)]
pub struct Entry {
    id: Option<String>,
    metadata: HashMap<String, String>,
    event: Result<CloudEvent, DecodeError>,
}

impl Entry {
    pub(super) fn new(
        id: Option<String>,
        metadata: HashMap<String, String>,
        event: Result<CloudEvent, DecodeError>,
    ) -> Self {
        Self { id: id.filter(|id| !id.is_empty()), metadata, event }
    }

    /// By what daprd names the entry, and wants to have it named in the answer. `None` in a batch of CloudEvents.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Metadata of the broker's message, from a bulk delivery.
    #[must_use]
    pub fn metadata(&self) -> &HashMap<String, String> {
        &self.metadata
    }

    /// The event.
    ///
    /// # Errors
    ///
    /// If it could not be decoded.
    pub fn event(&self) -> Result<&CloudEvent, &DecodeError> {
        self.event.as_ref()
    }
}

impl Batch {
    /// Decodes a batch (`application/cloudevents-batch+json`; CloudEvents 1.0.2, *JSON Event Format*, section 4) within
    /// the default [`Limits`].
    ///
    /// # Errors
    ///
    /// If the bytes are no JSON array in UTF-8, or it is longer than [`Limits::bytes`] or has more than
    /// [`Limits::entries`].
    pub fn from_json(body: Bytes) -> Result<Self, DecodeError> {
        Self::from_json_within(body, &Limits::default())
    }

    /// As [`from_json`](Self::from_json), within limits of your own.
    ///
    /// # Errors
    ///
    /// As [`from_json`](Self::from_json).
    #[expect(clippy::needless_pass_by_value, reason = "the events share it")]
    pub fn from_json_within(body: Bytes, limits: &Limits) -> Result<Self, DecodeError> {
        let text = checked(&body, limits.bytes())?;
        let items = read(text, limits, |json, items| items.deserialize(json))?;
        let entries = items.into_iter().map(|item| {
            let part = range_in(text, item.get()).map_or_else(Bytes::new, |range| body.slice(range));
            Entry::new(None, HashMap::new(), json::decode(part, limits))
        });
        Ok(Self { is_bulk: false, entries: entries.collect() })
    }

    /// Decodes what Dapr delivers in bulk within the default [`Limits`] (`dapr/dapr`,
    /// `pkg/runtime/subscription/bulksubscription.go`).
    ///
    /// # Errors
    ///
    /// If the bytes are no JSON object with an array `entries`, or it is longer than [`Limits::bulk_bytes`] or has more
    /// than [`Limits::entries`]. An entry that is longer than [`Limits::bytes`] does not spoil the others.
    pub fn from_bulk_json(body: Bytes) -> Result<Self, DecodeError> {
        Self::from_bulk_json_within(body, &Limits::default())
    }

    /// As [`from_bulk_json`](Self::from_bulk_json), within limits of your own.
    ///
    /// # Errors
    ///
    /// As [`from_bulk_json`](Self::from_bulk_json).
    #[expect(clippy::needless_pass_by_value, reason = "the events share it")]
    pub fn from_bulk_json_within(body: Bytes, limits: &Limits) -> Result<Self, DecodeError> {
        let text = checked(&body, limits.bulk_bytes())?;
        let bulk = read(text, limits, |json, items| json.deserialize_map(BulkVisitor { items }))?;
        let origin = Origin { topic: bulk.topic.as_deref(), pubsub: bulk.pubsub.as_deref() };
        let items = bulk.entries.ok_or(DecodeError::new(Kind::NotABatch))?;
        let entries = items.into_iter().map(|item| entry(&body, text, item, &origin, limits));
        Ok(Self { is_bulk: true, entries: entries.collect() })
    }

    pub(super) fn bulk(entries: impl Iterator<Item = Entry>) -> Self {
        Self { is_bulk: true, entries: entries.collect() }
    }

    /// Did Dapr deliver it in bulk, so that it wants an answer for each entry?
    #[must_use]
    pub const fn is_bulk(&self) -> bool {
        self.is_bulk
    }

    /// The events, in order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The events that could be decoded.
    pub fn events(&self) -> impl Iterator<Item = &CloudEvent> {
        self.entries.iter().filter_map(|entry| entry.event.as_ref().ok())
    }

    pub(crate) fn read_octets_as_json(self) -> Self {
        let entries = self.entries.iter().cloned().map(|mut entry| {
            entry.event = entry.event.map(CloudEvent::read_octets_as_json);
            entry
        });
        Self { is_bulk: self.is_bulk, entries: entries.collect() }
    }
}

/// Shows the number of events, not the events.
impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("is_bulk", &self.is_bulk).field("entries", &self.entries.len()).finish()
    }
}

fn checked(body: &Bytes, longest: usize) -> Result<&str, DecodeError> {
    if body.len() > longest {
        return Err(DecodeError::too_large(longest));
    }
    std::str::from_utf8(body).map_err(|_| DecodeError::new(Kind::NotUtf8))
}

type Json<'de> = serde_json::Deserializer<serde_json::de::StrRead<'de>>;

/// Reads a whole text. What is in `Items` of too many entries would be lost in serde's error.
fn read<'de, T>(
    text: &'de str,
    limits: &Limits,
    with: impl FnOnce(&mut Json<'de>, Items<'_>) -> serde_json::Result<T>,
) -> Result<T, DecodeError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let mut too_many = false;
    let items = Items { longest: limits.entries(), too_many: &mut too_many };
    let read = with(&mut json, items).and_then(|read| json.end().map(|()| read));
    read.map_err(|error| {
        DecodeError::new(match error.classify() {
            _ if too_many => Kind::TooManyEntries { limit: limits.entries() },
            serde_json::error::Category::Data => Kind::NotABatch,
            _ => Kind::Syntax { line: error.line(), column: error.column() },
        })
    })
}

/// An array of anything, of bounded length.
struct Items<'t> {
    longest: usize,
    too_many: &'t mut bool,
}

impl<'de> DeserializeSeed<'de> for Items<'_> {
    type Value = Vec<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            if items.len() == self.longest {
                *self.too_many = true;
                return Err(A::Error::custom("too many"));
            }
            items.push(item);
        }
        Ok(items)
    }
}

struct BulkVisitor<'t> {
    items: Items<'t>,
}

struct Bulk<'de> {
    topic: Option<Cow<'de, str>>,
    pubsub: Option<Cow<'de, str>>,
    entries: Option<Vec<&'de RawValue>>,
}

impl<'de> Visitor<'de> for BulkVisitor<'_> {
    type Value = Bulk<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Bulk<'de>, A::Error> {
        let Items { longest, too_many } = self.items;
        let mut bulk = Bulk { topic: None, pubsub: None, entries: None };
        while let Some(Loose(name)) = map.next_key()? {
            match name.as_deref() {
                Some("topic") => bulk.topic = map.next_value::<Loose<'_>>()?.0,
                Some("pubsubname") => bulk.pubsub = map.next_value::<Loose<'_>>()?.0,
                Some("entries") if bulk.entries.is_some() => return Err(A::Error::custom("twice")),
                Some("entries") => {
                    bulk.entries = Some(map.next_value_seed(Items { longest, too_many: &mut *too_many })?);
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(bulk)
    }
}

/// A text, borrowed if it can be; what is no text is none.
#[derive(Deserialize)]
#[serde(transparent)]
struct Loose<'a>(#[serde(borrow, deserialize_with = "loose")] Option<Cow<'a, str>>);

fn loose<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    let json = <&RawValue>::deserialize(deserializer)?.get();
    Ok(text_of(json))
}

fn text_of(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { serde_json::from_str(json).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

/// Where a bulk delivery came from.
struct Origin<'a> {
    topic: Option<&'a str>,
    pubsub: Option<&'a str>,
}

#[derive(Deserialize)]
struct RawEntry<'a> {
    #[serde(borrow, rename = "entryId")]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    metadata: Option<HashMap<String, String>>,
    #[serde(borrow, rename = "contentType")]
    content_type: Option<Cow<'a, str>>,
}

fn entry(body: &Bytes, text: &str, item: &RawValue, origin: &Origin<'_>, limits: &Limits) -> Entry {
    let Ok(raw) = serde_json::from_str::<RawEntry<'_>>(item.get()) else {
        return Entry::new(None, HashMap::new(), Err(DecodeError::new(Kind::NotABatch)));
    };
    let event = match raw.event.map(RawValue::get) {
        None => Err(DecodeError::new(Kind::NotAnObject)),
        Some(json) if json.starts_with('"') => raw_event(json, raw.content_type.as_deref(), origin, limits),
        Some(json) => {
            let part = range_in(text, json).map_or_else(Bytes::new, |range| body.slice(range));
            json::decode(part, limits)
        }
    };
    Entry::new(raw.id.map(Cow::into_owned), raw.metadata.unwrap_or_default(), event)
}

/// A raw payload: the message in base64, without an envelope.
fn raw_event(
    json: &str,
    media_type: Option<&str>,
    origin: &Origin<'_>,
    limits: &Limits,
) -> Result<CloudEvent, DecodeError> {
    let base64 = text_of(json).ok_or(DecodeError::new(Kind::NotUnicode))?;
    let data = json::decode_base64(&base64).map_err(DecodeError::new)?;
    raw_bytes(data.into(), media_type, origin.topic, origin.pubsub, limits)
}

/// The event that daprd makes of a raw payload (`components-contrib`, `pubsub/envelope.go`), but for the random `id`.
pub(super) fn raw_bytes(
    data: Bytes,
    media_type: Option<&str>,
    topic: Option<&str>,
    pubsub: Option<&str>,
    limits: &Limits,
) -> Result<CloudEvent, DecodeError> {
    if data.len() > limits.bytes() {
        return Err(DecodeError::too_large(limits.bytes()));
    }
    let mut event = Composer::new(256, limits);
    for (name, value) in [
        ("datacontenttype", Some(media_type.filter(|text| !text.is_empty()).unwrap_or("application/octet-stream"))),
        ("topic", topic),
        ("pubsubname", pubsub),
    ] {
        event.text(name, value.unwrap_or_default()).map_err(DecodeError::new)?;
    }
    event.finish_delivered(data)
}
