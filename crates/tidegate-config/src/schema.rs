//! The JSON Schema of the configuration, and the Markdown reference that is generated from it. Reads no file.

use super::defaults::DEFAULT_CONFIG_PATHS;
use super::{Config, FilterSchemas, RestartKey, defaults, restart};
use serde_json::Value;
use std::fmt::Write as _;

/// The JSON Schema (2020-12) of a configuration file: what editors use, and what the gateway
/// itself judges a file by.
pub fn json_schema() -> Value {
    json_schema_with(&FilterSchemas::default())
}

/// The JSON Schema of the configuration, with the filters that a program registers.
pub fn json_schema_with(filters: &FilterSchemas) -> Value {
    let mut schema = declared(filters);
    defaults::describe(&mut schema);
    restart::describe(&mut schema);
    schema
}

/// The schema with what is declared of each key, which its description does not repeat.
fn declared(filters: &FilterSchemas) -> Value {
    let mut schema = schemars::schema_for!(Config).to_value();
    filters.complete(&mut schema);
    unwrap_lines(&mut schema);
    defaults::declare(&mut schema);
    restart::declare(&mut schema);
    schema
}

/// Joins the lines of descriptions, which are broken where the source code is.
fn unwrap_lines(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "description" => *text = text.replace('\n', " "),
                    value => unwrap_lines(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(unwrap_lines),
        _ => {}
    }
}

const INTRODUCTION: &str = "\
# Configuration

The configuration is one YAML file, by default `DEFAULT_CONFIG_PATHS`. This page is
generated from the schema that the gateway validates a file with (`tidegate schema --markdown`), and a test compares
them. `conf/tidegate.yaml` is a whole example, `conf/examples/` has one idea per file.

- Unknown keys, duplicate keys, wrong types and references to missing names are errors. All are reported at
  once, as `file:line:column`, and a file with an error does not change the running gateway.
- `${NAME}` and `${NAME:-default}` in a value are replaced by a variable of the environment; `$$` is a
  `$`. The gateway never shows the value of a variable, except in names and addresses of routes, upstreams,
  endpoints and headers.
- Durations are written as `250ms`, `30s`, `10m`, `1h 30m`, at most `100y`; sizes as `4096`, `64KiB`, `1MiB`.
- Editors validate and complete a file that begins with
  `# yaml-language-server: $schema=<path>/tidegate.schema.json`.
- The gateway watches the file and the files it includes: an edit takes effect within a second. Edits of
  RESTART_KEYS
  take effect after a restart; the log, `tidegate status` and `tidegate diff` name the settings that wait for it. Of
  `listeners` these are the addresses: the order of the list does not matter.

## Which route takes a request

The most specific route takes a request, in any order of the file: an exact `path` before a `path_prefix`, a
longer prefix before a shorter one, an exact host before a wildcard before none, more conditions
(`methods`, each of `headers` and `query`) before fewer; among equals the first. Paths are matched
and forwarded in their normal form: dot segments are resolved, duplicate slashes merged, escapes of
unreserved characters decoded. A path that servers can read in two ways (`%2F`, `%5C`, `\\`, control
characters, `/..;/`) is answered 400. The query is passed on byte for byte.
";

/// The reference of all keys, in Markdown.
pub fn reference_markdown() -> String {
    reference_markdown_with(&FilterSchemas::default())
}

/// The reference of all keys, in Markdown, with the filters that a program registers.
pub fn reference_markdown_with(filters: &FilterSchemas) -> String {
    let schema = declared(filters);
    let restart: Vec<String> =
        RestartKey::ALL.iter().map(|key| format!("`{}`", key.path())).collect();
    let text = INTRODUCTION
        .replace("DEFAULT_CONFIG_PATHS", &DEFAULT_CONFIG_PATHS.join("`, else `"))
        .replace("RESTART_KEYS", &restart.join(", "));
    let mut reference =
        ReferenceWriter { schema: &schema, text, described: Vec::new(), above: Vec::new() };
    reference.section("The file", "", &[&schema]);
    reference.text
}

/// Paths, and what may stand there.
type Mappings<'s> = Vec<(String, Vec<&'s Value>)>;

struct ReferenceWriter<'s> {
    schema: &'s Value,
    text: String,
    described: Vec<String>,
    /// The mappings whose sections are being written, from the outermost on.
    above: Vec<*const Value>,
}

