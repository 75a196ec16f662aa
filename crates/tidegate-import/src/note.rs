//! The notes of an import: lines that were left out, and lines whose meaning changes. It does not know any source format.

use std::fmt;
use std::path::PathBuf;

/// Where something was written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// Its line, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// What became of a line that is not simply carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It stands nowhere in the result.
    Left,
    /// It stands there, and means something else than it did.
    Changed,
}

/// A remark about a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The line.
    pub position: Place,
    /// What became of it.
    pub fate: Fate,
    /// What about it.
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fate = match self.fate {
            Fate::Left => "left out",
            Fate::Changed => "changed",
        };
        write!(f, "{}: {fate}: {}", self.position, self.text)
    }
}

/// The remarks so far; none is made twice.
#[derive(Debug, Default)]
pub(crate) struct Notes(Vec<Note>);

impl Notes {
    /// That a line stands nowhere in the result.
    pub(crate) fn left_out(&mut self, position: &Place, text: impl Into<String>) {
        self.add(position, Fate::Left, text.into());
    }

    /// That a line means something else in the result.
    pub(crate) fn changed(&mut self, position: &Place, text: impl Into<String>) {
        self.add(position, Fate::Changed, text.into());
    }

    fn add(&mut self, position: &Place, fate: Fate, text: String) {
        let note = Note { position: position.clone(), fate, text };
        if !self.0.contains(&note) {
            self.0.push(note);
        }
    }

    /// All of them, in the order of the lines.
    pub(crate) fn sorted(mut self) -> Vec<Note> {
        self.0.sort_by(|one, other| one.position.cmp(&other.position));
        self.0
    }
}
