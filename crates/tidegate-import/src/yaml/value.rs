//! Pieces of YAML and their layout: quoting, indentation, short values on one line. Knows nothing of drafts.

use crate::draft::Text;

/// A piece of YAML.
pub(super) enum Value {
    /// A scalar as it is written.
    Scalar(String),
    List(Vec<Value>),
    Map(Map),
}

#[derive(Default)]
pub(super) struct Map(Vec<(Vec<String>, String, Value)>);

impl Map {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn insert(&mut self, key: &str, value: Value) {
        self.0.push((Vec::new(), key.to_owned(), value));
    }

    pub(super) fn single_entry(key: &str, value: Value) -> Self {
        let mut map = Self::default();
        map.insert(key, value);
        map
    }
}

pub(super) fn text(text: &Text) -> Value {
    Value::Scalar(quoted(text.as_str()))
}

pub(super) fn literal(written: &str) -> Value {
    text(&Text::literal(written))
}

pub(super) fn plain(written: impl ToString) -> Value {
    Value::Scalar(written.to_string())
}

pub(super) fn literals(list: &[impl AsRef<str>]) -> Value {
    Value::List(list.iter().map(|item| literal(item.as_ref())).collect())
}

/// The scalar, in quotes where YAML would read it as something else than this text.
fn quoted(text: &str) -> String {
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._+".contains(&byte));
    let means_another = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
        .iter()
        .any(|word| word.eq_ignore_ascii_case(text));
    if is_word && !means_another {
        return text.to_owned();
    }
    let mut written = String::with_capacity(text.len() + 2);
    written.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => written.extend(['\\', character]),
            '\n' => written.push_str("\\n"),
            '\t' => written.push_str("\\t"),
            '\r' => written.push_str("\\r"),
            control if control.is_control() => {
                written.push_str(&format!("\\u{:04x}", u32::from(control)));
            }
            other => written.push(other),
        }
    }
    written.push('"');
    written
}

/// A key, in quotes where needed. `on` is no boolean in YAML 1.2, and is a key of the configuration.
fn quoted_key(key: &str) -> String {
    if key == "on" { key.to_owned() } else { quoted(key) }
}

/// Maximum length of a line with a mapping in braces, in characters.
const MAX_FLOW_LINE_CHARS: usize = 84;

impl Value {
    /// The value on one line; `None` if something in it has a comment.
    fn flow(&self) -> Option<String> {
        match self {
            Self::Scalar(scalar) => Some(scalar.clone()),
            Self::List(items) => {
                let items: Option<Vec<_>> = items.iter().map(Self::flow).collect();
                Some(format!("[{}]", items?.join(", ")))
            }
            Self::Map(map) => {
                let entries: Option<Vec<_>> = map.0.iter().map(Self::flow_entry).collect();
                Some(format!("{{{}}}", entries?.join(", ")))
            }
        }
    }

    fn flow_entry((comment, key, value): &(Vec<String>, String, Self)) -> Option<String> {
        comment
            .is_empty()
            .then(|| value.flow())?
            .map(|value| format!("{}: {value}", quoted_key(key)))
    }

    /// Whether it is a list that is easier to read with one item on each line.
    fn is_multiline(&self) -> bool {
        match self {
            Self::List(items) => items.iter().any(|item| matches!(item, Self::Map(_))),
            _ => false,
        }
    }
}

pub(super) fn write_map(out: &mut String, map: &Map, indent: usize, mut is_first: bool) {
    for (comment, key, value) in &map.0 {
        for line in comment {
            push_indent(out, indent, is_first);
            is_first = false;
            out.push_str(&format!("# {line}\n"));
        }
        push_indent(out, indent, is_first);
        is_first = false;
        write_entry(out, key, value, indent);
    }
}

fn push_indent(out: &mut String, indent: usize, is_first: bool) {
    if !is_first {
        out.extend(std::iter::repeat_n(' ', indent));
    }
}

pub(super) fn write_entry(out: &mut String, key: &str, value: &Value, indent: usize) {
    out.push_str(&format!("{}:", quoted_key(key)));
    let one_line =
        value.flow().filter(|line| indent + key.len() + line.len() < MAX_FLOW_LINE_CHARS);
    match (one_line.filter(|_| !value.is_multiline()), value) {
        (Some(line), _) => out.push_str(&format!(" {line}\n")),
        (None, Value::Scalar(scalar)) => out.push_str(&format!(" {scalar}\n")),
        (None, Value::Map(map)) => {
            out.push('\n');
            write_map(out, map, indent + 2, false);
        }
        (None, Value::List(items)) => {
            out.push('\n');
            for item in items {
                write_item(out, item, indent + 2);
            }
        }
    }
}

fn write_item(out: &mut String, item: &Value, indent: usize) {
    push_indent(out, indent, false);
    out.push_str("- ");
    let one_line = item.flow().filter(|line| indent + line.len() < MAX_FLOW_LINE_CHARS);
    match (item, one_line) {
        (_, Some(line)) => out.push_str(&format!("{line}\n")),
        (Value::Map(map), None) => write_map(out, map, indent + 2, true),
        (Value::Scalar(scalar), None) => out.push_str(&format!("{scalar}\n")),
        (Value::List(_), None) => out.push_str("[]\n"),
    }
}

pub(super) fn pairs_map(pairs: &[(String, String)]) -> Value {
    let mut map = Map::default();
    for (key, value) in pairs {
        map.insert(key, literal(value));
    }
    Value::Map(map)
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn text_that_yaml_reads_otherwise_is_quoted() {
        for word in ["api", "/api/v1", "a.b-c_d", "least_requests"] {
            assert_eq!(quoted(word), word);
        }
        for text in ["on", "No", "", "1", "127.0.0.1:80", "*.a", "{x}", "a b", "~", "a:b", "a#b"] {
            assert_eq!(quoted(text), format!("\"{text}\""));
        }
        assert_eq!(quoted("say \"a\\b\"\n"), r#""say \"a\\b\"\n""#);
    }
}
