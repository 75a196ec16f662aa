//! The same YAML, read by our parser and by serde_yaml: the trees are the same, or the difference is one that
//! docs/yaml.md lists with its reason.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use tidegate_config::{CoreValue, Kind, Node, parse_tree};

/// What both readings are brought to.
#[derive(Debug, Clone, PartialEq)]
enum Tree {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Tree>),
    Mapping(BTreeMap<String, Tree>),
}

/// Where the two differ, by the name that docs/yaml.md has for it.
type Differences = BTreeSet<&'static str>;

fn ours(node: &Node) -> Tree {
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
fn differences(text: &str) -> Result<Differences, String> {
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

/// The root of the repository.
fn base() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// All files below a folder whose names end so.
fn files(folder: &Path, end: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, end, found);
        } else if path.to_string_lossy().ends_with(end) {
            found.push(path);
        }
    }
}

fn holds(texts: &[(String, String)]) -> Differences {
    let mut all = Differences::new();
    let mut faults = Vec::new();
    for (name, text) in texts {
        match differences(text) {
            Ok(found) => all.extend(found),
            Err(fault) => faults.push(format!("{name}: {fault}\n{text}\n")),
        }
    }
    let count = faults.len();
    faults.truncate(20);
    assert!(faults.is_empty(), "{count} of {}:\n{}", texts.len(), faults.join("\n"));
    all
}

#[test]
fn examples_are_read_as_by_serde_yaml() {
    let mut paths = Vec::new();
    for folder in ["conf", "examples"] {
        files(&base().join(folder), ".yaml", &mut paths);
    }
    let read =
        |path: &PathBuf| Some((path.display().to_string(), std::fs::read_to_string(path).ok()?));
    // Templates, and files of several documents, are not for us.
    let is_config = |(_, text): &(String, String)| !text.contains("{{ ") && !text.contains("\n---");
    let texts: Vec<_> = paths.iter().filter_map(read).filter(is_config).collect();
    assert!(texts.len() > 25, "{}", texts.len());
    let found = holds(&texts);
    assert!(found.iter().all(|it| *it == "keys are text"), "{found:?}");
}

#[test]
fn configurations_in_documents_are_read_as_by_serde_yaml() {
    let mut paths = vec![base().join("README.md")];
    files(&base().join("docs"), ".md", &mut paths);
    let mut texts = Vec::new();
    for path in paths {
        let page = std::fs::read_to_string(&path).expect("a page");
        for block in page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            texts.push((path.display().to_string(), block.to_owned()));
        }
    }
    assert!(texts.len() > 10, "{}", texts.len());
    holds(&texts);
}

/// The string literals of Rust sources that have several lines with keys.
#[test]
fn configurations_in_tests_are_read_as_by_serde_yaml() {
    let mut paths = Vec::new();
    for folder in ["tests", "src", "crates"] {
        files(&base().join(folder), ".rs", &mut paths);
    }
    let mut texts = Vec::new();
    for path in paths {
        if path.ends_with("yaml_oracle.rs") {
            continue;
        }
        let source = std::fs::read_to_string(&path).expect("a source");
        let mut rest = source.as_str();
        while let Some(at) = rest.find('"') {
            let hashes = rest[..at].bytes().rev().take_while(|byte| *byte == b'#').count();
            let is_raw = rest[..at - hashes].ends_with('r');
            let (body, length) = literal(&rest[at + 1..], is_raw, hashes);
            if body.lines().filter(|line| line.contains(": ") || line.ends_with(':')).count() > 1
                && ["listeners:", "routes:", "upstreams:"].iter().any(|key| body.contains(key))
            {
                // What `format!` puts in stands for a word.
                texts
                    .push((path.display().to_string(), body.replace("{{", "{").replace("}}", "}")));
            }
            rest = &rest[at + 1 + length..];
        }
    }
    assert!(texts.len() > 50, "{}", texts.len());
    holds(&texts);
}

/// What a string literal says, and how long it is after its opening quote.
fn literal(rest: &str, is_raw: bool, hashes: usize) -> (String, usize) {
    if is_raw {
        let end = format!("\"{}", "#".repeat(hashes));
        let length = rest.find(&end).unwrap_or(rest.len());
        return (rest[..length].to_owned(), (length + end.len()).min(rest.len()));
    }
    let (mut text, mut chars) = (String::new(), rest.char_indices().peekable());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (text, at + 1),
            '\\' => match chars.next().map(|(_, c)| c) {
                Some('n') => text.push('\n'),
                Some('\n') => while chars.next_if(|(_, c)| c.is_whitespace()).is_some() {},
                Some(c) => text.push(c),
                None => {}
            },
            c => text.push(c),
        }
    }
    (text, rest.len())
}

