//! The files of the repository that have YAML in them. Knows nothing of YAML.

use std::path::{Path, PathBuf};

/// The root of the repository.
pub(crate) fn base() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// All files below a folder whose names end so.
pub(crate) fn files(folder: &Path, end: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, end, found);
        } else if path.to_string_lossy().ends_with(end) {
            found.push(path);
        }
    }
}

/// What a string literal says, and how long it is after its opening quote.
pub(crate) fn literal(rest: &str, is_raw: bool, hashes: usize) -> (String, usize) {
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
