//! The differences between two configurations as written, key by key. It knows nothing of what a key does.

use super::change::Change;
use serde::{Deserialize, Serialize};
use serde_json::Value as Schema;
use std::collections::{BTreeMap, BTreeSet};
use tidegate_config::{self as config, Kind, Node, Scalar, Sources};
use tidegate_http::secret::{
    REDACTED, holds_fields, is_secret_field, is_secret_key, without_url_secrets,
};
use tidegate_http::stable_hash::stable_hash;

/// Maximum length of a shown value, in characters.
const MAX_SHOWN_CHARS: usize = 80;

/// How an empty list is shown.
const EMPTY_LIST: &str = "none";

/// How an empty mapping is shown.
const EMPTY_MAPPING: &str = "{}";

/// Keys that do not change what the gateway does.
const KEYS_WITHOUT_EFFECT: [&str; 2] = ["tests", "include"];

/// A configuration as written, value by value. It shows edits that the compiled comparison does not cover, so that no
/// edit goes unseen. Values that equal their default are left out.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct WrittenValues {
    /// By their names.
    pub routes: BTreeMap<String, Values>,
    /// By their names.
    pub upstreams: BTreeMap<String, Values>,
    /// Listeners, by address.
    pub listeners: BTreeMap<String, Values>,
    /// All other keys.
    pub rest: Values,
}

/// Values by their paths.
pub(super) type Values = BTreeMap<String, WrittenValue>;

/// A written value.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct WrittenValue {
    /// The text to show: without secrets, and shortened.
    shown: String,
    /// A digest of the whole value, if the shown text is not the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    whole: Option<u64>,
    /// The default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    default: Option<String>,
    /// Whether it only says that there is a mapping.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_mapping: bool,
}

impl WrittenValues {
    /// Reads these files.
    pub(super) fn from_sources(sources: &Sources) -> Self {
        let Some(root) = sources.tree() else { return Self::default() };
        let schema = sources.schema();
        let reader = ValueReader { schema: &schema };
        let mut written = Self::default();
        let Kind::Mapping(entries) = &root.kind else { return written };
        for (key, node) in entries {
            let key = key.text.as_str();
            let Some(property) = reader.schema.get("properties").and_then(|all| all.get(key))
            else {
                continue;
            };
            match (key, &node.kind) {
                ("routes", Kind::Sequence(items)) => {
                    written.routes = reader.values_by_name(items, "name", property);
                }
                ("listeners", Kind::Sequence(items)) => {
                    written.listeners = reader.values_by_name(items, "address", property);
                }
                ("upstreams", Kind::Mapping(entries)) => {
                    let item = property.get("additionalProperties").unwrap_or(property);
                    for (name, node) in entries {
                        let values = written.upstreams.entry(name.text.clone()).or_default();
                        reader.entries(node, item, "", false, values);
                    }
                }
                _ if KEYS_WITHOUT_EFFECT.contains(&key) => {}
                _ => reader.value(node, property, key, false, &mut written.rest),
            }
        }
        written
    }
}

impl WrittenValue {
    fn digest(&self) -> u64 {
        self.whole.unwrap_or_else(|| stable_hash(&self.shown))
    }

    fn is_same_as(&self, other: &Self) -> bool {
        self.digest() == other.digest()
    }
}

/// The values that differ.
pub(super) fn changes(before: &Values, after: &Values) -> Vec<Change> {
    let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differs = |path: &&String| match (before.get(*path), after.get(*path)) {
        (Some(before), Some(after)) => !before.is_same_as(after),
        _ => true,
    };
    let paths: Vec<&String> = paths.into_iter().filter(differs).collect();
    let mut changes = Vec::new();
    for path in &paths {
        let (before, after) = (before.get(*path), after.get(*path));
        let is_mapping = [before, after].into_iter().flatten().all(|it| it.is_mapping);
        // The values of the mapping show that it is there.
        let is_within = |other: &&String| {
            other.strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with('.'))
        };
        if is_mapping && paths.iter().any(is_within) {
            continue;
        }
        let absent = |other: Option<&WrittenValue>| {
            let default = other.and_then(|other| other.default.clone());
            default.unwrap_or_else(|| "not set".to_owned())
        };
        let shown_before = before.map_or_else(|| absent(after), |it| it.shown.clone());
        let mut shown_after = after.map_or_else(|| absent(before), |it| it.shown.clone());
        if shown_before == shown_after {
            shown_after = format!("another {shown_after}");
        }
        let what = (*path).clone().into();
        changes.push(Change { what, before: shown_before, after: shown_after });
    }
    changes
}