/// Numbers that look random and are the same each time (xorshift64*).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(number).unwrap() % sides
    }

    fn one_of<'t>(&mut self, items: &[&'t str]) -> &'t str {
        items[self.roll(items.len())]
    }
}

/// Words that YAML 1.1 or 1.2, or one of their parsers, gives a meaning to, and others.
const WORDS: &[&str] = &[
    "on",
    "off",
    "yes",
    "no",
    "y",
    "n",
    "On",
    "OFF",
    "true",
    "false",
    "True",
    "FALSE",
    "tRue",
    "null",
    "Null",
    "~",
    "",
    "0",
    "7",
    "-7",
    "+7",
    "007",
    "0x1F",
    "0X1F",
    "-0x1F",
    "0o17",
    "017",
    "0b101",
    "1_000",
    "1:30",
    "190:20:30",
    "1.5",
    "-1.5",
    "+1.5",
    ".5",
    "5.",
    "1e3",
    "1E-3",
    "1.e+3",
    "00.5",
    ".inf",
    "-.Inf",
    ".nan",
    ".NaN",
    "inf",
    "nan",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775809",
    "0xFFFFFFFFFFFFFFFF",
    "2001-12-14",
    "10s",
    "1MiB",
    "127.0.0.1:3000",
    "::1",
    "[::1]:80",
    "/api",
    "*.example.com",
    "a b",
    "a#b",
    "a: b",
    "a:b",
    "- a",
    "-a",
    "?a",
    ":a",
    "a,b",
    "a]b",
    "{x}",
    "${NAME}",
    "$$",
    "%a",
    "@a",
    "`a`",
    "!a",
    "&a",
    "|",
    ">",
    "'",
    "\"",
    "it's",
    "é",
    "日本",
    "a\u{a0}b",
    "=",
    "<",
    "a  b",
];

/// A document, in some of the many ways that YAML has to write one.
fn document(dice: &mut Dice) -> String {
    let mut text = String::new();
    if dice.roll(8) == 0 {
        text.push_str(dice.one_of(&["---\n", "%YAML 1.2\n---\n", "# about this\n", "\n"]));
    }
    let mut anchors = 0;
    block(dice, 0, 0, &mut anchors, &mut text);
    if dice.roll(10) == 0 {
        text.push_str("...\n");
    }
    text
}

/// A mapping or a list over several lines.
fn block(dice: &mut Dice, indent: usize, depth: usize, anchors: &mut usize, text: &mut String) {
    let is_list = dice.roll(3) == 0;
    for index in 0..1 + dice.roll(4) {
        text.push_str(&" ".repeat(indent));
        if is_list {
            text.push('-');
        } else {
            let key = format!("k{index}");
            text.push_str(&match dice.roll(12) {
                0 => format!("\"{key}\""),
                1 => format!("'{key}'"),
                2 => format!("{key}{}", dice.one_of(&["-", "_x", ".y", "/z", " w"])),
                3 if index == 0 => dice
                    .one_of(&["on", "off", "7", "0x1F", "null", "<<", "true", "1.5", "~"])
                    .to_owned(),
                4 if dice.roll(20) == 0 => "k0".to_owned(),
                _ => key,
            });
            text.push(':');
        }
        if depth < 4 && dice.roll(3) == 0 {
            if dice.roll(6) == 0 {
                *anchors += 1;
                text.push_str(&format!(" &a{anchors}"));
            }
            text.push_str(dice.one_of(&["\n", "\n", " # about it\n", "\n\n", "   \n"]));
            let deeper = indent + 1 + dice.roll(4);
            block(dice, deeper, depth + 1, anchors, text);
        } else {
            text.push(' ');
            value(dice, indent, depth, anchors, text);
        }
    }
}

