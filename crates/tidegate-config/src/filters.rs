//! Filters that a program registers by name: their uses in the file, and the schemas of their settings. Knows names,
//! schemas and positions, not what a filter does.

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

#[cfg(test)]
mod tests {
    use super::super::{FilterSchemas, Variables, read_str_with};
    use super::*;
    use serde::de::Unexpected;

    /// Settings for these tests.
    #[derive(Debug, serde::Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct ApiKeys {
        /// The keys.
        keys: Vec<Key>,
        /// How long.
        #[serde(default)]
        ttl: Option<crate::Duration>,
    }

    #[derive(Debug, serde::Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Key {
        id: String,
        #[serde(default)]
        #[expect(dead_code, reason = "it matters only whether it is refused")]
        weight: Small,
    }

    /// A type whose schema lets through what it refuses itself.
    #[derive(Debug, Default)]
    struct Small(#[expect(dead_code)] u8);

    impl<'de> Deserialize<'de> for Small {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            match u8::deserialize(deserializer)? {
                small @ 0..10 => Ok(Self(small)),
                large => Err(serde::de::Error::custom(format!("{large} is not small"))),
            }
        }
    }

    impl JsonSchema for Small {
        fn schema_name() -> Cow<'static, str> {
            "Small".into()
        }

        fn json_schema(generator: &mut SchemaGenerator) -> Schema {
            u8::json_schema(generator)
        }
    }

    fn read(filters: &str) -> super::super::LoadedConfig {
        let mut schemas = FilterSchemas::default();
        schemas.add::<ApiKeys>("api_keys").expect("a schema");
        let text = format!(
            "listeners: [{{address: 127.0.0.1:1}}]\n\
             upstreams: {{u: {{endpoints: ['127.0.0.1:2']}}}}\n\
             filters: {filters}\n\
             routes:\n  - name: a\n    upstream: u\n    filters:\n      - api_keys: {{keys: [{{id: x}}], ttl: 3s}}\n"
        );
        read_str_with(&text, "t.yaml", &Variables::default(), &schemas)
    }

    #[test]
    fn filter_whose_settings_may_be_null_is_used() {
        let mut schemas = FilterSchemas::default();
        schemas.add::<()>("unit").expect("a schema");
        schemas.add::<Option<ApiKeys>>("optional").expect("a schema");
        let text = "listeners: [{address: 127.0.0.1:1}]\n\
                    upstreams: {u: {endpoints: ['127.0.0.1:2']}}\n\
                    filters: [{unit: }, {optional: ~}]\n\
                    routes: [{name: a, upstream: u}]\n";
        let read = read_str_with(text, "t.yaml", &Variables::default(), &schemas);
        assert!(read.problems.is_empty(), "{}", read.problems);
        let [unit, optional] = read.config.filters.0.as_slice() else { panic!("two filters") };
        assert_eq!(unit.settings::<()>(), Ok(()));
        assert!(optional.settings::<Option<ApiKeys>>().is_ok_and(|it| it.is_none()));
    }

    #[test]
    fn uses_of_filters_are_read_with_their_positions() {
        let read = read("[{api_keys: {keys: []}}]");
        assert!(read.problems.is_empty(), "{}", read.problems);
        let [global] = read.config.filters.0.as_slice() else { panic!("one filter") };
        assert_eq!((global.name.span.line, global.name.span.column), (3, 12));
        let [route] = read.config.routes.as_slice() else { panic!("one route") };
        let [of_route] = route.filters.0.as_slice() else { panic!("one filter") };
        assert_eq!(of_route.name.value, "api_keys");
        let settings: ApiKeys = of_route.settings().expect("settings");
        assert_eq!(settings.keys.first().map(|key| key.id.as_str()), Some("x"));
        assert_eq!(settings.ttl.map(|ttl| ttl.0.as_secs()), Some(3));
        assert_eq!(of_route.span_of("keys[0].id").column, 32);
        assert_ne!(of_route.digestible(), global.digestible());
    }

    #[test]
    fn unknown_names_and_settings_are_refused_with_a_suggestion() {
        let shown = read("[{api_kyes: {keys: []}}, {api_keys: {keyz: []}}]").problems.to_string();
        assert!(shown.contains("t.yaml:3:12: error: filters[0].api_kyes: unknown key"), "{shown}");
        assert!(shown.contains("did you mean `api_keys`?"), "{shown}");
        assert!(shown.contains("filters[1].api_keys.keyz: unknown key"), "{shown}");
        assert!(shown.contains("did you mean `keys`?"), "{shown}");
    }

    #[test]
    fn a_program_without_filters_says_so() {
        let text = "listeners: [{address: 127.0.0.1:1}]\nfilters: [{api_keys: {}}]\n";
        let schemas = FilterSchemas::default();
        let read = read_str_with(text, "t.yaml", &Variables::default(), &schemas);
        let shown = read.problems.to_string();
        assert!(shown.contains("unknown filter: this program registers no filters"), "{shown}");
    }

    #[test]
    fn a_program_that_asks_another_ones_gateway_takes_any_filter() {
        let text = "listeners: [{address: 127.0.0.1:1}]\nfilters: [{api_keys: {a: [1]}}, {b: 2}]\n";
        let read = read_str_with(text, "t.yaml", &Variables::default(), &FilterSchemas::any());
        assert!(read.problems.is_empty(), "{}", read.problems);
    }

    #[test]
    fn a_value_that_its_type_refuses_is_refused_at_its_position() {
        let read = read("[{api_keys: {keys: [{id: x}, {id: y, weight: 11}]}}]");
        assert!(read.problems.is_empty(), "{}", read.problems);
        let [global] = read.config.filters.0.as_slice() else { panic!("one filter") };
        let error = global.settings::<ApiKeys>().expect_err("it is too large");
        assert_eq!((error.path.as_str(), error.span.column), ("keys[1].weight", 55));
        assert_eq!(error.reason, "11 is not small");
    }

    /// Settings of every kind that serde has beside plain ones.
    #[derive(Debug, serde::Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "it matters only whether it is refused")]
    struct Odd {
        #[serde(default)]
        tagged: Option<Tagged>,
        #[serde(default)]
        untagged: Option<Untagged>,
        #[serde(default)]
        free: serde_json::Value,
        #[serde(default)]
        free_map: std::collections::BTreeMap<String, serde_json::Value>,
        #[serde(default)]
        flat: Option<Flat>,
        #[serde(default)]
        inner: Vec<Odd>,
    }

    #[derive(Debug, serde::Deserialize, JsonSchema)]
    #[serde(tag = "kind", rename_all = "lowercase")]
    #[expect(dead_code, reason = "it matters only whether it is refused")]
    enum Tagged {
        Circle { radius: u32 },
        Square { side: u32 },
    }

    #[derive(Debug, serde::Deserialize, JsonSchema)]
    #[serde(untagged)]
    #[expect(dead_code, reason = "it matters only whether it is refused")]
    enum Untagged {
        Point { x: u32, y: u32 },
        Line { length: u32 },
    }

    #[derive(Debug, serde::Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "it matters only whether it is refused")]
    struct Flat {
        name: String,
        #[serde(flatten)]
        shape: Tagged,
        #[serde(flatten)]
        rest: std::collections::BTreeMap<String, serde_json::Value>,
    }

    fn read_odd(settings: &str) -> Result<Odd, String> {
        let mut schemas = FilterSchemas::default();
        schemas.add::<Odd>("odd").expect("a schema");
        assert!(crate::reference_markdown_with(&schemas).contains("inner"));
        let text = format!(
            "listeners: [{{address: 127.0.0.1:1}}]\n\
             upstreams: {{u: {{endpoints: ['127.0.0.1:2']}}}}\n\
             filters: [{{odd: {settings}}}]\nroutes: [{{name: a, upstream: u}}]\n"
        );
        let read = read_str_with(&text, "t.yaml", &Variables::default(), &schemas);
        if !read.problems.is_empty() {
            return Err(read.problems.to_string());
        }
        let [odd] = read.config.filters.0.as_slice() else { panic!("one filter") };
        odd.settings().map_err(|error| error.reason)
    }

    #[test]
    fn settings_of_every_kind_that_serde_has_are_read() {
        for settings in [
            "{tagged: {kind: circle, radius: 3}}",
            "{untagged: {x: 1, y: 2}}",
            "{untagged: {length: 2}}",
            "{free: [1, {a: b}, true]}",
            "{free_map: {a: 1, b: [c]}}",
            "{flat: {name: a, kind: square, side: 3, other: [1]}}",
            "{inner: [{inner: [{free: 1}]}]}",
        ] {
            read_odd(settings).unwrap_or_else(|error| panic!("{settings}: {error}"));
        }
    }

    #[test]
    fn wrong_tag_is_refused_with_the_words_that_it_may_have() {
        let error = read_odd("{inner: [{tagged: {kind: cirle, radius: 3}}]}").unwrap_err();
        assert!(error.contains("filters[0].odd.inner[0].tagged.kind: expected one of"), "{error}");
        assert!(error.contains("did you mean `circle`?"), "{error}");
        let error = read_odd("{tagged: {radius: 3}}").unwrap_err();
        assert!(error.contains("the required key `kind` is missing"), "{error}");
        let error = read_odd("{tagged: {kind: circle, radios: 3}}").unwrap_err();
        assert!(error.contains("tagged.radios"), "{error}");
        assert!(read_odd("{untagged: {x: 1}}").is_err());
        assert!(read_odd("{flat: {name: a, kind: hexagon}}").is_err());
    }

    #[test]
    fn schema_that_leads_elsewhere_is_refused_with_type_and_reason() {
        struct Elsewhere;
        impl JsonSchema for Elsewhere {
            fn schema_name() -> Cow<'static, str> {
                "Elsewhere".into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"$ref": "https://example.test/schema.json"})
            }
        }
        let error = FilterSchemas::default().add::<Elsewhere>("a").unwrap_err();
        assert!(error.contains("`Elsewhere` refers to `https://example.test/"), "{error}");
    }

    #[test]
    fn the_schema_and_the_reference_know_registered_filters() {
        let mut schemas = FilterSchemas::default();
        schemas.add::<ApiKeys>("api_keys").expect("a schema");
        let schema = crate::json_schema_with(&schemas);
        let definitions =
            schema.get("$defs").and_then(serde_json::Value::as_object).expect("definitions");
        assert!(definitions.contains_key("api_keys.Key"));
        let reference = crate::reference_markdown_with(&schemas);
        assert!(reference.contains("## `filters[].api_keys.keys[]`"), "{reference}");
        assert!(!crate::reference_markdown().contains("## `filters[].api_keys"));
    }

    fn use_of(settings: &str) -> FilterUse {
        let text = format!("settings: {settings}");
        let tree = super::super::yaml::parse_tree(&text).expect("YAML");
        let settings = tree.get("settings").expect("settings").clone();
        FilterUse { name: Spanned { value: "a".into(), span: settings.span }, settings, index: 0 }
    }

    #[test]
    fn digestible_changes_when_quotes_change_the_type_of_a_value() {
        for (one, other) in [
            ("{value: \"true\"}", "{value: true}"),
            ("{prefix: \"~\"}", "{prefix: ~}"),
            ("{prefix: \"\"}", "{prefix: }"),
            ("[\"1\"]", "[1]"),
            ("\"0x1f\"", "0x1f"),
            ("'1.5'", "1.5"),
            ("{a: '1,', b: 2}", "{a: 1, b: 2}"),
        ] {
            assert_ne!(use_of(one).digestible(), use_of(other).digestible(), "{one} {other}");
        }
        for (one, other) in [("{value: a b}", "{value: 'a b'}"), ("[\"a\"]", "[a]")] {
            assert_eq!(use_of(one).digestible(), use_of(other).digestible(), "{one} {other}");
        }
    }

    /// Settings that serde buffers before it reads them, so that an error has the position of the mapping.
    #[derive(Debug, serde::Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "it matters only whether it is refused")]
    struct Buffered {
        #[serde(default)]
        flat: Option<Outer>,
        #[serde(default)]
        list: Vec<Outer>,
        #[serde(default)]
        untagged: Option<Keyed>,
        #[serde(default)]
        free: Option<Custom>,
        #[serde(default)]
        tokens: std::collections::BTreeMap<Port, Port>,
        #[serde(default)]
        shared: Option<Custom>,
        #[serde(default)]
        password: Option<Custom>,
    }

    #[derive(Debug, serde::Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "it matters only whether it is refused")]
    struct Outer {
        #[serde(default)]
        label: String,
        #[serde(flatten)]
        inner: Inner,
    }

    #[derive(Debug, serde::Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "it matters only whether it is refused")]
    #[serde(tag = "name")]
    enum Inner {
        #[serde(rename = "a")]
        A {
            #[serde(default)]
            token: u32,
            #[serde(default)]
            limit: u32,
            #[serde(default)]
            nested: std::collections::BTreeMap<String, u32>,
        },
    }

    /// A type of any schema whose error quotes the value.
    #[derive(Debug)]
    struct Custom;

    impl<'de> Deserialize<'de> for Custom {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let value = serde_json::Value::deserialize(deserializer)?;
            Err(serde::de::Error::custom(format!("{value} is no good")))
        }
    }

    impl JsonSchema for Custom {
        fn schema_name() -> Cow<'static, str> {
            "Custom".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!(true)
        }
    }

    /// A key or a value that its schema does not judge.
    #[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
    struct Port(u16);

    impl<'de> Deserialize<'de> for Port {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = String::deserialize(deserializer)?;
            let refused = |_| serde::de::Error::invalid_value(Unexpected::Str(&text), &"a port");
            text.parse().map(Self).map_err(refused)
        }
    }

    impl JsonSchema for Port {
        fn schema_name() -> Cow<'static, str> {
            "Port".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!(true)
        }
    }

    #[derive(Debug, serde::Deserialize, JsonSchema)]
    #[serde(untagged)]
    #[expect(dead_code, reason = "it matters only whether it is refused")]
    enum Keyed {
        Plain { token: Port },
        Text(Custom),
    }

    fn refusal(settings: &str) -> SettingsError {
        let mut schemas = FilterSchemas::default();
        schemas.add::<Buffered>("buffered").expect("a schema");
        let text = format!(
            "listeners: [{{address: 127.0.0.1:1}}]\n\
             upstreams: {{u: {{endpoints: ['127.0.0.1:2']}}}}\n\
             filters:\n  - buffered: {settings}\nroutes: [{{name: a, upstream: u}}]\n"
        );
        let variables = Variables::from_iter([("SECRET", "hunter2")]);
        let read = read_str_with(&text, "t.yaml", &variables, &schemas);
        assert!(read.problems.is_empty(), "{settings}: {}", read.problems);
        let [used] = read.config.filters.0.as_slice() else { panic!("one filter") };
        used.settings::<Buffered>().expect_err(settings)
    }

    #[test]
    fn error_of_settings_that_serde_buffers_shows_no_secret() {
        for settings in [
            "{flat: {name: a, token: hunter2}}",
            "{flat: {name: a, token: \"${SECRET}\"}}",
            "{flat: {name: a, limit: \"${SECRET}\"}}",
            "\n      flat:\n        name: a\n        limit: ${SECRET}",
            "{flat: {name: a, nested: {api_key: hunter2}}}",
            "{flat: {name: a, nested: {tokne: hunter2}}}",
            "\n      flat:\n        name: a\n        token: hunter2",
            "{list: [{name: a}, {name: a, token: hunter2}]}",
            "{untagged: {token: hunter2}}",
            "{untagged: \"${SECRET}\"}",
            "{free: {deep: [{password: hunter2}]}}",
            "{free: {deep: [\"${SECRET}\"]}}",
            "{free: {cookie: hunter2}}",
            "{tokens: {hunter2: '1'}}",
            "\n      tokens:\n        hunter2: '1'",
            "{tokens: {'1': hunter2}}",
            "{password: hunter2}",
            "{password: [hunter2]}",
            "{shared: {a: 1, session: &s [hunter2]}, password: *s}",
        ] {
            let SettingsError { safe_reason: reason, path, .. } = refusal(settings);
            assert!(!reason.contains("hunter2"), "{settings}: {path}: {reason}");
            assert!(!reason.is_empty(), "{settings}");
        }
    }

    #[test]
    fn error_of_settings_that_serde_buffers_says_what_is_expected() {
        for (settings, expected) in [
            ("{flat: {name: a, limit: three}}", "invalid type: string \"three\", expected u32"),
            ("{flat: {name: a, token: hunter2}}", "invalid type: a string, expected u32"),
            ("{flat: {name: a, token: [1]}}", "invalid type: a list, expected u32"),
            ("{free: {name: a}}", "{\"name\":\"a\"} is no good"),
            ("{free: {token: a}}", "the type of the settings refuses a value in this mapping"),
            ("{password: a}", "the value has the wrong type"),
            ("{tokens: {'1': a}}", "invalid value: a string, expected a port"),
        ] {
            assert_eq!(refusal(settings).safe_reason, expected, "{settings}");
        }
    }

    #[test]
    fn schema_error_of_a_secret_setting_shows_no_secret() {
        #[derive(Debug, serde::Deserialize, JsonSchema)]
        #[expect(dead_code, reason = "it matters only whether it is refused")]
        struct Named {
            token: String,
            #[serde(default)]
            tokens: Vec<String>,
        }
        let mut schemas = FilterSchemas::default();
        schemas.add::<Named>("named").expect("a schema");
        for settings in
            ["{token: 7654321}", "{token: {7654321}}", "{token: a, tokens: [7654321, {7654321}]}"]
        {
            let text = format!(
                "listeners: [{{address: 127.0.0.1:1}}]\n\
                 upstreams: {{u: {{endpoints: ['127.0.0.1:2']}}}}\n\
                 filters: [{{named: {settings}}}]\nroutes: [{{name: a, upstream: u}}]\n"
            );
            let read = read_str_with(&text, "t.yaml", &Variables::default(), &schemas);
            let shown = read.problems.to_string();
            assert!(shown.contains("expected a string"), "{settings}: {shown}");
            assert!(!shown.contains("7654321"), "{settings}: {shown}");
        }
    }
}