/// Reads values by the schema, which the tree satisfies.
struct ValueReader<'s> {
    schema: &'s Schema,
}

impl<'s> ValueReader<'s> {
    /// The mappings of a list, by the value of one of their keys, which is left out.
    fn values_by_name(
        &self,
        items: &[Node],
        key: &str,
        property: &'s Schema,
    ) -> BTreeMap<String, Values> {
        let item = property.get("items").unwrap_or(property);
        let mut named = BTreeMap::new();
        for node in items {
            let Some(Kind::Scalar(name)) = node.get(key).map(|node| &node.kind) else { continue };
            let mut values = Values::new();
            self.entries(node, item, "", false, &mut values);
            values.remove(key);
            named.insert(name.text.clone(), values);
        }
        named
    }

    fn entries(
        &self,
        node: &Node,
        schema: &'s Schema,
        path: &str,
        of_fields: bool,
        into: &mut Values,
    ) {
        let Kind::Mapping(entries) = &node.kind else { return };
        let choices = self.choices(schema);
        for (key, node) in entries {
            let property = choices.iter().find_map(|choice| {
                let named = choice.get("properties").and_then(|all| all.get(&key.text));
                named.or_else(|| choice.get("additionalProperties"))
            });
            let is_field = choices.iter().any(|choice| is_header_mapping(choice));
            let name = if is_field { key.text.to_ascii_lowercase() } else { key.text.clone() };
            let path = if path.is_empty() { name } else { format!("{path}.{name}") };
            self.value(node, property.unwrap_or(&Schema::Null), &path, of_fields, into);
        }
    }

    /// Reads a value and its content. The parser limits the depth.
    fn value(
        &self,
        node: &Node,
        property: &'s Schema,
        path: &str,
        of_fields: bool,
        into: &mut Values,
    ) {
        if node.is_null() {
            return;
        }
        let key = path.rsplit('.').next().unwrap_or(path);
        let is_secret = if of_fields { is_secret_field(key) } else { is_secret_key(key) };
        let of_fields = of_fields || holds_fields(key);
        let choices = self.choices(property);
        let (default, whole_default) = self.default(property, &choices).unzip();
        // A default that depends on other keys is not shown as a value.
        let default = default.filter(|_| property.get("x-default").is_none());
        let mut keep = |shown: String, whole: &str, is_mapping: bool| {
            if whole_default.as_deref() == Some(whole) {
                return;
            }
            let whole = (shown != whole).then(|| stable_hash(whole));
            into.insert(
                path.to_owned(),
                WrittenValue { shown, whole, default: default.clone(), is_mapping },
            );
        };
        let is_object = |choice: &&&Schema| choice.get("type").is_some_and(|it| it == "object");
        let objects = choices.iter().filter(is_object).count();
        match &node.kind {
            // One of several mappings is a value of its own: `{hash: user_id}`.
            Kind::Mapping(_) if objects <= 1 && !is_secret => {
                let is_switch = choices.iter().any(|choice| is_switch(choice));
                let is_always_there = choices.len() == 1 && !is_optional(property);
                if !is_always_there {
                    let shown = if is_switch { "on" } else { "set" };
                    keep(shown.to_owned(), shown, true);
                }
                self.entries(node, property, path, of_fields, into);
            }
            _ => {
                let (mut shown, mut whole) = (String::new(), String::new());
                self.render(node, &choices, of_fields, &mut shown, &mut whole);
                if is_secret {
                    shown = REDACTED.to_owned();
                }
                keep(shortened(&shown), &whole, false);
            }
        }
    }

