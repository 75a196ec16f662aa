//! Reads configurations with registered filters, good and bad ones. Knows no filter of the gateway.

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
