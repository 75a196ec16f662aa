//! The problems of wrong types and unknown keys, in words and with a hint. Knows nothing of how a schema is searched.

use super::schemas::{has_type, is_switch};
use super::{Finding, NodeCheck};
use crate::diagnostics::{UNKNOWN_KEY, did_you_mean};
use crate::yaml::{Key, Kind, Node, Scalar};
use serde_json::Value;
use tidegate_http::secret::is_secret_path;

/// A value as messages show it, unless it may be secret.
pub(super) fn displayed_value(scalar: &Scalar, path: &str) -> String {
    match is_secret_path(path) {
        true => "the value".to_owned(),
        false => scalar.display_value(),
    }
}

pub(super) fn wrong_kind(choices: &[&Value], node: &Node, path: &str) -> NodeCheck {
    const JSON_TYPES: [(&str, &str); 6] = [
        ("object", "a mapping"),
        ("array", "a list"),
        ("string", "a string"),
        ("integer", "an integer"),
        ("number", "a number"),
        ("boolean", "`true` or `false`"),
    ];
    let mut expected: Vec<&str> = Vec::new();
    for choice in choices {
        let kinds =
            JSON_TYPES.iter().filter(|(kind, _)| has_type(choice, kind)).map(|(_, name)| *name);
        let switch = is_switch(choice).then_some("`on` or `off`");
        for name in kinds.chain(switch) {
            if !expected.contains(&name) {
                expected.push(name);
            }
        }
    }
    let help = match &node.kind {
        Kind::Scalar(scalar) if expected.contains(&"a string") && !node.is_null() => {
            (!scalar.is_expanded()).then(|| in_quotes(&scalar.text, path))
        }
        // `{path}` without quotes is a mapping of a key to nothing.
        Kind::Mapping(entries) if expected.contains(&"a string") => match entries.as_slice() {
            [(key, value)] if value.is_null() => {
                Some(in_quotes(&format!("{{{}}}", key.text), path))
            }
            _ => None,
        },
        _ => None,
    };
    let reason = format!("expected {}, found {}", expected.join(" or "), node.kind_name());
    NodeCheck::with_problem(node.span, path, reason, help)
}

/// What to do about a string without quotes; a value that may be secret is not repeated.
fn in_quotes(text: &str, path: &str) -> String {
    match is_secret_path(path) {
        true => "put the value in quotes".to_owned(),
        false => format!("put it in quotes: \"{text}\""),
    }
}

pub(super) fn listed<'w>(words: impl Iterator<Item = &'w str>) -> String {
    words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

pub(super) fn unknown_key(key: &Key, path: String, known: &[&str]) -> Finding {
    if known.is_empty() && names_filter(&path) {
        let reason = "unknown filter: this program registers no filters".to_owned();
        let help = "register the filter with `Gateway::register` in the program that runs the \
            gateway"
            .to_owned();
        return Finding { span: key.span, path, reason, help: Some(help) };
    }
    let help = match did_you_mean(&key.text, known.iter().copied()) {
        Some(guess) => format!("did you mean `{guess}`?"),
        None => format!("known keys: {}", listed(known.iter().copied())),
    };
    Finding { span: key.span, path, reason: UNKNOWN_KEY.to_owned(), help: Some(help) }
}

/// Whether a path is that of a filter's name: `filters[0].NAME`, `routes[2].filters[0].NAME`.
fn names_filter(path: &str) -> bool {
    let list = path.rsplit_once("].").and_then(|(item, _)| item.rsplit_once('['));
    list.is_some_and(|(list, _)| list == "filters" || list.ends_with(".filters"))
}
