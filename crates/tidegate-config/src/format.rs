//! Formats a configuration file: the same content and comments in a uniform layout. Knows no key.

use super::yaml::{Kind, Node, parse, parse_tree};
use pretty_yaml::config::{FormatOptions, LanguageOptions, LayoutOptions};
use saphyr_parser::{Event, Parser, ScalarStyle};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// Maximum length of a line, in characters, as far as it can be broken.
const MAX_LINE_CHARS: usize = 100;

/// Maximum number of rounds until a text stays as it is: a comment after a list is at the indent of the list at first,
/// and at that of the next key once the list has been indented.
const MAX_FORMAT_ROUNDS: usize = 5;

/// Maximum number of closing brackets that are indented.
const MAX_INDENTED_BRACKETS: usize = 1000;

/// What keeps a blank line from being removed.
const KEPT_LINE: &str = "\u{e000}kept\u{e000}";

/// Why a text can't be laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatError(String);

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FormatError {}

/// The text in the usual layout.
///
/// # Errors
/// When it is no YAML.
pub fn format_yaml(text: &str) -> Result<String, FormatError> {
    format(text).map_err(FormatError)
}

fn format(text: &str) -> Result<String, String> {
    let mut laid_out = lay_out(text)?;
    for _ in 0..MAX_FORMAT_ROUNDS {
        let again = lay_out(&laid_out)?;
        if again == laid_out {
            break;
        }
        laid_out = again;
    }
    Ok(laid_out)
}

fn lay_out(text: &str) -> Result<String, String> {
    let before = parse_tree(text)
        .ok_or_else(|| "the file is not valid YAML; `tidegate check` shows where".to_owned())?;
    let marked = mark_kept_lines(text);
    // White space at the end of a line is part of a block scalar, and of nothing else.
    for trims_lines in [true, false] {
        let mut laid_out = print(&marked, trims_lines)?;
        if let Cow::Owned(_) = marked {
            laid_out = without_marks(&laid_out);
        }
        let laid_out = indent_closing_brackets(laid_out);
        // Whatever the layouter does, the file goes on to say the same.
        if parse_tree(&laid_out).is_some_and(|after| is_same(&before, &after)) {
            return Ok(laid_out);
        }
    }
    Err("the file cannot be formatted without changing its meaning".to_owned())
}

fn print(text: &str, trims_lines: bool) -> Result<String, String> {
    let options = FormatOptions {
        layout: LayoutOptions { print_width: MAX_LINE_CHARS, ..LayoutOptions::default() },
        language: LanguageOptions {
            brace_spacing: false,
            trim_trailing_whitespaces: trims_lines,
            ..LanguageOptions::default()
        },
    };
    pretty_yaml::format_text(text, &options)
        .map_err(|error| format!("the file is not valid YAML: {error}"))
}

/// Fills the blank lines at the end of block scalars that keep them (`|+`), of which the layouter would leave one.
fn mark_kept_lines(text: &str) -> Cow<'_, str> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mut marked: BTreeMap<usize, usize> = BTreeMap::new();
    for (event, span) in Parser::new_from_str(text).map_while(Result::ok) {
        let Event::Scalar(content, ScalarStyle::Literal | ScalarStyle::Folded, ..) = event else {
            continue;
        };
        let said = content.trim_end_matches('\n').len();
        // The first line feed ends the last line that is not blank.
        let kept = content.len().saturating_sub(said + usize::from(said > 0));
        // Lines are counted from 1, and the scalar ends at the line after them.
        let end = span.end.line().saturating_sub(1).min(lines.len());
        let blank = |index: &usize| lines.get(*index).is_some_and(|line| line.trim().is_empty());
        let kept: Vec<usize> = (0..end).rev().take(kept).take_while(blank).collect();
        let above = kept.last().and_then(|first| lines.get(first.checked_sub(1)?));
        let indent = above.map_or(0, |line| line.len() - line.trim_start_matches([' ', '-']).len());
        marked.extend(kept.into_iter().map(|index| (index, indent + 2)));
    }
    if marked.is_empty() {
        return Cow::Borrowed(text);
    }
    let fill = |(index, line)| match marked.get(&index) {
        Some(indent) => Cow::Owned(format!("{:indent$}{KEPT_LINE}\n", "")),
        None => Cow::Borrowed(line),
    };
    Cow::Owned(lines.into_iter().enumerate().map(fill).collect())
}

fn without_marks(text: &str) -> String {
    let blank = |line| if str::trim(line) == KEPT_LINE { "\n" } else { line };
    text.split_inclusive('\n').map(blank).collect()
}

/// Indents closing brackets where YAML 1.2 has them deeper than their key, and the parser insists on it: after quotes
/// and brackets.
fn indent_closing_brackets(mut text: String) -> String {
    for _ in 0..MAX_INDENTED_BRACKETS {
        let Err(fault) = parse(&text, 0, &mut Vec::new()) else { break };
        let above = usize::try_from(fault.span.line).unwrap_or_default().saturating_sub(1);
        let start: usize = text.split_inclusive('\n').take(above).map(str::len).sum();
        let line = text.get(start..).unwrap_or_default();
        if !line.trim_start_matches(' ').starts_with([']', '}']) {
            break;
        }
        text.insert_str(start, "  ");
    }
    text
}

