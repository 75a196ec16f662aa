//! `format_yaml` keeps what a document says, and changes nothing when it runs again. Knows nothing of serde_yaml.

use crate::documents::{Dice, document};
use crate::sources::{base, files};
use crate::trees::ours;
use tidegate_config::parse_tree;

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
