//! YAML and TOML as one kind of tree, with line numbers. It does not know what a key means.

use crate::ImportError;
use std::path::Path;
use tidegate_config::yaml;
use toml::de::{DeTable, DeValue};

#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    pub line: usize,
    pub kind: NodeKind,
}

#[derive(Debug, Clone)]
pub(super) enum NodeKind {
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<MapEntry>),
}

#[derive(Debug, Clone)]
pub(super) struct MapEntry {
    pub key: String,
    pub line: usize,
    pub value: Node,
}

impl Default for NodeKind {
    fn default() -> Self {
        Self::Map(Vec::new())
    }
}

impl Node {
    /// The value of a key, in any case, as Traefik reads it.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let found = self.entries().iter().find(|entry| entry.key.eq_ignore_ascii_case(key));
        found.map(|entry| &entry.value)
    }

    /// The value at a path of keys.
    pub(super) fn get_path(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    pub(super) fn entries(&self) -> &[MapEntry] {
        if let NodeKind::Map(entries) = &self.kind { entries } else { &[] }
    }

    pub(super) fn items(&self) -> &[Self] {
        if let NodeKind::List(items) = &self.kind { items } else { &[] }
    }

    pub(super) fn text(&self) -> Option<&str> {
        if let NodeKind::Scalar(text) = &self.kind { Some(text) } else { None }
    }

    pub(super) fn text_at(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Self::text)
    }

    pub(super) fn texts_at(&self, key: &str) -> Vec<String> {
        let items = self.get(key).map(Self::items).unwrap_or_default();
        items.iter().filter_map(Self::text).map(str::to_owned).collect()
    }

    pub(super) fn is_true(&self, key: &str) -> bool {
        self.text_at(key) == Some("true")
    }
}

/// Reads a file: TOML by its extension, else YAML.
pub(super) fn read(path: &Path, text: &str) -> Result<Node, ImportError> {
    if path.extension().is_some_and(|end| end.eq_ignore_ascii_case("toml")) {
        parse_toml(path, text)
    } else {
        parse_yaml(path, text)
    }
}

fn parse_yaml(path: &Path, text: &str) -> Result<Node, ImportError> {
    let mut faults = Vec::new();
    let parsed = yaml::parse(text, 0, &mut faults);
    let fault = match parsed {
        Ok(node) if faults.is_empty() => {
            return Ok(node.map(|node| from_yaml(&node)).unwrap_or_default());
        }
        Ok(_) => faults.into_iter().next(),
        Err(fault) => Some(fault),
    };
    let (line, message) = fault.map_or((1, String::new()), |it| (line(it.span), it.reason));
    Err(ImportError::new(path, line, message))
}

fn line(span: tidegate_config::Span) -> usize {
    usize::try_from(span.line).unwrap_or(1)
}

fn from_yaml(node: &yaml::Node) -> Node {
    let kind = match &node.kind {
        yaml::Kind::Scalar(scalar) => NodeKind::Scalar(scalar.text.clone()),
        yaml::Kind::Sequence(items) => NodeKind::List(items.iter().map(from_yaml).collect()),
        yaml::Kind::Mapping(entries) => {
            let entries = entries.iter().map(|(key, value)| MapEntry {
                key: key.text.clone(),
                line: line(key.span),
                value: from_yaml(value),
            });
            NodeKind::Map(entries.collect())
        }
    };
    Node { line: line(node.span), kind }
}

fn parse_toml(path: &Path, text: &str) -> Result<Node, ImportError> {
    let line_of = |at: usize| text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
    let parsed = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        ImportError::new(path, line_of(at), error.message())
    })?;
    Ok(Node { line: 1, kind: from_table(parsed.get_ref(), &line_of) })
}

fn from_table(table: &DeTable<'_>, line_of: &dyn Fn(usize) -> usize) -> NodeKind {
    let mut entries: Vec<MapEntry> = table
        .iter()
        .map(|(key, value)| MapEntry {
            key: key.get_ref().to_string(),
            line: line_of(key.span().start),
            value: Node {
                line: line_of(value.span().start),
                kind: from_toml(value.get_ref(), line_of),
            },
        })
        .collect();
    // Tables are sorted by name, files are not.
    entries.sort_by_key(|entry| entry.line);
    NodeKind::Map(entries)
}

fn from_toml(value: &DeValue<'_>, line_of: &dyn Fn(usize) -> usize) -> NodeKind {
    match value {
        DeValue::Table(table) => from_table(table, line_of),
        DeValue::Array(items) => {
            let items = items.iter().map(|item| Node {
                line: line_of(item.span().start),
                kind: from_toml(item.get_ref(), line_of),
            });
            NodeKind::List(items.collect())
        }
        DeValue::String(text) => NodeKind::Scalar(text.to_string()),
        DeValue::Integer(number) => NodeKind::Scalar(number.as_str().to_owned()),
        DeValue::Float(number) => NodeKind::Scalar(number.as_str().to_owned()),
        DeValue::Boolean(is) => NodeKind::Scalar(is.to_string()),
        DeValue::Datetime(time) => NodeKind::Scalar(time.to_string()),
    }
}
