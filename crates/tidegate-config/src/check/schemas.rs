//! Reads what a JSON Schema says of one value. Knows nothing of the value as written.

use serde_json::{Map, Value};

/// The schema of a value of any type.
pub(super) static ANYTHING: Value = Value::Bool(true);

/// Whether a schema of a filter's settings has keys of its own beside alternatives, as `#[serde(flatten)]` makes them.
/// What such a mapping may hold, its type judges.
pub(super) fn is_mixed(schema: &Value) -> bool {
    schema.get("properties").is_some()
        && ["anyOf", "oneOf", "allOf"].iter().any(|key| schema.get(*key).is_some())
}

/// The key that says by its value which of these mappings one is: the same in all, and a word of its own in each.
pub(super) fn internal_tag<'s>(several: &[&'s Value]) -> Option<&'s str> {
    let (first, others) = several.split_first()?;
    property_names(first).into_iter().find(|name| {
        tag_of(first, name).is_some() && others.iter().all(|one| tag_of(one, name).is_some())
    })
}

/// The only word that a key of a mapping may have.
pub(super) fn tag_of<'s>(schema: &'s Value, key: &str) -> Option<&'s str> {
    schema.get("properties")?.get(key)?.get("const")?.as_str()
}

/// Whether a mapping of this schema has one key, which says what its value is.
pub(super) fn is_external_variant(schema: &Value) -> bool {
    only_key(schema).is_some()
}

/// Whether a mapping of this schema must have the key.
pub(super) fn schema_requires(schema: &Value, key: &str) -> bool {
    let required = schema.get("required").and_then(Value::as_array);
    required.is_some_and(|required| required.iter().any(|name| name.as_str() == Some(key)))
}

/// The key of a mapping with exactly one.
pub(super) fn only_key(schema: &Value) -> Option<&str> {
    match property_names(schema).as_slice() {
        [name] => Some(name),
        _ => None,
    }
}

/// The keys that a mapping may have.
pub(super) fn property_names(schema: &Value) -> Vec<&str> {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flat_map(Map::keys).map(String::as_str).collect()
}

/// Whether a schema of a filter's settings bounds nothing: `true`, or no more than a description.
pub(super) fn accepts_anything(schema: &Value) -> bool {
    const ASSERTION_KEYWORDS: [&str; 5] = ["type", "enum", "const", "properties", "items"];
    match schema {
        Value::Bool(takes) => *takes,
        Value::Object(fields) => {
            !ASSERTION_KEYWORDS.iter().any(|bound| fields.contains_key(*bound))
        }
        _ => false,
    }
}

pub(super) fn has_type(schema: &Value, expected: &str) -> bool {
    match schema.get("type") {
        Some(Value::String(kind)) => kind == expected,
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == expected),
        _ => false,
    }
}

/// The schema of [`Switch`](crate::values::Switch): words and booleans, whichever the parser made of `off`.
pub(super) fn is_switch(schema: &Value) -> bool {
    let words = schema.get("enum").and_then(Value::as_array);
    words.is_some_and(|words| words.iter().any(Value::is_boolean))
}
