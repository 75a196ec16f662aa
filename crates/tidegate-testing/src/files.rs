//! Special ways to create and to replace a file. It does not know what is in one.

use std::path::Path;

/// Replaces a file as careful editors do, by a rename.
pub fn replace_file(file: &Path, text: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, text).expect("a new file");
    std::fs::rename(&new, file).expect("the file replaced");
}

/// Creates a named pipe.
pub fn named_pipe(path: &Path) {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let mode = Mode::RUSR | Mode::WUSR;
    mknodat(CWD, path, FileType::Fifo, mode, 0).expect("a pipe");
}