/// A value that begins on the line of its key, with the end of the line.
fn value(dice: &mut Dice, indent: usize, depth: usize, anchors: &mut usize, text: &mut String) {
    match dice.roll(14) {
        0 if *anchors > 0 => {
            let which = 1 + dice.roll(*anchors);
            text.push_str(&format!("*a{which}"));
        }
        1 => {
            *anchors += 1;
            text.push_str(&format!("&a{anchors} "));
            text.push_str(&quoted(dice));
        }
        2 | 3 => return block_scalar(dice, indent, text),
        4 | 5 => flow(dice, depth, text),
        6 => {
            // A plain or quoted scalar that goes on in the next line.
            let quote = dice.one_of(&["", "'", "\""]);
            let pad = " ".repeat(indent + 1 + dice.roll(3));
            let gap = dice.one_of(&["\n", "\n\n", "  \n"]);
            text.push_str(&format!("{quote}first{gap}{pad}second word{quote}"));
        }
        7 if dice.roll(6) == 0 => {
            text.push_str(dice.one_of(&["!!str 7", "!!int 7", "!own x", "!!bool true", "! 7"]))
        }
        8 | 9 => text.push_str(&quoted(dice)),
        _ => text.push_str(dice.one_of(WORDS)),
    }
    text.push_str(dice.one_of(&["\n", "\n", "\n", " # about it\n", "  \n", "\n\n", "\r\n"]));
}

fn quoted(dice: &mut Dice) -> String {
    let word = dice.one_of(WORDS);
    match dice.roll(4) {
        0 => format!("'{}'", word.replace('\'', "''")),
        1 => format!("\"{}\"", word.replace('"', "\\\"")),
        2 => format!(
            "\"{}\"",
            dice.one_of(&[
                "\\n",
                "\\t",
                "\\x41",
                "\\u00e9",
                "\\U0001F600",
                "\\0",
                "\\e",
                "\\_",
                "\\N",
                "\\L",
                "\\/",
                "\\ x",
                "\\\\",
                "\\q",
                "a\\\n  b",
                "tab\there",
            ])
        ),
        _ => word.to_owned(),
    }
}

/// `|` and `>` with their marks.
fn block_scalar(dice: &mut Dice, indent: usize, text: &mut String) {
    let extra = 1 + dice.roll(3);
    let pad = " ".repeat(indent + extra);
    text.push_str(dice.one_of(&["|", ">"]));
    let marks = [
        String::new(),
        String::new(),
        "-".to_owned(),
        "+".to_owned(),
        format!("{extra}"),
        format!("{extra}-"),
        format!("+{extra}"),
    ];
    // The top of a document has no indent of its own to count from.
    let most = if indent == 0 { 4 } else { marks.len() };
    text.push_str(&marks[dice.roll(most)]);
    text.push_str(dice.one_of(&["\n", " # about it\n", " \n"]));
    for _ in 0..dice.roll(5) {
        match dice.roll(6) {
            0 => text.push('\n'),
            1 => text.push_str(&format!("{pad}  more: indented\n")),
            2 => text.push_str(&format!("{pad}# no comment\n")),
            3 => text.push_str(&format!("{pad}trailing  \n")),
            _ => text.push_str(&format!("{pad}line of text\n")),
        }
    }
}

/// A list or mapping in brackets.
fn flow(dice: &mut Dice, depth: usize, text: &mut String) {
    let is_list = dice.roll(2) == 0;
    text.push(if is_list { '[' } else { '{' });
    let count = dice.roll(4);
    for index in 0..count {
        if index > 0 {
            text.push_str(dice.one_of(&[", ", ",", " , "]));
        }
        if !is_list {
            text.push_str(&match dice.roll(4) {
                0 => format!("\"f{index}\": "),
                1 => format!("\"f{index}\":"),
                _ => format!("f{index}: "),
            });
        }
        if depth < 4 && dice.roll(4) == 0 {
            flow(dice, depth + 1, text);
        } else {
            text.push_str(&quoted(dice));
        }
    }
    if count > 0 && dice.roll(5) == 0 {
        text.push(',');
    }
    text.push(if is_list { ']' } else { '}' });
}

#[test]
fn ten_thousand_documents_are_read_as_by_serde_yaml() {
    let mut dice = Dice(0x7469_6465_6761_7465);
    let texts: Vec<_> =
        (0..10_000).map(|number| (format!("document {number}"), document(&mut dice))).collect();
    let sound = texts.iter().filter(|(_, text)| parse_tree(text).is_some()).count();
    assert!(sound > 3_000, "{sound}");
    let found = holds(&texts);
    println!("{sound} sound, {found:?}");
}

/// What `format_yaml` refuses to lay out, as docs/yaml.md lists it.
fn is_not_laid_out(text: &str) -> bool {
    let has_indent_mark = text.split(['|', '>']).skip(1).any(|after| {
        after.trim_start_matches(['+', '-']).starts_with(|c: char| c.is_ascii_digit())
    });
    let has_mark_in_brackets = text.lines().any(|line| {
        line.contains(['[', '{'])
            && ["|", ">"].iter().any(|mark| {
                line.split([',', '[', '{', ']', '}', ':']).any(|word| word.trim() == *mark)
            })
    });
    let has_empty_anchor = text.lines().any(|line| {
        line.split_whitespace().last().is_some_and(|word| word.starts_with('&'))
            || line.contains("&a # ")
    });
    has_indent_mark || has_mark_in_brackets || has_empty_anchor || text.contains('!')
}

