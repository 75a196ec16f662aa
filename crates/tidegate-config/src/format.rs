//! A file laid out anew: the same configuration, the same comments, in the usual form.

use super::yaml::{Kind, Node, tree};
use pretty_yaml::config::{FormatOptions, LanguageOptions, LayoutOptions};

const MAX_LINE_WIDTH: usize = 100;

/// The text in the usual layout.
///
/// # Errors
/// When it is no YAML, in words.
pub fn format_yaml(text: &str) -> Result<String, String> {
    let options = FormatOptions {
        layout: LayoutOptions { print_width: MAX_LINE_WIDTH, ..LayoutOptions::default() },
        language: LanguageOptions { brace_spacing: false, ..LanguageOptions::default() },
    };
    let read = || {
        tree(text)
            .ok_or_else(|| "the file is not valid YAML; `tidegate check` shows where".to_owned())
    };
    let before = read()?;
    let laid_out = pretty_yaml::format_text(text, &options).map_err(|error| {
        format!(
            "the file is not valid YAML: \
        {error}"
        )
    })?;
    // Whatever the layouter does, the file goes on to say the same.
    match tree(&laid_out) {
        Some(after) if is_same(&before, &after) => Ok(laid_out),
        _ => Err("the file cannot be formatted without changing its meaning".to_owned()),
    }
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
