//! Deserializes the checked tree into the types of the sections: a serde `Deserializer` that keeps positions. Knows no
//! key.

use super::values::{SPANNED_TYPE_NAME, Span};
use super::yaml::{CoreValue, Key, Kind, Node};
use serde::de::value::{SeqDeserializer, StrDeserializer};
use serde::de::{
    self, Deserializer, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;
use std::fmt;

/// Why a type refuses a value, and the position of the innermost value that it refuses.
#[derive(Debug)]
pub struct Error {
    span: Option<Span>,
    reason: String,
    /// The reason without what it quotes of the value, where that is known.
    unquoted: Option<String>,
}

impl Error {
    /// Position, reason, and the reason without what it quotes of the value.
    pub(super) fn into_parts(self) -> (Option<Span>, String, Option<String>) {
        (self.span, self.reason, self.unquoted)
    }

    /// An error within a value is an error at the innermost one.
    fn with_span(mut self, span: Span) -> Self {
        self.span.get_or_insert(span);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Self { span: None, reason: reason.to_string(), unquoted: None }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let reason = format!("invalid type: {found}, expected {expected}");
        let unquoted = format!("invalid type: {}, expected {expected}", kind_of(found));
        Self { span: None, reason, unquoted: Some(unquoted) }
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let reason = format!("invalid value: {found}, expected {expected}");
        let unquoted = format!("invalid value: {}, expected {expected}", kind_of(found));
        Self { span: None, reason, unquoted: Some(unquoted) }
    }

    fn missing_field(field: &'static str) -> Self {
        let reason = format!("missing field `{field}`");
        Self { span: None, unquoted: Some(reason.clone()), reason }
    }
}

/// The kind of a value, for a message that must not show the value itself.
fn kind_of(value: Unexpected<'_>) -> &'static str {
    match value {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "a number",
        Unexpected::Char(_) | Unexpected::Str(_) | Unexpected::Bytes(_) => "a string",
        Unexpected::Unit | Unexpected::Option => "nothing",
        Unexpected::Seq => "a list",
        Unexpected::Map => "a mapping",
        _ => "another value",
    }
}

impl<'de> IntoDeserializer<'de, Error> for &'de Node {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let visited = match &self.kind {
            Kind::Scalar(scalar) => match scalar.resolve() {
                CoreValue::Null => visitor.visit_unit(),
                CoreValue::Bool(value) => visitor.visit_bool(value),
                CoreValue::Integer(value) => visitor.visit_i64(value),
                CoreValue::Float(value) => visitor.visit_f64(value),
                CoreValue::String => visitor.visit_str(&scalar.text),
            },
            Kind::Sequence(items) => visitor.visit_seq(ItemAccess(items.iter())),
            Kind::Mapping(entries) => visitor.visit_map(EntryAccess::new(entries)),
        };
        visited.map_err(|error: Error| error.with_span(self.span))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.kind {
            // Whatever it looks like: a string was asked for.
            Kind::Scalar(scalar) => visitor
                .visit_borrowed_str(&scalar.text)
                .map_err(|error: Error| error.with_span(self.span)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let visited = if self.is_null() { visitor.visit_none() } else { visitor.visit_some(self) };
        visited.map_err(|error: Error| error.with_span(self.span))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == SPANNED_TYPE_NAME {
            return visitor.visit_seq(SpanThenValue { node: self, position_given: false });
        }
        visitor.visit_newtype_struct(self).map_err(|error: Error| error.with_span(self.span))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let visited = match &self.kind {
            Kind::Scalar(scalar) => visitor.visit_enum(StrDeserializer::<Error>::new(&scalar.text)),
            Kind::Mapping(entries) => {
                let entries = EntryAccess::new(entries);
                visitor.visit_enum(de::value::MapAccessDeserializer::new(entries))
            }
            Kind::Sequence(_) => {
                Err(de::Error::custom("expected a word or a mapping, found a list"))
            }
        };
        visited.map_err(|error: Error| error.with_span(self.span))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// The items of a list. An error of an item is an error at its position.
struct ItemAccess<'n>(std::slice::Iter<'n, Node>);

impl<'de> SeqAccess<'de> for ItemAccess<'de> {
    type Error = Error;

    fn next_element_seed<T: de::DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let Some(node) = self.0.next() else { return Ok(None) };
        seed.deserialize(node).map(Some).map_err(|error| error.with_span(node.span))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

/// The entries of a mapping. An error of a value is an error at its position.
struct EntryAccess<'n> {
    entries: std::slice::Iter<'n, (Key, Node)>,
    value: Option<&'n Node>,
}

impl<'n> EntryAccess<'n> {
    fn new(entries: &'n [(Key, Node)]) -> Self {
        Self { entries: entries.iter(), value: None }
    }
}

impl<'de> MapAccess<'de> for EntryAccess<'de> {
    type Error = Error;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some((key, node)) = self.entries.next() else { return Ok(None) };
        self.value = Some(node);
        let name = StrDeserializer::<Error>::new(&key.text);
        seed.deserialize(name).map(Some).map_err(|error| error.with_span(key.span))
    }

    fn next_value_seed<V: de::DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let node = self.value.take().ok_or_else(|| {
            de::Error::custom(
                "internal error: a value without \
                 its key",
            )
        })?;
        seed.deserialize(node).map_err(|error| error.with_span(node.span))
    }
}

/// A position, then the value itself.
struct SpanThenValue<'n> {
    node: &'n Node,
    position_given: bool,
}

impl<'de> SeqAccess<'de> for SpanThenValue<'de> {
    type Error = Error;

    fn next_element_seed<T: de::DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        if self.position_given {
            return seed.deserialize(self.node).map(Some);
        }
        self.position_given = true;
        let span = self.node.span;
        let position = [u32::from(span.file), span.line, span.column];
        seed.deserialize(SeqDeserializer::new(position.into_iter())).map(Some)
    }
}
