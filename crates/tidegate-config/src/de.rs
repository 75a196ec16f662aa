//! From the checked tree to the types: a serde `Deserializer` that knows positions.

use super::values::SPANNED;
use super::yaml::{Kind, Node, Resolved};
use serde::de::value::{Error, MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{self, Deserializer, IntoDeserializer, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

impl<'de> IntoDeserializer<'de, Error> for &'de Node {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.kind {
            Kind::Scalar(scalar) => match scalar.resolve() {
                Resolved::Null => visitor.visit_unit(),
                Resolved::Bool(value) => visitor.visit_bool(value),
                Resolved::Integer(value) => visitor.visit_i64(value),
                Resolved::Float(value) => visitor.visit_f64(value),
                Resolved::String => visitor.visit_str(&scalar.text),
            },
            Kind::Sequence(items) => visitor.visit_seq(SeqDeserializer::new(items.iter())),
            Kind::Mapping(entries) => visitor.visit_map(MapDeserializer::new(
                entries.iter().map(|(key, node)| (key.text.as_str(), node)),
            )),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.kind {
            // Whatever it looks like: a string was asked for.
            Kind::Scalar(scalar) => visitor.visit_borrowed_str(&scalar.text),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == SPANNED {
            return visitor.visit_seq(WithSpan { node: self, position_given: false });
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match &self.kind {
            Kind::Scalar(scalar) => visitor.visit_enum(StrDeserializer::<Error>::new(&scalar.text)),
            Kind::Mapping(entries) => {
                let entries = entries.iter().map(|(key, node)| (key.text.as_str(), node));
                let map = MapDeserializer::<_, Error>::new(entries);
                visitor.visit_enum(de::value::MapAccessDeserializer::new(map))
            }
            Kind::Sequence(_) => Err(de::Error::custom("a list is no choice")),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// A position, then the value itself.
struct WithSpan<'n> {
    node: &'n Node,
    position_given: bool,
}

impl<'de> SeqAccess<'de> for WithSpan<'de> {
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
