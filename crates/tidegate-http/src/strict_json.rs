//! JSON objects that every parser reads alike (RFC 7493): a member occurs once, and nesting is bounded. Knows nothing of
//! what the members mean.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// Maximum depth of objects and lists.
pub const MAX_NESTING_LEVELS: usize = 16;

const DUPLICATE: &str = "a member occurs twice";
const TOO_DEEP: &str = "the nesting is too deep";

/// Why bytes are no such object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StrictJsonError {
    /// They are no JSON object in UTF-8.
    Malformed,
    /// A member occurs twice, so that parsers differ in what they read (RFC 7519, section 4).
    DuplicateMember,
    /// Objects and lists are nested deeper than [`MAX_NESTING_LEVELS`].
    TooDeep,
}

/// Parses an object, with nothing before or after it but white space.
///
/// # Errors
/// When the bytes are no such object.
pub fn object(bytes: &[u8]) -> Result<Map<String, Value>, StrictJsonError> {
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth: 0 }.deserialize(&mut parser).and_then(|value| {
        parser.end()?;
        Ok(value)
    });
    match value {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(StrictJsonError::Malformed),
        // The only texts of ours among its messages.
        Err(error) if error.to_string().starts_with(DUPLICATE) => {
            Err(StrictJsonError::DuplicateMember)
        }
        Err(error) if error.to_string().starts_with(TOO_DEEP) => Err(StrictJsonError::TooDeep),
        Err(_) => Err(StrictJsonError::Malformed),
    }
}

/// Reads a value at this depth.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        match self.depth {
            MAX_NESTING_LEVELS.. => Err(E::custom(TOO_DEEP)),
            depth => Ok(Self { depth: depth + 1 }),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let seed = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(seed)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let seed = self.deeper()?;
        let mut members = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            if members.contains_key(&name) {
                return Err(A::Error::custom(DUPLICATE));
            }
            let value = entries.next_value_seed(seed)?;
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_is_what_serde_json_reads() {
        let text = r#" {"a": [1, -2, 3.5, true, null, {"b": "\u00e9\n"}], "c": {}, "d": 18446744073709551615} "#;
        let expected: Value = serde_json::from_str(text).unwrap();
        assert_eq!(object(text.as_bytes()).map(Value::Object), Ok(expected));
    }

    #[test]
    fn what_parsers_read_differently_is_refused() {
        use StrictJsonError::{DuplicateMember, Malformed, TooDeep};
        let deep = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(object(deep(MAX_NESTING_LEVELS - 1).as_bytes()).is_ok());
        for (text, error) in [
            (r#"{"a":1,"a":1}"#, DuplicateMember),
            (r#"{"a":1,"\u0061":2}"#, DuplicateMember),
            (r#"{"a":{"b":1,"b":2}}"#, DuplicateMember),
            (r#"{"a":[{"b":1,"b":2}]}"#, DuplicateMember),
            (&deep(MAX_NESTING_LEVELS), TooDeep),
            (&deep(100_000), TooDeep),
            ("", Malformed),
            ("[]", Malformed),
            ("1", Malformed),
            ("null", Malformed),
            ("{}{}", Malformed),
            ("{} x", Malformed),
            ("\u{feff}{}", Malformed),
            (r#"{"a":1,}"#, Malformed),
            (r#"{"a":01}"#, Malformed),
            (r#"{"a":1e999}"#, Malformed),
            (r#"{"a":NaN}"#, Malformed),
            (r#"{'a':1}"#, Malformed),
            (r#"{"a":"\ud800"}"#, Malformed),
            ("{\"a\":\"\n\"}", Malformed),
            (r#"{"a":1"#, Malformed),
        ] {
            assert_eq!(object(text.as_bytes()), Err(error), "{text:.60}");
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}"), Err(Malformed));
    }
}
