//! One YAML text as the trees of both parsers, and where these differ. Knows nothing of files.

use std::collections::{BTreeMap, BTreeSet};
use tidegate_config::{CoreValue, Kind, Node};

/// What both readings are brought to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tree {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Tree>),
    Mapping(BTreeMap<String, Tree>),
}

/// Where the two differ, by the name that docs/yaml.md has for it.
pub(crate) type Differences = BTreeSet<&'static str>;

pub(crate) fn ours(node: &Node) -> Tree {
    match &node.kind {
        Kind::Sequence(items) => Tree::List(items.iter().map(ours).collect()),
        Kind::Mapping(entries) => Tree::Mapping(
            entries.iter().map(|(key, value)| (key.text.clone(), ours(value))).collect(),
        ),
        Kind::Scalar(scalar) => match scalar.resolve() {
            CoreValue::Null => Tree::Null,
            CoreValue::Bool(is) => Tree::Bool(is),
            CoreValue::Integer(number) => Tree::Integer(number),
            CoreValue::Float(number) => Tree::Float(number),
            CoreValue::String => Tree::Text(scalar.text.clone()),
        },
    }
}

fn theirs(value: &serde_yaml::Value, found: &mut Differences) -> Tree {
    use serde_yaml::Value;
    match value {
        Value::Null => Tree::Null,
        Value::Bool(is) => Tree::Bool(*is),
        Value::String(text) => Tree::Text(text.clone()),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => Tree::Integer(integer),
            None => Tree::Float(number.as_f64().expect("a number")),
        },
        Value::Sequence(items) => Tree::List(items.iter().map(|it| theirs(it, found)).collect()),
        Value::Mapping(entries) => {
            let mut mapping = BTreeMap::new();
            for (key, value) in entries {
                let key = match key {
                    Value::String(text) => text.clone(),
                    Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => {
                        found.insert("keys that are no words");
                        continue;
                    }
                    // Ours keeps the key as it is written.
                    other => {
                        found.insert("keys are text");
                        serde_yaml::to_string(other).expect("a scalar").trim_end().to_owned()
                    }
                };
                mapping.insert(key, theirs(value, found));
            }
            Tree::Mapping(mapping)
        }
        Value::Tagged(tagged) => {
            found.insert("tags");
            theirs(&tagged.value, found)
        }
    }
}

/// Why our reading of a value may be another, if there is a listed reason.
fn reason(ours: &Tree, theirs: &Tree) -> Option<&'static str> {
    match (ours, theirs) {
        (Tree::Integer(number), Tree::Text(text)) if text.parse() == Ok(*number) => {
            Some("leading zeros")
        }
        (Tree::Float(number), Tree::Text(text)) if text.parse() == Ok(*number) => {
            Some("leading zeros")
        }
        (Tree::Text(text), Tree::Integer(_)) if text.contains("0b") => Some("binary numbers"),
        (Tree::Text(text), Tree::Integer(_) | Tree::Float(_))
            if text.contains("0x") || text.contains("0o") =>
        {
            Some("signs and size of hexadecimal and octal numbers")
        }
        (Tree::Text(text), Tree::Mapping(_)) if text.starts_with('?') => {
            Some("question marks in brackets")
        }
        (Tree::Text(text), Tree::Float(_))
            if matches!(&*text.trim_start_matches(['+', '-']).to_lowercase(), ".inf" | ".nan") =>
        {
            Some("infinity and not-a-number")
        }
        _ => None,
    }
}

/// Compares, and notes the listed differences; where there is another one, its path.
fn compare(ours: &Tree, theirs: &Tree, path: &str, found: &mut Differences) -> Result<(), String> {
    match (ours, theirs) {
        (Tree::List(mine), Tree::List(its)) if mine.len() == its.len() => {
            for (index, (mine, its)) in mine.iter().zip(its).enumerate() {
                compare(mine, its, &format!("{path}[{index}]"), found)?;
            }
            Ok(())
        }
        (Tree::Mapping(mine), Tree::Mapping(its)) if mine.len() == its.len() => {
            for ((key, mine), (its_key, its)) in mine.iter().zip(its) {
                // Numbers as keys are written in many ways.
                if key != its_key && !found.contains("keys are text") {
                    return Err(format!("{path}: the key {key:?}, and {its_key:?}"));
                }
                compare(mine, its, &format!("{path}.{key}"), found)?;
            }
            Ok(())
        }
        _ if ours == theirs => Ok(()),
        _ => match reason(ours, theirs) {
            Some(reason) => {
                found.insert(reason);
                Ok(())
            }
            None => Err(format!("{path}: {ours:?}, and {theirs:?}")),
        },
    }
}

/// Reads a text both ways.
pub(crate) fn differences(text: &str) -> Result<Differences, String> {
    let mut found = Differences::new();
    let mine = tidegate_config::yaml::parse(text, 0, &mut Vec::new());
    let its = serde_yaml::from_str::<serde_yaml::Value>(text);
    match (mine, its) {
        (Ok(mine), Ok(its)) => {
            let mine = mine.as_ref().map_or(Tree::Null, ours);
            let its = theirs(&its, &mut found);
            compare(&mine, &its, "", &mut found).map(|()| found)
        }
        (Err(_), Err(_)) => Ok(found),
        (Err(fault), Ok(_)) if fault.reason.starts_with("merge keys") => {
            Ok(Differences::from(["merge keys"]))
        }
        (Err(fault), Ok(_)) if fault.reason.starts_with("a key must be") => {
            Ok(Differences::from(["keys that are no words"]))
        }
        (Err(fault), Ok(_)) if fault.reason.ends_with("invalid indentation in quoted scalar") => {
            Ok(Differences::from(["indent of quoted text"]))
        }
        (Err(fault), Ok(_))
            if fault.reason.ends_with(": invalid indentation")
                && text.lines().any(|line| line.trim_start().starts_with([']', '}'])) =>
        {
            Ok(Differences::from(["indent of closing brackets"]))
        }
        (Err(fault), Ok(_)) => Err(format!("refused by ours alone: {}", fault.reason)),
        (Ok(_), Err(error)) if listed_refusal(&error.to_string()).is_some() => {
            Ok(listed_refusal(&error.to_string()).into_iter().collect())
        }
        (Ok(_), Err(error)) => Err(format!("refused by serde_yaml alone: {error}")),
    }
}

/// Why serde_yaml alone refuses a text, if there is a listed reason.
fn listed_refusal(error: &str) -> Option<&'static str> {
    const REASONS: [(&str, &str); 7] = [
        ("duplicate entry", "duplicate keys"),
        ("as i128", "numbers beyond 64 bits"),
        ("as u128", "numbers beyond 64 bits"),
        ("while parsing a flow node", "colons in brackets"),
        ("found unexpected ':'", "colons in brackets"),
        ("found character that cannot start any token", "block marks in brackets"),
        ("while scanning a tag", "tags"),
    ];
    REASONS.iter().find(|(words, _)| error.contains(words)).map(|(_, reason)| *reason)
}
