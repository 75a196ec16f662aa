//! Reads values that have a short and a long form: `websocket: off`, or a mapping of settings. Knows no key.

/// Reads a scalar into the one variant, a mapping into the other.
///
/// Serde's `untagged` would read the value into a buffer first, and so lose the positions of
/// what is inside.
macro_rules! short_or_long {
    ($union:ident: $short:ident($scalar:ty) | $long:ident($mapping:ty)) => {
        impl<'de> serde::Deserialize<'de> for $union {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Either;
                impl<'de> serde::de::Visitor<'de> for Either {
                    type Value = $union;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("a word or a mapping")
                    }

                    fn visit_str<E: serde::de::Error>(self, written: &str) -> Result<$union, E> {
                        written.parse::<$scalar>().map($union::$short).map_err(E::custom)
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(
                        self,
                        map: A,
                    ) -> Result<$union, A::Error> {
                        let map = serde::de::value::MapAccessDeserializer::new(map);
                        <$mapping>::deserialize(map).map($union::$long)
                    }
                }
                // The tree hands over a scalar as it is written, a mapping as a mapping.
                deserializer.deserialize_str(Either)
            }
        }

        impl schemars::JsonSchema for $union {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($union).into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let scalar = generator.subschema_for::<$scalar>();
                let mapping = generator.subschema_for::<$mapping>();
                schemars::json_schema!({"anyOf": [scalar, mapping]})
            }
        }
    };
}

/// Reads a scalar into the one variant, a sequence into the other.
macro_rules! word_or_list {
    ($union:ident: $word:ident($scalar:ty) | $list:ident($sequence:ty)) => {
        impl<'de> serde::Deserialize<'de> for $union {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Either;
                impl<'de> serde::de::Visitor<'de> for Either {
                    type Value = $union;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("a word or a list")
                    }

                    fn visit_str<E: serde::de::Error>(self, written: &str) -> Result<$union, E> {
                        let word = serde::de::value::StrDeserializer::<E>::new(written);
                        <$scalar>::deserialize(word).map($union::$word)
                    }

                    fn visit_seq<A: serde::de::SeqAccess<'de>>(
                        self,
                        list: A,
                    ) -> Result<$union, A::Error> {
                        let list = serde::de::value::SeqAccessDeserializer::new(list);
                        <$sequence>::deserialize(list).map($union::$list)
                    }
                }
                // The tree hands over a scalar as it is written, a sequence as a sequence.
                deserializer.deserialize_str(Either)
            }
        }

        impl schemars::JsonSchema for $union {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($union).into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let scalar = generator.subschema_for::<$scalar>();
                let sequence = generator.subschema_for::<$sequence>();
                schemars::json_schema!({"anyOf": [scalar, sequence]})
            }
        }
    };
}

pub(super) use {short_or_long, word_or_list};
