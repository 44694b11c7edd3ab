//! JSON as Go reads it: the names of members match whatever their case (`encoding/json`). Dapr's JavaScript SDK writes
//! `entryID` where daprd has `entryId`.

use std::fmt;

use serde::de::{self, DeserializeSeed, IntoDeserializer as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

pub(super) fn from_slice<'de, T: Deserialize<'de>>(body: &'de [u8]) -> serde_json::Result<T> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = T::deserialize(Folded(&mut json))?;
    json.end()?;
    Ok(value)
}

/// A deserializer, a seed, or a sequence of what takes names in any case.
struct Folded<T>(T);

/// A visitor or the members of a struct, with the names that it has.
struct Members<T>(T, &'static [&'static str]);

// ===== impl Folded =====

/// Structs, and what they may be in or contain. Everything else, raw values among it, is left to JSON.
macro_rules! forward {
    ($($method:ident($($argument:ident: $kind:ty),*))*) => {$(
        fn $method<V: Visitor<'de>>(self, $($argument: $kind,)* visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method($($argument,)* visitor)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Folded<D> {
    type Error = D::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(Members(visitor, fields))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_option(Members(visitor, &[]))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_seq(Members(visitor, &[]))
    }

    forward! {
        deserialize_any() deserialize_bool() deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64()
        deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64() deserialize_f32() deserialize_f64()
        deserialize_char() deserialize_str() deserialize_string() deserialize_bytes() deserialize_byte_buf()
        deserialize_unit() deserialize_map() deserialize_identifier() deserialize_ignored_any()
        deserialize_unit_struct(name: &'static str) deserialize_newtype_struct(name: &'static str)
        deserialize_tuple(len: usize) deserialize_tuple_struct(name: &'static str, len: usize)
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Folded<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Folded(deserializer))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Folded<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(Folded(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

// ===== impl Members =====

impl<'de, V: Visitor<'de>> Visitor<'de> for Members<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Members(map, self.1))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Folded(sequence))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Folded(deserializer))
    }

    fn visit_none<E: de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }

    fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Members<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let Some(name) = self.0.next_key::<String>()? else { return Ok(None) };
        // An exact match comes first, as in Go.
        let known = self.1.iter().find(|field| **field == name);
        let known = known.or_else(|| self.1.iter().find(|field| field.eq_ignore_ascii_case(&name)));
        let name = known.map_or(name, |field| (*field).to_owned());
        seed.deserialize(name.into_deserializer()).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(Folded(seed))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::value::RawValue;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Outer {
        #[serde(rename = "entryId")]
        id: String,
        value: Box<RawValue>,
        inner: Option<Inner>,
        #[serde(default)]
        own: HashMap<String, String>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Inner {
        name: String,
    }

    #[test]
    fn names_match_in_any_case_at_any_depth() {
        let text = br#"[{"ENTRYID": "1", "Value": {"Kept": 1.0}, "inner": {"NAME": "n"}, "own": {"Key": "as it is"}}]"#;
        let outer: Vec<Outer> = from_slice(text).unwrap();
        assert_eq!((outer[0].id.as_str(), outer[0].value.get()), ("1", r#"{"Kept": 1.0}"#));
        assert_eq!(outer[0].inner.as_ref().unwrap().name, "n");
        assert_eq!(outer[0].own["Key"], "as it is");
        let null: Outer = from_slice(br#"{"entryid": "2", "value": null, "inner": null, "more": []}"#).unwrap();
        assert_eq!((null.id.as_str(), null.value.get(), null.inner.is_none()), ("2", "null", true));
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for wrong in ["{}", "[]", "1", r#"{"entryId": 1, "value": 1}"#, r#"{"entryId": "1", "value": 1} more"#] {
            assert!(from_slice::<Outer>(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
