//! The tree of directives and blocks, with included files. It does not know what a directive means.

use super::lexer::{self, Token, TokenKind};
use crate::ImportError;
use crate::note::{Notes, SourcePosition};
use std::iter::Peekable;
use std::path::{Path, PathBuf};
use std::vec::IntoIter;

/// Maximum depth of nested blocks, and of includes.
const MAX_BLOCK_DEPTH: usize = 32;
/// Maximum number of files.
const MAX_IMPORTED_FILES: usize = 500;

/// `name arguments;` or `name arguments { block }`.
#[derive(Debug, Clone)]
pub(super) struct Directive {
    pub position: SourcePosition,
    pub name: String,
    pub arguments: Vec<String>,
    pub block: Option<Vec<Directive>>,
}

impl Directive {
    /// The argument of this number, from 0.
    pub(super) fn argument(&self, number: usize) -> Option<&str> {
        self.arguments.get(number).map(String::as_str)
    }

    /// As a person would quote it.
    pub(super) fn display(&self) -> String {
        let mut shown = self.name.clone();
        for argument in &self.arguments {
            shown.push(' ');
            shown.push_str(argument);
        }
        shown
    }

    /// The directives of this name in its block.
    pub(super) fn children<'d>(&'d self, name: &'d str) -> impl Iterator<Item = &'d Self> {
        self.block.iter().flatten().filter(move |inner| inner.name == name)
    }
}

/// Reads a file and those that it includes.
pub(super) fn read(path: &Path, notes: &mut Notes) -> Result<Vec<Directive>, ImportError> {
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let mut reader = TreeReader { folder, files: 0, notes };
    reader.file(path, 0)
}

struct TreeReader<'n> {
    /// Where relative names of included files start.
    folder: PathBuf,
    files: usize,
    notes: &'n mut Notes,
}

impl TreeReader<'_> {
    fn file(&mut self, path: &Path, depth: usize) -> Result<Vec<Directive>, ImportError> {
        self.files += 1;
        if self.files > MAX_IMPORTED_FILES || depth > MAX_BLOCK_DEPTH {
            return Err(ImportError::new(
                path,
                1,
                "the configuration includes too many files, or includes \
                 itself",
            ));
        }
        let text = super::super::read_text(path)?;
        let tokens = lexer::tokens(&text)
            .map_err(|unclosed| ImportError::new(path, unclosed.0, "a quoted string has no end"))?;
        let mut tokens = tokens.into_iter().peekable();
        let directives = self.block(path, &mut tokens, depth)?;
        match tokens.next() {
            None => Ok(directives),
            Some(token) => {
                Err(ImportError::new(path, token.line, "a closing `}` has no opening `{`"))
            }
        }
    }

    /// Directives up to a `}`, which is left, or the end.
    fn block(
        &mut self,
        path: &Path,
        tokens: &mut Peekable<IntoIter<Token>>,
        depth: usize,
    ) -> Result<Vec<Directive>, ImportError> {
        if depth > MAX_BLOCK_DEPTH {
            return Err(ImportError::new(path, 1, "blocks are nested too deeply"));
        }
        let mut directives = Vec::new();
        while let Some(Token { kind, line }) =
            tokens.next_if(|token| token.kind != TokenKind::Close)
        {
            let TokenKind::Word(name) = kind else {
                return Err(ImportError::new(
                    path,
                    line,
                    "a directive is missing before this character",
                ));
            };
            let position = SourcePosition { file: path.to_owned(), line };
            let mut directive = Directive { position, name, arguments: Vec::new(), block: None };
            loop {
                match tokens.next().map(|token| token.kind) {
                    Some(TokenKind::Word(word)) => directive.arguments.push(word),
                    Some(TokenKind::Semicolon) => break,
                    Some(TokenKind::Open) => {
                        directive.block = Some(self.block(path, tokens, depth + 1)?);
                        if tokens.next().is_none() {
                            return Err(ImportError::new(
                                path,
                                line,
                                "the block has no closing `}`",
                            ));
                        }
                        break;
                    }
                    Some(TokenKind::Close) | None => {
                        return Err(ImportError::new(
                            path,
                            line,
                            "the directive has no `;` at its end",
                        ));
                    }
                }
            }
            if directive.name == "include" {
                directives.extend(self.include(&directive, depth)?);
            } else {
                directives.push(directive);
            }
        }
        Ok(directives)
    }

    fn include(
        &mut self,
        directive: &Directive,
        depth: usize,
    ) -> Result<Vec<Directive>, ImportError> {
        let Some(pattern) = directive.argument(0) else { return Ok(Vec::new()) };
        // Files that come with nginx have no routing.
        let brought = ["mime.types", "_params", "fastcgi.conf", "modules-enabled/*.conf"];
        if brought.iter().any(|name| pattern.ends_with(name)) {
            return Ok(Vec::new());
        }
        let full = self.folder.join(pattern);
        let paths = glob::glob(&full.to_string_lossy()).into_iter().flatten().flatten();
        let paths: Vec<PathBuf> = paths.collect();
        if paths.is_empty() && !pattern.contains(['*', '?', '[']) {
            let text =
                format!("the included file `{pattern}` does not exist; nothing of it is converted");
            self.notes.left_out(&directive.position, text);
        }
        let mut directives = Vec::new();
        for path in paths {
            directives.extend(self.file(&path, depth + 1)?);
        }
        Ok(directives)
    }
}