impl<'s> ReferenceWriter<'s> {
    /// A table of a mapping's keys, then the mappings that stand in it.
    fn section(&mut self, title: &str, path: &str, mappings: &[&'s Value]) {
        let Some(mapping) = mappings.first() else { return };
        let properties = mappings.iter().flat_map(|one| {
            let properties = one.get("properties").and_then(Value::as_object);
            properties.into_iter().flatten().map(move |(name, property)| (one, name, property))
        });
        // Of several mappings, one is chosen by its only key.
        let required = mapping.get("required").filter(|_| mappings.len() == 1);
        let required = required.and_then(Value::as_array);
        let is_required =
            |name: &str| required.is_some_and(|required| required.iter().any(|key| key == name));
        // Writing into a string can't fail.
        let _ = write!(self.text, "\n## {title}\n\n");
        if mappings.len() > 1 {
            self.text.push_str("One of these keys.\n\n");
        } else if let Some(description) = mapping.get("description").and_then(Value::as_str) {
            let _ = write!(self.text, "{description}\n\n");
        }
        self.text.push_str("| key | value | default | meaning |\n|---|---|---|---|\n");
        self.above.push(std::ptr::from_ref(*mapping));
        let mut inner = Mappings::new();
        for (one, name, property) in properties {
            let kinds = self.kinds(property);
            let own = property.get("description").or_else(|| one.get("description"));
            let meaning = own.and_then(Value::as_str).unwrap_or_default();
            let mut meaning = meaning.replace('|', "\\|");
            if property.get("x-restart").is_some() {
                meaning.push(' ');
                meaning.push_str(restart::RESTART_SENTENCE);
            }
            let default = match is_required(name) {
                true => "**required**".to_owned(),
                false => defaults::in_words(property).unwrap_or_default(),
            };
            let kinds = kinds.join(", ");
            let _ = writeln!(self.text, "| `{name}` | {kinds} | {default} | {meaning} |");
            let at = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            self.mappings(property, at, &mut inner);
        }
        for (path, mappings) in inner {
            // Settings that hold themselves are described once.
            let is_above =
                mappings.iter().all(|one| self.above.contains(&std::ptr::from_ref(*one)));
            if !is_above && !self.described.contains(&path) {
                self.described.push(path.clone());
                self.section(&format!("`{path}`"), &path, &mappings);
            }
        }
        self.above.pop();
    }

    fn resolve(&self, schema: &'s Value) -> &'s Value {
        let name =
            schema.get("$ref").and_then(Value::as_str).and_then(|name| name.rsplit('/').next());
        name.and_then(|name| self.schema.get("$defs")?.get(name)).unwrap_or(schema)
    }

    fn alternatives(&self, schema: &'s Value) -> Vec<&'s Value> {
        let schema = self.resolve(schema);
        let union = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array);
        match union {
            Some(union) => union.iter().flat_map(|one| self.alternatives(one)).collect(),
            None => vec![schema],
        }
    }

    /// What a value may be, in words.
    fn kinds(&self, schema: &'s Value) -> Vec<String> {
        let mut kinds: Vec<String> = Vec::new();
        for one in self.alternatives(schema) {
            let kind = |kind: &str| match one.get("type") {
                Some(Value::Array(kinds)) => kinds.iter().any(|one| one == kind),
                one => one.is_some_and(|one| one == kind),
            };
            let mut words: Vec<String> = Vec::new();
            if let Some(constant) = one.get("const").and_then(Value::as_str) {
                words.push(format!("`{constant}`"));
            } else if let Some(listed) = one.get("enum").and_then(Value::as_array) {
                words.extend(
                    listed.iter().filter_map(Value::as_str).map(|word| format!("`{word}`")),
                );
            } else if kind("array") {
                let items = one.get("items").map(|items| self.kinds(items).join(" or "));
                words.push(format!("list of {}", items.unwrap_or_default()));
            } else if kind("object") {
                words.push("mapping".to_owned());
            } else if kind("boolean") {
                words.push("`true`, `false`".to_owned());
            } else if kind("integer") {
                words.push("integer".to_owned());
            } else if kind("number") {
                words.push("number".to_owned());
            } else if kind("string") {
                let format = one.get("format").and_then(Value::as_str).unwrap_or("string");
                words.push(format.replace('-', " "));
            }
            kinds
                .extend(words.into_iter().filter(|word| !kinds.contains(word)).collect::<Vec<_>>());
        }
        kinds
    }

    /// The mappings that may stand in a value, each with its path.
    fn mappings(&self, schema: &'s Value, path: String, into: &mut Mappings<'s>) {
        for one in self.alternatives(schema) {
            if let Some(items) = one.get("items") {
                self.mappings(items, format!("{path}[]"), into);
            } else if let Some(values) = one.get("additionalProperties").filter(|v| v.is_object()) {
                self.mappings(values, format!("{path}.NAME"), into);
            } else if one.get("properties").is_some() {
                match into.iter_mut().find(|(known, _)| *known == path) {
                    Some((_, mappings)) => mappings.push(one),
                    None => into.push((path.clone(), vec![one])),
                }
            }
        }
    }
}
