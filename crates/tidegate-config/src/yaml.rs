//! Parses YAML 1.2 into a tree with positions, without recursion and within limits. Knows no key.

use super::diagnostics::NOT_YAML;
use super::values::Span;
use saphyr_parser::{Event, Parser, ScalarStyle};
use std::collections::HashMap;

/// Maximum depth of nesting. A configuration has about six levels.
const MAX_NESTING_LEVELS: usize = 64;

/// Maximum number of nodes of a file, including those that aliases repeat.
const MAX_NODES: usize = 400_000;

/// Maximum size of all scalars together, in bytes, including those that aliases repeat.
const MAX_SCALAR_BYTES: usize = 8 * 1024 * 1024;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub struct Node {
    /// File, line and column of its first character.
    pub span: Span,
    /// The value itself.
    pub kind: Kind,
}

/// The three kinds of YAML values (YAML 1.2, section 3.2.1.1).
#[derive(Debug, Clone)]
pub enum Kind {
    /// A string, a number, a boolean, or nothing.
    Scalar(Scalar),
    /// A list.
    Sequence(Vec<Node>),
    /// Keys and values, in the order of the file.
    Mapping(Vec<(Key, Node)>),
}

/// The key of a mapping and where it stands.
#[derive(Debug, Clone)]
pub struct Key {
    /// The key, without quotes.
    pub text: String,
    /// File, line and column of its first character.
    pub span: Span,
}

/// A scalar as written: what it means depends on what is expected.
#[derive(Debug, Clone)]
pub struct Scalar {
    /// The value without quotes, with variables replaced.
    pub text: String,
    /// Without quotes: it may be a number, a boolean, nothing.
    pub is_plain: bool,
    /// What was written, where that names variables: the text may be secret, and must not be shown.
    pub unexpanded: Option<Box<str>>,
    /// It has a problem that has been told already.
    pub is_broken: bool,
}

/// What a plain scalar is by YAML's core schema.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CoreValue {
    /// Nothing: an empty value, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number, decimal, hexadecimal or octal.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// Everything else, and whatever is quoted.
    String,
}

impl Scalar {
    /// The value by the core schema (YAML 1.2, section 10.3).
    pub fn resolve(&self) -> CoreValue {
        if !self.is_plain {
            return CoreValue::String;
        }
        match self.text.as_str() {
            "" | "~" | "null" | "Null" | "NULL" => return CoreValue::Null,
            "true" | "True" | "TRUE" => return CoreValue::Bool(true),
            "false" | "False" | "FALSE" => return CoreValue::Bool(false),
            _ => {}
        }
        let integer = match self.text.get(..2) {
            Some("0x") => i64::from_str_radix(self.text.get(2..).unwrap_or_default(), 16).ok(),
            Some("0o") => i64::from_str_radix(self.text.get(2..).unwrap_or_default(), 8).ok(),
            _ => self.text.parse().ok(),
        };
        if let Some(integer) = integer {
            return CoreValue::Integer(integer);
        }
        let looks_numeric = self.text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
        match self.text.parse() {
            Ok(float) if looks_numeric => CoreValue::Float(float),
            _ => CoreValue::String,
        }
    }

    /// Whether it is made of variables of the environment.
    pub fn is_expanded(&self) -> bool {
        self.unexpanded.is_some()
    }

    /// The value for a message; what came out of a variable stays secret.
    pub fn display_value(&self) -> String {
        if self.is_expanded() {
            return "the variable's value".to_owned();
        }
        let mut shown: String = self.text.chars().take(60).collect();
        if shown.len() < self.text.len() {
            shown.push('…');
        }
        format!("`{}`", shown.escape_debug())
    }
}