    /// The default of this key, as [`render`](Self::render) writes it. The keys of a mapping have their own.
    fn default(&self, property: &'s Schema, choices: &[&'s Schema]) -> Option<(String, String)> {
        match property.get("default")? {
            Schema::Object(_) => Some((EMPTY_MAPPING.to_owned(), EMPTY_MAPPING.to_owned())),
            Schema::Array(items) if items.is_empty() => {
                Some((EMPTY_LIST.to_owned(), EMPTY_LIST.to_owned()))
            }
            Schema::Array(items) => {
                let items_of = choices.iter().find_map(|choice| choice.get("items"));
                let choices = self.choices(items_of.unwrap_or(&Schema::Null));
                let items = items.iter().map(|item| self.default_item(item, &choices));
                let (shown, whole): (Vec<String>, Vec<String>) = items.unzip();
                Some((shown.join(", "), whole.join(", ")))
            }
            default => {
                let shown = scalar(default);
                let whole = normalized_scalar(choices, &shown);
                Some((shown, whole))
            }
        }
    }

    /// An item of a default, as [`render`](Self::render) writes it.
    fn default_item(&self, item: &Schema, choices: &[&'s Schema]) -> (String, String) {
        let Some(entries) = item.as_object() else {
            let shown = scalar(item);
            let whole = normalized_scalar(choices, &shown);
            return (shown, whole);
        };
        let (mut shown, mut whole) = (Vec::new(), BTreeSet::new());
        for (key, value) in entries {
            let of_key = |choice: &&'s Schema| choice.get("properties")?.get(key);
            let property = choices.iter().find_map(of_key).unwrap_or(&Schema::Null);
            let value = scalar(value);
            whole.insert(format!("{key}: {}", normalized_scalar(&self.choices(property), &value)));
            shown.push(format!("{key}: {value}"));
        }
        let whole: Vec<String> = whole.into_iter().collect();
        (format!("{{{}}}", shown.join(", ")), format!("{{{}}}", whole.join(", ")))
    }

    /// A value in one line: as it may be shown, and the whole of it in one of the ways in which it
    /// can be written.
    fn render(
        &self,
        node: &Node,
        choices: &[&'s Schema],
        of_fields: bool,
        shown: &mut String,
        whole: &mut String,
    ) {
        match &node.kind {
            Kind::Scalar(scalar) => {
                shown.push_str(&visible_scalar(scalar));
                whole.push_str(&normalized_scalar(choices, &scalar.text));
            }
            Kind::Sequence(items) => {
                let items_of = choices.iter().find_map(|choice| choice.get("items"));
                let choices = self.choices(items_of.unwrap_or(&Schema::Null));
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        shown.push_str(", ");
                        whole.push_str(", ");
                    }
                    self.render(item, &choices, of_fields, shown, whole);
                }
                if items.is_empty() {
                    shown.push_str(EMPTY_LIST);
                    whole.push_str(EMPTY_LIST);
                }
            }
            Kind::Mapping(entries) => {
                let (mut shown_entries, mut whole_entries) = (Vec::new(), BTreeSet::new());
                for (key, node) in entries {
                    let key = key.text.as_str();
                    let property = choices
                        .iter()
                        .find_map(|choice| choice.get("properties").and_then(|it| it.get(key)));
                    let property = property.unwrap_or(&Schema::Null);
                    let choices = self.choices(property);
                    let is_secret =
                        if of_fields { is_secret_field(key) } else { is_secret_key(key) };
                    let of_fields = of_fields || holds_fields(key);
                    let (mut shown_value, mut whole_value) = (String::new(), String::new());
                    self.render(node, &choices, of_fields, &mut shown_value, &mut whole_value);
                    if is_secret {
                        shown_value = REDACTED.to_owned();
                    }
                    let default = self.default(property, &choices).map(|(_, whole)| whole);
                    // The same as without the key.
                    if default.as_ref() != Some(&whole_value) {
                        whole_entries.insert(format!("{key}: {whole_value}"));
                    }
                    shown_entries.push(format!("{key}: {shown_value}"));
                }
                shown.push_str(&format!("{{{}}}", shown_entries.join(", ")));
                let whole_entries: Vec<String> = whole_entries.into_iter().collect();
                whole.push_str(&format!("{{{}}}", whole_entries.join(", ")));
            }
        }
    }

    fn resolve(&self, schema: &'s Schema) -> &'s Schema {
        let reference = schema.get("$ref").and_then(Schema::as_str);
        let name = reference.and_then(|name| name.rsplit('/').next());
        name.and_then(|name| self.schema.get("$defs")?.get(name)).unwrap_or(schema)
    }

    /// What a value may be, but for nothing.
    fn choices(&self, schema: &'s Schema) -> Vec<&'s Schema> {
        let schema = self.resolve(schema);
        match schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Schema::as_array) {
            Some(all) => all
                .iter()
                .filter(|choice| !is_null(choice))
                .flat_map(|choice| self.choices(choice))
                .collect(),
            None => vec![schema],
        }
    }
}