/// Whether both say the same, wherever it stands. The parser has bounded the depth.
fn is_same(one: &Node, other: &Node) -> bool {
    match (&one.kind, &other.kind) {
        (Kind::Scalar(one), Kind::Scalar(other)) => {
            one.text == other.text && one.resolve() == other.resolve()
        }
        (Kind::Sequence(one), Kind::Sequence(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Kind::Mapping(one), Kind::Mapping(other)) => {
            let same = |((key, one), (other_key, other)): (&(_, _), &(_, _))| {
                let (key, other_key): (&super::yaml::Key, &super::yaml::Key) = (key, other_key);
                key.text == other_key.text && is_same(one, other)
            };
            one.len() == other.len() && one.iter().zip(other).all(same)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formatting_keeps_comments_and_is_idempotent() {
        let text = "# What it is for.\nlisteners:\n    -   address:   127.0.0.1:3000   # all of it\n\n\n\nroutes: [ {name: a,   match: {path_prefix: /a}} ]\n# The end.\n";
        let once = format_yaml(text).expect("YAML");
        let expected = "# What it is for.\nlisteners:\n  - address: 127.0.0.1:3000 # all of it\n\nroutes: [{name: a, match: {path_prefix: /a}}]\n# The end.\n";
        assert_eq!(once, expected);
        assert_eq!(format_yaml(&once).as_ref(), Ok(&once));
    }

    /// The text, laid out, which says the same and stays as it is.
    fn stable(text: &str) -> String {
        let once = format_yaml(text).unwrap_or_else(|why| panic!("{why}\n{text}"));
        assert_eq!(format_yaml(&once).as_ref(), Ok(&once), "{text}");
        once
    }

    #[test]
    fn comment_beyond_the_width_breaks_the_list_before_it_and_keeps_the_file_valid() {
        let comment = format!("# {}", "c".repeat(100));
        for (list, broken) in [
            ("[\"a b\"]", "[\n  \"a b\",\n  ]"),
            ("['a b', {}]", "[\n  \"a b\",\n  {},\n  ]"),
            ("&all [[]]", "&all [\n  [],\n  ]"),
            ("[a, b]", "[\n  a,\n  b,\n]"),
            ("{a: []}", "{\n  a: [],\n}"),
        ] {
            let laid_out = stable(&format!("k: {list} {comment}\nl: 1\n"));
            assert_eq!(laid_out, format!("k: {broken} {comment}\nl: 1\n"));
            for other in [
                format!("k: {list} {comment}\r\nl: 1\r\n"),
                format!("\u{feff}k: {list} {comment}\nl: 1"),
                format!("k:\n  - {list} {comment}\n  - m: {list} {comment}\n"),
                format!(
                    "k: {list} # {0}\nl: >- # {0}\n  a\n  b\nm: &m # {0}\n  n: 1\n",
                    "c".repeat(90)
                ),
            ] {
                stable(&other);
            }
        }
    }

    #[test]
    fn blank_lines_that_a_block_scalar_keeps_stay() {
        for text in [
            "a: |+\n  b\n\n\nc: 1\n",
            "a: >+ # kept\n  b\n\n\n",
            "a:\n  - |+\n\n\n  - &b |+\n    c\n\n\n    d\n\n",
        ] {
            assert_eq!(stable(text), text);
        }
    }

    #[test]
    fn white_space_at_the_end_of_a_line_of_a_block_scalar_stays() {
        let text = "a: |\n  b  \n  c\nd: 1   # e   \n";
        assert_eq!(stable(text), "a: |\n  b  \n  c\nd: 1 # e\n");
    }

    #[test]
    fn comment_after_a_list_that_is_indented_is_stable() {
        stable("a: # of a\n- b # of b\n# of c\nc: 1\n");
    }

    #[test]
    fn formatting_refuses_invalid_yaml() {
        assert!(format_yaml("a: [").is_err());
        assert!(format_yaml("").is_err());
    }

    #[test]
    fn formatting_every_example_keeps_its_values_and_comments() {
        let conf = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("conf");
        let all = glob::glob(&format!("{}/**/*.yaml", conf.display())).expect("a pattern");
        let mut count = 0;
        for path in all.map(|path| path.expect("a path")) {
            let text = std::fs::read_to_string(&path).expect("a file");
            let laid_out =
                format_yaml(&text).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
            let comments = |text: &str| -> Vec<String> {
                let lines = text.lines().filter_map(|line| line.split_once("# "));
                lines.map(|(_, comment)| comment.trim().to_owned()).collect()
            };
            assert_eq!(comments(&text), comments(&laid_out), "{}", path.display());
            count += 1;
        }
        assert!(count > 10);
    }
}