/// Comments of many lengths at the ends of the lines that have one already, so that some lines are too long.
fn with_long_comments(dice: &mut Dice, text: &str) -> String {
    let parts: Vec<&str> = text.split("# about it").collect();
    let mut long = String::new();
    for (index, part) in parts.iter().enumerate() {
        long.push_str(part);
        if index + 1 < parts.len() {
            long.push_str(&format!("# {}", "c".repeat(dice.roll(120))));
        }
    }
    long
}

/// Lays sound texts out: they say the same, and a second time changes nothing.
fn stay_the_same_when_laid_out(texts: &[String]) -> usize {
    let (mut count, mut faults) = (0, Vec::new());
    for text in texts {
        let Some(before) = parse_tree(text) else { continue };
        match tidegate_config::format_yaml(text) {
            Err(_) if is_not_laid_out(text) => {}
            Err(why) => faults.push(format!("{why}\n{text}")),
            Ok(laid_out) => {
                count += 1;
                let after = parse_tree(&laid_out).as_ref().map(ours);
                if after != Some(ours(&before)) {
                    faults.push(format!("it says something else\n{text}\nlaid out:\n{laid_out}"));
                } else if tidegate_config::format_yaml(&laid_out).as_ref() != Ok(&laid_out) {
                    faults.push(format!("it is not stable\n{text}\nlaid out:\n{laid_out}"));
                }
            }
        }
    }
    let number = faults.len();
    faults.truncate(10);
    assert!(faults.is_empty(), "{number} of {}:\n{}", texts.len(), faults.join("\n"));
    count
}

#[test]
fn examples_say_the_same_when_they_are_laid_out() {
    let mut paths = Vec::new();
    for folder in ["conf", "examples"] {
        files(&base().join(folder), ".yaml", &mut paths);
    }
    let texts: Vec<String> = paths
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .filter(|text| !text.contains("{{ ") && !text.contains("\n---"))
        .collect();
    let count = stay_the_same_when_laid_out(&texts);
    assert!(count > 25, "{count}");
}

#[test]
fn ten_thousand_documents_say_the_same_when_they_are_laid_out() {
    let mut dice = Dice(0x7469_6465_6761_7465);
    let mut texts: Vec<String> = (0..10_000).map(|_| document(&mut dice)).collect();
    for index in (0..texts.len()).step_by(2) {
        texts[index] = with_long_comments(&mut dice, &texts[index]);
    }
    let count = stay_the_same_when_laid_out(&texts);
    assert!(count > 3_000, "{count}");
}

/// Each difference that this file knows, with a document that shows it.
const KNOWN: &[(&str, &str)] = &[
    ("merge keys", "a: &a {b: 1}\nc:\n  <<: *a\n"),
    ("duplicate keys", "a: 1\na: 2\n"),
    ("keys are text", "7: a\n"),
    ("keys that are no words", "? [a, b]\n: c\n"),
    ("tags", "a: !own b\n"),
    ("leading zeros", "a: 007\n"),
    ("binary numbers", "a: 0b101\n"),
    ("signs and size of hexadecimal and octal numbers", "a: -0x1F\n"),
    ("infinity and not-a-number", "a: .inf\n"),
    ("numbers beyond 64 bits", "a: 18446744073709551616\n"),
    ("indent of quoted text", "- a: \"b\\\n  c\"\n"),
    ("indent of closing brackets", "a: [\n  \"b\",\n]\n"),
    ("colons in brackets", "a: [::1]\n"),
    ("question marks in brackets", "a: [?b]\n"),
    ("block marks in brackets", "a: [|]\n"),
];

#[test]
fn known_differences_are_real_and_listed() {
    let page = std::fs::read_to_string(base().join("docs/yaml.md")).expect("docs/yaml.md");
    for (name, text) in KNOWN {
        assert_eq!(differences(text), Ok(Differences::from([*name])), "{text}");
        assert!(
            page.to_lowercase().contains(&format!("| {name} |")),
            "docs/yaml.md has no row `{name}`"
        );
    }
}

#[test]
fn on_and_off_are_words_to_both() {
    for word in ["on", "off", "yes", "no"] {
        assert_eq!(differences(&format!("a: {word}\n")), Ok(Differences::new()));
        assert_eq!(ours(&parse_tree(word).unwrap()), Tree::Text(word.to_owned()));
    }
}
