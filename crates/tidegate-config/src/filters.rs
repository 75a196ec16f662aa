//! Filters that a program registers by name: their uses in the file, and the schemas of their settings. Knows names,
//! schemas and positions, not what a filter does.

#[cfg(test)]
mod tests;

use super::diagnostics::did_you_mean;
use super::filter_schemas::FILTERS_DEFINITION;
use super::values::{Span, Spanned};
use super::yaml::{CoreValue, Kind, Node};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, DeserializeOwned, Deserializer, IgnoredAny};
use std::borrow::Cow;
use tidegate_http::secret::{is_nearly_secret, is_secret_field};

/// A list of registered filters, in the order in which they see a request.
#[derive(Debug, Clone, Default)]
pub struct Filters(pub Vec<FilterUse>);

/// One filter of a list: `{api_keys: {…}}`.
#[derive(Debug, Clone)]
pub struct FilterUse {
    /// The name under which the filter is registered.
    pub name: Spanned<String>,
    /// The filter's own settings.
    pub settings: Node,
    /// The position in the list as written.
    pub index: usize,
}

/// The tree alone has the positions of settings whose type is not known here, so that
/// they are taken from there once the filters are known.
impl<'de> Deserialize<'de> for Filters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|IgnoredAny| Self::default())
    }
}

impl JsonSchema for Filters {
    fn schema_name() -> Cow<'static, str> {
        FILTERS_DEFINITION.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "array", "items": {"type": "object", "additionalProperties": false}})
    }
}

impl Filters {
    /// The filters that a sound mapping holds under `filters`; `written` is the same mapping as
    /// written, which also holds what is not sound.
    pub(super) fn from_mapping(sound: &Node, written: Option<&Node>) -> Self {
        let Some(Kind::Sequence(items)) = sound.get("filters").map(|list| &list.kind) else {
            return Self::default();
        };
        let written = match written.and_then(|it| it.get("filters")).map(|list| &list.kind) {
            Some(Kind::Sequence(items)) => items.as_slice(),
            _ => &[],
        };
        let filter = |(nth, item): (usize, &Node)| {
            let Kind::Mapping(entries) = &item.kind else { return None };
            let (key, settings) = entries.first()?;
            let index = written.iter().position(|it| it.span == item.span).unwrap_or(nth);
            let name = Spanned { value: key.text.clone(), span: key.span };
            Some(FilterUse { name, settings: settings.clone(), index })
        };
        Self(items.iter().enumerate().filter_map(filter).collect())
    }
}

/// What is wrong with a filter's settings, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    /// The value that is wrong.
    pub span: Span,
    /// The value's path below the settings, such as `keys[0].user`; empty for the settings themselves.
    pub path: String,
    /// What is wrong with the value. It may quote a secret.
    pub reason: String,
    /// The reason as messages show it: it quotes neither a secret nor the value of a variable.
    pub safe_reason: String,
}

impl FilterUse {
    /// The settings as their type.
    ///
    /// # Errors
    /// When the type refuses a value, with the position of that value.
    pub fn settings<S: DeserializeOwned>(&self) -> Result<S, SettingsError> {
        S::deserialize(&self.settings).map_err(|error| {
            let (span, reason, unquoted) = error.into_parts();
            let span = span.unwrap_or(self.settings.span);
            let path = path_to(&self.settings, span).unwrap_or_default();
            let is_safe =
                names_untagged_enum(&reason) || !may_quote_secret(&self.settings, span, false);
            let safe_reason = match is_safe {
                true => reason.clone(),
                false => unquoted.unwrap_or_else(|| {
                    match node_at(&self.settings, &path).map(|node| &node.kind) {
                        Some(Kind::Mapping(_)) => {
                            "the type of the settings refuses a value in this mapping"
                        }
                        Some(Kind::Sequence(_)) => {
                            "the type of the settings refuses a value in this list"
                        }
                        Some(Kind::Scalar(_)) | None => "the value has the wrong type",
                    }
                    .to_owned()
                }),
            };
            SettingsError { span, path, reason, safe_reason }
        })
    }

    /// The position of the setting at this path, such as `keys[0].user`; that of all settings where
    /// there is no such setting.
    pub fn span_of(&self, path: &str) -> Span {
        node_at(&self.settings, path).unwrap_or(&self.settings).span
    }

