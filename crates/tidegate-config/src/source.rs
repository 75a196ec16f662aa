//! The files of a configuration, their texts, and the values of their variables. Parses nothing.

use super::filter_schemas::FilterSchemas;
use super::values::Span;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use tidegate_disk::files_matching;

/// Maximum size of all files together, in bytes.
pub(super) const MAX_TOTAL_BYTES: usize = 64 * 1024 * 1024;

/// The files of a configuration, with their contents.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    pub(super) files: Vec<(PathBuf, String)>,
    /// Which of them are links.
    pub(super) linked: BTreeSet<u16>,
    pub(super) patterns: Vec<String>,
    pub(super) variables: Variables,
    /// The filters that the program registers.
    pub(super) filters: FilterSchemas,
    pub(super) expanded: ExpandedValues,
    /// Whether the main file could not be read, so that its text is missing.
    pub(super) is_unread: bool,
}

/// What variables of the environment stand for in a configuration, and their names: it may be secret, and
/// is not shown.
#[derive(Clone, Default)]
pub struct ExpandedValues(Vec<(String, String)>);

/// The names alone.
impl fmt::Debug for ExpandedValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(_, name)| name)).finish()
    }
}

impl ExpandedValues {
    /// From this length on, a value is also found inside longer words; shorter ones only as words of their own.
    const LONG_VALUE_BYTES: usize = 8;

    pub(super) fn add(&mut self, value: &str, name: &str) {
        let value = value.trim();
        // Words of the configuration's own language, numbers and spans of time are no secrets, and are
        // everywhere.
        let is_number = value.starts_with(|c: char| c.is_ascii_digit())
            && value.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let is_word =
            ["true", "false", "null", "off", "yes", "info", "warn", "debug", "error", "json"]
                .contains(&value);
        let is_short =
            value.len() < Self::LONG_VALUE_BYTES && (is_number || is_word || value.len() < 3);
        if is_short || self.0.iter().any(|(known, _)| known == value) {
            return;
        }
        // The longest come first, for a value may be a part of another.
        let at = self.0.partition_point(|(known, _)| known.len() >= value.len());
        self.0.insert(at, (value.to_owned(), name.to_owned()));
    }

    /// The text with the names of the variables in the place of what they stand for.
    pub fn hide(&self, text: &str) -> String {
        if self.0.is_empty() {
            return text.to_owned();
        }
        let mut hidden = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            let is_inner = hidden.ends_with(|c: char| c.is_alphanumeric());
            let found = self.0.iter().find(|(value, _)| {
                let is_there =
                    rest.get(..value.len()).is_some_and(|start| start.eq_ignore_ascii_case(value));
                let goes_on = || {
                    let behind = rest.get(value.len()..).unwrap_or_default();
                    behind.starts_with(|c: char| c.is_alphanumeric())
                };
                is_there && (value.len() >= Self::LONG_VALUE_BYTES || !(is_inner || goes_on()))
            });
            let length = match found {
                Some((value, name)) => {
                    hidden.push_str("${");
                    hidden.push_str(name);
                    hidden.push('}');
                    value.len()
                }
                None => {
                    hidden.push(next);
                    next.len_utf8()
                }
            };
            rest = rest.get(length..).unwrap_or_default();
        }
        hidden
    }
}

impl Sources {
    /// What the variables in the files stand for.
    pub fn expanded(&self) -> &ExpandedValues {
        &self.expanded
    }

    /// Each file and its text.
    pub fn files(&self) -> impl Iterator<Item = (&Path, &str)> {
        self.files.iter().map(|(path, text)| (path.as_path(), text.as_str()))
    }

    /// Every file that is, or by now would be, part of the configuration.
    pub fn watched(&self) -> BTreeSet<PathBuf> {
        let included = self.patterns.iter().flat_map(|it| files_matching(it).unwrap_or_default());
        self.files.iter().map(|(path, _)| path.clone()).chain(included).collect()
    }

    /// The bytes of all files.
    pub(super) fn size(&self) -> usize {
        self.files.iter().map(|(_, text)| text.len()).sum()
    }

    /// The main file and its text, if it has any: as far as it can be read where it can't be used.
    pub(super) fn main_text(&self) -> Option<(&Path, Cow<'_, str>)> {
        let (path, text) = self.files.first()?;
        match self.is_unread {
            true => Some((path, tidegate_disk::read_start(path, MAX_TOTAL_BYTES as u64)?.into())),
            false => Some((path, text.into())),
        }
    }

    /// A file's name and text, by its number.
    pub fn file(&self, number: u16) -> (String, &str) {
        match self.files.get(usize::from(number)) {
            Some((path, text)) => (path.display().to_string(), text),
            None => ("configuration".to_owned(), ""),
        }
    }

    /// Where something stands, for a message about something else that stands there.
    pub fn line(&self, span: Span, from: Span) -> String {
        match span.file == from.file {
            true => format!("line {}", span.line),
            false => format!("line {} of {}", span.line, self.file(span.file).0),
        }
    }

    /// Whether a file is a link, or is found by one: its text is not that of the folder's owner, and is
    /// not shown.
    pub fn is_linked(&self, number: u16) -> bool {
        self.linked.contains(&number)
    }

    /// The folder of the file that something stands in.
    pub fn folder(&self, span: Span) -> &Path {
        let file = self.files.get(usize::from(span.file));
        file.and_then(|(path, _)| path.parent()).unwrap_or(Path::new(""))
    }

    pub(super) fn register_file(&mut self, path: &Path, text: String) -> Option<u16> {
        let number = u16::try_from(self.files.len()).ok()?;
        if self
            .files
            .first()
            .map_or(path, |(first, _)| first)
            .parent()
            .is_some_and(|folder| is_link(path, folder))
        {
            self.linked.insert(number);
        }
        self.files.push((path.to_owned(), text));
        Some(number)
    }
}

/// Variables for `${NAME}`, that stand before those of the environment.
#[derive(Clone, Default)]
pub struct Variables(BTreeMap<String, String>);

/// Their names: what they hold may be secret.
impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Variables {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl Variables {
    pub(super) fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned().or_else(|| std::env::var(name).ok())
    }
}

/// Whether a file is a link, or stands below the folder of the configuration by a link alone.
fn is_link(path: &Path, folder: &Path) -> bool {
    if path.symlink_metadata().is_ok_and(|it| it.file_type().is_symlink()) {
        return true;
    }
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let (Ok(real), Ok(real_folder)) = (path.canonicalize(), folder.canonicalize()) else {
        return false;
    };
    path.starts_with(folder) && !real.starts_with(real_folder)
}
