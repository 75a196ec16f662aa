//! The same YAML, read by our parser and by serde_yaml: the trees are the same, or the difference is one that
//! docs/yaml.md lists with its reason.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod documents;
mod layout;
mod sources;
mod trees;

use documents::{Dice, document};
use sources::{base, files, literal};
use std::path::PathBuf;
use tidegate_config::parse_tree;
use trees::{Differences, Tree, differences, ours};

fn assert_same_trees(texts: &[(String, String)]) -> Differences {
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
    let found = assert_same_trees(&texts);
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
    assert_same_trees(&texts);
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
        if path.components().any(|it| it.as_os_str() == "yaml_oracle") {
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
    assert_same_trees(&texts);
}

#[test]
fn ten_thousand_documents_are_read_as_by_serde_yaml() {
    let mut dice = Dice(0x7469_6465_6761_7465);
    let texts: Vec<_> =
        (0..10_000).map(|number| (format!("document {number}"), document(&mut dice))).collect();
    let sound = texts.iter().filter(|(_, text)| parse_tree(text).is_some()).count();
    assert!(sound > 3_000, "{sound}");
    let found = assert_same_trees(&texts);
    println!("{sound} sound, {found:?}");
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