    /// Name and settings as text that changes when either does, also in the type of a value alone. It holds secrets.
    pub fn digestible(&self) -> String {
        let mut text = format!("{}: ", self.name.value);
        render(&self.settings, &mut text);
        text
    }

    /// A sentence that suggests one of these names, where one is near.
    pub fn suggestion<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Option<String> {
        did_you_mean(&self.name, names).map(|guess| format!("did you mean `{guess}`?"))
    }
}

/// The value at a path. Levels are bounded by the parser.
fn node_at<'n>(node: &'n Node, path: &str) -> Option<&'n Node> {
    let path = path.trim_start_matches('.');
    if path.is_empty() {
        return Some(node);
    }
    if let Some(rest) = path.strip_prefix('[') {
        let (index, rest) = rest.split_once(']')?;
        let Kind::Sequence(items) = &node.kind else { return None };
        return node_at(items.get(index.parse::<usize>().ok()?)?, rest);
    }
    let end = path.find(['.', '[']).unwrap_or(path.len());
    let (key, rest) = path.split_at_checked(end)?;
    node_at(node.get(key)?, rest)
}

/// The path of the innermost value at a position.
fn path_to(node: &Node, span: Span) -> Option<String> {
    let below = |step: String, inner: &Node| {
        let path = path_to(inner, span)?;
        let dot = if path.is_empty() || path.starts_with('[') { "" } else { "." };
        Some(format!("{step}{dot}{path}"))
    };
    let found = match &node.kind {
        Kind::Sequence(items) => {
            let mut items = items.iter().enumerate();
            items.find_map(|(index, item)| below(format!("[{index}]"), item))
        }
        Kind::Mapping(entries) => {
            entries.iter().find_map(|(key, inner)| below(key.text.clone(), inner))
        }
        Kind::Scalar(_) => None,
    };
    found.or_else(|| (node.span == span).then(String::new))
}

/// Whether a reason is serde's own for an enum that has no tag: it quotes nothing.
fn names_untagged_enum(reason: &str) -> bool {
    reason
        .strip_prefix("data did not match any variant of untagged enum ")
        .is_some_and(|name| name.chars().all(|c| c.is_alphanumeric() || c == '_'))
}

/// Whether the reason of an error at a position may quote a secret or the value of a variable. Serde reads some values
/// into a buffer first, below `#[serde(flatten)]` for example; an error then has the position of the whole mapping.
fn may_quote_secret(node: &Node, span: Span, is_secret: bool) -> bool {
    // Values below an alias have the positions of the anchor, so that several can have the same one.
    if node.span == span && (is_secret || holds_secret(node)) {
        return true;
    }
    match &node.kind {
        Kind::Scalar(_) => false,
        Kind::Sequence(items) => items.iter().any(|item| may_quote_secret(item, span, is_secret)),
        Kind::Mapping(entries) => entries.iter().any(|(key, inner)| {
            (key.span == span && is_secret)
                || may_quote_secret(inner, span, is_secret || may_be_secret(&key.text))
        }),
    }
}

fn holds_secret(node: &Node) -> bool {
    match &node.kind {
        Kind::Scalar(scalar) => scalar.is_expanded(),
        Kind::Sequence(items) => items.iter().any(holds_secret),
        Kind::Mapping(entries) => {
            entries.iter().any(|(key, inner)| may_be_secret(&key.text) || holds_secret(inner))
        }
    }
}

/// Whether a setting of this name may be secret, also if the name is misspelt.
fn may_be_secret(name: &str) -> bool {
    is_secret_field(name) || is_nearly_secret(name)
}

fn render(node: &Node, into: &mut String) {
    match &node.kind {
        Kind::Scalar(scalar) => match scalar.resolve() {
            // Quoted, so that no text passes for a structure or for a value of another type.
            CoreValue::String => into.push_str(&format!("{:?}", scalar.text)),
            CoreValue::Null | CoreValue::Bool(_) | CoreValue::Integer(_) | CoreValue::Float(_) => {
                into.push_str(&scalar.text);
            }
        },
        Kind::Sequence(items) => {
            into.push('[');
            for item in items {
                render(item, into);
                into.push(',');
            }
            into.push(']');
        }
        Kind::Mapping(entries) => {
            into.push('{');
            for (key, inner) in entries {
                into.push_str(&format!("{:?}:", key.text));
                render(inner, into);
                into.push(',');
            }
            into.push('}');
        }
    }
}
