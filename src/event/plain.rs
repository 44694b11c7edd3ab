//! Data that is not JSON, for serde.

use serde::{
    Deserializer,
    de::{
        Visitor,
        value::{BorrowedStrDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};

/// Text or bytes as they are.
#[derive(Clone, Copy)]
pub(super) enum Plain<'a> {
    Text(&'a str),
    Bytes(&'a [u8]),
}

type Error = serde_json::Error;

impl<'de> Deserializer<'de> for Plain<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Self::Text(text) => visitor.visit_borrowed_str(text),
            Self::Bytes(bytes) => visitor.visit_borrowed_bytes(bytes),
        }
    }

    /// `Vec<u8>` asks for a sequence.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Self::Text(_) => self.deserialize_any(visitor),
            Self::Bytes(bytes) => visitor.visit_seq(SeqDeserializer::new(bytes.iter().copied())),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self {
            Self::Text(text) => BorrowedStrDeserializer::new(text).deserialize_enum(name, variants, visitor),
            Self::Bytes(_) => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple
        tuple_struct map struct identifier ignored_any
    }
}