impl Node {
    /// The name of its kind, for messages.
    pub fn kind_name(&self) -> &'static str {
        match &self.kind {
            Kind::Sequence(_) => "a list",
            Kind::Mapping(_) => "a mapping",
            Kind::Scalar(scalar) => match scalar.resolve() {
                CoreValue::Null => "nothing",
                CoreValue::Bool(_) => "a boolean",
                CoreValue::Integer(_) | CoreValue::Float(_) => "a number",
                CoreValue::String => "a string",
            },
        }
    }

    /// Whether the value is nothing: empty, `~` or `null`.
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar(scalar) if scalar.resolve() == CoreValue::Null)
    }

    /// The value of this key; `None` where it is missing, or this is no mapping.
    pub fn get(&self, name: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Mapping(entries) => {
                entries.iter().find(|(key, _)| key.text == name).map(|(_, node)| node)
            }
            _ => None,
        }
    }
}

/// An error in the YAML syntax of a file.
pub struct YamlError {
    /// Where the parser stopped.
    pub span: Span,
    /// Why, in the words of the message.
    pub reason: String,
}

impl YamlError {
    fn new(span: Span, reason: impl Into<String>) -> Self {
        Self { span, reason: reason.into() }
    }
}

/// The tree of a text that may not be sound.
pub fn parse_tree(text: &str) -> Option<Node> {
    parse(text, 0, &mut Vec::new()).ok().flatten()
}

/// Reads one document. Duplicate keys are noted in `faults` and their first value kept; what
/// can't be read on from is the error.
pub fn parse(
    text: &str,
    file: u16,
    faults: &mut Vec<YamlError>,
) -> Result<Option<Node>, YamlError> {
    let mut builder = TreeBuilder {
        file,
        size: NodeSize::default(),
        stack: Vec::new(),
        anchors: HashMap::new(),
        root: None,
    };
    let mut documents = 0;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let at = builder.span(error.marker());
            YamlError::new(at, format!("{NOT_YAML}: {}", error.info()))
        })?;
        let span = builder.span(&span.start);
        match event {
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    return Err(YamlError::new(
                        span,
                        "a configuration file must contain only one YAML \
                         document; a second one starts here",
                    ));
                }
            }
            Event::Scalar(text, style, anchor, _) => {
                let scalar = Scalar {
                    text: text.into_owned(),
                    is_plain: style == ScalarStyle::Plain,
                    unexpanded: None,
                    is_broken: false,
                };
                let length = scalar.text.len();
                builder.scalar(
                    Node { span, kind: Kind::Scalar(scalar) },
                    length,
                    anchor,
                    faults,
                )?;
            }
            Event::SequenceStart(anchor, _) => {
                builder.open_collection(Kind::Sequence(Vec::new()), span, anchor)?;
            }
            Event::MappingStart(anchor, _) => {
                builder.open_collection(Kind::Mapping(Vec::new()), span, anchor)?;
            }
            Event::SequenceEnd | Event::MappingEnd => builder.close(faults)?,
            Event::Alias(anchor) => {
                let Some((node, size)) = builder.anchors.get(&anchor) else {
                    return Err(YamlError::new(
                        span,
                        "this alias (`*name`) is inside the value that it refers to",
                    ));
                };
                // Counted before it is copied.
                builder.size.add(*size, builder.stack.len(), span)?;
                let (node, depth) = (Node { span, ..node.clone() }, size.depth);
                if let Some(around) = builder.stack.last_mut() {
                    around.depth = around.depth.max(depth + 1);
                }
                builder.add_node(node, faults)?;
            }
            _ => {}
        }
    }
    Ok(builder.root)
}

/// How large a tree is.
#[derive(Debug, Clone, Copy, Default)]
struct NodeSize {
    nodes: usize,
    text: usize,
    depth: usize,
}

impl NodeSize {
    /// Takes more in at this level, unless that is too much.
    fn add(&mut self, more: Self, level: usize, span: Span) -> Result<(), YamlError> {
        self.nodes += more.nodes;
        self.text += more.text;
        if self.nodes > MAX_NODES {
            let reason = format!(
                "the configuration has more than {MAX_NODES} values; each use of an \
                 alias counts"
            );
            return Err(YamlError::new(span, reason));
        }
        if self.text > MAX_SCALAR_BYTES {
            let reason = format!(
                "the text of all values is larger than {} MiB; each use of an alias \
                 counts",
                MAX_SCALAR_BYTES / 1024 / 1024
            );
            return Err(YamlError::new(span, reason));
        }
        if level + more.depth > MAX_NESTING_LEVELS {
            return Err(YamlError::new(
                span,
                format!("values are nested deeper than {MAX_NESTING_LEVELS} levels"),
            ));
        }
        Ok(())
    }
}