fn is_null(schema: &Schema) -> bool {
    schema.get("type").is_some_and(|kind| kind == "null")
}

/// Whether the key is optional.
fn is_optional(property: &Schema) -> bool {
    let choices = property.get("anyOf").and_then(Schema::as_array);
    choices.is_some_and(|choices| choices.iter().any(is_null))
}

fn is_number(choice: &Schema) -> bool {
    let kind = choice.get("type").and_then(|kind| kind.get(0).unwrap_or(kind).as_str());
    matches!(kind, Some("integer" | "number"))
}

fn is_switch(choice: &Schema) -> bool {
    let words = choice.get("enum").and_then(Schema::as_array);
    words.is_some_and(|words| words.iter().any(|word| word == "on"))
}

/// Whether its keys are names of headers, which are case-insensitive.
fn is_header_mapping(choice: &Schema) -> bool {
    let names = choice.get("propertyNames").and_then(|names| names.get("format"));
    names.is_some_and(|format| format == "header-name")
}

/// A scalar of JSON as it would be written in YAML.
fn scalar(value: &Schema) -> String {
    match value {
        Schema::String(text) => text.clone(),
        Schema::Number(number) => number.as_f64().map_or_else(String::new, |it| it.to_string()),
        other => other.to_string(),
    }
}

/// One of the ways to write a scalar, always the same.
fn normalized_scalar(choices: &[&Schema], text: &str) -> String {
    for choice in choices {
        let format = choice.get("format").and_then(Schema::as_str).unwrap_or_default();
        let normal = match format {
            "duration" => text.parse::<config::Duration>().ok().map(|it| format!("{:?}", it.0)),
            "byte-size" => text.parse::<config::ByteSize>().ok().map(|it| it.0.to_string()),
            "cidr" => text.parse::<config::Cidr>().ok().map(|it| it.0.trunc().to_string()),
            "header-name" => Some(text.to_ascii_lowercase()),
            _ if is_switch(choice) => {
                let switch = text.parse::<config::Switch>().ok();
                switch.map(|it| if it.0 { "on" } else { "off" }.to_owned())
            }
            _ if is_number(choice) => text.parse::<f64>().ok().map(|it| it.to_string()),
            _ => None,
        };
        if let Some(normal) = normal {
            return normal;
        }
    }
    text.to_owned()
}

fn visible_scalar(scalar: &Scalar) -> String {
    // The value of a variable may be secret; its name is not.
    let text = scalar.unexpanded.as_deref().unwrap_or(&scalar.text);
    let text = without_url_secrets(text);
    match text.chars().any(char::is_control) {
        true => text.escape_debug().to_string(),
        false => text,
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
