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
    /// Nothing in the result stands for the line.
    LeftOut,
    /// It stands there, and means something else than it did.
    Changed,
}

/// A remark about a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The line.
    pub position: SourcePosition,
    /// What happened to the line.
    pub kind: NoteKind,
    /// What about it.
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

/// The remarks so far; none is made twice.
#[derive(Debug, Default)]
pub(crate) struct Notes(Vec<Note>);

impl Notes {
    /// That a line stands nowhere in the result.
    pub(crate) fn left_out(&mut self, position: &SourcePosition, text: impl Into<String>) {
        self.add(position, NoteKind::LeftOut, text.into());
    }

    /// That a line means something else in the result.
    pub(crate) fn changed(&mut self, position: &SourcePosition, text: impl Into<String>) {
        self.add(position, NoteKind::Changed, text.into());
    }

    fn add(&mut self, position: &SourcePosition, kind: NoteKind, text: String) {
        let note = Note { position: position.clone(), kind, text };
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