struct TreeBuilder {
    file: u16,
    size: NodeSize,
    stack: Vec<OpenCollection>,
    anchors: HashMap<usize, (Node, NodeSize)>,
    root: Option<Node>,
}

struct OpenCollection {
    node: Node,
    anchor: usize,
    size_before: NodeSize,
    /// Levels below this one.
    depth: usize,
    /// The key that waits for its value.
    key: Option<Key>,
    keys: HashMap<String, Span>,
}

impl TreeBuilder {
    fn span(&self, marker: &saphyr_parser::Marker) -> Span {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Span { file: self.file, line: number(marker.line()), column: number(marker.col() + 1) }
    }

    fn open_collection(&mut self, kind: Kind, span: Span, anchor: usize) -> Result<(), YamlError> {
        let size_before = self.size;
        self.size.add(NodeSize { nodes: 1, text: 0, depth: 1 }, self.stack.len(), span)?;
        self.stack.push(OpenCollection {
            node: Node { span, kind },
            anchor,
            size_before,
            depth: 1,
            key: None,
            keys: HashMap::new(),
        });
        Ok(())
    }

    fn close(&mut self, faults: &mut Vec<YamlError>) -> Result<(), YamlError> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        if let Some(around) = self.stack.last_mut() {
            around.depth = around.depth.max(frame.depth + 1);
        }
        if frame.anchor > 0 {
            let size = NodeSize {
                nodes: self.size.nodes - frame.size_before.nodes,
                text: self.size.text - frame.size_before.text,
                depth: frame.depth,
            };
            self.store_anchor(frame.anchor, &frame.node, size)?;
        }
        self.add_node(frame.node, faults)
    }

    fn scalar(
        &mut self,
        node: Node,
        length: usize,
        anchor: usize,
        faults: &mut Vec<YamlError>,
    ) -> Result<(), YamlError> {
        let size = NodeSize { nodes: 1, text: length, depth: 0 };
        self.size.add(size, self.stack.len(), node.span)?;
        if anchor > 0 {
            self.store_anchor(anchor, &node, size)?;
        }
        self.add_node(node, faults)
    }

    /// Keeps a copy for aliases, which counts as well.
    fn store_anchor(
        &mut self,
        anchor: usize,
        node: &Node,
        size: NodeSize,
    ) -> Result<(), YamlError> {
        self.size.add(NodeSize { depth: 0, ..size }, 0, node.span)?;
        self.anchors.insert(anchor, (node.clone(), size));
        Ok(())
    }

    fn add_node(&mut self, node: Node, faults: &mut Vec<YamlError>) -> Result<(), YamlError> {
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut frame.node.kind {
            Kind::Sequence(items) => items.push(node),
            Kind::Mapping(entries) => match frame.key.take() {
                None => {
                    let Kind::Scalar(Scalar { text, .. }) = node.kind else {
                        return Err(YamlError::new(
                            node.span,
                            "a key must be a word, not a list or a mapping",
                        ));
                    };
                    if text == "<<" {
                        let reason = "merge keys (`<<`) are not part of YAML 1.2; use an alias for \
                                      the whole value";
                        return Err(YamlError::new(node.span, reason));
                    }
                    frame.key = Some(Key { text, span: node.span });
                }
                Some(key) => match frame.keys.insert(key.text.clone(), key.span) {
                    None => entries.push((key, node)),
                    Some(first) => {
                        let reason = format!(
                            "duplicate key `{}`; its first value is in line {}",
                            key.text, first.line
                        );
                        faults.push(YamlError::new(key.span, reason));
                        frame.keys.insert(key.text, first);
                    }
                },
            },
            Kind::Scalar(_) => {}
        }
        Ok(())
    }
}
