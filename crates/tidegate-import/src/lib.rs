//! Converts configurations of other gateways to Tidegate's: the configuration itself, and a note for each line that
//! cannot be converted or changes its meaning. It does not know how the gateway runs a configuration.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod draft;
#[cfg(feature = "express")]
mod express;
mod nginx;
mod note;
mod passwords;
mod sites;
mod traefik;
mod yaml;

use note::Notes;
pub use note::{Note, NoteKind, SourcePosition};
use std::fmt;
use std::path::{Path, PathBuf};

/// Maximum size of a file, in bytes.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// The source format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A program for Node.js, with Express and http-proxy-middleware.
    #[cfg(feature = "express")]
    Express,
    /// nginx's.
    Nginx,
    /// Traefik's file provider.
    Traefik,
}

/// The result of an import.
#[derive(Debug)]
pub struct Import {
    /// The gateway's configuration.
    pub yaml: String,
    /// The notes, in line order.
    pub notes: Vec<Note>,
}

/// Why a file can't be imported.
#[derive(Debug)]
pub struct ImportError {
    position: SourcePosition,
    reason: String,
}

impl ImportError {
    fn new(file: &Path, line: usize, reason: impl Into<String>) -> Self {
        Self { position: SourcePosition { file: file.to_owned(), line }, reason: reason.into() }
    }
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: error: {}", self.position, self.reason)
    }
}

impl std::error::Error for ImportError {}

/// Converts another program's configuration to the gateway's.
///
/// # Errors
/// If the file can't be read, or the program that it is for would refuse it.
pub fn import(format: Format, path: &Path) -> Result<Import, ImportError> {
    let mut notes = Notes::default();
    let mut draft = match format {
        #[cfg(feature = "express")]
        Format::Express => express::import(path, &mut notes)?,
        Format::Nginx => nginx::import(path, &mut notes)?,
        Format::Traefik => traefik::import(path, &mut notes)?,
    };
    draft.routes.iter_mut().for_each(draft::Route::remove_unused_settings);
    if draft.requires_origin_check() {
        notes.changed(
            &SourcePosition { file: path.to_owned(), line: 1 },
            "Tidegate checks the `Origin` of WebSocket handshakes and refuses pages of other hosts; \
             allow them with `websocket.origins`",
        );
    }
    let name = path.file_name().map(PathBuf::from).unwrap_or_default();
    let yaml = yaml::write(&draft, &name.display().to_string());
    Ok(Import { yaml, notes: notes.sorted() })
}

impl Import {
    /// Whether a line was left out of the result.
    pub fn has_left_out(&self) -> bool {
        self.notes.iter().any(|note| note.kind == NoteKind::LeftOut)
    }
}

/// The text of a file.
fn read_text(path: &Path) -> Result<String, ImportError> {
    let failed = |error: std::io::Error| {
        ImportError::new(path, 1, format!("the file cannot be read: {error}"))
    };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > MAX_FILE_BYTES {
        return Err(ImportError::new(
            path,
            1,
            format!("the file is larger than {MAX_FILE_BYTES} bytes"),
        ));
    }
    let bytes = std::fs::read(path).map_err(failed)?;
    String::from_utf8(bytes).map_err(|_| ImportError::new(path, 1, "the file is not UTF-8 text"))
}
