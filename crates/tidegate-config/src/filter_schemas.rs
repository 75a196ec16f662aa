//! The schemas of the settings of registered filters, and how they become part of the file's schema. Knows nothing of
//! the file that is read.

use schemars::JsonSchema;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The name of the schema's definition that lists the filters.
pub(super) const FILTERS_DEFINITION: &str = "Filters";

/// The schemas of the settings of registered filters, by the filters' names.
#[derive(Debug, Clone, Default)]
pub struct FilterSchemas {
    by_name: Arc<BTreeMap<String, Value>>,
    takes_any: bool,
}

impl FilterSchemas {
    /// For a program that asks a gateway of another program: names and settings are not checked.
    pub fn any() -> Self {
        Self { takes_any: true, ..Self::default() }
    }

    /// Adds the filter of this name, whose settings have the type `S`.
    pub fn add<S: JsonSchema>(&mut self, name: &str) {
        let schema = schemars::schema_for!(S).to_value();
        Arc::make_mut(&mut self.by_name).insert(name.to_owned(), schema);
    }

    /// Whether no filter is registered.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Puts the filters into the schema of a configuration file.
    pub(super) fn complete(&self, schema: &mut Value) {
        let Some(definitions) = schema.get_mut("$defs").and_then(Value::as_object_mut) else {
            return;
        };
        if self.takes_any {
            let list =
                json!({"type": "array", "items": {"type": "object", "additionalProperties": {}}});
            definitions.insert(FILTERS_DEFINITION.to_owned(), list);
            return;
        }
        let mut choices = Vec::new();
        for (name, settings) in &*self.by_name {
            let mut settings = settings.clone();
            rename_references(&mut settings, name);
            if let Some(root) = settings.as_object_mut() {
                root.remove("$schema");
                root.remove("title");
                if let Some(Value::Object(own)) = root.remove("$defs") {
                    let renamed = own.into_iter().map(|(key, it)| (definition_of(name, &key), it));
                    definitions.extend(renamed);
                }
            }
            let mut properties = Map::new();
            properties.insert(name.clone(), settings);
            choices.push(json!({
                "type": "object",
                "properties": properties,
                "required": [name],
                "additionalProperties": false,
            }));
        }
        if !choices.is_empty() {
            let list = json!({"type": "array", "items": {"anyOf": choices}});
            definitions.insert(FILTERS_DEFINITION.to_owned(), list);
        }
    }
}

/// What a definition of a filter's own schema is called among those of the whole file.
fn definition_of(filter: &str, definition: &str) -> String {
    format!("{filter}.{definition}")
}

fn rename_references(schema: &mut Value, filter: &str) {
    match schema {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(reference) if key == "$ref" => {
                        if let Some(name) = reference.strip_prefix("#/$defs/") {
                            *reference = format!("#/$defs/{}", definition_of(filter, name));
                        }
                    }
                    value => rename_references(value, filter),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename_references(item, filter)),
        _ => {}
    }
}
