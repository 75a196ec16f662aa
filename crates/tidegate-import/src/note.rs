//! The notes of an import: lines that were left out, and lines whose meaning changes. It does not know any source format.

use std::fmt;
use std::path::PathBuf;

/// A line of an imported file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourcePosition {
    /// The file.
    pub file: PathBuf,
    /// Its line, from 1.
    pub line: usize,
}

impl fmt::Display for SourcePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// Whether a line was left out or changed its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoteKind {
    /// The result has nothing for the line.
    LeftOut,
    /// The result has the line with another meaning.
    Changed,
}

/// A note about a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The line.
    pub position: SourcePosition,
    /// What happened to the line.
    pub kind: NoteKind,
    /// The explanation.
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            NoteKind::LeftOut => "left out",
            NoteKind::Changed => "changed",
        };
        write!(f, "{}: {kind}: {}", self.position, self.text)
    }
}

/// The notes so far, each once.
#[derive(Debug, Default)]
pub(crate) struct Notes(Vec<Note>);

impl Notes {
    /// Notes that a line is not in the result.
    pub(crate) fn left_out(&mut self, position: &SourcePosition, text: impl Into<String>) {
        self.add(position, NoteKind::LeftOut, text.into());
    }

    /// Notes that a line has another meaning in the result.
    pub(crate) fn changed(&mut self, position: &SourcePosition, text: impl Into<String>) {
        self.add(position, NoteKind::Changed, text.into());
    }

    fn add(&mut self, position: &SourcePosition, kind: NoteKind, text: String) {
        let note = Note { position: position.clone(), kind, text };
        if !self.0.contains(&note) {
            self.0.push(note);
        }
    }

    /// All notes, in line order.
    pub(crate) fn sorted(mut self) -> Vec<Note> {
        self.0.sort_by(|one, other| one.position.cmp(&other.position));
        self.0
    }
}
