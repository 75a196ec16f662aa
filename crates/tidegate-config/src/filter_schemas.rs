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
    ///
    /// # Errors
    /// When the schema of the type is none that a file can be checked by, with the type and the reason.
    pub fn add<S: JsonSchema>(&mut self, name: &str) -> Result<(), String> {
        let schema = schemars::schema_for!(S).to_value();
        if schema == Value::Bool(false) {
            let settings = S::schema_name();
            return Err(format!("the schema of `{settings}` takes no value"));
        }
        if let Some(reference) = foreign_reference(&schema) {
            let settings = S::schema_name();
            return Err(format!(
                "the schema of `{settings}` refers to `{reference}`, which is outside of it"
            ));
        }
        Arc::make_mut(&mut self.by_name).insert(name.to_owned(), schema);
        Ok(())
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
            let is_recursive = rename_references(&mut settings, name);
            if let Some(root) = settings.as_object_mut() {
                root.remove("$schema");
                root.remove("title");
                if let Some(Value::Object(own)) = root.remove("$defs") {
                    let renamed = own.into_iter().map(|(key, it)| (definition_of(name, &key), it));
                    definitions.extend(renamed);
                }
            }
            if is_recursive {
                // What refers to the whole of the settings needs a name for them.
                let whole = definition_of(name, WHOLE);
                let reference = json!({"$ref": format!("#/$defs/{whole}")});
                definitions.insert(whole, std::mem::replace(&mut settings, reference));
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

/// What the settings as a whole are called, where they refer to themselves.
const WHOLE: &str = "settings";

/// Returns whether something refers to the whole.
fn rename_references(schema: &mut Value, filter: &str) -> bool {
    let mut refers_to_whole = false;
    match schema {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(reference) if key == "$ref" => {
                        refers_to_whole |= reference == "#";
                        let name = reference.strip_prefix("#/$defs/").unwrap_or(WHOLE);
                        *reference = format!("#/$defs/{}", definition_of(filter, name));
                    }
                    value => refers_to_whole |= rename_references(value, filter),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                refers_to_whole |= rename_references(item, filter);
            }
        }
        _ => {}
    }
    refers_to_whole
}

/// A reference to something that is neither the whole schema nor one of its definitions.
fn foreign_reference(schema: &Value) -> Option<&str> {
    match schema {
        Value::Object(fields) => fields.iter().find_map(|(key, value)| match value {
            Value::String(reference) if key == "$ref" => {
                (reference != "#" && !reference.starts_with("#/$defs/")).then_some(&**reference)
            }
            value => foreign_reference(value),
        }),
        Value::Array(items) => items.iter().find_map(foreign_reference),
        _ => None,
    }
}
